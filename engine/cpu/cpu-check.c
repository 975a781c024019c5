/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Some builds of BLAS compute wrong on some processors. Small products of many shapes find out before a model does. */
#include "cpu.h"

#include <cblas.h>
#include <math.h>

/* Unused space around the result, which must stay as it is. */
#define GUARD       16
#define GUARD_VALUE 12345.0f

typedef struct {
  guint m, n, k;
} Shape;

/* One of each kind of edge, none so large that BLAS would wake its threads. */
static const Shape shapes[] = {{1, 1, 1},    {3, 5, 7},     {16, 6, 1},  {17, 33, 65},
                               {64, 48, 80}, {64, 16, 255}, {2, 60, 129}};

#define MAX_OPERAND (64 * 255)
#define MAX_RESULT  (64 * 48)

/* Any numbers in [-1, 1) will do, as long as they differ. */
static void
fill (float *x, gsize n, guint32 seed)
{
  for (gsize i = 0; i < n; i++) {
    seed = seed * 1664525 + 1013904223;
    x[i] = (gint32) seed * 0x1p-31f;
  }
}

/* Element of a * b (or a * b^T), and the largest error that n_terms roundings of float sums can make. */
static double
sum_products (const float *a, gsize a_step, const float *b, gsize b_step, gsize n_terms, double *bound)
{
  double sum = 0, magnitude = 0;

  for (gsize i = 0; i < n_terms; i++) {
    sum += (double) a[i * a_step] * b[i * b_step];
    magnitude += fabs ((double) a[i * a_step] * b[i * b_step]);
  }
  *bound = (n_terms + 2) * 0x1p-24 * magnitude;
  return sum;
}

static gboolean
is_close (float found, double expected, double bound)
{
  return fabs (found - expected) <= bound; /* FALSE for NaN */
}

static gboolean
check_guard (const float *y, gsize n)
{
  for (gsize i = 0; i < GUARD; i++)
    if (y[n + i] != GUARD_VALUE)
      return FALSE;
  return TRUE;
}

static void
set_guard (float *y, gsize n)
{
  for (gsize i = 0; i < n; i++)
    y[i] = NAN; /* beta 0 must not read it */
  for (gsize i = 0; i < GUARD; i++)
    y[n + i] = GUARD_VALUE;
}

static gboolean
check_sgemm (MllamaSgemmFunc sgemm, const Shape *s, gboolean transpose_b, const float *a, const float *b, float *c)
{
  set_guard (c, s->m * s->n);
  sgemm (transpose_b, s->m, s->n, s->k, a, b, c);
  for (guint i = 0; i < s->m; i++)
    for (guint j = 0; j < s->n; j++) {
      const float *column = transpose_b ? b + j * s->k : b + j;
      double bound, sum = sum_products (a + i * s->k, 1, column, transpose_b ? 1 : s->n, s->k, &bound);
      if (!is_close (c[i * s->n + j], sum, bound))
        return FALSE;
    }
  return check_guard (c, s->m * s->n);
}

/* y = a x, or a^T x; a [n][k]. */
static gboolean
check_sgemv (MllamaSgemvFunc sgemv, const Shape *s, gboolean transpose, const float *a, const float *x, float *y)
{
  guint n_out = transpose ? s->k : s->n, n_in = transpose ? s->n : s->k;

  set_guard (y, n_out);
  sgemv (transpose, s->n, s->k, a, x, y);
  for (guint i = 0; i < n_out; i++) {
    double bound, sum = sum_products (transpose ? a + i : a + i * s->k, transpose ? s->k : 1, x, 1, n_in, &bound);
    if (!is_close (y[i], sum, bound))
      return FALSE;
  }
  return check_guard (y, n_out);
}

gboolean
mllama_cpu_check_products (MllamaSgemmFunc sgemm, MllamaSgemvFunc sgemv, GError **error)
{
  g_autofree float *a = g_new (float, MAX_OPERAND), *b = g_new (float, MAX_OPERAND),
                   *c = g_new (float, MAX_RESULT + GUARD);

  fill (a, MAX_OPERAND, 1);
  fill (b, MAX_OPERAND, 2);
  for (gsize i = 0; i < G_N_ELEMENTS (shapes); i++) {
    const Shape *s = &shapes[i];
    if (check_sgemm (sgemm, s, TRUE, a, b, c) && check_sgemm (sgemm, s, FALSE, a, b, c) &&
        check_sgemv (sgemv, s, FALSE, b, a, c) && check_sgemv (sgemv, s, TRUE, b, a, c))
      continue;
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
                 "the BLAS library of this system computes a product of %u x %u x %u numbers wrong on this processor; "
                 "install another provider of libblas.so.3 (update-alternatives --config "
                 "libblas.so.3-x86_64-linux-gnu shows them), or, with OpenBLAS, set OPENBLAS_CORETYPE to an older "
                 "processor, such as HASWELL",
                 s->m, s->n, s->k);
    return FALSE;
  }
  return TRUE;
}

static void
call_sgemm (gboolean transpose_b, guint m, guint n, guint k, const float *a, const float *b, float *c)
{
  cblas_sgemm (CblasRowMajor, CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans, m, n, k, 1, a, k, b,
               transpose_b ? k : n, 0, c, n);
}

static void
call_sgemv (gboolean transpose, guint m, guint n, const float *a, const float *x, float *y)
{
  cblas_sgemv (CblasRowMajor, transpose ? CblasTrans : CblasNoTrans, m, n, 1, a, n, x, 1, 0, y, 1);
}

gboolean
mllama_cpu_check_blas (GError **error)
{
  return mllama_cpu_check_products (call_sgemm, call_sgemv, error);
}
