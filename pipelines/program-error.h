/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors of GStreamer's elements in words that say what to do. */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* program_error_explain: what went wrong with a file as one text, with the remedy where one is known (transfer full).
 *
 *   error     of an ERROR message, or NULL: the file ended before any frame came
 *   missing   what GStreamer said it lacks (a "missing-plugin" message), or NULL */
char *program_error_explain (const GError *error, const char *missing);

G_END_DECLS
