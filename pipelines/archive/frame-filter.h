/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An element between parser and decoder: of coded frames it lets through those that the captioned ones need, and drops
 * the others. A captioned frame is the first at or after each time that is due, as mllamacaption chooses; it needs what
 * comes from its key frame on. Which frames those are is known when the next key frame comes: until then a group is
 * held. Streams in which that cannot be told (no times, groups that overlap) pass as they are. */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* archive_frame_filter_new: interval in stream time, > 0 (floating reference). */
GstElement *archive_frame_filter_new (GstClockTime interval);

G_END_DECLS
