/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "generation-private.h"

#include "model-private.h"

#define DEFAULT_MAX_TOKENS 64

const char *
mllama_finish_reason_to_string (MllamaFinishReason reason)
{
  static const char *const names[] = {"none", "stop", "length", "cancelled", "error"};

  g_return_val_if_fail (reason < G_N_ELEMENTS (names), NULL);
  return names[reason];
}

/* --- settings --- */

static gboolean
check_settings (const MllamaGenerationSettings *settings, GError **error)
{
  const char *name = NULL;
  double found = 0;

  if (settings->max_tokens < MLLAMA_MAX_TOKENS_NONE)
    name = "max_tokens (-1 or more)", found = settings->max_tokens;
  else if (!(settings->temperature >= 0 && settings->temperature <= G_MAXFLOAT))
    name = "temperature (0 or more)", found = settings->temperature;
  else if (!(settings->top_p >= 0 && settings->top_p <= 1))
    name = "top_p (0 to 1)", found = settings->top_p;
  else if (!(settings->repetition_penalty >= 0 && settings->repetition_penalty <= G_MAXFLOAT))
    name = "repetition_penalty (0 or more)", found = settings->repetition_penalty;
  if (name)
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID, "generation setting %s is %g", name, found);
  return name == NULL;
}

/* The answer may fill what the context leaves, and what the memory for keys and values holds at all. */
static gboolean
plan_length (MllamaGeneration *generation, const MllamaRuntime *runtime, GError **error)
{
  guint max_positions = runtime->checkpoint->config->text.max_positions, n_prompt = generation->row.n_prompt;
  guint n_pages, n_all = mllama_page_pool_get_n_pages (runtime->pages);
  gint wanted = generation->settings.max_tokens;

  if (n_prompt >= max_positions) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_TOO_LONG,
                 "the prompt has %u tokens, and the model's context holds %u, answer included; shorten the prompt",
                 n_prompt, max_positions);
    return FALSE;
  }
  generation->max_tokens = wanted == MLLAMA_MAX_TOKENS_NONE ? 0 : wanted == 0 ? DEFAULT_MAX_TOKENS : (guint) wanted;
  generation->max_tokens = MIN (generation->max_tokens, max_positions - n_prompt);
  n_pages = mllama_text_row_count_pages (mllama_generation_count_positions (generation));
  if (n_pages <= n_all)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_TOO_LONG,
               "a prompt of %u tokens and an answer of up to %u need %.1f MB of keys and values, and %.1f MB are set "
               "aside for all answers; shorten the prompt, lower max_tokens, or raise kv_bytes",
               n_prompt, generation->max_tokens, n_pages * runtime->page_bytes / 1e6,
               n_all * runtime->page_bytes / 1e6);
  return FALSE;
}

guint
mllama_generation_count_positions (const MllamaGeneration *generation)
{
  return generation->row.n_prompt + MAX (generation->max_tokens, 1) - 1;
}

MllamaSampling
mllama_generation_get_sampling (const MllamaGeneration *generation)
{
  const MllamaGenerationSettings *settings = &generation->settings;

  return (MllamaSampling){
      .temperature = settings->temperature,
      .top_k = settings->top_k,
      .top_p = settings->top_p > 0 ? settings->top_p : 1,
      .seed = settings->seed,
      .repetition_penalty = settings->repetition_penalty > 0 ? settings->repetition_penalty : 1,
      .position = generation->row.n_prompt + generation->n_drawn,
      .slot = generation->row.slot,
      .prompt = generation->n_drawn == 0 ? (const guint32 *) generation->ids->data : NULL,
      .n_prompt = generation->n_drawn == 0 ? generation->row.n_prompt : 0,
      .stop_ids = (const guint32 *) generation->stop_ids->data,
      .n_stop_ids = generation->stop_ids->len,
  };
}

/* --- life --- */

static GArray *
collect_stop_ids (MllamaModel *model, const MllamaGenerationSettings *settings)
{
  GArray *ids = g_array_new (FALSE, FALSE, sizeof (guint32));
  guint n_eos;
  const guint32 *eos = mllama_model_get_eos_ids (model, &n_eos);

  if (!settings->ignore_eos)
    g_array_append_vals (ids, eos, n_eos);
  g_array_append_vals (ids, settings->stop_ids, settings->n_stop_ids);
  return ids;
}

