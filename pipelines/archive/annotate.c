/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "annotate.h"

#include <signal.h>

#include "model.h"
#include "outputs.h"
#include "progress.h"
#include "slot.h"

#define UPDATE_TIME (G_TIME_SPAN_SECOND / 4)

/* What a worker hands back of a clip. */
typedef struct {
  const ArchiveClip *clip; /* NULL: the worker has ended */
  ArchiveAnnotation *annotation;
  GError *error;
} Result;

typedef struct {
  const ArchiveOptions *options;
  ArchiveSettings *settings;
  ArchiveIndex *index;
  ArchiveProgress *progress;
  ArchiveCounts counts;
  GPtrArray *todo;       /* of ArchiveClip, borrowed */
  gint n_begun;          /* atomic: clips of todo that workers have taken */
  GAsyncQueue *results;  /* of Result */
  GCancellable *stopped; /* no more clips are begun, and those in work are given up */
  GError *fault;         /* why nothing can go on */
} Run;

typedef struct {
  Run *run;
  ArchiveSlot *slot;
  GThread *thread;
} Worker;

static volatile sig_atomic_t is_interrupted;

static void
note_signal (int number)
{
  is_interrupted = TRUE;
}

static const ArchiveQuestion *
get_questions (const Run *run)
{
  return (const ArchiveQuestion *) (void *) run->options->questions->data;
}

/* --- workers --- */

static gboolean
annotate_clip (Worker *worker, const ArchiveClip *clip, Result *result)
{
  Run *run = worker->run;
  g_autofree char *output = archive_options_get_output (run->options, clip);
  g_autofree char *thumbs = archive_outputs_prepare (output, &result->error);

  if (!thumbs)
    return FALSE;
  result->annotation = archive_slot_annotate (worker->slot, clip, thumbs, run->stopped, &result->error);
  if (result->annotation && archive_outputs_write (output, thumbs, get_questions (run), run->options->questions->len,
                                                   result->annotation, &result->error))
    return TRUE;
  archive_outputs_discard (thumbs);
  return FALSE;
}

static gpointer
work (gpointer data)
{
  Worker *worker = data;
  Run *run = worker->run;
  Result *last = g_new0 (Result, 1);

  while (!g_cancellable_is_cancelled (run->stopped)) {
    const guint number = (guint) g_atomic_int_add (&run->n_begun, 1);
    if (number >= run->todo->len)
      break;
    Result *result = g_new0 (Result, 1);
    result->clip = g_ptr_array_index (run->todo, number);
    annotate_clip (worker, result->clip, result);
    g_async_queue_push (run->results, result);
  }
  g_async_queue_push (run->results, last);
  return NULL;
}

/* --- results --- */

static void
stop (Run *run, GError *fault)
{
  if (run->fault)
    g_clear_error (&fault);
  else
    run->fault = fault;
  g_cancellable_cancel (run->stopped);
}

static void
enter (Run *run, const ArchiveClip *clip, const ArchiveAnnotation *annotation)
{
  g_autofree char *output = archive_options_get_output (run->options, clip);
  GError *error = NULL;

  if (!archive_index_put (run->index, clip, run->settings, get_questions (run), run->options->questions->len,
                          annotation, output, &error) ||
      !archive_outputs_finish (output, &error)) {
    stop (run, error);
    return;
  }
  run->counts.n_annotated++;
  run->counts.n_captions += annotation->captions->len;
  run->counts.video_ns += annotation->duration_ns;
  archive_progress_tell (run->progress, FALSE, "%s: %u captions, %.1f s of video", clip->name,
                         annotation->captions->len, (double) annotation->duration_ns * 1e-9);
}

/* Of a clip: the others go on. Of the model or the disk: nothing will do better. */
static void
enter_failure (Run *run, const ArchiveClip *clip, const GError *error)
{
  GError *fault = NULL;

  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return;
  if (!g_error_matches (error, ARCHIVE_ERROR, ARCHIVE_ERROR_CLIP)) {
    stop (run, g_error_copy (error));
    return;
  }
  run->counts.n_failed++;
  archive_progress_tell (run->progress, TRUE, "%s: %s", clip->path, error->message);
  if (!archive_index_put_failure (run->index, clip, run->settings, error->message, &fault))
    stop (run, fault);
}

static void
take_result (Run *run, Result *result)
{
  run->counts.n_bytes_done += result->clip->size;
  if (result->error)
    enter_failure (run, result->clip, result->error);
  else
    enter (run, result->clip, result->annotation);
}

static void
take_results (Run *run, const ArchiveSlot *slot, guint n_workers)
{
  while (n_workers > 0) {
    Result *result = g_async_queue_timeout_pop (run->results, UPDATE_TIME);
    if (result && result->clip)
      take_result (run, result);
    else if (result)
      n_workers--;
    if (result) {
      archive_annotation_free (result->annotation);
      g_clear_error (&result->error);
      g_free (result);
    }
    if (is_interrupted && !g_cancellable_is_cancelled (run->stopped))
      stop (run, g_error_new_literal (ARCHIVE_ERROR, ARCHIVE_ERROR_OUTPUT,
                                      "Interrupted; the same command goes on where this one stopped"));
    run->counts.occupancy = archive_slot_read_occupancy (slot);
    archive_progress_update (run->progress, &run->counts);
  }
  archive_progress_finish (run->progress, &run->counts);
}

