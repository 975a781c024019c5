/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of operations: everything a device does for the model.
 *
 * vision.c and decoder.c say what Mllama is; they call this table and see neither numbers nor number formats.
 * A backend fills the table. Each operation is as coarse as a good kernel, and each has a contract here.
 *
 * Rules of every contract:
 *   - Work is queued in order; operations that return nothing may run later. samples_read, tensor_read and wait report
 *     what went wrong by then. Arguments are read before an operation returns, tensors when it runs.
 *   - All calls come from the model's thread, but slab_free and get_free_bytes, which any thread may make.
 *   - Batch invariance: the bits of a row of an output depend only on that row's own inputs (for tower operations:
 *     on its own sequence); not on the other rows, their number, or the row's place among them.
 *   - Rounding to act: what an operation writes, what a norm hands to a product, what a product hands on; RMSNorm
 *     also x / rms before the weight multiplies it; and what a contract names.
 *   - Weights are opaque to src/. Activations are "act": f32 on the CPU, bf16 on CUDA; sums are f32 or wider.
 *   - Letters as in style: V rows of the tower, T tokens of a pass, D width, H query heads, K key/value heads, C head
 *     width, F feed-forward width, Z vocabulary, P tokens of a tile, N tiles. Row-major, weights [out][in]. */
#pragma once

#include <gio/gio.h>
#include <mllama/mllama.h>
#include "source.h"

G_BEGIN_DECLS

typedef struct _MllamaBackend MllamaBackend;
typedef struct _MllamaTensor MllamaTensor; /* act [n_rows][width] in the backend's memory */
typedef struct _MllamaWeight MllamaWeight;
typedef struct _MllamaFrame MllamaFrame; /* one picture, tiled and normalised */
typedef struct _MllamaSlab MllamaSlab;   /* cross-attention K and V of one picture, all cross layers */
typedef struct _MllamaKv MllamaKv;       /* pages of self-attention K and V, all self layers */

/* --- weights --- */

typedef enum {
  MLLAMA_WEIGHT_MATRIX,    /* parts stacked along out: [sum of out][in]; a conv weight counts as [out][the rest] */
  MLLAMA_WEIGHT_PROJECTOR, /* one part [out][d + n_taps * d]; column d + c * n_taps + k belongs to channel c of tap k.
                            * The backend regroups the columns: [final d | tap 0's d | tap 1's d | ...] */
  MLLAMA_WEIGHT_VECTOR,    /* one part, any shape, flat */
  MLLAMA_WEIGHT_TABLE,     /* one part [rows][the rest]: rows are looked up, never multiplied */
} MllamaWeightUse;

typedef struct {
  MllamaWeightUse use;
  MllamaSource *source;
  const MllamaTensorInfo *parts[3];
  guint n_parts;
  guint n_taps;
} MllamaWeightSpec;

typedef enum {
  MLLAMA_TENSOR_ACT,  /* activations: rounded to the backend's number format */
  MLLAMA_TENSOR_FULL, /* f32 whatever the backend computes in: logits */
} MllamaTensorUse;

/* --- the tower --- */

/* Rows of one picture. Real rows (class tokens and patches of used tiles) come first and attend to every row of
 * the sequence; the others (unused tiles, pad rows) attend to the real rows only. */
typedef struct {
  guint first, n_real, n_rows;
} MllamaSequence;

typedef struct {
  guint n_rows; /* V */
  guint n_sequences;
  const MllamaSequence *sequences;
  const float *key_bias; /* [V] added to the logits of a key: log of how many equal rows it stands for */
} MllamaTowerLayout;

/* The P rows of one tile. */
typedef struct {
  guint first_row;
  const MllamaFrame *frame; /* NULL: an unused tile, whose pixels are zero */
  guint tile;               /* index into the frame's tiles */
  guint slot;               /* index into the tile tables */
  guint aspect_ratio_id;
} MllamaTowerTile;

/* n_rows rows of one tile, from source_first on in the input (step 1) or all from source_first (step 0), to first_row
 * on in the output. */
typedef struct {
  guint first_row, n_rows, source_first, source_step;
  guint slot, aspect_ratio_id;
} MllamaTowerSpan;

/* Weights of the patch embedding. Gates have gone through tanh. */
typedef struct {
  MllamaWeight *patch;         /* matrix [D][3 * ps * ps] */
  MllamaWeight *class_token;   /* vector [D] */
  MllamaWeight *pre_tile;      /* table [ids][N * D] */
  MllamaWeight *position;      /* table [P][D] */
  MllamaWeight *tile_position; /* table [ids][N * P * D] */
  MllamaWeight *norm_weight, *norm_bias;
  float pre_tile_gate, position_gate;
} MllamaPatchWeights;

