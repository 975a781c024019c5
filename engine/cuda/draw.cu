/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Drawing ids, one for each output. A first kernel looks at all logits: the largest, the sum of their exponentials,
 * the best score. Greedy rows end there. For the others a second one takes histograms of the candidates' weights, and
 * a third, draw-pick.cu, finds the id in them. */
#include "draw.cuh"

namespace mllama
{

enum {
  DRAW_WARPS = DRAW_THREADS / 32,
  DRAW_VECTORS = DRAW_CHUNK / (4 * DRAW_THREADS), /* of four logits, of a thread */
};

/* --- all logits --- */

struct ScanShared {
  Scan warps[DRAW_WARPS];
  double sums[DRAW_WARPS];
  bool is_last;
};

/* sum aside. */
__device__ __forceinline__ Scan
merge (Scan a, Scan b)
{
  if (b.key > a.key || (b.key == a.key && b.id < a.id)) {
    a.key = b.key;
    a.id = b.id;
  }
  a.largest = fmaxf (a.largest, b.largest);
  a.is_damaged |= b.is_damaged;
  return a;
}

/* Over the block, the same in all threads. */
static __device__ __forceinline__ Scan
merge_block (Scan scan, ScanShared &shared)
{
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) {
    Scan other = {};
    other.key = __shfl_xor_sync (0xffffffff, scan.key, lane);
    other.largest = __shfl_xor_sync (0xffffffff, scan.largest, lane);
    other.id = __shfl_xor_sync (0xffffffff, scan.id, lane);
    other.is_damaged = __shfl_xor_sync (0xffffffff, scan.is_damaged, lane);
    scan = merge (scan, other);
  }
  if (threadIdx.x % 32 == 0)
    shared.warps[threadIdx.x / 32] = scan;
  __syncthreads ();
  for (int w = 0; w < DRAW_WARPS; w++)
    scan = merge (scan, shared.warps[w]);
  return scan;
}

static __device__ __forceinline__ double
sum_block (double x, ScanShared &shared)
{
  double sum = 0;

#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2)
    x += __shfl_xor_sync (0xffffffff, x, lane);
  if (threadIdx.x % 32 == 0)
    shared.sums[threadIdx.x / 32] = x;
  __syncthreads ();
  for (int w = 0; w < DRAW_WARPS; w++)
    sum += shared.sums[w];
  return sum;
}

static __device__ __forceinline__ void
scan_logit (Scan &scan, const DrawRow &row, unsigned id, float logit)
{
  unsigned long long key = to_key (get_score (row, id, logit));

  if (key > scan.key) {
    scan.key = key;
    scan.id = id;
  }
  scan.largest = fmaxf (scan.largest, logit);
  scan.is_damaged |= !(logit < INFINITY); /* NaN too */
}

static __device__ __forceinline__ Scan
scan_chunk (const DrawRow &row, ScanShared &shared)
{
  Scan scan = {0, 0, -INFINITY, G_MAXUINT32, 0};
  float4 v[DRAW_VECTORS];
  double sum = 0;

#pragma unroll
  for (int i = 0; i < DRAW_VECTORS; i++)
    v[i] = load_logits (row, blockIdx.x * DRAW_CHUNK + (i * DRAW_THREADS + threadIdx.x) * 4);
#pragma unroll
  for (int i = 0; i < DRAW_VECTORS; i++) {
    unsigned first = blockIdx.x * DRAW_CHUNK + (i * DRAW_THREADS + threadIdx.x) * 4;
    if (first >= row.n)
      continue;
    scan_logit (scan, row, first, v[i].x);
    if (first + 1 < row.n)
      scan_logit (scan, row, first + 1, v[i].y);
    if (first + 2 < row.n)
      scan_logit (scan, row, first + 2, v[i].z);
    if (first + 3 < row.n)
      scan_logit (scan, row, first + 3, v[i].w);
  }
  scan = merge_block (scan, shared);
#pragma unroll
  for (int i = 0; i < DRAW_VECTORS && scan.largest > -INFINITY; i++)
    sum += (expf (v[i].x - scan.largest) + expf (v[i].y - scan.largest)) +
           (expf (v[i].z - scan.largest) + expf (v[i].w - scan.largest));
  scan.sum = sum_block (sum, shared);
  return scan;
}

