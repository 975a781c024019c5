/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Products and what is fused with them, against the oracle and against themselves in other company. */
#include "cpu.h"
#include "oracle.h"
#include "oracle-device.h"

#include <math.h>
#include <string.h>

#define EPS 1e-5f

static const guint row_counts[] = {0, 1, 64 - 1, 64, 64 + 1, 71};

/* in, out: single numbers, odd ones, the lengths at which sgemv is cut, and longer. */
static const struct {
  guint n_in, n_out;
} shapes[] = {{1, 1}, {3, 5}, {16, 16}, {37, 129}, {160, 48}, {688, 33}, {2048, 5}, {2049, 3}, {4500, 9}};

typedef enum {
  LINEAR,
  LAYER_NORM,
  LAYER_NORM_GELU,
  RESIDUAL,
  RESIDUAL_TOKENS,
  SWIGLU,
  LOGITS,
  N_KINDS,
} Kind;

/* Inputs of one operation, whichever. */
typedef struct {
  OracleDevice *device;
  Kind kind;
  MllamaPassKind pass_kind;
  guint n_in, n_out; /* n_out: width of the result */
  float gate;
  float *w, *bias, *norm, *norm_bias;
  MllamaWeight *w_weight, *bias_weight, *norm_weight, *norm_bias_weight;
} Case;

static Case *
case_new (OracleDevice *device, Kind kind, MllamaPassKind pass_kind, guint n_in, guint n_out)
{
  Case *c = g_new0 (Case, 1);
  guint n_w = kind == SWIGLU ? 2 * n_out : n_out;

  *c = (Case){device, kind, pass_kind, n_in, n_out, -0.7f};
  c->w = oracle_random (device, (gsize) n_w * n_in, 1);
  c->bias = oracle_random (device, n_out, 1);
  c->norm = oracle_random (device, n_in, 2);
  c->norm_bias = oracle_random (device, n_in, 1);
  c->w_weight = oracle_matrix_new (device, n_w, n_in, c->w);
  c->bias_weight = oracle_vector_new (device, n_out, c->bias);
  c->norm_weight = oracle_vector_new (device, n_in, c->norm);
  c->norm_bias_weight = oracle_vector_new (device, n_in, c->norm_bias);
  return c;
}

static void
case_free (Case *c)
{
  g_free (c->w);
  g_free (c->bias);
  g_free (c->norm);
  g_free (c->norm_bias);
  g_free (c);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Case, case_free)

/* x [n_rows][n_in]; y holds n_rows of n_out before, and is the residual's other half. select: rows that see a picture,
 * if the others are to be left out. */
static void
run_operation (const Case *c, MllamaTensor *y, const MllamaTensor *x, guint n_rows, const guint8 *select)
{
  const MllamaBackendOps *ops = c->device->ops;
  MllamaBackend *be = c->device->be;
  MllamaPass pass = {.kind = c->pass_kind, .n_tokens = n_rows, .n_outputs = n_rows, .sees_image = select};

  switch (c->kind) {
  case LINEAR:
    ops->linear (be, y, x, n_rows, c->w_weight, c->bias_weight);
    break;
  case LAYER_NORM:
  case LAYER_NORM_GELU:
    ops->layer_norm_linear (be, y, x, n_rows, c->norm_weight, c->norm_bias_weight, EPS, c->w_weight, c->bias_weight,
                            c->kind == LAYER_NORM_GELU);
    break;
  case RESIDUAL:
    ops->linear_residual (be, y, x, n_rows, c->w_weight, c->bias_weight, c->gate);
    break;
  case RESIDUAL_TOKENS:
    ops->linear_residual_tokens (be, y, x, c->w_weight, c->gate, select != NULL, &pass);
    break;
  case SWIGLU:
    ops->norm_swiglu (be, y, x, c->norm_weight, EPS, c->w_weight, &pass);
    break;
  default:
    ops->logits (be, y, x, c->w_weight, &pass);
  }
}