/* --- the decoder --- */

#define MLLAMA_KV_PAGE 64 /* tokens of a page of self-attention K and V */

/* A run of cross-attention keys. */
typedef struct {
  const MllamaSlab *slab;
  guint first, n_keys;
  float bias; /* added to the logits of these keys */
} MllamaKeySpan;

/* Rows of one decode step. */
#define MLLAMA_MAX_ROWS 64

typedef struct {
  guint slot;           /* < MLLAMA_MAX_ROWS: the answer's own from its first pass to its last */
  const guint32 *pages; /* position / MLLAMA_KV_PAGE -> page of the MllamaKv */
} MllamaRow;

/* Few: at most MLLAMA_MAX_ROWS tokens, of answers and of prompts that are no longer; many: any number, of longer
 * prompts. A backend may multiply them in different ways, each of them batch invariant by itself; all tokens of one
 * prompt come in passes of one kind, so that the bits of an answer don't depend on how its prompt was cut. */
typedef enum {
  MLLAMA_PASS_FEW,
  MLLAMA_PASS_MANY,
} MllamaPassKind;

/* How an id is drawn (sampling.h has the rules), and for whom. */
typedef struct {
  double temperature; /* 0: greedy */
  guint top_k;        /* 0: off */
  double top_p;       /* 1: off */
  guint64 seed;
  double repetition_penalty; /* 1: off */
  guint64 position;          /* of the token to be drawn: counter of the noise */
  guint slot;                /* the row's */
  const guint32 *prompt;     /* [n_prompt] at the row's first draw, else NULL. Starts the slot's history, which then */
  gsize n_prompt;            /* takes in every id drawn; the penalty looks at it */
  const guint32 *stop_ids;   /* [n_stop_ids] after one of them the slot is done: later draws for it give nothing, and */
  guint n_stop_ids;          /* tokens of it need not be computed, until another first draw */
} MllamaSampling;

typedef struct {
  guint32 id;
  double logprob;   /* log-softmax of the raw logits at id */
  gboolean finite;  /* FALSE: the row holds NaN or an infinity; id and logprob mean nothing */
  gboolean is_done; /* the slot was done before: nothing was drawn */
} MllamaSample;

/* Stands for the id that was drawn last for the row's slot. */
#define MLLAMA_ID_DRAWN G_MAXUINT32

/* The unit of work: T tokens, flat. Tokens of one row are adjacent, positions ascending; keys and values of earlier
 * positions are in the row's pages already. */
typedef struct {
  MllamaPassKind kind;
  guint n_tokens;            /* T */
  const guint32 *ids;        /* [T] may be MLLAMA_ID_DRAWN */
  const guint32 *positions;  /* [T] */
  const guint32 *rows;       /* [T] index into row_table */
  const guint32 *first_span; /* [T] index into spans: what the token's cross-attention sees */
  const guint32 *n_spans;    /* [T] 0: nothing, and its cross-attention is zero */
  const guint8 *sees_image;  /* [T] 0: the feed-forward branch of cross layers is left out */
  guint n_rows, n_spans_total;
  const MllamaRow *row_table;     /* [n_rows] */
  const MllamaKeySpan *spans;     /* [n_spans_total] */
  guint n_outputs;                /* <= MLLAMA_MAX_ROWS */
  const guint32 *outputs;         /* [n_outputs] tokens whose hidden states and logits are wanted */
  const MllamaSampling *sampling; /* [n_outputs] one id is drawn from each; NULL: none is */
  gboolean may_record;            /* the operations that follow are the same for every pass with this flag */
  MllamaKv *kv;
} MllamaPass;

/* --- the table --- */

