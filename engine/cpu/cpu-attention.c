/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attention of the decoder, token by token. The queries that share a key/value head meet one block of its keys after
 * the other, with the softmax carried along; blocks are counted from the first key the token sees. */
#include "cpu.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

typedef struct {
  MllamaCpuBackend *be;
  MllamaTensor *a;
  const MllamaTensor *q;
  const MllamaPass *pass;
  guint layer;
  guint n_kv_heads, n_group, head_width; /* n_group query heads share a key/value head */
  guint key_block;
} Attention;

/* One token's queries of one key/value head. */
typedef struct {
  const float *q;          /* [n_group][C] */
  float *a;                /* [n_group][C]: values summed up, weighted */
  float *scores;           /* [MLLAMA_KV_PAGE] */
  float *maxima, *weights; /* [n_group] */
} Group;

gsize
mllama_cpu_attention_get_scratch (guint n_group)
{
  return MLLAMA_KV_PAGE + 2 * (gsize) n_group;
}

/* A power of two, so that pages hold whole blocks; small enough that BLAS stays in this thread. */
static guint
choose_key_block (guint head_width)
{
  guint n = MLLAMA_KV_PAGE;

  while (n > 1 && n * head_width > MLLAMA_CPU_SERIAL_SGEMV)
    n /= 2;
  return n;
}

static void
start_group (const Attention *attention, Group *group, guint token, guint head, float *scratch)
{
  gsize column = (gsize) head * attention->n_group * attention->head_width;

  group->q = mllama_cpu_tensor_row (attention->q, token) + column;
  group->a = mllama_cpu_tensor_row (attention->a, token) + column;
  group->scores = scratch;
  group->maxima = scratch + MLLAMA_KV_PAGE;
  group->weights = group->maxima + attention->n_group;
  memset (group->a, 0, (gsize) attention->n_group * attention->head_width * sizeof (float));
  for (guint g = 0; g < attention->n_group; g++) {
    group->maxima[g] = -INFINITY;
    group->weights[g] = 0;
  }
}

/* keys, values: [n][C]. */
static void
absorb_block (const Attention *attention, const Group *group, const float *keys, const float *values, guint n,
              float bias)
{
  const MllamaVectorOps *vector = attention->be->vector;
  guint c = attention->head_width;

  for (guint g = 0; g < attention->n_group; g++) {
    float *a = group->a + (gsize) g * c, max;

    cblas_sgemv (CblasRowMajor, CblasNoTrans, n, c, 1 / sqrtf (c), keys, c, group->q + (gsize) g * c, 1, 0,
                 group->scores, 1);
    for (guint k = 0; k < n && bias != 0; k++)
      group->scores[k] += bias;
    max = vector->add_max (group->scores, NULL, n, group->maxima[g]);
    if (max > group->maxima[g]) {
      float factor = expf (group->maxima[g] - max);
      group->weights[g] *= factor;
      for (guint k = 0; k < c; k++)
        a[k] *= factor;
      group->maxima[g] = max;
    }
    group->weights[g] += vector->exp_sum (group->scores, n, max);
    cblas_sgemv (CblasRowMajor, CblasTrans, n, c, 1, values, c, group->scores, 1, 1, a, 1);
  }
}

static void
absorb_keys (const Attention *attention, const Group *group, const float *keys, const float *values, guint n,
             float bias)
{
  for (guint k = 0; k < n; k += attention->key_block)
    absorb_block (attention, group, keys + (gsize) k * attention->head_width,
                  values + (gsize) k * attention->head_width, MIN (attention->key_block, n - k), bias);
}

static void
finish_group (const Attention *attention, const Group *group)
{
  guint c = attention->head_width;

  for (guint g = 0; g < attention->n_group; g++)
    for (guint k = 0; k < c; k++)
      group->a[(gsize) g * c + k] /= group->weights[g];
}

