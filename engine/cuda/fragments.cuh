/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Instructions of the tensor cores that every tier has, and what feeds them (PTX: mma, ldmatrix, cp.async). */
#pragma once

#include "device.cuh"

namespace mllama
{

/* --- copies to shared memory that run beside the work --- */

/* 16 bytes from memory, or zeros if they do not count; then nothing is read. */
__device__ __forceinline__ void
copy_async (unsigned to, const void *from, bool counts)
{
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(counts ? 16 : 0)
               : "memory");
}

/* What has been asked for since the last commit is a group. */
__device__ __forceinline__ void
commit_copies ()
{
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until all groups but the last n_open have arrived, as far as this thread asked for them. */
template <int n_open = 0>
__device__ __forceinline__ void
wait_for_copies ()
{
  asm volatile("cp.async.wait_group %0;" ::"n"(n_open) : "memory");
}

/* --- fragments --- */

/* Four 8 x 8 matrices: lane 8 i + r names row r of matrix i. */
__device__ __forceinline__ void
load_matrices (unsigned (&m)[4], unsigned row)
{
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(row)
               : "memory");
}

__device__ __forceinline__ void
load_matrices_transposed (unsigned (&m)[4], unsigned row)
{
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(row)
               : "memory");
}

__device__ __forceinline__ unsigned
pack (float low, float high)
{
  __nv_bfloat162 pair = __floats2bfloat162_rn (low, high);

  return *reinterpret_cast<unsigned *> (&pair);
}

/* sums (16 x 8) += a (16 x 16) b (16 x 8). Of sums a thread has row lane / 4, columns lane % 4 * 2 and the next, and
 * the same of row + 8. */
__device__ __forceinline__ void
multiply_add (float (&sums)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1)
{
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void
multiply_add (float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1)
{
  multiply_add (sums, a[0], a[1], a[2], a[3], b0, b1);
}

} // namespace mllama
