/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attention of the decoder. Reading keys and values is all the work there is: each is read once for all query heads
 * that share it, and the keys of a token are dealt out to several blocks, so that one row fills the device.
 *
 * A block is one slot of a token and a part of a key/value head's queries. Slot s takes tiles s, s + n_slots, ... of
 * TILE keys, counted from the first key of the row (self) or of each span (cross). The number of slots is fixed, so
 * the order of a row's sums is its own. The last block of a token to end puts the slots together, in their order.
 *
 * Softmax goes along with the keys (Milakov and Gimelshein 2018), in base 2: 1 / (sqrt C * ln 2) is part of q. */
#include "attention.cuh"

namespace mllama
{

/* --- tiles --- */

template <typename T>
__device__ __forceinline__ unsigned
count_tiles (const Attention<T> &p, unsigned token)
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
find_self_tile (const Attention<T> &p, const Heads &heads, unsigned index, unsigned width)
{
  const MllamaCudaPass *pass = p.pass;
  const size_t page = pass->pages[pass->first_page[heads.token] + index];
  const T *keys = (const T *) pass->kv + page * pass->kv_page_elements +
                  ((size_t) p.layer * 2 * p.n_kv_heads + heads.kv_head) * TILE * width;

  return {keys, keys + (size_t) p.n_kv_heads * TILE * width,
          min (pass->positions[heads.token] + 1 - index * TILE, TILE), 0};
}

template <typename T>
__device__ __forceinline__ Tile<T>
find_cross_tile (const Attention<T> &p, const Heads &heads, unsigned index, unsigned width)
{
  const MllamaCudaSpan *span = p.pass->spans + p.pass->first_span[heads.token];

  for (; index * TILE >= span->n_keys; span++)
    index -= (span->n_keys + TILE - 1) / TILE;
  const size_t n_keys = span->slab_keys;
  const T *keys = (const T *) span->slab +
                  (((size_t) p.layer * 2 * p.n_kv_heads + heads.kv_head) * n_keys + span->first + index * TILE) * width;
  return {keys, keys + p.n_kv_heads * n_keys * width, min (span->n_keys - index * TILE, TILE),
          span->bias * (float) M_LOG2E};
}

template <typename T>
__device__ __forceinline__ Tile<T>
find_tile (const Attention<T> &p, const Heads &heads, unsigned index, unsigned width)
{
  return p.cross ? find_cross_tile (p, heads, index, width) : find_self_tile (p, heads, index, width);
}

/* --- keys of a warp --- */

template <typename T> struct alignas (16) Piece {
  T at[PIECE];
};

/* A lane's piece of a row; zeros where it is not to be read: what lies behind the last key may be NaN. */
template <typename T, int C>
__device__ __forceinline__ Piece<T>
load_piece (const T *row, unsigned lane, unsigned width, bool valid)
{
  Piece<T> piece;

  if (C) {
    uint4 bits = {};
    if (valid)
      bits = *reinterpret_cast<const uint4 *> (row + get_column<C> (lane, 0));
    static_assert (!C || sizeof piece == sizeof bits, "16 byte pieces");
    piece = *reinterpret_cast<Piece<T> *> (&bits);
  } else {
#pragma unroll
    for (int i = 0; i < PIECE; i++) {
      unsigned column = get_column<C> (lane, i);
      piece.at[i] = valid && column < width ? row[column] : from_float<T> (0);
    }
  }
  return piece;
}

/* Sum over the lanes of a key. */
template <int LANES>
__device__ __forceinline__ float
key_sum (float x)
{
#pragma unroll
  for (int lane = LANES / 2; lane > 0; lane /= 2)
    x += __shfl_xor_sync (0xffffffff, x, lane);
  return x;
}

/* Scores of a lane's keys, key after key so that few of their numbers are unpacked at a time. */
template <typename T, int C, int GROUP>
__device__ __forceinline__ void
score_keys (float (&scores)[Shape<C>::steps][GROUP], const float (&q)[GROUP][PIECE],
            const Piece<T> (&keys)[Shape<C>::steps], const bool (&valid)[Shape<C>::steps], float bias)
{
#pragma unroll
  for (int u = 0; u < Shape<C>::steps; u++)
#pragma unroll
    for (int g = 0; g < GROUP; g++) {
      float dot = 0;
#pragma unroll
      for (int i = 0; i < PIECE; i++)
        dot += q[g][i] * to_float (keys[u].at[i]);
      dot = key_sum<Shape<C>::lanes> (dot);
      scores[u][g] = valid[u] ? dot + bias : -INFINITY;
    }
}

/* Scores become weights, what was summed up before is scaled to the new largest. */
template <int STEPS, int GROUP>
__device__ __forceinline__ void
weigh_scores (Softmax<GROUP> &softmax, float (&scores)[STEPS][GROUP])
{
#pragma unroll
  for (int g = 0; g < GROUP; g++) {
    float largest = softmax.largest[g], factor;

#pragma unroll
    for (int u = 0; u < STEPS; u++)
      largest = fmaxf (largest, scores[u][g]);
    factor = exp2f (softmax.largest[g] - largest);
    softmax.largest[g] = largest;
    softmax.sum[g] *= factor;
#pragma unroll
    for (int i = 0; i < PIECE; i++)
      softmax.acc[g][i] *= factor;
#pragma unroll
    for (int u = 0; u < STEPS; u++) {
      scores[u][g] = exp2f (scores[u][g] - largest);
      softmax.sum[g] += scores[u][g];
    }
  }
}

/* A warp's keys from first on. */
template <typename T, int C, int GROUP>
__device__ __forceinline__ void
absorb_keys (Softmax<GROUP> &softmax, const float (&q)[GROUP][PIECE], const Tile<T> &tile, unsigned first,
             unsigned lane, unsigned width)
{
  enum {
    STEPS = Shape<C>::steps
  };
  Piece<T> keys[STEPS], values[STEPS];
  float scores[STEPS][GROUP];
  bool valid[STEPS];

#pragma unroll
  for (int u = 0; u < STEPS; u++) {
    unsigned key = first + u * Shape<C>::keys + lane / Shape<C>::lanes;
    valid[u] = key < tile.n;
    keys[u] = load_piece<T, C> (tile.keys + key * width, lane, width, valid[u]);
  }
#pragma unroll
  for (int u = 0; u < STEPS; u++) {
    unsigned key = first + u * Shape<C>::keys + lane / Shape<C>::lanes;
    values[u] = load_piece<T, C> (tile.values + key * width, lane, width, valid[u]);
  }
  score_keys<T, C, GROUP> (scores, q, keys, valid, tile.bias);
  weigh_scores (softmax, scores);
#pragma unroll
  for (int u = 0; u < STEPS; u++)
#pragma unroll
    for (int g = 0; g < GROUP; g++)
#pragma unroll
      for (int i = 0; i < PIECE; i++)
        softmax.acc[g][i] += scores[u][g] * to_float (values[u].at[i]);
}

/* The tiles of a slot, this warp's keys of each; where the next tile lies is asked while this one is under way. */
template <typename T, int C, int GROUP>
__device__ __forceinline__ void
absorb_tiles (const Attention<T> &p, const Heads &heads, Softmax<GROUP> &softmax, const float (&q)[GROUP][PIECE],
              unsigned n_tiles, unsigned width)
{
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, per_warp = Shape<C>::steps * Shape<C>::keys;
  Tile<T> tile = find_tile (p, heads, blockIdx.x, width), next = tile;

  for (unsigned t = blockIdx.x; t < n_tiles; t += gridDim.x) {
    if (t + gridDim.x < n_tiles)
      next = find_tile (p, heads, t + gridDim.x, width);
    for (unsigned first = warp * per_warp; first < tile.n; first += ATTEND_WARPS * per_warp)
      absorb_keys<T, C, GROUP> (softmax, q, tile, first, lane, width);
    tile = next;
  }
}

/* --- the kernel --- */

template <typename T, int C, int GROUP>
__device__ __forceinline__ void
load_queries (const Attention<T> &p, const Heads &heads, float (&q)[GROUP][PIECE], Softmax<GROUP> &softmax,
              unsigned width)
{
  const T *row = p.q + heads.token * p.q_ld + (size_t) heads.head * width;

#pragma unroll
  for (int g = 0; g < GROUP; g++) {
    Piece<T> piece = load_piece<T, C> (row + (size_t) g * width, threadIdx.x % 32, width, g < heads.n);
    softmax.largest[g] = -FLT_MAX; /* finite: a lane may see no key at all */
    softmax.sum[g] = 0;
#pragma unroll
    for (int i = 0; i < PIECE; i++) {
      q[g][i] = to_float (piece.at[i]) * p.scale;
      softmax.acc[g][i] = 0;
    }
  }
}

template <typename T, int C, int GROUP>
__global__ void
__launch_bounds__ (ATTEND_THREADS, GROUP <= 4 ? 3 : 2) attend_split_keys (Attention<T> p)
{
  __shared__ Merged<C, GROUP> merged;
  const unsigned width = C ? C : p.head_width, part = blockIdx.y % p.n_parts;
  Heads heads = {p.first_token + blockIdx.z, blockIdx.y / p.n_parts, 0, min (p.group - part * GROUP, GROUP)};
  Softmax<GROUP> softmax;
  float q[GROUP][PIECE];

  heads.head = heads.kv_head * p.group + part * GROUP;
  wait_for_inputs ();
  let_next_start ();
  if (heads.token >= p.pass->n_tokens)
    return;
  const unsigned n_tiles = count_tiles (p, heads.token), n_used = min (n_tiles, gridDim.x);
  if (n_tiles == 0 && blockIdx.x == 0)
    for (unsigned i = threadIdx.x; i < heads.n * width; i += ATTEND_THREADS)
      get_output (p, heads, 0, width)[i] = from_float<T> (0);
  if (blockIdx.x >= n_used)
    return;
  load_queries<T, C, GROUP> (p, heads, q, softmax, width);
  absorb_tiles<T, C, GROUP> (p, heads, softmax, q, n_tiles, width);
  merge_lanes<C, GROUP> (softmax);
  share_warp<C, GROUP> (merged, softmax, width);
  store_block<T, C, GROUP> (p, heads, merged, n_used == 1, width);
  if (n_used > 1 && is_last_block (merged, &p.counters[blockIdx.z * gridDim.y + blockIdx.y], n_used))
    combine_slots<T, C, GROUP> (p, heads, merged, n_used, width);
}

/* --- launches --- */

/* The same size for every user, so that the address never changes. */
template <typename T>
static bool
get_partials (MllamaCudaBackend *be, Attention<T> *p)
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
template <typename T, int C, int GROUP>
static void
attend_pieces (MllamaCudaBackend *be, Attention<T> p)
{
  p.n_parts = (p.group + GROUP - 1) / GROUP;
  for (p.first_token = 0; p.first_token < be->n_max_tokens; p.first_token += TOKENS_AT_ONCE)
    launch (be, p.cross ? "cross_attention" : "self_attention", attend_split_keys<T, C, GROUP>,
            dim3 (p.cross ? CROSS_SLOTS : SELF_SLOTS, p.n_kv_heads * p.n_parts,
                  MIN (be->n_max_tokens - p.first_token, (guint) TOKENS_AT_ONCE)),
            dim3 (ATTEND_THREADS), 0, p);
}

template <int C>
static void
attend_wide (MllamaCudaBackend *be, const Attention<bf16> &p)
{
  if (p.group == 1)
    attend_pieces<bf16, C, 1> (be, p);
  else if (p.group == 2)
    attend_pieces<bf16, C, 2> (be, p);
  else if (p.group <= 4)
    attend_pieces<bf16, C, 4> (be, p);
  else
    attend_pieces<bf16, C, 8> (be, p);
}

template <typename T>
static void
attend_any (MllamaCudaBackend *be, const Attention<T> &p)
{
  if (p.group == 1)
    attend_pieces<T, 0, 1> (be, p);
  else
    attend_pieces<T, 0, 4> (be, p);
}

static void
choose_width (MllamaCudaBackend *be, const Attention<bf16> &p)
{
  if (p.head_width == 128)
    attend_wide<128> (be, p);
  else if (p.head_width == 64)
    attend_wide<64> (be, p);
  else
    attend_any (be, p);
}

static void
choose_width (MllamaCudaBackend *be, const Attention<float> &p)
{
  attend_any (be, p);
}

template <typename T>
static void
attend (MllamaCudaBackend *be, MllamaTensor *a, const MllamaTensor *q, unsigned layer, bool cross)
{
  const MllamaTextConfig *config = &be->base.config->text;
  Attention<T> p = {};

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
    choose_width (be, p);
}

} // namespace mllama

extern "C" void
mllama_cuda_self_attention (MllamaBackend *backend, MllamaTensor *a, const MllamaTensor *q, guint layer,
                            const MllamaPass *pass)
{
  MllamaCudaBackend *be = mllama_cuda_backend (backend);

  if (be->dtype == MLLAMA_DTYPE_F32)
    mllama::attend<float> (be, a, q, layer, false);
  else
    mllama::attend<mllama::bf16> (be, a, q, layer, false);
}

extern "C" void
mllama_cuda_cross_attention (MllamaBackend *backend, MllamaTensor *a, const MllamaTensor *q, guint layer,
                             const MllamaPass *pass)
{
  MllamaCudaBackend *be = mllama_cuda_backend (backend);

  if (be->dtype == MLLAMA_DTYPE_F32)
    mllama::attend<float> (be, a, q, layer, true);
  else
    mllama::attend<mllama::bf16> (be, a, q, layer, true);
}
