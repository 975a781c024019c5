/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu.h"
#include "oracle.h"
#include "oracle-device.h"
#include "oracle-pass.h"
#include "rope.h"

#include <math.h>
#include <string.h>

#define EPS 1e-5f

typedef struct {
  MllamaRopeConfig rope;
  guint head_width;
  float inv_freq[64];
} RopeGolden;

#include "rope-goldens.h"

/* --- rope --- */

/* transformers takes the power in float32, which may be an ulp off: then the frequency is, too. */
static void
test_frequencies_are_those_of_transformers (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (rope_goldens); i++) {
    const RopeGolden *golden = &rope_goldens[i];
    float inv_freq[64];
    guint n = golden->head_width / 2, n_equal = 0;

    mllama_rope_get_frequencies (&golden->rope, golden->head_width, inv_freq);
    for (guint k = 0; k < n; k++) {
      float expected = golden->inv_freq[k];
      n_equal += inv_freq[k] == expected;
      g_assert_cmpfloat (fabsf (inv_freq[k] - expected), <=, 2 * (nextafterf (expected, INFINITY) - expected));
    }
    g_test_message ("%u of %u frequencies are equal to the bit", n_equal, n);
    g_assert_cmpuint (n_equal, >=, n * 9 / 10);
  }
}

static void
test_angles_know_the_values_of_the_specification (void)
{
  float inv_freq[64], cosines[64], sines[64];

  mllama_rope_get_frequencies (&rope_goldens[0].rope, 128, inv_freq);
  g_assert_cmpfloat_with_epsilon (inv_freq[30], 1.371893568e-3f, 3e-10f);
  g_assert_cmpfloat_with_epsilon (inv_freq[63], 3.068925989e-7f, 1e-13f);
  mllama_cpu_rope_get_angles (inv_freq, 128, 1000, cosines, sines);
  g_assert_cmpfloat_with_epsilon (cosines[0], .56237908f, 1e-7f);
  g_assert_cmpfloat_with_epsilon (sines[0], .82687954f, 1e-7f);
  g_assert_cmpfloat_with_epsilon (cosines[30], .19759388f, 1e-6f);
  g_assert_cmpfloat_with_epsilon (sines[63], .00030689f, 1e-8f);
  /* Full range reduction. */
  mllama_cpu_rope_get_angles (inv_freq, 128, 131071, cosines, sines);
  g_assert_cmpfloat_with_epsilon (cosines[0], cos (131071), 1e-7);
  g_assert_cmpfloat_with_epsilon (sines[0], sin (131071), 1e-7);
}

/* --- keys and values of a pool --- */

enum {
  N_LAYERS = 2,
  LAYER = 1,
  N_PAGES = ORACLE_PASS_PAGES
};

/* What was there before must not matter. */
static void
poison_kv (MllamaKv *kv)
{
  for (gsize i = 0; i < kv->n_pages * kv->page_floats; i++)
    kv->data[i] = NAN;
}

static MllamaKv *
create_kv (OracleDevice *device)
{
  GError *error = NULL;
  MllamaKv *kv = device->ops->kv_new (device->be, N_LAYERS, N_PAGES, &error);

  g_assert_no_error (error);
  poison_kv (kv);
  return kv;
}

/* --- queries, keys and values --- */

static const float *
find_key (const MllamaKv *kv, MllamaCpuPart part, guint row, guint position, guint head)
{
  guint32 page = oracle_pages[row][position / MLLAMA_KV_PAGE];

  return mllama_cpu_kv_part (kv, page, LAYER, part, head) + position % MLLAMA_KV_PAGE * kv->head_width;
}

