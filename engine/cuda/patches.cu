/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tower does to rows outside its layers: embedding, the norm between the encoders, features side by side. A
 * warp has a row; no width needs more than a multiple of an element. */
#include "cuda-tower.h"
#include "device.cuh"

namespace mllama
{

static constexpr int WARPS = 8;

static_assert (WARPS == MLLAMA_CUDA_SPAN_ROWS, "a block does one piece of a span");

/* --- layer norm of a row by a warp; statistics in f32 --- */

struct Statistics {
  float mean, scale; /* 1 / sqrt (variance + eps) */
};

template <typename T>
__device__ Statistics
measure_row (const T *row, size_t width, float eps)
{
  float sum = 0, squares = 0, mean;

#pragma unroll 4
  for (size_t i = threadIdx.x % 32; i < width; i += 32)
    sum += to_float (row[i]);
  mean = warp_sum (sum) / width;
#pragma unroll 4
  for (size_t i = threadIdx.x % 32; i < width; i += 32) {
    float x = to_float (row[i]) - mean;

    squares += x * x;
  }
  return {mean, rsqrtf (warp_sum (squares) / width + eps)};
}

template <typename T>
__device__ __forceinline__ float
norm_element (T x, const Statistics &statistics, T weight, T bias)
{
  return (to_float (x) - statistics.mean) * statistics.scale * to_float (weight) + to_float (bias);
}

/* --- embedding --- */

/* The embedding of a row before its norm, spec/mllama.md 4.1 steps 1 to 4: rounded after each addition. */
template <typename T>
__device__ void
embed_row (T *x, const MllamaCudaTileRows &rows, unsigned row)
{
  const T *position = (const T *) rows.position + row * rows.width;
  const T *tile_position = (const T *) rows.tile_position + row * rows.width;
  const T *product = rows.product && row > 0 ? (const T *) rows.product + (row - 1) * rows.product_ld : NULL;
  const T *start = row > 0 ? (const T *) rows.pre_tile : (const T *) rows.class_token;

#pragma unroll 4
  for (size_t i = threadIdx.x % 32; i < rows.width; i += 32) {
    float e = to_float (start[i]);

    if (row > 0)
      e = round_to<T> (rows.pre_tile_gate * e + (product ? to_float (product[i]) : 0));
    e = round_to<T> (e + (1 - rows.position_gate) * to_float (position[i]));
    x[i] = from_float<T> (e + rows.position_gate * to_float (tile_position[i]));
  }
}

/* Each lane reads again only what it wrote. */
template <typename T>
__global__ void
__launch_bounds__ (WARPS * 32) finish_tile_warp_per_row (MllamaCudaTileRows rows)
{
  unsigned row = blockIdx.x * WARPS + threadIdx.x / 32;
  T *x = (T *) rows.x + row * rows.x_ld;
  const T *weight = (const T *) rows.norm_weight, *bias = (const T *) rows.norm_bias;
  Statistics statistics;

  wait_for_inputs ();
  let_next_start ();
  if (row >= rows.n_rows)
    return;
  embed_row (x, rows, row);
  statistics = measure_row (x, rows.width, rows.eps);
#pragma unroll 4
  for (size_t i = threadIdx.x % 32; i < rows.width; i += 32)
    x[i] = from_float<T> (norm_element (x[i], statistics, weight[i], bias[i]));
}

/* --- between the encoders --- */

template <typename T>
__global__ void
__launch_bounds__ (WARPS * 32)
    norm_add_warp_per_row (T *y, size_t y_ld, const T *x, size_t x_ld, size_t width, const T *weight, const T *bias,
                           float eps, const T *table, size_t table_ld, float gate, const MllamaTowerSpan *pieces)
{
  wait_for_inputs ();
  let_next_start ();

  const MllamaTowerSpan piece = pieces[blockIdx.x];
  const unsigned r = threadIdx.x / 32;
  const T *from = x + (piece.source_first + (size_t) r * piece.source_step) * x_ld;
  const T *tile = table + piece.aspect_ratio_id * table_ld + piece.slot * width;
  T *to = y + (piece.first_row + (size_t) r) * y_ld;
  Statistics statistics;

  if (r >= piece.n_rows)
    return;
  statistics = measure_row (from, width, eps);
#pragma unroll 4
  for (size_t i = threadIdx.x % 32; i < width; i += 32)
    to[i] = from_float<T> (round_to<T> (norm_element (from[i], statistics, weight[i], bias[i])) +
                           gate * to_float (tile[i]));
}

template <typename T>
static void
norm_add (MllamaCudaBackend *be, MllamaTensor *y, const MllamaTensor *x, const MllamaWeight *weight,
          const MllamaWeight *bias, float eps, const MllamaWeight *table, float gate, const MllamaTowerSpan *pieces,
          guint n_pieces)
{
  launch (be, "norm between the encoders", norm_add_warp_per_row<T>, dim3 (n_pieces), dim3 (WARPS * 32), 0,
          (T *) y->data, y->ld, (const T *) x->data, x->ld, x->width, (const T *) weight->data, (const T *) bias->data,
          eps, (const T *) table->data, table->ld, gate, pieces);
}

/* --- features side by side --- */

/* U: what is copied at once; everything counts in it. */
template <typename U>
__global__ void
__launch_bounds__ (WARPS * 32)
    copy_rows_warp_per_row (U *to, size_t to_ld, const U *from, size_t from_ld, size_t width, unsigned n_rows)
{
  size_t row = blockIdx.x * WARPS + threadIdx.x / 32;

  wait_for_inputs ();
  let_next_start ();
  if (row >= n_rows)
    return;
#pragma unroll 4
  for (size_t i = threadIdx.x % 32; i < width; i += 32)
    to[row * to_ld + i] = from[row * from_ld + i];
}

template <typename U>
static void
copy_rows (MllamaCudaBackend *be, void *to, gsize to_stride, const void *from, gsize from_stride, gsize width,
           guint n_rows)
{
  launch (be, "copy of features", copy_rows_warp_per_row<U>, dim3 ((n_rows + WARPS - 1) / WARPS), dim3 (WARPS * 32), 0,
          (U *) to, to_stride / sizeof (U), (const U *) from, from_stride / sizeof (U), width / sizeof (U), n_rows);
}

} // namespace mllama

