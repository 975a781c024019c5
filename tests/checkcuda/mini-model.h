/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A decoder and a tower of a few random layers, run through the table alone. */
#pragma once

#include "check-pass.h"

G_BEGIN_DECLS

/* --- the decoder --- */

enum {
  MINI_SELF_LAYERS = 2,
  MINI_CROSS_LAYERS = 1,
  MINI_LAYERS = MINI_SELF_LAYERS + MINI_CROSS_LAYERS,
  MINI_MAX_TOKENS = 320,
  MINI_N_KEYS = 300,
};

typedef struct {
  guint n_heads, n_kv_heads, head_width, d, f, n_logits;
} MiniSize;

typedef struct {
  OracleDevice *device;
  MiniSize size;
  MllamaWeight *embedding, *norm, *head_norm, *head;
  MllamaWeight *qkv[MINI_LAYERS], *o[MINI_LAYERS], *gate_up[MINI_LAYERS], *down[MINI_LAYERS]; /* cross layers last */
  MllamaTensor *x, *q, *a, *hidden, *normed, *logits;
  MllamaSlab *slab;
  MllamaKv *kv;
} MiniDecoder;

MiniDecoder *mini_decoder_new (const Check *check, const MiniSize *size, guint n_pages);
void mini_decoder_free (MiniDecoder *m);
/* The whole pass; the logits of its outputs [n_outputs][Z], and samples if it draws. */
float *mini_decoder_run (MiniDecoder *m, const CheckPass *p, MllamaSample *samples);

/* --- the tower --- */

typedef struct {
  guint d, n_heads, f, image_size, patch_size, n_out;
} MiniTowerSize;

typedef struct {
  OracleDevice *device;
  MiniTowerSize size;
  guint n_patches; /* of a tile */
  MllamaPatchWeights patches;
  MllamaWeight *norm, *norm_bias, *qkv, *o, *fc1, *fc1_bias, *fc2, *fc2_bias, *tiles, *projector, *projector_bias;
} MiniTower;

MiniTower *mini_tower_new (const Check *check, const MiniTowerSize *size);
void mini_tower_free (MiniTower *m);
/* Pictures of so many tiles each, all in one run: projected rows of their tiles, picture by picture. */
float *mini_tower_run (MiniTower *m, const guint *pictures, const guint *n_tiles, guint n_pictures);

G_END_DECLS
