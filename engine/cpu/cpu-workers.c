/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu-workers.h"

/* Runs a thread gets on average: enough that a thread which is held up does not hold up the others. */
#define RUNS_PER_THREAD 4

struct _MllamaCpuWorkers {
  guint n_helpers;
  GThread **helpers; /* [n_helpers] */

  GMutex lock; /* guards what follows, but for next */
  GCond wake;  /* a job was opened, or it is time to leave */
  GCond idle;  /* n_active fell to 0 */
  gboolean leaving;
  gboolean open; /* helpers may still join the job */
  guint job;     /* counts jobs, so that a helper joins each at most once */
  guint n_active;
  guint n_started; /* helpers that have taken their number */

  /* The job; constant while it is open or somebody is active. */
  MllamaCpuTask task;
  gpointer data;
  gsize n_items, n_items_a_run, n_runs;
  guint next; /* atomic: the first run nobody has taken */
};

static void
run_items (MllamaCpuWorkers *workers, guint worker)
{
  for (;;) {
    gsize run = (guint) g_atomic_int_add (&workers->next, 1);
    gsize first = run * workers->n_items_a_run;

    if (run >= workers->n_runs)
      return;
    workers->task (workers->data, first, MIN (workers->n_items_a_run, workers->n_items - first), worker);
  }
}

static gpointer
help (gpointer data)
{
  MllamaCpuWorkers *workers = data;
  guint worker, seen = 0;

  g_mutex_lock (&workers->lock);
  worker = ++workers->n_started; /* 0 is the caller */
  for (;;) {
    while (!workers->leaving && !(workers->open && workers->job != seen))
      g_cond_wait (&workers->wake, &workers->lock);
    if (workers->leaving)
      break;
    seen = workers->job;
    workers->n_active++;
    g_mutex_unlock (&workers->lock);
    run_items (workers, worker);
    g_mutex_lock (&workers->lock);
    if (--workers->n_active == 0)
      g_cond_signal (&workers->idle);
  }
  g_mutex_unlock (&workers->lock);
  return NULL;
}

static void
open_job (MllamaCpuWorkers *workers, gsize n_items, gsize n_items_a_run, MllamaCpuTask task, gpointer data)
{
  g_mutex_lock (&workers->lock);
  workers->task = task;
  workers->data = data;
  workers->n_items = n_items;
  workers->n_items_a_run = n_items_a_run;
  workers->n_runs = (n_items + n_items_a_run - 1) / n_items_a_run;
  g_atomic_int_set (&workers->next, 0);
  workers->job++;
  workers->open = TRUE;
  g_cond_broadcast (&workers->wake);
  g_mutex_unlock (&workers->lock);
}

/* Helpers that have not woken up by now are not waited for. */
static void
close_job (MllamaCpuWorkers *workers)
{
  g_mutex_lock (&workers->lock);
  workers->open = FALSE;
  while (workers->n_active > 0)
    g_cond_wait (&workers->idle, &workers->lock);
  g_mutex_unlock (&workers->lock);
}

void
mllama_cpu_workers_run (MllamaCpuWorkers *workers, gsize n_items, gsize min_items, MllamaCpuTask task, gpointer data)
{
  gsize n_items_a_run = MAX (MAX (min_items, 1), n_items / (RUNS_PER_THREAD * (workers->n_helpers + 1)));

  if (n_items == 0)
    return;
  if (workers->n_helpers == 0 || n_items <= n_items_a_run) {
    task (data, 0, n_items, 0);
    return;
  }
  open_job (workers, n_items, n_items_a_run, task, data);
  run_items (workers, 0);
  close_job (workers);
}

guint
mllama_cpu_workers_get_n (const MllamaCpuWorkers *workers)
{
  return workers->n_helpers + 1;
}

MllamaCpuWorkers *
mllama_cpu_workers_new (guint n)
{
  MllamaCpuWorkers *workers = g_new0 (MllamaCpuWorkers, 1);
  guint n_helpers = (n > 0 ? n : g_get_num_processors ()) - 1;

  g_mutex_init (&workers->lock);
  g_cond_init (&workers->wake);
  g_cond_init (&workers->idle);
  workers->helpers = g_new0 (GThread *, n_helpers);
  /* A system that refuses threads gets fewer of them, not an error: the caller alone can do it all. */
  while (workers->n_helpers < n_helpers) {
    GThread *thread = g_thread_try_new ("mllama-cpu", help, workers, NULL);
    if (!thread)
      break;
    workers->helpers[workers->n_helpers++] = thread;
  }
  return workers;
}

void
mllama_cpu_workers_free (MllamaCpuWorkers *workers)
{
  if (!workers)
    return;
  g_mutex_lock (&workers->lock);
  workers->leaving = TRUE;
  g_cond_broadcast (&workers->wake);
  g_mutex_unlock (&workers->lock);
  for (guint i = 0; i < workers->n_helpers; i++)
    g_thread_join (workers->helpers[i]);
  g_free (workers->helpers);
  g_mutex_clear (&workers->lock);
  g_cond_clear (&workers->wake);
  g_cond_clear (&workers->idle);
  g_free (workers);
}
