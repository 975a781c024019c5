/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mllama-archive search and merge. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

gboolean archive_find (int argc, char **argv, GError **error);
gboolean archive_merge (int argc, char **argv, GError **error);

G_END_DECLS