static MllamaGeneration *
create_generation (MllamaModel *model, MllamaPrompt *prompt, MllamaStates *const *states, guint n_states,
                   const MllamaGenerationSettings *settings)
{
  MllamaGeneration *generation = g_new0 (MllamaGeneration, 1);
  gsize n_ids;
  const guint32 *ids = mllama_prompt_get_ids (prompt, &n_ids);

  g_atomic_ref_count_init (&generation->ref_count);
  generation->model = mllama_model_ref (model);
  g_mutex_init (&generation->lock);
  g_cond_init (&generation->done);
  generation->settings = *settings;
  generation->settings.stop_ids = NULL;
  generation->stop_ids = collect_stop_ids (model, settings);
  mllama_text_row_init (&generation->row, prompt, states, n_states);
  generation->ids = g_array_sized_new (FALSE, FALSE, sizeof (guint32), n_ids + DEFAULT_MAX_TOKENS);
  g_array_append_vals (generation->ids, ids, n_ids);
  generation->logprobs = g_array_sized_new (FALSE, FALSE, sizeof (double), DEFAULT_MAX_TOKENS);
  generation->text = g_string_new (NULL);
  generation->decoder = mllama_token_decoder_new (mllama_model_get_tokenizer (model), TRUE);
  generation->created_us = g_get_monotonic_time ();
  return generation;
}

MllamaGeneration *
mllama_generation_ref (MllamaGeneration *generation)
{
  g_return_val_if_fail (generation != NULL, NULL);
  g_atomic_ref_count_inc (&generation->ref_count);
  return generation;
}

void
mllama_generation_unref (MllamaGeneration *generation)
{
  if (!generation || !g_atomic_ref_count_dec (&generation->ref_count))
    return;
  if (generation->settings.user_data_free)
    generation->settings.user_data_free (generation->settings.user_data);
  mllama_text_row_clear (&generation->row);
  g_array_unref (generation->stop_ids);
  g_array_unref (generation->ids);
  g_array_unref (generation->logprobs);
  g_string_free (generation->text, TRUE);
  mllama_token_decoder_free (generation->decoder);
  g_clear_error (&generation->error);
  g_mutex_clear (&generation->lock);
  g_cond_clear (&generation->done);
  mllama_model_unref (generation->model);
  g_free (generation);
}

/* --- progress --- */

gboolean
mllama_generation_is_cancelled (MllamaGeneration *generation)
{
  return g_atomic_int_get (&generation->is_cancelled);
}

static gboolean
ends_answer (const MllamaGeneration *generation, guint32 id)
{
  for (guint i = 0; i < generation->stop_ids->len; i++)
    if (g_array_index (generation->stop_ids, guint32, i) == id)
      return TRUE;
  return FALSE;
}

/* The text is a C string: NULs that tokens spell are left out. */
static void
drop_nuls (GString *text, gsize from)
{
  gsize to = from;

  for (gsize i = from; i < text->len; i++)
    if (text->str[i] != '\0')
      text->str[to++] = text->str[i];
  g_string_truncate (text, to);
}

static void
report_token (MllamaGeneration *generation, const MllamaSample *sample, gsize text_from)
{
  const MllamaGenerationSettings *settings = &generation->settings;
  MllamaToken token = {sample->id, sample->logprob, generation->text->str + text_from, generation->logprobs->len - 1};

  if (settings->on_token)
    settings->on_token (generation, &token, settings->user_data);
}

MllamaFinishReason
mllama_generation_accept (MllamaGeneration *generation, const MllamaSample *sample)
{
  gsize text_from = generation->text->len;
  gboolean is_end;

  if (!sample->finite) {
    g_set_error (&generation->error, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FINITE,
                 "the logits of token %u hold NaN or infinity; the weights are damaged, or their numbers overflow",
                 generation->logprobs->len);
    return MLLAMA_FINISH_ERROR;
  }
  generation->last_token_us = g_get_monotonic_time ();
  if (generation->logprobs->len == 0)
    generation->first_token_us = generation->last_token_us;
  g_array_append_val (generation->ids, sample->id);
  g_array_append_val (generation->logprobs, sample->logprob);
  is_end = ends_answer (generation, sample->id);
  mllama_token_decoder_push (generation->decoder, sample->id, generation->text);
  if (is_end || generation->logprobs->len >= generation->max_tokens)
    mllama_token_decoder_finish (generation->decoder, generation->text);
  drop_nuls (generation->text, text_from);
  report_token (generation, sample, text_from);
  if (is_end)
    return MLLAMA_FINISH_STOP;
  return generation->logprobs->len >= generation->max_tokens ? MLLAMA_FINISH_LENGTH : MLLAMA_FINISH_NONE;
}

