/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mllamacaption in programs: where it is found, and its properties as command-line options. */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* program_element_make: mllamacaption of the build tree, of the registry, or of the place of installation (transfer
 * full, not floating). */
GstElement *program_element_make (GError **error);

/* program_element_make_context: a command line of a program's own options and one for each writable property that is
 * not hidden (NULL-terminated names), which sets the property (transfer full).
 *
 *   own    ended by {NULL}; callbacks are given data
 *   data   points to a struct whose first member is the element, a GObject * */
GOptionContext *program_element_make_context (const GOptionEntry *own, gpointer data, const char *const *hidden);

G_END_DECLS
