/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The CUDA backend: cuBLASLt for large products, our kernels for the rest. Host code is C (cuda-*.c), device code C++
 * without its library (*.cu); both see this header.
 *
 * Numbers. act is bf16, or f32 with dtype=f32; sums are f32. In f32 nothing is rounded to TF32.
 *
 * Layout. Rows of tensors and matrices start at multiples of MLLAMA_CUDA_ALIGNMENT elements; the columns past width
 * are zero, always, so that kernels may read whole blocks. Base pointers are aligned to 256 bytes.
 *
 * Passes. What changes from pass to pass is in one MllamaCudaPass in device memory, at one address. A pass of few
 * tokens runs with kernels of a bucket (n_max tokens at most, n_tokens on the device), so that it can be recorded in a
 * CUDA graph; tensors' and scratch addresses are part of the recording.
 *
 * Order. One stream. With programmatic dependent launch (tier sm_90) a kernel may start before the last one has ended:
 * every kernel calls wait_for_inputs () before it reads or writes anything but weights.
 *
 * Batch invariance. A row's sums run over its own numbers in an order fixed by the widths of the model; never by the
 * number of rows, the bucket, or the number of multiprocessors. */
#pragma once

#include <cuda_runtime_api.h>

#include "backend.h"

G_BEGIN_DECLS

#define MLLAMA_CUDA_ALIGNMENT 64 /* elements */

/* Tiers of kernels. sm_80 runs on everything from there on; sm_90 has what only Hopper has. */
typedef enum {
  MLLAMA_CUDA_SM80,
  MLLAMA_CUDA_SM90,
} MllamaCudaTier;

struct _MllamaTensor {
  MllamaTensorUse use;
  gsize n_rows, width, ld; /* elements; ld: width rounded up to MLLAMA_CUDA_ALIGNMENT */
  void *data;              /* act or f32 [n_rows][ld]; columns past width are zero */
};

struct _MllamaWeight {
  MllamaWeightUse use;
  gsize n_rows, width, ld; /* matrix: out, in, rounded up; a vector is one row; tables: ld == width */
  void *data;              /* act [n_rows][ld]; columns past width are zero */
  void *scaled;            /* vectors used as gated biases: gate * data, made on first use; NULL */
  float scale;             /* the gate */
};

struct _MllamaFrame {
  guint n_tiles, n_patches; /* n_patches of one tile, without the class token */
  gsize width, ld;          /* 3 * patch * patch, rounded up */
  void *patches;            /* act [n_tiles * n_patches][ld]: a patch channel by channel, row by row */
};

struct _MllamaSlab {
  guint n_layers, n_keys, n_kv_heads, head_width;
  gsize n_bytes;
  void *data; /* act [n_layers][2: K, V][K][n_keys][C] */
};

struct _MllamaKv {
  guint n_layers, n_pages, n_committed, n_kv_heads, head_width;
  gsize page_bytes, chunk_bytes, reserved_bytes;
  void *data; /* act [n_pages][n_layers][2: K, V][K][MLLAMA_KV_PAGE][C]; addresses reserved, memory up to n_committed */
  GArray *chunks; /* CUmemGenericAllocationHandle of equal pieces of memory */
};

/* --- the pass on the device --- */

/* Queries of a group: neighbours in a row that see the same keys but for each other's, read together. A group has at
 * least one token, with all heads that share a key/value head, and lies within MLLAMA_MAX_ROWS tokens from a multiple
 * of that. */
#define MLLAMA_CUDA_GROUP_QUERIES 16

#define MLLAMA_CUDA_MAX_STOP_IDS 16 /* more are the host's business */

typedef struct {
  const void *slab; /* MllamaSlab.data */
  guint32 slab_keys, first, n_keys;
  float bias;
} MllamaCudaSpan;

typedef struct {
  double temperature, top_p, repetition_penalty;
  guint64 seed, position;
  guint32 top_k, slot, n_stop_ids, is_first; /* is_first: the slot's first draw */
  guint32 stop_ids[MLLAMA_CUDA_MAX_STOP_IDS];
} MllamaCudaSampling;

