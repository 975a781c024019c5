/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rules of a draw (sampling.h), and what its kernels share.
 *
 * Candidates are ordered by score, then id, the larger first. Nothing sorts them: what is looked for (the last of the
 * top_k, the last within top_p, the one that is drawn) is where a sum over the ordered candidates crosses a bound, and
 * that is found in histograms. Weights are integers, so that their sums do not depend on any order: the largest weight
 * is a power of two, chosen so that all of them cannot overflow. */
#pragma once

#include "device.cuh"

#include <float.h>
#include <math.h>

namespace mllama
{

enum {
  DRAW_CHUNK = 4096, /* logits of a block */
  DRAW_THREADS = 256,
  PICK_THREADS = 1024,
  DRAW_BUCKETS = 2048, /* of a histogram */
  BUCKETS_PER_E = 32,  /* of the first: how often it divides a weight's fall by e */
};

/* Of an output, from kernel to kernel. */
struct DrawState {
  double best_score, log_sum;
  float largest; /* logit */
  guint32 best, is_picked;
};

/* A block's logits, or all of them. */
struct Scan {
  double sum; /* of exp (logit - largest) */
  unsigned long long key;
  float largest;
  guint32 id; /* the first of those with the largest score, whose key is key */
  guint32 is_damaged;
};

struct Draw {
  const MllamaCudaPass *pass;
  const float *logits;
  size_t ld;
  unsigned n, n_chunks;
  double unit;       /* the largest weight as an integer */
  guint32 *counters; /* [n_outputs] */
  /* [n_outputs] each */
  DrawState *states;
  Scan *scans;                       /* [n_chunks] */
  unsigned long long *chunk_weights; /* [n_chunks] */
  unsigned long long *weights;       /* [DRAW_BUCKETS] */
  guint32 *counts;                   /* [DRAW_BUCKETS] */
};

/* --- scores --- */

struct DrawRow {
  const float *logits;
  unsigned n;
  const guint32 *history; /* NULL: nothing is punished */
  double penalty, best_score, temperature, unit;
};

/* Integers in the order of scores; equal scores have one key. */
__device__ __forceinline__ unsigned long long
to_key (double score)
{
  unsigned long long bits = __double_as_longlong (score + 0.0); /* -0 + 0 is 0 */

  return bits >> 63 ? ~bits : bits | 1ull << 63;
}

__device__ __forceinline__ double
to_score (unsigned long long key)
{
  return __longlong_as_double (key >> 63 ? key & ~(1ull << 63) : ~key);
}

__device__ __forceinline__ bool
is_punished (const DrawRow &row, unsigned id)
{
  return row.history && row.history[id / 32] >> id % 32 & 1;
}

__device__ __forceinline__ double
get_score (const DrawRow &row, unsigned id, float logit)
{
  if (!is_punished (row, id))
    return logit;
  return logit < 0 ? logit * row.penalty : logit / row.penalty;
}

__device__ __forceinline__ unsigned long long
get_weight (const DrawRow &row, double score)
{
  return __double2ull_rn (exp ((score - row.best_score) / row.temperature) * row.unit);
}

/* Larger scores are in lower buckets. An infinite quotient, and 0 of 0 / 0, have their place. */
__device__ __forceinline__ unsigned
get_bucket (const DrawRow &row, double score)
{
  double distance = (row.best_score - score) * (BUCKETS_PER_E / row.temperature);

  if (!(distance > 0))
    return 0;
  return distance < DRAW_BUCKETS - 1 ? (unsigned) distance : DRAW_BUCKETS - 1;
}

__device__ __forceinline__ DrawRow
get_row (const Draw &p, unsigned output)
{
  const MllamaCudaSampling *sampling = &p.pass->sampling[output];
  DrawRow row = {p.logits + output * p.ld, p.n, NULL, sampling->repetition_penalty, 0, sampling->temperature, p.unit};

  if (row.penalty != 1)
    row.history = p.pass->history + (size_t) sampling->slot * p.pass->history_words;
  return row;
}

/* Four logits of a row; -inf behind its end. Rows of a tensor start and end at multiples of four. */
__device__ __forceinline__ float4
load_logits (const DrawRow &row, unsigned first)
{
  float4 v = make_float4 (-INFINITY, -INFINITY, -INFINITY, -INFINITY);

  if (first < row.n) {
    v = *reinterpret_cast<const float4 *> (row.logits + first);
    v.y = first + 1 < row.n ? v.y : -INFINITY;
    v.z = first + 2 < row.n ? v.z : -INFINITY;
    v.w = first + 3 < row.n ? v.w : -INFINITY;
  }
  return v;
}

/* --- noise --- */

/* As in sampling.c. */
__device__ __forceinline__ unsigned long long
mix (unsigned long long x)
{
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

__device__ __forceinline__ double
draw_uniform (unsigned long long seed, unsigned long long position)
{
  unsigned long long stream = mix (seed + 0x9e3779b97f4a7c15ull);

  return (mix (stream + (position + 1) * 0x9e3779b97f4a7c15ull) >> 11) * 0x1p-53;
}

/* --- sums and bounds --- */

/* Candidates, summed up. */
struct Tally {
  unsigned long long weight;
  unsigned count;
};

__device__ __forceinline__ Tally
add (Tally a, Tally b)
{
  return {a.weight + b.weight, a.count + b.count};
}

/* A bound that sums over the ordered candidates cross once. */
struct Bound {
  enum {
    COUNT,  /* top_k candidates */
    SHARE,  /* what is left is at most dropped_share of total: in float, as transformers has it */
    TARGET, /* more weight than target */
  } of;
  unsigned top_k;
  unsigned long long total;
  float dropped_share;
  double target;
};

__device__ __forceinline__ bool
is_reached (const Bound &bound, Tally sum)
{
  if (bound.of == Bound::COUNT)
    return sum.count >= bound.top_k;
  if (bound.of == Bound::SHARE) {
    unsigned long long rest = bound.total - min (sum.weight, bound.total); /* top_k may have cut within a bucket */
    return (float) ((double) rest / (double) bound.total) <= bound.dropped_share;
  }
  return (double) sum.weight > bound.target;
}

/* --- the end of a draw; one thread --- */

__device__ __forceinline__ void
finish_draw (const Draw &p, unsigned output, guint32 id)
{
  const MllamaCudaPass *pass = p.pass;
  const MllamaCudaSampling *sampling = &pass->sampling[output];
  const DrawState *state = &p.states[output];
  bool is_done = false;

  for (unsigned i = 0; i < sampling->n_stop_ids; i++)
    is_done |= sampling->stop_ids[i] == id;
  pass->samples[output] = {id, p.logits[output * p.ld + id] - (double) state->largest - state->log_sum, TRUE, FALSE};
  pass->drawn[sampling->slot] = id;
  pass->done[sampling->slot] = is_done;
  pass->history[(size_t) sampling->slot * pass->history_words + id / 32] |= 1u << id % 32;
}

/* draw-pick.cu: draws where is_picked. */
void pick (MllamaCudaBackend *be, const Draw &p);

} // namespace mllama