void
mllama_cuda_finish_tile (MllamaCudaBackend *be, const MllamaCudaTileRows *rows)
{
  void (*kernel) (MllamaCudaTileRows) = be->dtype == MLLAMA_DTYPE_BF16 ? mllama::finish_tile_warp_per_row<mllama::bf16>
                                                                       : mllama::finish_tile_warp_per_row<float>;

  mllama::launch (be, "patch embedding", kernel, dim3 ((rows->n_rows + mllama::WARPS - 1) / mllama::WARPS),
                  dim3 (mllama::WARPS * 32), 0, *rows);
}

void
mllama_cuda_norm_add_pieces (MllamaCudaBackend *be, MllamaTensor *y, const MllamaTensor *x, const MllamaWeight *weight,
                             const MllamaWeight *bias, float eps, const MllamaWeight *table, float gate,
                             const MllamaTowerSpan *pieces, guint n_pieces)
{
  if (be->dtype == MLLAMA_DTYPE_BF16)
    mllama::norm_add<mllama::bf16> (be, y, x, weight, bias, eps, table, gate, pieces, n_pieces);
  else
    mllama::norm_add<float> (be, y, x, weight, bias, eps, table, gate, pieces, n_pieces);
}

void
mllama_cuda_copy_rows (MllamaCudaBackend *be, void *to, gsize to_stride, const void *from, gsize from_stride,
                       gsize width, guint n_rows)
{
  gsize all = (gsize) to | to_stride | (gsize) from | from_stride | width;

  if (all % 16 == 0)
    mllama::copy_rows<uint4> (be, to, to_stride, from, from_stride, width, n_rows);
  else if (be->dtype == MLLAMA_DTYPE_BF16)
    mllama::copy_rows<guint16> (be, to, to_stride, from, from_stride, width, n_rows);
  else
    mllama::copy_rows<guint32> (be, to, to_stride, from, from_stride, width, n_rows);
}
