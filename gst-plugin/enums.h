/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The choices that properties offer, as GObject types. */
#pragma once

#include <gst/gst.h>
#include <mllama/mllama.h>

G_BEGIN_DECLS

typedef enum {
  GST_MLLAMA_CAPTION_MODE_AUTO, /* live if the LATENCY query upstream says so, else archive */
  GST_MLLAMA_CAPTION_MODE_LIVE,
  GST_MLLAMA_CAPTION_MODE_ARCHIVE,
} GstMllamaCaptionMode;

typedef enum {
  GST_MLLAMA_CAPTION_PROMPT_AUTO,
  GST_MLLAMA_CAPTION_PROMPT_CHAT,
  GST_MLLAMA_CAPTION_PROMPT_RAW,
} GstMllamaCaptionPromptFormat;

typedef enum {
  GST_MLLAMA_CAPTION_TIMESTAMPS_AUTO, /* arrival if live, else media */
  GST_MLLAMA_CAPTION_TIMESTAMPS_MEDIA,
  GST_MLLAMA_CAPTION_TIMESTAMPS_ARRIVAL,
} GstMllamaCaptionTimestamps;

typedef enum {
  GST_MLLAMA_CAPTION_ON_ERROR_AUTO, /* warn if live, else stop */
  GST_MLLAMA_CAPTION_ON_ERROR_WARN,
  GST_MLLAMA_CAPTION_ON_ERROR_STOP,
} GstMllamaCaptionOnError;

GType gst_mllama_caption_mode_get_type (void);
GType gst_mllama_caption_prompt_format_get_type (void);
GType gst_mllama_caption_timestamps_get_type (void);
GType gst_mllama_caption_on_error_get_type (void);
GType gst_mllama_caption_device_get_type (void);    /* MllamaDevice */
GType gst_mllama_caption_dtype_get_type (void);     /* MllamaDtype */
GType gst_mllama_caption_semantics_get_type (void); /* MllamaSemantics */

/* Says that the types above belong to the plugin's interface. Call once, from class_init. */
void gst_mllama_caption_enums_mark (void);

G_END_DECLS
