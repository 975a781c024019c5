/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu-vector.h"

#include <math.h>
#include <string.h>

#define N_MAX 37 /* four vectors and a tail */

/* Distance in units of the last place of the expected number. */
static double
count_ulps (float found, double expected)
{
  float rounded = fabs (expected);

  return fabs (found - expected) / (nextafterf (rounded, INFINITY) - rounded);
}

static void
test_exp_is_within_two_ulps (void)
{
  for (const MllamaVectorOps *const *ops = mllama_vector_ops_list (); *ops; ops++)
    for (float x = -86.8f; x <= 0; x += 1.1e-4f) {
      float y = x;
      float sum = (*ops)->exp_sum (&y, 1, 0);

      g_assert_cmpfloat (count_ulps (y, exp (x)), <, 2);
      g_assert_cmpfloat (sum, ==, y);
    }
}

static void
test_exp_ends_in_zero_infinity_and_nan (void)
{
  for (const MllamaVectorOps *const *ops = mllama_vector_ops_list (); *ops; ops++) {
    float x[] = {-87, -1000, -INFINITY, 0, 89, NAN, 88.7f, INFINITY};

    (*ops)->exp_sum (x, G_N_ELEMENTS (x), 0);
    g_assert_cmpfloat (x[0], ==, 0);
    g_assert_cmpfloat (x[1], ==, 0);
    g_assert_cmpfloat (x[2], ==, 0);
    g_assert_cmpfloat (x[3], ==, 1);
    g_assert_cmpfloat (x[4], ==, INFINITY);
    g_assert_true (isnan (x[5]));
    g_assert_cmpfloat (count_ulps (x[6], exp (88.7f)), <, 2);
    g_assert_cmpfloat (x[7], ==, INFINITY);
  }
}

static void
test_exp_sum_subtracts_the_maximum_and_sums (void)
{
  for (const MllamaVectorOps *const *ops = mllama_vector_ops_list (); *ops; ops++)
    for (gsize n = 1; n <= N_MAX; n++) {
      float x[N_MAX];
      double expected = 0;

      for (gsize i = 0; i < n; i++) {
        x[i] = 100 - 0.3f * i;
        expected += exp ((double) x[i] - 100);
      }
      g_assert_cmpfloat_with_epsilon ((*ops)->exp_sum (x, n, 100), expected, expected * (n + 2) * 0x1p-24);
    }
}

static void
test_gelu_is_the_erf_form (void)
{
  for (const MllamaVectorOps *const *ops = mllama_vector_ops_list (); *ops; ops++)
    for (float x = -7; x < 7; x += 3.1e-5f) {
      float y = x;
      double expected = x / 2. * erfc (-x * M_SQRT1_2);

      (*ops)->gelu (&y, 1);
      /* Two ulp of erf, one of the sum, two for the products. */
      g_assert_cmpfloat (fabs (y - expected), <=, fabs (x / 2.) * 7 * 0x1p-24 + 0x1p-120);
    }
}

static void
test_gelu_knows_the_values_of_the_specification (void)
{
  for (const MllamaVectorOps *const *ops = mllama_vector_ops_list (); *ops; ops++) {
    float x[] = {1, -3, 0, NAN, 50, -50};

    (*ops)->gelu (x, G_N_ELEMENTS (x));
    g_assert_cmpfloat_with_epsilon (x[0], 0.84134475f, 1e-7f);
    g_assert_cmpfloat_with_epsilon (x[1], -0.00404969f, 4e-7f);
    g_assert_cmpfloat (x[2], ==, 0);
    g_assert_true (isnan (x[3]));
    g_assert_cmpfloat (x[4], ==, 50);
    g_assert_cmpfloat (x[5], ==, 0);
  }
}

static void
test_silu_multiplies_gate_and_up (void)
{
  for (const MllamaVectorOps *const *ops = mllama_vector_ops_list (); *ops; ops++) {
    for (float x = -100; x < 100; x += 0.0137f) {
      float up = 1.5f, h;
      double expected = 1.5 * x / (1 + exp (-(double) x));

      (*ops)->silu_multiply (&h, &x, &up, 1);
      g_assert_cmpfloat (fabs (h - expected), <=, fabs (expected) * 7 * 0x1p-24 + 1e-36);
    }
    float gate[] = {NAN, 1}, up[] = {1, NAN}, h[2];
    (*ops)->silu_multiply (h, gate, up, 2);
    g_assert_true (isnan (h[0]) && isnan (h[1]));
  }
}

