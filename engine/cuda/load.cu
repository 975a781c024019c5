/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <cuda_fp16.h>

#include "device.cuh"

using namespace mllama;

namespace
{

constexpr int threads = 256;
constexpr unsigned max_blocks = 4096;

__device__ __forceinline__ float
widen (float x)
{
  return x;
}
__device__ __forceinline__ float
widen (bf16 x)
{
  return __bfloat162float (x);
}
__device__ __forceinline__ float
widen (__half x)
{
  return __half2float (x);
}

/* Column d + c * n_taps + k of [d | taps interleaved] goes to (1 + k) * d + c. */
__device__ __forceinline__ size_t
regroup_column (size_t column, size_t width, unsigned n_taps)
{
  size_t d = width / (1 + n_taps);

  if (n_taps == 0 || column < d)
    return column;
  return (1 + (column - d) % n_taps) * d + (column - d) / n_taps;
}

/* Reads one after the other, writes where the element belongs. As fast as the bus brings them is fast enough. */
template <typename T, typename S>
__global__ void
__launch_bounds__ (threads)
    convert_elementwise (T *dest, size_t width, size_t ld, unsigned n_taps, size_t first, const S *src, size_t n)
{
  wait_for_inputs ();
  for (size_t i = blockIdx.x * (size_t) threads + threadIdx.x; i < n; i += gridDim.x * (size_t) threads) {
    size_t row = (first + i) / width, column = (first + i) - row * width;
    dest[row * ld + regroup_column (column, width, n_taps)] = from_float<T> (widen (src[i]));
  }
}

template <typename T, typename S>
void
convert (MllamaCudaBackend *be, cudaStream_t stream, void *dest, gsize width, gsize ld, guint n_taps, gsize first,
         const void *src, gsize n)
{
  cudaLaunchConfig_t config = {};

  config.gridDim = dim3 ((unsigned) MIN ((n + threads - 1) / threads, (gsize) max_blocks));
  config.blockDim = dim3 (threads);
  config.stream = stream;
  mllama_cuda_check (be,
                     cudaLaunchKernelEx (&config, convert_elementwise<T, S>, static_cast<T *> (dest), (size_t) width,
                                         (size_t) ld, (unsigned) n_taps, (size_t) first, static_cast<const S *> (src),
                                         (size_t) n),
                     "converting weights");
}

template <typename T>
void
convert_from (MllamaCudaBackend *be, cudaStream_t stream, void *dest, gsize width, gsize ld, guint n_taps, gsize first,
              const void *src, MllamaTensorDtype dtype, gsize n)
{
  if (dtype == MLLAMA_TENSOR_F32)
    convert<T, float> (be, stream, dest, width, ld, n_taps, first, src, n);
  else if (dtype == MLLAMA_TENSOR_F16)
    convert<T, __half> (be, stream, dest, width, ld, n_taps, first, src, n);
  else
    convert<T, bf16> (be, stream, dest, width, ld, n_taps, first, src, n);
}

} // namespace

extern "C" {

void
mllama_cuda_convert_weight (MllamaCudaBackend *be, cudaStream_t stream, void *dest, gsize width, gsize ld, guint n_taps,
                            gsize first, const void *src, MllamaTensorDtype dtype, gsize n)
{
  if (n == 0)
    return;
  if (be->dtype == MLLAMA_DTYPE_F32)
    convert_from<float> (be, stream, dest, width, ld, n_taps, first, src, dtype, n);
  else
    convert_from<bf16> (be, stream, dest, width, ld, n_taps, first, src, dtype, n);
}

cudaError_t
mllama_cuda_find_kernels (void)
{
  cudaFuncAttributes attributes;

  return cudaFuncGetAttributes (&attributes, convert_elementwise<float, float>);
}

} /* extern "C" */
