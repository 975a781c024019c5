/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Captions that went into a file, and out of it again. */
#pragma once

#include "rig.h"

G_BEGIN_DECLS

/* Name of a new file; freed and removed with rig_remove_path. */
char *rig_make_path (const char *suffix);
void rig_remove_path (char *path);

/* Runs a line with a %s for the path to its end, with the script as it is, and returns the element's final messages. */
GPtrArray *rig_write_file (const char *path, const char *line, ...) G_GNUC_PRINTF (2, 3);

/* What is in the file, NUL-terminated, and removes it. */
char *rig_take_contents (char *path);

/* The texts that reach the fakesink named s, as "START END TEXT" with times in ms. Texts that are the same and follow
 * each other without a gap are one; empty ones are none. */
char **rig_read_cues (const char *line, ...) G_GNUC_PRINTF (1, 2);

G_END_DECLS
