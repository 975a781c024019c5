/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kernels of products of 1 to MLLAMA_MAX_ROWS rows ("tokens") with a weight matrix: bound by reading the weights once.
 *
 * bf16: mma.sync m16n8k16 with 16 rows of W as M and 8 tokens as N. Each of a block's warps takes every eighth run of
 * 64 columns; their sums are added in shared memory, warp by warp. So the order of a sum follows from ld alone. How
 * many tiles a block has in M and N changes which sums share a block, never their order.
 *
 * The order of columns within an mma is free as long as both operands agree. Here a thread's 16 bytes of a row, columns
 * 8 t ... 8 t + 7 of 32 (t = lane % 4), are its fragments of two mma: weights go from memory to registers 16 bytes at a
 * time, without shared memory between.
 *
 * f32: plain sums, a warp for each pair of rows. */
#pragma once

#include "few-products.cuh"
#include "fragments.cuh"

namespace mllama
{

#define N_WARPS 8  /* that split the columns: part of the order of sums */
#define RUN     64 /* adjacent columns of a warp: ld is a multiple */
#define UNIT    32 /* columns of two mma */

/* How a bucket is cut. The more tokens, the more rows must share the tokens that a block reads. The numbers are the
 * best of those tried on an H100, over the matrices of a layer of the 11B model. */
template <int n_tiles_> struct Shape {
  static constexpr int n_tiles = n_tiles_;             /* of 8 tokens */
  static constexpr int m_tiles = n_tiles == 1 ? 1 : 2; /* of 16 rows */
  static constexpr int n_ahead = n_tiles == 1   ? 8
                                 : n_tiles == 8 ? 2
                                                : 4; /* units of weights on their way to registers: whole runs */
  static constexpr int x_ahead = n_tiles == 1 || n_tiles == 4 ? 4 : 2; /* units of tokens, likewise; divides n_ahead */
  static constexpr int min_blocks = n_tiles <= 2 ? 2 : 1;              /* of a multiprocessor */
  static constexpr int n_added = n_tiles * m_tiles > 8 ? 8 / m_tiles : n_tiles; /* n tiles added over warps at once */
  static constexpr int n_pairs = 64 * m_tiles * n_added; /* of sums added at once: 32 KB at most, over warps */
};

/* Columns from a thread's first to those of its unit ahead. */
__device__ __forceinline__ constexpr unsigned
get_step (int ahead)
{
  return ahead / (RUN / UNIT) * (RUN * N_WARPS) + ahead % (RUN / UNIT) * UNIT;
}

struct Fragment {
  unsigned at[4]; /* 8 bf16 */
};

/* 16 bytes, if they are wanted. Volatile: in flight from where it stands in the program. Not .nc, which may sink below
 * griddepcontrol.wait. */
#define LOAD_FRAGMENT(modifiers, f, from, is_wanted)                                                                   \
  asm volatile("{\n"                                                                                                   \
               ".reg .pred wanted;\n"                                                                                  \
               "setp.ne.u32 wanted, %5, 0;\n"                                                                          \
               "@wanted ld.global" modifiers ".v4.u32 {%0, %1, %2, %3}, [%4];\n"                                       \
               "}"                                                                                                     \
               : "=r"((f).at[0]), "=r"((f).at[1]), "=r"((f).at[2]), "=r"((f).at[3])                                    \
               : "l"(from), "r"(unsigned (is_wanted)))

/* Weights are read once: they bypass L1, which holds the tokens. The other half of the line is wanted next. */
#define LOAD_WEIGHTS(f, from, is_wanted) LOAD_FRAGMENT (".L1::no_allocate.L2::128B", f, from, is_wanted)
#define LOAD_TOKENS(f, from, is_wanted)  LOAD_FRAGMENT ("", f, from, is_wanted)

template <typename S>
__device__ __forceinline__ void
multiply_unit (float (&sums)[S::m_tiles][S::n_tiles][4], const Fragment (&w)[S::m_tiles][2],
               const Fragment (&x)[S::n_tiles])
{
#pragma unroll
  for (int i = 0; i < 2 * S::m_tiles * S::n_tiles; i++) {
    int half = i / (S::m_tiles * S::n_tiles), m = i / S::n_tiles % S::m_tiles, n = i % S::n_tiles;
    const unsigned *low = w[m][0].at + 2 * half, *high = w[m][1].at + 2 * half, *tokens = x[n].at + 2 * half;

    multiply_add (sums[m][n], low[0], high[0], low[1], high[1], tokens[0], tokens[1]);
  }
}

/* Units of a warp's share of the columns; the thread's first column of them. */
__device__ __forceinline__ unsigned
count_units (gsize ld)
{
  unsigned warp = threadIdx.x / 32, n_runs = ld / RUN;

  return warp < n_runs ? ((n_runs - warp - 1) / N_WARPS + 1) * (RUN / UNIT) : 0;
}

__device__ __forceinline__ unsigned
get_first_column ()
{
  return threadIdx.x / 32 * RUN + threadIdx.x % 4 * 8;
}

/* This thread's rows of W, a pair for each m tile, from the column it has come to. Where there is no such row it is row
 * 0, and the sums are left out in the end. */
template <typename S> struct WeightRows {
  const bf16 *at[S::m_tiles][2];

  __device__ explicit WeightRows (const Product<bf16> &p)
  {
#pragma unroll
    for (int i = 0; i < 2 * S::m_tiles; i++) {
      unsigned pair = (blockIdx.x * S::m_tiles + i / 2) * 8 + threadIdx.x % 32 / 4;
      unsigned row = p.pairing.get_row (pair) + i % 2 * p.pairing.half;

      at[i / 2][i % 2] = p.w + (row < p.pairing.n_rows ? row : 0) * p.w_ld + get_first_column ();
    }
  }

  __device__ __forceinline__ void load (Fragment (&w)[S::m_tiles][2], int ahead, bool is_wanted) const
  {
#pragma unroll
    for (int i = 0; i < 2 * S::m_tiles; i++)
      LOAD_WEIGHTS (w[i / 2][i % 2], at[i / 2][i % 2] + get_step (ahead), is_wanted);
  }

  __device__ __forceinline__ void advance ()
  {
#pragma unroll
    for (int i = 0; i < 2 * S::m_tiles; i++)
      at[i / 2][i % 2] += get_step (S::n_ahead);
  }
};

/* This thread's token of each n tile, likewise. */
template <typename S> struct TokenRows {
  const bf16 *at[S::n_tiles];

  __device__ TokenRows (const Product<bf16> &p, unsigned n_tokens)
  {
#pragma unroll
    for (int n = 0; n < S::n_tiles; n++) {
      unsigned token = n * 8 + threadIdx.x % 32 / 4;

      at[n] = p.x + (token < n_tokens ? token : 0) * p.x_ld + get_first_column ();
    }
  }

  __device__ __forceinline__ void load (Fragment (&x)[S::n_tiles], int ahead, bool is_wanted) const
  {
#pragma unroll
    for (int n = 0; n < S::n_tiles; n++)
      LOAD_TOKENS (x[n], at[n] + get_step (ahead), is_wanted);
  }

  __device__ __forceinline__ void advance ()
  {
#pragma unroll
    for (int n = 0; n < S::n_tiles; n++)
      at[n] += get_step (S::n_ahead);
  }
};

/* Adds the warps' sums of n tiles n_first ... n_first + n_added - 1, in the order of the warps, and hands them on. */
template <typename S, typename E>
__device__ __forceinline__ void
add_warps (const float (&sums)[S::m_tiles][S::n_tiles][4], int n_first, const Pairing &pairing, unsigned n_tokens,
           const E &epilogue)
{
  __shared__ float2 parts[N_WARPS][S::n_pairs]; /* [m tile][n tile][of two tokens][lane]: rows r and r + half */
  unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;

#pragma unroll
  for (int i = 0; i < S::n_pairs / 32; i++) {
    const float *four = sums[i / 2 / S::n_added][n_first + i / 2 % S::n_added];
    parts[warp][i * 32 + lane] = make_float2 (four[i % 2], four[i % 2 + 2]);
  }
  __syncthreads ();
  for (unsigned i = threadIdx.x; i < S::n_pairs; i += 32 * N_WARPS) {
    unsigned pair = (blockIdx.x * S::m_tiles + i / (64 * S::n_added)) * 8 + i % 32 / 4, row = pairing.get_row (pair);
    unsigned token = (n_first + i / 64 % S::n_added) * 8 + i % 4 * 2 + i / 32 % 2;
    float2 sum = parts[0][i];

#pragma unroll
    for (int other = 1; other < N_WARPS; other++) {
      sum.x += parts[other][i].x;
      sum.y += parts[other][i].y;
    }
    if (token < n_tokens && row < pairing.n_rows)
      epilogue (token, row, row + pairing.half, sum.x, sum.y);
  }
}

template <typename S, typename E>
__global__ void __launch_bounds__ (32 * N_WARPS, S::min_blocks)
    few_products_columns_over_warps (Product<bf16> p, E epilogue)
{
  WeightRows<S> weights (p);
  Fragment w[S::n_ahead][S::m_tiles][2], x[S::x_ahead][S::n_tiles];
  float sums[S::m_tiles][S::n_tiles][4] = {};
  unsigned n_units = count_units (p.w_ld), n_tokens;

  let_next_start ();
#pragma unroll
  for (int ahead = 0; ahead < S::n_ahead; ahead++)
    weights.load (w[ahead], ahead, ahead < n_units);
  wait_for_inputs ();
  n_tokens = count_rows (p.n_tokens, p.n_max);
  TokenRows<S> tokens (p, n_tokens);

#pragma unroll
  for (int ahead = 0; ahead < S::x_ahead; ahead++)
    tokens.load (x[ahead], ahead, ahead < n_units);

    /* Registers are asked for anew as soon as they have been multiplied. The branch at each run keeps the compiler from
     * gathering those loads at the end of the loop, where none would be in flight. */
#pragma unroll 1
  for (unsigned unit = 0; unit < n_units; unit += S::n_ahead) {
#pragma unroll
    for (int i = 0; i < S::n_ahead; i++) {
      if (i % (RUN / UNIT) == 0 && unit + i >= n_units)
        break;
      multiply_unit<S> (sums, w[i], x[i % S::x_ahead]);
      weights.load (w[i], i + S::n_ahead, unit + i + S::n_ahead < n_units);
      tokens.load (x[i % S::x_ahead], i + S::x_ahead, unit + i + S::x_ahead < n_units);
    }
    weights.advance ();
    tokens.advance ();
  }

#pragma unroll
  for (int n_first = 0; n_first < S::n_tiles; n_first += S::n_added) {
    if (n_first > 0)
      __syncthreads (); /* the last parts have been read */
    add_warps<S> (sums, n_first, p.pairing, n_tokens, epilogue);
  }
}

/* --- f32 --- */

#define TOKENS_AT_ONCE 8

/* a[i] and b[i]: this lane's part of the sums of two rows for the token first + i. */
__device__ __forceinline__ void
add_columns (float (&a)[TOKENS_AT_ONCE], float (&b)[TOKENS_AT_ONCE], const Product<float> &p, const float *row_a,
             const float *row_b, unsigned first, unsigned n_tokens)
{
  for (gsize column = threadIdx.x % 32 * 4; column < p.w_ld; column += 128) {
    Vector<float> wa = load_vector (row_a + column), wb = load_vector (row_b + column);

#pragma unroll
    for (unsigned i = 0; i < TOKENS_AT_ONCE; i++) {
      Vector<float> x = {};

      if (first + i < n_tokens)
        x = load_vector (p.x + (first + i) * p.x_ld + column);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        a[i] = fmaf (wa.at[j], x.at[j], a[i]);
        b[i] = fmaf (wb.at[j], x.at[j], b[i]);
      }
    }
  }
}

