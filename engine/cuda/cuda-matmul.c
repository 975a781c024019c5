/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Large products, by cuBLASLt. Row-major y = x W^T is column-major Y [out][n] = W' X, with W' the transposed [in][out].
 *
 * Batch invariance. Left alone, cuBLASLt takes another kernel for another number of rows, and may cut the sum over in
 * into parts whose number depends on it. Here the algorithm of a shape is chosen once, at a fixed number of rows, among
 * those that take the sum in one sequence, and serves every number of rows. */
#include "cuda.h"

#include <cublasLt.h>

#define WORKSPACE_BYTES ((gsize) 32 << 20)
#define MAX_RESULTS     64

/* Rows at which the heuristic is asked: the first that leads to an algorithm. */
static const gsize reference_rows[] = {2048, 256, 1};
/* An algorithm has to take all of them: one row, a tile and a bit, a chunk of a prompt, a picture of four tiles. */
static const gsize served_rows[] = {1, 65, 256, 2048, 6405};

/* What decides on the algorithm. */
typedef struct {
  gsize n_out, n_in;
  gboolean has_bias, accumulate;
} Shape;

typedef struct {
  Shape shape;
  gboolean is_usable;
  cublasLtMatmulDescOpaque_t desc;
  cublasLtMatmulAlgo_t algorithm;
} Plan;

typedef struct {
  cublasLtMatrixLayoutOpaque_t w, x, y;
} Layouts;

typedef struct {
  gsize w_ld, x_ld, y_ld;
} Strides;

struct _MllamaCudaMatmul {
  cublasLtHandle_t handle;
  GHashTable *plans; /* Shape -> Plan, which the shape begins */
};

static gboolean
check_status (MllamaCudaBackend *be, cublasStatus_t status, const char *what)
{
  if (G_LIKELY (status == CUBLAS_STATUS_SUCCESS))
    return TRUE;
  mllama_cuda_fail (
      be, g_error_new (MLLAMA_ERROR, MLLAMA_ERROR_DEVICE, "cuBLASLt, %s: %s", what, cublasLtGetStatusString (status)));
  return FALSE;
}

/* --- plans --- */

static guint
hash_shape (gconstpointer key)
{
  const Shape *shape = key;

  return shape->n_out * 31 * 31 + shape->n_in * 31 + shape->has_bias * 2 + shape->accumulate;
}

static gboolean
equal_shapes (gconstpointer a, gconstpointer b)
{
  const Shape *x = a, *y = b;

  return x->n_out == y->n_out && x->n_in == y->n_in && x->has_bias == y->has_bias && x->accumulate == y->accumulate;
}

static cudaDataType_t
get_act_type (const MllamaCudaBackend *be)
{
  return be->dtype == MLLAMA_DTYPE_F32 ? CUDA_R_32F : CUDA_R_16BF;
}

static gboolean
init_layouts (MllamaCudaBackend *be, Layouts *layouts, const Shape *shape, gsize n_rows, const Strides *strides)
{
  cudaDataType_t type = get_act_type (be);

  return check_status (be, cublasLtMatrixLayoutInit (&layouts->w, type, shape->n_in, shape->n_out, strides->w_ld),
                       "weight layout") &&
         check_status (be, cublasLtMatrixLayoutInit (&layouts->x, type, shape->n_in, n_rows, strides->x_ld),
                       "input layout") &&
         check_status (be, cublasLtMatrixLayoutInit (&layouts->y, type, shape->n_out, n_rows, strides->y_ld),
                       "output layout");
}

static gboolean
init_desc (MllamaCudaBackend *be, Plan *plan, cublasComputeType_t compute_type, const void *bias)
{
  cublasOperation_t transpose = CUBLAS_OP_T;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
  cublasLtMatmulDesc_t desc = &plan->desc;

  if (!check_status (be, cublasLtMatmulDescInit (desc, compute_type, CUDA_R_32F), "product") ||
      !check_status (be,
                     cublasLtMatmulDescSetAttribute (desc, CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof (transpose)),
                     "transposition"))
    return FALSE;
  if (!plan->shape.has_bias)
    return TRUE;
  return check_status (
             be, cublasLtMatmulDescSetAttribute (desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof (epilogue)),
             "epilogue") &&
         check_status (be,
                       cublasLtMatmulDescSetAttribute (desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof (bias)),
                       "bias");
}

