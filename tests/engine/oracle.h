/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The operations of backend.h as plain loops in double, each number with the largest error that a float32
 * implementation may have: one unit of rounding per operation, n of them for a sum of n. Where numbers are rounded to
 * bf16 on the way, oracle_round_bf16 says so. */
#pragma once

#include "backend.h"

G_BEGIN_DECLS

#define ORACLE_ROUNDING 0x1p-24

typedef struct {
  double value;
  double error; /* bound, absolute */
} OracleNumber;

/* The largest difference as a share of its bound, infinite if a number is NaN; worst: where it is. */
double oracle_compare (const float *found, const OracleNumber *expected, gsize n, gsize *worst);

/* Fails the test unless every found[i] lies within the error of expected[i]; NaN never does. */
void oracle_check (const float *found, const OracleNumber *expected, gsize n);

/* Numbers without an error. */
void oracle_exact (OracleNumber *y, const float *x, gsize n);

/* A rounding point: adds half a unit in the last place of bf16. And the rounding itself, of a finite number. */
void oracle_round_bf16 (OracleNumber *y, gsize n);
float oracle_to_bf16 (float x);

void oracle_layer_norm (OracleNumber *y, const OracleNumber *x, const float *w, const float *b, gsize n, double eps);
void oracle_rms_norm (OracleNumber *y, const OracleNumber *x, const float *w, gsize n, double eps);
/* y [n_out] = w [n_out][n_in] * x + bias; bias may be NULL. */
void oracle_linear (OracleNumber *y, const OracleNumber *x, const float *w, const float *bias, gsize n_out, gsize n_in);
void oracle_gelu (OracleNumber *x, gsize n);
/* h = gate / (1 + exp (-gate)) * up */
void oracle_swiglu (OracleNumber *h, const OracleNumber *gate, const OracleNumber *up, gsize n);
/* x += gate * y */
void oracle_add (OracleNumber *x, const OracleNumber *y, double gate, gsize n);
/* Pairs (i, i + c / 2) turned by position * inv_freq[i]. */
void oracle_rotate (OracleNumber *head, const float *inv_freq, guint c, guint32 position);

/* One key that a query sees. */
typedef struct {
  const float *key, *value; /* [C] */
  double bias;
  double key_error, value_error; /* of any of the numbers */
} OracleKey;

/* a [C] = sum of softmax (q . k / sqrt (C) + bias) * v; zero if there are no keys. */
void oracle_attend (OracleNumber *a, const float *q, const OracleKey *keys, gsize n_keys, guint c);
/* Weights of the softmax are rounded by so much of themselves before they multiply values. */
void oracle_attend_rounded (OracleNumber *a, const float *q, const OracleKey *keys, gsize n_keys, guint c,
                            double rounding);

G_END_DECLS
