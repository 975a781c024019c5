/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of config.json, each read by a file of its own. */
#pragma once

#include <mllama/config.h>
#include <mllama/error.h>

#include "json.h"

G_BEGIN_DECLS

/* Widest attention head the backends promise (tower_attention in backend.h). */
#define MLLAMA_MAX_HEAD_WIDTH 256

/* Bounds of what may be multiplied together: products of any four stay below 2^64. */
#define MLLAMA_MAX_WIDTH        (1u << 16)
#define MLLAMA_MAX_INTERMEDIATE (1u << 20)
#define MLLAMA_MAX_LAYERS       1024u
#define MLLAMA_MAX_VOCABULARY   (1u << 24)
#define MLLAMA_MAX_POSITIONS    (1u << 24)
#define MLLAMA_MAX_IMAGE_SIZE   8192u

/* object is vision_config; origin names it in errors. */
gboolean mllama_vision_config_read (MllamaVisionConfig *vision, JsonObject *object, const char *origin, GError **error);
/* object is text_config, or all of a bare text model's file. */
gboolean mllama_text_config_read (MllamaTextConfig *text, JsonObject *object, const char *origin, GError **error);
gboolean mllama_rope_config_read (MllamaRopeConfig *rope, JsonObject *text_config, guint max_positions,
                                  const char *origin, GError **error);

/* UNSUPPORTED unless the member, if present, is this string. */
gboolean mllama_config_require_string (JsonObject *object, const char *member, const char *required, const char *origin,
                                       GError **error);
/* UNSUPPORTED if the member is present and not false: for what the engine does not implement. */
gboolean mllama_config_require_off (JsonObject *object, const char *member, const char *origin, GError **error);
/* heads must divide width into heads of at most MLLAMA_MAX_HEAD_WIDTH. */
gboolean mllama_config_check_heads (guint width, guint n_heads, const char *heads, const char *origin, GError **error);

G_END_DECLS
