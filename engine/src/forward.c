/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One forward pass over a prompt, as MllamaForConditionalGeneration.forward (). */
#include "model-private.h"

#include <math.h>

#include "sampling.h"

#define IGNORED_LABEL (-100)

typedef struct {
  MllamaPrompt *prompt;
  MllamaStates *const *states;
  guint n_states;
  const MllamaForwardSettings *settings;
  MllamaForwardResult *result;
  guint first_logit; /* token of the first row of logits */
  GError *error;
} Forward;

static gboolean
allocate_result (Forward *forward, const MllamaRuntime *runtime)
{
  MllamaForwardResult *result = forward->result;
  gboolean wants_hidden = forward->settings->hidden_states;

  result->vocab_size = runtime->weights->text.n_logits;
  result->hidden_size = runtime->checkpoint->config->text.hidden_size;
  result->n_logits = result->n_tokens;
  if (forward->settings->logits_to_keep > 0 && forward->settings->logits_to_keep < result->n_tokens)
    result->n_logits = forward->settings->logits_to_keep;
  forward->first_logit = result->n_tokens - result->n_logits;
  result->logits = g_try_malloc_n ((gsize) result->n_logits * result->vocab_size, sizeof (float));
  if (wants_hidden)
    result->hidden_states = g_try_malloc_n ((gsize) result->n_tokens * result->hidden_size, sizeof (float));
  if (result->logits && (result->hidden_states || !wants_hidden))
    return TRUE;
  g_set_error (&forward->error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY,
               "no memory for the logits of %u tokens (%.1f MB); keep fewer with logits_to_keep", result->n_logits,
               (double) result->n_logits * result->vocab_size * sizeof (float) / 1e6);
  return FALSE;
}

/* Logits and hidden states of tokens [first, first + n) of the prompt, which are tokens [from, from + n) of the pass.
 */
static gboolean
read_outputs (Forward *forward, MllamaRuntime *runtime, guint first, guint from, guint n)
{
  MllamaForwardResult *result = forward->result;
  const MllamaBackendOps *ops = runtime->backend->ops;
  guint32 tokens[MLLAMA_MAX_ROWS];
  guint n_skipped = first < forward->first_logit ? MIN (forward->first_logit - first, n) : 0;
  const MllamaTensor *tensor;

  for (guint i = 0; i < n; i++)
    tokens[i] = from + i;
  if (result->hidden_states) {
    tensor = mllama_decoder_get_hidden (runtime->decoder, tokens, n);
    if (!ops->tensor_read (runtime->backend, tensor, 0, n, result->hidden_states + (gsize) first * result->hidden_size,
                           &forward->error))
      return FALSE;
  }
  if (n_skipped == n)
    return TRUE;
  tensor = mllama_decoder_get_logits (runtime->decoder, tokens + n_skipped, n - n_skipped, MLLAMA_PHASE_PREFILL);
  return ops->tensor_read (runtime->backend, tensor, 0, n - n_skipped,
                           result->logits + (gsize) (first + n_skipped - forward->first_logit) * result->vocab_size,
                           &forward->error);
}

static gboolean
run_chunks (Forward *forward, MllamaRuntime *runtime, MllamaTextRow *row)
{
  gsize n_ids;
  const guint32 *ids = mllama_prompt_get_ids (forward->prompt, &n_ids);

  while (row->n_done < row->n_prompt) {
    guint first = row->n_done, n = MIN (row->n_prompt - first, MLLAMA_PREFILL_CHUNK);

    mllama_pass_builder_begin (&runtime->pass, MLLAMA_PHASE_PREFILL, runtime->kv);
    mllama_pass_builder_add (&runtime->pass, row, ids + first, n);
    mllama_decoder_run (runtime->decoder, mllama_pass_builder_end (&runtime->pass));
    for (guint from = 0; from < n; from += MLLAMA_MAX_ROWS)
      if (!read_outputs (forward, runtime, first + from, from, MIN (n - from, MLLAMA_MAX_ROWS)))
        return FALSE;
  }
  return TRUE;
}

