/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Drawn ids against mllama_sampler_draw; what a slot remembers; and the drawn id as the next token. */
#include "check-pass.h"
#include "sampling.h"

#include <math.h>
#include <string.h>

enum {
  MAX_PROMPT = 5,
  EMBEDDING = 16,
  N_STEPS = 5
};

/* Of the answer in one slot: what the backend has to remember. */
typedef struct {
  guint32 prompt[MAX_PROMPT];
  guint32 *history;
  gboolean is_done, is_lost; /* lost: its logits were not finite */
} Answer;

typedef struct {
  Check *check;
  OracleDevice *device;
  gsize n_logits;
  guint n_rows;
  MllamaSampler *sampler;
  MllamaTensor *logits, *x;
  MllamaWeight *table;
  float *values, *embeddings;
  CheckPass *pass;
  Answer answers[MLLAMA_MAX_ROWS];
  guint32 stop_ids[4];
} Draws;

static void
init_draws (Draws *d, Check *check, gsize n_logits, guint n_rows)
{
  CheckModel model = {.n_ids = n_logits};

  memset (d, 0, sizeof *d);
  d->check = check;
  d->device = check_open (check, &model);
  d->n_logits = n_logits;
  d->n_rows = n_rows;
  d->sampler = mllama_sampler_new (n_logits);
  d->values = g_new (float, n_rows *n_logits);
  d->logits = oracle_tensor_new_full (d->device, n_rows, n_logits, NULL);
  d->x = oracle_tensor_new (d->device, n_rows, EMBEDDING, NULL);
  d->embeddings = oracle_random (d->device, n_logits * EMBEDDING, 1);
  d->table = oracle_table_new (d->device, n_logits, EMBEDDING, d->embeddings);
  d->pass = check_pass_new (MLLAMA_PASS_FEW, n_rows, n_rows, 1, NULL);
  for (guint i = 0; i < n_rows; i++)
    d->answers[i].history = g_new0 (guint32, mllama_history_get_words (n_logits));
  for (guint i = 0; i < G_N_ELEMENTS (d->stop_ids); i++)
    d->stop_ids[i] = i * n_logits / 4;
}

static void
clear_draws (Draws *d)
{
  for (guint i = 0; i < d->n_rows; i++)
    g_free (d->answers[i].history);
  g_free (d->values);
  g_free (d->embeddings);
  mllama_sampler_free (d->sampler);
  check_pass_free (d->pass);
  oracle_device_free (d->device);
}

/* Few values, so that many are equal; a peak or none; impossible tokens; damage. */
static void
fill_logits (Draws *d, guint step)
{
  GRand *rand = d->device->rand;

  for (guint i = 0; i < d->n_rows; i++) {
    float *row = d->values + i * d->n_logits, scale = i % 3 == 0 ? 12 : 3;

    for (gsize k = 0; k < d->n_logits; k++) {
      row[k] = g_rand_double_range (rand, -scale, scale);
      if (i % 4 == 1)
        row[k] = roundf (row[k]);
      if (i % 5 == 2 && k % 3 == 1)
        row[k] = -INFINITY;
    }
    if (step == 2 && i % 16 == 5)
      row[g_rand_int_range (rand, 0, d->n_logits)] = NAN;
    if (step == 2 && i % 16 == 9)
      row[d->n_logits - 1] = INFINITY;
  }
}

static MllamaSampling
choose_sampling (Draws *d, guint row, guint step)
{
  static const struct {
    double temperature;
    guint top_k;
    double top_p, penalty;
  } settings[] = {{0, 0, 1, 1},    {0.8, 0, 1, 1},    {1, 1, 1, 1},       {1, 5, 1, 1},     {0.7, 50, 1, 1},
                  {1, 0, 0.9, 1},  {1.3, 0, 0.5, 1},  {1, 0, 0.1, 1},     {1, 40, 0.95, 1}, {0.2, 3, 0.6, 1},
                  {0, 0, 1, 1.3},  {0.9, 0, 1, 1.2},  {1, 20, 0.8, 0.7},  {1e-30, 0, 1, 1}, {1e30, 0, 1, 1},
                  {1, 0, 0.99, 1}, {2, 100000, 1, 1}, {1, 0, 0.999, 1.05}};
  guint i = (row * 5 + 1) % G_N_ELEMENTS (settings);
  MllamaSampling s = {.temperature = settings[i].temperature,
                      .top_k = settings[i].top_k,
                      .top_p = settings[i].top_p,
                      .repetition_penalty = settings[i].penalty,
                      .seed = row / 2,
                      .position = step * 3 + row,
                      .slot = d->pass->row_table[row].slot};

  if (step == 0) {
    s.prompt = d->answers[row].prompt;
    s.n_prompt = MAX_PROMPT;
  }
  if (row % 4 == 3) {
    s.stop_ids = d->stop_ids;
    s.n_stop_ids = G_N_ELEMENTS (d->stop_ids);
  }
  return s;
}

static void
start_answer (Draws *d, Answer *answer)
{
  answer->is_done = answer->is_lost = FALSE;
  memset (answer->history, 0, mllama_history_get_words (d->n_logits) * sizeof (guint32));
  for (guint i = 0; i < MAX_PROMPT; i++) {
    answer->prompt[i] = g_rand_int_range (d->device->rand, 0, d->n_logits + 2); /* some have no logit */
    mllama_history_add (answer->history, d->n_logits, answer->prompt[i]);
  }
}

