/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attention of the decoder for any head width up to 256 and any group of heads, without tensor cores: what
 * attention-groups.cu has no kernel for. A block is one slot of a token and a part of a key/value head's queries; a
 * warp does one key at a time, a lane every 32nd column of it. */
#include "attention.cuh"

namespace mllama
{

enum {
  MAX_WIDTH = 256,
  LANE_COLUMNS = MAX_WIDTH / 32,
  STEPS = 2, /* keys of a warp whose loads are in flight together */
};

/* What a lane knows of the keys it has seen; largest and sum are the same in all lanes. */
template <int N> struct Softmax {
  float largest[N], sum[N], acc[N][LANE_COLUMNS];
};

/* A lane's columns of a row; zeros where it is not to be read: what lies behind the last key may be NaN. */
template <typename T>
__device__ __forceinline__ void
load_columns (float (&to)[LANE_COLUMNS], const T *row, unsigned width, bool valid)
{
#pragma unroll
  for (int i = 0; i < LANE_COLUMNS; i++) {
    unsigned column = threadIdx.x % 32 + 32 * i;
    to[i] = valid && column < width ? to_float (row[column]) : 0;
  }
}

template <int N>
__device__ __forceinline__ void
score_key (float (&scores)[N], const float (&q)[N][LANE_COLUMNS], const float (&key)[LANE_COLUMNS], bool valid,
           float bias)
{
#pragma unroll
  for (int g = 0; g < N; g++) {
    float dot = 0;
#pragma unroll
    for (int i = 0; i < LANE_COLUMNS; i++)
      dot += q[g][i] * key[i];
    dot = warp_sum (dot);
    scores[g] = valid ? dot + bias : -INFINITY;
  }
}

/* Scores become weights, what was summed up before is scaled to the new largest. */
template <int N>
__device__ __forceinline__ void
weigh_scores (Softmax<N> &softmax, float (&scores)[STEPS][N])
{
#pragma unroll
  for (int g = 0; g < N; g++) {
    float largest = softmax.largest[g], factor;

#pragma unroll
    for (int u = 0; u < STEPS; u++)
      largest = fmaxf (largest, scores[u][g]);
    factor = power_of_2 (softmax.largest[g] - largest);
    softmax.largest[g] = largest;
    softmax.sum[g] *= factor;
#pragma unroll
    for (int i = 0; i < LANE_COLUMNS; i++)
      softmax.acc[g][i] *= factor;
#pragma unroll
    for (int u = 0; u < STEPS; u++) {
      scores[u][g] = power_of_2 (scores[u][g] - largest);
      softmax.sum[g] += scores[u][g];
    }
  }
}

/* A warp's keys from first on. */
template <typename T, int N>
__device__ __forceinline__ void
absorb_keys (Softmax<N> &softmax, const float (&q)[N][LANE_COLUMNS], const Tile<T> &tile, unsigned first,
             unsigned width)
{
  float keys[STEPS][LANE_COLUMNS], values[STEPS][LANE_COLUMNS], scores[STEPS][N];

#pragma unroll
  for (int u = 0; u < STEPS; u++)
    load_columns (keys[u], tile.keys + (size_t) (first + u) * width, width, first + u < tile.n);
#pragma unroll
  for (int u = 0; u < STEPS; u++)
    load_columns (values[u], tile.values + (size_t) (first + u) * width, width, first + u < tile.n);
#pragma unroll
  for (int u = 0; u < STEPS; u++)
    score_key<N> (scores[u], q, keys[u], first + u < tile.n, tile.bias);
  weigh_scores (softmax, scores);
#pragma unroll
  for (int u = 0; u < STEPS; u++)
#pragma unroll
    for (int g = 0; g < N; g++)
#pragma unroll
      for (int i = 0; i < LANE_COLUMNS; i++)
        softmax.acc[g][i] += scores[u][g] * values[u][i];
}

template <int N>
__device__ __forceinline__ void
share_warp (Merged<MAX_WIDTH, N> &merged, const Softmax<N> &softmax, unsigned width)
{
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;

#pragma unroll
  for (int g = 0; g < N; g++) {
    if (lane == 0)
      merged.softmax[warp][g] = make_float2 (softmax.largest[g], softmax.sum[g]);
#pragma unroll
    for (int i = 0; i < LANE_COLUMNS; i++)
      if (lane + 32 * i < width)
        merged.acc[warp][g][lane + 32 * i] = softmax.acc[g][i];
  }
  __syncthreads ();
}

template <typename T, int N>
__device__ __forceinline__ void
load_queries (const DecoderAttention<T> &p, const Queries &queries, float (&q)[N][LANE_COLUMNS], Softmax<N> &softmax,
              unsigned width)
{
#pragma unroll
  for (int g = 0; g < N; g++) {
    load_columns (q[g], get_query (p, queries, g < queries.n ? g : 0, width), width, g < queries.n);
    softmax.largest[g] = -FLT_MAX; /* finite: a warp may see no key at all */
    softmax.sum[g] = 0;
#pragma unroll
    for (int i = 0; i < LANE_COLUMNS; i++) {
      q[g][i] *= p.scale;
      softmax.acc[g][i] = 0;
    }
  }
}

template <typename T, int N>
__global__ void
__launch_bounds__ (ATTEND_THREADS, 3) attend_token_warp_per_key (DecoderAttention<T> p)
{
  __shared__ Merged<MAX_WIDTH, N> merged;
  const unsigned width = p.head_width, part = blockIdx.y % p.n_parts, token = p.first_token + blockIdx.z;
  const Queries queries = {token, token, blockIdx.y / p.n_parts, part * N, min (p.group - part * N, N)};
  Softmax<N> softmax;
  float q[N][LANE_COLUMNS];

  wait_for_inputs ();
  let_next_start ();
  if (token >= p.pass->n_tokens)
    return;
  const unsigned n_tiles = count_tiles (p, token), n_used = min (n_tiles, gridDim.x);
  if (n_tiles == 0 && blockIdx.x == 0)
    store_zeros (p, queries, width);
  if (blockIdx.x >= n_used)
    return;
  load_queries<T, N> (p, queries, q, softmax, width);
  for (unsigned t = blockIdx.x; t < n_tiles; t += gridDim.x) {
    Tile<T> tile = find_tile (p, queries, t, width);
    for (unsigned first = threadIdx.x / 32 * STEPS; first < tile.n; first += ATTEND_WARPS * STEPS)
      absorb_keys<T, N> (softmax, q, tile, first, width);
  }
  share_warp<N> (merged, softmax, width);
  store_block (p, queries, merged, n_used == 1, width);
  if (n_used > 1 && is_last_block (merged, &p.counters[blockIdx.z * gridDim.y + blockIdx.y], n_used))
    combine_slots (p, queries, merged, n_used, width);
}

/* --- launches --- */

/* The same size for every user, so that the address never changes. */
template <typename T>
static bool
get_partials (MllamaCudaBackend *be, DecoderAttention<T> *p)
{
  gsize n_heads = (gsize) p->n_kv_heads * p->group, n = TOKENS_AT_ONCE * n_heads * MAX_SLOTS;

  p->softmax = (float2 *) mllama_cuda_get_scratch (be, MLLAMA_CUDA_SCRATCH_PARTIAL,
                                                   n * (sizeof (float2) + p->head_width * sizeof (float)));
  p->counters = (guint32 *) mllama_cuda_get_scratch (be, MLLAMA_CUDA_SCRATCH_COUNTERS,
                                                     TOKENS_AT_ONCE * n_heads * sizeof (guint32));
  p->acc = (float *) (p->softmax + n);
  return p->softmax && p->counters;
}

/* Longer passes go in pieces: so many tokens fill any device, and partial sums stay small. */
template <typename T, int N>
static void
attend_pieces (MllamaCudaBackend *be, DecoderAttention<T> p)
{
  p.n_parts = (p.group + N - 1) / N;
  for (p.first_token = 0; p.first_token < be->n_max_tokens; p.first_token += TOKENS_AT_ONCE)
    launch (be, p.cross ? "cross_attention" : "self_attention", attend_token_warp_per_key<T, N>,
            dim3 (p.cross ? CROSS_SLOTS : SELF_SLOTS, p.n_kv_heads * p.n_parts,
                  MIN (be->n_max_tokens - p.first_token, (guint) TOKENS_AT_ONCE)),
            dim3 (ATTEND_THREADS), 0, p);
}

template <typename T>
static void
attend_any (MllamaCudaBackend *be, const DecoderAttention<T> &p)
{
  if (p.group == 1)
    attend_pieces<T, 1> (be, p);
  else
    attend_pieces<T, 4> (be, p);
}

static void
choose_kernel (MllamaCudaBackend *be, const DecoderAttention<float> &p)
{
  attend_any (be, p);
}

static void
choose_kernel (MllamaCudaBackend *be, const DecoderAttention<bf16> &p)
{
  if (!attend_groups (be, p))
    attend_any (be, p);
}

template <typename T>
static void
attend (MllamaCudaBackend *be, MllamaTensor *a, const MllamaTensor *q, unsigned layer, bool cross)
{
  const MllamaTextConfig *config = &be->base.config->text;
  DecoderAttention<T> p = {};

  p.pass = be->pass;
  p.a = (T *) a->data;
  p.q = (const T *) q->data;
  p.a_ld = a->ld;
  p.q_ld = q->ld;
  p.layer = layer;
  p.n_kv_heads = config->n_kv_heads;
  p.group = config->n_heads / config->n_kv_heads;
  p.head_width = config->head_width;
  p.scale = (float) (M_LOG2E / sqrt ((double) config->head_width));
  p.cross = cross;
  if (get_partials (be, &p))
    choose_kernel (be, p);
}

} // namespace mllama

extern "C" void
mllama_cuda_self_attention (MllamaBackend *backend, MllamaTensor *a, const MllamaTensor *q, guint layer,
                            const MllamaPass *)
{
  MllamaCudaBackend *be = mllama_cuda_backend (backend);

  if (be->dtype == MLLAMA_DTYPE_F32)
    mllama::attend<float> (be, a, q, layer, false);
  else
    mllama::attend<mllama::bf16> (be, a, q, layer, false);
}

extern "C" void
mllama_cuda_cross_attention (MllamaBackend *backend, MllamaTensor *a, const MllamaTensor *q, guint layer,
                             const MllamaPass *)
{
  MllamaCudaBackend *be = mllama_cuda_backend (backend);

  if (be->dtype == MLLAMA_DTYPE_F32)
    mllama::attend<float> (be, a, q, layer, true);
  else
    mllama::attend<mllama::bf16> (be, a, q, layer, true);
}
