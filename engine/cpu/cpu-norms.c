/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu.h"

#include <math.h>

#define N_SUMS 4 /* partial sums, so that additions need not wait for each other */

static double
sum_row (const float *x, gsize n)
{
  double sums[N_SUMS] = {0};
  gsize i;

  for (i = 0; i + N_SUMS <= n; i += N_SUMS)
    for (guint l = 0; l < N_SUMS; l++)
      sums[l] += x[i + l];
  for (; i < n; i++)
    sums[0] += x[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

static double
sum_squares (const float *x, gsize n, double mean)
{
  double sums[N_SUMS] = {0};
  gsize i;

  for (i = 0; i + N_SUMS <= n; i += N_SUMS)
    for (guint l = 0; l < N_SUMS; l++)
      sums[l] += (x[i + l] - mean) * (x[i + l] - mean);
  for (; i < n; i++)
    sums[0] += (x[i] - mean) * (x[i] - mean);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

void
mllama_cpu_layer_norm_row (float *y, const float *x, const float *w, const float *b, gsize n, double eps)
{
  double mean = sum_row (x, n) / n;
  double scale = 1 / sqrt (sum_squares (x, n, mean) / n + eps);

  for (gsize i = 0; i < n; i++)
    y[i] = (float) ((x[i] - mean) * scale) * w[i] + b[i];
}

void
mllama_cpu_rms_norm_row (float *y, const float *x, const float *w, gsize n, double eps)
{
  float scale = 1 / sqrt (sum_squares (x, n, 0) / n + eps);

  for (gsize i = 0; i < n; i++)
    y[i] = x[i] * scale * w[i];
}

void
mllama_cpu_norm_add_tiles (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, const MllamaWeight *weight,
                           const MllamaWeight *bias, float eps, const MllamaWeight *table, float gate,
                           const MllamaTowerSpan *spans, guint n_spans)
{
  gsize d = x->width;

  for (guint s = 0; s < n_spans; s++) {
    const float *tile = table->data + spans[s].aspect_ratio_id * table->ld + spans[s].slot * d;

    for (guint r = 0; r < spans[s].n_rows; r++) {
      float *row = mllama_cpu_tensor_row (y, spans[s].first_row + r);
      const float *source = mllama_cpu_tensor_row (x, spans[s].source_first + r * spans[s].source_step);

      mllama_cpu_layer_norm_row (row, source, weight->data, bias->data, d, eps);
      for (gsize i = 0; i < d; i++)
        row[i] += gate * tile[i];
    }
  }
}

void
mllama_cpu_norm_outputs (MllamaBackend *be, MllamaTensor *y, const MllamaTensor *x, const MllamaWeight *norm, float eps,
                         const MllamaPass *pass)
{
  for (guint i = 0; i < pass->n_outputs; i++)
    mllama_cpu_rms_norm_row (mllama_cpu_tensor_row (y, i), mllama_cpu_tensor_row (x, pass->outputs[i]), norm->data,
                             x->width, eps);
}
