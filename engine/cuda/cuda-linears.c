/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Products with what comes before and after them. Tensors of passes of few tokens are multiplied by the few_* kernels,
 * whose rows are counted on the device; all others by cuBLASLt, with the rest of the operation in kernels of its own.
 */
#include "cuda.h"

/* Part of a pass on the device. Never read here: the address alone goes to the kernels. */
#define ON_DEVICE(cuda, field) (&(cuda)->pass->field)

/* NORMED or PRODUCT for n_rows rows of ld elements, at least MLLAMA_MAX_ROWS. */
static void *
get_rows (MllamaCudaBackend *cuda, MllamaCudaScratch name, gsize n_rows, gsize ld)
{
  return mllama_cuda_get_scratch (cuda, name, MAX (n_rows, MLLAMA_MAX_ROWS) * ld * cuda->element_bytes);
}

/* What norm leaves of the tokens of a pass, in NORMED; NULL after a failure. */
static void *
norm_tokens (MllamaCudaBackend *cuda, const MllamaTensor *x, const MllamaWeight *norm, float eps,
             const MllamaPass *pass)
{
  gboolean is_few = pass->kind == MLLAMA_PASS_FEW;
  void *normed = get_rows (cuda, MLLAMA_CUDA_SCRATCH_NORMED, is_few ? 0 : pass->n_tokens, x->ld);

  if (!normed)
    return NULL;
  if (is_few)
    mllama_cuda_rms_norm (cuda, normed, x->ld, x->data, x->ld, x->width, norm, eps, NULL, cuda->n_max_tokens,
                          ON_DEVICE (cuda, n_tokens));
  else
    mllama_cuda_rms_norm (cuda, normed, x->ld, x->data, x->ld, x->width, norm, eps, NULL, pass->n_tokens, NULL);
  return normed;
}

/* x W^T of n_rows rows, in PRODUCT; NULL after a failure. */
static void *
multiply (MllamaCudaBackend *cuda, const void *x, gsize x_ld, gsize n_rows, const MllamaWeight *w, gsize *product_ld)
{
  void *product;

  *product_ld = mllama_cuda_round_up (w->n_rows);
  if ((product = get_rows (cuda, MLLAMA_CUDA_SCRATCH_PRODUCT, n_rows, *product_ld)))
    mllama_cuda_matmul (cuda, product, *product_ld, x, x_ld, n_rows, w, NULL, 1, FALSE);
  return product;
}

/* --- the tower --- */

void
mllama_cuda_layer_norm_linear (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, guint n_rows,
                               const MllamaWeight *norm_weight, const MllamaWeight *norm_bias, float eps,
                               const MllamaWeight *w, const MllamaWeight *bias, gboolean gelu)
{
  MllamaCudaBackend *cuda = mllama_cuda_backend (be);
  void *normed = get_rows (cuda, MLLAMA_CUDA_SCRATCH_NORMED, n_rows, x->ld);

  if (!normed)
    return;
  mllama_cuda_layer_norm (cuda, normed, x->ld, x->data, x->ld, x->width, norm_weight, norm_bias, eps, n_rows);
  mllama_cuda_matmul (cuda, y->data, y->ld, normed, x->ld, n_rows, w, bias ? bias->data : NULL, 1, FALSE);
  if (gelu)
    mllama_cuda_gelu (cuda, y->data, y->ld, y->width, n_rows);
}

/* gate * bias, made once: gates are constants of the weights. NULL after a failure. */
static const void *
get_gated_bias (MllamaCudaBackend *cuda, MllamaWeight *bias, float gate)
{
  GError *error = NULL;

  if (gate == 1)
    return bias->data;
  if (bias->scaled && bias->scale == gate)
    return bias->scaled;
  if (!bias->scaled)
    bias->scaled = mllama_cuda_alloc (cuda, bias->ld * cuda->element_bytes, "gated bias", &error);
  if (!bias->scaled) {
    mllama_cuda_fail (cuda, error);
    return NULL;
  }
  mllama_cuda_scale_vector (cuda, bias->scaled, bias->data, bias->ld, gate);
  bias->scale = gate;
  return bias->scaled;
}

void
mllama_cuda_linear_residual (MllamaBackend *be, MllamaTensor *x, const MllamaTensor *a, guint n_rows,
                             const MllamaWeight *w, const MllamaWeight *bias, float gate)
{
  MllamaCudaBackend *cuda = mllama_cuda_backend (be);
  /* What is kept beside a weight is not its value. */
  const void *gated_bias = bias ? get_gated_bias (cuda, (MllamaWeight *) bias, gate) : NULL;

  if (bias && !gated_bias)
    return;
  mllama_cuda_matmul (cuda, x->data, x->ld, a->data, a->ld, n_rows, w, gated_bias, gate, TRUE);
}

void
mllama_cuda_linear (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, guint n_rows, const MllamaWeight *w,
                    const MllamaWeight *bias)
{
  mllama_cuda_matmul (mllama_cuda_backend (be), y->data, y->ld, x->data, x->ld, n_rows, w, bias ? bias->data : NULL, 1,
                      FALSE);
}

void
mllama_cuda_cross_keys_values (MllamaBackend *be, MllamaSlab *slab, guint layer, const MllamaTensor *y, guint y_first,
                               const MllamaWeight *w, const MllamaWeight *k_norm, float eps)
{
  MllamaCudaBackend *cuda = mllama_cuda_backend (be);
  const guint8 *states = (const guint8 *) y->data + y_first * y->ld * cuda->element_bytes;
  gsize product_ld;
  void *product = multiply (cuda, states, y->ld, slab->n_keys, w, &product_ld);

  if (product)
    mllama_cuda_fill_slab (cuda, slab, layer, product, product_ld, k_norm, eps);
}

