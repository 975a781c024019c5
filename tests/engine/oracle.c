/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "oracle.h"

#include <math.h>

#define U ORACLE_ROUNDING

void
oracle_check (const float *found, const OracleNumber *expected, gsize n)
{
  for (gsize i = 0; i < n; i++) {
    double difference = fabs (found[i] - expected[i].value);

    if (!(difference <= expected[i].error + 0x1p-120)) {
      g_test_message ("number %" G_GSIZE_FORMAT " is %.9g, expected %.9g within %.3g, but off by %.3g", i, found[i],
                      expected[i].value, expected[i].error, difference);
      g_test_fail ();
      return;
    }
  }
}

void
oracle_exact (OracleNumber *y, const float *x, gsize n)
{
  for (gsize i = 0; i < n; i++)
    y[i] = (OracleNumber){x[i], 0};
}

void
oracle_layer_norm (OracleNumber *y, const OracleNumber *x, const float *w, const float *b, gsize n, double eps)
{
  double mean = 0, variance = 0, largest_error = 0, scale;

  for (gsize i = 0; i < n; i++)
    mean += x[i].value / n;
  for (gsize i = 0; i < n; i++) {
    variance += (x[i].value - mean) * (x[i].value - mean) / n;
    largest_error = MAX (largest_error, x[i].error);
  }
  scale = 1 / sqrt (variance + eps);
  for (gsize i = 0; i < n; i++) {
    double normed = (x[i].value - mean) * scale * w[i];
    /* An error of x moves the element, the mean, and the scale by less than itself times normed. */
    double inherited = largest_error * scale * (2 * fabs (w[i]) + fabs (normed));

    y[i] = (OracleNumber){normed + b[i], 3 * U * (fabs (normed) + fabs (b[i])) + inherited};
  }
}

void
oracle_rms_norm (OracleNumber *y, const OracleNumber *x, const float *w, gsize n, double eps)
{
  double squares = 0, moved = 0, scale;

  for (gsize i = 0; i < n; i++) {
    squares += x[i].value * x[i].value / n;
    moved += fabs (x[i].value) * x[i].error / n;
  }
  scale = 1 / sqrt (squares + eps);
  moved /= squares + eps;
  for (gsize i = 0; i < n; i++) {
    double value = x[i].value * scale * w[i];

    y[i] = (OracleNumber){value, (4 * U + moved) * fabs (value) + x[i].error * scale * fabs (w[i])};
  }
}

void
oracle_linear (OracleNumber *y, const OracleNumber *x, const float *w, const float *bias, gsize n_out, gsize n_in)
{
  for (gsize o = 0; o < n_out; o++) {
    double sum = bias ? bias[o] : 0, magnitude = fabs (sum), inherited = 0;

    for (gsize i = 0; i < n_in; i++) {
      sum += x[i].value * w[o * n_in + i];
      magnitude += fabs (x[i].value * w[o * n_in + i]);
      inherited += x[i].error * fabs (w[o * n_in + i]);
    }
    y[o] = (OracleNumber){sum, (n_in + 2) * U * magnitude + inherited};
  }
}

void
oracle_gelu (OracleNumber *x, gsize n)
{
  for (gsize i = 0; i < n; i++) {
    double v = x[i].value, erf_error = 2 * 2 * U;

    /* The slope is 1.13 at most. */
    x[i] = (OracleNumber){v / 2 * erfc (-v / sqrt (2)),
                          1.13 * x[i].error + fabs (v) / 2 * (erf_error + 2 * U) + 2 * U * fabs (v)};
  }
}

void
oracle_swiglu (OracleNumber *h, const OracleNumber *gate, const OracleNumber *up, gsize n)
{
  for (gsize i = 0; i < n; i++) {
    double g = gate[i].value, silu = g / (1 + exp (-g));
    /* The slope is 1.1 at most; exp, sum and quotient round four times at most. */
    double error = 1.1 * gate[i].error + 5 * U * fabs (silu);

    h[i].value = silu * up[i].value;
    h[i].error = error * (fabs (up[i].value) + up[i].error) + fabs (silu) * up[i].error + U * fabs (h[i].value);
  }
}

void
oracle_add (OracleNumber *x, const OracleNumber *y, double gate, gsize n)
{
  for (gsize i = 0; i < n; i++) {
    double term = gate * y[i].value;

    x[i].value += term;
    x[i].error += fabs (gate) * y[i].error + U * (fabs (term) + fabs (x[i].value));
  }
}

void
oracle_rotate (OracleNumber *head, const float *inv_freq, guint c, guint32 position)
{
  for (guint i = 0; i < c / 2; i++) {
    /* The angle is a float32 number by definition (spec 5.3). */
    double angle = (float) position * inv_freq[i], cosine = cos (angle), sine = sin (angle);
    OracleNumber a = head[i], b = head[c / 2 + i];
    double magnitude = fabs (a.value) + fabs (b.value), error = a.error + b.error + 4 * U * magnitude;

    head[i] = (OracleNumber){a.value * cosine - b.value * sine, error};
    head[c / 2 + i] = (OracleNumber){b.value * cosine + a.value * sine, error};
  }
}

/* Logit of a key, and its error. */
static OracleNumber
score (const float *q, const OracleKey *key, guint c)
{
  double sum = 0, magnitude = 0;

  for (guint i = 0; i < c; i++) {
    sum += (double) q[i] * key->key[i];
    magnitude += fabs ((double) q[i] * key->key[i]);
  }
  sum = sum / sqrt (c) + key->bias;
  return (OracleNumber){sum, (c + 3) * U * magnitude / sqrt (c) + U * (fabs (key->bias) + fabs (sum))};
}

void
oracle_attend (OracleNumber *a, const float *q, const OracleKey *keys, gsize n_keys, guint c)
{
  double largest = -INFINITY, moved = 0, weights = 0;

  for (gsize j = 0; j < n_keys; j++) {
    OracleNumber s = score (q, &keys[j], c);
    largest = MAX (largest, s.value);
    moved = MAX (moved, s.error);
  }
  for (guint i = 0; i < c; i++)
    a[i] = (OracleNumber){0, 0};
  for (gsize j = 0; j < n_keys; j++)
    weights += exp (score (q, &keys[j], c).value - largest);
  for (gsize j = 0; j < n_keys; j++) {
    double weight = exp (score (q, &keys[j], c).value - largest) / weights;

    for (guint i = 0; i < c; i++) {
      a[i].value += weight * keys[j].value[i];
      a[i].error += weight * fabs (keys[j].value[i]);
    }
  }
  /* Logits moved up and down, two sums of n weights, and a few roundings each time the maximum changes. */
  for (guint i = 0; i < c; i++)
    a[i].error *= 2 * moved + (4 * n_keys + 16) * U;
}
