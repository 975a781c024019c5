/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Norms of whole rows: a block for each row. Blocks have as many threads as the width asks for, so that the order of
 * the sums depends on the width alone. Rows are read and written up to ld of their width: what is past it is zero, and
 * stays so. */
#include "device.cuh"

namespace mllama
{
namespace
{

constexpr int max_threads = 512;
constexpr int n_kept = 2; /* vectors of a row in the registers of a thread: rows of 8192 bf16 are read once */

/* Sum over a block, the same in all threads. */
__device__ __forceinline__ float
block_sum (float x)
{
  __shared__ float sums[max_threads / 32];
  unsigned lane = threadIdx.x % 32;

  x = warp_sum (x);
  __syncthreads (); /* an earlier sum has been read */
  if (lane == 0)
    sums[threadIdx.x / 32] = x;
  __syncthreads ();
  return warp_sum (lane < blockDim.x / 32 ? sums[lane] : 0);
}

/* A thread's vectors of one row: every blockDim.x-th. */
template <typename T> struct Row {
  const T *from;
  Vector<T> kept[n_kept];
};

template <typename T>
__device__ __forceinline__ void
load_row (Row<T> &row, const T *from, unsigned n_vectors)
{
  row.from = from;
#pragma unroll
  for (int i = 0; i < n_kept; i++) {
    unsigned v = threadIdx.x + i * blockDim.x;
    if (v < n_vectors)
      row.kept[i] = load_vector (from + v * Vector<T>::n);
  }
}

/* Calls f (vector of a, vector of b, index) for each of the thread's vectors. */
template <typename T, typename F>
__device__ __forceinline__ void
for_each_vector (const Row<T> &a, const Row<T> &b, unsigned n_vectors, F f)
{
#pragma unroll
  for (int i = 0; i < n_kept; i++) {
    unsigned v = threadIdx.x + i * blockDim.x;
    if (v < n_vectors)
      f (a.kept[i], b.kept[i], v);
  }
  for (unsigned v = threadIdx.x + n_kept * blockDim.x; v < n_vectors; v += blockDim.x)
    f (load_vector (a.from + v * Vector<T>::n), load_vector (b.from + v * Vector<T>::n), v);
}

/* Sum of f (element) over the first width elements of a row. */
template <typename T, typename F>
__device__ __forceinline__ float
sum_row (const Row<T> &row, unsigned n_vectors, unsigned width, F f)
{
  float sum = 0;

  for_each_vector (row, row, n_vectors, [&] (const Vector<T> &x, const Vector<T> &, unsigned v) {
#pragma unroll
    for (int i = 0; i < Vector<T>::n; i++)
      if (v * Vector<T>::n + i < width)
        sum += f (to_float (x.at[i]));
  });
  return block_sum (sum);
}

template <typename T>
__global__
__launch_bounds__ (max_threads) void rms_norm_block_per_row (T *y, size_t y_ld, const T *x, size_t x_ld, unsigned width,
                                                             unsigned n_vectors, const T *w, float eps,
                                                             const guint32 *const *gather, unsigned n_max,
                                                             const guint32 *n_rows)
{
  Row<T> row, weights;
  float scale;

  let_next_start ();
  load_row (weights, w, n_vectors);
  wait_for_inputs ();
  if (blockIdx.x >= count_rows (n_rows, n_max))
    return;
  y += blockIdx.x * y_ld;
  load_row (row, x + (gather ? (*gather)[blockIdx.x] : blockIdx.x) * x_ld, n_vectors);
  scale = __frsqrt_rn (sum_row (row, n_vectors, width, [] (float e) { return e * e; }) / (float) width + eps);
  for_each_vector (row, weights, n_vectors, [&] (const Vector<T> &from, const Vector<T> &weight, unsigned v) {
    Vector<T> to;
#pragma unroll
    for (int i = 0; i < Vector<T>::n; i++) {
      float normed = to_float (weight.at[i]) * round_to<T> (to_float (from.at[i]) * scale);
      to.at[i] = from_float<T> (v * Vector<T>::n + i < width ? normed : 0);
    }
    store_vector (y + v * Vector<T>::n, to);
  });
}

/* The mean is taken twice, the second time of what is left without the first: where it is large against the deviation,
 * its own rounding would show. */
template <typename T>
__global__
__launch_bounds__ (max_threads) void layer_norm_block_per_row (T *y, size_t y_ld, const T *x, size_t x_ld,
                                                               unsigned width, unsigned n_vectors, const T *w,
                                                               const T *b, float eps)
{
  Row<T> row, weights;
  float mean, rest, scale;

  let_next_start ();
  load_row (weights, w, n_vectors);
  wait_for_inputs ();
  y += blockIdx.x * y_ld;
  load_row (row, x + blockIdx.x * x_ld, n_vectors);
  mean = sum_row (row, n_vectors, width, [] (float e) { return e; }) / (float) width;
  rest = sum_row (row, n_vectors, width, [=] (float e) { return e - mean; }) / (float) width;
  scale = sum_row (row, n_vectors, width, [=] (float e) { return (e - mean - rest) * (e - mean - rest); });
  scale = __frsqrt_rn (scale / (float) width + eps);
  for_each_vector (row, weights, n_vectors, [&] (const Vector<T> &from, const Vector<T> &weight, unsigned v) {
    Vector<T> bias = load_vector (b + v * Vector<T>::n), to;
#pragma unroll
    for (int i = 0; i < Vector<T>::n; i++) {
      float normed = (to_float (from.at[i]) - mean - rest) * scale;
      normed = normed * to_float (weight.at[i]) + to_float (bias.at[i]);
      to.at[i] = from_float<T> (v * Vector<T>::n + i < width ? normed : 0);
    }
    store_vector (y + v * Vector<T>::n, to);
  });
}

template <typename T>
unsigned
count_vectors (gsize width)
{
  return mllama_cuda_round_up (width) / Vector<T>::n;
}

unsigned
count_threads (unsigned n_vectors)
{
  unsigned n = (n_vectors + 31) / 32 * 32;

  return n < max_threads ? n : max_threads;
}

template <typename T>
void
launch_rms_norm (MllamaCudaBackend *be, void *y, gsize y_ld, const void *x, gsize x_ld, gsize width,
                 const MllamaWeight *norm, float eps, const guint32 *const *gather, guint n_max, const guint32 *n_rows)
{
  unsigned n_vectors = count_vectors<T> (width);

  launch (be, "RMS norm", rms_norm_block_per_row<T>, dim3 (n_max), dim3 (count_threads (n_vectors)), 0, (T *) y, y_ld,
          (const T *) x, x_ld, (unsigned) width, n_vectors, (const T *) norm->data, eps, gather, n_max, n_rows);
}

template <typename T>
void
launch_layer_norm (MllamaCudaBackend *be, void *y, gsize y_ld, const void *x, gsize x_ld, gsize width,
                   const MllamaWeight *weight, const MllamaWeight *bias, float eps, gsize n_rows)
{
  unsigned n_vectors = count_vectors<T> (width);

  launch (be, "layer norm", layer_norm_block_per_row<T>, dim3 (n_rows), dim3 (count_threads (n_vectors)), 0, (T *) y,
          y_ld, (const T *) x, x_ld, (unsigned) width, n_vectors, (const T *) weight->data, (const T *) bias->data,
          eps);
}

} // namespace
} // namespace mllama

