/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

/* Columns of one sgemv: longer rows are summed up in pieces, so that some rows of the weight fit into the limit. */
#define SGEMV_COLUMNS (MLLAMA_CPU_SERIAL_SGEMV / 4)

typedef struct {
  MllamaCpuBackend *be;
  const MllamaWeight *w;
  gsize n_rows, slice_rows;
  const guint8 *select;
} Slices;

static gboolean
is_selected (const guint8 *select, gsize row)
{
  return !select || select[row];
}

static gsize
get_input_ld (const MllamaWeight *w)
{
  return mllama_cpu_round_up (w->width);
}

static gsize
get_output_ld (const MllamaWeight *w)
{
  return mllama_cpu_round_up (w->n_rows);
}

static gboolean
reserve (float **buffer, gsize *n_floats, gsize ld, GError **error)
{
  gsize needed = ld * MLLAMA_CPU_BLOCK;
  float *larger;

  if (needed <= *n_floats)
    return TRUE;
  if (!(larger = mllama_cpu_alloc (MLLAMA_CPU_BLOCK, ld, "the work space of a product", error)))
    return FALSE;
  free (*buffer);
  *buffer = larger;
  *n_floats = needed;
  return TRUE;
}

gboolean
mllama_cpu_reserve_product (MllamaCpuBackend *be, const MllamaWeight *w, GError **error)
{
  return reserve (&be->inputs, &be->n_inputs, get_input_ld (w), error) &&
         reserve (&be->outputs, &be->n_outputs, get_output_ld (w), error);
}

/* Rows that are missing or not selected are zero: what they hold must not meet the other rows, not even as NaN. */
static void
prepare_rows (MllamaCpuBackend *be, const MllamaCpuProduct *product, gsize first, gsize n_rows, gsize n_padded,
              gpointer op)
{
  gsize ld = get_input_ld (product->w);

  for (gsize r = 0; r < n_padded; r++) {
    if (r < n_rows && is_selected (product->select, first + r))
      product->prepare (op, first + r, be->inputs + r * ld);
    else
      memset (be->inputs + r * ld, 0, product->w->width * sizeof (float));
  }
}

static void
finish_rows (MllamaCpuBackend *be, const MllamaCpuProduct *product, gsize first, gsize n_rows, gpointer op)
{
  gsize ld = get_output_ld (product->w);

  for (gsize r = 0; r < n_rows; r++)
    if (is_selected (product->select, first + r))
      product->finish (op, first + r, be->outputs + r * ld);
}

/* One shape for every block: the bits of a row depend neither on the other rows nor on how many there are. */
static void
multiply_block (MllamaCpuBackend *be, const MllamaWeight *w)
{
  cblas_sgemm (CblasRowMajor, CblasNoTrans, CblasTrans, MLLAMA_CPU_BLOCK, w->n_rows, w->width, 1, be->inputs,
               get_input_ld (w), w->data, w->ld, 0, be->outputs, get_output_ld (w));
}

/* Rows of the weight in slices that stay in the cache while every input meets them. */
static void
multiply_slices (gpointer data, gsize first, gsize n, guint worker)
{
  const Slices *s = data;
  const MllamaWeight *w = s->w;

  for (gsize o = first * s->slice_rows; o < MIN ((first + n) * s->slice_rows, w->n_rows); o += s->slice_rows)
    for (gsize r = 0; r < s->n_rows; r++) {
      const float *x = s->be->inputs + r * get_input_ld (w);
      float *y = s->be->outputs + r * get_output_ld (w) + o;

      if (!is_selected (s->select, r))
        continue;
      for (gsize c = 0; c < w->width; c += SGEMV_COLUMNS)
        cblas_sgemv (CblasRowMajor, CblasNoTrans, MIN (s->slice_rows, w->n_rows - o), MIN (SGEMV_COLUMNS, w->width - c),
                     1, w->data + o * w->ld + c, w->ld, x + c, 1, c > 0, y, 1);
    }
}

static void
multiply_rows (MllamaCpuBackend *be, const MllamaCpuProduct *product, gsize first, gsize n_rows)
{
  const MllamaWeight *w = product->w;
  Slices slices = {be, w, n_rows, 0, product->select ? product->select + first : NULL};
  gsize n_columns = MAX (MIN (w->width, SGEMV_COLUMNS), 1), n_slices;

  slices.slice_rows = MAX (MLLAMA_CPU_SERIAL_SGEMV / n_columns, 4) / 4 * 4;
  slices.slice_rows = MIN (slices.slice_rows, 64);
  n_slices = (w->n_rows + slices.slice_rows - 1) / slices.slice_rows;
  mllama_cpu_workers_run (be->workers, n_slices, MLLAMA_CPU_TASK / (slices.slice_rows * MAX (w->width, 1) * n_rows),
                          multiply_slices, &slices);
}

static gboolean
is_any_selected (const guint8 *select, gsize first, gsize n_rows)
{
  for (gsize r = 0; r < n_rows; r++)
    if (is_selected (select, first + r))
      return TRUE;
  return FALSE;
}

void
mllama_cpu_multiply (MllamaCpuBackend *be, const MllamaCpuProduct *product, MllamaPhase phase, gpointer op)
{
  for (gsize first = 0; first < product->n_rows; first += MLLAMA_CPU_BLOCK) {
    gsize n_rows = MIN (MLLAMA_CPU_BLOCK, product->n_rows - first);

    if (!is_any_selected (product->select, first, n_rows))
      continue;
    prepare_rows (be, product, first, n_rows, phase == MLLAMA_PHASE_DECODE ? n_rows : MLLAMA_CPU_BLOCK, op);
    if (phase == MLLAMA_PHASE_DECODE)
      multiply_rows (be, product, first, n_rows);
    else
      multiply_block (be, product->w);
    finish_rows (be, product, first, n_rows, op);
  }
}
