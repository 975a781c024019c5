/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scheduler.h"

#include "generation-private.h"

typedef struct {
  MllamaTaskFunc func;
  gpointer data;
  gboolean is_done; /* under the scheduler's lock */
} Task;

struct _MllamaScheduler {
  MllamaRuntime *runtime;
  GThread *thread;

  GMutex lock;   /* guards what follows, up to the blank line */
  GCond changed; /* work came, or the scheduler is to stop */
  GCond task_done;
  gboolean is_stopping, is_woken;
  GQueue tasks;   /* Task, owned by the threads that wait for them */
  GQueue arrived; /* MllamaGeneration */

  /* The thread's own. */
  GQueue waiting, prefilling;                 /* MllamaGeneration; prefilling ones hold their pages */
  MllamaGeneration *running[MLLAMA_MAX_ROWS]; /* answers of which the first id is there */
  guint n_running;
  MllamaSampling sampling[MLLAMA_MAX_ROWS];
  MllamaSample samples[MLLAMA_MAX_ROWS];
  guint32 tokens[MLLAMA_MAX_ROWS];
};

static void
count (MllamaScheduler *scheduler)
{
  MllamaRuntime *runtime = scheduler->runtime;
  gsize kv_bytes = mllama_page_pool_get_n_taken (runtime->pages) * runtime->page_bytes;

  g_mutex_lock (&runtime->lock);
  runtime->statistics.kv_bytes = kv_bytes;
  runtime->statistics.n_running = scheduler->n_running + scheduler->prefilling.length;
  runtime->statistics.n_waiting = scheduler->waiting.length;
  g_mutex_unlock (&runtime->lock);
}

/* The counters are right before whoever waits for the answer can look at them. */
static void
finish (MllamaScheduler *scheduler, MllamaGeneration *generation, MllamaFinishReason reason, GError *error)
{
  MllamaRuntime *runtime = scheduler->runtime;

  mllama_text_row_give_pages (&generation->row, runtime->pages);
  g_mutex_lock (&runtime->lock);
  runtime->statistics.n_generations++;
  g_mutex_unlock (&runtime->lock);
  count (scheduler);
  mllama_generation_finish (generation, reason, error);
  mllama_generation_unref (generation);
}

/* --- waiting answers --- */

static gboolean
admit (MllamaScheduler *scheduler, MllamaGeneration *generation)
{
  guint n_pages = mllama_text_row_count_pages (mllama_generation_count_positions (generation));

  if (scheduler->n_running + scheduler->prefilling.length >= MLLAMA_MAX_ROWS)
    return FALSE;
  return mllama_text_row_take_pages (&generation->row, scheduler->runtime->pages, n_pages);
}

/* In the order they came: a large one at the head holds back smaller ones behind it, or it would never get its turn. */
static void
admit_waiting (MllamaScheduler *scheduler)
{
  MllamaGeneration *generation;

  for (GList *link = scheduler->waiting.head, *next; link; link = next) {
    next = link->next;
    if (!mllama_generation_is_cancelled (link->data))
      continue;
    generation = link->data;
    g_queue_delete_link (&scheduler->waiting, link);
    finish (scheduler, generation, MLLAMA_FINISH_CANCELLED, NULL);
  }
  while ((generation = g_queue_peek_head (&scheduler->waiting)) && admit (scheduler, generation)) {
    g_queue_pop_head (&scheduler->waiting);
    generation->started_us = g_get_monotonic_time ();
    g_queue_push_tail (&scheduler->prefilling, generation);
  }
}

/* --- prompts --- */

/* The sampled ids of answers [first, first + n) go to their owners; finished answers leave. */
static void
take_samples (MllamaScheduler *scheduler, guint first, guint n, GError *error)
{
  guint n_kept = first;

  for (guint i = 0; i < n; i++) {
    MllamaGeneration *generation = scheduler->running[first + i];
    MllamaFinishReason reason = MLLAMA_FINISH_ERROR;

    if (!error)
      reason = mllama_generation_accept (generation, &scheduler->samples[i]);
    scheduler->running[first + i] = NULL;
    if (reason == MLLAMA_FINISH_NONE)
      scheduler->running[n_kept++] = generation;
    else {
      /* Counted out before it is reported. */
      scheduler->n_running--;
      finish (scheduler, generation, reason, error ? g_error_copy (error) : NULL);
    }
  }
  g_clear_error (&error);
}