typedef struct {
  guint32 n_tokens, n_outputs;
  /* [n_tokens] */
  const guint32 *ids, *positions, *slots, *first_span, *n_spans;
  const guint32 *first_page; /* index into pages: the row's page table */
  const guint8 *sees_image;
  const guint8 *group_tokens; /* 0: in the group of an earlier token; else the size of the group that starts here */
  const guint32 *pages;
  const MllamaCudaSpan *spans;
  /* [n_outputs] */
  const guint32 *outputs;
  const MllamaCudaSampling *sampling;
  MllamaSample *samples; /* out, device memory */
  /* [MLLAMA_MAX_ROWS], kept from pass to pass */
  guint32 *drawn;   /* id drawn last */
  guint8 *done;     /* a stop id was drawn */
  guint32 *history; /* [MLLAMA_MAX_ROWS][history_words]: a bit for each id of prompt and answer */
  guint32 history_words;
  void *kv; /* MllamaKv.data */
  guint64 kv_page_elements;
} MllamaCudaPass;

/* --- the backend --- */

typedef enum {
  MLLAMA_CUDA_SCRATCH_NORMED,   /* input of a product after its norm */
  MLLAMA_CUDA_SCRATCH_PRODUCT,  /* output of a product before the rest of its operation */
  MLLAMA_CUDA_SCRATCH_PARTIAL,  /* attention split over keys */
  MLLAMA_CUDA_SCRATCH_COUNTERS, /* zero between kernels */
  MLLAMA_CUDA_SCRATCH_LAYOUT,   /* tables of one tower operation, on the device */
  MLLAMA_CUDA_SCRATCH_DRAW,     /* candidates of an id to be drawn */
  MLLAMA_CUDA_SCRATCH_MATMUL,   /* cuBLASLt's work space */
  MLLAMA_CUDA_N_SCRATCH,
} MllamaCudaScratch;

typedef struct _MllamaCudaDriver MllamaCudaDriver;         /* cuda-driver.h */
typedef struct _MllamaCudaMatmul MllamaCudaMatmul;         /* cuda-matmul.c */
typedef struct _MllamaCudaLoader MllamaCudaLoader;         /* cuda-load.c */
typedef struct _MllamaCudaRecorder MllamaCudaRecorder;     /* cuda-pass.c */
typedef struct _MllamaCudaImager MllamaCudaImager;         /* cuda-frame.c */
typedef struct _MllamaCudaTowerCache MllamaCudaTowerCache; /* cuda-tower.c */

typedef struct {
  MllamaBackend base;
  int device;
  char device_name[64];
  MllamaDtype dtype;   /* BF16 or F32 */
  gsize element_bytes; /* of act */
  MllamaCudaTier tier;
  int n_multiprocessors;
  gsize max_shared_bytes; /* of a block, opted in */
  gsize total_bytes;      /* of the device */
  cudaStream_t stream;
  cudaMemPool_t pool; /* all of this backend's memory but the pages of MllamaKv */

  GMutex lock;         /* guards failure and returned */
  GError *failure;     /* the first thing that went wrong on the device; all later work is void */
  GPtrArray *returned; /* device memory that other threads gave back; freed by the model's thread */

  float *inv_freq;       /* device [C / 2] */
  gsize max_weight_rows; /* of all weights created: ids are less */
  struct {
    void *data;
    gsize n_bytes;
  } scratch[MLLAMA_CUDA_N_SCRATCH];
  GPtrArray *outgrown; /* earlier scratch, whose addresses recorded passes may still hold */

  /* The pass between pass_begin and pass_end. */
  MllamaCudaPass *pass; /* in device memory */
  guint n_max_tokens;   /* bucket of a pass of few tokens; n_tokens of one of many */
  guint n_max_outputs;

  MllamaCudaDriver *driver;
  MllamaCudaMatmul *matmul;
  MllamaCudaLoader *loader;
  MllamaCudaRecorder *recorder;
  MllamaCudaImager *imager;
  MllamaCudaTowerCache *tower; /* made on first use */
} MllamaCudaBackend;