static gboolean
is_residual (const Case *c)
{
  return c->kind == RESIDUAL || c->kind == RESIDUAL_TOKENS;
}

static void
expect_row (const Case *c, const float *x, const float *residual, OracleNumber *y)
{
  g_autofree OracleNumber *in = g_new (OracleNumber, c->n_in), *out = g_new (OracleNumber, 2 * c->n_out);
  gboolean has_bias = c->kind != SWIGLU && c->kind != LOGITS && c->kind != RESIDUAL_TOKENS;

  oracle_exact (in, x, c->n_in);
  if (c->kind == LAYER_NORM || c->kind == LAYER_NORM_GELU)
    oracle_layer_norm (in, in, c->norm, c->norm_bias, c->n_in, EPS);
  if (c->kind == SWIGLU)
    oracle_rms_norm (in, in, c->norm, c->n_in, EPS);
  oracle_linear (out, in, c->w, has_bias ? c->bias : NULL, c->kind == SWIGLU ? 2 * c->n_out : c->n_out, c->n_in);
  if (c->kind == LAYER_NORM_GELU)
    oracle_gelu (out, c->n_out);
  if (c->kind == SWIGLU)
    oracle_swiglu (out, out, out + c->n_out, c->n_out);
  if (is_residual (c)) {
    oracle_exact (y, residual, c->n_out);
    oracle_add (y, out, c->gate, c->n_out);
  } else
    memcpy (y, out, c->n_out * sizeof (OracleNumber));
}

static void
check_case (const Case *c, guint n_rows)
{
  g_autofree float *x = oracle_random (c->device, (gsize) n_rows * c->n_in, 2),
                   *residual = oracle_random (c->device, (gsize) n_rows * c->n_out, 1), *found = NULL;
  g_autofree OracleNumber *expected = g_new (OracleNumber, c->n_out);
  MllamaTensor *x_tensor = oracle_tensor_new (c->device, n_rows, c->n_in, x);
  MllamaTensor *y_tensor = oracle_tensor_new (c->device, n_rows, c->n_out, is_residual (c) ? residual : NULL);

  run_operation (c, y_tensor, x_tensor, n_rows, NULL);
  found = oracle_tensor_read (c->device, y_tensor, n_rows, c->n_out);
  for (guint r = 0; r < n_rows; r++) {
    expect_row (c, x + (gsize) r * c->n_in, residual + (gsize) r * c->n_out, expected);
    oracle_check (found + (gsize) r * c->n_out, expected, c->n_out);
  }
  oracle_tensor_check_guard (c->device, y_tensor, n_rows, c->n_out);
  oracle_tensor_check_guard (c->device, x_tensor, n_rows, c->n_in);
}

static void
check_kind (Kind kind)
{
  for (guint pass_kind = MLLAMA_PASS_FEW; pass_kind <= MLLAMA_PASS_MANY; pass_kind++)
    for (guint s = 0; s < G_N_ELEMENTS (shapes); s++) {
      g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
      g_autoptr (Case) c = case_new (device, kind, pass_kind, shapes[s].n_in, shapes[s].n_out);

      for (guint i = 0; i < G_N_ELEMENTS (row_counts); i++)
        check_case (c, row_counts[i]);
    }
}

static void
test_linear (void)
{
  check_kind (LINEAR);
}

static void
test_layer_norm_linear (void)
{
  check_kind (LAYER_NORM);
}

static void
test_layer_norm_linear_gelu (void)
{
  check_kind (LAYER_NORM_GELU);
}

static void
test_linear_residual (void)
{
  check_kind (RESIDUAL);
}

static void
test_linear_residual_tokens (void)
{
  check_kind (RESIDUAL_TOKENS);
}

static void
test_norm_swiglu (void)
{
  check_kind (SWIGLU);
}

static void
test_logits (void)
{
  check_kind (LOGITS);
}