template <typename E>
__global__ void __launch_bounds__ (32 * N_WARPS) few_products_warp_per_pair (Product<float> p, E epilogue)
{
  unsigned row = p.pairing.get_row (blockIdx.x * N_WARPS + threadIdx.x / 32), other = row + p.pairing.half;
  unsigned lane = threadIdx.x % 32, n_tokens;
  const float *row_a = p.w + row * p.w_ld, *row_b = other < p.pairing.n_rows ? p.w + other * p.w_ld : row_a;

  let_next_start ();
  wait_for_inputs ();
  if (row >= p.pairing.n_rows)
    return;
  n_tokens = count_rows (p.n_tokens, p.n_max);
  for (unsigned first = 0; first < n_tokens; first += TOKENS_AT_ONCE) {
    float a[TOKENS_AT_ONCE] = {}, b[TOKENS_AT_ONCE] = {}, mine_a = 0, mine_b = 0;

    add_columns (a, b, p, row_a, row_b, first, n_tokens);
#pragma unroll
    for (unsigned i = 0; i < TOKENS_AT_ONCE; i++) {
      float sum_a = warp_sum (a[i]), sum_b = warp_sum (b[i]);

      mine_a = lane == i ? sum_a : mine_a;
      mine_b = lane == i ? sum_b : mine_b;
    }
    if (lane < TOKENS_AT_ONCE && first + lane < n_tokens)
      epilogue (first + lane, row, other, mine_a, mine_b);
  }
}

} // namespace mllama
