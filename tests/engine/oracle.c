/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "oracle.h"

#include <math.h>
#include <string.h>

#define U ORACLE_ROUNDING

/* Below this nothing is told apart: sums of zeros. */
#define NOTHING 0x1p-120

double
oracle_compare (const float *found, const OracleNumber *expected, gsize n, gsize *worst)
{
  double largest = 0;

  *worst = 0;
  for (gsize i = 0; i < n; i++) {
    double factor = fabs (found[i] - expected[i].value) / (expected[i].error + NOTHING);

    if (isnan (factor))
      factor = INFINITY;
    if (factor > largest) {
      largest = factor;
      *worst = i;
    }
  }
  return largest;
}

void
oracle_check (const float *found, const OracleNumber *expected, gsize n)
{
  gsize i;

  if (oracle_compare (found, expected, n, &i) <= 1)
    return;
  g_test_message ("number %" G_GSIZE_FORMAT " is %.9g, expected %.9g within %.3g, but off by %.3g", i, found[i],
                  expected[i].value, expected[i].error, fabs (found[i] - expected[i].value));
  g_test_fail ();
}

void
oracle_exact (OracleNumber *y, const float *x, gsize n)
{
  for (gsize i = 0; i < n; i++)
    y[i] = (OracleNumber){x[i], 0};
}

float
oracle_to_bf16 (float x)
{
  guint32 bits;

  memcpy (&bits, &x, sizeof bits);
  bits += 0x7fff + (bits >> 16 & 1); /* to nearest, ties to even */
  bits &= 0xffff0000;
  memcpy (&x, &bits, sizeof x);
  return x;
}

void
oracle_round_bf16 (OracleNumber *y, gsize n)
{
  for (gsize i = 0; i < n; i++) {
    double largest = fabs (y[i].value) + y[i].error;
    int exponent;

    /* 2^(exponent - 1) <= largest < 2^exponent; of 8 bits the last is worth 2^(exponent - 8). */
    frexp (largest, &exponent);
    y[i].error += largest > 0 ? ldexp (1, exponent - 9) : 0;
  }
}

/* Roundings of a sum of n numbers in 32 lanes or more. */
static double
count_roundings (gsize n)
{
  return n / 32. + 8;
}

