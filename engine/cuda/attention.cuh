/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attention of the decoder: its types, where keys and values lie, and how sums over some of the keys become sums over
 * all of them: of the warps of a block, of the slots of a query.
 *
 * The keys of a token are dealt out to several blocks, so that one row fills the device. Slot s takes tiles s,
 * s + n_slots, ... of TILE keys, counted from the first key of the row (self) or of each span (cross). The number of
 * slots is fixed, so the order of a row's sums is its own. The last block to end puts the slots together, in order.
 *
 * Softmax goes along with the keys (Milakov and Gimelshein 2018), in base 2: 1 / (sqrt C * ln 2) is part of scale. */
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
  SELF_SLOTS = 16,
  CROSS_SLOTS = 32,
  MAX_SLOTS = 32, /* a warp looks at all slots of a query */
  TOKENS_AT_ONCE = MLLAMA_MAX_ROWS,
};

template <typename T> struct DecoderAttention {
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

/* The queries of a block: n of them, from head first of those that share kv_head on, and on to those of the tokens that
 * follow. last is the token of the last of them, which sees the most. */
struct Queries {
  unsigned token, last, kv_head, first, n;
};

template <typename T> struct Tile {
  const T *keys, *values; /* [n][C] */
  unsigned n;
  float bias;
};

/* attention-groups.cu: whether it has a kernel for these heads, which then has been launched. */
bool attend_groups (MllamaCudaBackend *be, const DecoderAttention<bf16> &p);

/* --- tiles --- */

template <typename T>
__device__ __forceinline__ unsigned
count_tiles (const DecoderAttention<T> &p, unsigned token)
{
  unsigned n = 0;

  if (is_inert (p.pass, token))
    return 0;
  if (!p.cross)
    return p.pass->positions[token] / TILE + 1;
  for (unsigned s = 0; s < p.pass->n_spans[token]; s++)
    n += (p.pass->spans[p.pass->first_span[token] + s].n_keys + TILE - 1) / TILE;
  return n;
}

template <typename T>
__device__ __forceinline__ Tile<T>
find_self_tile (const DecoderAttention<T> &p, const Queries &queries, unsigned index, unsigned width)
{
  const MllamaCudaPass *pass = p.pass;
  const size_t page = pass->pages[pass->first_page[queries.token] + index];
  const T *keys = (const T *) pass->kv + page * pass->kv_page_elements +
                  ((size_t) p.layer * 2 * p.n_kv_heads + queries.kv_head) * TILE * width;

  return {keys, keys + (size_t) p.n_kv_heads * TILE * width,
          min (pass->positions[queries.last] + 1 - index * TILE, TILE), 0};
}

template <typename T>
__device__ __forceinline__ Tile<T>
find_cross_tile (const DecoderAttention<T> &p, const Queries &queries, unsigned index, unsigned width)
{
  const MllamaCudaSpan *span = p.pass->spans + p.pass->first_span[queries.token];

  for (; index * TILE >= span->n_keys; span++)
    index -= (span->n_keys + TILE - 1) / TILE;
  const size_t n_keys = span->slab_keys;
  const T *keys =
      (const T *) span->slab +
      (((size_t) p.layer * 2 * p.n_kv_heads + queries.kv_head) * n_keys + span->first + index * TILE) * width;
  return {keys, keys + p.n_kv_heads * n_keys * width, min (span->n_keys - index * TILE, TILE),
          span->bias * (float) M_LOG2E};
}

template <typename T>
__device__ __forceinline__ Tile<T>
find_tile (const DecoderAttention<T> &p, const Queries &queries, unsigned index, unsigned width)
{
  return p.cross ? find_cross_tile (p, queries, index, width) : find_self_tile (p, queries, index, width);
}

/* --- queries --- */

/* Query i of a block is a head of a token. */
template <typename T>
__device__ __forceinline__ unsigned
get_token (const DecoderAttention<T> &p, const Queries &queries, unsigned i)
{
  return queries.token + (queries.first + i) / p.group;
}

template <typename T>
__device__ __forceinline__ unsigned
get_head (const DecoderAttention<T> &p, const Queries &queries, unsigned i)
{
  return queries.kv_head * p.group + (queries.first + i) % p.group;
}

template <typename T>
__device__ __forceinline__ const T *
get_query (const DecoderAttention<T> &p, const Queries &queries, unsigned i, unsigned width)
{
  return p.q + get_token (p, queries, i) * p.q_ld + (size_t) get_head (p, queries, i) * width;
}

template <typename T>
__device__ __forceinline__ T *
get_output (const DecoderAttention<T> &p, const Queries &queries, unsigned i, unsigned width)
{
  return p.a + get_token (p, queries, i) * p.a_ld + (size_t) get_head (p, queries, i) * width;
}

/* Index of a slot of a query among all partial sums. */
template <typename T>
__device__ __forceinline__ size_t
get_partial (const DecoderAttention<T> &p, const Queries &queries, unsigned i, unsigned slot)
{
  size_t row = (size_t) (get_token (p, queries, i) - p.first_token) * p.n_kv_heads * p.group;

  return (row + get_head (p, queries, i)) * MAX_SLOTS + slot;
}

template <typename T>
__device__ __forceinline__ void
store_zeros (const DecoderAttention<T> &p, const Queries &queries, unsigned width)
{
  for (unsigned i = threadIdx.x; i < queries.n * width; i += ATTEND_THREADS)
    get_output (p, queries, i / width, width)[i % width] = from_float<T> (0);
}

/* --- warps of a block, slots of a query --- */

template <int MAX_WIDTH, int N> struct Merged {
  float acc[ATTEND_WARPS][N][MAX_WIDTH];
  float2 softmax[ATTEND_WARPS][N];
  float weights[N][MAX_SLOTS], sums[N];
  bool is_last;
};

/* One column of a query, over the warps. */
template <typename M>
__device__ __forceinline__ float
merge_warps (const M &merged, unsigned i, unsigned column, float2 *softmax)
{
  float largest = merged.softmax[0][i].x, sum = 0, acc = 0;

#pragma unroll
  for (int w = 1; w < ATTEND_WARPS; w++)
    largest = fmaxf (largest, merged.softmax[w][i].x);
#pragma unroll
  for (int w = 0; w < ATTEND_WARPS; w++) {
    float factor = power_of_2 (merged.softmax[w][i].x - largest);
    sum += merged.softmax[w][i].y * factor;
    acc += merged.acc[w][i][column] * factor;
  }
  *softmax = make_float2 (largest, sum);
  return acc;
}

template <typename T, typename M>
__device__ __forceinline__ void
store_block (const DecoderAttention<T> &p, const Queries &queries, const M &merged, bool whole, unsigned width)
{
  for (unsigned i = threadIdx.x; i < queries.n * width; i += ATTEND_THREADS) {
    unsigned query = i / width, column = i % width;
    size_t partial = get_partial (p, queries, query, blockIdx.x);
    float2 softmax;
    float acc = merge_warps (merged, query, column, &softmax);

    if (whole) {
      get_output (p, queries, query, width)[column] = from_float<T> (acc / softmax.y);
      continue;
    }
    p.acc[partial * width + column] = acc;
    if (column == 0)
      p.softmax[partial] = softmax;
  }
}

/* Whether this block is the last of n_used to store; then it sees what all stored. */
template <typename M>
__device__ __forceinline__ bool
is_last_block (M &merged, guint32 *counter, unsigned n_used)
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

/* A warp per query: what each slot's sums count for. Partial sums are read past the first-level cache. */
template <typename T, typename M>
__device__ __forceinline__ void
weigh_slots (const DecoderAttention<T> &p, const Queries &queries, M &merged, unsigned n_used)
{
  const unsigned lane = threadIdx.x % 32;

  for (unsigned i = threadIdx.x / 32; i < queries.n; i += ATTEND_WARPS) {
    float2 softmax = lane < n_used ? __ldcg (&p.softmax[get_partial (p, queries, i, lane)]) : make_float2 (-FLT_MAX, 0);
    float factor = power_of_2 (softmax.x - warp_max (softmax.x)), sum = warp_sum (softmax.y * factor);

    merged.weights[i][lane] = factor;
    if (lane == 0)
      merged.sums[i] = sum;
  }
  __syncthreads ();
}

template <typename T, typename M>
__device__ __forceinline__ void
combine_slots (const DecoderAttention<T> &p, const Queries &queries, M &merged, unsigned n_used, unsigned width)
{
  weigh_slots (p, queries, merged, n_used);
  for (unsigned i = threadIdx.x; i < queries.n * width; i += ATTEND_THREADS) {
    unsigned query = i / width, column = i % width;
    const float *acc = p.acc + get_partial (p, queries, query, 0) * width + column;
    float sum = 0;

#pragma unroll 8
    for (unsigned slot = 0; slot < n_used; slot++)
      sum += merged.weights[query][slot] * __ldcg (acc + (size_t) slot * width);
    get_output (p, queries, query, width)[column] = from_float<T> (sum / merged.sums[query]);
  }
}

} // namespace mllama
