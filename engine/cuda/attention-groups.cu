/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attention of the decoder on tensor cores: bf16, head widths 64 and 128.
 *
 * Reading keys and values is the work there is, so a block reads each of them once for up to 16 queries: the query
 * heads that share a key/value head, of one token or of neighbours in a prompt that see the same (a group,
 * cuda-pass.c). The queries are the 16 rows of an mma; rows do not touch each other, so a query's bits don't depend on
 * its group.
 *
 * Slots and tiles are those of attention.cu. Each warp takes 16 keys of a tile, through shared memory of its own that
 * it fills some tiles ahead; warps meet only in the end. */
#include "attention.cuh"
#include "fragments.cuh"

namespace mllama
{

enum {
  QUERIES = MLLAMA_CUDA_GROUP_QUERIES, /* rows of an mma */
  WARP_KEYS = 16,                      /* of a tile: TILE / ATTEND_WARPS */
  STAGES = 3,                          /* tiles in shared memory */
  PIECES_OF_ROW_MASK = 7,              /* rows of 64 or 128 columns are 8 or 16 pieces of 16 bytes */
};

/* A query's row of an mma, two of which a thread holds: lane / 4 and 8 more. */
struct Query {
  float largest, sum;
  int last_key; /* self: position; cross: beyond all keys */
};

template <int C> struct GroupShape {
  static constexpr unsigned row_pieces = C / 8;                        /* of 16 bytes */
  static constexpr unsigned stage_pieces = 2 * WARP_KEYS * row_pieces; /* keys, then values */
  static constexpr unsigned ring_bytes = ATTEND_WARPS * STAGES * stage_pieces * 16;
  static constexpr unsigned shared_bytes = ring_bytes > sizeof (Merged<C, QUERIES>) ? ring_bytes
                                                                                    : sizeof (Merged<C, QUERIES>);
};

/* --- shared memory --- */

/* Where a piece of a row lies: pieces of eight rows in a column of eight banks' width are spread over all of them. */
template <int C>
__device__ __forceinline__ unsigned
get_piece (unsigned row, unsigned piece)
{
  return row * GroupShape<C>::row_pieces + (piece ^ (row & PIECES_OF_ROW_MASK));
}

/* This warp's keys and values of a tile on their way into a stage; what lies past the last key becomes zero. */
template <int C>
__device__ __forceinline__ void
fetch_tile (const Tile<bf16> &tile, unsigned stage)
{
  const unsigned lane = threadIdx.x % 32, first = threadIdx.x / 32 * WARP_KEYS;

#pragma unroll
  for (unsigned i = lane; i < WARP_KEYS * GroupShape<C>::row_pieces; i += 32) {
    unsigned row = i / GroupShape<C>::row_pieces, piece = i % GroupShape<C>::row_pieces;
    unsigned to = stage + get_piece<C> (row, piece) * 16;
    bool valid = first + row < tile.n;
    size_t offset = valid ? (size_t) (first + row) * C + piece * 8 : 0;

    copy_async (to, tile.keys + offset, valid);
    copy_async (to + WARP_KEYS * C * 2, tile.values + offset, valid);
  }
}

/* --- one tile --- */

/* scores: 16 queries by 16 keys. */
template <int C>
__device__ __forceinline__ void
score_keys (float (&scores)[2][4], const unsigned (&q)[C / 16][4], unsigned keys)
{
  const unsigned lane = threadIdx.x % 32, row = lane / 16 * 8 + lane % 8, half = lane / 8 % 2;

#pragma unroll
  for (int k = 0; k < C / 16; k++) {
    unsigned b[4];

    load_matrices (b, keys + get_piece<C> (row, 2 * k + half) * 16);
    multiply_add (scores[0], q[k], b[0], b[1]);
    multiply_add (scores[1], q[k], b[2], b[3]);
  }
}

/* Scores become weights; what was summed up before is scaled to the new largest. first: of this thread's keys. */
template <int C>
__device__ __forceinline__ void
weigh_scores (float (&scores)[2][4], float (&acc)[C / 8][4], Query (&query)[2], float scale, float bias, int first,
              int n_keys)
{
#pragma unroll
  for (int r = 0; r < 2; r++) {
    Query &own = query[r];
    float largest = own.largest, factor;

#pragma unroll
    for (int i = 0; i < 4; i++) {
      int key = first + i / 2 * 8 + i % 2;
      float &score = scores[i / 2][2 * r + i % 2];

      score = key < n_keys && key <= own.last_key ? fmaf (score, scale, bias) : -INFINITY;
      largest = fmaxf (largest, score);
    }
    largest = fmaxf (largest, __shfl_xor_sync (0xffffffff, largest, 1));
    largest = fmaxf (largest, __shfl_xor_sync (0xffffffff, largest, 2));
    factor = power_of_2 (own.largest - largest);
    own.largest = largest;
    own.sum *= factor;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float &score = scores[i / 2][2 * r + i % 2];

      score = power_of_2 (score - largest);
      own.sum += score;
    }
#pragma unroll
    for (int i = 0; i < C / 8; i++) {
      acc[i][2 * r] *= factor;
      acc[i][2 * r + 1] *= factor;
    }
  }
}