/* Items are numbered head by head, token by token: neighbours read the same keys. */
static void
attend_self (gpointer data, gsize first, gsize n, guint worker)
{
  const Attention *attention = data;
  const MllamaPass *pass = attention->pass;
  Group group;

  for (gsize item = first; item < first + n; item++) {
    guint head = item / pass->n_tokens, token = item % pass->n_tokens;
    const guint32 *pages = pass->row_table[pass->rows[token]].pages;
    guint n_keys = pass->positions[token] + 1;

    start_group (attention, &group, token, head, attention->be->scratch[worker]);
    for (guint k = 0; k < n_keys; k += MLLAMA_KV_PAGE) {
      guint32 page = pages[k / MLLAMA_KV_PAGE];
      absorb_keys (attention, &group, mllama_cpu_kv_part (pass->kv, page, attention->layer, MLLAMA_CPU_KEYS, head),
                   mllama_cpu_kv_part (pass->kv, page, attention->layer, MLLAMA_CPU_VALUES, head),
                   MIN (MLLAMA_KV_PAGE, n_keys - k), 0);
    }
    finish_group (attention, &group);
  }
}

static void
attend_cross (gpointer data, gsize first, gsize n, guint worker)
{
  const Attention *attention = data;
  const MllamaPass *pass = attention->pass;
  Group group;

  for (gsize item = first; item < first + n; item++) {
    guint head = item / pass->n_tokens, token = item % pass->n_tokens, n_keys = 0;

    start_group (attention, &group, token, head, attention->be->scratch[worker]);
    for (guint s = 0; s < pass->n_spans[token]; s++) {
      const MllamaKeySpan *span = &pass->spans[pass->first_span[token] + s];
      gsize offset = (gsize) span->first * attention->head_width;
      absorb_keys (attention, &group,
                   mllama_cpu_slab_part (span->slab, attention->layer, MLLAMA_CPU_KEYS, head) + offset,
                   mllama_cpu_slab_part (span->slab, attention->layer, MLLAMA_CPU_VALUES, head) + offset, span->n_keys,
                   span->bias);
      n_keys += span->n_keys;
    }
    if (n_keys > 0)
      finish_group (attention, &group);
  }
}

/* n_keys in all: the work to be shared out. */
static void
run (MllamaBackend *be, MllamaTensor *a, const MllamaTensor *q, guint layer, const MllamaPass *pass, guint64 n_keys,
     MllamaCpuTask task)
{
  const MllamaTextConfig *config = &be->config->text;
  Attention attention = {mllama_cpu_backend (be),
                         a,
                         q,
                         pass,
                         layer,
                         config->n_kv_heads,
                         config->n_heads / config->n_kv_heads,
                         config->head_width,
                         choose_key_block (config->head_width)};
  gsize n_items = (gsize) attention.n_kv_heads * pass->n_tokens;
  /* Two products, and an exponential that takes as long as some ten multiply-adds. */
  guint64 work = n_keys * attention.n_group * (2 * attention.head_width + 10);

  mllama_cpu_workers_run (attention.be->workers, n_items, MLLAMA_CPU_TASK / (work / MAX (pass->n_tokens, 1) + 1), task,
                          &attention);
}

void
mllama_cpu_self_attention (MllamaBackend *be, MllamaTensor *a, const MllamaTensor *q, guint layer,
                           const MllamaPass *pass)
{
  guint64 n_keys = 0;

  for (guint t = 0; t < pass->n_tokens; t++)
    n_keys += pass->positions[t] + 1;
  run (be, a, q, layer, pass, n_keys, attend_self);
}

void
mllama_cpu_cross_attention (MllamaBackend *be, MllamaTensor *a, const MllamaTensor *q, guint layer,
                            const MllamaPass *pass)
{
  guint64 n_keys = 0;

  for (guint t = 0; t < pass->n_tokens; t++)
    for (guint s = 0; s < pass->n_spans[t]; s++)
      n_keys += pass->spans[pass->first_span[t] + s].n_keys;
  run (be, a, q, layer, pass, n_keys, attend_cross);
}
