/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Captions as metadata of video buffers. */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_MLLAMA_CAPTION_NAME "mllama-caption" /* of messages and of the metadata */

/* Adds captions (GstStructure) to those that a writable buffer has: to the array captions of its GstCustomMeta, and
 * where GStreamer has that, to its GstAnalyticsRelationMeta. */
void gst_mllama_caption_meta_add (GstBuffer *buffer, const GPtrArray *captions);

G_END_DECLS