/* --- what is to be done --- */

/* Two clips may not have the same files. */
static gboolean
check_outputs (const Run *run, const GPtrArray *clips, GError **error)
{
  g_autoptr (GHashTable) known = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  for (guint i = 0; i < clips->len; i++) {
    const ArchiveClip *clip = g_ptr_array_index (clips, i);
    char *output = archive_options_get_output (run->options, clip);
    const char *other = g_hash_table_lookup (known, output);
    if (other) {
      g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_USAGE,
                   "%s and %s would both be written to %s; annotate them one by one", other, clip->path, output);
      g_free (output);
      return FALSE;
    }
    g_hash_table_insert (known, output, clip->path);
  }
  return TRUE;
}

static gboolean
is_known (Run *run, const ArchiveClip *clip)
{
  g_autofree char *output = archive_options_get_output (run->options, clip);

  return !run->options->force && archive_index_has (run->index, clip, run->settings, output) &&
         archive_outputs_exist (output, get_questions (run), run->options->questions->len,
                                archive_index_count_thumbnails (run->index, clip));
}

static void
choose_clips (Run *run, const GPtrArray *clips)
{
  run->todo = g_ptr_array_new ();
  for (guint i = 0; i < clips->len; i++) {
    ArchiveClip *clip = g_ptr_array_index (clips, i);
    if (is_known (run, clip)) {
      run->counts.n_known++;
      continue;
    }
    g_ptr_array_add (run->todo, clip);
    run->counts.n_bytes += clip->size;
  }
  run->counts.n_clips = run->todo->len;
}

static gboolean
find_settings (Run *run, GError **error)
{
  GstMllamaCaptionSettings settings = {0};

  g_object_get (run->options->element, "model", &settings.model, NULL);
  g_autofree char *model = gst_mllama_caption_model_find (&settings, error);
  g_free (settings.model);
  run->settings = model ? archive_options_make_settings (run->options, model) : NULL;
  return model != NULL;
}

static gboolean
open_index (Run *run, GError **error)
{
  g_autofree char *folder = g_path_get_dirname (run->options->index);

  if (run->options->dry_run && !g_file_test (run->options->index, G_FILE_TEST_EXISTS)) {
    run->index = archive_index_open (":memory:", TRUE, error);
    return run->index != NULL;
  }
  g_mkdir_with_parents (folder, 0777);
  run->index = archive_index_open (run->options->index, TRUE, error);
  return run->index != NULL;
}

/* --- a run --- */

static void
free_workers (Worker *workers, guint n)
{
  for (guint i = 0; i < n; i++) {
    g_clear_pointer (&workers[i].thread, g_thread_join);
    archive_slot_free (workers[i].slot);
  }
  g_free (workers);
}

static gboolean
annotate_all (Run *run, GError **error)
{
  const guint n = MIN ((guint) run->options->n_jobs, run->todo->len);
  Worker *workers = g_new0 (Worker, n);
  guint n_open = 0;

  run->results = g_async_queue_new ();
  run->stopped = g_cancellable_new ();
  signal (SIGINT, note_signal);
  signal (SIGTERM, note_signal);
  for (; n_open < n; n_open++) {
    workers[n_open] = (Worker){run, archive_slot_new (run->options, error), NULL};
    if (!workers[n_open].slot)
      break;
  }
  if (n_open == n) {
    for (guint i = 0; i < n; i++)
      workers[i].thread = g_thread_new ("mllama-slot", work, &workers[i]);
    take_results (run, workers[0].slot, n);
  }
  free_workers (workers, n_open);
  g_async_queue_unref (run->results);
  g_object_unref (run->stopped);
  if (run->fault)
    g_propagate_error (error, g_steal_pointer (&run->fault));
  return n_open == n && (!error || !*error) && run->counts.n_failed == 0;
}

static void
tell_plan (const Run *run)
{
  for (guint i = 0; run->options->dry_run && i < run->todo->len; i++)
    archive_progress_tell (run->progress, FALSE, "%s", ((ArchiveClip *) g_ptr_array_index (run->todo, i))->path);
  archive_progress_tell (run->progress, FALSE, "%u clips to annotate, %u known", run->todo->len, run->counts.n_known);
}

static gboolean
run_on (Run *run, const GPtrArray *clips, GError **error)
{
  if (!check_outputs (run, clips, error) || !find_settings (run, error) || !open_index (run, error))
    return FALSE;
  choose_clips (run, clips);
  tell_plan (run);
  archive_progress_update (run->progress, &run->counts);
  return run->options->dry_run || run->todo->len == 0 || annotate_all (run, error);
}

gboolean
archive_annotate (const ArchiveOptions *options, GError **error)
{
  g_autoptr (GPtrArray) clips = archive_options_find_clips (options, error);
  Run run = {.options = options};

  if (!clips)
    return FALSE;
  if (clips->len == 0) {
    g_set_error_literal (error, ARCHIVE_ERROR, ARCHIVE_ERROR_USAGE,
                         "There are no clips; --include says which files are");
    return FALSE;
  }
  run.progress = archive_progress_new (options->no_progress, options->metrics);
  const gboolean is_good = run_on (&run, clips, error);
  archive_progress_free (run.progress);
  archive_index_free (run.index);
  archive_settings_free (run.settings);
  g_clear_pointer (&run.todo, g_ptr_array_unref);
  return is_good;
}