void
oracle_layer_norm (OracleNumber *y, const OracleNumber *x, const float *w, const float *b, gsize n, double eps)
{
  double mean = 0, magnitude = 0, variance = 0, largest_error = 0, scale;

  for (gsize i = 0; i < n; i++) {
    mean += x[i].value / n;
    magnitude += fabs (x[i].value) / n;
  }
  for (gsize i = 0; i < n; i++) {
    variance += (x[i].value - mean) * (x[i].value - mean) / n;
    largest_error = MAX (largest_error, x[i].error);
  }
  scale = 1 / sqrt (variance + eps);
  for (gsize i = 0; i < n; i++) {
    double value = x[i].value, normed = (value - mean) * scale * w[i];
    double centred = count_roundings (n) * U * magnitude + U * (fabs (value) + fabs (mean));
    /* An error of x moves the element, the mean, and the scale by less than itself times normed. */
    double inherited = largest_error * scale * (2 * fabs (w[i]) + fabs (normed));

    y[i] = (OracleNumber){normed + b[i], (count_roundings (n) / 2 + 4) * U * fabs (normed) + U * fabs (b[i]) +
                                             centred * scale * fabs (w[i]) + inherited};
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
  moved = moved / (squares + eps) + (count_roundings (n) / 2 + 4) * U;
  for (gsize i = 0; i < n; i++) {
    double value = x[i].value * scale * w[i];

    y[i] = (OracleNumber){value, moved * fabs (value) + x[i].error * scale * fabs (w[i])};
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

/* The largest slope of GELU between v - error and v + error, by that at v and a bound of the curvature,
 * (2 - v^2) exp (-v^2 / 2) / sqrt (2 pi). */
static double
bound_gelu_slope (double v, double error)
{
  double density = exp (-v * v / 2) / sqrt (2 * G_PI), nearest = MAX (fabs (v) - error, 0);
  double curvature = (2 + pow (fabs (v) + error, 2)) * exp (-nearest * nearest / 2) / sqrt (2 * G_PI);

  return fabs (erfc (-v / sqrt (2)) / 2 + v * density) + curvature * error;
}

void
oracle_gelu (OracleNumber *x, gsize n)
{
  for (gsize i = 0; i < n; i++) {
    double v = x[i].value, erf_error = 2 * 2 * U;

    x[i] = (OracleNumber){v / 2 * erfc (-v / sqrt (2)), MIN (1.13, bound_gelu_slope (v, x[i].error)) * x[i].error +
                                                            fabs (v) / 2 * (erf_error + 2 * U) + 2 * U * fabs (v)};
  }
}

void
oracle_swiglu (OracleNumber *h, const OracleNumber *gate, const OracleNumber *up, gsize n)
{
  for (gsize i = 0; i < n; i++) {
    double g = gate[i].value, silu = g / (1 + exp (-g));
    /* A fast exponential multiplies the argument first, and is off by an ulp or two of its own; it counts for as much
     * as it is of the sum below. The slope is 1.1 at most; sum, quotient and product round. */
    double exp_error = (4 + 2.4 * fabs (g)) / (1 + exp (g));
    double error = 1.1 * gate[i].error + (5 + exp_error) * U * fabs (silu), u = up[i].value;

    h[i].value = silu * u;
    h[i].error = error * (fabs (u) + up[i].error) + fabs (silu) * up[i].error + U * fabs (h[i].value);
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
  double sum = 0, magnitude = 0, q_magnitude = 0;

  for (guint i = 0; i < c; i++) {
    sum += (double) q[i] * key->key[i];
    magnitude += fabs ((double) q[i] * key->key[i]);
    q_magnitude += fabs (q[i]);
  }
  sum = sum / sqrt (c) + key->bias;
  return (OracleNumber){sum, ((c + 3) * U * magnitude + q_magnitude * key->key_error) / sqrt (c) +
                                 U * (fabs (key->bias) + fabs (sum))};
}

static void
add_value (OracleNumber *a, const OracleKey *key, double weight, guint c)
{
  for (guint i = 0; i < c; i++) {
    a[i].value += weight * key->value[i];
    a[i].error += weight * fabs (key->value[i]);
  }
}

void
oracle_attend_rounded (OracleNumber *a, const float *q, const OracleKey *keys, gsize n_keys, guint c, double rounding)
{
  g_autofree double *scores = g_new (double, n_keys + 1);
  double largest = -INFINITY, moved = 0, sum = 0, value_error = 0, relative;

  for (gsize j = 0; j < n_keys; j++) {
    OracleNumber s = score (q, &keys[j], c);
    scores[j] = s.value;
    largest = MAX (largest, s.value);
    moved = MAX (moved, s.error);
  }
  for (guint i = 0; i < c; i++)
    a[i] = (OracleNumber){0, 0};
  for (gsize j = 0; j < n_keys; j++)
    sum += exp (scores[j] - largest);
  for (gsize j = 0; j < n_keys; j++) {
    add_value (a, &keys[j], exp (scores[j] - largest) / sum, c);
    value_error += exp (scores[j] - largest) / sum * keys[j].value_error;
  }
  /* Logits moved up and down, two sums of n weights, and a few roundings each time the maximum changes. */
  relative = expm1 (2 * moved) + (4 * n_keys + 32) * U + rounding;
  for (guint i = 0; i < c; i++)
    a[i].error = a[i].error * relative + value_error * (1 + relative);
}

void
oracle_attend (OracleNumber *a, const float *q, const OracleKey *keys, gsize n_keys, guint c)
{
  oracle_attend_rounded (a, q, keys, n_keys, c, 0);
}