/* Of the blocks of a row. Scans are read past the first-level cache, which may not know of them yet. */
static __device__ __forceinline__ Scan
merge_chunks (const Scan *scans, unsigned n_chunks, ScanShared &shared)
{
  Scan scan = {0, 0, -INFINITY, G_MAXUINT32, 0};
  double sum = 0;

  for (unsigned c = threadIdx.x; c < n_chunks; c += DRAW_THREADS) {
    const Scan *from = &scans[c];
    scan =
        merge (scan, {0, __ldcg (&from->key), __ldcg (&from->largest), __ldcg (&from->id), __ldcg (&from->is_damaged)});
  }
  scan = merge_block (scan, shared);
  for (unsigned c = threadIdx.x; c < n_chunks && scan.largest > -INFINITY; c += DRAW_THREADS)
    sum += __ldcg (&scans[c].sum) * exp ((double) __ldcg (&scans[c].largest) - scan.largest);
  scan.sum = sum_block (sum, shared);
  return scan;
}

/* One thread. */
static __device__ __forceinline__ void
finish_scan (const Draw &p, unsigned output, const Scan &scan)
{
  const MllamaCudaSampling *sampling = &p.pass->sampling[output];
  DrawState *state = &p.states[output];
  bool is_finite = !scan.is_damaged && scan.largest > -INFINITY;

  *state = {to_score (scan.key), log (scan.sum), scan.largest, scan.id, is_finite && sampling->temperature > 0};
  if (!is_finite) {
    p.pass->samples[output] = {0, nan (""), FALSE, FALSE};
    p.pass->done[sampling->slot] = FALSE;
  } else if (!state->is_picked) {
    finish_draw (p, output, scan.id);
  }
}

static __device__ __forceinline__ void
clear_buckets (const Draw &p, unsigned output)
{
  for (unsigned i = blockIdx.x * DRAW_THREADS + threadIdx.x; i < DRAW_BUCKETS; i += gridDim.x * DRAW_THREADS) {
    p.weights[(size_t) output * DRAW_BUCKETS + i] = 0;
    p.counts[(size_t) output * DRAW_BUCKETS + i] = 0;
  }
}

/* Whether the block is the last of its row to have stored; then it sees what all stored. */
static __device__ __forceinline__ bool
is_last_block (guint32 *counter, ScanShared &shared)
{
  if (threadIdx.x == 0) {
    __threadfence ();
    shared.is_last = atomicAdd (counter, 1) == gridDim.x - 1;
    if (shared.is_last)
      *counter = 0;
    __threadfence ();
  }
  __syncthreads ();
  return shared.is_last;
}

__global__ void
__launch_bounds__ (DRAW_THREADS) scan_chunk_per_block (Draw p)
{
  __shared__ ScanShared shared;
  const unsigned output = blockIdx.y;

  wait_for_inputs ();
  let_next_start ();
  if (output >= p.pass->n_outputs)
    return;
  const MllamaCudaSampling *sampling = &p.pass->sampling[output];
  if (!sampling->is_first && p.pass->done[sampling->slot]) {
    if (blockIdx.x == 0 && threadIdx.x == 0) {
      p.pass->samples[output] = {0, 0, FALSE, TRUE};
      p.states[output].is_picked = FALSE;
    }
    return;
  }
  if (sampling->temperature > 0)
    clear_buckets (p, output);
  Scan *scans = p.scans + (size_t) output * p.n_chunks;
  Scan scan = scan_chunk (get_row (p, output), shared);
  if (threadIdx.x == 0)
    scans[blockIdx.x] = scan;
  if (!is_last_block (&p.counters[output], shared))
    return;
  scan = merge_chunks (scans, p.n_chunks, shared);
  if (threadIdx.x == 0)
    finish_scan (p, output, scan);
}

/* --- histograms --- */

struct HistogramShared {
  unsigned long long weights[DRAW_BUCKETS], chunk;
  unsigned counts[DRAW_BUCKETS];
};

static __device__ __forceinline__ void
flush (HistogramShared &shared, unsigned bucket, Tally tally)
{
  if (tally.count > 0) {
    atomicAdd (&shared.weights[bucket], tally.weight);
    atomicAdd (&shared.counts[bucket], tally.count);
  }
}

