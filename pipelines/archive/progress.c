/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "progress.h"

#include <stdio.h>

#include "../progress-line.h"

#define BAR_WIDTH 24

struct _ArchiveProgress {
  ProgressLine line;
  char *metrics;
  gint64 start_us;
};

ArchiveProgress *
archive_progress_new (gboolean is_plain, const char *metrics)
{
  ArchiveProgress *progress = g_new0 (ArchiveProgress, 1);

  progress_line_init (&progress->line, is_plain);
  progress->metrics = g_strdup (metrics);
  progress->start_us = g_get_monotonic_time ();
  return progress;
}

void
archive_progress_free (ArchiveProgress *progress)
{
  if (!progress)
    return;
  progress_line_clear (&progress->line);
  g_free (progress->metrics);
  g_free (progress);
}

void
archive_progress_tell (ArchiveProgress *progress, gboolean is_fault, const char *format, ...)
{
  va_list arguments;

  progress_line_clear (&progress->line);
  va_start (arguments, format);
  g_autofree char *line = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  fprintf (is_fault ? stderr : stdout, "%s%s\n", is_fault ? "mllama-archive: " : "", line);
  fflush (stdout);
}

static double
get_seconds (const ArchiveProgress *progress)
{
  return MAX (1e-3, (double) (g_get_monotonic_time () - progress->start_us) / G_TIME_SPAN_SECOND);
}

/* ", 0:01:02 left", judged by the bytes of clips; nothing before there are any (transfer full). */
static char *
spell_time_left (double seconds, double share)
{
  const guint left = share > 0 ? (guint) (seconds / share - seconds) : 0;

  return share > 0 ? g_strdup_printf (", %u:%02u:%02u left", left / 3600, left / 60 % 60, left % 60) : g_strdup ("");
}

static void
draw_line (ArchiveProgress *progress, const ArchiveCounts *counts)
{
  const double seconds = get_seconds (progress);
  const double share = counts->n_bytes > 0 ? (double) counts->n_bytes_done / (double) counts->n_bytes : 1;
  g_autofree char *bar = progress_line_make_bar (share, BAR_WIDTH), *left = spell_time_left (seconds, share);
  g_autofree char *failed = counts->n_failed > 0 ? g_strdup_printf (", %u failed", counts->n_failed) : g_strdup ("");

  progress_line_draw (&progress->line, "%s %u of %u clips, %.2f h of video, %.1f captions/s%s%s", bar,
                      counts->n_annotated + counts->n_failed, counts->n_clips, (double) counts->video_ns * 1e-9 / 3600,
                      (double) counts->n_captions / seconds, failed, left);
}

static void
append_metric (GString *text, const char *name, const char *type, const char *help, double value)
{
  char digits[G_ASCII_DTOSTR_BUF_SIZE];

  if (help)
    g_string_append_printf (text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
  g_string_append_printf (text, "%s %s\n", name, g_ascii_formatd (digits, sizeof digits, "%.10g", value));
}

static void
append_clips (GString *text, const ArchiveCounts *counts)
{
  const guint n_waiting = counts->n_clips - counts->n_annotated - counts->n_failed;

  g_string_append (text, "# HELP mllama_archive_clips Clips of this run by what became of them.\n"
                         "# TYPE mllama_archive_clips gauge\n");
  append_metric (text, "mllama_archive_clips{state=\"annotated\"}", NULL, NULL, counts->n_annotated);
  append_metric (text, "mllama_archive_clips{state=\"failed\"}", NULL, NULL, counts->n_failed);
  append_metric (text, "mllama_archive_clips{state=\"known\"}", NULL, NULL, counts->n_known);
  append_metric (text, "mllama_archive_clips{state=\"waiting\"}", NULL, NULL, n_waiting);
}

static void
write_metrics (ArchiveProgress *progress, const ArchiveCounts *counts)
{
  g_autoptr (GString) text = g_string_new (NULL);
  g_autoptr (GError) error = NULL;

  append_clips (text, counts);
  append_metric (text, "mllama_archive_captions_total", "counter", "Captions and answers written.",
                 (double) counts->n_captions);
  append_metric (text, "mllama_archive_video_seconds_total", "counter", "Seconds of video annotated.",
                 (double) counts->video_ns * 1e-9);
  append_metric (text, "mllama_archive_rows_per_step", "gauge", "Answers that a decode step advances, on the mean.",
                 counts->occupancy);
  if (archive_write_file (progress->metrics, text->str, FALSE, &error))
    return;
  archive_progress_tell (progress, TRUE, "%s; no more metrics are written", error->message);
  g_clear_pointer (&progress->metrics, g_free);
}

void
archive_progress_update (ArchiveProgress *progress, const ArchiveCounts *counts)
{
  draw_line (progress, counts);
  if (progress->metrics)
    write_metrics (progress, counts);
}

void
archive_progress_finish (ArchiveProgress *progress, const ArchiveCounts *counts)
{
  const double seconds = get_seconds (progress), video = (double) counts->video_ns * 1e-9;

  archive_progress_update (progress, counts);
  archive_progress_tell (
      progress, FALSE,
      "%u clips annotated, %u failed: %" G_GUINT64_FORMAT
      " captions in %.1f s, %.1f a second; %.0f s of video, %.1f times as fast as it plays; %.1f rows a "
      "decode step",
      counts->n_annotated, counts->n_failed, counts->n_captions, seconds, (double) counts->n_captions / seconds, video,
      video / seconds, counts->occupancy);
}