/* Rows that are left out keep their bits, and what they hold harms nobody. */
static void
test_rows_left_out_keep_their_bits (void)
{
  enum {
    N_ROWS = 2 * 64 + 7,
    N_IN = 40,
    N_OUT = 21
  };

  for (guint pass_kind = MLLAMA_PASS_FEW; pass_kind <= MLLAMA_PASS_MANY; pass_kind++) {
    g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
    g_autoptr (Case) c = case_new (device, RESIDUAL_TOKENS, pass_kind, N_IN, N_OUT);
    g_autofree float *x = oracle_random (device, N_ROWS * N_IN, 1), *y = oracle_random (device, N_ROWS * N_OUT, 1);
    g_autofree float *found = NULL;
    guint8 select[N_ROWS] = {0}; /* the second block has none */
    MllamaTensor *x_tensor, *y_tensor;

    for (guint r = 0; r < N_ROWS; r++) {
      select[r] = r < 64 ? r % 3 == 1 : r >= 2 * 64;
      for (guint i = 0; i < N_IN && !select[r]; i++)
        x[r * N_IN + i] = NAN;
    }
    x_tensor = oracle_tensor_new (device, N_ROWS, N_IN, x);
    y_tensor = oracle_tensor_new (device, N_ROWS, N_OUT, y);
    run_operation (c, y_tensor, x_tensor, N_ROWS, select);
    found = oracle_tensor_read (device, y_tensor, N_ROWS, N_OUT);
    for (guint r = 0; r < N_ROWS; r++) {
      OracleNumber expected[N_OUT];

      if (select[r]) {
        expect_row (c, x + r * N_IN, y + r * N_OUT, expected);
        oracle_check (found + r * N_OUT, expected, N_OUT);
      } else
        g_assert_cmpmem (found + r * N_OUT, N_OUT * sizeof (float), y + r * N_OUT, N_OUT * sizeof (float));
    }
  }
}

static void
test_bias_may_be_missing (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  g_autoptr (Case) c = case_new (device, LINEAR, MLLAMA_PASS_MANY, 24, 10);
  g_autofree float *x = oracle_random (device, 24, 1), *found = NULL, *zeros = g_new0 (float, 10);
  MllamaTensor *y_tensor = oracle_tensor_new (device, 1, 10, zeros);
  MllamaTensor *x_tensor = oracle_tensor_new (device, 1, 24, x);
  OracleNumber in[24], expected[10];

  oracle_exact (in, x, 24);
  oracle_linear (expected, in, c->w, NULL, 10, 24);
  device->ops->linear (device->be, y_tensor, x_tensor, 1, c->w_weight, NULL);
  found = oracle_tensor_read (device, y_tensor, 1, 10);
  oracle_check (found, expected, 10);
  device->ops->linear_residual (device->be, y_tensor, x_tensor, 1, c->w_weight, NULL, -1);
  g_free (found);
  found = oracle_tensor_read (device, y_tensor, 1, 10);
  for (guint i = 0; i < 10; i++)
    g_assert_cmpfloat (found[i], ==, 0);
}

static void
test_nan_in_a_weight_reaches_its_column (void)
{
  for (guint pass_kind = MLLAMA_PASS_FEW; pass_kind <= MLLAMA_PASS_MANY; pass_kind++)
    for (guint kind = 0; kind < N_KINDS; kind++) {
      g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
      g_autoptr (Case) c = case_new (device, kind, pass_kind, 40, 10);
      g_autofree float *x = oracle_random (device, 3 * 40, 1), *y = oracle_random (device, 3 * 10, 1), *found = NULL;
      MllamaTensor *y_tensor = oracle_tensor_new (device, 3, 10, y);

      c->w[7 * 40 + 11] = NAN;
      c->w_weight = oracle_matrix_new (device, kind == SWIGLU ? 20 : 10, 40, c->w);
      run_operation (c, y_tensor, oracle_tensor_new (device, 3, 40, x), 3, NULL);
      found = oracle_tensor_read (device, y_tensor, 3, 10);
      for (guint i = 0; i < 30; i++)
        g_assert_cmpint (isnan (found[i]) != 0, ==, i % 10 == 7);
    }
}

