/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The CPU backend: float32, CBLAS for products, C for the rest.
 *
 * Batch invariance. Products of weights go through sgemv, row by row, so that a row always meets the same call;
 * attention works on blocks of keys that are counted from the row's own first key, and that of the tower on blocks of
 * queries that are counted from the first row of their sequence. Passes of few and of many tokens give the same bits.
 *
 * Rows of tensors and weights start at multiples of MLLAMA_CPU_ALIGNMENT bytes: a BLAS may treat the first numbers of
 * an unaligned row in another order, and then equal rows would give unequal sums.
 *
 * Threads. Work is shared out here, over any BLAS; calls are kept so small that BLAS does not share them out again. */
#pragma once

#include "backend.h"
#include "cpu-vector.h"
#include "cpu-workers.h"
#include "sampling.h"

G_BEGIN_DECLS

#define MLLAMA_CPU_ALIGNMENT 64 /* bytes */

/* Above these sizes OpenBLAS wakes its own threads, which must not happen inside ours: multiply-adds of an sgemm, and
 * elements of the matrix of an sgemv. */
#define MLLAMA_CPU_SERIAL_SGEMM 262144
#define MLLAMA_CPU_SERIAL_SGEMV 8192

/* Multiply-adds that are worth waking a thread for: about 20 us. */
#define MLLAMA_CPU_TASK 262144

struct _MllamaTensor {
  gsize n_rows, width, ld;
  float *data; /* [n_rows][ld] */
};

struct _MllamaWeight {
  gsize n_rows, width, ld; /* out and in of a matrix; a vector is one row; ld == width in tables and vectors */
  float *data;             /* [n_rows][ld] */
};

struct _MllamaFrame {
  guint n_tiles, size;
  float *values; /* [n_tiles][3][size][size] */
};

struct _MllamaSlab {
  guint n_layers, n_keys, n_kv_heads, head_width;
  float *data; /* [n_layers][2: K, V][K][n_keys][C] */
};

struct _MllamaKv {
  guint n_pages, n_kv_heads, head_width;
  gsize n_bytes, page_floats;
  float *data; /* [n_pages][n_layers][2: K, V][K][MLLAMA_KV_PAGE][C]; memory comes with the first write */
};

/* What is drawn, and what is kept of each slot from draw to draw. */
typedef struct {
  gsize n_logits; /* of the logits last seen; sampler and history are for it, NULL until the first draw */
  MllamaSampler *sampler;
  guint32 *history; /* [MLLAMA_MAX_ROWS][words of a history] */
  guint32 drawn[MLLAMA_MAX_ROWS];
  gboolean is_done[MLLAMA_MAX_ROWS];
  MllamaSample samples[MLLAMA_MAX_ROWS]; /* of the last pass, until they are read */
  guint n_samples;
} MllamaCpuDrawing;

typedef struct {
  MllamaBackend base;
  const MllamaVectorOps *vector;
  MllamaCpuWorkers *workers;
  float *inv_freq;         /* [C / 2] */
  float **scratch;         /* [workers][what the largest user needs] */
  float *inputs, *outputs; /* rows of a product, before and after */
  gsize n_inputs, n_outputs;
  MllamaCpuDrawing drawing;
} MllamaCpuBackend;

typedef enum {
  MLLAMA_CPU_KEYS,
  MLLAMA_CPU_VALUES,
} MllamaCpuPart;

static inline MllamaCpuBackend *
mllama_cpu_backend (MllamaBackend *be)
{
  return (MllamaCpuBackend *) be;
}

static inline float *
mllama_cpu_tensor_row (const MllamaTensor *tensor, gsize row)
{
  return tensor->data + row * tensor->ld;
}

/* K or V of one head: [n_keys][C] of a slab, [MLLAMA_KV_PAGE][C] of a page. */
static inline float *
mllama_cpu_slab_part (const MllamaSlab *slab, guint layer, MllamaCpuPart part, guint head)
{
  return slab->data +
         (((gsize) layer * 2 + part) * slab->n_kv_heads + head) * ((gsize) slab->n_keys * slab->head_width);
}

static inline float *
mllama_cpu_kv_part (const MllamaKv *kv, guint32 page, guint layer, MllamaCpuPart part, guint head)
{
  return kv->data + page * kv->page_floats +
         (((gsize) layer * 2 + part) * kv->n_kv_heads + head) * ((gsize) MLLAMA_KV_PAGE * kv->head_width);
}

/* --- memory: cpu-memory.c --- */

