/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The index: one SQLite file (WAL, FTS5) of clips, questions, captions, settings and failures. schema.sql describes it.
 *
 * An index belongs to one thread. Several processes of one machine may write to a file at once: each change is one
 * transaction, and waits for others. What is in the file has happened: a clip is entered once its files are on the
 * disk. */
#pragma once

#include "archive.h"

G_BEGIN_DECLS

typedef struct _ArchiveIndex ArchiveIndex;

/* What decides a clip's captions but for the clip; the same text is the same settings. */
typedef struct {
  char *text; /* lines NAME=VALUE */
  char *hash; /* SHA-256 of text, in hexadecimal digits */
} ArchiveSettings;

/* archive_index_open: makes the file if may_create. OUTPUT: not an index, one of a newer version, or not there; such a
 * file stays as it is. */
ArchiveIndex *archive_index_open (const char *path, gboolean may_create, GError **error);
void archive_index_free (ArchiveIndex *index);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ArchiveIndex, archive_index_free)

/* archive_index_has: whether the clip, as it is now, was annotated with these settings into output. */
gboolean archive_index_has (ArchiveIndex *index, const ArchiveClip *clip, const ArchiveSettings *settings,
                            const char *output);
/* archive_index_count_thumbnails: of a clip that it has. */
guint archive_index_count_thumbnails (ArchiveIndex *index, const ArchiveClip *clip);
/* archive_index_put: in place of what was known of the clip. questions [n]; output: what a clip's files begin with. */
gboolean archive_index_put (ArchiveIndex *index, const ArchiveClip *clip, const ArchiveSettings *settings,
                            const ArchiveQuestion *questions, guint n_questions, const ArchiveAnnotation *annotation,
                            const char *output, GError **error);
gboolean archive_index_put_failure (ArchiveIndex *index, const ArchiveClip *clip, const ArchiveSettings *settings,
                                    const char *message, GError **error);

/* archive_index_merge: all clips of another file; of a clip in both what was annotated last stays, a failure only where
 * nothing else is known. Again, it changes nothing. n_clips, n_taken: of the other file. */
gboolean archive_index_merge (ArchiveIndex *index, const char *path, guint *n_clips, guint *n_taken, GError **error);

/* --- search --- */

typedef struct {
  const char *words;    /* all of which a caption has, in any form; NULL: any caption */
  const char *question; /* its name; NULL: any */
  const char *below;    /* what a clip's path begins with; NULL: any */
  gint64 since_ns;      /* clips modified then or later */
  guint n_most;
} ArchiveQuery;

typedef struct {
  const char *path, *output, *question, *text, *thumbnail; /* thumbnail: may be NULL */
  gint64 start_ns, end_ns, modified_ns;
  double confidence, score; /* score: less is better, -1 is best */
} ArchiveMatch;

typedef void (*ArchiveMatchFunc) (const ArchiveMatch *match, gpointer data);

/* archive_index_search: best first, or by path and time where there are no words. Of captions that have the words those
 * entered last are ranked, 2000 or n_most. */
gboolean archive_index_search (ArchiveIndex *index, const ArchiveQuery *query, ArchiveMatchFunc func, gpointer data,
                               GError **error);

G_END_DECLS
