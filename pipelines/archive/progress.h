/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How far annotating has come: a bar on a terminal, else a line a clip; and counts in a file, for Prometheus. */
#pragma once

#include "archive.h"

G_BEGIN_DECLS

typedef struct {
  guint n_clips;                        /* to annotate */
  guint n_annotated, n_failed, n_known; /* n_known: passed over */
  guint64 n_captions, n_bytes, n_bytes_done;
  gint64 video_ns;
  double occupancy; /* rows of a decode step */
} ArchiveCounts;

typedef struct _ArchiveProgress ArchiveProgress;

/* metrics: path, or NULL. */
ArchiveProgress *archive_progress_new (gboolean is_plain, const char *metrics);
void archive_progress_free (ArchiveProgress *progress);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ArchiveProgress, archive_progress_free)

/* archive_progress_tell: a line, of which the bar keeps clear. */
void archive_progress_tell (ArchiveProgress *progress, gboolean is_fault, const char *format, ...) G_GNUC_PRINTF (3, 4);
/* archive_progress_finish: a line that sums up. */
void archive_progress_finish (ArchiveProgress *progress, const ArchiveCounts *counts);
/* archive_progress_update: at most a few times a second is enough. */
void archive_progress_update (ArchiveProgress *progress, const ArchiveCounts *counts);

G_END_DECLS
