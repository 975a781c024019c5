/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Queries, keys and values of the decoder after their product: norms of heads, rotation, and where they are kept. */
#include "pieces.cuh"
#include "rope.cuh"

namespace mllama
{
namespace
{

constexpr unsigned max_head_width = 256;
constexpr unsigned n_threads = 256;
constexpr unsigned n_warps = n_threads / 32;

/* One warp takes one head, lanes take pieces in turn. y may be x. */
template <typename T, int n>
__device__ __forceinline__ void
norm_head (T *y, const T *x, const T *w, unsigned head_width, float eps)
{
  constexpr int max_pieces = (max_head_width + 32 * n - 1) / (32 * n);
  Piece<T, n> pieces[max_pieces];
  float sum = 0, scale;

#pragma unroll
  for (int p = 0; p < max_pieces; p++) {
    unsigned first = (p * 32 + threadIdx.x % 32) * n;
    if (first >= head_width)
      continue;
    pieces[p] = load_piece<n> (x + first);
#pragma unroll
    for (int i = 0; i < n; i++)
      sum += to_float (pieces[p].at[i]) * to_float (pieces[p].at[i]);
  }
  scale = __frsqrt_rn (warp_sum (sum) / (float) head_width + eps);
#pragma unroll
  for (int p = 0; p < max_pieces; p++) {
    unsigned first = (p * 32 + threadIdx.x % 32) * n;
    if (first >= head_width)
      continue;
    Piece<T, n> weights = load_piece<n> (w + first);
#pragma unroll
    for (int i = 0; i < n; i++)
      pieces[p].at[i] = from_float<T> (to_float (weights.at[i]) * round_to<T> (to_float (pieces[p].at[i]) * scale));
    store_piece (y + first, pieces[p]);
  }
}

template <typename T, int n>
__global__
__launch_bounds__ (n_threads) void head_norm_warp_per_head (T *y, size_t y_ld, const T *x, size_t x_ld,
                                                            unsigned n_heads, unsigned head_width, const T *w,
                                                            float eps, unsigned n_max, const guint32 *n_rows)
{
  size_t index = (size_t) blockIdx.x * n_warps + threadIdx.x / 32;
  size_t row = index / n_heads, head = index % n_heads;

  let_next_start ();
  wait_for_inputs ();
  if (row < count_rows (n_rows, n_max))
    norm_head<T, n> (y + row * y_ld + head * head_width, x + row * x_ld + head * head_width, w, head_width, eps);
}

/* A warp takes one head of one key; heads of keys come before those of values, in the product and in the slab. */
template <typename T, int n>
__global__
__launch_bounds__ (n_threads) void fill_slab_warp_per_head (T *slab, const T *product, size_t product_ld,
                                                            unsigned n_keys, unsigned n_kv_heads, unsigned head_width,
                                                            const T *w, float eps)
{
  size_t index = (size_t) blockIdx.x * n_warps + threadIdx.x / 32;
  size_t key = index / (2 * n_kv_heads), head = index % (2 * n_kv_heads);
  const T *from = product + key * product_ld + head * head_width;
  T *to = slab + (head * n_keys + key) * head_width;

  let_next_start ();
  wait_for_inputs ();
  if (key >= n_keys)
    return;
  if (head < n_kv_heads) {
    norm_head<T, n> (to, from, w, head_width, eps);
    return;
  }
  for (unsigned i = threadIdx.x % 32 * n; i < head_width; i += 32 * n)
    store_piece (to + i, load_piece<n> (from + i));
}

struct HeadShape {
  unsigned n_heads, n_kv_heads, width;
};

/* Keys of the first head for one token, in the pages; those of the next head are a page's tokens further on, and values
 * come after the keys of all heads. */
template <typename T>
__device__ __forceinline__ T *
find_keys (const MllamaCudaPass *pass, unsigned token, guint32 position, unsigned layer, HeadShape shape)
{
  size_t page = pass->pages[pass->first_page[token] + position / MLLAMA_KV_PAGE];
  size_t row = (size_t) layer * 2 * shape.n_kv_heads * MLLAMA_KV_PAGE + position % MLLAMA_KV_PAGE;

  return (T *) pass->kv + page * pass->kv_page_elements + row * shape.width;
}

template <typename T, int n>
__global__
__launch_bounds__ (n_threads) void rope_append_block_per_token (T *q, size_t q_ld, const T *product, size_t product_ld,
                                                                HeadShape shape, const float *inv_freq,
                                                                const MllamaCudaPass *pass, unsigned layer)
{
  __shared__ Rotation rotations[max_head_width / 2];
  unsigned half = shape.width / 2, n_pairs = half / n, n_pieces = shape.width / n;
  size_t head_elements = (size_t) MLLAMA_KV_PAGE * shape.width;
  guint32 position;
  T *keys, *values;

  let_next_start ();
  wait_for_inputs ();
  position = pass->positions[blockIdx.x];
  keys = find_keys<T> (pass, blockIdx.x, position, layer, shape);
  values = keys + shape.n_kv_heads * head_elements;
  q += blockIdx.x * q_ld;
  product += blockIdx.x * product_ld;
  for (unsigned i = threadIdx.x; i < half; i += n_threads)
    rotations[i] = get_rotation<T> (position, inv_freq[i]);
  __syncthreads ();

  for (unsigned item = threadIdx.x; item < (shape.n_heads + shape.n_kv_heads) * n_pairs; item += n_threads) {
    unsigned head = item / n_pairs, first = item % n_pairs * n;
    const T *from = product + head * shape.width + first;
    T *to = head < shape.n_heads ? q + head * shape.width : keys + (head - shape.n_heads) * head_elements;
    Piece<T, n> a = load_piece<n> (from), b = load_piece<n> (from + half);
#pragma unroll
    for (int i = 0; i < n; i++)
      rotate_pair (a.at[i], b.at[i], rotations[first + i]);
    store_piece (to + first, a);
    store_piece (to + half + first, b);
  }
  product += (shape.n_heads + shape.n_kv_heads) * shape.width;
  for (unsigned item = threadIdx.x; item < shape.n_kv_heads * n_pieces; item += n_threads)
    store_piece (values + item / n_pieces * head_elements + item % n_pieces * n, load_piece<n> (product + item * n));
}

/* Blocks of kernels that give each warp a head. */
dim3
cover_heads (gsize n_rows, gsize n_heads)
{
  return dim3 ((n_rows * n_heads + n_warps - 1) / n_warps);
}

template <typename T, int n>
void
launch_head_norm (MllamaCudaBackend *be, void *y, gsize y_ld, const void *x, gsize x_ld, guint n_heads,
                  guint head_width, const MllamaWeight *norm, float eps, guint n_max, const guint32 *n_rows)
{
  launch (be, "norm of heads", head_norm_warp_per_head<T, n>, cover_heads (n_max, n_heads), dim3 (n_threads), 0,
          (T *) y, y_ld, (const T *) x, x_ld, n_heads, head_width, (const T *) norm->data, eps, n_max, n_rows);
}

template <typename T, int n>
void
launch_rope_append (MllamaCudaBackend *be, void *q, gsize q_ld, const void *product, gsize product_ld, guint layer,
                    gsize n_tokens)
{
  const MllamaTextConfig *text = &be->base.config->text;
  HeadShape shape = {text->n_heads, text->n_kv_heads, text->head_width};

  launch (be, "rotary embedding", rope_append_block_per_token<T, n>, dim3 (n_tokens), dim3 (n_threads), 0, (T *) q,
          q_ld, (const T *) product, product_ld, shape, be->inv_freq, be->pass, layer);
}

template <typename T, int n>
void
launch_fill_slab (MllamaCudaBackend *be, MllamaSlab *slab, guint layer, const void *product, gsize product_ld,
                  const MllamaWeight *k_norm, float eps)
{
  gsize layer_elements = (gsize) 2 * slab->n_kv_heads * slab->n_keys * slab->head_width;

  launch (be, "keys and values of a picture", fill_slab_warp_per_head<T, n>,
          cover_heads (slab->n_keys, 2 * slab->n_kv_heads), dim3 (n_threads), 0,
          (T *) slab->data + layer * layer_elements, (const T *) product, product_ld, slab->n_keys, slab->n_kv_heads,
          slab->head_width, (const T *) k_norm->data, eps);
}

} // namespace
} // namespace mllama

