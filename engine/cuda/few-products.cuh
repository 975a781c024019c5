/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Products of few rows: what is multiplied, and what becomes of the sums.
 *
 * The latter are function objects that take, for one token, the sums a and b of a pair of rows of the weight matrix.
 * Their arithmetic is spelled out where the compiler could merge a product and a sum: the bits of a row must not depend
 * on which kernel it went through. */
#pragma once

#include "rope.cuh"

namespace mllama
{

/* Rows of a weight matrix go in pairs (r, r + half): first those that start in rows 0 ... half - 1, then those in
 * 2 half ..., and so on. A pair is a gate and its up, or the two numbers that a rotation mixes. */
struct Pairing {
  unsigned half, n_rows;

  __host__ __device__ unsigned get_n_pairs () const
  {
    return (n_rows + 2 * half - 1) / (2 * half) * half;
  }

  /* Not below n_rows where there is no such pair. */
  __device__ unsigned get_row (unsigned pair) const
  {
    return pair + pair / half * half;
  }
};

/* y = x W^T, as far as the sums. */
template <typename T> struct Product {
  const T *w, *x;
  gsize w_ld, x_ld;
  Pairing pairing;
  const guint32 *n_tokens; /* NULL: n_max */
  unsigned n_max;
};

/* --- what becomes of the sums --- */

/* y[t] = act (sums); U is act, or float for logits. */
template <typename U> struct StoreSums {
  U *y;
  gsize ld;
  unsigned width;

  __device__ void operator() (unsigned token, unsigned row_a, unsigned row_b, float a, float b) const
  {
    U *to = y + token * ld;

    to[row_a] = from_float<U> (a);
    if (row_b < width)
      to[row_b] = from_float<U> (b);
  }
};

/* y[t] = act (y[t] + gate * sums) where (*select)[t]. */
template <typename T> struct AddSums {
  T *y;
  gsize ld;
  unsigned width;
  float gate;
  const guint8 *const *select;

  __device__ void operator() (unsigned token, unsigned row_a, unsigned row_b, float a, float b) const
  {
    T *to = y + token * ld;

    if (select && !(*select)[token])
      return;
    to[row_a] = from_float<T> (fmaf (gate, a, to_float (to[row_a])));
    if (row_b < width)
      to[row_b] = from_float<T> (fmaf (gate, b, to_float (to[row_b])));
  }
};

/* h = act (act (silu (act gate)) * act up): the rounding points of transformers. */
template <typename T> struct StoreSwiglu {
  T *h;
  gsize ld;

  __device__ void operator() (unsigned token, unsigned row, unsigned, float gate, float up) const
  {
    float g = round_to<T> (gate), u = round_to<T> (up);
    float activated = round_to<T> (__fdiv_rn (g, __fadd_rn (1, expf (-g))));

    h[token * ld + row] = from_float<T> (__fmul_rn (activated, u));
  }
};

/* q, k and v as act; then q and k rotated. q to its tensor, k and v to the pages. */
template <typename T> struct RopeAppend {
  T *q;
  gsize q_ld;
  const MllamaCudaPass *pass;
  const float *inv_freq;
  unsigned n_heads, n_kv_heads, half, layer;

  /* The head's C elements, in q or in the pages. */
  __device__ T *find_head (unsigned token, unsigned head, unsigned position) const
  {
    gsize width = 2 * half, kind_and_head = head - n_heads; /* k heads, then v heads, as in a layer of a page */
    gsize row = (2 * gsize (layer) * n_kv_heads + kind_and_head) * MLLAMA_KV_PAGE + position % MLLAMA_KV_PAGE;
    gsize page;

    if (head < n_heads)
      return q + token * q_ld + head * width;
    page = pass->pages[pass->first_page[token] + position / MLLAMA_KV_PAGE];
    return static_cast<T *> (pass->kv) + page * pass->kv_page_elements + row * width;
  }

  __device__ void operator() (unsigned token, unsigned row, unsigned, float a, float b) const
  {
    unsigned head = row / (2 * half), i = row % (2 * half), position = pass->positions[token];
    T *to = find_head (token, head, position), low = from_float<T> (a), high = from_float<T> (b);

    if (head < n_heads + n_kv_heads)
      rotate_pair (low, high, get_rotation<T> (position, inv_freq[i]));
    to[i] = low;
    to[half + i] = high;
  }
};

} // namespace mllama
