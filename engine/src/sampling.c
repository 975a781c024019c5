/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sampling.h"

#include <math.h>

struct _MllamaSampler {
  gsize n_logits;
  double *scores;  /* [n_logits] logits after the penalty */
  double *weights; /* [n_logits] exp ((score - largest) / temperature) */
  guint32 *heap;   /* [n_logits] ids not taken yet, the largest on top */
  guint32 *kept;   /* [n_logits] ids that may be drawn */
  gsize n_heap, n_kept;
};

/* A mixing function whose output bits all depend on all input bits (Steele, Lea and Flood 2014; variant 13). */
static guint64
mix (guint64 x)
{
  x = (x ^ (x >> 30)) * G_GUINT64_CONSTANT (0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * G_GUINT64_CONSTANT (0x94d049bb133111eb);
  return x ^ (x >> 31);
}

/* [0, 1), from a counter: no state that companions or earlier draws could disturb. */
static double
draw_uniform (guint64 seed, guint64 position)
{
  guint64 stream = mix (seed + G_GUINT64_CONSTANT (0x9e3779b97f4a7c15));

  return (mix (stream + (position + 1) * G_GUINT64_CONSTANT (0x9e3779b97f4a7c15)) >> 11) * 0x1p-53;
}

/* -inf is a token that cannot be drawn; NaN, +inf, and nothing to draw from are damage. */
static gboolean
find_largest (const float *logits, gsize n, float *largest)
{
  float max = -INFINITY;

  for (gsize i = 0; i < n; i++) {
    if (isnan (logits[i]))
      return FALSE;
    max = MAX (max, logits[i]);
  }
  *largest = max;
  return isfinite (max);
}

static double
sum_exp (const float *logits, gsize n, double largest)
{
  double sum = 0;

  for (gsize i = 0; i < n; i++)
    sum += exp (logits[i] - largest);
  return sum;
}

gsize
mllama_history_get_words (gsize n_logits)
{
  return (n_logits + 31) / 32;
}

void
mllama_history_add (guint32 *history, gsize n_logits, guint32 id)
{
  if (id < n_logits)
    history[id / 32] |= 1u << id % 32;
}

/* A set, so that an id which occurs twice is not punished twice. */
static void
penalise_history (MllamaSampler *sampler, const float *logits, double penalty, const guint32 *history)
{
  for (gsize id = 0; id < sampler->n_logits; id++)
    if (history[id / 32] >> id % 32 & 1)
      sampler->scores[id] = logits[id] < 0 ? logits[id] * penalty : logits[id] / penalty;
}

static guint32
find_best (const double *scores, gsize n)
{
  guint32 best = 0;

  for (gsize i = 1; i < n; i++)
    if (scores[i] > scores[best])
      best = i;
  return best;
}

/* Of equal scores the later id is the larger: transformers drops the tail of an ascending stable sort. */
static gboolean
is_larger (const MllamaSampler *sampler, guint32 a, guint32 b)
{
  double x = sampler->scores[a], y = sampler->scores[b];

  return x > y || (x == y && a > b);
}

static void
sift_down (MllamaSampler *sampler, gsize at)
{
  guint32 *heap = sampler->heap, moving = heap[at];
  gsize child;

  for (; (child = 2 * at + 1) < sampler->n_heap; at = child) {
    if (child + 1 < sampler->n_heap && is_larger (sampler, heap[child + 1], heap[child]))
      child++;
    if (!is_larger (sampler, heap[child], moving))
      break;
    heap[at] = heap[child];
  }
  heap[at] = moving;
}

static void
fill_heap (MllamaSampler *sampler)
{
  sampler->n_heap = sampler->n_logits;
  for (gsize i = 0; i < sampler->n_logits; i++)
    sampler->heap[i] = i;
  for (gsize i = sampler->n_heap / 2; i > 0; i--)
    sift_down (sampler, i - 1);
}

static guint32
take_largest (MllamaSampler *sampler)
{
  guint32 id = sampler->heap[0];

  sampler->heap[0] = sampler->heap[--sampler->n_heap];
  if (sampler->n_heap > 0)
    sift_down (sampler, 0);
  return id;
}

/* The top_k largest, and whatever equals the last of them. */
static double
keep_top_k (MllamaSampler *sampler, guint top_k)
{
  double sum = 0;

  while (sampler->n_heap > 0) {
    guint32 id = sampler->heap[0];
    if (sampler->n_kept >= top_k && sampler->scores[id] < sampler->scores[sampler->kept[sampler->n_kept - 1]])
      break;
    sampler->kept[sampler->n_kept++] = take_largest (sampler);
    sum += sampler->weights[id];
  }
  return sum;
}

/* Ascending, an id is dropped while the share of all up to and with it is at most 1 - top_p. Descending, it is kept
 * while the share of all from it on is larger. sum: of the weights that compete. */
static void
keep_top_p (MllamaSampler *sampler, double top_p, double sum, gboolean from_kept)
{
  gsize n_candidates = from_kept ? sampler->n_kept : sampler->n_logits;
  float dropped_share = 1 - top_p;
  double rest = sum;
  gsize n;

  for (n = 0; n < n_candidates; n++) {
    guint32 id = from_kept ? sampler->kept[n] : sampler->heap[0];
    if (n > 0 && (float) (rest / sum) <= dropped_share)
      break;
    if (!from_kept)
      sampler->kept[n] = take_largest (sampler);
    rest -= sampler->weights[id];
  }
  sampler->n_kept = n;
}

static void
keep_all (MllamaSampler *sampler)
{
  for (gsize i = 0; i < sampler->n_logits; i++)
    sampler->kept[i] = i;
  sampler->n_kept = sampler->n_logits;
}

static double
compute_weights (MllamaSampler *sampler, double temperature, double largest)
{
  double sum = 0;

  for (gsize i = 0; i < sampler->n_logits; i++) {
    sampler->weights[i] = exp ((sampler->scores[i] - largest) / temperature);
    sum += sampler->weights[i];
  }
  return sum;
}

/* Leaves the ids that may be drawn in kept, with their weights. */
static void
keep_candidates (MllamaSampler *sampler, const MllamaSampling *s, double largest)
{
  double sum = compute_weights (sampler, s->temperature, largest);
  gboolean has_top_k = s->top_k > 0 && s->top_k < sampler->n_logits, has_top_p = s->top_p < 1;

  sampler->n_kept = 0;
  if (!has_top_k && !has_top_p) {
    keep_all (sampler);
    return;
  }
  fill_heap (sampler);
  if (has_top_k)
    sum = keep_top_k (sampler, s->top_k);
  if (has_top_p)
    keep_top_p (sampler, s->top_p, sum, has_top_k);
}

static guint32
draw_kept (const MllamaSampler *sampler, double uniform, guint32 best)
{
  double sum = 0, target;

  for (gsize i = 0; i < sampler->n_kept; i++)
    sum += sampler->weights[sampler->kept[i]];
  target = uniform * sum;
  sum = 0;
  for (gsize i = 0; i < sampler->n_kept; i++) {
    sum += sampler->weights[sampler->kept[i]];
    if (sum > target)
      return sampler->kept[i];
  }
  return best; /* uniform * sum was rounded up to sum */
}

MllamaSample
mllama_sampler_draw (MllamaSampler *sampler, const float *logits, const MllamaSampling *sampling,
                     const guint32 *history)
{
  MllamaSample result = {.logprob = NAN};
  float largest;

  if (!find_largest (logits, sampler->n_logits, &largest))
    return result;
  for (gsize i = 0; i < sampler->n_logits; i++)
    sampler->scores[i] = logits[i];
  if (history && sampling->repetition_penalty != 1)
    penalise_history (sampler, logits, sampling->repetition_penalty, history);
  result.id = find_best (sampler->scores, sampler->n_logits);
  if (sampling->temperature > 0) {
    keep_candidates (sampler, sampling, sampler->scores[result.id]);
    result.id = draw_kept (sampler, draw_uniform (sampling->seed, sampling->position), result.id);
  }
  result.logprob = logits[result.id] - (double) largest - log (sum_exp (logits, sampler->n_logits, largest));
  result.finite = TRUE;
  return result;
}

double
mllama_log_softmax_at (const float *logits, gsize n_logits, gsize id)
{
  float largest;

  if (!find_largest (logits, n_logits, &largest))
    return NAN;
  return logits[id] - (double) largest - log (sum_exp (logits, n_logits, largest));
}

MllamaSampler *
mllama_sampler_new (gsize n_logits)
{
  MllamaSampler *sampler = g_new0 (MllamaSampler, 1);

  sampler->n_logits = n_logits;
  sampler->scores = g_new (double, n_logits);
  sampler->weights = g_new (double, n_logits);
  sampler->heap = g_new (guint32, n_logits);
  sampler->kept = g_new (guint32, n_logits);
  return sampler;
}

void
mllama_sampler_free (MllamaSampler *sampler)
{
  if (!sampler)
    return;
  g_free (sampler->scores);
  g_free (sampler->weights);
  g_free (sampler->heap);
  g_free (sampler->kept);
  g_free (sampler);
}
