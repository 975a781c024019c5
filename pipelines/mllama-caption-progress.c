/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <unistd.h>
#include "mllama-caption.h"

#define BAR_WIDTH 30

struct _CaptionProgress {
  gboolean visible; /* standard error is a terminal */
  gboolean drawn;
  guint n_files, index;
  char *name;
};

CaptionProgress *
caption_progress_new (guint n_files, gboolean hidden)
{
  CaptionProgress *progress = g_new0 (CaptionProgress, 1);

  progress->visible = !hidden && isatty (STDERR_FILENO);
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
  char bar[BAR_WIDTH + 1];
  guint n_full = (guint) (CLAMP (fraction, 0, 1) * BAR_WIDTH);

  if (!progress->visible)
    return;
  memset (bar, '.', BAR_WIDTH);
  memset (bar, '#', n_full);
  bar[BAR_WIDTH] = 0;
  fprintf (stderr, "\r\033[K[%u/%u] %s ", progress->index, progress->n_files, progress->name);
  if (fraction >= 0)
    fprintf (stderr, "[%s] %3.0f%%", bar, CLAMP (fraction, 0, 1) * 100);
  if (status)
    fprintf (stderr, " %s", status);
  progress->drawn = TRUE;
}

void
caption_progress_clear (CaptionProgress *progress)
{
  if (progress->drawn)
    fputs ("\r\033[K", stderr);
  progress->drawn = FALSE;
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
