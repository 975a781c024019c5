/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mllama-archive annotate: clips through slots, their files, and the index. */
#pragma once

#include "options.h"

G_BEGIN_DECLS

/* archive_annotate: TRUE if every clip is annotated now. An error where nothing could go on; what is wrong with single
 * clips is told on standard error, and the others are done all the same. */
gboolean archive_annotate (const ArchiveOptions *options, GError **error);

G_END_DECLS
