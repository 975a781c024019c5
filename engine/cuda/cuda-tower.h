/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What cuda-tower.c and the kernels of the vision tower agree on. */
#pragma once

#include "cuda.h"

G_BEGIN_DECLS

/* --- tower-attention.cu, tower-attention-plain.cu --- */

#define MLLAMA_CUDA_TOWER_KEYS          64  /* keys of a tile */
#define MLLAMA_CUDA_TOWER_QUERIES       128 /* of a block of the fast kernel */
#define MLLAMA_CUDA_TOWER_PLAIN_QUERIES 32  /* of a block of the plain one */

/* What one block does, for one head: queries of one sequence from first_query on. Tiles of keys are counted from the
 * sequence's first row, so that its bits don't depend on where it lies. */
typedef struct {
  guint32 first, n_real, n_rows; /* the sequence */
  guint32 first_query;           /* counted from first */
  guint32 first_tile;            /* of the sequence's keys, in the tables */
} MllamaCudaTowerItem;

/* On the device. Keys past the end of a sequence, up to a whole tile, have a bias of minus infinity. */
typedef struct {
  const float *bias;                /* [n_tiles][MLLAMA_CUDA_TOWER_KEYS], in the kernel's own unit; 16-byte aligned */
  const MllamaCudaTowerItem *items; /* [n_items], the longest first */
  const guint8 *has_bias;           /* [n_tiles] 0: all of the tile's biases are zero */
  guint32 n_items;
} MllamaCudaTowerTables;

/* Whether the fast kernel does heads of this width. */
gboolean mllama_cuda_tower_is_fast (const MllamaCudaBackend *be, guint head_width);
/* Fast: items of MLLAMA_CUDA_TOWER_QUERIES, bias times sqrt C (it is added before the scale). */
void mllama_cuda_tower_attend (MllamaCudaBackend *be, MllamaTensor *a, const MllamaTensor *qkv, guint n_heads,
                               const MllamaCudaTowerTables *tables);
/* Any number format and any head width up to 256: items of MLLAMA_CUDA_TOWER_PLAIN_QUERIES, bias as it is. */
void mllama_cuda_tower_attend_plainly (MllamaCudaBackend *be, MllamaTensor *a, const MllamaTensor *qkv, guint n_heads,
                                       const MllamaCudaTowerTables *tables);

/* --- patches.cu --- */

/* The rows of one tile: products of its patches -> rows of the tower. All act, D elements from row to row unless a ld
 * is given. */
typedef struct {
  void *x;                   /* out, [n_rows][x_ld] */
  const void *product;       /* [n_rows - 1][product_ld]; NULL: zero */
  const void *class_token;   /* [D] */
  const void *pre_tile;      /* [D] of this tile */
  const void *position;      /* [n_rows][D] */
  const void *tile_position; /* [n_rows][D] of this tile */
  const void *norm_weight, *norm_bias;
  gsize width, x_ld, product_ld; /* D */
  float pre_tile_gate, position_gate, eps;
  guint32 n_rows; /* P */
} MllamaCudaTileRows;

void mllama_cuda_finish_tile (MllamaCudaBackend *be, const MllamaCudaTileRows *rows);

#define MLLAMA_CUDA_SPAN_ROWS 8 /* rows of a piece of a span, at most */

/* pieces: device memory. */
void mllama_cuda_norm_add_pieces (MllamaCudaBackend *be, MllamaTensor *y, const MllamaTensor *x,
                                  const MllamaWeight *weight, const MllamaWeight *bias, float eps,
                                  const MllamaWeight *table, float gate, const MllamaTowerSpan *pieces, guint n_pieces);
/* Rows of width bytes; everything is a multiple of the element's bytes. */
void mllama_cuda_copy_rows (MllamaCudaBackend *be, void *to, gsize to_stride, const void *from, gsize from_stride,
                            gsize width, guint n_rows);

G_END_DECLS
