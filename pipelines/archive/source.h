/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Decoded pictures of a file: filesrc ! parsebin ! frame filter ! decodebin, as one element. */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* archive_source_new: its pad comes with the first picture (floating reference). interval: of the frames that are
 * needed; 0: all are decoded. Without a stream of pictures it posts an error. */
GstElement *archive_source_new (const char *path, GstClockTime interval);
/* archive_source_has_video: whether a stream of pictures was found so far. */
gboolean archive_source_has_video (GstElement *source);
/* archive_source_is_stuck: nothing moves, and nothing is found. True for some time, nothing more will come of it. */
gboolean archive_source_is_stuck (GstElement *source);

G_END_DECLS
