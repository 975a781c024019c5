/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attention of the tower: blocks of queries against blocks of keys, with the softmax carried along (Milakov and
 * Gimelshein 2018), so that no score matrix is larger than a block. */
#include "cpu.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#define QUERY_BLOCK   64
#define MAX_KEY_BLOCK 512

typedef struct {
  MllamaCpuBackend *be;
  const MllamaTensor *qkv;
  MllamaTensor *a;
  const MllamaTowerLayout *layout;
  guint n_heads, head_width, key_block;
} Attention;

/* Queries of one sequence that see the same keys. */
typedef struct {
  gsize first, n;          /* rows of the queries */
  gsize first_key, n_keys; /* rows of the keys */
  guint head;
  float *scores;           /* [QUERY_BLOCK][key_block] */
  float *sums;             /* [QUERY_BLOCK][C]: of values, weighted */
  float *maxima, *weights; /* [QUERY_BLOCK]: largest logit so far, sum of the weights */
} Block;

/* Small enough that BLAS stays in this thread. */
static guint
choose_key_block (guint head_width)
{
  guint n = MLLAMA_CPU_SERIAL_SGEMM / QUERY_BLOCK / head_width / 16 * 16;

  return CLAMP (n, 16, MAX_KEY_BLOCK);
}

gsize
mllama_cpu_tower_get_scratch (guint head_width)
{
  return QUERY_BLOCK * ((gsize) choose_key_block (head_width) + head_width + 2);
}

/* Columns of one head's queries (0), keys (1) or values (2). */
static const float *
get_heads (const Attention *attention, gsize row, guint part, guint head)
{
  gsize width = (gsize) attention->n_heads * attention->head_width;

  return mllama_cpu_tensor_row (attention->qkv, row) + part * width + (gsize) head * attention->head_width;
}

/* Weights of the new keys; what was summed up before is scaled to the new maximum. */
static void
update_softmax (const Attention *attention, const Block *block, gsize key, gsize n_keys)
{
  const MllamaVectorOps *vector = attention->be->vector;
  guint c = attention->head_width;

  for (gsize i = 0; i < block->n; i++) {
    float *scores = block->scores + i * attention->key_block;
    float max = vector->add_max (scores, attention->layout->key_bias + key, n_keys, block->maxima[i]);

    if (max > block->maxima[i]) {
      float factor = expf (block->maxima[i] - max);
      block->weights[i] *= factor;
      for (guint k = 0; k < c; k++)
        block->sums[i * c + k] *= factor;
      block->maxima[i] = max;
    }
    block->weights[i] += vector->exp_sum (scores, n_keys, max);
  }
}

static void
absorb_keys (const Attention *attention, const Block *block, gsize key, gsize n_keys)
{
  guint c = attention->head_width;
  gsize ld = attention->qkv->ld;

  cblas_sgemm (CblasRowMajor, CblasNoTrans, CblasTrans, block->n, n_keys, c, 1 / sqrtf (c),
               get_heads (attention, block->first, 0, block->head), ld, get_heads (attention, key, 1, block->head), ld,
               0, block->scores, attention->key_block);
  update_softmax (attention, block, key, n_keys);
  cblas_sgemm (CblasRowMajor, CblasNoTrans, CblasNoTrans, block->n, c, n_keys, 1, block->scores, attention->key_block,
               get_heads (attention, key, 2, block->head), ld, 1, block->sums, c);
}

static void
attend (const Attention *attention, Block *block)
{
  guint c = attention->head_width;

  memset (block->sums, 0, block->n * c * sizeof (float));
  for (gsize i = 0; i < block->n; i++) {
    block->maxima[i] = -INFINITY;
    block->weights[i] = 0;
  }
  for (gsize k = 0; k < block->n_keys; k += attention->key_block)
    absorb_keys (attention, block, block->first_key + k, MIN (attention->key_block, block->n_keys - k));
  for (gsize i = 0; i < block->n; i++) {
    float *out = mllama_cpu_tensor_row (attention->a, block->first + i) + (gsize) block->head * c;
    /* No keys at all leave zero. */
    float factor = block->n_keys > 0 ? 1 / block->weights[i] : 0;

    for (guint k = 0; k < c; k++)
      out[k] = block->sums[i * c + k] * factor;
  }
}

static gsize
count_blocks (gsize n_rows)
{
  return (n_rows + QUERY_BLOCK - 1) / QUERY_BLOCK;
}

/* Blocks of a sequence: those of its real rows, then those of the others, which see real rows only. */
static void
place_block (Block *block, const MllamaSequence *sequence, gsize index)
{
  gsize n_real_blocks = count_blocks (sequence->n_real), from, to;

  if (index < n_real_blocks) {
    from = index * QUERY_BLOCK;
    to = MIN (from + QUERY_BLOCK, sequence->n_real);
    block->n_keys = sequence->n_rows;
  } else {
    from = sequence->n_real + (index - n_real_blocks) * QUERY_BLOCK;
    to = MIN (from + QUERY_BLOCK, sequence->n_rows);
    block->n_keys = sequence->n_real;
  }
  block->first = sequence->first + from;
  block->n = to - from;
  block->first_key = sequence->first;
}

static gsize
count_sequence_blocks (const MllamaSequence *sequence)
{
  return count_blocks (sequence->n_real) + count_blocks (sequence->n_rows - sequence->n_real);
}

/* Items are numbered sequence by sequence, head by head, block by block. */
static void
attend_items (gpointer data, gsize first, gsize n, guint worker)
{
  const Attention *attention = data;
  float *scratch = attention->be->scratch[worker];
  Block block;

  block.scores = scratch;
  block.sums = block.scores + QUERY_BLOCK * attention->key_block;
  block.maxima = block.sums + QUERY_BLOCK * attention->head_width;
  block.weights = block.maxima + QUERY_BLOCK;
  for (gsize item = first; item < first + n; item++) {
    const MllamaSequence *sequence = attention->layout->sequences;
    gsize index = item, n_blocks;

    while (index >= (n_blocks = count_sequence_blocks (sequence)) * attention->n_heads) {
      index -= n_blocks * attention->n_heads;
      sequence++;
    }
    block.head = index / n_blocks;
    place_block (&block, sequence, index % n_blocks);
    attend (attention, &block);
  }
}

void
mllama_cpu_tower_attention (MllamaBackend *be, MllamaTensor *a, const MllamaTensor *qkv, guint n_heads,
                            const MllamaTowerLayout *layout)
{
  Attention attention = {mllama_cpu_backend (be), qkv, a, layout, n_heads, a->width / n_heads};
  gsize n_items = 0;

  attention.key_block = choose_key_block (attention.head_width);
  for (guint i = 0; i < layout->n_sequences; i++)
    n_items += count_sequence_blocks (&layout->sequences[i]) * n_heads;
  mllama_cpu_workers_run (attention.be->workers, n_items, 1, attend_items, &attention);
}