static void
check_qkv (const OracleHeads *c, MllamaPassKind kind)
{
  enum {
    D = 37
  };
  guint width = c->head_width, n_all = c->n_heads + 2 * c->n_kv_heads;
  g_autoptr (OracleDevice) device = oracle_device_new (c->n_heads, c->n_kv_heads, width);
  g_autofree float *norm = oracle_random (device, D, 1), *w = oracle_random (device, (gsize) n_all * width * D, 1);
  g_autofree float *x = oracle_random (device, 200 * D, 1), *q = NULL;
  g_autofree OracleNumber *y = g_new (OracleNumber, n_all * width);
  const float *inv_freq = mllama_cpu_backend (device->be)->inv_freq;
  MllamaKv *kv = create_kv (device);
  MllamaTensor *q_tensor;
  OraclePass p;

  oracle_pass_init (&p, kind, kv);
  oracle_pass_add (&p, 1, 60, 9); /* crosses a page */
  oracle_pass_add (&p, 0, 0, 1);
  oracle_pass_add (&p, 0, 255, 2);
  q_tensor = oracle_tensor_new (device, p.pass.n_tokens, c->n_heads * width, NULL);
  device->ops->norm_qkv_rope (device->be, q_tensor, oracle_tensor_new (device, 200, D, x),
                              oracle_vector_new (device, D, norm), EPS,
                              oracle_matrix_new (device, (gsize) n_all * width, D, w), LAYER, &p.pass);
  q = oracle_tensor_read (device, q_tensor, p.pass.n_tokens, c->n_heads * width);
  for (guint t = 0; t < p.pass.n_tokens; t++) {
    OracleNumber in[D];
    oracle_exact (in, x + t * D, D);
    oracle_rms_norm (in, in, norm, D, EPS);
    oracle_linear (y, in, w, NULL, n_all * width, D);
    for (guint h = 0; h < c->n_heads + c->n_kv_heads; h++)
      oracle_rotate (y + h * width, inv_freq, width, p.positions[t]);
    oracle_check (q + t * c->n_heads * width, y, c->n_heads * width);
    for (guint h = 0; h < c->n_kv_heads; h++) {
      oracle_check (find_key (kv, MLLAMA_CPU_KEYS, p.rows[t], p.positions[t], h), y + (c->n_heads + h) * width, width);
      oracle_check (find_key (kv, MLLAMA_CPU_VALUES, p.rows[t], p.positions[t], h),
                    y + (c->n_heads + c->n_kv_heads + h) * width, width);
    }
  }
  oracle_tensor_check_guard (device, q_tensor, p.pass.n_tokens, c->n_heads * width);
  guint n_written = 0;
  for (gsize i = 0; i < N_PAGES * kv->page_floats; i++)
    n_written += !isnan (kv->data[i]);
  g_assert_cmpuint (n_written, ==, p.pass.n_tokens * 2 * c->n_kv_heads * width);
  device->ops->kv_free (device->be, kv);
}

static void
test_norm_qkv_rope (void)
{
  for (guint i = 0; i < ORACLE_N_HEADS; i++) {
    check_qkv (&oracle_heads[i], MLLAMA_PASS_MANY);
    check_qkv (&oracle_heads[i], MLLAMA_PASS_FEW);
  }
}

/* --- self-attention --- */

static void
fill_keys (OracleDevice *device, MllamaKv *kv, guint row, guint n_positions)
{
  gsize width = kv->head_width;

  for (guint position = 0; position < n_positions; position++)
    for (guint h = 0; h < kv->n_kv_heads; h++) {
      g_autofree float *key = oracle_random (device, width, 2), *value = oracle_random (device, width, 2);
      memcpy ((float *) find_key (kv, MLLAMA_CPU_KEYS, row, position, h), key, width * sizeof (float));
      memcpy ((float *) find_key (kv, MLLAMA_CPU_VALUES, row, position, h), value, width * sizeof (float));
    }
}

static void
expect_self (const OracleHeads *c, const MllamaKv *kv, guint row, guint position, guint head, const float *q,
             OracleNumber *a)
{
  g_autofree OracleKey *keys = g_new (OracleKey, position + 1);
  guint kv_head = head / (c->n_heads / c->n_kv_heads);

  for (guint j = 0; j <= position; j++)
    keys[j] = (OracleKey){find_key (kv, MLLAMA_CPU_KEYS, row, j, kv_head),
                          find_key (kv, MLLAMA_CPU_VALUES, row, j, kv_head), 0};
  oracle_attend (a, q, keys, position + 1, c->head_width);
}