static guint64
get_span_ns (gint64 from_us, gint64 to_us)
{
  return from_us > 0 && to_us > from_us ? (guint64) (to_us - from_us) * 1000 : 0;
}

static void
make_result (MllamaGeneration *generation, MllamaFinishReason reason)
{
  gint64 started = generation->started_us > 0 ? generation->started_us : g_get_monotonic_time ();

  mllama_token_decoder_finish (generation->decoder, generation->text);
  generation->result = (MllamaResult){
      .text = generation->text->str,
      .ids = (const guint32 *) generation->ids->data + generation->row.n_prompt,
      .logprobs = (const double *) generation->logprobs->data,
      .n_ids = generation->logprobs->len,
      .finish_reason = reason,
      .error = generation->error,
      .queue_ns = get_span_ns (generation->created_us, started),
      .prefill_ns = get_span_ns (generation->started_us, generation->first_token_us),
      .decode_ns = get_span_ns (generation->first_token_us, generation->last_token_us),
  };
}

void
mllama_generation_finish (MllamaGeneration *generation, MllamaFinishReason reason, GError *error)
{
  if (error) {
    g_clear_error (&generation->error);
    generation->error = error;
  }
  make_result (generation, reason);
  g_mutex_lock (&generation->lock);
  generation->is_done = TRUE;
  g_cond_broadcast (&generation->done);
  g_mutex_unlock (&generation->lock);
  if (generation->settings.on_done)
    generation->settings.on_done (generation, generation->settings.user_data);
}

void
mllama_generation_cancel (MllamaGeneration *generation)
{
  MllamaScheduler *scheduler = mllama_model_get_scheduler (generation->model, NULL);

  g_atomic_int_set (&generation->is_cancelled, TRUE);
  if (scheduler)
    mllama_scheduler_wake (scheduler);
}

const MllamaResult *
mllama_generation_wait (MllamaGeneration *generation)
{
  g_mutex_lock (&generation->lock);
  while (!generation->is_done)
    g_cond_wait (&generation->done, &generation->lock);
  g_mutex_unlock (&generation->lock);
  return &generation->result;
}

const MllamaResult *
mllama_generation_get_result (MllamaGeneration *generation)
{
  gboolean is_done;

  g_mutex_lock (&generation->lock);
  is_done = generation->is_done;
  g_mutex_unlock (&generation->lock);
  return is_done ? &generation->result : NULL;
}

/* --- start --- */

static MllamaGeneration *
fail_start (const MllamaGenerationSettings *settings)
{
  if (settings && settings->user_data_free)
    settings->user_data_free (settings->user_data);
  return NULL;
}

MllamaGeneration *
mllama_model_generate_async (MllamaModel *model, MllamaPrompt *prompt, MllamaStates *const *states, guint n_states,
                             const MllamaGenerationSettings *settings, GError **error)
{
  static const MllamaGenerationSettings defaults;
  MllamaScheduler *scheduler = mllama_model_get_scheduler (model, error);
  g_autoptr (MllamaGeneration) generation = NULL;

  if (!settings)
    settings = &defaults;
  if (!scheduler || !check_settings (settings, error) ||
      !mllama_model_check_states (model, prompt, states, n_states, error))
    return fail_start (settings);
  generation = create_generation (model, prompt, states, n_states, settings);
  if (!plan_length (generation, mllama_scheduler_get_runtime (scheduler), error))
    return NULL;
  if (generation->max_tokens == 0)
    mllama_generation_finish (generation, MLLAMA_FINISH_LENGTH, NULL);
  else
    mllama_scheduler_add (scheduler, generation);
  return g_steal_pointer (&generation);
}

MllamaGeneration *
mllama_model_generate (MllamaModel *model, MllamaPrompt *prompt, MllamaStates *const *states, guint n_states,
                       const MllamaGenerationSettings *settings, GError **error)
{
  g_autoptr (MllamaGeneration) generation =
      mllama_model_generate_async (model, prompt, states, n_states, settings, error);
  const MllamaResult *result;

  if (!generation)
    return NULL;
  result = mllama_generation_wait (generation);
  if (result->finish_reason == MLLAMA_FINISH_ERROR) {
    g_propagate_error (error, g_error_copy (result->error));
    return NULL;
  }
  return g_steal_pointer (&generation);
}
