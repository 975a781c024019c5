/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attention of the tower for any number format and head width: in f32 on the ordinary units. A warp has four queries;
 * lanes are keys while logits are summed, columns while values are. */
#include "cuda-tower.h"
#include "device.cuh"

#include <math_constants.h>

namespace mllama
{

static constexpr int PLAIN_WARPS = 8, PLAIN_ROWS = 4, PLAIN_KEYS = 32;

static_assert (PLAIN_WARPS * PLAIN_ROWS == MLLAMA_CUDA_TOWER_PLAIN_QUERIES, "a block does one item");
static_assert (MLLAMA_CUDA_TOWER_KEYS % PLAIN_KEYS == 0, "the bias is padded to whole tiles");

/* Shared memory: queries [32][C], then keys or values of a tile [32][C + 1]; f32. The odd element lets lanes read a
 * column of keys from different banks; C is even or odd, so C | 1. */
static __host__ __device__ unsigned
get_plain_ld (unsigned head_width)
{
  return head_width | 1;
}

static size_t
get_plain_bytes (unsigned head_width)
{
  return (MLLAMA_CUDA_TOWER_PLAIN_QUERIES * head_width + PLAIN_KEYS * get_plain_ld (head_width)) * sizeof (float);
}

/* What a lane keeps of its warp's queries. */
template <int N> struct PlainRows {
  float sums[PLAIN_ROWS][N]; /* columns lane, lane + 32 ... */
  float max[PLAIN_ROWS];
  float weights[PLAIN_ROWS]; /* sum over this lane's keys */
};

/* 32 rows from first on, of which those before n count, as f32; the others are zero. */
template <typename T>
__device__ void
load_plain_rows (float *to, unsigned to_ld, const T *rows, size_t ld, unsigned first, unsigned n, unsigned head_width)
{
  for (unsigned row = threadIdx.x / 32; row < 32; row += PLAIN_WARPS)
    for (unsigned c = threadIdx.x % 32; c < head_width; c += 32)
      to[row * to_ld + c] = first + row < n ? to_float (rows[(first + row) * ld + c]) : 0;
}

/* weight: of this lane's key, for each query. */
template <int N>
__device__ void
weigh_plain_keys (float (&weight)[PLAIN_ROWS], PlainRows<N> &rows, const float *q, const float *key,
                  unsigned head_width, float scale, float bias, const unsigned (&limit)[PLAIN_ROWS], unsigned index)
{
  float logits[PLAIN_ROWS] = {};

  for (unsigned c = 0; c < head_width; c++)
#pragma unroll
    for (int r = 0; r < PLAIN_ROWS; r++)
      logits[r] += q[r * head_width + c] * key[c];
#pragma unroll
  for (int r = 0; r < PLAIN_ROWS; r++) {
    float logit = index < limit[r] ? logits[r] * scale + bias : -CUDART_INF_F;
    float max = fmaxf (rows.max[r], warp_max (logit)), factor = expf (rows.max[r] - max);

    weight[r] = expf (logit - max);
    rows.max[r] = max;
    rows.weights[r] = rows.weights[r] * factor + weight[r];
#pragma unroll
    for (int n = 0; n < N; n++)
      rows.sums[r][n] *= factor;
  }
}

template <int N>
__device__ void
add_plain_values (PlainRows<N> &rows, const float (&weight)[PLAIN_ROWS], const float *values, unsigned ld,
                  unsigned head_width)
{
  unsigned lane = threadIdx.x % 32;

  for (int key = 0; key < PLAIN_KEYS; key++) {
    float w[PLAIN_ROWS];

#pragma unroll
    for (int r = 0; r < PLAIN_ROWS; r++)
      w[r] = __shfl_sync (0xffffffff, weight[r], key);
#pragma unroll
    for (int n = 0; n < N; n++) {
      float value = lane + 32 * n < head_width ? values[key * ld + lane + 32 * n] : 0;

#pragma unroll
      for (int r = 0; r < PLAIN_ROWS; r++)
        rows.sums[r][n] += w[r] * value;
    }
  }
}

template <typename T, int N>
__device__ void
store_plain_rows (const PlainRows<N> &rows, const MllamaCudaTowerItem &item, unsigned query, T *a, size_t ld,
                  unsigned head_width)
{
  unsigned lane = threadIdx.x % 32;

#pragma unroll
  for (int r = 0; r < PLAIN_ROWS; r++) {
    float sum = warp_sum (rows.weights[r]), factor = sum == 0 ? 0 : 1 / sum;

    if (query + r < item.n_rows)
#pragma unroll
      for (int n = 0; n < N; n++)
        if (lane + 32 * n < head_width)
          a[(item.first + (size_t) query + r) * ld + lane + 32 * n] = from_float<T> (rows.sums[r][n] * factor);
  }
}

/* N: columns of a lane, 32 * N >= head_width. Grid as in tower-attention.cu. */
template <typename T, int N>
__global__ void
__launch_bounds__ (PLAIN_WARPS * 32)
    tower_attention_plain_lane_per_key (T *a, size_t a_ld, const T *qkv, size_t ld, unsigned n_heads,
                                        unsigned head_width, float scale, MllamaCudaTowerTables tables)
{
  extern __shared__ float plain_shared[];

  wait_for_inputs ();
  let_next_start ();

  const MllamaCudaTowerItem item = tables.items[blockIdx.x / n_heads];
  const size_t width = (size_t) n_heads * head_width, column = (size_t) (blockIdx.x % n_heads) * head_width;
  const T *q = qkv + item.first * ld + column;
  const float *bias = tables.bias + (size_t) item.first_tile * MLLAMA_CUDA_TOWER_KEYS;
  const unsigned n_keys = item.first_query < item.n_real ? item.n_rows : item.n_real;
  const unsigned warp_row = threadIdx.x / 32 * PLAIN_ROWS, query = item.first_query + warp_row;
  const unsigned lane = threadIdx.x % 32, tile_ld = get_plain_ld (head_width);
  float *tile = plain_shared + MLLAMA_CUDA_TOWER_PLAIN_QUERIES * head_width;
  unsigned limit[PLAIN_ROWS];
  PlainRows<N> rows = {};

#pragma unroll
  for (int r = 0; r < PLAIN_ROWS; r++) {
    limit[r] = query + r < item.n_real ? item.n_rows : item.n_real;
    rows.max[r] = -CUDART_INF_F;
  }
  load_plain_rows (plain_shared, head_width, q, ld, item.first_query, item.n_rows, head_width);
  for (unsigned key = 0; key < n_keys; key += PLAIN_KEYS) {
    float weight[PLAIN_ROWS];

    load_plain_rows (tile, tile_ld, q + width, ld, key, n_keys, head_width);
    __syncthreads ();
    weigh_plain_keys (weight, rows, plain_shared + warp_row * head_width, tile + lane * tile_ld, head_width, scale,
                      bias[key + lane], limit, key + lane);
    __syncthreads ();
    load_plain_rows (tile, tile_ld, q + 2 * width, ld, key, n_keys, head_width);
    __syncthreads ();
    add_plain_values (rows, weight, tile, tile_ld, head_width);
    __syncthreads ();
  }
  store_plain_rows (rows, item, query, a + column, a_ld, head_width);
}

template <typename T, int N>
static void
attend_plainly (MllamaCudaBackend *be, MllamaTensor *a, const MllamaTensor *qkv, guint n_heads,
                const MllamaCudaTowerTables *tables)
{
  static const char what[] = "attention of the vision tower";
  void (*kernel) (T *, size_t, const T *, size_t, unsigned, unsigned, float, MllamaCudaTowerTables) =
      tower_attention_plain_lane_per_key<T, N>;
  unsigned head_width = a->width / n_heads;
  size_t bytes = get_plain_bytes (head_width);

  if (mllama_cuda_check (be, cudaFuncSetAttribute (kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), what))
    launch (be, what, kernel, dim3 (tables->n_items * n_heads), dim3 (PLAIN_WARPS * 32), bytes, (T *) a->data, a->ld,
            (const T *) qkv->data, qkv->ld, n_heads, head_width, 1 / sqrtf (head_width), *tables);
}

template <typename T>
static void
attend_plainly (MllamaCudaBackend *be, MllamaTensor *a, const MllamaTensor *qkv, guint n_heads,
                const MllamaCudaTowerTables *tables)
{
  gsize head_width = a->width / n_heads;

  if (head_width <= 64)
    attend_plainly<T, 2> (be, a, qkv, n_heads, tables);
  else if (head_width <= 128)
    attend_plainly<T, 4> (be, a, qkv, n_heads, tables);
  else
    attend_plainly<T, 8> (be, a, qkv, n_heads, tables);
}

} // namespace mllama

void
mllama_cuda_tower_attend_plainly (MllamaCudaBackend *be, MllamaTensor *a, const MllamaTensor *qkv, guint n_heads,
                                  const MllamaCudaTowerTables *tables)
{
  if (be->dtype == MLLAMA_DTYPE_BF16)
    mllama::attend_plainly<mllama::bf16> (be, a, qkv, n_heads, tables);
  else
    mllama::attend_plainly<float> (be, a, qkv, n_heads, tables);
}
