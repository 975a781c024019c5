/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "analytics.h"
#include <gst/analytics/analytics.h>
#include "text.h"

/* The data is plain bytes: copies of the buffer copy them, and nothing has to be released. */
static const GstAnalyticsMtdImpl caption_mtd = {.name = GST_MLLAMA_CAPTION_MTD_NAME};

void
gst_mllama_caption_analytics_add (GstBuffer *buffer, const GstStructure *caption)
{
  g_autofree char *json = gst_mllama_caption_text_to_json (caption, TRUE);
  const gsize size = strlen (json) + 1;
  GstAnalyticsRelationMeta *meta = gst_buffer_get_analytics_relation_meta (buffer);
  GstAnalyticsMtd mtd;

  if (!meta)
    meta = gst_buffer_add_analytics_relation_meta (buffer);
  gpointer data = gst_analytics_relation_meta_add_mtd (meta, &caption_mtd, size, &mtd);
  if (data)
    memcpy (data, json, size);
}