/* --- batch invariance --- */

/* Sizes of a real model's rows, so that BLAS has reason to use several threads. */
enum {
  N_ALL = 150,
  WIDE_IN = 688,
  WIDE_OUT = 264
};

/* Row `row` of x, alone at place `place` among n_rows others taken from x in another order. */
static void
check_row_in_company (const Case *c, const float *x, const float *residual, const float *expected, guint row,
                      guint place, guint n_rows)
{
  gsize n_in = c->n_in, n_out = c->n_out;
  g_autofree float *mixed = g_new (float, n_rows *n_in), *old = g_new (float, n_rows *n_out), *found = NULL;
  MllamaTensor *y_tensor;

  for (guint r = 0; r < n_rows; r++) {
    guint source = r == place ? row : (row + 31 * (r + 1)) % N_ALL;
    memcpy (mixed + r * n_in, x + source * n_in, n_in * sizeof (float));
    memcpy (old + r * n_out, residual + source * n_out, n_out * sizeof (float));
  }
  y_tensor = oracle_tensor_new (c->device, n_rows, n_out, old);
  run_operation (c, y_tensor, oracle_tensor_new (c->device, n_rows, n_in, mixed), n_rows, NULL);
  found = oracle_tensor_read (c->device, y_tensor, n_rows, n_out);
  g_assert_cmpmem (found + place * n_out, n_out * sizeof (float), expected + row * n_out, n_out * sizeof (float));
}

static void
check_company (Kind kind, MllamaPassKind pass_kind, guint n_in, guint n_out)
{
  static const guint counts[] = {1, 2, 7, 32, 64, 65};
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  g_autoptr (Case) c = case_new (device, kind, pass_kind, n_in, n_out);
  g_autofree float *x = oracle_random (device, (gsize) N_ALL * n_in, 1),
                   *residual = oracle_random (device, (gsize) N_ALL * n_out, 1), *all = NULL;
  MllamaTensor *y_tensor = oracle_tensor_new (device, N_ALL, n_out, residual);

  run_operation (c, y_tensor, oracle_tensor_new (device, N_ALL, n_in, x), N_ALL, NULL);
  all = oracle_tensor_read (device, y_tensor, N_ALL, n_out);
  for (guint i = 0; i < G_N_ELEMENTS (counts); i++)
    for (guint k = 0; k < 8; k++)
      check_row_in_company (c, x, residual, all, (k * 41 + i) % N_ALL, k * 13 % counts[i], counts[i]);
}

static void
check_all_company (void)
{
  for (guint pass_kind = MLLAMA_PASS_FEW; pass_kind <= MLLAMA_PASS_MANY; pass_kind++)
    for (guint kind = 0; kind < N_KINDS; kind++) {
      check_company (kind, pass_kind, WIDE_IN, WIDE_OUT);
      check_company (kind, pass_kind, 37, 13);
    }
}

/* The number of threads is read when BLAS is loaded, hence the process of its own. */
static void
check_with_threads (const char *n_threads)
{
  if (g_test_subprocess ()) {
    check_all_company ();
    return;
  }
  g_setenv ("OPENBLAS_NUM_THREADS", n_threads, TRUE);
  g_setenv ("BLIS_NUM_THREADS", n_threads, TRUE);
  g_setenv ("OMP_NUM_THREADS", n_threads, TRUE);
  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
  g_test_trap_assert_passed ();
}

static void
test_bits_do_not_depend_on_companions_one_thread (void)
{
  check_with_threads ("1");
}

static void
test_bits_do_not_depend_on_companions_three_threads (void)
{
  check_with_threads ("3");
}

/* --- the self-check --- */

