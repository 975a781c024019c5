/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_MLLAMA_CAPTION (gst_mllama_caption_get_type ())
G_DECLARE_FINAL_TYPE (GstMllamaCaption, gst_mllama_caption, GST, MLLAMA_CAPTION, GstElement)

GST_ELEMENT_REGISTER_DECLARE (mllamacaption);

G_END_DECLS