/* Mean cross-entropy of each token's successor (spec 6). */
static double
compute_loss (const Forward *forward)
{
  const MllamaForwardResult *result = forward->result;
  double sum = 0;
  guint n_kept = 0;

  for (guint t = forward->first_logit; t + 1 < result->n_tokens; t++) {
    gint64 label = forward->settings->labels[t + 1];
    if (label == IGNORED_LABEL)
      continue;
    sum -= mllama_log_softmax_at (result->logits + (gsize) (t - forward->first_logit) * result->vocab_size,
                                  result->vocab_size, label);
    n_kept++;
  }
  return n_kept > 0 ? sum / n_kept : NAN;
}

static void
run_forward (MllamaRuntime *runtime, gpointer data)
{
  Forward *forward = data;
  MllamaTextRow row;
  guint n_pages = mllama_text_row_count_pages (forward->result->n_tokens);

  if (!allocate_result (forward, runtime))
    return;
  mllama_text_row_init (&row, forward->prompt, forward->states, forward->n_states);
  if (!mllama_text_row_take_pages (&row, runtime->pages, n_pages))
    g_set_error (&forward->error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY,
                 "a forward pass of %u tokens needs %u pages of keys and values, and answers hold %u of %u; wait for "
                 "them, or raise kv_bytes",
                 row.n_prompt, n_pages, mllama_page_pool_get_n_taken (runtime->pages),
                 mllama_page_pool_get_n_pages (runtime->pages));
  else if (run_chunks (forward, runtime, &row))
    forward->result->loss = forward->settings->labels ? compute_loss (forward) : NAN;
  mllama_text_row_give_pages (&row, runtime->pages);
  mllama_text_row_clear (&row);
}

static gboolean
check_labels (const gint64 *labels, guint n_labels, guint n_logits, GError **error)
{
  for (guint i = 0; labels && i < n_labels; i++) {
    if (labels[i] == IGNORED_LABEL || (labels[i] >= 0 && labels[i] < n_logits))
      continue;
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
                 "label %u is %" G_GINT64_FORMAT ", expected 0 to %u, or -100 for a token to ignore (the image mark "
                 "has no logit: ignore it)",
                 i, labels[i], n_logits - 1);
    return FALSE;
  }
  return TRUE;
}

MllamaForwardResult *
mllama_model_forward (MllamaModel *model, MllamaPrompt *prompt, MllamaStates *const *states, guint n_states,
                      const MllamaForwardSettings *settings, GError **error)
{
  static const MllamaForwardSettings defaults;
  MllamaScheduler *scheduler = mllama_model_get_scheduler (model, error);
  g_autoptr (MllamaForwardResult) result = g_new0 (MllamaForwardResult, 1);
  Forward forward = {.prompt = prompt,
                     .states = states,
                     .n_states = n_states,
                     .settings = settings ? settings : &defaults,
                     .result = result};
  guint max_positions = mllama_model_get_config (model)->text.max_positions;
  gsize n_ids;

  if (!scheduler || !mllama_model_check_states (model, prompt, states, n_states, error))
    return NULL;
  mllama_prompt_get_ids (prompt, &n_ids);
  result->n_tokens = n_ids;
  if (n_ids > max_positions) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_TOO_LONG,
                 "the prompt has %" G_GSIZE_FORMAT " tokens, and the model's context holds %u; shorten the prompt",
                 n_ids, max_positions);
    return NULL;
  }
  if (!check_labels (forward.settings->labels, result->n_tokens,
                     mllama_scheduler_get_runtime (scheduler)->weights->text.n_logits, error))
    return NULL;
  mllama_scheduler_run (scheduler, run_forward, &forward);
  if (forward.error) {
    g_propagate_error (error, forward.error);
    return NULL;
  }
  return g_steal_pointer (&result);
}

void
mllama_forward_result_free (MllamaForwardResult *result)
{
  if (!result)
    return;
  g_free (result->logits);
  g_free (result->hidden_states);
  g_free (result);
}
