/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What follows a product, element by element. A block takes n_threads pieces of one row; columns past width are left
 * alone. Rows are along x, since the other two directions of a grid end at 65535 blocks. */
#include "pieces.cuh"

namespace mllama
{
namespace
{

constexpr unsigned n_threads = 256;

/* First column of the thread's piece. */
template <int n>
__device__ __forceinline__ size_t
get_column ()
{
  return (size_t) (blockIdx.y * n_threads + threadIdx.x) * n;
}

/* erfc, where 1 + erf would cancel. */
__device__ __forceinline__ float
gelu (float x)
{
  return 0.5f * x * erfcf (x * -0.707106781186547524f);
}

/* Large -x makes the exponential infinite and the quotient zero. */
__device__ __forceinline__ float
silu (float x)
{
  return x / (1 + expf (-x));
}

template <typename T, int n>
__global__
__launch_bounds__ (n_threads) void gelu_pieces (T *x, size_t ld, size_t width)
{
  size_t column = get_column<n> ();
  Piece<T, n> piece;

  let_next_start ();
  wait_for_inputs ();
  if (column >= width)
    return;
  x += blockIdx.x * ld + column;
  piece = load_piece<n> (x);
#pragma unroll
  for (int i = 0; i < n; i++)
    piece.at[i] = from_float<T> (gelu (to_float (piece.at[i])));
  store_piece (x, piece);
}

/* silu and the product are rounded each. */
template <typename T, int n>
__global__
__launch_bounds__ (n_threads) void swiglu_pieces (T *h, size_t h_ld, const T *product, size_t product_ld, size_t width)
{
  size_t column = get_column<n> ();
  Piece<T, n> gate, up;

  let_next_start ();
  wait_for_inputs ();
  if (column >= width)
    return;
  product += blockIdx.x * product_ld + column;
  gate = load_piece<n> (product);
  up = load_piece<n> (product + width);
#pragma unroll
  for (int i = 0; i < n; i++)
    gate.at[i] = from_float<T> (round_to<T> (silu (to_float (gate.at[i]))) * to_float (up.at[i]));
  store_piece (h + blockIdx.x * h_ld + column, gate);
}

template <typename T, int n>
__global__
__launch_bounds__ (n_threads) void add_selected_pieces (T *y, size_t y_ld, const T *product, size_t product_ld,
                                                        size_t width, float gate, const guint8 *const *select)
{
  size_t column = get_column<n> ();
  Piece<T, n> to, from;

  let_next_start ();
  wait_for_inputs ();
  if (column >= width || (select && !(*select)[blockIdx.x]))
    return;
  y += blockIdx.x * y_ld + column;
  to = load_piece<n> (y);
  from = load_piece<n> (product + blockIdx.x * product_ld + column);
#pragma unroll
  for (int i = 0; i < n; i++)
    to.at[i] = from_float<T> (to_float (to.at[i]) + gate * to_float (from.at[i]));
  store_piece (y, to);
}

template <typename T>
__global__
__launch_bounds__ (n_threads) void scale_vector_elements (T *y, const T *x, size_t width, float factor)
{
  size_t i = blockIdx.x * (size_t) n_threads + threadIdx.x;

  let_next_start ();
  wait_for_inputs ();
  if (i < width)
    y[i] = from_float<T> (factor * to_float (x[i]));
}

/* Grid of kernels that take pieces of n. */
dim3
cover (gsize n_rows, gsize width, int n)
{
  gsize n_pieces = (width + n - 1) / n;

  return dim3 (n_rows, (n_pieces + n_threads - 1) / n_threads);
}

template <typename T, int n>
void
launch_gelu (MllamaCudaBackend *be, void *x, gsize ld, gsize width, gsize n_rows)
{
  launch (be, "GELU", gelu_pieces<T, n>, cover (n_rows, width, n), dim3 (n_threads), 0, (T *) x, ld, width);
}

template <typename T, int n>
void
launch_swiglu (MllamaCudaBackend *be, void *h, gsize h_ld, const void *product, gsize product_ld, gsize width,
               gsize n_rows)
{
  launch (be, "SwiGLU", swiglu_pieces<T, n>, cover (n_rows, width, n), dim3 (n_threads), 0, (T *) h, h_ld,
          (const T *) product, product_ld, width);
}

template <typename T, int n>
void
launch_add_selected (MllamaCudaBackend *be, void *y, gsize y_ld, const void *product, gsize product_ld, gsize width,
                     float gate, const guint8 *const *select, gsize n_rows)
{
  launch (be, "gated residual", add_selected_pieces<T, n>, cover (n_rows, width, n), dim3 (n_threads), 0, (T *) y, y_ld,
          (const T *) product, product_ld, width, gate, select);
}

template <typename T>
void
launch_scale_vector (MllamaCudaBackend *be, void *y, const void *x, gsize width, float factor)
{
  launch (be, "gated bias", scale_vector_elements<T>, dim3 ((width + n_threads - 1) / n_threads), dim3 (n_threads), 0,
          (T *) y, (const T *) x, width, factor);
}

} // namespace
} // namespace mllama

using namespace mllama;

extern "C" {

void
mllama_cuda_gelu (MllamaCudaBackend *be, void *x, gsize ld, gsize width, gsize n_rows)
{
  auto run = be->dtype == MLLAMA_DTYPE_F32 ? (width % 4 == 0 ? launch_gelu<float, 4> : launch_gelu<float, 1>)
                                           : (width % 8 == 0 ? launch_gelu<bf16, 8> : launch_gelu<bf16, 1>);

  if (n_rows > 0)
    run (be, x, ld, width, n_rows);
}

void
mllama_cuda_swiglu (MllamaCudaBackend *be, void *h, gsize h_ld, const void *product, gsize product_ld, gsize width,
                    gsize n_rows)
{
  auto run = be->dtype == MLLAMA_DTYPE_F32 ? (width % 4 == 0 ? launch_swiglu<float, 4> : launch_swiglu<float, 1>)
                                           : (width % 8 == 0 ? launch_swiglu<bf16, 8> : launch_swiglu<bf16, 1>);

  if (n_rows > 0)
    run (be, h, h_ld, product, product_ld, width, n_rows);
}

void
mllama_cuda_add_selected (MllamaCudaBackend *be, void *y, gsize y_ld, const void *product, gsize product_ld,
                          gsize width, float gate, const guint8 *const *select, gsize n_rows)
{
  auto run = be->dtype == MLLAMA_DTYPE_F32
                 ? (width % 4 == 0 ? launch_add_selected<float, 4> : launch_add_selected<float, 1>)
                 : (width % 8 == 0 ? launch_add_selected<bf16, 8> : launch_add_selected<bf16, 1>);

  if (n_rows > 0)
    run (be, y, y_ld, product, product_ld, width, gate, select, n_rows);
}

void
mllama_cuda_scale_vector (MllamaCudaBackend *be, void *y, const void *x, gsize width, float factor)
{
  auto run = be->dtype == MLLAMA_DTYPE_F32 ? launch_scale_vector<float> : launch_scale_vector<bf16>;

  run (be, y, x, width, factor);
}

} // extern "C"