template <int C>
__device__ __forceinline__ void
add_values (float (&acc)[C / 8][4], const float (&scores)[2][4], unsigned values)
{
  const unsigned lane = threadIdx.x % 32, row = lane % 16, half = lane / 16;
  const unsigned weights[4] = {pack (scores[0][0], scores[0][1]), pack (scores[0][2], scores[0][3]),
                               pack (scores[1][0], scores[1][1]), pack (scores[1][2], scores[1][3])};

#pragma unroll
  for (int d = 0; d < C / 16; d++) {
    unsigned b[4];

    load_matrices_transposed (b, values + get_piece<C> (row, 2 * d + half) * 16);
    multiply_add (acc[2 * d], weights, b[0], b[1]);
    multiply_add (acc[2 * d + 1], weights, b[2], b[3]);
  }
}

/* --- a block --- */

/* This thread's part of the queries: rows lane / 4 and 8 more, columns 2 (lane % 4) and so on. Rows that no query has
 * are zero. */
template <int C>
__device__ __forceinline__ void
load_queries (const DecoderAttention<bf16> &p, const Queries &queries, unsigned (&q)[C / 16][4])
{
  const unsigned lane = threadIdx.x % 32;

#pragma unroll
  for (int r = 0; r < 2; r++) {
    unsigned row = lane / 4 + 8 * r;
    const bf16 *from = get_query (p, queries, row < queries.n ? row : 0, C) + lane % 4 * 2;

#pragma unroll
    for (int k = 0; k < C / 16; k++)
#pragma unroll
      for (int half = 0; half < 2; half++)
        q[k][2 * half + r] = row < queries.n ? *reinterpret_cast<const unsigned *> (from + 16 * k + 8 * half) : 0;
  }
}

/* The tiles of a slot, those ahead on their way while one is under way. */
template <int C>
__device__ __forceinline__ void
absorb_tiles (const DecoderAttention<bf16> &p, const Queries &queries, const unsigned (&q)[C / 16][4],
              float (&acc)[C / 8][4], Query (&query)[2], unsigned n_tiles, unsigned ring)
{
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, stage_bytes = GroupShape<C>::stage_pieces * 16;
  Tile<bf16> tiles[STAGES] = {};
  unsigned next = blockIdx.x;

  ring += warp * STAGES * stage_bytes;
#pragma unroll
  for (int s = 0; s < STAGES - 1; s++, next += gridDim.x) {
    if (next < n_tiles) {
      tiles[s] = find_tile (p, queries, next, C);
      fetch_tile<C> (tiles[s], ring + s * stage_bytes);
    }
    commit_copies ();
  }
  for (unsigned t = blockIdx.x; t < n_tiles;) {
#pragma unroll
    for (int s = 0; s < STAGES; s++) { /* the ring's places are constants, and so are those of tiles */
      float scores[2][4] = {};
      unsigned stage = ring + s * stage_bytes, ahead = (s + STAGES - 1) % STAGES;

      if (t >= n_tiles)
        break;
      wait_for_copies<STAGES - 2> ();
      __syncwarp ();
      if (next < n_tiles) {
        tiles[ahead] = find_tile (p, queries, next, C);
        fetch_tile<C> (tiles[ahead], ring + ahead * stage_bytes);
      }
      commit_copies ();
      score_keys<C> (scores, q, stage);
      weigh_scores<C> (scores, acc, query, p.scale, tiles[s].bias, warp * WARP_KEYS + lane % 4 * 2, tiles[s].n);
      add_values<C> (acc, scores, stage + WARP_KEYS * C * 2);
      query[0].last_key -= p.cross ? 0 : gridDim.x * TILE;
      query[1].last_key -= p.cross ? 0 : gridDim.x * TILE;
      t += gridDim.x;
      next += gridDim.x;
    }
  }
  wait_for_copies ();
}