static void
test_max_adds_the_bias_and_passes_over_nan (void)
{
  for (const MllamaVectorOps *const *ops = mllama_vector_ops_list (); *ops; ops++)
    for (gsize n = 1; n <= N_MAX; n++)
      for (gsize at = 0; at < n; at++) {
        float x[N_MAX], bias[N_MAX];

        for (gsize i = 0; i < n; i++) {
          x[i] = i == (at + 1) % n && n > 1 ? NAN : -5;
          bias[i] = i == at ? 7 : 1;
        }
        g_assert_cmpfloat ((*ops)->add_max (x, NULL, n, -INFINITY), ==, -5);
        g_assert_cmpfloat ((*ops)->add_max (x, bias, n, -INFINITY), ==, 2);
        g_assert_cmpfloat (x[at], ==, 2);
        g_assert_cmpfloat ((*ops)->add_max (x, NULL, n, 3), ==, 3);
      }
}

typedef struct {
  float gelu[N_MAX], silu[N_MAX], exp[N_MAX];
  float sum, max;
} Results;

static void
compute (const MllamaVectorOps *ops, const float *x, gsize n, Results *results)
{
  memset (results, 0, sizeof *results);
  memcpy (results->gelu, x, n * sizeof (float));
  memcpy (results->exp, x, n * sizeof (float));
  ops->gelu (results->gelu, n);
  ops->silu_multiply (results->silu, x, x, n);
  results->max = ops->add_max (results->exp, NULL, n, -INFINITY);
  results->sum = ops->exp_sum (results->exp, n, results->max);
}

static void
test_implementations_agree_to_the_bit (void)
{
  const MllamaVectorOps *const *list = mllama_vector_ops_list ();
  g_autoptr (GRand) rand = g_rand_new_with_seed (7);

  for (guint round = 0; round < 2000; round++) {
    float x[N_MAX];
    gsize n = g_rand_int_range (rand, 1, N_MAX + 1);
    Results first, other;

    for (gsize i = 0; i < n; i++)
      x[i] = g_rand_double_range (rand, -20, 20);
    compute (list[0], x, n, &first);
    for (guint i = 1; list[i]; i++) {
      compute (list[i], x, n, &other);
      g_assert_cmpmem (&first, sizeof first, &other, sizeof other);
    }
  }
}

static void
test_bits_do_not_depend_on_the_place_in_the_row (void)
{
  for (const MllamaVectorOps *const *ops = mllama_vector_ops_list (); *ops; ops++)
    for (gsize n = 2; n <= N_MAX; n++) {
      float x[N_MAX];
      Results row, single;

      for (gsize i = 0; i < n; i++)
        x[i] = 3 - 0.37f * i;
      compute (*ops, x, n, &row);
      for (gsize i = 0; i < n; i++) {
        compute (*ops, x + i, 1, &single);
        g_assert_cmpmem (&row.gelu[i], sizeof (float), &single.gelu[0], sizeof (float));
        g_assert_cmpmem (&row.silu[i], sizeof (float), &single.silu[0], sizeof (float));
      }
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/vector/exp_is_within_two_ulps", test_exp_is_within_two_ulps);
  g_test_add_func ("/cpu/vector/exp_ends_in_zero_infinity_and_nan", test_exp_ends_in_zero_infinity_and_nan);
  g_test_add_func ("/cpu/vector/exp_sum_subtracts_the_maximum_and_sums", test_exp_sum_subtracts_the_maximum_and_sums);
  g_test_add_func ("/cpu/vector/gelu_is_the_erf_form", test_gelu_is_the_erf_form);
  g_test_add_func ("/cpu/vector/gelu_knows_the_values_of_the_specification",
                   test_gelu_knows_the_values_of_the_specification);
  g_test_add_func ("/cpu/vector/silu_multiplies_gate_and_up", test_silu_multiplies_gate_and_up);
  g_test_add_func ("/cpu/vector/max_adds_the_bias_and_passes_over_nan", test_max_adds_the_bias_and_passes_over_nan);
  g_test_add_func ("/cpu/vector/implementations_agree_to_the_bit", test_implementations_agree_to_the_bit);
  g_test_add_func ("/cpu/vector/bits_do_not_depend_on_the_place_in_the_row",
                   test_bits_do_not_depend_on_the_place_in_the_row);
  return g_test_run ();
}