/* Draws the next id of answers [first, first + n), whose logits are those of the given tokens of the last pass. */
static void
draw (MllamaScheduler *scheduler, guint first, guint n)
{
  MllamaRuntime *runtime = scheduler->runtime;
  const MllamaTensor *logits;
  GError *error = NULL;

  for (guint i = 0; i < n; i++)
    scheduler->sampling[i] = mllama_generation_get_sampling (scheduler->running[first + i]);
  logits = mllama_decoder_get_logits (runtime->decoder, scheduler->tokens, n, MLLAMA_PHASE_DECODE);
  runtime->backend->ops->sample (runtime->backend, logits, n, scheduler->sampling, scheduler->samples, &error);
  take_samples (scheduler, first, n, error);
}

/* One pass of the oldest prompt. */
static void
prefill (MllamaScheduler *scheduler)
{
  MllamaRuntime *runtime = scheduler->runtime;
  MllamaGeneration *generation = g_queue_peek_head (&scheduler->prefilling);
  MllamaTextRow *row = &generation->row;
  guint n_tokens = MIN (row->n_prompt - row->n_done, mllama_decoder_get_max_tokens (runtime->decoder));

  if (mllama_generation_is_cancelled (generation)) {
    g_queue_pop_head (&scheduler->prefilling);
    finish (scheduler, generation, MLLAMA_FINISH_CANCELLED, NULL);
    return;
  }
  mllama_pass_builder_begin (&runtime->pass, MLLAMA_PHASE_PREFILL, runtime->kv);
  mllama_pass_builder_add (&runtime->pass, row, &g_array_index (generation->ids, guint32, row->n_done), n_tokens);
  mllama_decoder_run (runtime->decoder, mllama_pass_builder_end (&runtime->pass));
  g_mutex_lock (&runtime->lock);
  runtime->statistics.n_prefill_tokens += n_tokens;
  g_mutex_unlock (&runtime->lock);
  if (row->n_done < row->n_prompt)
    return;
  g_queue_pop_head (&scheduler->prefilling);
  scheduler->running[scheduler->n_running++] = generation;
  scheduler->tokens[0] = n_tokens - 1;
  draw (scheduler, scheduler->n_running - 1, 1);
}

/* --- decode --- */

static void
drop_cancelled (MllamaScheduler *scheduler)
{
  guint n_rows = scheduler->n_running, n_kept = 0;

  for (guint i = 0; i < n_rows; i++) {
    MllamaGeneration *generation = scheduler->running[i];
    if (!mllama_generation_is_cancelled (generation)) {
      scheduler->running[n_kept++] = generation;
      continue;
    }
    scheduler->n_running--;
    finish (scheduler, generation, MLLAMA_FINISH_CANCELLED, NULL);
  }
}

/* One token of every running answer. */
static void
decode (MllamaScheduler *scheduler)
{
  MllamaRuntime *runtime = scheduler->runtime;
  guint n_rows = scheduler->n_running;

  mllama_pass_builder_begin (&runtime->pass, MLLAMA_PHASE_DECODE, runtime->kv);
  for (guint i = 0; i < n_rows; i++) {
    MllamaGeneration *generation = scheduler->running[i];
    mllama_pass_builder_add (&runtime->pass, &generation->row,
                             &g_array_index (generation->ids, guint32, generation->row.n_done), 1);
    scheduler->tokens[i] = i;
  }
  mllama_decoder_run (runtime->decoder, mllama_pass_builder_end (&runtime->pass));
  g_mutex_lock (&runtime->lock);
  runtime->statistics.n_decode_steps++;
  runtime->statistics.n_decode_rows += n_rows;
  g_mutex_unlock (&runtime->lock);
  draw (scheduler, 0, n_rows);
}

/* --- the thread --- */

static gboolean
has_work (const MllamaScheduler *scheduler)
{
  return scheduler->waiting.length + scheduler->prefilling.length + scheduler->n_running > 0;
}

