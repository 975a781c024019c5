/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attention of the tower in bf16, for the head widths that matter: blocks of queries against tiles of keys with the
 * softmax carried along (Dao 2023, FlashAttention-2), on the tensor cores that every tier has.
 *
 * A block has four warps of 32 queries; each fragment of keys or values that a warp reads from shared memory serves two
 * products of 16 rows, else shared memory would be the limit. Head widths are multiples of 16 and are not padded. */
#include "cuda-tower.h"
#include "fragments.cuh"

#include <math_constants.h>

namespace mllama
{

static constexpr int KEYS = MLLAMA_CUDA_TOWER_KEYS, QUERIES = MLLAMA_CUDA_TOWER_QUERIES;
static constexpr int THREADS = 128, WARP_ROWS = 32, STAGES = 2;

static_assert (QUERIES == THREADS / 32 * WARP_ROWS, "a warp has two times 16 queries");
static_assert (KEYS * 2 == THREADS, "two threads fetch a row of a tile");

/* A row's weights are relative to a reference, which moves only when a logit exceeds it by more than this (in powers
 * of two). The quotient is the same for every reference; weights up to 2^8 are as exact in bf16 as weights up to 1. */
static constexpr float SLACK = 8;

/* --- shared memory: Q, then K, V, K, V, then the bias of two tiles --- */

template <int C> struct Memory {
  /* Eight rows of a matrix that ldmatrix reads must lie in different banks: by swizzling 16-byte chunks if a row is a
   * multiple of 128 bytes, else by a row stride of an odd number of chunks. */
  static constexpr bool is_swizzled = C % 64 == 0;
  static constexpr int row_bytes = 2 * (is_swizzled ? C : C + 8);
  static constexpr int tile_bytes = KEYS * row_bytes;
  static constexpr int q_bytes = QUERIES * row_bytes;
  static constexpr int bias_at = q_bytes + STAGES * 2 * tile_bytes;
  static constexpr int bytes = bias_at + STAGES * KEYS * (int) sizeof (float);

  static_assert (C % 16 == 0 && (is_swizzled || row_bytes / 16 % 2 == 1), "free of bank conflicts");
  static_assert (bytes <= 99 * 1024, "fits where a block has least");

  static __device__ __forceinline__ unsigned place (int row, int chunk)
  {
    return row * row_bytes + (is_swizzled ? chunk ^ (row & 7) : chunk) * 16;
  }
};

/* --- a warp's part --- */

/* What a thread keeps of its warp's queries: two tiles of 16 rows, of each the rows lane / 4 and lane / 4 + 8. */
template <int C> struct Queries {
  static constexpr bool keeps_q = C <= 80; /* else registers would not do: fragments are read again for each tile */

  unsigned q[keeps_q ? C / 16 : 1][2][4];
  float sums[2][C / 8][4]; /* of values, weighted */
  float reference[2][2];   /* times scale */
  float weights[2][2];     /* sum over this thread's columns */
};

typedef float Scores[2][KEYS / 8][4];

template <int C>
__device__ __forceinline__ void
init_queries (Queries<C> &queries, unsigned q)
{
  int lane = threadIdx.x % 32;

#pragma unroll
  for (int m = 0; m < 2; m++) {
#pragma unroll
    for (int n = 0; n < C / 8; n++)
      for (int i = 0; i < 4; i++)
        queries.sums[m][n][i] = 0;
    for (int half = 0; half < 2; half++) {
      queries.reference[m][half] = -CUDART_INF_F;
      queries.weights[m][half] = 0;
    }
    if (Queries<C>::keeps_q)
#pragma unroll
      for (int k = 0; k < C / 16; k++)
        load_matrices (queries.q[k][m], q + Memory<C>::place (16 * m + lane % 16, 2 * k + lane / 16));
  }
}

/* scores = Q K^T */
template <int C>
__device__ __forceinline__ void
multiply_keys (Scores &scores, Queries<C> &queries, unsigned q, unsigned keys)
{
  int lane = threadIdx.x % 32;

#pragma unroll
  for (int m = 0; m < 2; m++)
#pragma unroll
    for (int n = 0; n < KEYS / 8; n++)
      for (int i = 0; i < 4; i++)
        scores[m][n][i] = 0;
#pragma unroll
  for (int k = 0; k < C / 16; k++) {
    unsigned (&a)[2][4] = queries.q[Queries<C>::keeps_q ? k : 0];

    if (!Queries<C>::keeps_q)
      for (int m = 0; m < 2; m++)
        load_matrices (a[m], q + Memory<C>::place (16 * m + lane % 16, 2 * k + lane / 16));
#pragma unroll
    for (int n = 0; n < KEYS / 16; n++) {
      unsigned b[4];

      load_matrices (b, keys + Memory<C>::place (16 * n + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
#pragma unroll
      for (int m = 0; m < 2; m++) {
        multiply_add (scores[m][2 * n], a[m], b[0], b[1]);
        multiply_add (scores[m][2 * n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

__device__ __forceinline__ void
add_bias (Scores &scores, const float *bias)
{
  int lane = threadIdx.x % 32;

#pragma unroll
  for (int n = 0; n < KEYS / 8; n++) {
    float2 b = *reinterpret_cast<const float2 *> (bias + 8 * n + lane % 4 * 2);

#pragma unroll
    for (int m = 0; m < 2; m++) {
      scores[m][n][0] += b.x;
      scores[m][n][1] += b.y;
      scores[m][n][2] += b.x;
      scores[m][n][3] += b.y;
    }
  }
}

/* Queries that are not real see the real keys only. query: the warp's first; key: the tile's first. */
__device__ __forceinline__ void
hide_keys (Scores &scores, const MllamaCudaTowerItem &item, unsigned query, unsigned key)
{
  int lane = threadIdx.x % 32;

#pragma unroll
  for (int m = 0; m < 2; m++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      bool sees_all = query + 16 * m + i / 2 * 8 + lane / 4 < item.n_real;

#pragma unroll
      for (int n = 0; n < KEYS / 8; n++)
        if (!sees_all && key + 8 * n + lane % 4 * 2 + i % 2 >= item.n_real)
          scores[m][n][i] = -CUDART_INF_F;
    }
}

/* Takes a new reference in rows whose largest logit is too far above the last one. Rows are decided one by one, so that
 * a row's bits don't depend on the others; the first tile always sets it, since each row sees the first key. */
template <int C>
__device__ __forceinline__ void
move_references (Queries<C> &queries, float (&max)[2][2])
{
#pragma unroll
  for (int m = 0; m < 2; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float last = queries.reference[m][half], row_max = max[m][half], factor;

      row_max = fmaxf (row_max, __shfl_xor_sync (0xffffffff, row_max, 1));
      row_max = fmaxf (row_max, __shfl_xor_sync (0xffffffff, row_max, 2));
      if (!(row_max - last > SLACK))
        row_max = last;
      queries.reference[m][half] = row_max;
      factor = row_max == last ? 1 : power_of_2 (last - row_max);
      queries.weights[m][half] *= factor;
#pragma unroll
      for (int n = 0; n < C / 8; n++) {
        queries.sums[m][n][2 * half] *= factor;
        queries.sums[m][n][2 * half + 1] *= factor;
      }
    }
}

template <int C>
__device__ __forceinline__ void
check_references (Queries<C> &queries, const Scores &scores, float scale)
{
  float max[2][2];
  bool moves = false;

#pragma unroll
  for (int m = 0; m < 2; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float x = fmaxf (scores[m][0][2 * half], scores[m][0][2 * half + 1]);

#pragma unroll
      for (int n = 1; n < KEYS / 8; n++)
        x = fmaxf (x, fmaxf (scores[m][n][2 * half], scores[m][n][2 * half + 1]));
      max[m][half] = x * scale;
      moves |= max[m][half] - queries.reference[m][half] > SLACK;
    }
  if (__any_sync (0xffffffff, moves))
    move_references (queries, max);
}

/* Weights of 16 keys, as the left side of the next product. */
template <int C>
__device__ __forceinline__ void
weigh_keys (unsigned (&a)[2][4], Queries<C> &queries, const Scores &scores, int n, float scale)
{
#pragma unroll
  for (int m = 0; m < 2; m++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float (&s)[4] = scores[m][n + i / 2];
      float r = queries.reference[m][i % 2];
      float low = power_of_2 (s[i % 2 * 2] * scale - r);
      float high = power_of_2 (s[i % 2 * 2 + 1] * scale - r);

      queries.weights[m][i % 2] += low + high;
      a[m][i] = pack (low, high);
    }
}

/* sums += weights V */
template <int C>
__device__ __forceinline__ void
multiply_values (Queries<C> &queries, const Scores &scores, unsigned values, float scale)
{
  int lane = threadIdx.x % 32;

#pragma unroll
  for (int k = 0; k < KEYS / 16; k++) {
    unsigned a[2][4];

    weigh_keys (a, queries, scores, 2 * k, scale);
#pragma unroll
    for (int n = 0; n < C / 16; n++) {
      unsigned b[4];

      load_matrices_transposed (b, values + Memory<C>::place (16 * k + lane % 16, 2 * n + lane / 16));
#pragma unroll
      for (int m = 0; m < 2; m++) {
        multiply_add (queries.sums[m][2 * n], a[m], b[0], b[1]);
        multiply_add (queries.sums[m][2 * n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

/* a: column of the head; query: the warp's first. */
template <int C>
__device__ __forceinline__ void
store_queries (const Queries<C> &queries, const MllamaCudaTowerItem &item, unsigned query, bf16 *a, size_t ld)
{
  int lane = threadIdx.x % 32;

#pragma unroll
  for (int m = 0; m < 2; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      unsigned row = query + 16 * m + 8 * half + lane / 4;
      bf16 *out = a + (item.first + (size_t) row) * ld + lane % 4 * 2;
      float sum = queries.weights[m][half], factor;

      sum += __shfl_xor_sync (0xffffffff, sum, 1);
      sum += __shfl_xor_sync (0xffffffff, sum, 2);
      factor = sum == 0 ? 0 : __fdividef (1, sum); /* no keys at all leave zero */
      if (row < item.n_rows)
#pragma unroll
        for (int n = 0; n < C / 8; n++) {
          const float (&s)[4] = queries.sums[m][n];

          *reinterpret_cast<unsigned *> (out + 8 * n) = pack (s[2 * half] * factor, s[2 * half + 1] * factor);
        }
    }
}

/* --- a block's part --- */

/* KEYS rows from first on, of which those before n count; two threads a row, so that they ask for whole sectors. */
template <int C>
__device__ __forceinline__ void
fetch_rows (unsigned to, const bf16 *rows, size_t ld, unsigned first, unsigned n)
{
  unsigned row = threadIdx.x / 2, odd = threadIdx.x % 2, index = first + row;
  const bf16 *from = rows + min (index, n - 1) * ld + 8 * odd;

#pragma unroll
  for (int i = 0; i < C / 16; i++)
    copy_async (to + Memory<C>::place (row, 2 * i + odd), from + 16 * i, index < n);
}

template <int C> struct Fetch {
  const bf16 *rows;  /* the sequence's first, column of the head's queries */
  const float *bias; /* the sequence's */
  size_t ld;
  unsigned width; /* columns from queries to keys, and on to values */
  unsigned n_keys;
  unsigned memory; /* address of the block's shared memory */

  static __device__ __forceinline__ unsigned get_stage (unsigned tile)
  {
    return Memory<C>::q_bytes + tile % STAGES * 2 * Memory<C>::tile_bytes;
  }

  static __device__ __forceinline__ unsigned get_bias (unsigned tile)
  {
    return Memory<C>::bias_at + tile % STAGES * KEYS * sizeof (float);
  }

  __device__ __forceinline__ void fetch_tile (unsigned tile) const
  {
    unsigned to = memory + get_stage (tile), key = tile * KEYS;

    fetch_rows<C> (to, rows + width, ld, key, n_keys);
    fetch_rows<C> (to + Memory<C>::tile_bytes, rows + 2 * (size_t) width, ld, key, n_keys);
    if (threadIdx.x < KEYS / 4)
      copy_async (memory + get_bias (tile) + 16 * threadIdx.x, bias + key + 4 * threadIdx.x, true);
    commit_copies ();
  }
};

/* qkv: q | k | v, n_heads * C columns each. Grid: heads of the first item, heads of the next ... */
template <int C>
__global__ void
__launch_bounds__ (THREADS, 2)
    tower_attention_bf16_warp_of_rows (bf16 *a, size_t a_ld, const bf16 *qkv, size_t ld, unsigned n_heads, float scale,
                                       MllamaCudaTowerTables tables)
{
  extern __shared__ __align__ (128) unsigned char shared[];

  wait_for_inputs ();
  let_next_start ();

  const MllamaCudaTowerItem item = tables.items[blockIdx.x / n_heads];
  const unsigned column = blockIdx.x % n_heads * C;
  const bf16 *rows = qkv + item.first * ld + column;
  const float *bias = tables.bias + (size_t) item.first_tile * KEYS;
  const unsigned n_keys = item.first_query < item.n_real ? item.n_rows : item.n_real;
  const unsigned n_tiles = (n_keys + KEYS - 1) / KEYS, memory = (unsigned) __cvta_generic_to_shared (shared);
  const Fetch<C> fetch = {rows, bias, ld, n_heads * C, n_keys, memory};
  const unsigned warp_row = threadIdx.x / 32 * WARP_ROWS, query = item.first_query + warp_row;
  const unsigned q = memory + warp_row * Memory<C>::row_bytes;
  const bool is_idle = query >= item.n_rows, sees_all = query + WARP_ROWS <= item.n_real;
  Queries<C> queries;

#pragma unroll
  for (int i = 0; i < QUERIES; i += KEYS)
    fetch_rows<C> (memory + i * Memory<C>::row_bytes, rows, ld, item.first_query + i, item.n_rows);
  fetch.fetch_tile (0);
  wait_for_copies ();
  __syncthreads ();
  init_queries (queries, q);
  for (unsigned tile = 0; tile < n_tiles; tile++) {
    const unsigned stage = memory + Fetch<C>::get_stage (tile);
    Scores scores;

    /* This tile has come, and everyone is done with the last one, whose place the next takes. */
    wait_for_copies ();
    __syncthreads ();
    if (tile + 1 < n_tiles)
      fetch.fetch_tile (tile + 1);
    if (is_idle)
      continue;
    multiply_keys (scores, queries, q, stage);
    if (tables.has_bias[item.first_tile + tile])
      add_bias (scores, reinterpret_cast<const float *> (shared + Fetch<C>::get_bias (tile)));
    if (!sees_all && (tile + 1) * KEYS > item.n_real)
      hide_keys (scores, item, query, tile * KEYS);
    check_references (queries, scores, scale);
    multiply_values (queries, scores, stage + Memory<C>::tile_bytes, scale);
  }
  if (!is_idle)
    store_queries (queries, item, query, a + column, a_ld);
}

template <int C>
static void
attend (MllamaCudaBackend *be, MllamaTensor *a, const MllamaTensor *qkv, guint n_heads,
        const MllamaCudaTowerTables *tables)
{
  static const char what[] = "attention of the vision tower";
  void (*kernel) (bf16 *, size_t, const bf16 *, size_t, unsigned, float, MllamaCudaTowerTables) =
      tower_attention_bf16_warp_of_rows<C>;
  float scale = CUDART_L2E_F / sqrtf (C);

  if (mllama_cuda_check (
          be, cudaFuncSetAttribute (kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Memory<C>::bytes), what) &&
      mllama_cuda_check (
          be,
          cudaFuncSetAttribute (kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared),
          what))
    launch (be, what, kernel, dim3 (tables->n_items * n_heads), dim3 (THREADS), Memory<C>::bytes, (bf16 *) a->data,
            a->ld, (const bf16 *) qkv->data, qkv->ld, n_heads, scale, *tables);
}

} // namespace mllama

gboolean
mllama_cuda_tower_is_fast (const MllamaCudaBackend *be, guint head_width)
{
  return be->dtype == MLLAMA_DTYPE_BF16 && (head_width == 64 || head_width == 80 || head_width == 128);
}

void
mllama_cuda_tower_attend (MllamaCudaBackend *be, MllamaTensor *a, const MllamaTensor *qkv, guint n_heads,
                          const MllamaCudaTowerTables *tables)
{
  switch (a->width / n_heads) {
  case 64:
    mllama::attend<64> (be, a, qkv, n_heads, tables);
    break;
  case 80:
    mllama::attend<80> (be, a, qkv, n_heads, tables);
    break;
  case 128:
    mllama::attend<128> (be, a, qkv, n_heads, tables);
    break;
  }
}
