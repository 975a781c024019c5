/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The element's writable properties as one value, so that a frame can keep the settings it was chosen under. */
#pragma once

#include "enums.h"

G_BEGIN_DECLS

typedef struct {
  char *model; /* NULL: the small default model */
  gint device; /* MllamaDevice */
  gint cuda_device_id;
  gint dtype;     /* MllamaDtype */
  gint semantics; /* MllamaSemantics */
  gint mode;      /* GstMllamaCaptionMode */
  char *prompt;
  char **prompts;     /* NULL or empty: prompt alone */
  gint prompt_format; /* GstMllamaCaptionPromptFormat */
  guint64 interval, max_interval;
  double scene_threshold;
  guint max_image_tiles;
  guint max_tokens;
  double temperature;
  guint top_k;
  double top_p;
  guint64 seed;
  double repetition_penalty;
  gint text_timestamps; /* GstMllamaCaptionTimestamps */
  guint64 latency, eos_timeout, idle_timeout;
  guint max_in_flight;
  gboolean partial_results, post_messages, attach_meta;
  gint on_error; /* GstMllamaCaptionOnError */
} GstMllamaCaptionSettings;

/* Installs the properties under the ids 1 to the returned number. */
guint gst_mllama_caption_settings_install (GObjectClass *klass);
/* Every field gets the default of its property. */
void gst_mllama_caption_settings_init (GstMllamaCaptionSettings *settings, GObjectClass *klass);
void gst_mllama_caption_settings_clear (GstMllamaCaptionSettings *settings);
void gst_mllama_caption_settings_copy (GstMllamaCaptionSettings *to, const GstMllamaCaptionSettings *from);
/* FALSE if the id is none of ours. The caller holds whatever lock guards the settings. */
gboolean gst_mllama_caption_settings_set (GstMllamaCaptionSettings *settings, guint id, const GValue *value);
gboolean gst_mllama_caption_settings_get (const GstMllamaCaptionSettings *settings, guint id, GValue *value);

G_END_DECLS