static inline MllamaCudaBackend *
mllama_cuda_backend (MllamaBackend *be)
{
  return (MllamaCudaBackend *) be;
}

/* --- cuda-error.c --- */

/* Records the first failure, naming what was being done; returns whether result is cudaSuccess. Any thread. */
gboolean mllama_cuda_check (MllamaCudaBackend *be, cudaError_t result, const char *what);
/* Records error, unless there is a failure already; takes it. Returns FALSE. Any thread. */
gboolean mllama_cuda_fail (MllamaCudaBackend *be, GError *error);
/* Copies the recorded failure; returns whether there is none. */
gboolean mllama_cuda_is_well (MllamaCudaBackend *be, GError **error);
/* Sets error from result: OUT_OF_MEMORY (needed: n_bytes, free, and what lowers the need) or DEVICE. */
void mllama_cuda_set_error (GError **error, cudaError_t result, const char *what, gsize n_bytes);

/* --- cuda-device.c --- */

/* Finds the device that is asked for (-1: the one with the most free memory) and the tier; fills in what be says of
 * the device. */
gboolean mllama_cuda_device_choose (MllamaCudaBackend *be, gint wanted, GError **error);
/* Makes it the calling thread's current device, which it then stays: entries of the table that the model's thread
 * may call first do this. */
void mllama_cuda_device_enter (MllamaCudaBackend *be);

/* --- cuda-memory.c --- */

gsize mllama_cuda_round_up (gsize width); /* to MLLAMA_CUDA_ALIGNMENT */
/* Stream-ordered device memory, aligned to 256 bytes. what says what for. */
void *mllama_cuda_alloc (MllamaCudaBackend *be, gsize n_bytes, const char *what, GError **error);
void mllama_cuda_free (MllamaCudaBackend *be, void *data);
/* n_rows * ld elements, zero. */
void *mllama_cuda_alloc_rows (MllamaCudaBackend *be, gsize n_rows, gsize ld, gsize element_bytes, const char *what,
                              GError **error);
/* Of K and V of one key or token in n_layers layers. */
gsize mllama_cuda_count_key_bytes (MllamaBackend *be, guint n_layers);
gboolean mllama_cuda_memory_init (MllamaCudaBackend *be, GError **error);
void mllama_cuda_memory_clear (MllamaCudaBackend *be);
/* A piece of device memory of at least n_bytes that the next user of the same name overwrites; zero when it is new.
 * NULL after a failure, which is recorded: the operation then does nothing. Operations of passes of few tokens ask
 * for the size of MLLAMA_MAX_ROWS rows, whatever the bucket, so that the address never changes. */
void *mllama_cuda_get_scratch (MllamaCudaBackend *be, MllamaCudaScratch name, gsize n_bytes);
/* The same ahead of time, for those who can tell their caller: a failure is not recorded. */
gboolean mllama_cuda_reserve_scratch (MllamaCudaBackend *be, MllamaCudaScratch name, gsize n_bytes, GError **error);

/* --- cuda-matmul.c: large products --- */

gboolean mllama_cuda_matmul_init (MllamaCudaBackend *be, GError **error);
void mllama_cuda_matmul_clear (MllamaCudaBackend *be);
/* y = alpha * x W^T + bias, or y += alpha * x W^T + bias if accumulate.
 * y act [n_rows][y_ld], x act [n_rows][x_ld]; bias act [out] or NULL (not scaled by alpha). One algorithm for each
 * (out, in), without split-K, whatever n_rows. */
void mllama_cuda_matmul (MllamaCudaBackend *be, void *y, gsize y_ld, const void *x, gsize x_ld, gsize n_rows,
                         const MllamaWeight *w, const void *bias, float alpha, gboolean accumulate);

/* --- few-products.cu: products of up to MLLAMA_MAX_ROWS rows ---
 *
 * x act [n_max][x_ld] (columns past width zero), of which *n_rows are meant (a device address; NULL: n_max). Bits of a
 * row are the same for every n_max. */

void mllama_cuda_few_linear (MllamaCudaBackend *be, void *y, gsize y_ld, const void *x, gsize x_ld,
                             const MllamaWeight *w, guint n_max, const guint32 *n_rows);