/* --- the decoder --- */

void
mllama_cuda_norm_qkv_rope (MllamaBackend *be, MllamaTensor *q, const MllamaTensor *x, const MllamaWeight *norm,
                           float eps, const MllamaWeight *w, guint layer, const MllamaPass *pass)
{
  MllamaCudaBackend *cuda = mllama_cuda_backend (be);
  void *normed = norm_tokens (cuda, x, norm, eps, pass), *product;
  gsize product_ld;

  if (!normed)
    return;
  if (pass->kind == MLLAMA_PASS_FEW)
    mllama_cuda_few_qkv_rope (cuda, q->data, q->ld, normed, x->ld, w, layer);
  else if ((product = multiply (cuda, normed, x->ld, pass->n_tokens, w, &product_ld)))
    mllama_cuda_rope_append (cuda, q->data, q->ld, product, product_ld, layer, pass->n_tokens);
}

void
mllama_cuda_norm_q_heads (MllamaBackend *be, MllamaTensor *q, const MllamaTensor *x, const MllamaWeight *norm,
                          float eps, const MllamaWeight *w, const MllamaWeight *q_norm, const MllamaPass *pass)
{
  MllamaCudaBackend *cuda = mllama_cuda_backend (be);
  const MllamaTextConfig *text = &be->config->text;
  gboolean is_few = pass->kind == MLLAMA_PASS_FEW;
  guint n_max = is_few ? cuda->n_max_tokens : pass->n_tokens;
  const guint32 *n_rows = is_few ? ON_DEVICE (cuda, n_tokens) : NULL;
  void *normed = norm_tokens (cuda, x, norm, eps, pass);

  if (!normed)
    return;
  if (is_few)
    mllama_cuda_few_linear (cuda, q->data, q->ld, normed, x->ld, w, n_max, n_rows);
  else
    mllama_cuda_matmul (cuda, q->data, q->ld, normed, x->ld, n_max, w, NULL, 1, FALSE);
  mllama_cuda_head_norm (cuda, q->data, q->ld, q->data, q->ld, text->n_heads, text->head_width, q_norm, eps, n_max,
                         n_rows);
}

void
mllama_cuda_norm_swiglu (MllamaBackend *be, MllamaTensor *h, const MllamaTensor *x, const MllamaWeight *norm, float eps,
                         const MllamaWeight *w, const MllamaPass *pass)
{
  MllamaCudaBackend *cuda = mllama_cuda_backend (be);
  void *normed = norm_tokens (cuda, x, norm, eps, pass), *product;
  gsize product_ld;

  if (!normed)
    return;
  if (pass->kind == MLLAMA_PASS_FEW)
    mllama_cuda_few_swiglu (cuda, h->data, h->ld, normed, x->ld, w, cuda->n_max_tokens, ON_DEVICE (cuda, n_tokens));
  else if ((product = multiply (cuda, normed, x->ld, pass->n_tokens, w, &product_ld)))
    mllama_cuda_swiglu (cuda, h->data, h->ld, product, product_ld, h->width, pass->n_tokens);
}

void
mllama_cuda_linear_residual_tokens (MllamaBackend *be, MllamaTensor *x, const MllamaTensor *a, const MllamaWeight *w,
                                    float gate, gboolean sighted_only, const MllamaPass *pass)
{
  MllamaCudaBackend *cuda = mllama_cuda_backend (be);
  const guint8 *const *select = sighted_only ? ON_DEVICE (cuda, sees_image) : NULL;
  gsize product_ld;
  void *product;

  if (pass->kind == MLLAMA_PASS_FEW)
    mllama_cuda_few_residual (cuda, x->data, x->ld, a->data, a->ld, w, gate, select, cuda->n_max_tokens,
                              ON_DEVICE (cuda, n_tokens));
  else if (!sighted_only)
    mllama_cuda_matmul (cuda, x->data, x->ld, a->data, a->ld, pass->n_tokens, w, NULL, gate, TRUE);
  else if ((product = multiply (cuda, a->data, a->ld, pass->n_tokens, w, &product_ld)))
    mllama_cuda_add_selected (cuda, x->data, x->ld, product, product_ld, x->width, gate, select, pass->n_tokens);
}

void
mllama_cuda_norm_outputs (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, const MllamaWeight *norm,
                          float eps, const MllamaPass *pass)
{
  MllamaCudaBackend *cuda = mllama_cuda_backend (be);

  mllama_cuda_rms_norm (cuda, y->data, y->ld, x->data, x->ld, x->width, norm, eps, ON_DEVICE (cuda, outputs),
                        cuda->n_max_outputs, ON_DEVICE (cuda, n_outputs));
}

/* The same kernel for both kinds of pass: their outputs are few. */
void
mllama_cuda_logits (MllamaBackend *be, MllamaTensor *logits, const MllamaTensor *y, const MllamaWeight *w,
                    const MllamaPass *pass)
{
  MllamaCudaBackend *cuda = mllama_cuda_backend (be);

  if (cuda->n_max_outputs > 0)
    mllama_cuda_few_logits (cuda, logits->data, logits->ld, y->data, y->ld, w, cuda->n_max_outputs,
                            ON_DEVICE (cuda, n_outputs));
}