/* Waits for work if there is none. Returns FALSE when it is time to stop. */
static gboolean
collect (MllamaScheduler *scheduler, Task **task)
{
  MllamaGeneration *generation;

  g_mutex_lock (&scheduler->lock);
  while (!scheduler->is_stopping && !scheduler->is_woken && !has_work (scheduler) && !scheduler->tasks.length &&
         !scheduler->arrived.length)
    g_cond_wait (&scheduler->changed, &scheduler->lock);
  scheduler->is_woken = FALSE;
  while ((generation = g_queue_pop_head (&scheduler->arrived)))
    g_queue_push_tail (&scheduler->waiting, generation);
  *task = g_queue_pop_head (&scheduler->tasks);
  g_mutex_unlock (&scheduler->lock);
  return *task || has_work (scheduler) || !scheduler->is_stopping;
}

static void
run_task (MllamaScheduler *scheduler, Task *task)
{
  task->func (scheduler->runtime, task->data);
  g_mutex_lock (&scheduler->lock);
  task->is_done = TRUE;
  g_cond_broadcast (&scheduler->task_done);
  g_mutex_unlock (&scheduler->lock);
}

static void
free_scheduler (MllamaScheduler *scheduler)
{
  mllama_runtime_free (scheduler->runtime);
  g_mutex_clear (&scheduler->lock);
  g_cond_clear (&scheduler->changed);
  g_cond_clear (&scheduler->task_done);
  g_free (scheduler);
}

/* The thread frees what it worked with: the last reference to a model may be dropped by one of its own callbacks. */
static gpointer
run_thread (gpointer data)
{
  MllamaScheduler *scheduler = data;
  Task *task;

  while (collect (scheduler, &task)) {
    if (task)
      run_task (scheduler, task);
    admit_waiting (scheduler);
    if (scheduler->prefilling.length > 0)
      prefill (scheduler);
    drop_cancelled (scheduler);
    if (scheduler->n_running > 0)
      decode (scheduler);
    count (scheduler);
  }
  free_scheduler (scheduler);
  return NULL;
}

MllamaScheduler *
mllama_scheduler_new (MllamaRuntime *runtime)
{
  MllamaScheduler *scheduler = g_new0 (MllamaScheduler, 1);

  scheduler->runtime = runtime;
  g_mutex_init (&scheduler->lock);
  g_cond_init (&scheduler->changed);
  g_cond_init (&scheduler->task_done);
  scheduler->thread = g_thread_new ("mllama", run_thread, scheduler);
  return scheduler;
}

void
mllama_scheduler_stop (MllamaScheduler *scheduler)
{
  GThread *thread = scheduler->thread;

  g_mutex_lock (&scheduler->lock);
  scheduler->is_stopping = TRUE;
  g_cond_signal (&scheduler->changed);
  g_mutex_unlock (&scheduler->lock);
  if (thread == g_thread_self ())
    g_thread_unref (thread);
  else
    g_thread_join (thread);
}

MllamaRuntime *
mllama_scheduler_get_runtime (MllamaScheduler *scheduler)
{
  return scheduler->runtime;
}

void
mllama_scheduler_run (MllamaScheduler *scheduler, MllamaTaskFunc func, gpointer data)
{
  Task task = {.func = func, .data = data};

  g_assert (scheduler->thread != g_thread_self ());
  g_mutex_lock (&scheduler->lock);
  g_queue_push_tail (&scheduler->tasks, &task);
  g_cond_signal (&scheduler->changed);
  while (!task.is_done)
    g_cond_wait (&scheduler->task_done, &scheduler->lock);
  g_mutex_unlock (&scheduler->lock);
}

void
mllama_scheduler_add (MllamaScheduler *scheduler, MllamaGeneration *generation)
{
  g_mutex_lock (&scheduler->lock);
  g_queue_push_tail (&scheduler->arrived, mllama_generation_ref (generation));
  g_cond_signal (&scheduler->changed);
  g_mutex_unlock (&scheduler->lock);
}

void
mllama_scheduler_wake (MllamaScheduler *scheduler)
{
  g_mutex_lock (&scheduler->lock);
  scheduler->is_woken = TRUE;
  g_cond_signal (&scheduler->changed);
  g_mutex_unlock (&scheduler->lock);
}