/* y f32 */
void mllama_cuda_few_logits (MllamaCudaBackend *be, float *y, gsize y_ld, const void *x, gsize x_ld,
                             const MllamaWeight *w, guint n_max, const guint32 *n_rows);
/* y[t] = act (y[t] + gate * a[t] W^T), only where select[t] (NULL: everywhere) */
void mllama_cuda_few_residual (MllamaCudaBackend *be, void *y, gsize y_ld, const void *a, gsize a_ld,
                               const MllamaWeight *w, float gate, const guint8 *const *select, guint n_max,
                               const guint32 *n_rows);
/* h = silu (x Wgate^T) * (x Wup^T); w is gate | up: [2 F][D] */
void mllama_cuda_few_swiglu (MllamaCudaBackend *be, void *h, gsize h_ld, const void *x, gsize x_ld,
                             const MllamaWeight *w, guint n_max, const guint32 *n_rows);
/* q, rotated, to q; k, rotated, and v to the pages of be->pass */
void mllama_cuda_few_qkv_rope (MllamaCudaBackend *be, void *q, gsize q_ld, const void *x, gsize x_ld,
                               const MllamaWeight *w, guint layer);

/* --- norms.cu, heads.cu, elementwise.cu --- */

/* y[i] = act (x[r] / rms * w), r = (*gather)[i], or i if gather is NULL; *n_rows rows (device; NULL: n_max). */
void mllama_cuda_rms_norm (MllamaCudaBackend *be, void *y, gsize y_ld, const void *x, gsize x_ld, gsize width,
                           const MllamaWeight *norm, float eps, const guint32 *const *gather, guint n_max,
                           const guint32 *n_rows);
void mllama_cuda_layer_norm (MllamaCudaBackend *be, void *y, gsize y_ld, const void *x, gsize x_ld, gsize width,
                             const MllamaWeight *weight, const MllamaWeight *bias, float eps, gsize n_rows);
/* Each head of C elements of each row by itself; y may alias x. */
void mllama_cuda_head_norm (MllamaCudaBackend *be, void *y, gsize y_ld, const void *x, gsize x_ld, guint n_heads,
                            guint head_width, const MllamaWeight *norm, float eps, guint n_max, const guint32 *n_rows);
/* In place: x/2 * (1 + erf (x / sqrt 2)). */
void mllama_cuda_gelu (MllamaCudaBackend *be, void *x, gsize ld, gsize width, gsize n_rows);
/* h = silu (product[..F]) * product[F..]. */
void mllama_cuda_swiglu (MllamaCudaBackend *be, void *h, gsize h_ld, const void *product, gsize product_ld, gsize width,
                         gsize n_rows);
/* y[t] += gate * product[t] where (*select)[t]; y, product act; select may be NULL. */
void mllama_cuda_add_selected (MllamaCudaBackend *be, void *y, gsize y_ld, const void *product, gsize product_ld,
                               gsize width, float gate, const guint8 *const *select, gsize n_rows);
/* y = factor * x; act [width] */
void mllama_cuda_scale_vector (MllamaCudaBackend *be, void *y, const void *x, gsize width, float factor);
/* product [n_tokens][q | k | v] -> q rotated; k rotated and v to the pages of be->pass. */
void mllama_cuda_rope_append (MllamaCudaBackend *be, void *q, gsize q_ld, const void *product, gsize product_ld,
                              guint layer, gsize n_tokens);
/* product [n_keys][k | v] -> the slab's layer, k through the head norm. */
void mllama_cuda_fill_slab (MllamaCudaBackend *be, MllamaSlab *slab, guint layer, const void *product, gsize product_ld,
                            const MllamaWeight *k_norm, float eps);

/* --- rope: cuda-rope.c --- */
/* inv_freq [C / 2], by the same float32 steps as the CPU backend's. */
gboolean mllama_cuda_rope_init (MllamaCudaBackend *be, GError **error);

/* --- load.cu: values of weights --- */