/* Equal neighbours go in as one, lest a row of equal logits queues for one bucket. Returns the warp's weight. */
static __device__ __forceinline__ unsigned long long
count_chunk (const DrawRow &row, HistogramShared &shared)
{
  unsigned long long sum = 0;
  unsigned bucket = 0;
  Tally tally = {};

  for (int i = 0; i < DRAW_VECTORS; i++) {
    unsigned first = blockIdx.x * DRAW_CHUNK + (i * DRAW_THREADS + threadIdx.x) * 4;
    float4 v = load_logits (row, first);
    float logits[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (first + k >= row.n)
        continue;
      double score = get_score (row, first + k, logits[k]);
      unsigned long long weight = get_weight (row, score);
      if (get_bucket (row, score) != bucket) {
        flush (shared, bucket, tally);
        bucket = get_bucket (row, score);
        tally = {};
      }
      tally = add (tally, {weight, 1});
      sum += weight;
    }
  }
  flush (shared, bucket, tally);
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2)
    sum += __shfl_xor_sync (0xffffffff, sum, lane);
  return sum;
}

__global__ void
__launch_bounds__ (DRAW_THREADS) count_chunk_per_block (Draw p)
{
  __shared__ HistogramShared shared;
  const unsigned output = blockIdx.y;

  wait_for_inputs ();
  let_next_start ();
  if (output >= p.pass->n_outputs || !p.states[output].is_picked)
    return;
  DrawRow row = get_row (p, output);
  row.best_score = p.states[output].best_score;
  for (unsigned i = threadIdx.x; i < DRAW_BUCKETS; i += DRAW_THREADS) {
    shared.weights[i] = 0;
    shared.counts[i] = 0;
  }
  if (threadIdx.x == 0)
    shared.chunk = 0;
  __syncthreads ();
  const unsigned long long weight = count_chunk (row, shared);
  if (threadIdx.x % 32 == 0)
    atomicAdd (&shared.chunk, weight);
  __syncthreads ();
  if (threadIdx.x == 0)
    p.chunk_weights[(size_t) output * p.n_chunks + blockIdx.x] = shared.chunk;
  for (unsigned i = threadIdx.x; i < DRAW_BUCKETS; i += DRAW_THREADS)
    if (shared.counts[i] > 0) {
      atomicAdd (&p.weights[(size_t) output * DRAW_BUCKETS + i], shared.weights[i]);
      atomicAdd (&p.counts[(size_t) output * DRAW_BUCKETS + i], shared.counts[i]);
    }
}

/* --- launches --- */

/* For as many outputs as there can ever be, so that the address never changes. */
static bool
get_scratch (MllamaCudaBackend *be, Draw *p)
{
  gsize n_scans = (gsize) MLLAMA_MAX_ROWS * p->n_chunks, n_buckets = (gsize) MLLAMA_MAX_ROWS * DRAW_BUCKETS;
  gsize n_bytes = MLLAMA_MAX_ROWS * sizeof (DrawState) + n_scans * (sizeof (Scan) + sizeof (guint64)) +
                  n_buckets * (sizeof (guint64) + sizeof (guint32));

  p->states = (DrawState *) mllama_cuda_get_scratch (be, MLLAMA_CUDA_SCRATCH_DRAW, n_bytes);
  p->counters =
      (guint32 *) mllama_cuda_get_scratch (be, MLLAMA_CUDA_SCRATCH_COUNTERS, MLLAMA_MAX_ROWS * sizeof (guint32));
  p->scans = (Scan *) (p->states + MLLAMA_MAX_ROWS);
  p->chunk_weights = (unsigned long long *) (p->scans + n_scans);
  p->weights = p->chunk_weights + n_scans;
  p->counts = (guint32 *) (p->weights + n_buckets);
  return p->states && p->counters;
}

static void
draw (MllamaCudaBackend *be, const MllamaTensor *logits)
{
  Draw p = {};
  unsigned bits = 0;

  while (bits < 32 && (gsize) 1 << bits < logits->width)
    bits++;
  p.pass = be->pass;
  p.logits = (const float *) logits->data;
  p.ld = logits->ld;
  p.n = logits->width;
  p.n_chunks = (p.n + DRAW_CHUNK - 1) / DRAW_CHUNK;
  p.unit = ldexp (1.0, 62 - (int) bits);
  if (!get_scratch (be, &p))
    return;
  launch (be, "draw", scan_chunk_per_block, dim3 (p.n_chunks, be->n_max_outputs), dim3 (DRAW_THREADS), 0, p);
  launch (be, "draw", count_chunk_per_block, dim3 (p.n_chunks, be->n_max_outputs), dim3 (DRAW_THREADS), 0, p);
  pick (be, p);
}

} // namespace mllama

extern "C" void
mllama_cuda_draw (MllamaBackend *backend, const MllamaTensor *logits, const MllamaPass *pass)
{
  MllamaCudaBackend *be = mllama_cuda_backend (backend);

  if (be->n_max_outputs > 0)
    mllama::draw (be, logits);
}