static gboolean
init_preference (MllamaCudaBackend *be, cublasLtMatmulPreferenceOpaque_t *preference, gsize workspace_bytes)
{
  /* Of rows: 64 elements of 2 bytes. */
  guint32 alignment = 128, scheme = CUBLASLT_REDUCTION_SCHEME_NONE;
  const struct {
    cublasLtMatmulPreferenceAttributes_t name;
    const void *value;
    gsize n_bytes;
  } attributes[] = {
      {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes, sizeof (workspace_bytes)},
      {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &scheme, sizeof (scheme)},
      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &alignment, sizeof (alignment)},
      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &alignment, sizeof (alignment)},
      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &alignment, sizeof (alignment)},
      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &alignment, sizeof (alignment)},
  };

  if (!check_status (be, cublasLtMatmulPreferenceInit (preference), "preference"))
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (attributes); i++)
    if (!check_status (be,
                       cublasLtMatmulPreferenceSetAttribute (preference, attributes[i].name, attributes[i].value,
                                                             attributes[i].n_bytes),
                       "preference"))
      return FALSE;
  return TRUE;
}

/* Whether the sum over in is taken in one sequence. */
static gboolean
is_sequential (const cublasLtMatmulAlgo_t *algorithm)
{
  gint32 n_splits;
  guint32 scheme;
  size_t n_bytes;

  return cublasLtMatmulAlgoConfigGetAttribute (algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &n_splits, sizeof (n_splits),
                                               &n_bytes) == CUBLAS_STATUS_SUCCESS &&
         cublasLtMatmulAlgoConfigGetAttribute (algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, &scheme,
                                               sizeof (scheme), &n_bytes) == CUBLAS_STATUS_SUCCESS &&
         n_splits >= 0 && n_splits <= 1 && scheme == CUBLASLT_REDUCTION_SCHEME_NONE;
}

/* f32 goes without tensor cores, whose inputs are TF32. */
static gboolean
is_precise (const MllamaCudaBackend *be, const cublasLtMatmulAlgo_t *algorithm)
{
  guint64 flags;
  size_t n_bytes;

  return be->dtype != MLLAMA_DTYPE_F32 ||
         (cublasLtMatmulAlgoCapGetAttribute (algorithm, CUBLASLT_ALGO_CAP_NUMERICAL_IMPL_FLAGS, &flags, sizeof (flags),
                                             &n_bytes) == CUBLAS_STATUS_SUCCESS &&
          !(flags & CUBLASLT_NUMERICAL_IMPL_FLAGS_TENSOR_OP_MASK));
}

static gboolean
serves_all_rows (MllamaCudaBackend *be, Plan *plan, const Strides *strides, const cublasLtMatmulAlgo_t *algorithm,
                 gsize workspace_bytes)
{
  for (guint i = 0; i < G_N_ELEMENTS (served_rows); i++) {
    cublasLtMatmulHeuristicResult_t result;
    Layouts layouts;

    if (!init_layouts (be, &layouts, &plan->shape, served_rows[i], strides) ||
        cublasLtMatmulAlgoCheck (be->matmul->handle, &plan->desc, &layouts.w, &layouts.x, &layouts.y, &layouts.y,
                                 algorithm, &result) != CUBLAS_STATUS_SUCCESS ||
        result.workspaceSize > workspace_bytes)
      return FALSE;
  }
  return TRUE;
}

static gboolean
choose_at (MllamaCudaBackend *be, Plan *plan, const Strides *strides, gsize n_rows, gsize workspace_bytes)
{
  cublasLtMatmulHeuristicResult_t results[MAX_RESULTS];
  cublasLtMatmulPreferenceOpaque_t preference;
  Layouts layouts;
  int n_results = 0;

  if (!init_layouts (be, &layouts, &plan->shape, n_rows, strides) ||
      !init_preference (be, &preference, workspace_bytes) ||
      cublasLtMatmulAlgoGetHeuristic (be->matmul->handle, &plan->desc, &layouts.w, &layouts.x, &layouts.y, &layouts.y,
                                      &preference, MAX_RESULTS, results, &n_results) != CUBLAS_STATUS_SUCCESS)
    return FALSE;
  for (int i = 0; i < n_results; i++)
    if (results[i].state == CUBLAS_STATUS_SUCCESS && results[i].workspaceSize <= workspace_bytes &&
        is_sequential (&results[i].algo) && is_precise (be, &results[i].algo) &&
        serves_all_rows (be, plan, strides, &results[i].algo, workspace_bytes)) {
      plan->algorithm = results[i].algo;
      return TRUE;
    }
  return FALSE;
}

