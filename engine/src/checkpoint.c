/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint-private.h"

#include "checkpoint-tensors.h"
#include "safetensors.h"

static gboolean
read_config (MllamaCheckpoint *checkpoint, GError **error)
{
  g_autofree char *path = g_build_filename (checkpoint->path, "config.json", NULL);
  GError *inner = NULL;

  checkpoint->config = mllama_config_new_from_file (path, &inner);
  if (checkpoint->config)
    return TRUE;
  if (g_error_matches (inner, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND))
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND,
                 "%s: there is no config.json; a checkpoint's directory as Hugging Face lays it out is expected",
                 checkpoint->path);
  else
    g_propagate_error (error, g_steal_pointer (&inner));
  g_clear_error (&inner);
  return FALSE;
}

static gboolean
check_id (gint64 id, gsize n_embeddings, const char *what, GError **error)
{
  if (id < (gint64) n_embeddings)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
               "%s is %" G_GINT64_FORMAT "; the embedding has %" G_GSIZE_FORMAT
               " rows, so an id below that is expected: the files belong to different checkpoints",
               what, id, n_embeddings);
  return FALSE;
}

/* Every id that can come up has a row in the embedding. Those of the chat layout are the tokenizer's. */
static gboolean
check_ids (const MllamaCheckpoint *checkpoint, GError **error)
{
  const MllamaTensorInfo *embedding = mllama_source_find (checkpoint->source, "language_model.embed_tokens.weight");
  gsize n = embedding->shape[0];

  for (guint i = 0; i < checkpoint->n_eos_ids; i++)
    if (!check_id (checkpoint->eos_ids[i], n, "eos_token_id", error))
      return FALSE;
  if (checkpoint->config->has_vision &&
      !check_id (checkpoint->config->image_token_id, n, "image_token_index of config.json", error))
    return FALSE;
  return check_id (checkpoint->bos_id, n, "bos_token_id", error) &&
         check_id (checkpoint->pad_id, n, "pad_token_id", error) &&
         check_id ((gint64) mllama_tokenizer_get_n_ids (checkpoint->tokenizer) - 1, n,
                   "the tokenizer's largest token id", error);
}

static gboolean
open_weights (MllamaCheckpoint *checkpoint, gboolean with_vision, GError **error)
{
  checkpoint->source = mllama_safetensors_open (checkpoint->path, error);
  return checkpoint->source &&
         mllama_check_tensors (checkpoint->source, checkpoint->config, with_vision, checkpoint->path, error);
}

MllamaCheckpoint *
mllama_checkpoint_open (const char *path, gboolean text_only, GError **error)
{
  g_autoptr (MllamaCheckpoint) checkpoint = g_new0 (MllamaCheckpoint, 1);
  gboolean with_vision;

  checkpoint->path = g_strdup (path);
  if (!read_config (checkpoint, error))
    return NULL;
  with_vision = checkpoint->config->has_vision && !text_only;
  if (!mllama_checkpoint_read_generation_config (checkpoint, error) ||
      (with_vision && !mllama_checkpoint_read_image_options (checkpoint, error)) ||
      !mllama_checkpoint_read_chat_template (checkpoint, error) || !open_weights (checkpoint, with_vision, error))
    return NULL;
  checkpoint->tokenizer = mllama_tokenizer_new_from_directory (checkpoint->path, error);
  if (!checkpoint->tokenizer)
    return NULL;
  if (!check_ids (checkpoint, error)) {
    g_prefix_error (error, "%s: ", checkpoint->path);
    return NULL;
  }
  return g_steal_pointer (&checkpoint);
}

void
mllama_checkpoint_free (MllamaCheckpoint *checkpoint)
{
  if (!checkpoint)
    return;
  mllama_source_free (checkpoint->source);
  g_clear_pointer (&checkpoint->tokenizer, mllama_tokenizer_unref);
  mllama_config_free (checkpoint->config);
  g_free (checkpoint->eos_ids);
  g_free (checkpoint->path);
  g_free (checkpoint);
}