template <int C>
__device__ __forceinline__ void
share_queries (Merged<C, QUERIES> &merged, const float (&acc)[C / 8][4], const Query (&query)[2])
{
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;

  __syncthreads (); /* no warp reads its stages any more */
#pragma unroll
  for (int r = 0; r < 2; r++) {
    unsigned row = lane / 4 + 8 * r;
    float sum = query[r].sum;

    sum += __shfl_xor_sync (0xffffffff, sum, 1);
    sum += __shfl_xor_sync (0xffffffff, sum, 2);
    if (lane % 4 == 0)
      merged.softmax[warp][row] = make_float2 (query[r].largest, sum);
#pragma unroll
    for (int i = 0; i < C / 8; i++)
      *reinterpret_cast<float2 *> (&merged.acc[warp][row][i * 8 + lane % 4 * 2]) =
          make_float2 (acc[i][2 * r], acc[i][2 * r + 1]);
  }
  __syncthreads ();
}

/* The last key that the thread's query r sees, counted from the slot's first tile; those that no query has don't
 * matter. */
__device__ __forceinline__ int
get_last_key (const DecoderAttention<bf16> &p, const Queries &queries, int r)
{
  unsigned row = threadIdx.x % 32 / 4 + 8 * r;

  if (p.cross)
    return 0x7fffffff;
  return (int) (p.pass->positions[get_token (p, queries, row < queries.n ? row : 0)] - blockIdx.x * TILE);
}

template <int C>
__global__ void
__launch_bounds__ (ATTEND_THREADS, 2) attend_groups_warp_per_keys (DecoderAttention<bf16> p)
{
  extern __shared__ uint4 shared[];
  Merged<C, QUERIES> &merged = *reinterpret_cast<Merged<C, QUERIES> *> (shared);
  Queries queries = {p.first_token + blockIdx.z, 0, blockIdx.y, 0, 0};
  unsigned q[C / 16][4], n_tokens;
  float acc[C / 8][4] = {};
  Query query[2];

  wait_for_inputs ();
  let_next_start ();
  if (queries.token >= p.pass->n_tokens || !(n_tokens = p.pass->group_tokens[queries.token]))
    return;
  queries.n = n_tokens * p.group;
  queries.last = queries.token + n_tokens - 1;
  const unsigned n_tiles = count_tiles (p, queries.last), n_used = min (n_tiles, gridDim.x);
  if (n_tiles == 0 && blockIdx.x == 0)
    store_zeros (p, queries, C);
  if (blockIdx.x >= n_used)
    return;
  load_queries<C> (p, queries, q);
#pragma unroll
  for (int r = 0; r < 2; r++) /* largest is finite: a query may see no key of this slot */
    query[r] = {-FLT_MAX, 0, get_last_key (p, queries, r)};
  absorb_tiles<C> (p, queries, q, acc, query, n_tiles, (unsigned) __cvta_generic_to_shared (shared));
  share_queries<C> (merged, acc, query);
  store_block (p, queries, merged, n_used == 1, C);
  if (n_used > 1 && is_last_block (merged, &p.counters[blockIdx.z * gridDim.y + blockIdx.y], n_used))
    combine_slots (p, queries, merged, n_used, C);
}

template <int C>
static void
attend_pieces (MllamaCudaBackend *be, DecoderAttention<bf16> p)
{
  const unsigned shared_bytes = GroupShape<C>::shared_bytes;

  p.n_parts = 1;
  if (!mllama_cuda_check (be,
                          cudaFuncSetAttribute (attend_groups_warp_per_keys<C>,
                                                cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
                          "shared memory of attention"))
    return;
  for (p.first_token = 0; p.first_token < be->n_max_tokens; p.first_token += TOKENS_AT_ONCE)
    launch (be, p.cross ? "cross_attention" : "self_attention", attend_groups_warp_per_keys<C>,
            dim3 (p.cross ? CROSS_SLOTS : SELF_SLOTS, p.n_kv_heads,
                  MIN (be->n_max_tokens - p.first_token, (guint) TOKENS_AT_ONCE)),
            dim3 (ATTEND_THREADS), shared_bytes, p);
}

bool
attend_groups (MllamaCudaBackend *be, const DecoderAttention<bf16> &p)
{
  if (p.group > QUERIES || (p.head_width != 64 && p.head_width != 128))
    return false;
  if (p.head_width == 64)
    attend_pieces<64> (be, p);
  else
    attend_pieces<128> (be, p);
  return true;
}

} // namespace mllama
