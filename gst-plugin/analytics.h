/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Captions among the results of other analyses: an entry of its own type in a buffer's GstAnalyticsRelationMeta, which
 * exists from GStreamer 1.24 on. Without it nothing is added. */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* Name of the type. The data of an entry is a string that ends in NUL: the JSON object that text pads give. */
#define GST_MLLAMA_CAPTION_MTD_NAME "mllama-caption"

/* Adds a caption to a writable buffer. */
void gst_mllama_caption_analytics_add (GstBuffer *buffer, const GstStructure *caption);

G_END_DECLS