typedef struct {
  const char *name;
  guint n_ahead;    /* passes that may be queued before the draws of the oldest are read: 0 if passes run at once */
  guint max_frames; /* pictures that are better encoded together than one after the other */
  /* Sizes of passes whose first run is slow, so that it should come before the first answer. */
  const guint *slow_starts;
  guint n_slow_starts;

  void (*free) (MllamaBackend *be);
  /* wait: until all queued work is done. */
  gboolean (*wait) (MllamaBackend *be, GError **error);
  /* is_well: any thread. FALSE once the device has failed: then everything fails until another backend is made. */
  gboolean (*is_well) (MllamaBackend *be);

  /* Memory. OUT_OF_MEMORY names needed and available. */
  MllamaTensor *(*tensor_new) (MllamaBackend *be, MllamaTensorUse use, gsize n_rows, gsize width, GError **error);
  void (*tensor_free) (MllamaBackend *be, MllamaTensor *tensor);
  gboolean (*tensor_read) (MllamaBackend *be, const MllamaTensor *tensor, gsize first_row, gsize n_rows, float *dest,
                           GError **error);
  gboolean (*tensor_write) (MllamaBackend *be, MllamaTensor *tensor, gsize first_row, gsize n_rows, const float *src,
                            GError **error);

  /* weight_new: the values may arrive later: wait says whether they did. The source must stay until then. */
  MllamaWeight *(*weight_new) (MllamaBackend *be, const MllamaWeightSpec *spec, GError **error);
  void (*weight_free) (MllamaBackend *be, MllamaWeight *weight);
  gsize (*weight_get_bytes) (MllamaBackend *be, const MllamaWeightSpec *spec); /* memory weight_new would take */
  gsize (*get_free_bytes) (MllamaBackend *be);                                 /* G_MAXSIZE: unknown */
  gsize (*get_total_bytes) (MllamaBackend *be);                                /* of the device; G_MAXSIZE: unknown */

  /* frame_new: converts, resizes, tiles, normalises; frame_new_from_pixels takes what an image processor made. */
  MllamaFrame *(*frame_new) (MllamaBackend *be, const MllamaImage *image, const MllamaImageOptions *options,
                             const MllamaTilePlan *plan, GError **error);
  MllamaFrame *(*frame_new_from_pixels) (MllamaBackend *be, const MllamaPixels *pixels, GError **error);
  void (*frame_free) (MllamaBackend *be, MllamaFrame *frame);

  /* n_keys keys of K * C in n_layers cross layers, K and V. */
  MllamaSlab *(*slab_new) (MllamaBackend *be, guint n_layers, guint n_keys, GError **error);
  void (*slab_free) (MllamaBackend *be, MllamaSlab *slab);
  gsize (*slab_get_bytes) (MllamaBackend *be, guint n_layers, guint n_keys);

  /* n_pages pages of MLLAMA_KV_PAGE tokens in n_layers self layers, K and V. kv_commit gives the first n_pages of them
   * memory, if they have none yet; pages are used only after that. */
  MllamaKv *(*kv_new) (MllamaBackend *be, guint n_layers, guint n_pages, GError **error);
  gboolean (*kv_commit) (MllamaBackend *be, MllamaKv *kv, guint n_pages, GError **error);
  void (*kv_free) (MllamaBackend *be, MllamaKv *kv);
  gsize (*kv_get_page_bytes) (MllamaBackend *be, guint n_layers);

  /* embed_patches: the tower's input.
   *
   *   formula   e[p] = W * patch(p) + g_pre * E_pre[id][slot]               p >= 1, patches row by row
   *             e[0] = class_token
   *             x[first_row + p] = LN (e[p] + (1 - g_pos) * E_pos[p] + g_pos * E_tile[id][slot][p]; eps)
   *   x    out  act [V][D]: P rows of each tile, and zeros in the pad rows
   *   eps  in   f32 > 0; the framework's 1e-5 whatever the config says
   *   rounding  to act: W * patch, each sum, x
   *   source    spec 4.1 steps 1 to 6 */
  void (*embed_patches) (MllamaBackend *be, MllamaTensor *x, const MllamaPatchWeights *w, float eps,
                         const MllamaTowerTile *tiles, guint n_tiles, const guint *pad_rows, guint n_pad_rows);

  /* layer_norm_linear: y = act (LN (x; norm_weight, norm_bias, eps) * W^T + bias).
   *
   *   y    out  act [V][out of W]; not x
   *   bias in   may be NULL
   *   gelu in   TRUE: act is x/2 * (1 + erf (x / sqrt 2)); FALSE: identity
   *   source    spec 4.2 */
  void (*layer_norm_linear) (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, guint n_rows,
                             const MllamaWeight *norm_weight, const MllamaWeight *norm_bias, float eps,
                             const MllamaWeight *w, const MllamaWeight *bias, gboolean gelu);

  /* tower_attention: bidirectional attention within each sequence of the layout.
   *
   *   formula   a[i] = sum_j softmax_j (q_i . k_j / sqrt C + key_bias[j]) v_j
   *             j: all rows of i's sequence if i is real, else its real rows
   *   qkv  in   act [V][3 * H * C]: q | k | v, heads side by side
   *   a    out  act [V][H * C]
   *   limits    1 <= C <= 256; no score matrix larger than a block
   *   source    spec 4.3 */
  void (*tower_attention) (MllamaBackend *be, MllamaTensor *a, const MllamaTensor *qkv, guint n_heads,
                           const MllamaTowerLayout *layout);

  /* linear_residual: x[r] += gate * (a[r] * W^T + bias).
   *
   *   x      in/out act [n_rows][out of W]
   *   bias   in     may be NULL
   *   gate   in     f32, constant of the weights; 1 for an ungated residual
   *   rounding      to act: the product, its multiple, the sum
   *   source        spec 4.2 */
  void (*linear_residual) (MllamaBackend *be, MllamaTensor *x, const MllamaTensor *a, guint n_rows,
                           const MllamaWeight *w, const MllamaWeight *bias, float gate);

  /* norm_add_tiles: y[row] = LN (x[source row]; weight, bias, eps) + gate * E[id][slot] for the rows of each span.
   *   y out act [V'][D]; not x. source: spec 4.1 steps 9 and 10 */
  void (*norm_add_tiles) (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, const MllamaWeight *weight,
                          const MllamaWeight *bias, float eps, const MllamaWeight *table, float gate,
                          const MllamaTowerSpan *spans, guint n_spans);

  /* copy_columns: y[y_first + r][column ...] = x[x_first + r] for n_rows rows; x's width. */
  void (*copy_columns) (MllamaBackend *be, MllamaTensor *y, guint y_first, guint column, const MllamaTensor *x,
                        guint x_first, guint n_rows);

  /* linear: y = x * W^T + bias; y not x. */
  void (*linear) (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, guint n_rows, const MllamaWeight *w,
                  const MllamaWeight *bias);

  /* cross_keys_values: K and V of one cross layer for all keys of the slab.
   *
   *   formula   k[s] = RMSNorm_C (y[y_first + s] * Wk^T; k_norm, eps) per head;  v[s] = y[y_first + s] * Wv^T
   *   w    in   matrix of two parts, k | v
   *   source    spec 5.4 */
  void (*cross_keys_values) (MllamaBackend *be, MllamaSlab *slab, guint layer, const MllamaTensor *y, guint y_first,
                             const MllamaWeight *w, const MllamaWeight *k_norm, float eps);

  /* pass_begin: takes the pass to the device; the operations up to pass_end read it there.
   *
   *   returns   TRUE: the operations of the pass have to follow. FALSE: the backend has recorded the operations that
   *             followed for an earlier pass of this kind and size, and runs those: the caller leaves them out.
   *   limits    with may_record, what follows depends only on the kind and on whether any token sees keys; tensors and
   *             weights are the same every time */
  gboolean (*pass_begin) (MllamaBackend *be, const MllamaPass *pass);
  void (*pass_end) (MllamaBackend *be);

  /* embed_tokens: x[t] = E[ids[t]]. */
  void (*embed_tokens) (MllamaBackend *be, MllamaTensor *x, const MllamaWeight *table, const MllamaPass *pass);

  /* norm_qkv_rope: q, and this pass' keys and values appended to the rows' pages.
   *
   *   formula   n = RMSNorm (x[t]; norm, eps);  q, k, v = n * Wqkv^T;  q, k rotated by positions[t] * inv_freq, pairs
   *             (i, i + C/2)
   *   q    out  act [T][H * C]
   *   w    in   matrix of three parts, q | k | v
   *   layer in  self layers count from 0
   *   source    spec 5.3; inv_freq is the backend's, from the rope config */
  void (*norm_qkv_rope) (MllamaBackend *be, MllamaTensor *q, const MllamaTensor *x, const MllamaWeight *norm, float eps,
                         const MllamaWeight *w, guint layer, const MllamaPass *pass);

  /* self_attention: causal attention of each token over positions 0 ... its own of its row.
   *   a out act [T][H * C]; query head h reads key/value head h / (H / K). source: spec 5.3 */
  void (*self_attention) (MllamaBackend *be, MllamaTensor *a, const MllamaTensor *q, guint layer,
                          const MllamaPass *pass);

  /* norm_q_heads: q = RMSNorm_C (RMSNorm (x; norm, eps) * Wq^T; q_norm, eps) per head. source: spec 5.4 */
  void (*norm_q_heads) (MllamaBackend *be, MllamaTensor *q, const MllamaTensor *x, const MllamaWeight *norm, float eps,
                        const MllamaWeight *w, const MllamaWeight *q_norm, const MllamaPass *pass);

  /* cross_attention: attention of each token over the keys of its spans, with their bias; zero if it has none.
   *   a out act [T][H * C]; layer: cross layers count from 0. source: spec 5.4, 5.5 */
  void (*cross_attention) (MllamaBackend *be, MllamaTensor *a, const MllamaTensor *q, guint layer,
                           const MllamaPass *pass);

  /* norm_swiglu: h = silu (n * Wgate^T) * (n * Wup^T), n = RMSNorm (x; norm, eps).
   *   h out act [T][F]; w: matrix of two parts, gate | up. source: spec 5.3 */
  void (*norm_swiglu) (MllamaBackend *be, MllamaTensor *h, const MllamaTensor *x, const MllamaWeight *norm, float eps,
                       const MllamaWeight *w, const MllamaPass *pass);

  /* linear_residual_tokens: x[t] += gate * (a[t] * W^T).
   *
   *   x    in/out act [T][out of W]
   *   gate in     f32, constant of the weights; 1 for an ungated residual
   *   rounding    to act: the product, its multiple, the sum
   *   sighted_only  only tokens with sees_image; others keep their bits, whatever a holds there
   *   source      spec 5.3, 5.4 */
  void (*linear_residual_tokens) (MllamaBackend *be, MllamaTensor *x, const MllamaTensor *a, const MllamaWeight *w,
                                  float gate, gboolean sighted_only, const MllamaPass *pass);

  /* norm_outputs: y[i] = RMSNorm (x[outputs[i]]; norm, eps): the last hidden state. */
  void (*norm_outputs) (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, const MllamaWeight *norm, float eps,
                        const MllamaPass *pass);

  /* logits: logits[i] = y[i] * Whead^T for the n_outputs rows of y. logits: MLLAMA_TENSOR_FULL [n_outputs][Z]. */
  void (*logits) (MllamaBackend *be, MllamaTensor *logits, const MllamaTensor *y, const MllamaWeight *w,
                  const MllamaPass *pass);

  /* draw: one id for each output, by sampling.h's rules; left out if the pass has no sampling. */
  void (*draw) (MllamaBackend *be, const MllamaTensor *logits, const MllamaPass *pass);

  /* samples_read: waits for the oldest pass with draws that has not been read yet, and gives its n_outputs samples. */
  gboolean (*samples_read) (MllamaBackend *be, MllamaSample *samples, GError **error);
} MllamaBackendOps;

