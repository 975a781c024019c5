/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Draws of the CPU backend: what a slot remembers. How an id is chosen is test-sampling's business. */
#include "cpu.h"
#include "oracle-device.h"

#include <math.h>

enum {
  N_IDS = 40
};

static const guint32 prompt[] = {3, N_IDS + 8};

/* Draws from rows of logits, and reads the samples. */
static void
draw (OracleDevice *device, const float *logits, const MllamaSampling *sampling, guint n, MllamaSample *samples)
{
  MllamaPass pass = {.n_outputs = n, .sampling = sampling};
  GError *error = NULL;

  device->ops->draw (device->be, oracle_tensor_new (device, n, N_IDS, logits), &pass);
  g_assert_true (device->ops->samples_read (device->be, samples, &error));
  g_assert_no_error (error);
}

/* One draw for a slot from logits of which ids[0] has the largest, ids[1] the next, and so on. */
static MllamaSample
draw_ranked (OracleDevice *device, const MllamaSampling *sampling, const guint32 *ids, guint n_ids)
{
  float logits[N_IDS] = {0};
  MllamaSample sample;

  for (guint i = 0; i < n_ids; i++)
    logits[ids[i]] = 10 - i;
  draw (device, logits, sampling, 1, &sample);
  return sample;
}

static void
test_draws_from_every_row (void)
{
  enum {
    N = 3
  };
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  g_autofree float *values = oracle_random (device, N * N_IDS, 1);
  MllamaSampling sampling[N];
  MllamaSample samples[N];

  for (guint i = 0; i < N; i++)
    sampling[i] =
        (MllamaSampling){.top_p = 1, .repetition_penalty = 1, .slot = 63 - 31 * i, .prompt = prompt, .n_prompt = 2};
  values[5] = 3;
  values[N_IDS + 16] = 4;
  values[2 * N_IDS + 1] = NAN;
  draw (device, values, sampling, N, samples);
  g_assert_cmpuint (samples[0].id, ==, 5);
  g_assert_cmpuint (samples[1].id, ==, 16);
  g_assert_cmpfloat_with_epsilon (samples[1].logprob, mllama_log_softmax_at (values + N_IDS, N_IDS, 16), 1e-12);
  g_assert_true (samples[0].finite && samples[1].finite && !samples[2].finite);
  g_assert_false (samples[0].is_done || samples[1].is_done || samples[2].is_done);
}

/* The penalty turns 10 into 5. */
static void
test_penalty_looks_at_prompt_and_answer (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  MllamaSampling first = {.top_p = 1, .repetition_penalty = 2, .slot = 7, .prompt = prompt, .n_prompt = 2},
                 next = {.top_p = 1, .repetition_penalty = 2, .slot = 7};
  const guint32 ranks[] = {3, 20, 21};

  g_assert_cmpuint (draw_ranked (device, &first, ranks, 3).id, ==, 20);
  g_assert_cmpuint (draw_ranked (device, &next, ranks, 3).id, ==, 21);
  g_assert_cmpuint (draw_ranked (device, &next, ranks, 3).id, ==, 3);
  /* Another slot has its own history, and a first draw forgets it. */
  first.slot = 8;
  g_assert_cmpuint (draw_ranked (device, &first, ranks, 3).id, ==, 20);
  first.slot = 7;
  first.n_prompt = 0;
  g_assert_cmpuint (draw_ranked (device, &first, ranks, 3).id, ==, 3);
}

static void
test_nothing_is_drawn_after_a_stop_id (void)
{
  static const guint32 stop_ids[] = {9, 11}, eleven = 11, twelve = 12;
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  MllamaSampling first = {.top_p = 1,
                          .repetition_penalty = 1,
                          .slot = 1,
                          .prompt = prompt,
                          .n_prompt = 2,
                          .stop_ids = stop_ids,
                          .n_stop_ids = 2},
                 next = first;
  MllamaSample sample;

  next.prompt = NULL;
  next.n_prompt = 0;
  g_assert_false (draw_ranked (device, &first, &twelve, 1).is_done);
  sample = draw_ranked (device, &next, &eleven, 1);
  g_assert_cmpuint (sample.id, ==, 11);
  g_assert_true (sample.finite && !sample.is_done); /* the stop id itself was drawn */
  g_assert_true (draw_ranked (device, &next, &twelve, 1).is_done);
  g_assert_true (draw_ranked (device, &next, &twelve, 1).is_done);
  g_assert_false (draw_ranked (device, &first, &twelve, 1).is_done);
}

static void
test_the_drawn_id_is_embedded (void)
{
  enum {
    D = 5
  };
  static const guint32 ids[] = {MLLAMA_ID_DRAWN, 2, MLLAMA_ID_DRAWN}, rows[] = {1, 1, 0}, seven = 7, thirty = 30;
  static const MllamaRow row_table[] = {{4, NULL}, {5, NULL}};
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  g_autofree float *table = oracle_random (device, N_IDS * D, 1), *found = NULL;
  MllamaSampling sampling = {.top_p = 1, .repetition_penalty = 1, .slot = 4, .prompt = prompt, .n_prompt = 2};
  MllamaTensor *x = oracle_tensor_new (device, 3, D, NULL);
  MllamaPass pass = {.n_tokens = 3, .ids = ids, .rows = rows, .row_table = row_table, .n_rows = 2};

  draw_ranked (device, &sampling, &seven, 1);
  sampling.slot = 5;
  draw_ranked (device, &sampling, &thirty, 1);
  device->ops->embed_tokens (device->be, x, oracle_table_new (device, N_IDS, D, table), &pass);
  found = oracle_tensor_read (device, x, 3, D);
  g_assert_cmpmem (found, D * sizeof (float), table + 30 * D, D * sizeof (float));
  g_assert_cmpmem (found + D, D * sizeof (float), table + 2 * D, D * sizeof (float));
  g_assert_cmpmem (found + 2 * D, D * sizeof (float), table + 7 * D, D * sizeof (float));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/draw/draws_from_every_row", test_draws_from_every_row);
  g_test_add_func ("/cpu/draw/penalty_looks_at_prompt_and_answer", test_penalty_looks_at_prompt_and_answer);
  g_test_add_func ("/cpu/draw/nothing_is_drawn_after_a_stop_id", test_nothing_is_drawn_after_a_stop_id);
  g_test_add_func ("/cpu/draw/the_drawn_id_is_embedded", test_the_drawn_id_is_embedded);
  return g_test_run ();
}