static void
call_draw (gpointer data)
{
  const Draws *d = data;

  d->device->ops->draw (d->device->be, d->logits, &d->pass->pass);
}

static void
call_embed (gpointer data)
{
  const Draws *d = data;

  d->device->ops->embed_tokens (d->device->be, d->x, d->table, &d->pass->pass);
}

/* Sums of exponentials in f32, in lanes; the logarithm, and the difference of logits. */
static double
bound_logprob (const Draws *d, double logprob)
{
  return (d->n_logits / 256. + 64) * ORACLE_ROUNDING + 4 * ORACLE_ROUNDING * fabs (logprob);
}

static void
check_sample (Draws *d, guint row, guint step, const MllamaSample *found)
{
  const MllamaSampling *s = &d->pass->sampling[row];
  Answer *answer = &d->answers[row];
  MllamaSample expected;

  if (answer->is_lost)
    return;
  if (found->is_done != answer->is_done)
    check_fail (d->check, "%" G_GSIZE_FORMAT " logits, row %u, step %u: is_done is %d", d->n_logits, row, step,
                found->is_done);
  if (answer->is_done)
    return;
  expected = mllama_sampler_draw (d->sampler, d->values + row * d->n_logits, s, answer->history);
  answer->is_lost = !expected.finite;
  if (!expected.finite != !found->finite || (expected.finite && expected.id != found->id))
    check_fail (d->check, "%" G_GSIZE_FORMAT " logits, row %u, step %u: id %u (%sfinite), expected %u (%sfinite)",
                d->n_logits, row, step, found->id, found->finite ? "" : "not ", expected.id,
                expected.finite ? "" : "not ");
  if (!expected.finite)
    return;
  d->check->factor =
      MAX (d->check->factor, fabs (found->logprob - expected.logprob) / bound_logprob (d, expected.logprob));
  if (!(fabs (found->logprob - expected.logprob) <= bound_logprob (d, expected.logprob)))
    check_fail (d->check, "%" G_GSIZE_FORMAT " logits, row %u, step %u: logprob %.9g, expected %.9g", d->n_logits, row,
                step, found->logprob, expected.logprob);
  mllama_history_add (answer->history, d->n_logits, expected.id);
  for (guint i = 0; i < s->n_stop_ids; i++)
    answer->is_done |= s->stop_ids[i] == expected.id;
}

/* The rows that were drawn are the next tokens. */
static void
check_embedded (Draws *d, const MllamaSample *samples)
{
  g_autofree float *found = NULL;

  check_pass_clear (d->pass);
  for (guint i = 0; i < d->n_rows; i++) {
    check_pass_add (d->pass, i, 7, 1);
    d->pass->ids[i] = MLLAMA_ID_DRAWN;
  }
  d->pass->pass.sampling = NULL;
  check_pass_run (d->device, d->pass, call_embed, d);
  found = oracle_tensor_read (d->device, d->x, d->n_rows, EMBEDDING);
  for (guint i = 0; i < d->n_rows; i++)
    if (samples[i].finite && !samples[i].is_done && !d->answers[i].is_done)
      check_bits (d->check, found + i * EMBEDDING, d->embeddings + (gsize) samples[i].id * EMBEDDING, EMBEDDING,
                  "embedding of the id drawn for row %u", i);
}

static void
run_step (Draws *d, guint step)
{
  MllamaSample samples[MLLAMA_MAX_ROWS];
  GError *error = NULL;

  fill_logits (d, step);
  check_preset (d->device, d->logits, d->n_rows, d->n_logits, d->values);
  check_pass_clear (d->pass);
  for (guint i = 0; i < d->n_rows; i++) {
    if (step == 0)
      start_answer (d, &d->answers[i]);
    check_pass_add (d->pass, i, 0, 1);
    d->pass->outputs[i] = i;
    d->pass->sampling[i] = choose_sampling (d, i, step);
  }
  d->pass->pass.n_outputs = d->n_rows;
  d->pass->pass.sampling = d->pass->sampling;
  check_pass_run (d->device, d->pass, call_draw, d);
  d->device->ops->samples_read (d->device->be, samples, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < d->n_rows; i++)
    check_sample (d, i, step, &samples[i]);
  check_embedded (d, samples);
}

/* Twice, so that slots start again. */
static void
check_answers (Check *check, gsize n_logits, guint n_rows, guint n_steps, gboolean is_needed)
{
  guint n_rounds = check_is_sparse (check) ? 1 : 2;
  Draws *d;

  if (!check_wants_case (check, is_needed))
    return;
  d = g_new (Draws, 1);
  init_draws (d, check, n_logits, n_rows);
  for (guint round = 0; round < n_rounds; round++)
    for (guint step = 0; step < n_steps; step++)
      run_step (d, step);
  clear_draws (d);
  g_free (d);
}

static void
check_small (Check *check)
{
  static const gsize widths[] = {1, 2, 5, 31, 63, 64, 65, 255, 1000, 4099};

  for (guint i = 0; i < G_N_ELEMENTS (widths); i++) {
    check_answers (check, widths[i], 1, N_STEPS, FALSE);
    check_answers (check, widths[i], MLLAMA_MAX_ROWS, N_STEPS, i + 1 == G_N_ELEMENTS (widths));
  }
}

static void
check_full_size (Check *check)
{
  check_answers (check, 128256, check_is_sparse (check) ? 5 : 19, 3, FALSE);
}

const CheckEntry checks_of_draw[] = {{"small", check_small}, {"full_size", check_full_size}, {NULL, NULL}};