static void
check_self (const OracleHeads *c)
{
  static const guint lengths[] = {1, 63, 64, 65, 128, 200};
  guint width = c->n_heads * c->head_width;
  g_autoptr (OracleDevice) device = oracle_device_new (c->n_heads, c->n_kv_heads, c->head_width);
  g_autofree float *q = oracle_random (device, ORACLE_PASS_TOKENS * width, 1), *found = NULL;
  g_autofree OracleNumber *expected = g_new (OracleNumber, c->head_width);
  MllamaKv *kv = create_kv (device);
  MllamaTensor *a;
  OraclePass p;

  oracle_pass_init (&p, MLLAMA_PASS_MANY, kv);
  fill_keys (device, kv, 0, 200);
  fill_keys (device, kv, 1, 70);
  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
    oracle_pass_add (&p, 0, lengths[i] - 1, 1);
  oracle_pass_add (&p, 1, 60, 10);
  a = oracle_tensor_new (device, p.pass.n_tokens, width, NULL);
  device->ops->self_attention (device->be, a, oracle_tensor_new (device, p.pass.n_tokens, width, q), LAYER, &p.pass);
  found = oracle_tensor_read (device, a, p.pass.n_tokens, width);
  for (guint t = 0; t < p.pass.n_tokens; t++)
    for (guint h = 0; h < c->n_heads; h++) {
      expect_self (c, kv, p.rows[t], p.positions[t], h, q + t * width + h * c->head_width, expected);
      oracle_check (found + t * width + h * c->head_width, expected, c->head_width);
    }
  oracle_tensor_check_guard (device, a, p.pass.n_tokens, width);
  device->ops->kv_free (device->be, kv);
}

static void
test_self_attention (void)
{
  for (guint i = 0; i < ORACLE_N_HEADS; i++)
    check_self (&oracle_heads[i]);
}

/* --- batch invariance --- */

enum {
  TEXT_D = 64,
  N_PROMPT = 150
};

typedef struct {
  OracleDevice *device;
  MllamaWeight *norm, *w;
  float *x; /* [N_PROMPT][TEXT_D] */
  MllamaKv *kv;
} SelfLayer;

/* Tokens [first, first + n) of the prompt in row 1; before and after them, tokens of row 0. Appends their attention to
 * found. */
static void
run_chunk (const SelfLayer *layer, MllamaPassKind kind, guint first, guint n, guint n_before, float *found)
{
  const MllamaBackendOps *ops = layer->device->ops;
  MllamaTensor *x, *q, *a;
  g_autofree float *all = NULL;
  OraclePass p;

  oracle_pass_init (&p, kind, layer->kv);
  oracle_pass_add (&p, 0, 0, n_before);
  oracle_pass_add (&p, 1, first, n);
  x = oracle_tensor_new (layer->device, p.pass.n_tokens, TEXT_D, NULL);
  if (n_before > 0)
    ops->tensor_write (layer->device->be, x, 0, n_before, layer->x + 5 * TEXT_D, NULL);
  ops->tensor_write (layer->device->be, x, n_before, n, layer->x + first * TEXT_D, NULL);
  q = oracle_tensor_new (layer->device, p.pass.n_tokens, TEXT_D, NULL);
  a = oracle_tensor_new (layer->device, p.pass.n_tokens, TEXT_D, NULL);
  ops->norm_qkv_rope (layer->device->be, q, x, layer->norm, EPS, layer->w, LAYER, &p.pass);
  ops->self_attention (layer->device->be, a, q, LAYER, &p.pass);
  all = oracle_tensor_read (layer->device, a, p.pass.n_tokens, TEXT_D);
  memcpy (found + first * TEXT_D, all + n_before * TEXT_D, n * TEXT_D * sizeof (float));
}

