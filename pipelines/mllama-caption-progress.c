/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mllama-caption.h"
#include "progress-line.h"

#define BAR_WIDTH 30

struct _CaptionProgress {
  ProgressLine line;
  guint n_files, index;
  char *name;
};

CaptionProgress *
caption_progress_new (guint n_files, gboolean hidden)
{
  CaptionProgress *progress = g_new0 (CaptionProgress, 1);

  progress_line_init (&progress->line, hidden);
  progress->n_files = n_files;
  return progress;
}

void
caption_progress_begin (CaptionProgress *progress, const char *file)
{
  g_free (progress->name);
  progress->name = g_filename_display_basename (file);
  progress->index++;
  caption_progress_update (progress, -1, NULL);
}

void
caption_progress_update (CaptionProgress *progress, double fraction, const char *status)
{
  g_autofree char *bar = progress_line_make_bar (fraction, BAR_WIDTH);
  g_autofree char *done = fraction >= 0 ? g_strdup_printf ("%s %3.0f%%", bar, MIN (fraction, 1) * 100) : g_strdup ("");

  progress_line_draw (&progress->line, "[%u/%u] %s %s%s%s", progress->index, progress->n_files, progress->name, done,
                      status ? " " : "", status ? status : "");
}

void
caption_progress_clear (CaptionProgress *progress)
{
  progress_line_clear (&progress->line);
}

void
caption_progress_free (CaptionProgress *progress)
{
  if (!progress)
    return;
  caption_progress_clear (progress);
  g_free (progress->name);
  g_free (progress);
}