/* Elements between the starts of rows that are to be aligned. */
gsize mllama_cpu_round_up (gsize width);

/* n_rows * ld floats, aligned. OUT_OF_MEMORY names needed and available; what says what for. Freed with free (). */
float *mllama_cpu_alloc (gsize n_rows, gsize ld, const char *what, GError **error);

/* Memory the system can give without swapping, in bytes; G_MAXSIZE if it does not say. */
gsize mllama_cpu_get_free_bytes (MllamaBackend *be);
gsize mllama_cpu_get_total_bytes (MllamaBackend *be);

MllamaTensor *mllama_cpu_tensor_new (MllamaBackend *be, MllamaTensorUse use, gsize n_rows, gsize width, GError **error);
void mllama_cpu_tensor_free (MllamaBackend *be, MllamaTensor *tensor);
gboolean mllama_cpu_tensor_read (MllamaBackend *be, const MllamaTensor *tensor, gsize first_row, gsize n_rows,
                                 float *dest, GError **error);
gboolean mllama_cpu_tensor_write (MllamaBackend *be, MllamaTensor *tensor, gsize first_row, gsize n_rows,
                                  const float *src, GError **error);
MllamaFrame *mllama_cpu_frame_new (MllamaBackend *be, const MllamaImage *image, const MllamaImageOptions *options,
                                   const MllamaTilePlan *plan, GError **error);
MllamaFrame *mllama_cpu_frame_new_from_pixels (MllamaBackend *be, const MllamaPixels *pixels, GError **error);
void mllama_cpu_frame_free (MllamaBackend *be, MllamaFrame *frame);
MllamaSlab *mllama_cpu_slab_new (MllamaBackend *be, guint n_layers, guint n_keys, GError **error);
void mllama_cpu_slab_free (MllamaBackend *be, MllamaSlab *slab);
gsize mllama_cpu_slab_get_bytes (MllamaBackend *be, guint n_layers, guint n_keys);
MllamaKv *mllama_cpu_kv_new (MllamaBackend *be, guint n_layers, guint n_pages, GError **error);
gboolean mllama_cpu_kv_commit (MllamaBackend *be, MllamaKv *kv, guint n_pages, GError **error);
void mllama_cpu_kv_free (MllamaBackend *be, MllamaKv *kv);
gsize mllama_cpu_kv_get_page_bytes (MllamaBackend *be, guint n_layers);

/* --- weights: cpu-weights.c --- */

MllamaWeight *mllama_cpu_weight_new (MllamaBackend *be, const MllamaWeightSpec *spec, GError **error);
void mllama_cpu_weight_free (MllamaBackend *be, MllamaWeight *weight);
gsize mllama_cpu_weight_get_bytes (MllamaBackend *be, const MllamaWeightSpec *spec);

/* --- products: cpu-products.c --- */

/* y = W x for rows that are made and used one by one, by any worker in any order. */
typedef struct {
  const MllamaWeight *w;
  gsize n_rows;
  const guint8 *select; /* [n_rows] or NULL: rows of 0 are neither prepared nor finished */
  void (*prepare) (gpointer op, gsize row, float *input, guint worker);  /* [in of w] */
  void (*finish) (gpointer op, gsize row, float *product, guint worker); /* [out of w], finish may change it */
} MllamaCpuProduct;

void mllama_cpu_multiply (MllamaCpuBackend *be, const MllamaCpuProduct *product, gpointer op);

/* Grows inputs and outputs for products with w. */
gboolean mllama_cpu_reserve_product (MllamaCpuBackend *be, const MllamaWeight *w, GError **error);

/* --- the self-check: cpu-check.c --- */

typedef void (*MllamaSgemmFunc) (gboolean transpose_b, guint m, guint n, guint k, const float *a, const float *b,
                                 float *c);
typedef void (*MllamaSgemvFunc) (gboolean transpose, guint m, guint n, const float *a, const float *x, float *y);

/* mllama_cpu_check_products: compares products of many small shapes with plain C. DEVICE if one is wrong. */
gboolean mllama_cpu_check_products (MllamaSgemmFunc sgemm, MllamaSgemvFunc sgemv, GError **error);
gboolean mllama_cpu_check_blas (GError **error);

/* --- norms: cpu-norms.c --- */

/* y = (x - mean) / sqrt (var + eps) * w + b, and y = x / sqrt (mean of squares + eps) * w; statistics in double; y may
 * alias x. */
void mllama_cpu_layer_norm_row (float *y, const float *x, const float *w, const float *b, gsize n, double eps);
void mllama_cpu_rms_norm_row (float *y, const float *x, const float *w, gsize n, double eps);

