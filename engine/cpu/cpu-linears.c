/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Products with what comes before and after them. */
#include "cpu.h"

#include <string.h>

typedef struct {
  MllamaCpuBackend *be;
  MllamaTensor *y;
  const MllamaTensor *x;
  const MllamaWeight *norm_weight, *norm_bias; /* NULL: no norm */
  double eps;
  const MllamaWeight *bias; /* NULL: none */
  float gate;
} Linear;

static void
prepare_copy (gpointer op, gsize row, float *input, guint worker)
{
  const Linear *linear = op;

  memcpy (input, mllama_cpu_tensor_row (linear->x, row), linear->x->width * sizeof (float));
}

static void
prepare_layer_norm (gpointer op, gsize row, float *input, guint worker)
{
  const Linear *linear = op;

  mllama_cpu_layer_norm_row (input, mllama_cpu_tensor_row (linear->x, row), linear->norm_weight->data,
                             linear->norm_bias->data, linear->x->width, linear->eps);
}

static void
prepare_rms_norm (gpointer op, gsize row, float *input, guint worker)
{
  const Linear *linear = op;

  mllama_cpu_rms_norm_row (input, mllama_cpu_tensor_row (linear->x, row), linear->norm_weight->data, linear->x->width,
                           linear->eps);
}

static void
add_bias (const Linear *linear, float *product)
{
  for (gsize i = 0; linear->bias && i < linear->y->width; i++)
    product[i] += linear->bias->data[i];
}

static void
finish_copy (gpointer op, gsize row, float *product, guint worker)
{
  const Linear *linear = op;

  add_bias (linear, product);
  memcpy (mllama_cpu_tensor_row (linear->y, row), product, linear->y->width * sizeof (float));
}

static void
finish_gelu (gpointer op, gsize row, float *product, guint worker)
{
  const Linear *linear = op;

  finish_copy (op, row, product, worker);
  linear->be->vector->gelu (mllama_cpu_tensor_row (linear->y, row), linear->y->width);
}

static void
finish_residual (gpointer op, gsize row, float *product, guint worker)
{
  const Linear *linear = op;
  float *y = mllama_cpu_tensor_row (linear->y, row);

  add_bias (linear, product);
  for (gsize i = 0; i < linear->y->width; i++)
    y[i] += linear->gate * product[i];
}

/* product: gate | up. */
static void
finish_swiglu (gpointer op, gsize row, float *product, guint worker)
{
  const Linear *linear = op;
  gsize f = linear->y->width;

  linear->be->vector->silu_multiply (mllama_cpu_tensor_row (linear->y, row), product, product + f, f);
}

void
mllama_cpu_layer_norm_linear (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, guint n_rows,
                              const MllamaWeight *norm_weight, const MllamaWeight *norm_bias, float eps,
                              const MllamaWeight *w, const MllamaWeight *bias, gboolean gelu)
{
  Linear linear = {mllama_cpu_backend (be), y, x, norm_weight, norm_bias, eps, bias, 1};
  MllamaCpuProduct product = {w, n_rows, NULL, prepare_layer_norm, gelu ? finish_gelu : finish_copy};

  mllama_cpu_multiply (linear.be, &product, &linear);
}

void
mllama_cpu_linear_residual (MllamaBackend *be, MllamaTensor *x, const MllamaTensor *a, guint n_rows,
                            const MllamaWeight *w, const MllamaWeight *bias, float gate)
{
  Linear linear = {mllama_cpu_backend (be), x, a, NULL, NULL, 0, bias, gate};
  MllamaCpuProduct product = {w, n_rows, NULL, prepare_copy, finish_residual};

  mllama_cpu_multiply (linear.be, &product, &linear);
}

void
mllama_cpu_linear_residual_tokens (MllamaBackend *be, MllamaTensor *x, const MllamaTensor *a, const MllamaWeight *w,
                                   float gate, gboolean sighted_only, const MllamaPass *pass)
{
  Linear linear = {mllama_cpu_backend (be), x, a, NULL, NULL, 0, NULL, gate};
  MllamaCpuProduct product = {w, pass->n_tokens, sighted_only ? pass->sees_image : NULL, prepare_copy, finish_residual};

  mllama_cpu_multiply (linear.be, &product, &linear);
}

void
mllama_cpu_linear (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, guint n_rows, const MllamaWeight *w,
                   const MllamaWeight *bias)
{
  Linear linear = {mllama_cpu_backend (be), y, x, NULL, NULL, 0, bias, 1};
  MllamaCpuProduct product = {w, n_rows, NULL, prepare_copy, finish_copy};

  mllama_cpu_multiply (linear.be, &product, &linear);
}

void
mllama_cpu_norm_swiglu (MllamaBackend *be, MllamaTensor *h, const MllamaTensor *x, const MllamaWeight *norm, float eps,
                        const MllamaWeight *w, const MllamaPass *pass)
{
  Linear linear = {mllama_cpu_backend (be), h, x, norm, NULL, eps, NULL, 1};
  MllamaCpuProduct product = {w, pass->n_tokens, NULL, prepare_rms_norm, finish_swiglu};

  mllama_cpu_multiply (linear.be, &product, &linear);
}

void
mllama_cpu_logits (MllamaBackend *be, MllamaTensor *logits, const MllamaTensor *y, const MllamaWeight *w,
                   const MllamaPass *pass)
{
  Linear linear = {mllama_cpu_backend (be), logits, y, NULL, NULL, 0, NULL, 1};
  MllamaCpuProduct product = {w, pass->n_outputs, NULL, prepare_copy, finish_copy};

  mllama_cpu_multiply (linear.be, &product, &linear);
}

void
mllama_cpu_copy_columns (MllamaBackend *be, MllamaTensor *y, guint y_first, guint column, const MllamaTensor *x,
                         guint x_first, guint n_rows)
{
  for (gsize r = 0; r < n_rows; r++)
    memcpy (mllama_cpu_tensor_row (y, y_first + r) + column, mllama_cpu_tensor_row (x, x_first + r),
            x->width * sizeof (float));
}

static guint32
get_id (MllamaBackend *be, const MllamaPass *pass, guint token)
{
  guint32 id = pass->ids[token];

  return id == MLLAMA_ID_DRAWN ? mllama_cpu_backend (be)->drawing.drawn[pass->row_table[pass->rows[token]].slot] : id;
}

void
mllama_cpu_embed_tokens (MllamaBackend *be, MllamaTensor *x, const MllamaWeight *table, const MllamaPass *pass)
{
  for (guint t = 0; t < pass->n_tokens; t++)
    memcpy (mllama_cpu_tensor_row (x, t), table->data + get_id (be, pass, t) * table->ld, x->width * sizeof (float));
}