/* Elements [first, first + n) of a weight [rows][width], counted without padding, from src to their places in dest
 * [rows][ld]. n_taps: columns are regrouped as in MLLAMA_WEIGHT_PROJECTOR; 0: they stay. */
void mllama_cuda_convert_weight (MllamaCudaBackend *be, cudaStream_t stream, void *dest, gsize width, gsize ld,
                                 guint n_taps, gsize first, const void *src, MllamaTensorDtype dtype, gsize n);
/* Whether the current device can run this build's kernels. */
cudaError_t mllama_cuda_find_kernels (void);

/* --- cuda-load.c, cuda-pass.c, cuda-frame.c: state --- */
gboolean mllama_cuda_loader_init (MllamaCudaBackend *be, GError **error);
void mllama_cuda_loader_clear (MllamaCudaBackend *be);
/* Waits until all values that weight_new promised are on the device. */
gboolean mllama_cuda_loader_finish (MllamaCudaBackend *be, GError **error);
gboolean mllama_cuda_recorder_init (MllamaCudaBackend *be, GError **error);
void mllama_cuda_recorder_clear (MllamaCudaBackend *be);
gboolean mllama_cuda_imager_init (MllamaCudaBackend *be, GError **error);
void mllama_cuda_imager_clear (MllamaCudaBackend *be);
void mllama_cuda_tower_clear (MllamaCudaBackend *be);

/* --- the table; contracts in backend.h --- */

/* cuda-tensors.c */
MllamaTensor *mllama_cuda_tensor_new (MllamaBackend *be, MllamaTensorUse use, gsize n_rows, gsize width,
                                      GError **error);
void mllama_cuda_tensor_free (MllamaBackend *be, MllamaTensor *tensor);
gboolean mllama_cuda_tensor_read (MllamaBackend *be, const MllamaTensor *tensor, gsize first_row, gsize n_rows,
                                  float *dest, GError **error);
gboolean mllama_cuda_tensor_write (MllamaBackend *be, MllamaTensor *tensor, gsize first_row, gsize n_rows,
                                   const float *src, GError **error);
/* cuda-memory.c */
gsize mllama_cuda_get_free_bytes (MllamaBackend *be);
gsize mllama_cuda_get_total_bytes (MllamaBackend *be);
MllamaSlab *mllama_cuda_slab_new (MllamaBackend *be, guint n_layers, guint n_keys, GError **error);
void mllama_cuda_slab_free (MllamaBackend *be, MllamaSlab *slab);
gsize mllama_cuda_slab_get_bytes (MllamaBackend *be, guint n_layers, guint n_keys);
/* cuda-kv.c */
MllamaKv *mllama_cuda_kv_new (MllamaBackend *be, guint n_layers, guint n_pages, GError **error);
gboolean mllama_cuda_kv_commit (MllamaBackend *be, MllamaKv *kv, guint n_pages, GError **error);
void mllama_cuda_kv_free (MllamaBackend *be, MllamaKv *kv);
gsize mllama_cuda_kv_get_page_bytes (MllamaBackend *be, guint n_layers);
/* cuda-weights.c */
MllamaWeight *mllama_cuda_weight_new (MllamaBackend *be, const MllamaWeightSpec *spec, GError **error);
void mllama_cuda_weight_free (MllamaBackend *be, MllamaWeight *weight);
gsize mllama_cuda_weight_get_bytes (MllamaBackend *be, const MllamaWeightSpec *spec);
/* cuda-frame.c */
MllamaFrame *mllama_cuda_frame_new (MllamaBackend *be, const MllamaImage *image, const MllamaImageOptions *options,
                                    const MllamaTilePlan *plan, GError **error);
MllamaFrame *mllama_cuda_frame_new_from_pixels (MllamaBackend *be, const MllamaPixels *pixels, GError **error);
void mllama_cuda_frame_free (MllamaBackend *be, MllamaFrame *frame);
/* cuda-tower.c */
void mllama_cuda_embed_patches (MllamaBackend *be, MllamaTensor *x, const MllamaPatchWeights *w, float eps,
                                const MllamaTowerTile *tiles, guint n_tiles, const guint *pad_rows, guint n_pad_rows);
