/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A clip's files: OUTPUT.jsonl, OUTPUT.vtt, OUTPUT.srt, OUTPUT.QUESTION.vtt and .srt for further questions, and
 * thumbnails in OUTPUT.thumbs/. Each is complete or absent, whatever happens to the machine. */
#pragma once

#include "archive.h"

G_BEGIN_DECLS

/* archive_outputs_prepare: an empty folder for the clip's thumbnails, below a temporary name (transfer full). */
char *archive_outputs_prepare (const char *output, GError **error);
/* archive_outputs_write: all files, in place of those that are there; thumbs is what _prepare returned. OUTPUT.jsonl is
 * the sign that they are whole and as the index says: it goes first, and comes back, by _finish, once the clip is
 * entered. */
gboolean archive_outputs_write (const char *output, const char *thumbs, const ArchiveQuestion *questions,
                                guint n_questions, const ArchiveAnnotation *annotation, GError **error);
gboolean archive_outputs_finish (const char *output, GError **error);
/* archive_outputs_exist: whether all of them are there, of thumbnails so many. */
gboolean archive_outputs_exist (const char *output, const ArchiveQuestion *questions, guint n_questions,
                                guint n_thumbnails);
/* archive_outputs_discard: what _prepare made, of a clip that failed. */
void archive_outputs_discard (const char *thumbs);

G_END_DECLS
