/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mllama-archive plan: clips shared out among runs of annotate, so that each has about as much video. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

gboolean archive_plan (int argc, char **argv, GError **error);

G_END_DECLS
