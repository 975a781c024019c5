/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <mllama/prompt.h>

G_BEGIN_DECLS

/* The tokens [start, end) that see an image; end G_MAXUINT32: up to the end, tokens of the answer included. */
typedef struct {
  guint32 start, end;
} MllamaImageSpan;

/* The images that a token sees: [first, first + n). They always follow one another (see prompt-runs.c). */
typedef struct {
  guint32 first, n;
} MllamaImageRun;

struct _MllamaPrompt {
  gint n_refs; /* atomic */
  MllamaTokenizer *tokenizer;
  guint32 *ids; /* [n_ids], n_ids > 0 */
  gsize n_ids;
  MllamaImageRun *runs;   /* [n_ids] */
  MllamaImageSpan *spans; /* [n_images] */
  guint n_images;
};

/* All that a prompt needs of its model. */
typedef struct {
  MllamaTokenizer *tokenizer;
  const MllamaConfig *config;
  gint64 bos_id;        /* where the tokenizer has no <|begin_of_text|>; -1: none */
  guint32 n_embeddings; /* rows of the embedding */
  gboolean has_chat_template;
} MllamaPromptMaker;

/* What the functions without _make of prompt.h say. */
MllamaPrompt *mllama_prompt_make_raw (const MllamaPromptMaker *maker, const char *text, gssize length,
                                      const MllamaTextRange *literal, gsize n_literal, GError **error);
MllamaPrompt *mllama_prompt_make_processed (const MllamaPromptMaker *maker, const char *text, gssize length,
                                            GError **error);
MllamaPrompt *mllama_prompt_make_chat (const MllamaPromptMaker *maker, const MllamaMessage *messages, gsize n_messages,
                                       GError **error);
MllamaPrompt *mllama_prompt_make_question (const MllamaPromptMaker *maker, const char *text, gssize length,
                                           guint n_images, GError **error);
MllamaPrompt *mllama_prompt_make_auto (const MllamaPromptMaker *maker, const char *text, gssize length,
                                       const MllamaTextRange *literal, gsize n_literal, guint n_images, GError **error);
MllamaPrompt *mllama_prompt_make_from_ids (const MllamaPromptMaker *maker, const guint32 *ids, gsize n_ids,
                                           GError **error);

/* mllama_image_spans_new: where the images of a prompt are seen, one span a mark; n_images > 0. */
MllamaImageSpan *mllama_image_spans_new (const guint32 *ids, gsize n_ids, guint32 image_id, guint n_images);
/* mllama_image_runs_new: the same, by token: [n_ids]. */
MllamaImageRun *mllama_image_runs_new (const guint32 *ids, gsize n_ids, guint32 image_id);

/* [n_images]; NULL without images. */
const MllamaImageSpan *mllama_prompt_get_spans (const MllamaPrompt *prompt);
/* [n_ids]; runs of none without images. Tokens of the answer see what the last of the prompt sees. */
const MllamaImageRun *mllama_prompt_get_runs (const MllamaPrompt *prompt);

/* mllama_prompt_get_tokenizer: tells models apart: each has a tokenizer of its own, and the prompt keeps its model's
 * alive, so that no other one can come to the same address. */
MllamaTokenizer *mllama_prompt_get_tokenizer (const MllamaPrompt *prompt);

G_END_DECLS
