/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu.h"
#include "oracle.h"
#include "oracle-device.h"
#include "oracle-pass.h"

#include <math.h>
#include <string.h>

#define EPS 1e-5f

enum {
  N_LAYERS = 2,
  LAYER = 1
};

static void
check_q_heads (const OracleHeads *c, MllamaPassKind kind)
{
  enum {
    D = 21,
    N = 5
  };
  guint width = c->n_heads * c->head_width;
  g_autoptr (OracleDevice) device = oracle_device_new (c->n_heads, c->n_kv_heads, c->head_width);
  g_autofree float *norm = oracle_random (device, D, 1), *q_norm = oracle_random (device, c->head_width, 1);
  g_autofree float *w = oracle_random (device, (gsize) width * D, 1), *x = oracle_random (device, N * D, 1), *q = NULL;
  g_autofree OracleNumber *y = g_new (OracleNumber, width);
  MllamaTensor *q_tensor = oracle_tensor_new (device, N, width, NULL);
  OraclePass p;

  oracle_pass_init (&p, kind, NULL);
  oracle_pass_add (&p, 0, 3, N);
  device->ops->norm_q_heads (device->be, q_tensor, oracle_tensor_new (device, N, D, x),
                             oracle_vector_new (device, D, norm), EPS, oracle_matrix_new (device, width, D, w),
                             oracle_vector_new (device, c->head_width, q_norm), &p.pass);
  q = oracle_tensor_read (device, q_tensor, N, width);
  for (guint t = 0; t < N; t++) {
    OracleNumber in[D];
    oracle_exact (in, x + t * D, D);
    oracle_rms_norm (in, in, norm, D, EPS);
    oracle_linear (y, in, w, NULL, width, D);
    for (guint h = 0; h < c->n_heads; h++)
      oracle_rms_norm (y + h * c->head_width, y + h * c->head_width, q_norm, c->head_width, EPS);
    oracle_check (q + t * width, y, width);
  }
  oracle_tensor_check_guard (device, q_tensor, N, width);
}

static void
test_norm_q_heads (void)
{
  for (guint i = 0; i < ORACLE_N_HEADS; i++) {
    check_q_heads (&oracle_heads[i], MLLAMA_PASS_MANY);
    check_q_heads (&oracle_heads[i], MLLAMA_PASS_FEW);
  }
}

static void
check_cross_keys (const OracleHeads *c)
{
  enum {
    D = 18,
    N = 67,
    FIRST = 3
  };
  guint width = c->n_kv_heads * c->head_width;
  g_autoptr (OracleDevice) device = oracle_device_new (c->n_heads, c->n_kv_heads, c->head_width);
  g_autofree float *w = oracle_random (device, 2 * (gsize) width * D, 1),
                   *y = oracle_random (device, (FIRST + N) * D, 1), *k_norm = oracle_random (device, c->head_width, 1);
  g_autofree OracleNumber *kv = g_new (OracleNumber, 2 * width);
  GError *error = NULL;
  MllamaSlab *slab = device->ops->slab_new (device->be, N_LAYERS, N, &error);

  g_assert_no_error (error);
  for (guint i = 0; i < FIRST * D; i++)
    y[i] = NAN;
  device->ops->cross_keys_values (device->be, slab, LAYER, oracle_tensor_new (device, FIRST + N, D, y), FIRST,
                                  oracle_matrix_new (device, 2 * width, D, w),
                                  oracle_vector_new (device, c->head_width, k_norm), EPS);
  for (guint s = 0; s < N; s++) {
    OracleNumber in[D];
    oracle_exact (in, y + (FIRST + s) * D, D);
    oracle_linear (kv, in, w, NULL, 2 * width, D);
    for (guint h = 0; h < c->n_kv_heads; h++) {
      OracleNumber *key = kv + h * c->head_width;
      oracle_rms_norm (key, key, k_norm, c->head_width, EPS);
      oracle_check (mllama_cpu_slab_part (slab, LAYER, MLLAMA_CPU_KEYS, h) + s * c->head_width, key, c->head_width);
      oracle_check (mllama_cpu_slab_part (slab, LAYER, MLLAMA_CPU_VALUES, h) + s * c->head_width, key + width,
                    c->head_width);
    }
  }
  device->ops->slab_free (device->be, slab);
}