typedef enum {
  FAULT_NONE,
  FAULT_SGEMM_ELEMENT,
  FAULT_SGEMM_TRANSPOSED_NAN,
  FAULT_SGEMM_OUTSIDE,
  FAULT_SGEMV_LAST,
  FAULT_SGEMV_TRANSPOSED,
} Fault;

static Fault planted;

static void
multiply_matrices (gboolean transpose_b, guint m, guint n, guint k, const float *a, const float *b, float *c)
{
  for (guint i = 0; i < m; i++)
    for (guint j = 0; j < n; j++) {
      float sum = 0;
      for (guint l = 0; l < k; l++)
        sum += a[i * k + l] * (transpose_b ? b[j * k + l] : b[l * n + j]);
      c[i * n + j] = sum;
    }
  if (planted == FAULT_SGEMM_ELEMENT && n > 32)
    c[m * n / 2] *= 1.0001f;
  if (planted == FAULT_SGEMM_TRANSPOSED_NAN && !transpose_b)
    c[0] = NAN;
  if (planted == FAULT_SGEMM_OUTSIDE && m == 17)
    c[m * n] = 0;
}

static void
multiply_vector (gboolean transpose, guint m, guint n, const float *a, const float *x, float *y)
{
  for (guint i = 0; i < (transpose ? n : m); i++) {
    float sum = 0;
    for (guint l = 0; l < (transpose ? m : n); l++)
      sum += x[l] * (transpose ? a[l * n + i] : a[i * n + l]);
    y[i] = sum;
  }
  if (planted == FAULT_SGEMV_LAST && m == 33)
    y[(transpose ? n : m) - 1] = 0;
  if (planted == FAULT_SGEMV_TRANSPOSED && transpose)
    y[0] += 1e-3f;
}

static void
test_a_wrong_blas_is_refused (void)
{
  GError *error = NULL;

  for (planted = FAULT_SGEMM_ELEMENT; planted <= FAULT_SGEMV_TRANSPOSED; planted++) {
    g_assert_false (mllama_cpu_check_products (multiply_matrices, multiply_vector, &error));
    g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE);
    g_assert_nonnull (strstr (error->message, "libblas.so.3"));
    g_assert_nonnull (strstr (error->message, "OPENBLAS_CORETYPE"));
    g_clear_error (&error);
  }
  planted = FAULT_NONE;
  g_assert_true (mllama_cpu_check_products (multiply_matrices, multiply_vector, &error));
  g_assert_no_error (error);
  g_assert_true (mllama_cpu_check_blas (&error));
  g_assert_no_error (error);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/products/linear", test_linear);
  g_test_add_func ("/cpu/products/layer_norm_linear", test_layer_norm_linear);
  g_test_add_func ("/cpu/products/layer_norm_linear_gelu", test_layer_norm_linear_gelu);
  g_test_add_func ("/cpu/products/linear_residual", test_linear_residual);
  g_test_add_func ("/cpu/products/linear_residual_tokens", test_linear_residual_tokens);
  g_test_add_func ("/cpu/products/norm_swiglu", test_norm_swiglu);
  g_test_add_func ("/cpu/products/logits", test_logits);
  g_test_add_func ("/cpu/products/rows_left_out_keep_their_bits", test_rows_left_out_keep_their_bits);
  g_test_add_func ("/cpu/products/bias_may_be_missing", test_bias_may_be_missing);
  g_test_add_func ("/cpu/products/nan_in_a_weight_reaches_its_column", test_nan_in_a_weight_reaches_its_column);
  g_test_add_func ("/cpu/products/bits_do_not_depend_on_companions_one_thread",
                   test_bits_do_not_depend_on_companions_one_thread);
  g_test_add_func ("/cpu/products/bits_do_not_depend_on_companions_three_threads",
                   test_bits_do_not_depend_on_companions_three_threads);
  g_test_add_func ("/cpu/products/a_wrong_blas_is_refused", test_a_wrong_blas_is_refused);
  return g_test_run ();
}
