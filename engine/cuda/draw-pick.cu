/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the sum over the ordered candidates of a row crosses a bound. A block per row: the histogram of all candidates
 * says in which bucket; a bucket of few is sorted, a bucket of many divided by a histogram of its own, and one of
 * equals is counted. */
#include "draw.cuh"

namespace mllama
{

enum {
  LISTED = 2 * PICK_THREADS, /* candidates that are sorted: two of a thread, as with buckets */
  NOWHERE = 0xffffffff,
};

static_assert ((int) LISTED == (int) DRAW_BUCKETS, "two of a thread");

/* Candidates of a bucket whose keys are from low to high. */
struct Range {
  unsigned bucket, n;
  unsigned long long low, high;
  Tally before; /* of all larger candidates */
};

/* The candidate that reaches a bound. */
struct Found {
  unsigned long long key;
  unsigned id, n_equal; /* n_equal candidates after it have its score */
  Tally sum;            /* up to and with it */
};

struct PickShared {
  union {
    struct {
      unsigned long long weights[DRAW_BUCKETS];
      unsigned counts[DRAW_BUCKETS];
    };
    struct {
      unsigned long long keys[LISTED];
      unsigned ids[LISTED];
    };
  };
  Tally warps[PICK_THREADS / 32];
  Tally before, sum;
  unsigned at, n;
  unsigned long long low, high;
};

/* --- sums over the block --- */

static __device__ __forceinline__ Tally
add_warp_prefix (Tally x)
{
#pragma unroll
  for (unsigned lane = 1; lane < 32; lane *= 2) {
    Tally before = {__shfl_up_sync (0xffffffff, x.weight, lane), __shfl_up_sync (0xffffffff, x.count, lane)};
    if (threadIdx.x % 32 >= lane)
      x = add (x, before);
  }
  return x;
}

/* Sum of all threads up to and with this one. */
static __device__ __forceinline__ Tally
add_prefix (Tally x, PickShared &shared)
{
  const unsigned warp = threadIdx.x / 32;

  x = add_warp_prefix (x);
  if (threadIdx.x % 32 == 31)
    shared.warps[warp] = x;
  __syncthreads ();
  if (warp == 0)
    shared.warps[threadIdx.x] = add_warp_prefix (shared.warps[threadIdx.x]);
  __syncthreads ();
  if (warp > 0)
    x = add (x, shared.warps[warp - 1]);
  return x;
}

static __device__ __forceinline__ void
note_crossing (const Bound &bound, Tally before, Tally item, unsigned at, PickShared &shared)
{
  Tally sum = add (before, item);

  /* The first candidate of all is kept whatever the bound. */
  if (item.count > 0 && is_reached (bound, sum) && (before.count == 0 || !is_reached (bound, before))) {
    shared.at = at;
    shared.before = before;
    shared.sum = sum;
  }
}

/* Two items of each thread, in order; start comes before them all. Leaves in shared at which the bound is crossed, or
 * NOWHERE, and the sums before and with it. */
static __device__ __forceinline__ void
find_crossing (const Bound &bound, Tally start, Tally first, Tally second, PickShared &shared)
{
  Tally sum, before;

  if (threadIdx.x == 0)
    shared.at = NOWHERE;
  sum = add (start, add_prefix (add (first, second), shared)); /* a barrier within */
  before = {sum.weight - first.weight - second.weight, sum.count - first.count - second.count};
  note_crossing (bound, before, first, 2 * threadIdx.x, shared);
  note_crossing (bound, add (before, first), second, 2 * threadIdx.x + 1, shared);
  __syncthreads ();
}

/* --- candidates of a range --- */

template <typename F>
static __device__ __forceinline__ void
for_each_in_range (const DrawRow &row, const Range &range, F f)
{
  for (unsigned first = threadIdx.x * 4; first < row.n; first += PICK_THREADS * 4) {
    float4 v = load_logits (row, first);
    float logits[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (unsigned k = 0; k < 4; k++) {
      if (first + k >= row.n)
        continue;
      double score = get_score (row, first + k, logits[k]);
      unsigned long long key = to_key (score);
      if (get_bucket (row, score) == range.bucket && key >= range.low && key <= range.high)
        f (first + k, key);
    }
  }
}

/* --- few: sorted --- */

static __device__ __forceinline__ void
order_pair (PickShared &shared, unsigned a, unsigned b)
{
  unsigned long long key = shared.keys[a];
  unsigned id = shared.ids[a];

  if (key > shared.keys[b] || (key == shared.keys[b] && id > shared.ids[b]))
    return;
  shared.keys[a] = shared.keys[b];
  shared.ids[a] = shared.ids[b];
  shared.keys[b] = key;
  shared.ids[b] = id;
}

/* Batcher's bitonic network, largest first. No candidate has key 0: it fills up the list. */
static __device__ __forceinline__ void
sort_list (PickShared &shared, unsigned n)
{
  unsigned length = 2;

  while (length < n)
    length *= 2;
  for (unsigned i = n + threadIdx.x; i < length; i += PICK_THREADS)
    shared.keys[i] = shared.ids[i] = 0;
  __syncthreads ();
  for (unsigned run = 2; run <= length; run *= 2)
    for (unsigned stride = run / 2; stride > 0; stride /= 2) {
      unsigned a = threadIdx.x / stride * 2 * stride + threadIdx.x % stride;
      if (threadIdx.x < length / 2)
        a &run ? order_pair (shared, a + stride, a) : order_pair (shared, a, a + stride);
      __syncthreads ();
    }
}

static __device__ __forceinline__ Tally
get_listed (const DrawRow &row, const PickShared &shared, unsigned i, unsigned n)
{
  if (i >= n)
    return {};
  return {get_weight (row, to_score (shared.keys[i])), 1};
}

static __device__ __forceinline__ Found
find_listed (const DrawRow &row, const Bound &bound, const Range &range, PickShared &shared)
{
  const unsigned i = 2 * threadIdx.x, n = range.n;

  if (threadIdx.x == 0)
    shared.n = 0;
  __syncthreads ();
  for_each_in_range (row, range, [&] (unsigned id, unsigned long long key) {
    unsigned at = atomicAdd (&shared.n, 1);
    shared.keys[at] = key;
    shared.ids[at] = id;
  });
  sort_list (shared, n);
  find_crossing (bound, range.before, get_listed (row, shared, i, n), get_listed (row, shared, i + 1, n), shared);
  Found found = {shared.keys[shared.at], shared.ids[shared.at], 0, shared.sum};
  found.n_equal = __syncthreads_count (i > shared.at && i < n && shared.keys[i] == found.key);
  found.n_equal += __syncthreads_count (i + 1 > shared.at && i + 1 < n && shared.keys[i + 1] == found.key);
  return found;
}

/* --- equals: counted --- */

/* The rank-th (from 1) of the range's candidates, the largest id first: each thread has a stretch of the ids. */
static __device__ __forceinline__ unsigned
find_rank (const DrawRow &row, const Range &range, unsigned rank, PickShared &shared)
{
  const unsigned length = (row.n + PICK_THREADS - 1) / PICK_THREADS;
  const unsigned skipped = min (threadIdx.x * length, row.n), end = row.n - skipped, start = end - min (length, end);
  unsigned count = 0, before;

  for (unsigned id = start; id < end; id++)
    count += to_key (get_score (row, id, row.logits[id])) == range.low;
  before = add_prefix ({0, count}, shared).count - count;
  if (before < rank && rank <= before + count)
    for (unsigned id = end; id > start; id--)
      if (to_key (get_score (row, id - 1, row.logits[id - 1])) == range.low && ++before == rank)
        shared.at = id - 1;
  __syncthreads ();
  return shared.at;
}

static __device__ __forceinline__ Tally
add_equals (Tally before, unsigned long long weight, unsigned n)
{
  return add (before, {weight * n, n});
}

static __device__ __forceinline__ Found
find_equal (const DrawRow &row, const Bound &bound, const Range &range, PickShared &shared)
{
  unsigned long long weight = get_weight (row, to_score (range.low));
  unsigned low = 1, high = range.n; /* the bound is reached within the range */

  if (range.before.count == 0 && is_reached (bound, {}))
    high = 1;
  while (low < high) {
    unsigned middle = low + (high - low) / 2;
    if (is_reached (bound, add_equals (range.before, weight, middle)))
      high = middle;
    else
      low = middle + 1;
  }
  return {range.low, find_rank (row, range, low, shared), range.n - low, add_equals (range.before, weight, low)};
}

/* --- many: divided --- */

/* To the keys that there are. */
static __device__ __forceinline__ void
tighten (const DrawRow &row, Range &range, PickShared &shared)
{
  unsigned long long low = ~0ull, high = 0;

  if (threadIdx.x == 0) {
    shared.low = low;
    shared.high = high;
  }
  __syncthreads ();
  for_each_in_range (row, range, [&] (unsigned, unsigned long long key) {
    low = min (low, key);
    high = max (high, key);
  });
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) {
    low = min (low, __shfl_xor_sync (0xffffffff, low, lane));
    high = max (high, __shfl_xor_sync (0xffffffff, high, lane));
  }
  if (threadIdx.x % 32 == 0) {
    atomicMin (&shared.low, low);
    atomicMax (&shared.high, high);
  }
  __syncthreads ();
  range.low = shared.low;
  range.high = shared.high;
}

static __device__ __forceinline__ void
flush_digit (PickShared &shared, unsigned digit, Tally tally)
{
  if (tally.count > 0) {
    atomicAdd (&shared.weights[digit], tally.weight);
    atomicAdd (&shared.counts[digit], tally.count);
  }
}

/* A histogram of the range in steps of 1 << shift, from its high end. */
static __device__ __forceinline__ void
count_digits (const DrawRow &row, const Range &range, unsigned shift, PickShared &shared)
{
  unsigned digit = 0;
  Tally tally = {};

  for (unsigned i = threadIdx.x; i < DRAW_BUCKETS; i += PICK_THREADS) {
    shared.weights[i] = 0;
    shared.counts[i] = 0;
  }
  __syncthreads ();
  for_each_in_range (row, range, [&] (unsigned, unsigned long long key) {
    unsigned of_key = (range.high - key) >> shift;
    if (of_key != digit) {
      flush_digit (shared, digit, tally);
      digit = of_key;
      tally = {};
    }
    tally = add (tally, {get_weight (row, to_score (key)), 1});
  });
  flush_digit (shared, digit, tally);
  __syncthreads ();
}

static __device__ __forceinline__ void
divide (const DrawRow &row, const Bound &bound, Range &range, PickShared &shared)
{
  const unsigned i = 2 * threadIdx.x;
  unsigned shift = 0;

  while ((range.high - range.low) >> shift >= DRAW_BUCKETS)
    shift++;
  count_digits (row, range, shift, shared);
  find_crossing (bound, range.before, {shared.weights[i], shared.counts[i]},
                 {shared.weights[i + 1], shared.counts[i + 1]}, shared);
  range.high -= (unsigned long long) shared.at << shift;
  range.low = range.high - min (range.high - range.low, (1ull << shift) - 1);
  range.n = shared.counts[shared.at];
  range.before = shared.before;
  __syncthreads ();
}

/* --- a bound --- */

static __device__ __forceinline__ Found
find (const Draw &p, unsigned output, const DrawRow &row, const Bound &bound, PickShared &shared)
{
  const unsigned long long *weights = p.weights + (size_t) output * DRAW_BUCKETS;
  const guint32 *counts = p.counts + (size_t) output * DRAW_BUCKETS;
  const unsigned i = 2 * threadIdx.x;

  __syncthreads ();
  find_crossing (bound, {}, {weights[i], counts[i]}, {weights[i + 1], counts[i + 1]}, shared);
  Range range = {shared.at, counts[shared.at], 0, ~0ull, shared.before};
  __syncthreads ();
  while (range.n > LISTED) {
    tighten (row, range, shared);
    if (range.low == range.high)
      return find_equal (row, bound, range, shared);
    divide (row, bound, range, shared);
  }
  return find_listed (row, bound, range, shared);
}

/* --- a row --- */

static __device__ __forceinline__ unsigned long long
sum_chunks (const Draw &p, unsigned output)
{
  unsigned long long sum = 0;

  for (unsigned c = 0; c < p.n_chunks; c++)
    sum += p.chunk_weights[(size_t) output * p.n_chunks + c];
  return sum;
}

/* Among all ids, in their order. */
static __device__ __forceinline__ guint32
pick_any (const Draw &p, unsigned output, const DrawRow &row, const Bound &bound, PickShared &shared)
{
  const unsigned long long *chunks = p.chunk_weights + (size_t) output * p.n_chunks;
  Tally before = {0, 0}, first = {}, second = {};
  unsigned chunk = 0;

  while (!is_reached (bound, add (before, {chunks[chunk], 1})))
    before = add (before, {chunks[chunk++], 1});
  const unsigned id = chunk * DRAW_CHUNK + threadIdx.x * 4;
  const float4 v = load_logits (row, id);
  const float logits[4] = {v.x, v.y, v.z, v.w};
  unsigned long long weights[4];
#pragma unroll
  for (unsigned k = 0; k < 4; k++)
    weights[k] = id + k < row.n ? get_weight (row, get_score (row, id + k, logits[k])) : 0;
  first = {weights[0] + weights[1], 2};
  second = {weights[2] + weights[3], 2};
  find_crossing (bound, before, first, second, shared);
  const unsigned pair = chunk * DRAW_CHUNK + shared.at * 2;
  const unsigned long long weight = get_weight (row, get_score (row, pair, row.logits[pair]));
  return is_reached (bound, add (shared.before, {weight, 1})) ? pair : pair + 1;
}

/* The weight of what may be drawn. */
static __device__ __forceinline__ unsigned long long
sum_kept (const Draw &p, unsigned output, const DrawRow &row, bool has_top_k, bool has_top_p, PickShared &shared)
{
  const MllamaCudaSampling *sampling = &p.pass->sampling[output];
  Bound bound = {};

  if (has_top_k) {
    bound.of = Bound::COUNT;
    bound.top_k = sampling->top_k;
    Found found = find (p, output, row, bound, shared);
    bound.total = found.sum.weight + found.n_equal * get_weight (row, to_score (found.key));
  } else {
    bound.total = sum_chunks (p, output);
  }
  if (!has_top_p)
    return bound.total;
  bound.of = Bound::SHARE;
  bound.dropped_share = 1 - sampling->top_p;
  return find (p, output, row, bound, shared).sum.weight;
}

__global__ void
__launch_bounds__ (PICK_THREADS) pick_row_per_block (Draw p)
{
  __shared__ PickShared shared;
  const unsigned output = blockIdx.x;

  wait_for_inputs ();
  let_next_start ();
  if (output >= p.pass->n_outputs || !p.states[output].is_picked)
    return;
  const MllamaCudaSampling *sampling = &p.pass->sampling[output];
  const bool has_top_k = sampling->top_k > 0 && sampling->top_k < p.n, has_top_p = sampling->top_p < 1;
  DrawRow row = get_row (p, output);
  row.best_score = p.states[output].best_score;
  const unsigned long long total = sum_kept (p, output, row, has_top_k, has_top_p, shared);
  Bound bound = {};
  bound.of = Bound::TARGET;
  bound.target = draw_uniform (sampling->seed, sampling->position) * (double) total;
  guint32 id = p.states[output].best; /* the target may have been rounded up to the total */
  if (!is_reached (bound, {total, 0}))
    ;
  else if (has_top_k || has_top_p)
    id = find (p, output, row, bound, shared).id;
  else
    id = pick_any (p, output, row, bound, shared);
  if (threadIdx.x == 0)
    finish_draw (p, output, id);
}

void
pick (MllamaCudaBackend *be, const Draw &p)
{
  launch (be, "draw", pick_row_per_block, dim3 (be->n_max_outputs), dim3 (PICK_THREADS), 0, p);
}

} // namespace mllama
