/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What config.json says, checked. Owned by the model and constant; both spellings of the
 * file (transformers 4 and 5) give the same structs. */
#pragma once

#include <mllama/macros.h>

G_BEGIN_DECLS

#define MLLAMA_MAX_TILES         64 /* largest max_num_tiles accepted */
#define MLLAMA_MAX_ASPECT_RATIOS 512
#define MLLAMA_MAX_TAPS          64

/* A tile arrangement: rows and columns, in this order. */
typedef struct {
  guint8 n_rows, n_columns;
} MllamaAspectRatio;

/* vision_config */
typedef struct {
  guint hidden_size;       /* d */
  guint n_layers;          /* num_hidden_layers: the local encoder */
  guint n_global_layers;   /* num_global_layers: the gated encoder */
  guint n_heads;           /* attention_heads; hidden_size / n_heads is the head width C */
  guint n_channels;        /* always 3 */
  guint intermediate_size; /* F */
  guint output_dim;        /* vision_output_dim == d * (1 + n_taps) */
  guint image_size;        /* S: side of a tile in pixels */
  guint patch_size;
  double norm_eps;
  guint max_n_tiles; /* T */
  guint n_taps;
  guint taps[MLLAMA_MAX_TAPS]; /* intermediate_layers_indices, in the file's order */
  guint n_aspect_ratios;
  MllamaAspectRatio aspect_ratios[MLLAMA_MAX_ASPECT_RATIOS]; /* id - 1 -> arrangement */
} MllamaVisionConfig;

/* rope_scaling, or rope_parameters */
typedef struct {
  double theta;
  gboolean scaled; /* rope_type "llama3" rather than "default"; the rest is meaningful then */
  double factor, low_freq_factor, high_freq_factor;
  guint original_max_positions;
} MllamaRopeConfig;

/* text_config */
typedef struct {
  guint vocab_size;        /* Z: rows of lm_head, which may be fewer than the embedding's */
  guint hidden_size;       /* D */
  guint n_layers;          /* L: self and cross layers together */
  guint n_heads;           /* H */
  guint n_kv_heads;        /* K */
  guint head_width;        /* C */
  guint intermediate_size; /* F */
  double rms_norm_eps;
  guint max_positions; /* max_position_embeddings */
  gboolean tied_embeddings;
  MllamaRopeConfig rope;
  guint n_cross_layers;
  guint *cross_layers; /* ascending, [n_cross_layers] */
  gint64 bos_id;       /* -1: none */
  gint64 pad_id;       /* -1: none */
  guint n_eos_ids;
  guint32 *eos_ids; /* [n_eos_ids]; int or list in the file */
} MllamaTextConfig;

typedef struct {
  gboolean has_vision;       /* FALSE for a bare MllamaForCausalLM */
  MllamaVisionConfig vision; /* zero if !has_vision */
  MllamaTextConfig text;
  guint32 image_token_id; /* image_token_index, or image_token_id */
} MllamaConfig;

/* mllama_config_new_from_data: parses and checks the text of a config.json.
 * Errors: MALFORMED (bad JSON, wrong type, out of range), UNSUPPORTED (named). */
MLLAMA_API MllamaConfig *mllama_config_new_from_data (const char *json, gsize length, GError **error);
MLLAMA_API MllamaConfig *mllama_config_new_from_file (const char *path, GError **error);
MLLAMA_API void mllama_config_free (MllamaConfig *config);

/* (image_size / patch_size)^2 + 1: tokens of a tile, class token included (P). */
MLLAMA_API guint mllama_vision_config_get_n_patches (const MllamaVisionConfig *config);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaConfig, mllama_config_free)

G_END_DECLS
