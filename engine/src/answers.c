/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "answers.h"

#include "generation-private.h"

/* A pass that was queued and whose ids have not been read; the rows may have finished meanwhile. */
typedef struct {
  guint n_rows;
  MllamaGeneration *rows[MLLAMA_MAX_ROWS]; /* references */
} Step;

#define MAX_STEPS 4

struct _MllamaAnswers {
  MllamaRuntime *runtime;
  GQueue waiting;                             /* MllamaGeneration, references; they hold no memory yet */
  GQueue prefilling;                          /* likewise; with pages and a slot */
  MllamaGeneration *running[MLLAMA_MAX_ROWS]; /* likewise; all of the prompt has been queued */
  guint n_running;
  guint8 is_slot_taken[MLLAMA_MAX_ROWS];
  Step steps[MAX_STEPS]; /* a ring */
  guint first_step, n_steps;
  MllamaSample samples[MLLAMA_MAX_ROWS];
};

static gboolean
is_short (const MllamaGeneration *generation)
{
  return generation->row.n_prompt <= MLLAMA_MAX_ROWS;
}

static guint
count_rest (const MllamaGeneration *generation)
{
  return generation->row.n_prompt - generation->row.n_done;
}

static void
count (MllamaAnswers *answers)
{
  MllamaRuntime *runtime = answers->runtime;
  gsize kv_bytes = mllama_page_pool_get_n_taken (runtime->pages) * runtime->page_bytes;

  g_mutex_lock (&runtime->lock);
  runtime->statistics.kv_bytes = kv_bytes;
  runtime->statistics.n_running = answers->n_running + answers->prefilling.length;
  runtime->statistics.n_waiting = answers->waiting.length;
  g_mutex_unlock (&runtime->lock);
}

/* --- the end of an answer --- */

static void
leave_running (MllamaAnswers *answers, const MllamaGeneration *generation)
{
  guint n_kept = 0;

  for (guint i = 0; i < answers->n_running; i++)
    if (answers->running[i] != generation)
      answers->running[n_kept++] = answers->running[i];
  answers->n_running = n_kept;
}

/* Memory goes back at once: passes queued before its next use run before it too. The counters are right before whoever
 * waits for the answer can look at them. */
static void
finish (MllamaAnswers *answers, MllamaGeneration *generation, MllamaFinishReason reason, GError *error)
{
  MllamaRuntime *runtime = answers->runtime;

  leave_running (answers, generation);
  g_queue_remove (&answers->prefilling, generation);
  g_queue_remove (&answers->waiting, generation);
  if (generation->row.pages)
    answers->is_slot_taken[generation->row.slot] = FALSE;
  mllama_text_row_give_pages (&generation->row, runtime->pages);
  generation->is_finished = TRUE;
  g_mutex_lock (&runtime->lock);
  runtime->statistics.n_generations++;
  g_mutex_unlock (&runtime->lock);
  count (answers);
  mllama_generation_finish (generation, reason, error);
  mllama_generation_unref (generation);
}

static void
drop_cancelled_of (MllamaAnswers *answers, GQueue *queue)
{
  for (GList *link = queue->head, *next; link; link = next) {
    next = link->next;
    if (mllama_generation_is_cancelled (link->data))
      finish (answers, link->data, MLLAMA_FINISH_CANCELLED, NULL);
  }
}

static void
drop_cancelled (MllamaAnswers *answers)
{
  drop_cancelled_of (answers, &answers->waiting);
  drop_cancelled_of (answers, &answers->prefilling);
  for (guint i = answers->n_running; i > 0; i--)
    if (mllama_generation_is_cancelled (answers->running[i - 1]))
      finish (answers, answers->running[i - 1], MLLAMA_FINISH_CANCELLED, NULL);
}

/* --- admission --- */

static gboolean
take_slot (MllamaAnswers *answers, MllamaTextRow *row)
{
  for (guint i = 0; i < MLLAMA_MAX_ROWS; i++)
    if (!answers->is_slot_taken[i]) {
      row->slot = i;
      return TRUE;
    }
  return FALSE;
}

