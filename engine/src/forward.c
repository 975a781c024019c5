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

/* Hidden states and logits of the outputs of the last pass, whose first token is token first of the prompt. */
static gboolean
read_outputs (Forward *forward, MllamaRuntime *runtime, guint first, guint n)
{
  MllamaForwardResult *result = forward->result;
  const MllamaBackendOps *ops = runtime->backend->ops;
  guint n_skipped = first < forward->first_logit ? MIN (forward->first_logit - first, n) : 0;

  if (result->hidden_states &&
      !ops->tensor_read (runtime->backend, mllama_decoder_get_hidden (runtime->decoder), 0, n,
                         result->hidden_states + (gsize) first * result->hidden_size, &forward->error))
    return FALSE;
  return n_skipped == n ||
         ops->tensor_read (runtime->backend, mllama_decoder_get_logits (runtime->decoder), n_skipped, n - n_skipped,
                           result->logits + (gsize) (first + n_skipped - forward->first_logit) * result->vocab_size,
                           &forward->error);
}

/* Passes of as many tokens as may be outputs of one. */
static gboolean
run_chunks (Forward *forward, MllamaRuntime *runtime, MllamaTextRow *row)
{
  gsize n_ids;
  const guint32 *ids = mllama_prompt_get_ids (forward->prompt, &n_ids);
  MllamaPassKind kind = row->n_prompt <= MLLAMA_MAX_ROWS ? MLLAMA_PASS_FEW : MLLAMA_PASS_MANY;

  while (row->n_done < row->n_prompt) {
    guint first = row->n_done, n = MIN (row->n_prompt - first, MLLAMA_MAX_ROWS);
    guint first_output = forward->result->hidden_states ? first : MAX (first, forward->first_logit);
    guint n_outputs = first + n > first_output ? first + n - first_output : 0;

    mllama_pass_builder_begin (&runtime->pass, kind, FALSE, runtime->kv);
    mllama_pass_builder_add (&runtime->pass, row, ids + first, n);
    mllama_pass_builder_add_outputs (&runtime->pass, n_outputs, NULL);
    mllama_decoder_run (runtime->decoder, mllama_pass_builder_end (&runtime->pass));
    if (n_outputs > 0 && !read_outputs (forward, runtime, first_output, n_outputs))
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

static gboolean
take_memory (Forward *forward, MllamaRuntime *runtime, MllamaTextRow *row)
{
  guint n_pages = mllama_text_row_count_pages (row->n_prompt);

  if (mllama_text_row_take_pages (row, runtime->pages, n_pages))
    return mllama_runtime_commit_pages (runtime, row, &forward->error);
  g_set_error (&forward->error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY,
               "a forward pass of %u tokens needs %u pages of keys and values, and answers hold %u of %u; wait for "
               "them, or raise kv_bytes",
               row->n_prompt, n_pages, mllama_page_pool_get_n_taken (runtime->pages),
               mllama_page_pool_get_n_pages (runtime->pages));
  return FALSE;
}

static void
run_forward (MllamaRuntime *runtime, gpointer *data, guint n_data)
{
  Forward *forward = data[0];
  MllamaTextRow row;

  if (!allocate_result (forward, runtime))
    return;
  mllama_text_row_init (&row, forward->prompt, forward->states, forward->n_states);
  if (take_memory (forward, runtime, &row) && run_chunks (forward, runtime, &row))
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
  mllama_scheduler_run (scheduler, run_forward, 1, &forward);
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
