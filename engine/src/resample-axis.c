/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Weights of Pillow's filters, in its order of operations: double precision, uncontracted. */
#include "resample.h"

#include <math.h>

typedef struct {
  double (*weigh) (double x);
  double support; /* half the width, in input pixels when enlarging */
} Filter;

static double
weigh_box (double x)
{
  return x > -0.5 && x <= 0.5 ? 1 : 0;
}

static double
weigh_bilinear (double x)
{
  x = fabs (x);
  return x < 1 ? 1 - x : 0;
}

static double
weigh_hamming (double x)
{
  x = fabs (x);
  if (x == 0)
    return 1;
  if (x >= 1)
    return 0;
  x *= G_PI;
  /* the constants are float in Pillow */
  return sin (x) / x * (0.54f + 0.46f * cos (x));
}

static double
weigh_bicubic (double x)
{
  const double a = -0.5;

  x = fabs (x);
  if (x < 1)
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2)
    return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

static double
sinc (double x)
{
  if (x == 0)
    return 1;
  x *= G_PI;
  return sin (x) / x;
}

static double
weigh_lanczos (double x)
{
  return -3 <= x && x < 3 ? sinc (x) * sinc (x / 3) : 0;
}

static const Filter filters[] = {
    [MLLAMA_RESAMPLE_LANCZOS] = {weigh_lanczos, 3}, [MLLAMA_RESAMPLE_BILINEAR] = {weigh_bilinear, 1},
    [MLLAMA_RESAMPLE_BICUBIC] = {weigh_bicubic, 2}, [MLLAMA_RESAMPLE_BOX] = {weigh_box, 0.5},
    [MLLAMA_RESAMPLE_HAMMING] = {weigh_hamming, 1},
};

static void
allocate (MllamaResampleAxis *axis, guint n_in, guint n_out, guint n_taps)
{
  axis->n_in = n_in;
  axis->n_out = n_out;
  axis->n_taps = n_taps;
  axis->starts = g_new (guint, n_out);
  axis->counts = g_new (guint, n_out);
  axis->weights = g_new0 (gint32, (gsize) n_out * n_taps);
}

/* Pillow steps through the input by repeated addition, so the sum is kept and not multiplied out. Its error stays below
 * n_out * n_in * 2^-53, far less than the half step that separates the last position from n_in. */
static void
init_nearest (MllamaResampleAxis *axis, guint n_in, guint n_out)
{
  double step = (double) n_in / n_out, position = step * 0.5;

  allocate (axis, n_in, n_out, 1);
  for (guint i = 0; i < n_out; i++, position += step) {
    axis->starts[i] = (guint) position;
    axis->counts[i] = 1;
    axis->weights[i] = 1 << MLLAMA_RESAMPLE_BITS;
  }
}

static gint32
to_fixed (double weight)
{
  return (gint32) ((weight < 0 ? -0.5 : 0.5) + weight * (1 << MLLAMA_RESAMPLE_BITS));
}

/* Weights of output i, with room for all of them in scratch. */
static void
fill_output (MllamaResampleAxis *axis, const Filter *filter, guint i, double *scratch)
{
  double scale = (double) axis->n_in / axis->n_out, filter_scale = MAX (scale, 1);
  double support = filter->support * filter_scale, inverse = 1 / filter_scale;
  double center = (i + 0.5) * scale, sum = 0;
  int start = MAX ((int) (center - support + 0.5), 0);
  int end = MIN ((int) (center + support + 0.5), (int) axis->n_in);

  for (int k = 0; k < end - start; k++) {
    scratch[k] = filter->weigh ((k + start - center + 0.5) * inverse);
    sum += scratch[k];
  }
  axis->starts[i] = start;
  axis->counts[i] = end - start;
  for (int k = 0; k < end - start; k++)
    axis->weights[(gsize) i * axis->n_taps + k] = to_fixed (sum != 0 ? scratch[k] / sum : scratch[k]);
}

void
mllama_resample_axis_init (MllamaResampleAxis *axis, MllamaResample resample, guint n_in, guint n_out)
{
  const Filter *filter = &filters[resample];
  g_autofree double *scratch = NULL;
  guint n_taps;

  /* With the size unchanged Pillow leaves the pass out; so does a single tap of weight 1. */
  if (resample == MLLAMA_RESAMPLE_NEAREST || n_in == n_out) {
    init_nearest (axis, n_in, n_out);
    return;
  }
  n_taps = 2 * (guint) ceil (filter->support * MAX ((double) n_in / n_out, 1)) + 1;
  n_taps = MIN (n_taps, n_in);
  allocate (axis, n_in, n_out, n_taps);
  scratch = g_new (double, n_taps);
  for (guint i = 0; i < n_out; i++)
    fill_output (axis, filter, i, scratch);
}

void
mllama_resample_axis_clear (MllamaResampleAxis *axis)
{
  g_clear_pointer (&axis->starts, g_free);
  g_clear_pointer (&axis->counts, g_free);
  g_clear_pointer (&axis->weights, g_free);
}
