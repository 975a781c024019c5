/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Prompts of a model: the functions of prompt.h that take one. */
#include "model-private.h"
#include "prompt-private.h"

static MllamaPromptMaker
get_maker (MllamaModel *model)
{
  const MllamaCheckpoint *checkpoint = mllama_model_get_checkpoint (model);
  const MllamaTensorInfo *embedding = mllama_source_find (checkpoint->source, "language_model.embed_tokens.weight");

  return (MllamaPromptMaker){
      .tokenizer = checkpoint->tokenizer,
      .config = checkpoint->config,
      .bos_id = checkpoint->bos_id,
      .n_embeddings = embedding->shape[0],
      .has_chat_template = checkpoint->has_chat_template,
  };
}

MllamaPrompt *
mllama_prompt_new_raw (MllamaModel *model, const char *text, gssize length, const MllamaTextRange *literal,
                       gsize n_literal, GError **error)
{
  MllamaPromptMaker maker = get_maker (model);

  return mllama_prompt_make_raw (&maker, text, length, literal, n_literal, error);
}

MllamaPrompt *
mllama_prompt_new_processed (MllamaModel *model, const char *text, gssize length, GError **error)
{
  MllamaPromptMaker maker = get_maker (model);

  return mllama_prompt_make_processed (&maker, text, length, error);
}

MllamaPrompt *
mllama_prompt_new_chat (MllamaModel *model, const MllamaMessage *messages, gsize n_messages, GError **error)
{
  MllamaPromptMaker maker = get_maker (model);

  return mllama_prompt_make_chat (&maker, messages, n_messages, error);
}

MllamaPrompt *
mllama_prompt_new_question (MllamaModel *model, const char *text, gssize length, guint n_images, GError **error)
{
  MllamaPromptMaker maker = get_maker (model);

  return mllama_prompt_make_question (&maker, text, length, n_images, error);
}

MllamaPrompt *
mllama_prompt_new_auto (MllamaModel *model, const char *text, gssize length, const MllamaTextRange *literal,
                        gsize n_literal, guint n_images, GError **error)
{
  MllamaPromptMaker maker = get_maker (model);

  return mllama_prompt_make_auto (&maker, text, length, literal, n_literal, n_images, error);
}

MllamaPrompt *
mllama_prompt_new_from_ids (MllamaModel *model, const guint32 *ids, gsize n_ids, GError **error)
{
  MllamaPromptMaker maker = get_maker (model);

  return mllama_prompt_make_from_ids (&maker, ids, n_ids, error);
}
