/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <mllama/model.h>
#include <mllama/tokenizer.h>

G_BEGIN_DECLS

/* Token ids with a mark for each picture; immutable, refcounted. A prompt of no token at all is INVALID: there is
 * nothing to answer. So is one with an id outside the embedding. */
typedef struct _MllamaPrompt MllamaPrompt;

/* A part of a chat message: text as it stands, or one picture's mark (text NULL). */
typedef struct {
  const char *text;
  gsize length; /* bytes of text */
} MllamaMessagePart;

typedef struct {
  const char *role; /* "system", "user", "assistant", "ipython" */
  const MllamaMessagePart *parts;
  gsize n_parts;
} MllamaMessage;

/* mllama_prompt_new_raw: text tokenized as it stands: special-token spellings are recognised outside
 * the literal ranges, nothing is added. length -1: up to NUL. */
MLLAMA_API MllamaPrompt *mllama_prompt_new_raw (MllamaModel *model, const char *text, gssize length,
                                                const MllamaTextRange *literal, gsize n_literal, GError **error);

/* mllama_prompt_new_processed: text as MllamaProcessor takes it: if it holds no begin-of-text spelling,
 * leading image marks are moved before one, and the tokenizer's post-processor is applied. */
MLLAMA_API MllamaPrompt *mllama_prompt_new_processed (MllamaModel *model, const char *text, gssize length,
                                                      GError **error);

/* mllama_prompt_new_chat: begin-of-text, each message in the Llama 3.2 layout, and the header of the
 * assistant's answer. Special-token spellings inside a part are ordinary text. Needs the tokens
 * <|begin_of_text|>, <|start_header_id|>, <|end_header_id|>, <|eot_id|>: UNSUPPORTED names the one missing. */
MLLAMA_API MllamaPrompt *mllama_prompt_new_chat (MllamaModel *model, const MllamaMessage *messages, gsize n_messages,
                                                 GError **error);

/* mllama_prompt_new_question: one user message, n_images marks and then the text. */
MLLAMA_API MllamaPrompt *mllama_prompt_new_question (MllamaModel *model, const char *text, gssize length,
                                                     guint n_images, GError **error);

/* mllama_prompt_new_auto: a question if the checkpoint has a chat template, where all of text is ordinary. Else raw
 * text, for a base model: unless it holds an image mark, n_images marks and begin-of-text go before it, the latter only
 * if it is not there already. */
MLLAMA_API MllamaPrompt *mllama_prompt_new_auto (MllamaModel *model, const char *text, gssize length,
                                                 const MllamaTextRange *literal, gsize n_literal, guint n_images,
                                                 GError **error);

MLLAMA_API MllamaPrompt *mllama_prompt_new_from_ids (MllamaModel *model, const guint32 *ids, gsize n_ids,
                                                     GError **error);

MLLAMA_API MllamaPrompt *mllama_prompt_ref (MllamaPrompt *prompt);
MLLAMA_API void mllama_prompt_unref (MllamaPrompt *prompt);

MLLAMA_API const guint32 *mllama_prompt_get_ids (const MllamaPrompt *prompt, gsize *n_ids);
MLLAMA_API guint mllama_prompt_get_n_images (const MllamaPrompt *prompt);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaPrompt, mllama_prompt_unref)

G_END_DECLS
