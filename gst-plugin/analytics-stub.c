/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "analytics.h"

void
gst_mllama_caption_analytics_add (GstBuffer *buffer, const GstStructure *caption)
{
}
