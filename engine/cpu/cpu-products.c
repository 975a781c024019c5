/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Products of weights with rows, each row by itself through sgemv. An sgemm of many rows would do more arithmetic a
 * second, but rounds equal rows differently: OpenBLAS takes them in groups of six and of what is left, by kernels that
 * sum in different orders. */
#include "cpu.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

/* Rows at a time: each piece of the weight is used so often once it is in the cache. Wide rows get fewer. */
#define MAX_ROWS   128
#define MIN_ROWS   64
#define MAX_FLOATS (1024 * 1024)

/* Columns of one sgemv: longer rows are summed up in pieces, so that some rows of the weight fit into the limit. */
#define SGEMV_COLUMNS (MLLAMA_CPU_SERIAL_SGEMV / 4)

/* Rows that are worth waking a thread for, to prepare or finish them. */
#define MIN_ROWS_A_RUN 8

typedef struct {
  MllamaCpuBackend *be;
  const MllamaCpuProduct *product;
  gpointer op;
  gsize first, n_rows;         /* of this round */
  gsize input_ld, output_ld;   /* of be's buffers */
  gsize slice_rows, n_columns; /* of the weight in one sgemv */
} Round;

static gboolean
is_selected (const Round *round, gsize row)
{
  return !round->product->select || round->product->select[round->first + row];
}

static void
prepare_rows (gpointer data, gsize first, gsize n, guint worker)
{
  const Round *round = data;

  for (gsize r = first; r < first + n; r++)
    if (is_selected (round, r))
      round->product->prepare (round->op, round->first + r, round->be->inputs + r * round->input_ld, worker);
}

static void
finish_rows (gpointer data, gsize first, gsize n, guint worker)
{
  const Round *round = data;

  for (gsize r = first; r < first + n; r++)
    if (is_selected (round, r))
      round->product->finish (round->op, round->first + r, round->be->outputs + r * round->output_ld, worker);
}

/* Rows [o, o + n_out) of the weight, which stay in the cache while every input meets them. */
static void
multiply_slice (const Round *round, gsize o, gsize n_out)
{
  const MllamaWeight *w = round->product->w;

  for (gsize r = 0; r < round->n_rows; r++) {
    const float *x = round->be->inputs + r * round->input_ld;
    float *y = round->be->outputs + r * round->output_ld + o;

    if (!is_selected (round, r))
      continue;
    for (gsize c = 0; c < w->width; c += round->n_columns)
      cblas_sgemv (CblasRowMajor, CblasNoTrans, n_out, MIN (round->n_columns, w->width - c), 1, w->data + o * w->ld + c,
                   w->ld, x + c, 1, c > 0, y, 1);
  }
}

static void
multiply_slices (gpointer data, gsize first, gsize n, guint worker)
{
  const Round *round = data;

  for (gsize slice = first; slice < first + n; slice++) {
    gsize o = slice * round->slice_rows;
    multiply_slice (round, o, MIN (round->slice_rows, round->product->w->n_rows - o));
  }
}

static gsize
count_rows_that_fit (const MllamaCpuBackend *be, const Round *round)
{
  return MIN (MIN (be->n_inputs / round->input_ld, be->n_outputs / round->output_ld), MAX_ROWS);
}

/* A slice has the same shape for every row and every round: nothing else decides how a row is summed up. */
static void
init_round (Round *round, MllamaCpuBackend *be, const MllamaCpuProduct *product, gpointer op)
{
  const MllamaWeight *w = product->w;

  *round = (Round){be, product, op};
  round->input_ld = mllama_cpu_round_up (w->width);
  round->output_ld = mllama_cpu_round_up (w->n_rows);
  round->n_columns = CLAMP (w->width, 1, SGEMV_COLUMNS);
  round->slice_rows = MIN (MLLAMA_CPU_SERIAL_SGEMV / round->n_columns / 4 * 4, MIN_ROWS);
}

void
mllama_cpu_multiply (MllamaCpuBackend *be, const MllamaCpuProduct *product, gpointer op)
{
  gsize n_rows_a_round, n_slices, slice_work;
  Round round;

  init_round (&round, be, product, op);
  n_rows_a_round = count_rows_that_fit (be, &round);
  n_slices = (product->w->n_rows + round.slice_rows - 1) / round.slice_rows;
  for (round.first = 0; round.first < product->n_rows; round.first += n_rows_a_round) {
    round.n_rows = MIN (n_rows_a_round, product->n_rows - round.first);
    slice_work = round.slice_rows * MAX (product->w->width, 1) * round.n_rows;
    mllama_cpu_workers_run (be->workers, round.n_rows, MIN_ROWS_A_RUN, prepare_rows, &round);
    mllama_cpu_workers_run (be->workers, n_slices, MLLAMA_CPU_TASK / slice_work, multiply_slices, &round);
    mllama_cpu_workers_run (be->workers, round.n_rows, MIN_ROWS_A_RUN, finish_rows, &round);
  }
}

static gboolean
reserve (float **buffer, gsize *n_floats, gsize ld, GError **error)
{
  gsize n_rows = CLAMP (MAX_FLOATS / ld, MIN_ROWS, MAX_ROWS);
  float *larger;

  if (n_rows * ld <= *n_floats)
    return TRUE;
  if (!(larger = mllama_cpu_alloc (n_rows, ld, "the work space of a product", error)))
    return FALSE;
  free (*buffer);
  *buffer = larger;
  *n_floats = n_rows * ld;
  return TRUE;
}

gboolean
mllama_cpu_reserve_product (MllamaCpuBackend *be, const MllamaWeight *w, GError **error)
{
  return reserve (&be->inputs, &be->n_inputs, mllama_cpu_round_up (w->width), error) &&
         reserve (&be->outputs, &be->n_outputs, mllama_cpu_round_up (w->n_rows), error);
}
