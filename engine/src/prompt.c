/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The prompt itself: ids, and what each of them sees. */
#include <mllama/error.h>

#include "prompt-private.h"

static gboolean
check_ids (const MllamaPromptMaker *maker, const guint32 *ids, gsize n_ids, GError **error)
{
  if (n_ids == 0) {
    g_set_error_literal (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
                         "the prompt is empty, and an answer needs at least one token to follow; give it some text");
    return FALSE;
  }
  for (gsize i = 0; i < n_ids; i++)
    if (ids[i] >= maker->n_embeddings) {
      g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
                   "token %" G_GSIZE_FORMAT
                   " of the prompt has id %u, but the model's embedding has %u rows; ids below that are expected",
                   i, ids[i], maker->n_embeddings);
      return FALSE;
    }
  return TRUE;
}

MllamaPrompt *
mllama_prompt_make_from_ids (const MllamaPromptMaker *maker, const guint32 *ids, gsize n_ids, GError **error)
{
  guint32 image_id = maker->config->image_token_id;
  MllamaPrompt *prompt;

  if (!check_ids (maker, ids, n_ids, error))
    return NULL;
  prompt = g_new0 (MllamaPrompt, 1);
  prompt->n_refs = 1;
  prompt->tokenizer = mllama_tokenizer_ref (maker->tokenizer);
  prompt->ids = g_memdup2 (ids, n_ids * sizeof *ids);
  prompt->n_ids = n_ids;
  /* A text-only checkpoint has no image mark, whatever that field holds. */
  for (gsize i = 0; maker->config->has_vision && i < n_ids; i++)
    prompt->n_images += ids[i] == image_id;
  if (prompt->n_images > 0)
    prompt->spans = mllama_image_spans_new (ids, n_ids, image_id, prompt->n_images);
  prompt->runs = prompt->n_images > 0 ? mllama_image_runs_new (ids, n_ids, image_id) : g_new0 (MllamaImageRun, n_ids);
  return prompt;
}

MllamaPrompt *
mllama_prompt_ref (MllamaPrompt *prompt)
{
  g_atomic_int_inc (&prompt->n_refs);
  return prompt;
}

void
mllama_prompt_unref (MllamaPrompt *prompt)
{
  if (!prompt || !g_atomic_int_dec_and_test (&prompt->n_refs))
    return;
  mllama_tokenizer_unref (prompt->tokenizer);
  g_free (prompt->ids);
  g_free (prompt->spans);
  g_free (prompt->runs);
  g_free (prompt);
}

const guint32 *
mllama_prompt_get_ids (const MllamaPrompt *prompt, gsize *n_ids)
{
  *n_ids = prompt->n_ids;
  return prompt->ids;
}

guint
mllama_prompt_get_n_images (const MllamaPrompt *prompt)
{
  return prompt->n_images;
}

const MllamaImageSpan *
mllama_prompt_get_spans (const MllamaPrompt *prompt)
{
  return prompt->spans;
}

const MllamaImageRun *
mllama_prompt_get_runs (const MllamaPrompt *prompt)
{
  return prompt->runs;
}

MllamaTokenizer *
mllama_prompt_get_tokenizer (const MllamaPrompt *prompt)
{
  return prompt->tokenizer;
}