/* Memory for all tokens the answer can have, so that nothing runs out in its middle. */
static gboolean
take_memory (MllamaAnswers *answers, MllamaGeneration *generation, GError **error)
{
  MllamaRuntime *runtime = answers->runtime;
  guint n_pages = mllama_text_row_count_pages (mllama_generation_count_positions (generation));

  if (!take_slot (answers, &generation->row) || !mllama_text_row_take_pages (&generation->row, runtime->pages, n_pages))
    return FALSE;
  if (!mllama_runtime_commit_pages (runtime, &generation->row, error)) {
    mllama_text_row_give_pages (&generation->row, runtime->pages);
    return FALSE;
  }
  answers->is_slot_taken[generation->row.slot] = TRUE;
  return TRUE;
}

/* In the order they came: a large one at the head holds back smaller ones behind it, or it would never get its turn.
 * One that finds no memory waits for those that hold some; if none does, there will never be any. */
static void
admit_waiting (MllamaAnswers *answers)
{
  MllamaGeneration *generation;

  while ((generation = g_queue_peek_head (&answers->waiting))) {
    g_autoptr (GError) error = NULL;
    if (take_memory (answers, generation, &error)) {
      g_queue_pop_head (&answers->waiting);
      generation->started_us = g_get_monotonic_time ();
      g_queue_push_tail (&answers->prefilling, generation);
    } else if (error && answers->n_running + answers->prefilling.length == 0)
      finish (answers, generation, MLLAMA_FINISH_ERROR, g_steal_pointer (&error));
    else
      return;
  }
}

/* --- ids that come back --- */

static void
take_sample (MllamaAnswers *answers, MllamaGeneration *generation, const MllamaSample *sample, const GError *error)
{
  MllamaFinishReason reason = MLLAMA_FINISH_ERROR;

  if (generation->is_finished)
    return;
  if (!error)
    reason = mllama_generation_accept (generation, sample);
  if (reason != MLLAMA_FINISH_NONE)
    finish (answers, generation, reason, error ? g_error_copy (error) : NULL);
}

/* Waits for the oldest pass. */
static void
read_step (MllamaAnswers *answers)
{
  Step *step = &answers->steps[answers->first_step];
  MllamaBackend *be = answers->runtime->backend;
  g_autoptr (GError) error = NULL;

  answers->first_step = (answers->first_step + 1) % MAX_STEPS;
  answers->n_steps--;
  be->ops->samples_read (be, answers->samples, &error);
  for (guint i = 0; i < step->n_rows; i++) {
    take_sample (answers, step->rows[i], &answers->samples[i], error);
    mllama_generation_unref (step->rows[i]);
  }
}

/* --- passes --- */

static Step *
begin_step (MllamaAnswers *answers, MllamaPassKind kind)
{
  Step *step = &answers->steps[(answers->first_step + answers->n_steps) % MAX_STEPS];

  step->n_rows = 0;
  mllama_pass_builder_begin (&answers->runtime->pass, kind, TRUE, answers->runtime->kv);
  return step;
}

/* The id after the token added last is drawn. */
static void
add_draw (MllamaAnswers *answers, Step *step, MllamaGeneration *generation)
{
  MllamaSampling sampling = mllama_generation_get_sampling (generation);

  mllama_pass_builder_add_outputs (&answers->runtime->pass, 1, &sampling);
  generation->n_drawn++;
  step->rows[step->n_rows++] = mllama_generation_ref (generation);
}

static guint
add_running (MllamaAnswers *answers, Step *step)
{
  guint n_added = 0;

  for (guint i = 0; i < answers->n_running; i++) {
    MllamaGeneration *generation = answers->running[i];
    if (generation->n_drawn >= generation->max_tokens)
      continue;
    mllama_pass_builder_add (&answers->runtime->pass, &generation->row, NULL, 1);
    add_draw (answers, step, generation);
    n_added++;
  }
  return n_added;
}