/* Algorithms without work space come first: one that deals out parts of sums to multiprocessors (stream-K) has no other
 * place to put them. */
static gboolean
choose_algorithm (MllamaCudaBackend *be, Plan *plan, const Strides *strides, const void *bias)
{
  static const gsize limits[] = {0, WORKSPACE_BYTES};
  static const cublasComputeType_t compute_types[] = {CUBLAS_COMPUTE_32F_PEDANTIC, CUBLAS_COMPUTE_32F};
  /* Pedantic bf16 would leave the tensor cores unused, whose sums are f32 anyway. */
  guint first_type = be->dtype == MLLAMA_DTYPE_F32 ? 0 : 1;

  for (guint t = first_type; t < G_N_ELEMENTS (compute_types); t++) {
    if (!init_desc (be, plan, compute_types[t], bias))
      return FALSE;
    for (guint l = 0; l < G_N_ELEMENTS (limits); l++)
      for (guint r = 0; r < G_N_ELEMENTS (reference_rows); r++)
        if (choose_at (be, plan, strides, reference_rows[r], limits[l]))
          return TRUE;
  }
  mllama_cuda_fail (be, g_error_new (MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
                                     "cuBLASLt has no algorithm that multiplies any number of rows of %" G_GSIZE_FORMAT
                                     " by a matrix [%" G_GSIZE_FORMAT "][%" G_GSIZE_FORMAT
                                     "] in one sequence of sums; try another version of it",
                                     plan->shape.n_in, plan->shape.n_out, plan->shape.n_in));
  return FALSE;
}

static Plan *
get_plan (MllamaCudaBackend *be, const Shape *shape, const Strides *strides, const void *bias)
{
  Plan *plan = g_hash_table_lookup (be->matmul->plans, shape);

  if (!plan) {
    plan = g_new0 (Plan, 1);
    plan->shape = *shape;
    plan->is_usable = choose_algorithm (be, plan, strides, bias);
    g_hash_table_insert (be->matmul->plans, &plan->shape, plan);
  }
  return plan->is_usable ? plan : NULL;
}

/* Columns up to a multiple of 16 bytes, so that kernels with wide loads can be had; x and w are zero past width. */
static gsize
pad_width (const MllamaCudaBackend *be, gsize width)
{
  gsize n = 16 / be->element_bytes;

  return (width + n - 1) / n * n;
}

void
mllama_cuda_matmul (MllamaCudaBackend *be, void *y, gsize y_ld, const void *x, gsize x_ld, gsize n_rows,
                    const MllamaWeight *w, const void *bias, float alpha, gboolean accumulate)
{
  const Shape shape = {w->n_rows, pad_width (be, w->width), bias != NULL, !!accumulate};
  const Strides strides = {w->ld, x_ld, y_ld};
  const float beta = accumulate ? 1 : 0;
  Layouts layouts;
  Plan *plan;
  void *workspace;

  if (n_rows == 0 || !(workspace = mllama_cuda_get_scratch (be, MLLAMA_CUDA_SCRATCH_MATMUL, WORKSPACE_BYTES)) ||
      !(plan = get_plan (be, &shape, &strides, bias)) || !init_layouts (be, &layouts, &shape, n_rows, &strides))
    return;
  if (bias &&
      !check_status (
          be, cublasLtMatmulDescSetAttribute (&plan->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof (bias)),
          "bias"))
    return;
  check_status (be,
                cublasLtMatmul (be->matmul->handle, &plan->desc, &alpha, w->data, &layouts.w, x, &layouts.x, &beta, y,
                                &layouts.y, y, &layouts.y, &plan->algorithm, workspace, WORKSPACE_BYTES, be->stream),
                "product");
}

/* --- full precision --- */

#define TF32_VARIABLE "NVIDIA_TF32_OVERRIDE"
#define CHECK_WIDTH   MLLAMA_CUDA_ALIGNMENT

