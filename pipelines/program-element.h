/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mllamacaption in programs: where it is found, and its properties as command-line options. */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* program_element_make: mllamacaption of the build tree, of the registry, or of the place of installation (transfer
 * full, not floating). */
GstElement *program_element_make (GError **error);

/* program_element_add_options: an option for each writable property that is not hidden (NULL-terminated names); it sets
 * the property. What the group was made with points to a struct whose first member is the element. */
void program_element_add_options (GOptionGroup *group, GObject *element, const char *const *hidden);

G_END_DECLS