static void
test_cross_keys_values (void)
{
  for (guint i = 0; i < ORACLE_N_HEADS; i++)
    check_cross_keys (&oracle_heads[i]);
}

/* A slab of random keys, but for the first three, which are NaN. */
static MllamaSlab *
create_slab (OracleDevice *device, guint n_keys)
{
  GError *error = NULL;
  MllamaSlab *slab = device->ops->slab_new (device->be, N_LAYERS, n_keys, &error);
  gsize n_floats;
  g_autofree float *values = NULL;

  g_assert_no_error (error);
  n_floats = (gsize) N_LAYERS * 2 * slab->n_kv_heads * n_keys * slab->head_width;
  values = oracle_random (device, n_floats, 2);
  for (gsize i = 0; i < n_floats; i++)
    slab->data[i] = i / slab->head_width % n_keys < 3 ? NAN : values[i];
  return slab;
}

static void
expect_cross (const OracleHeads *c, const MllamaPass *pass, guint token, guint head, const float *q, OracleNumber *a)
{
  g_autoptr (GArray) keys = g_array_new (FALSE, FALSE, sizeof (OracleKey));
  guint kv_head = head / (c->n_heads / c->n_kv_heads);

  for (guint s = 0; s < pass->n_spans[token]; s++) {
    const MllamaKeySpan *span = &pass->spans[pass->first_span[token] + s];
    for (guint j = span->first; j < span->first + span->n_keys; j++) {
      OracleKey key = {mllama_cpu_slab_part (span->slab, LAYER, MLLAMA_CPU_KEYS, kv_head) + j * c->head_width,
                       mllama_cpu_slab_part (span->slab, LAYER, MLLAMA_CPU_VALUES, kv_head) + j * c->head_width,
                       span->bias};
      g_array_append_val (keys, key);
    }
  }
  oracle_attend (a, q, (const OracleKey *) keys->data, keys->len, c->head_width);
}

static void
check_cross (const OracleHeads *c)
{
  enum {
    N = 6,
    N_KEYS = 200
  };
  guint width = c->n_heads * c->head_width;
  g_autoptr (OracleDevice) device = oracle_device_new (c->n_heads, c->n_kv_heads, c->head_width);
  g_autofree float *q = oracle_random (device, N * width, 1), *found = NULL;
  g_autofree OracleNumber *expected = g_new (OracleNumber, c->head_width);
  MllamaSlab *slabs[] = {create_slab (device, N_KEYS), create_slab (device, 70)};
  MllamaKeySpan spans[] = {{slabs[0], 3, 1, 0},
                           {slabs[0], 3, 64, 0},
                           {slabs[0], 10, 63, 1.5f},
                           {slabs[1], 5, 65, 0},
                           {slabs[0], 3, N_KEYS - 3, -2}};
  MllamaTensor *a = oracle_tensor_new (device, N, width, NULL);
  OraclePass p;

  oracle_pass_init (&p, MLLAMA_PASS_MANY, NULL);
  oracle_pass_add (&p, 0, 0, N);
  p.pass.spans = spans;
  p.pass.n_spans_total = G_N_ELEMENTS (spans);
  for (guint t = 0; t < N; t++) {
    p.first_span[t] = t < 4 ? t : 2;
    p.n_spans[t] = t < 4 ? 1 : t == 4 ? 3 : 0; /* the last sees nothing */
  }
  device->ops->cross_attention (device->be, a, oracle_tensor_new (device, N, width, q), LAYER, &p.pass);
  found = oracle_tensor_read (device, a, N, width);
  for (guint t = 0; t < N; t++)
    for (guint h = 0; h < c->n_heads; h++) {
      expect_cross (c, &p.pass, t, h, q + t * width + h * c->head_width, expected);
      oracle_check (found + t * width + h * c->head_width, expected, c->head_width);
    }
  for (guint i = 0; i < width; i++)
    g_assert_cmpfloat (found[(N - 1) * width + i], ==, 0);
  oracle_tensor_check_guard (device, a, N, width);
  device->ops->slab_free (device->be, slabs[0]);
  device->ops->slab_free (device->be, slabs[1]);
}

