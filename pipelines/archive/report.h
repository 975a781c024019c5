/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mllama-archive report: an index as one HTML page that looks for captions and plays their clips, from a file or a
 * server. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

gboolean archive_report (int argc, char **argv, GError **error);

G_END_DECLS
