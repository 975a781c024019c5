/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Products of up to MLLAMA_MAX_ROWS rows: which kernel, and what becomes of the sums. */
#include "few-kernels.cuh"

namespace mllama
{

template <typename S, typename E>
static void
launch_shape (MllamaCudaBackend *be, const char *what, const Product<bf16> &p, const E &epilogue)
{
  unsigned n_pairs_of_block = 8 * S::m_tiles;
  unsigned n_blocks = (p.pairing.get_n_pairs () + n_pairs_of_block - 1) / n_pairs_of_block;

  launch (be, what, few_products_columns_over_warps<S, E>, dim3 (n_blocks), dim3 (32 * N_WARPS), 0, p, epilogue);
}

template <typename E>
static void
multiply (MllamaCudaBackend *be, const char *what, const Product<bf16> &p, const E &epilogue)
{
  if (p.n_max <= 8)
    launch_shape<Shape<1>> (be, what, p, epilogue);
  else if (p.n_max <= 16)
    launch_shape<Shape<2>> (be, what, p, epilogue);
  else if (p.n_max <= 32)
    launch_shape<Shape<4>> (be, what, p, epilogue);
  else
    launch_shape<Shape<8>> (be, what, p, epilogue);
}

template <typename E>
static void
multiply (MllamaCudaBackend *be, const char *what, const Product<float> &p, const E &epilogue)
{
  unsigned n_blocks = (p.pairing.get_n_pairs () + N_WARPS - 1) / N_WARPS;

  launch (be, what, few_products_warp_per_pair<E>, dim3 (n_blocks), dim3 (32 * N_WARPS), 0, p, epilogue);
}

/* half: of the pairing. */
template <typename T>
static Product<T>
make_product (const void *x, gsize x_ld, const MllamaWeight *w, unsigned half, guint n_max, const guint32 *n_rows)
{
  return {static_cast<const T *> (w->data),
          static_cast<const T *> (x),
          w->ld,
          x_ld,
          {half, unsigned (w->n_rows)},
          n_rows,
          n_max};
}

#define PLAIN_HALF 8 /* an m tile is 16 adjacent rows */

/* y: U, act or float. */
template <typename T, typename U>
static void
store_product (MllamaCudaBackend *be, const char *what, U *y, gsize y_ld, const Product<T> &p)
{
  multiply (be, what, p, StoreSums<U>{y, y_ld, p.pairing.n_rows});
}

template <typename T>
static void
add_product (MllamaCudaBackend *be, void *y, gsize y_ld, float gate, const guint8 *const *select, const Product<T> &p)
{
  multiply (be, "few-token residual product", p,
            AddSums<T>{static_cast<T *> (y), y_ld, p.pairing.n_rows, gate, select});
}

template <typename T>
static void
rotate_product (MllamaCudaBackend *be, void *q, gsize q_ld, guint layer, const Product<T> &p)
{
  const MllamaTextConfig *text = &be->base.config->text;

  multiply (be, "few-token q, k and v", p,
            RopeAppend<T>{static_cast<T *> (q), q_ld, be->pass, be->inv_freq, text->n_heads, text->n_kv_heads,
                          p.pairing.half, layer});
}

} // namespace mllama

using namespace mllama;

void
mllama_cuda_few_linear (MllamaCudaBackend *be, void *y, gsize y_ld, const void *x, gsize x_ld, const MllamaWeight *w,
                        guint n_max, const guint32 *n_rows)
{
  const char *what = "few-token product";

  if (be->dtype == MLLAMA_DTYPE_BF16)
    store_product (be, what, static_cast<bf16 *> (y), y_ld, make_product<bf16> (x, x_ld, w, PLAIN_HALF, n_max, n_rows));
  else
    store_product (be, what, static_cast<float *> (y), y_ld,
                   make_product<float> (x, x_ld, w, PLAIN_HALF, n_max, n_rows));
}

void
mllama_cuda_few_logits (MllamaCudaBackend *be, float *y, gsize y_ld, const void *x, gsize x_ld, const MllamaWeight *w,
                        guint n_max, const guint32 *n_rows)
{
  const char *what = "logits";

  if (be->dtype == MLLAMA_DTYPE_BF16)
    store_product (be, what, y, y_ld, make_product<bf16> (x, x_ld, w, PLAIN_HALF, n_max, n_rows));
  else
    store_product (be, what, y, y_ld, make_product<float> (x, x_ld, w, PLAIN_HALF, n_max, n_rows));
}

void
mllama_cuda_few_residual (MllamaCudaBackend *be, void *y, gsize y_ld, const void *a, gsize a_ld, const MllamaWeight *w,
                          float gate, const guint8 *const *select, guint n_max, const guint32 *n_rows)
{
  if (be->dtype == MLLAMA_DTYPE_BF16)
    add_product (be, y, y_ld, gate, select, make_product<bf16> (a, a_ld, w, PLAIN_HALF, n_max, n_rows));
  else
    add_product (be, y, y_ld, gate, select, make_product<float> (a, a_ld, w, PLAIN_HALF, n_max, n_rows));
}

void
mllama_cuda_few_swiglu (MllamaCudaBackend *be, void *h, gsize h_ld, const void *x, gsize x_ld, const MllamaWeight *w,
                        guint n_max, const guint32 *n_rows)
{
  const char *what = "few-token gate and up";
  unsigned half = w->n_rows / 2;

  if (be->dtype == MLLAMA_DTYPE_BF16)
    multiply (be, what, make_product<bf16> (x, x_ld, w, half, n_max, n_rows),
              StoreSwiglu<bf16>{static_cast<bf16 *> (h), h_ld});
  else
    multiply (be, what, make_product<float> (x, x_ld, w, half, n_max, n_rows),
              StoreSwiglu<float>{static_cast<float *> (h), h_ld});
}

void
mllama_cuda_few_qkv_rope (MllamaCudaBackend *be, void *q, gsize q_ld, const void *x, gsize x_ld, const MllamaWeight *w,
                          guint layer)
{
  unsigned half = be->base.config->text.head_width / 2;
  const guint32 *n_tokens = &be->pass->n_tokens; /* an address on the device */

  if (be->dtype == MLLAMA_DTYPE_BF16)
    rotate_product (be, q, q_ld, layer, make_product<bf16> (x, x_ld, w, half, be->n_max_tokens, n_tokens));
  else
    rotate_product (be, q, q_ld, layer, make_product<float> (x, x_ld, w, half, be->n_max_tokens, n_tokens));
}