/* Base of every backend; embed it first. */
struct _MllamaBackend {
  const MllamaBackendOps *ops;
  const MllamaConfig *config; /* the model's; outlives the backend */
};

typedef struct {
  gint cuda_device; /* -1: any */
  MllamaDtype dtype;
} MllamaBackendSettings;

/* mllama_cpu_backend_new: f32 and CBLAS. Checks a small product against plain C. */
MllamaBackend *mllama_cpu_backend_new (const MllamaConfig *config, const MllamaBackendSettings *settings,
                                       GError **error);

/* The symbols that libmllama-cuda.so exports, and their types. */
#define MLLAMA_CUDA_BACKEND_SYMBOL "mllama_cuda_backend_new"
typedef MllamaBackend *(*MllamaBackendNewFunc) (const MllamaConfig *config, const MllamaBackendSettings *settings,
                                                GError **error);
/* How many devices the backend could use; 0 without a driver. Makes no context on any. */
#define MLLAMA_CUDA_COUNT_SYMBOL "mllama_cuda_count_devices"
typedef guint (*MllamaCountDevicesFunc) (void);

/* mllama_backend_new: the CPU's, or the CUDA module's. NOT_FOUND names the missing module and where it was looked for.
 */
MllamaBackend *mllama_backend_new (MllamaDevice device, const MllamaConfig *config,
                                   const MllamaBackendSettings *settings, GError **error);

/* mllama_backend_has_cuda: whether the CUDA module is installed and finds a driver and a device that it can use. */
gboolean mllama_backend_has_cuda (void);

/* --- what every backend asks of its arguments: backend-checks.c --- */

/* mllama_weight_spec_get_shape: FALSE if the parts differ in width. A vector is one row. */
gboolean mllama_weight_spec_get_shape (const MllamaWeightSpec *spec, gsize *n_rows, gsize *width);
/* mllama_weight_spec_check: MALFORMED if the parts differ in width, or a projector's does not fit its taps. */
gboolean mllama_weight_spec_check (const MllamaWeightSpec *spec, GError **error);
/* mllama_tensor_check_rows: INVALID if a tensor of n_tensor_rows has no n_rows rows from first_row on. */
gboolean mllama_tensor_check_rows (gsize n_tensor_rows, gsize first_row, gsize n_rows, GError **error);
/* mllama_frame_check_size: INVALID unless tiles of size pixels are the model's. */
gboolean mllama_frame_check_size (const MllamaConfig *config, guint size, GError **error);
/* mllama_pass_sees_keys: whether any token of the pass sees cross-attention keys. */
gboolean mllama_pass_sees_keys (const MllamaPass *pass);

G_END_DECLS
