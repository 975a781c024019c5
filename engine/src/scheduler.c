/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scheduler.h"

#include "answers.h"
#include "generation-private.h"

typedef struct {
  MllamaTaskFunc func;
  guint max_together;
  gpointer data;
  gboolean is_done; /* under the scheduler's lock */
} Task;

struct _MllamaScheduler {
  MllamaRuntime *runtime;
  MllamaAnswers *answers; /* the thread's own */
  GThread *thread;

  GMutex lock;   /* guards what follows */
  GCond changed; /* work came, or the scheduler is to stop */
  GCond task_done;
  gboolean is_stopping, is_woken;
  GQueue tasks;   /* Task, owned by the threads that wait for them */
  GQueue arrived; /* MllamaGeneration, references */
};

/* The next tasks of one kind that may run together. */
static GPtrArray *
take_tasks (GQueue *tasks)
{
  GPtrArray *taken = g_ptr_array_new ();
  Task *first = g_queue_peek_head (tasks), *task;

  while ((task = g_queue_peek_head (tasks)) && task->func == first->func && taken->len < first->max_together)
    g_ptr_array_add (taken, g_queue_pop_head (tasks));
  return taken;
}

/* Waits for work if there is none. Returns the tasks whose turn it is, none perhaps, or NULL when it is time to stop.
 */
static GPtrArray *
collect (MllamaScheduler *scheduler)
{
  gboolean is_idle = mllama_answers_is_idle (scheduler->answers);
  GPtrArray *tasks = NULL;
  MllamaGeneration *generation;

  g_mutex_lock (&scheduler->lock);
  while (!scheduler->is_stopping && !scheduler->is_woken && is_idle && !scheduler->tasks.length &&
         !scheduler->arrived.length)
    g_cond_wait (&scheduler->changed, &scheduler->lock);
  scheduler->is_woken = FALSE;
  if (!scheduler->is_stopping || !is_idle || scheduler->tasks.length > 0 || scheduler->arrived.length > 0)
    tasks = take_tasks (&scheduler->tasks);
  while ((generation = g_queue_pop_head (&scheduler->arrived))) {
    mllama_answers_add (scheduler->answers, generation);
    mllama_generation_unref (generation);
  }
  g_mutex_unlock (&scheduler->lock);
  return tasks;
}

static void
run_tasks (MllamaScheduler *scheduler, GPtrArray *tasks)
{
  g_autoptr (GPtrArray) data = g_ptr_array_new ();
  Task *first = tasks->len > 0 ? g_ptr_array_index (tasks, 0) : NULL;

  if (!first)
    return;
  for (guint i = 0; i < tasks->len; i++)
    g_ptr_array_add (data, ((Task *) g_ptr_array_index (tasks, i))->data);
  first->func (scheduler->runtime, data->pdata, data->len);
  g_mutex_lock (&scheduler->lock);
  for (guint i = 0; i < tasks->len; i++)
    ((Task *) g_ptr_array_index (tasks, i))->is_done = TRUE;
  g_cond_broadcast (&scheduler->task_done);
  g_mutex_unlock (&scheduler->lock);
}

static void
free_scheduler (MllamaScheduler *scheduler)
{
  mllama_answers_free (scheduler->answers);
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
  GPtrArray *tasks;

  while ((tasks = collect (scheduler))) {
    run_tasks (scheduler, tasks);
    g_ptr_array_unref (tasks);
    mllama_answers_take_turn (scheduler->answers);
  }
  free_scheduler (scheduler);
  return NULL;
}

MllamaScheduler *
mllama_scheduler_new (MllamaRuntime *runtime)
{
  MllamaScheduler *scheduler = g_new0 (MllamaScheduler, 1);

  scheduler->runtime = runtime;
  scheduler->answers = mllama_answers_new (runtime);
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
mllama_scheduler_run (MllamaScheduler *scheduler, MllamaTaskFunc func, guint max_together, gpointer data)
{
  Task task = {.func = func, .max_together = max_together, .data = data};

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
