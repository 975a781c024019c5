/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "meta.h"
#include "analytics.h"

static void
append_caption (GValue *array, const GstStructure *caption)
{
  GValue value = G_VALUE_INIT;

  g_value_init (&value, GST_TYPE_STRUCTURE);
  gst_value_set_structure (&value, caption);
  gst_value_array_append_and_take_value (array, &value);
}

void
gst_mllama_caption_meta_add (GstBuffer *buffer, const GPtrArray *captions)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, GST_MLLAMA_CAPTION_NAME);
  GValue array = G_VALUE_INIT;

  if (!meta)
    meta = gst_buffer_add_custom_meta (buffer, GST_MLLAMA_CAPTION_NAME);
  GstStructure *structure = gst_custom_meta_get_structure (meta);
  const GValue *before = gst_structure_get_value (structure, "captions");
  g_value_init (&array, GST_TYPE_ARRAY);
  if (before)
    g_value_copy (before, &array);
  for (guint i = 0; i < captions->len; i++) {
    append_caption (&array, g_ptr_array_index (captions, i));
    gst_mllama_caption_analytics_add (buffer, g_ptr_array_index (captions, i));
  }
  gst_structure_take_value (structure, "captions", &array);
}
