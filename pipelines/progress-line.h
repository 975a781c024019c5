/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A line on a terminal that says how far a program is, over and over; nothing where standard error is no terminal. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  gboolean is_shown, is_drawn;
} ProgressLine;

void progress_line_init (ProgressLine *line, gboolean is_hidden);
/* In place of what it said before. */
void progress_line_draw (ProgressLine *line, const char *format, ...) G_GNUC_PRINTF (2, 3);
/* Takes the line off the terminal, so that something else can be printed. */
void progress_line_clear (ProgressLine *line);
/* "[####....]" of a share from 0 to 1 (transfer full). */
char *progress_line_make_bar (double share, guint width);

G_END_DECLS