static gboolean
check_variable (GError **error)
{
  const char *value = g_getenv (TF32_VARIABLE);

  if (!value || g_ascii_strtoll (value, NULL, 0) == 0)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
               "dtype=f32 needs products in full float32, and " TF32_VARIABLE "=%s rounds them to TF32; unset it, or "
               "set it to 0",
               value);
  return FALSE;
}

/* Rows of 1 and 1 + 2^-12 in turn, which 10 bits of mantissa don't hold; the product is 64 * (1 + 2^-12), exactly. */
static void
fill_check_row (float *row, guint which)
{
  for (guint i = 0; i < CHECK_WIDTH; i++)
    row[i] = i % 2 == which ? 1 + 0x1p-12f : 1;
}

static gboolean
run_check (MllamaCudaBackend *be, float *data, float *product, GError **error)
{
  float rows[CHECK_WIDTH + 1][CHECK_WIDTH];
  float *x = data + CHECK_WIDTH * CHECK_WIDTH, *y = x + CHECK_WIDTH;
  const MllamaWeight w = {.n_rows = CHECK_WIDTH, .width = CHECK_WIDTH, .ld = CHECK_WIDTH, .data = data};

  for (guint r = 0; r <= CHECK_WIDTH; r++)
    fill_check_row (rows[r], r == CHECK_WIDTH);
  if (mllama_cuda_check (be, cudaMemcpyAsync (data, rows, sizeof (rows), cudaMemcpyHostToDevice, be->stream),
                         "check of products"))
    mllama_cuda_matmul (be, y, CHECK_WIDTH, x, CHECK_WIDTH, 1, &w, NULL, 1, FALSE);
  if (mllama_cuda_is_well (be, NULL) &&
      mllama_cuda_check (be,
                         cudaMemcpyAsync (product, y, CHECK_WIDTH * sizeof (float), cudaMemcpyDeviceToHost, be->stream),
                         "check of products"))
    mllama_cuda_check (be, cudaStreamSynchronize (be->stream), "check of products");
  return mllama_cuda_is_well (be, error);
}

static gboolean
check_precision (MllamaCudaBackend *be, GError **error)
{
  static const float expected = CHECK_WIDTH * (1 + 0x1p-12f);
  float product[CHECK_WIDTH];
  float *data = mllama_cuda_alloc (be, (CHECK_WIDTH + 2) * CHECK_WIDTH * sizeof (float), "check of products", error);
  gboolean is_well = data && run_check (be, data, product, error);

  mllama_cuda_free (be, data);
  for (guint i = 0; is_well && i < CHECK_WIDTH; i++)
    if (product[i] != expected) {
      g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
                   "dtype=f32 needs products in full float32, and %s gives %.9g for a product of %.9g, as with TF32; "
                   "set " TF32_VARIABLE "=0, or use dtype=bf16",
                   be->device_name, product[i], expected);
      return FALSE;
    }
  return is_well;
}

/* --- life --- */

gboolean
mllama_cuda_matmul_init (MllamaCudaBackend *be, GError **error)
{
  cublasStatus_t status;

  if (be->dtype == MLLAMA_DTYPE_F32 && !check_variable (error))
    return FALSE;
  be->matmul = g_new0 (MllamaCudaMatmul, 1);
  be->matmul->plans = g_hash_table_new_full (hash_shape, equal_shapes, NULL, g_free);
  if ((status = cublasLtCreate (&be->matmul->handle)) != CUBLAS_STATUS_SUCCESS) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE, "%s: cannot start cuBLASLt: %s", be->device_name,
                 cublasLtGetStatusString (status));
    return FALSE;
  }
  if (!mllama_cuda_get_scratch (be, MLLAMA_CUDA_SCRATCH_MATMUL, WORKSPACE_BYTES)) {
    mllama_cuda_is_well (be, error);
    return FALSE;
  }
  return be->dtype != MLLAMA_DTYPE_F32 || check_precision (be, error);
}

void
mllama_cuda_matmul_clear (MllamaCudaBackend *be)
{
  if (!be->matmul)
    return;
  g_hash_table_unref (be->matmul->plans);
  if (be->matmul->handle)
    cublasLtDestroy (be->matmul->handle);
  g_clear_pointer (&be->matmul, g_free);
}
