/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding and opening the model, and the engine's errors as GStreamer's. */
#pragma once

#include "settings.h"

G_BEGIN_DECLS

/* The checkpoint that the settings name, or the small default model: $MLLAMA_DEMO_MODEL, the data directory beside the
 * plugin, the source tree of the build. Errors: NOT_FOUND says how to name one. */
char *gst_mllama_caption_model_find (const GstMllamaCaptionSettings *settings, GError **error);

/* Finds, opens and checks it. */
MllamaModel *gst_mllama_caption_model_open (const GstMllamaCaptionSettings *settings, GError **error);

/* Posts an ERROR, or a WARNING, with the domain and code that applications know. Call it with no lock held. */
void gst_mllama_caption_model_post_error (GstElement *element, const GError *error, gboolean warning);

G_END_DECLS