/* At most n_most tokens of the prompt. When it is complete the answer runs. */
static guint
add_prompt (MllamaAnswers *answers, Step *step, MllamaGeneration *generation, guint n_most)
{
  guint n_tokens = MIN (count_rest (generation), n_most);
  const guint32 *ids = &g_array_index (generation->ids, guint32, generation->row.n_done);

  mllama_pass_builder_add (&answers->runtime->pass, &generation->row, ids, n_tokens);
  if (count_rest (generation) == 0) {
    g_queue_remove (&answers->prefilling, generation);
    answers->running[answers->n_running++] = generation;
    add_draw (answers, step, generation);
  }
  return n_tokens;
}

static void
end_step (MllamaAnswers *answers, guint n_decoded, guint n_prefilled)
{
  MllamaRuntime *runtime = answers->runtime;

  mllama_decoder_run (runtime->decoder, mllama_pass_builder_end (&runtime->pass));
  answers->n_steps++;
  g_mutex_lock (&runtime->lock);
  runtime->statistics.n_prefill_tokens += n_prefilled;
  runtime->statistics.n_decode_steps += n_decoded > 0;
  runtime->statistics.n_decode_rows += n_decoded;
  g_mutex_unlock (&runtime->lock);
  while (answers->n_steps > runtime->backend->ops->n_ahead)
    read_step (answers);
}

/* One pass of the oldest long prompt. */
static gboolean
run_long_prompt (MllamaAnswers *answers)
{
  for (GList *link = answers->prefilling.head; link; link = link->next) {
    Step *step;
    if (is_short (link->data))
      continue;
    step = begin_step (answers, MLLAMA_PASS_MANY);
    end_step (answers, 0, add_prompt (answers, step, link->data, MLLAMA_PREFILL_CHUNK));
    return TRUE;
  }
  return FALSE;
}

/* Short prompts in the order they came, as many tokens as fit, beside the running answers or without them. */
static gboolean
run_few (MllamaAnswers *answers, gboolean with_running)
{
  Step *step = begin_step (answers, MLLAMA_PASS_FEW);
  guint n_decoded = with_running ? add_running (answers, step) : 0, n_tokens = n_decoded;

  for (GList *link = answers->prefilling.head, *next; link && n_tokens < MLLAMA_MAX_ROWS; link = next) {
    next = link->next;
    if (is_short (link->data))
      n_tokens += add_prompt (answers, step, link->data, MLLAMA_MAX_ROWS - n_tokens);
  }
  if (n_tokens > 0)
    end_step (answers, n_decoded, n_tokens - n_decoded);
  return n_tokens > 0;
}

/* Whether all short prompts would have room beside the running answers. */
static gboolean
do_prompts_fit (const MllamaAnswers *answers)
{
  guint n_tokens = answers->n_running;

  for (GList *link = answers->prefilling.head; link; link = link->next)
    if (is_short (link->data))
      n_tokens += count_rest (link->data);
  return n_tokens <= MLLAMA_MAX_ROWS;
}

void
mllama_answers_take_turn (MllamaAnswers *answers)
{
  gboolean has_queued;

  drop_cancelled (answers);
  admit_waiting (answers);
  has_queued = run_long_prompt (answers);
  if (!do_prompts_fit (answers))
    has_queued |= run_few (answers, FALSE);
  has_queued |= run_few (answers, TRUE);
  if (!has_queued && answers->n_steps > 0)
    read_step (answers);
  count (answers);
}

gboolean
mllama_answers_is_idle (const MllamaAnswers *answers)
{
  return answers->waiting.length + answers->prefilling.length + answers->n_running + answers->n_steps == 0;
}

void
mllama_answers_add (MllamaAnswers *answers, MllamaGeneration *generation)
{
  g_queue_push_tail (&answers->waiting, mllama_generation_ref (generation));
}

MllamaAnswers *
mllama_answers_new (MllamaRuntime *runtime)
{
  MllamaAnswers *answers = g_new0 (MllamaAnswers, 1);

  g_assert (runtime->backend->ops->n_ahead < MAX_STEPS);
  answers->runtime = runtime;
  return answers;
}

void
mllama_answers_free (MllamaAnswers *answers)
{
  g_assert (mllama_answers_is_idle (answers));
  g_free (answers);
}