/* Whole, in chunks, token by token, alone and in company. */
static void
test_bits_do_not_depend_on_the_chunks_of_a_prefill (void)
{
  static const guint chunks[] = {1, 7, 32, 64, 65};
  g_autoptr (OracleDevice) device = oracle_device_new (8, 2, TEXT_D / 8);
  g_autofree float *norm = oracle_random (device, TEXT_D, 1), *w = oracle_random (device, 96 * TEXT_D, 1),
                   *x = oracle_random (device, N_PROMPT * TEXT_D, 1);
  g_autofree float *whole = g_new0 (float, N_PROMPT *TEXT_D), *found = g_new0 (float, N_PROMPT *TEXT_D);
  SelfLayer layer = {device, oracle_vector_new (device, TEXT_D, norm), oracle_matrix_new (device, 96, TEXT_D, w), x,
                     create_kv (device)};

  run_chunk (&layer, MLLAMA_PASS_MANY, 0, N_PROMPT, 0, whole);
  for (guint i = 0; i < G_N_ELEMENTS (chunks); i++) {
    poison_kv (layer.kv);
    for (guint t = 0; t < N_PROMPT; t += chunks[i])
      run_chunk (&layer, i % 2 ? MLLAMA_PASS_MANY : MLLAMA_PASS_FEW, t, MIN (chunks[i], N_PROMPT - t), i * 9, found);
    g_assert_cmpmem (found, N_PROMPT * TEXT_D * sizeof (float), whole, N_PROMPT * TEXT_D * sizeof (float));
  }
  device->ops->kv_free (device->be, layer.kv);
}

/* --- the rest --- */

static void
test_embed_tokens_and_norm_outputs (void)
{
  enum {
    N_IDS = 11,
    D = 23,
    N = 4
  };
  static const guint32 ids[N] = {10, 0, 3, 3}, outputs[3] = {3, 0, 1};
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  g_autofree float *table = oracle_random (device, N_IDS * D, 1), *norm = oracle_random (device, D, 1), *x = NULL,
                   *y = NULL;
  MllamaTensor *x_tensor = oracle_tensor_new (device, N, D, NULL), *y_tensor = oracle_tensor_new (device, 3, D, NULL);
  MllamaPass pass = {.n_tokens = N, .ids = ids, .n_outputs = 3, .outputs = outputs};

  device->ops->embed_tokens (device->be, x_tensor, oracle_table_new (device, N_IDS, D, table), &pass);
  device->ops->norm_outputs (device->be, y_tensor, x_tensor, oracle_vector_new (device, D, norm), EPS, &pass);
  x = oracle_tensor_read (device, x_tensor, N, D);
  y = oracle_tensor_read (device, y_tensor, 3, D);
  for (guint t = 0; t < N; t++)
    g_assert_cmpmem (x + t * D, D * sizeof (float), table + ids[t] * D, D * sizeof (float));
  for (guint i = 0; i < 3; i++) {
    OracleNumber expected[D];
    oracle_exact (expected, x + outputs[i] * D, D);
    oracle_rms_norm (expected, expected, norm, D, EPS);
    oracle_check (y + i * D, expected, D);
  }
  oracle_tensor_check_guard (device, x_tensor, N, D);
  oracle_tensor_check_guard (device, y_tensor, 3, D);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/decoder/frequencies_are_those_of_transformers", test_frequencies_are_those_of_transformers);
  g_test_add_func ("/cpu/decoder/angles_know_the_values_of_the_specification",
                   test_angles_know_the_values_of_the_specification);
  g_test_add_func ("/cpu/decoder/norm_qkv_rope", test_norm_qkv_rope);
  g_test_add_func ("/cpu/decoder/self_attention", test_self_attention);
  g_test_add_func ("/cpu/decoder/bits_do_not_depend_on_the_chunks_of_a_prefill",
                   test_bits_do_not_depend_on_the_chunks_of_a_prefill);
  g_test_add_func ("/cpu/decoder/embed_tokens_and_norm_outputs", test_embed_tokens_and_norm_outputs);
  return g_test_run ();
}
