/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line of mllama-archive annotate, and the settings that it amounts to. */
#pragma once

#include "index.h"

G_BEGIN_DECLS

typedef struct {
  GstElement *element;       /* mllamacaption with every property named; a pattern for those of slots */
  char **paths;              /* at least one; NULL: list */
  char *list, *base;         /* file of paths; folder below which names of its clips are; NULL: none */
  char **include, **exclude; /* NULL: none named */
  char *output;              /* folder; NULL: files lie beside their clips */
  char *index;               /* path */
  GArray *questions;         /* of ArchiveQuestion, "caption" first */
  gint n_jobs;               /* clips in work at once */
  gint thumbnail_width;
  gboolean force, dry_run, no_progress, decodes_all;
  char *metrics; /* file; NULL: none */
} ArchiveOptions;

/* archive_options_parse: argv[0] is the command. NULL with no error: --help was answered. */
ArchiveOptions *archive_options_parse (int *argc, char ***argv, GError **error);
void archive_options_free (ArchiveOptions *options);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ArchiveOptions, archive_options_free)

/* archive_options_make_element: a new one with the same properties (transfer full, not floating). */
GstElement *archive_options_make_element (const ArchiveOptions *options, GError **error);

/* archive_options_make_settings: what decides captions: the element's properties but for those that only say where and
 * when, questions, and the model's files: descriptions by content, weights by name and size. model: its folder. */
ArchiveSettings *archive_options_make_settings (const ArchiveOptions *options, const char *model);
void archive_settings_free (ArchiveSettings *settings);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ArchiveSettings, archive_settings_free)

/* archive_options_find_clips: those that paths or the list name. */
GPtrArray *archive_options_find_clips (const ArchiveOptions *options, GError **error);

/* archive_options_get_output: what the names of a clip's files begin with (transfer full). */
char *archive_options_get_output (const ArchiveOptions *options, const ArchiveClip *clip);

G_END_DECLS
