/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which files are clips. */
#pragma once

#include "archive.h"

G_BEGIN_DECLS

/* archive_clips_find_fault: what is wrong with how clips are named on a command line (a literal), or NULL: either paths
 * or a list, and patterns only with paths. */
const char *archive_clips_find_fault (char **paths, const char *list, gboolean has_patterns);

/* archive_clips_find: the files named, and those below the folders named, by path (transfer full, of ArchiveClip).
 *
 *   include   patterns of g_pattern_spec on a clip's name, one of which must fit; NULL: known endings of videos
 *   exclude   patterns, none of which may fit; NULL: none
 *   errors    a path that does not exist, a folder that cannot be read
 *
 * Folders are walked to the end; links to folders are not followed. A file that is named itself is taken whatever it is
 * called. A path that comes twice is one clip. */
GPtrArray *archive_clips_find (char **paths, char **include, char **exclude, GError **error);

/* archive_clips_read: the files that a list names, a path a line, in the list's order; "-" is standard input. Names of
 * clips are what is below base, or their own where base is NULL or somewhere else. A path that comes twice is one clip;
 * one that is not there is a clip that cannot be read. */
GPtrArray *archive_clips_read (const char *list, const char *base, GError **error);

G_END_DECLS
