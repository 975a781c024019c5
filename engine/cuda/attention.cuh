/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attention of the decoder: its types, and how sums over some of a head's keys become sums over all of them: of the
 * lanes of a warp, of the warps of a block, of the slots of a head. */
#pragma once

#include "pass.cuh"

#include <float.h>
#include <math.h>

namespace mllama
{

enum {
  TILE = MLLAMA_KV_PAGE,
  ATTEND_THREADS = 128,
  ATTEND_WARPS = ATTEND_THREADS / 32,
  PIECE = 8, /* columns of a head in one lane */
  SELF_SLOTS = 16,
  CROSS_SLOTS = 32,
  MAX_SLOTS = 32, /* a warp looks at all slots of a head */
  TOKENS_AT_ONCE = MLLAMA_MAX_ROWS,
};

template <typename T> struct Attention {
  const MllamaCudaPass *pass;
  T *a;
  const T *q;
  size_t a_ld, q_ld;
  unsigned layer, n_kv_heads, group, n_parts; /* group query heads share a key/value head; blocks do parts of them */
  unsigned head_width, first_token;
  float scale;
  bool cross;
  float *acc;        /* [TOKENS_AT_ONCE][H][MAX_SLOTS][C] */
  float2 *softmax;   /* [TOKENS_AT_ONCE][H][MAX_SLOTS] largest score, sum */
  guint32 *counters; /* [TOKENS_AT_ONCE][K][n_parts] slots that are done */
};

/* The query heads of a block: n of them from head on. */
struct Heads {
  unsigned token, kv_head, head, n;
};

template <typename T> struct Tile {
  const T *keys, *values; /* [n][C] */
  unsigned n;
  float bias;
};

/* What a lane knows of the keys it has seen; largest and sum are the same in all lanes of a key. */
template <int GROUP> struct Softmax {
  float largest[GROUP], sum[GROUP], acc[GROUP][PIECE];
};

/* C: the head width, read in 16 byte pieces, or 0: any width up to 256, read element by element. */
template <int C> struct Shape {
  enum {
    lanes = C ? C / PIECE : 32, /* of a key */
    keys = 32 / lanes,          /* of a warp at once */
    steps = C ? 4 : 2,          /* loads in flight, of keys and of values each */
    max_width = C ? C : 32 * PIECE,
  };
};

template <int C>
__device__ __forceinline__ unsigned
get_column (unsigned lane, unsigned i)
{
  return C ? lane % Shape<C>::lanes * PIECE + i : lane + 32 * i;
}

/* --- lanes of a warp --- */

/* Over the keys that a warp does at once: then its first lanes hold the sums. */
template <int C, int GROUP>
__device__ __forceinline__ void
merge_lanes (Softmax<GROUP> &softmax)
{
#pragma unroll
  for (int lanes = Shape<C>::lanes; lanes < 32; lanes *= 2)
#pragma unroll
    for (int g = 0; g < GROUP; g++) {
      float other = __shfl_xor_sync (0xffffffff, softmax.largest[g], lanes);
      float largest = fmaxf (softmax.largest[g], other);
      float factor = exp2f (softmax.largest[g] - largest), other_factor = exp2f (other - largest);

      softmax.largest[g] = largest;
      softmax.sum[g] = softmax.sum[g] * factor + __shfl_xor_sync (0xffffffff, softmax.sum[g], lanes) * other_factor;
#pragma unroll
      for (int i = 0; i < PIECE; i++)
        softmax.acc[g][i] =
            softmax.acc[g][i] * factor + __shfl_xor_sync (0xffffffff, softmax.acc[g][i], lanes) * other_factor;
    }
}

/* --- warps of a block, blocks of a head --- */

template <int C, int GROUP> struct Merged {
  float acc[ATTEND_WARPS][GROUP][Shape<C>::max_width];
  float2 softmax[ATTEND_WARPS][GROUP];
  float weights[GROUP][MAX_SLOTS], sums[GROUP];
  bool is_last;
};

template <int C, int GROUP>
__device__ __forceinline__ void
share_warp (Merged<C, GROUP> &merged, const Softmax<GROUP> &softmax, unsigned width)
{
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;

  if (lane < Shape<C>::lanes)
#pragma unroll
    for (int g = 0; g < GROUP; g++) {
      if (lane == 0)
        merged.softmax[warp][g] = make_float2 (softmax.largest[g], softmax.sum[g]);
#pragma unroll
      for (int i = 0; i < PIECE; i++)
        if (C || get_column<C> (lane, i) < width)
          merged.acc[warp][g][get_column<C> (lane, i)] = softmax.acc[g][i];
    }
  __syncthreads ();
}

/* One column of a head, over the warps. */
template <int C, int GROUP>
__device__ __forceinline__ float
merge_warps (const Merged<C, GROUP> &merged, unsigned g, unsigned column, float2 *softmax)
{
  float largest = merged.softmax[0][g].x, sum = 0, acc = 0;

#pragma unroll
  for (int w = 1; w < ATTEND_WARPS; w++)
    largest = fmaxf (largest, merged.softmax[w][g].x);
#pragma unroll
  for (int w = 0; w < ATTEND_WARPS; w++) {
    float factor = exp2f (merged.softmax[w][g].x - largest);
    sum += merged.softmax[w][g].y * factor;
    acc += merged.acc[w][g][column] * factor;
  }
  *softmax = make_float2 (largest, sum);
  return acc;
}

template <typename T>
__device__ __forceinline__ T *
get_output (const Attention<T> &p, const Heads &heads, unsigned g, unsigned width)
{
  return p.a + heads.token * p.a_ld + (size_t) (heads.head + g) * width;
}

/* Index of a slot of a head among all partial sums. */
template <typename T>
__device__ __forceinline__ size_t
get_partial (const Attention<T> &p, const Heads &heads, unsigned g, unsigned slot)
{
  size_t row = (size_t) (heads.token - p.first_token) * p.n_kv_heads * p.group + heads.head + g;

  return row * MAX_SLOTS + slot;
}

template <typename T, int C, int GROUP>
__device__ __forceinline__ void
store_block (const Attention<T> &p, const Heads &heads, const Merged<C, GROUP> &merged, bool whole, unsigned width)
{
  for (unsigned i = threadIdx.x; i < heads.n * width; i += ATTEND_THREADS) {
    unsigned g = i / width, column = i % width;
    size_t partial = get_partial (p, heads, g, blockIdx.x);
    float2 softmax;
    float acc = merge_warps (merged, g, column, &softmax);

    if (whole) {
      get_output (p, heads, g, width)[column] = from_float<T> (acc / softmax.y);
      continue;
    }
    p.acc[partial * width + column] = acc;
    if (column == 0)
      p.softmax[partial] = softmax;
  }
}

/* Whether this block is the last of n_used to store; then it sees what all stored. */
template <int C, int GROUP>
__device__ __forceinline__ bool
is_last_block (Merged<C, GROUP> &merged, guint32 *counter, unsigned n_used)
{
  __threadfence ();
  __syncthreads ();
  if (threadIdx.x == 0) {
    merged.is_last = atomicAdd (counter, 1) == n_used - 1;
    if (merged.is_last)
      *counter = 0;
  }
  __syncthreads ();
  __threadfence ();
  return merged.is_last;
}

/* A warp per head: what each slot's sums count for. Partial sums are read past the first-level cache. */
template <typename T, int C, int GROUP>
__device__ __forceinline__ void
weigh_slots (const Attention<T> &p, const Heads &heads, Merged<C, GROUP> &merged, unsigned n_used)
{
  const unsigned lane = threadIdx.x % 32;

  for (unsigned g = threadIdx.x / 32; g < heads.n; g += ATTEND_WARPS) {
    float2 softmax = lane < n_used ? __ldcg (&p.softmax[get_partial (p, heads, g, lane)]) : make_float2 (-FLT_MAX, 0);
    float factor = exp2f (softmax.x - warp_max (softmax.x)), sum = warp_sum (softmax.y * factor);

    merged.weights[g][lane] = factor;
    if (lane == 0)
      merged.sums[g] = sum;
  }
  __syncthreads ();
}

template <typename T, int C, int GROUP>
__device__ __forceinline__ void
combine_slots (const Attention<T> &p, const Heads &heads, Merged<C, GROUP> &merged, unsigned n_used, unsigned width)
{
  weigh_slots (p, heads, merged, n_used);
  for (unsigned i = threadIdx.x; i < heads.n * width; i += ATTEND_THREADS) {
    unsigned g = i / width, column = i % width;
    const float *acc = p.acc + get_partial (p, heads, g, 0) * width + column;
    float sum = 0;

#pragma unroll 8
    for (unsigned slot = 0; slot < n_used; slot++)
      sum += merged.weights[g][slot] * __ldcg (acc + (size_t) slot * width);
    get_output (p, heads, g, width)[column] = from_float<T> (sum / merged.sums[g]);
  }
}

} // namespace mllama