/* --- drawing: cpu-draw.c --- */

void mllama_cpu_drawing_clear (MllamaCpuDrawing *drawing);

/* --- rope: cpu-rope.c --- */

/* cosines and sines [C / 2] of one position; and the rotation of one head, pairs (i, i + C / 2). */
void mllama_cpu_rope_get_angles (const float *inv_freq, guint head_width, guint32 position, float *cosines,
                                 float *sines);
void mllama_cpu_rope_rotate (float *head, guint head_width, const float *cosines, const float *sines);

/* Floats of scratch that attention needs in each thread. */
gsize mllama_cpu_tower_get_scratch (guint head_width);
gsize mllama_cpu_attention_get_scratch (guint n_group);

/* --- the rest of the table; contracts in backend.h --- */

void mllama_cpu_embed_patches (MllamaBackend *be, MllamaTensor *x, const MllamaPatchWeights *w, float eps,
                               const MllamaTowerTile *tiles, guint n_tiles, const guint *pad_rows, guint n_pad_rows);
void mllama_cpu_layer_norm_linear (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, guint n_rows,
                                   const MllamaWeight *norm_weight, const MllamaWeight *norm_bias, float eps,
                                   const MllamaWeight *w, const MllamaWeight *bias, gboolean gelu);
void mllama_cpu_tower_attention (MllamaBackend *be, MllamaTensor *a, const MllamaTensor *qkv, guint n_heads,
                                 const MllamaTowerLayout *layout);
void mllama_cpu_linear_residual (MllamaBackend *be, MllamaTensor *x, const MllamaTensor *a, guint n_rows,
                                 const MllamaWeight *w, const MllamaWeight *bias, float gate);
void mllama_cpu_norm_add_tiles (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, const MllamaWeight *weight,
                                const MllamaWeight *bias, float eps, const MllamaWeight *table, float gate,
                                const MllamaTowerSpan *spans, guint n_spans);
void mllama_cpu_copy_columns (MllamaBackend *be, MllamaTensor *y, guint y_first, guint column, const MllamaTensor *x,
                              guint x_first, guint n_rows);
void mllama_cpu_linear (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, guint n_rows, const MllamaWeight *w,
                        const MllamaWeight *bias);
void mllama_cpu_cross_keys_values (MllamaBackend *be, MllamaSlab *slab, guint layer, const MllamaTensor *y,
                                   guint y_first, const MllamaWeight *w, const MllamaWeight *k_norm, float eps);
void mllama_cpu_embed_tokens (MllamaBackend *be, MllamaTensor *x, const MllamaWeight *table, const MllamaPass *pass);
void mllama_cpu_norm_qkv_rope (MllamaBackend *be, MllamaTensor *q, const MllamaTensor *x, const MllamaWeight *norm,
                               float eps, const MllamaWeight *w, guint layer, const MllamaPass *pass);
void mllama_cpu_self_attention (MllamaBackend *be, MllamaTensor *a, const MllamaTensor *q, guint layer,
                                const MllamaPass *pass);
void mllama_cpu_norm_q_heads (MllamaBackend *be, MllamaTensor *q, const MllamaTensor *x, const MllamaWeight *norm,
                              float eps, const MllamaWeight *w, const MllamaWeight *q_norm, const MllamaPass *pass);
void mllama_cpu_cross_attention (MllamaBackend *be, MllamaTensor *a, const MllamaTensor *q, guint layer,
                                 const MllamaPass *pass);
void mllama_cpu_norm_swiglu (MllamaBackend *be, MllamaTensor *h, const MllamaTensor *x, const MllamaWeight *norm,
                             float eps, const MllamaWeight *w, const MllamaPass *pass);
void mllama_cpu_linear_residual_tokens (MllamaBackend *be, MllamaTensor *x, const MllamaTensor *a,
                                        const MllamaWeight *w, float gate, gboolean sighted_only,
                                        const MllamaPass *pass);
void mllama_cpu_norm_outputs (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, const MllamaWeight *norm,
                              float eps, const MllamaPass *pass);
void mllama_cpu_logits (MllamaBackend *be, MllamaTensor *logits, const MllamaTensor *y, const MllamaWeight *w,
                        const MllamaPass *pass);
void mllama_cpu_draw (MllamaBackend *be, const MllamaTensor *logits, const MllamaPass *pass);
gboolean mllama_cpu_samples_read (MllamaBackend *be, MllamaSample *samples, GError **error);

G_END_DECLS
