/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The weights of a checkpoint on a device, by their place in the model. */
#pragma once

#include "backend.h"

G_BEGIN_DECLS

/* A layer of the tower (spec 4.2). Gates have gone through tanh; local layers have gates of 1. */
typedef struct {
  MllamaWeight *attention_norm, *attention_norm_bias; /* [D] */
  MllamaWeight *qkv;                                  /* [3 * D][D] */
  MllamaWeight *o;                                    /* [D][D] */
  MllamaWeight *mlp_norm, *mlp_norm_bias;             /* [D] */
  MllamaWeight *fc1, *fc1_bias;                       /* [F][D], [F] */
  MllamaWeight *fc2, *fc2_bias;                       /* [D][F], [D] */
  float attention_gate, mlp_gate;
} MllamaTowerLayer;

typedef struct {
  MllamaPatchWeights patch;
  MllamaTowerLayer *local_layers, *global_layers;
  MllamaWeight *post_norm, *post_norm_bias; /* [D] */
  MllamaWeight *post_tile;                  /* [ids][N * D] */
  MllamaWeight *projector, *projector_bias; /* [text D][output_dim] */
  float post_tile_gate;
  guint8 *foldable; /* [ids] whether the tables make unused tiles of this arrangement equal */
} MllamaVisionWeights;

/* A layer of the text model (spec 5.3, 5.4): self layers have qkv; cross layers q, kv, the head norms and the gates. */
typedef struct {
  gboolean is_cross;
  guint index;                    /* among the layers of its kind */
  MllamaWeight *attention_norm;   /* [D] */
  MllamaWeight *qkv;              /* [(H + 2 * K) * C][D] */
  MllamaWeight *q, *kv;           /* [H * C][D], [2 * K * C][D] */
  MllamaWeight *q_norm, *k_norm;  /* [C] */
  MllamaWeight *o;                /* [D][H * C] */
  MllamaWeight *mlp_norm;         /* [D] */
  MllamaWeight *gate_up;          /* [2 * F][D] */
  MllamaWeight *down;             /* [D][F] */
  float attention_gate, mlp_gate; /* tanh; 1 in self layers */
} MllamaTextLayer;

typedef struct {
  MllamaWeight *embedding; /* [rows][D] */
  MllamaTextLayer *layers; /* [n_layers] */
  MllamaWeight *norm;      /* [D] */
  MllamaWeight *head;      /* [Z][D] */
  guint n_embeddings;      /* rows of the embedding */
  guint n_logits;          /* Z: rows of the head, which an enlarged one has more of than vocab_size */
} MllamaTextWeights;

typedef struct {
  MllamaBackend *backend;
  const MllamaConfig *config;
  gboolean has_vision;
  MllamaVisionWeights vision;
  MllamaTextWeights text;
  GPtrArray *handles; /* every MllamaWeight, for the release */
  gsize n_bytes;      /* device memory of all of them */
} MllamaWeights;

/* mllama_weights_load: source has been checked against the config (checkpoint.h). OUT_OF_MEMORY before the first
 * byte is read if all of it does not fit; CANCELLED between two tensors. */
MllamaWeights *mllama_weights_load (MllamaBackend *backend, MllamaSource *source, const MllamaConfig *config,
                                    gboolean with_vision, GCancellable *cancellable, GError **error);
void mllama_weights_free (MllamaWeights *weights);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaWeights, mllama_weights_free)

G_END_DECLS
