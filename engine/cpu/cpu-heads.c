/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Queries, keys and values of the decoder. */
#include "cpu.h"

#include <string.h>

typedef struct {
  MllamaCpuBackend *be;
  MllamaTensor *q;
  const MllamaTensor *x;
  const MllamaWeight *norm, *head_norm;
  float eps;
  guint layer, n_heads, n_kv_heads, head_width;
  const MllamaPass *pass;
  MllamaSlab *slab;
  guint x_first;
} Heads;

static void
prepare_normed (gpointer op, gsize row, float *input, guint worker)
{
  const Heads *heads = op;

  mllama_cpu_rms_norm_row (input, mllama_cpu_tensor_row (heads->x, row), heads->norm->data, heads->x->width,
                           heads->eps);
}

static void
prepare_states (gpointer op, gsize row, float *input, guint worker)
{
  const Heads *heads = op;

  memcpy (input, mllama_cpu_tensor_row (heads->x, heads->x_first + row), heads->x->width * sizeof (float));
}

/* product: q | k | v. */
static void
finish_self (gpointer op, gsize token, float *product, guint worker)
{
  const Heads *heads = op;
  const MllamaPass *pass = heads->pass;
  gsize c = heads->head_width, q_width = heads->n_heads * c;
  guint32 position = pass->positions[token];
  guint32 page = pass->row_table[pass->rows[token]].pages[position / MLLAMA_KV_PAGE];
  gsize slot = position % MLLAMA_KV_PAGE;
  float *keys = product + q_width, *values = keys + heads->n_kv_heads * c;
  float *cosines = heads->be->scratch[worker], *sines = cosines + c / 2;

  mllama_cpu_rope_get_angles (heads->be->inv_freq, c, position, cosines, sines);
  for (guint h = 0; h < heads->n_heads + heads->n_kv_heads; h++)
    mllama_cpu_rope_rotate (product + h * c, c, cosines, sines);
  memcpy (mllama_cpu_tensor_row (heads->q, token), product, q_width * sizeof (float));
  for (guint h = 0; h < heads->n_kv_heads; h++) {
    memcpy (mllama_cpu_kv_part (pass->kv, page, heads->layer, MLLAMA_CPU_KEYS, h) + slot * c, keys + h * c,
            c * sizeof (float));
    memcpy (mllama_cpu_kv_part (pass->kv, page, heads->layer, MLLAMA_CPU_VALUES, h) + slot * c, values + h * c,
            c * sizeof (float));
  }
}

static void
finish_q (gpointer op, gsize token, float *product, guint worker)
{
  const Heads *heads = op;
  gsize c = heads->head_width;

  for (guint h = 0; h < heads->n_heads; h++)
    mllama_cpu_rms_norm_row (mllama_cpu_tensor_row (heads->q, token) + h * c, product + h * c, heads->head_norm->data,
                             c, heads->eps);
}

/* product: k | v. */
static void
finish_cross (gpointer op, gsize key, float *product, guint worker)
{
  const Heads *heads = op;
  gsize c = heads->head_width;
  const float *values = product + heads->n_kv_heads * c;

  for (guint h = 0; h < heads->n_kv_heads; h++) {
    mllama_cpu_rms_norm_row (mllama_cpu_slab_part (heads->slab, heads->layer, MLLAMA_CPU_KEYS, h) + key * c,
                             product + h * c, heads->head_norm->data, c, heads->eps);
    memcpy (mllama_cpu_slab_part (heads->slab, heads->layer, MLLAMA_CPU_VALUES, h) + key * c, values + h * c,
            c * sizeof (float));
  }
}

static void
init_heads (Heads *heads, MllamaBackend *be, guint layer, float eps)
{
  const MllamaTextConfig *config = &be->config->text;

  *heads = (Heads){.be = mllama_cpu_backend (be),
                   .eps = eps,
                   .layer = layer,
                   .n_heads = config->n_heads,
                   .n_kv_heads = config->n_kv_heads,
                   .head_width = config->head_width};
}

void
mllama_cpu_norm_qkv_rope (MllamaBackend *be, MllamaTensor *q, const MllamaTensor *x, const MllamaWeight *norm,
                          float eps, const MllamaWeight *w, guint layer, const MllamaPass *pass)
{
  MllamaCpuProduct product = {w, pass->n_tokens, NULL, prepare_normed, finish_self};
  Heads heads;

  init_heads (&heads, be, layer, eps);
  heads.q = q;
  heads.x = x;
  heads.norm = norm;
  heads.pass = pass;
  mllama_cpu_multiply (heads.be, &product, &heads);
}

void
mllama_cpu_norm_q_heads (MllamaBackend *be, MllamaTensor *q, const MllamaTensor *x, const MllamaWeight *norm, float eps,
                         const MllamaWeight *w, const MllamaWeight *q_norm, const MllamaPass *pass)
{
  MllamaCpuProduct product = {w, pass->n_tokens, NULL, prepare_normed, finish_q};
  Heads heads;

  init_heads (&heads, be, 0, eps);
  heads.q = q;
  heads.x = x;
  heads.norm = norm;
  heads.head_norm = q_norm;
  mllama_cpu_multiply (heads.be, &product, &heads);
}

void
mllama_cpu_cross_keys_values (MllamaBackend *be, MllamaSlab *slab, guint layer, const MllamaTensor *y, guint y_first,
                              const MllamaWeight *w, const MllamaWeight *k_norm, float eps)
{
  MllamaCpuProduct product = {w, slab->n_keys, NULL, prepare_states, finish_cross};
  Heads heads;

  init_heads (&heads, be, layer, eps);
  heads.x = y;
  heads.x_first = y_first;
  heads.head_norm = k_norm;
  heads.slab = slab;
  mllama_cpu_multiply (heads.be, &product, &heads);
}