static void
test_cross_attention (void)
{
  for (guint i = 0; i < ORACLE_N_HEADS; i++)
    check_cross (&oracle_heads[i]);
}

static void
test_nan_among_the_keys_reaches_the_token (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  g_autofree float *q = oracle_random (device, 2 * 16, 1), *found = NULL;
  MllamaSlab *slab = create_slab (device, 80);
  MllamaKeySpan spans[] = {{slab, 2, 70, 0}, {slab, 3, 70, 0}}; /* key 2 is NaN */
  MllamaTensor *a = oracle_tensor_new (device, 2, 16, NULL);
  OraclePass p;

  oracle_pass_init (&p, MLLAMA_PASS_FEW, NULL);
  oracle_pass_add (&p, 0, 0, 2);
  p.pass.spans = spans;
  p.pass.n_spans_total = G_N_ELEMENTS (spans);
  p.first_span[1] = 1;
  p.n_spans[0] = p.n_spans[1] = 1;
  device->ops->cross_attention (device->be, a, oracle_tensor_new (device, 2, 16, q), LAYER, &p.pass);
  found = oracle_tensor_read (device, a, 2, 16);
  for (guint i = 0; i < 32; i++)
    g_assert_cmpint (isnan (found[i]) != 0, ==, i < 16);
  device->ops->slab_free (device->be, slab);
}

static void
test_bits_of_cross_attention_do_not_depend_on_companions (void)
{
  enum {
    N = 60,
    H = 4,
    C = 16,
    D = H * C
  };
  g_autoptr (OracleDevice) device = oracle_device_new (H, 2, C);
  g_autofree float *q = oracle_random (device, N * D, 1), *all = NULL;
  MllamaSlab *slab = create_slab (device, 333);
  MllamaKeySpan spans[] = {{slab, 3, 330, 0}, {slab, 50, 100, 0.5f}};
  MllamaTensor *a = oracle_tensor_new (device, N, D, NULL);
  OraclePass p;

  oracle_pass_init (&p, MLLAMA_PASS_FEW, NULL);
  oracle_pass_add (&p, 0, 0, N);
  p.pass.spans = spans;
  p.pass.n_spans_total = G_N_ELEMENTS (spans);
  for (guint t = 0; t < N; t++)
    p.n_spans[t] = 1 + t % 2;
  device->ops->cross_attention (device->be, a, oracle_tensor_new (device, N, D, q), LAYER, &p.pass);
  all = oracle_tensor_read (device, a, N, D);
  for (guint t = 0; t < N; t++) {
    g_autofree float *alone = NULL;
    MllamaTensor *b = oracle_tensor_new (device, 1, D, NULL);
    p.pass.n_tokens = 1;
    p.n_spans[0] = 1 + t % 2;
    device->ops->cross_attention (device->be, b, oracle_tensor_new (device, 1, D, q + t * D), LAYER, &p.pass);
    alone = oracle_tensor_read (device, b, 1, D);
    g_assert_cmpmem (alone, D * sizeof (float), all + t * D, D * sizeof (float));
  }
  device->ops->slab_free (device->be, slab);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/cross/norm_q_heads", test_norm_q_heads);
  g_test_add_func ("/cpu/cross/cross_keys_values", test_cross_keys_values);
  g_test_add_func ("/cpu/cross/cross_attention", test_cross_attention);
  g_test_add_func ("/cpu/cross/nan_among_the_keys_reaches_the_token", test_nan_among_the_keys_reaches_the_token);
  g_test_add_func ("/cpu/cross/bits_of_cross_attention_do_not_depend_on_companions",
                   test_bits_of_cross_attention_do_not_depend_on_companions);
  return g_test_run ();
}
