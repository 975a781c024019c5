/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What kernels share: numbers, reductions, launches. */
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "cuda.h"

namespace mllama {

typedef __nv_bfloat16 bf16;

/* --- numbers --- */

static __device__ __forceinline__ float to_float (float x) { return x; }
static __device__ __forceinline__ float to_float (bf16 x) { return __bfloat162float (x); }

/* Rounds to nearest, ties to even. */
template <typename T> __device__ __forceinline__ T from_float (float x);
template <> __device__ __forceinline__ float from_float<float> (float x) { return x; }
template <> __device__ __forceinline__ bf16 from_float<bf16> (float x) { return __float2bfloat16_rn (x); }

/* x as act and back: a rounding point of a contract. */
template <typename T> __device__ __forceinline__ float round_to (float x) { return to_float (from_float<T> (x)); }

/* One instruction where exp2f takes four: what would be denormal is 0. */
__device__ __forceinline__ float power_of_2 (float x)
{
  float y;

  asm ("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/* 16 bytes of act. */
template <typename T> struct alignas (16) Vector {
  static constexpr int n = 16 / sizeof (T);
  T at[n];
};

template <typename T> __device__ __forceinline__ Vector<T> load_vector (const T *from)
{
  return *reinterpret_cast<const Vector<T> *> (from);
}

template <typename T> __device__ __forceinline__ void store_vector (T *to, const Vector<T> &v)
{
  *reinterpret_cast<Vector<T> *> (to) = v;
}

/* --- reductions --- */

/* Sum over the lanes of a warp, the same in all of them. */
__device__ __forceinline__ float warp_sum (float x)
{
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2)
    x += __shfl_xor_sync (0xffffffff, x, lane);
  return x;
}

__device__ __forceinline__ float warp_max (float x)
{
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2)
    x = fmaxf (x, __shfl_xor_sync (0xffffffff, x, lane));
  return x;
}

/* --- launches --- */

/* Programmatic dependent launch: until all kernels before this one have ended and their writes can be seen. */
__device__ __forceinline__ void wait_for_inputs ()
{
#if __CUDA_ARCH__ >= 900
  asm volatile ("griddepcontrol.wait;" ::: "memory");
#endif
}

/* Lets the next kernel's blocks start as soon as there is room for them; they wait in wait_for_inputs (). */
__device__ __forceinline__ void let_next_start ()
{
#if __CUDA_ARCH__ >= 900
  asm volatile ("griddepcontrol.launch_dependents;");
#endif
}

/* Launches on the backend's stream; a failure is recorded. */
template <typename... P, typename... A>
void launch (MllamaCudaBackend *be, const char *what, void (*kernel) (P...), dim3 grid, dim3 block, size_t shared_bytes,
             A... args)
{
  cudaLaunchConfig_t config = {};
  cudaLaunchAttribute attribute = {};

  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = be->stream;
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = be->tier >= MLLAMA_CUDA_SM90 ? 1 : 0;
  mllama_cuda_check (be, cudaLaunchKernelEx (&config, kernel, P (args)...), what);
}

/* Rows that a kernel of a bucket is to do. */
__device__ __forceinline__ unsigned count_rows (const guint32 *n_rows, unsigned n_max)
{
  return n_rows ? *n_rows : n_max;
}

} // namespace mllama