using namespace mllama;

extern "C" {

void
mllama_cuda_head_norm (MllamaCudaBackend *be, void *y, gsize y_ld, const void *x, gsize x_ld, guint n_heads,
                       guint head_width, const MllamaWeight *norm, float eps, guint n_max, const guint32 *n_rows)
{
  auto run = be->dtype == MLLAMA_DTYPE_F32
                 ? (head_width % 4 == 0 ? launch_head_norm<float, 4> : launch_head_norm<float, 1>)
                 : (head_width % 8 == 0 ? launch_head_norm<bf16, 8> : launch_head_norm<bf16, 1>);

  if (n_max > 0)
    run (be, y, y_ld, x, x_ld, n_heads, head_width, norm, eps, n_max, n_rows);
}

/* Pieces must not cross the middle of a head. */
void
mllama_cuda_rope_append (MllamaCudaBackend *be, void *q, gsize q_ld, const void *product, gsize product_ld, guint layer,
                         gsize n_tokens)
{
  guint head_width = be->base.config->text.head_width;
  auto run = be->dtype == MLLAMA_DTYPE_F32
                 ? (head_width % 8 == 0 ? launch_rope_append<float, 4> : launch_rope_append<float, 1>)
                 : (head_width % 16 == 0 ? launch_rope_append<bf16, 8> : launch_rope_append<bf16, 1>);

  if (n_tokens > 0)
    run (be, q, q_ld, product, product_ld, layer, n_tokens);
}

void
mllama_cuda_fill_slab (MllamaCudaBackend *be, MllamaSlab *slab, guint layer, const void *product, gsize product_ld,
                       const MllamaWeight *k_norm, float eps)
{
  auto run = be->dtype == MLLAMA_DTYPE_F32
                 ? (slab->head_width % 4 == 0 ? launch_fill_slab<float, 4> : launch_fill_slab<float, 1>)
                 : (slab->head_width % 8 == 0 ? launch_fill_slab<bf16, 8> : launch_fill_slab<bf16, 1>);

  if (slab->n_keys > 0)
    run (be, slab, layer, product, product_ld, k_norm, eps);
}

} // extern "C"
