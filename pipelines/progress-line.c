/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "progress-line.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ERASE "\r\033[K"

void
progress_line_init (ProgressLine *line, gboolean is_hidden)
{
  line->is_shown = !is_hidden && isatty (STDERR_FILENO);
  line->is_drawn = FALSE;
}

void
progress_line_draw (ProgressLine *line, const char *format, ...)
{
  va_list arguments;

  if (!line->is_shown)
    return;
  va_start (arguments, format);
  g_autofree char *text = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  fprintf (stderr, ERASE "%s", text);
  line->is_drawn = TRUE;
}

void
progress_line_clear (ProgressLine *line)
{
  if (line->is_drawn)
    fputs (ERASE, stderr);
  line->is_drawn = FALSE;
}

char *
progress_line_make_bar (double share, guint width)
{
  char *bar = g_strnfill (width + 2, '.');

  memset (bar + 1, '#', (gsize) (CLAMP (share, 0, 1) * width));
  bar[0] = '[';
  bar[width + 1] = ']';
  return bar;
}