void mllama_cuda_tower_attention (MllamaBackend *be, MllamaTensor *a, const MllamaTensor *qkv, guint n_heads,
                                  const MllamaTowerLayout *layout);
void mllama_cuda_norm_add_tiles (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, const MllamaWeight *weight,
                                 const MllamaWeight *bias, float eps, const MllamaWeight *table, float gate,
                                 const MllamaTowerSpan *spans, guint n_spans);
void mllama_cuda_copy_columns (MllamaBackend *be, MllamaTensor *y, guint y_first, guint column, const MllamaTensor *x,
                               guint x_first, guint n_rows);
/* cuda-linears.c */
void mllama_cuda_layer_norm_linear (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, guint n_rows,
                                    const MllamaWeight *norm_weight, const MllamaWeight *norm_bias, float eps,
                                    const MllamaWeight *w, const MllamaWeight *bias, gboolean gelu);
void mllama_cuda_linear_residual (MllamaBackend *be, MllamaTensor *x, const MllamaTensor *a, guint n_rows,
                                  const MllamaWeight *w, const MllamaWeight *bias, float gate);
void mllama_cuda_linear (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, guint n_rows, const MllamaWeight *w,
                         const MllamaWeight *bias);
void mllama_cuda_cross_keys_values (MllamaBackend *be, MllamaSlab *slab, guint layer, const MllamaTensor *y,
                                    guint y_first, const MllamaWeight *w, const MllamaWeight *k_norm, float eps);
void mllama_cuda_norm_qkv_rope (MllamaBackend *be, MllamaTensor *q, const MllamaTensor *x, const MllamaWeight *norm,
                                float eps, const MllamaWeight *w, guint layer, const MllamaPass *pass);
void mllama_cuda_norm_q_heads (MllamaBackend *be, MllamaTensor *q, const MllamaTensor *x, const MllamaWeight *norm,
                               float eps, const MllamaWeight *w, const MllamaWeight *q_norm, const MllamaPass *pass);
void mllama_cuda_norm_swiglu (MllamaBackend *be, MllamaTensor *h, const MllamaTensor *x, const MllamaWeight *norm,
                              float eps, const MllamaWeight *w, const MllamaPass *pass);
void mllama_cuda_linear_residual_tokens (MllamaBackend *be, MllamaTensor *x, const MllamaTensor *a,
                                         const MllamaWeight *w, float gate, gboolean sighted_only,
                                         const MllamaPass *pass);
void mllama_cuda_norm_outputs (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, const MllamaWeight *norm,
                               float eps, const MllamaPass *pass);
void mllama_cuda_logits (MllamaBackend *be, MllamaTensor *logits, const MllamaTensor *y, const MllamaWeight *w,
                         const MllamaPass *pass);
/* attention.cu */
void mllama_cuda_self_attention (MllamaBackend *be, MllamaTensor *a, const MllamaTensor *q, guint layer,
                                 const MllamaPass *pass);
void mllama_cuda_cross_attention (MllamaBackend *be, MllamaTensor *a, const MllamaTensor *q, guint layer,
                                  const MllamaPass *pass);
/* tokens.cu */
void mllama_cuda_embed_tokens (MllamaBackend *be, MllamaTensor *x, const MllamaWeight *table, const MllamaPass *pass);
/* draw.cu */
void mllama_cuda_draw (MllamaBackend *be, const MllamaTensor *logits, const MllamaPass *pass);
/* cuda-pass.c */
gboolean mllama_cuda_pass_begin (MllamaBackend *be, const MllamaPass *pass);
void mllama_cuda_pass_end (MllamaBackend *be);
gboolean mllama_cuda_samples_read (MllamaBackend *be, MllamaSample *samples, GError **error);

/* --- what the module exports --- */

/* cuda-backend.c */
MLLAMA_API MllamaBackend *mllama_cuda_backend_new (const MllamaConfig *config, const MllamaBackendSettings *settings,
                                                   GError **error);
/* cuda-device.c */
MLLAMA_API guint mllama_cuda_count_devices (void);

G_END_DECLS