extern "C" {

void
mllama_cuda_rms_norm (MllamaCudaBackend *be, void *y, gsize y_ld, const void *x, gsize x_ld, gsize width,
                      const MllamaWeight *norm, float eps, const guint32 *const *gather, guint n_max,
                      const guint32 *n_rows)
{
  if (n_max == 0)
    return;
  if (be->dtype == MLLAMA_DTYPE_F32)
    mllama::launch_rms_norm<float> (be, y, y_ld, x, x_ld, width, norm, eps, gather, n_max, n_rows);
  else
    mllama::launch_rms_norm<mllama::bf16> (be, y, y_ld, x, x_ld, width, norm, eps, gather, n_max, n_rows);
}

void
mllama_cuda_layer_norm (MllamaCudaBackend *be, void *y, gsize y_ld, const void *x, gsize x_ld, gsize width,
                        const MllamaWeight *weight, const MllamaWeight *bias, float eps, gsize n_rows)
{
  if (n_rows == 0)
    return;
  if (be->dtype == MLLAMA_DTYPE_F32)
    mllama::launch_layer_norm<float> (be, y, y_ld, x, x_ld, width, weight, bias, eps, n_rows);
  else
    mllama::launch_layer_norm<mllama::bf16> (be, y, y_ld, x, x_ld, width, weight, bias, eps, n_rows);
}

} // extern "C"
