/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attention, patches and draws of the 11B model, at some rows and heads. */
#include "noise-source.h"
#include "sampling.h"
#include "speed.h"

#include <math.h>

enum {
  H = 32,
  K = 8,
  C = 128,
  N_CROSS_KEYS = 6404
};

static Check
start_check (const Speed *speed, const char *name)
{
  return (Check){.name = name, .device = speed->report->device, .dtype = MLLAMA_DTYPE_BF16};
}

/* --- the tower --- */

enum {
  TOWER_HEADS = 16,
  TOWER_C = 80,
  TOWER_D = TOWER_HEADS * TOWER_C,
  TOWER_ROWS = 6405
};

typedef struct {
  OracleDevice *device;
  MllamaTensor *a, *qkv;
  MllamaTowerLayout layout;
} Tower;

static void
call_tower (gpointer data)
{
  const Tower *t = data;

  t->device->ops->tower_attention (t->device->be, t->a, t->qkv, TOWER_HEADS, &t->layout);
}

static void
check_tower_row (Check *check, const float *qkv, const float *bias, const float *found, guint row, guint head)
{
  guint n_keys = row < TOWER_ROWS - 1 ? TOWER_ROWS : TOWER_ROWS - 1;
  g_autofree OracleKey *keys = g_new0 (OracleKey, n_keys);
  OracleNumber expected[TOWER_C];

  for (gsize j = 0; j < n_keys; j++) {
    const float *of_row = qkv + j * 3 * TOWER_D + head * TOWER_C;
    keys[j] = (OracleKey){of_row + TOWER_D, of_row + 2 * TOWER_D, bias[j]};
  }
  oracle_attend_rounded (expected, qkv + (gsize) row * 3 * TOWER_D + head * TOWER_C, keys, n_keys, TOWER_C,
                         check_get_weight_rounding (check));
  check_round (check, expected, TOWER_C);
  check_numbers (check, found + (gsize) row * TOWER_D + head * TOWER_C, expected, TOWER_C, "row %u, head %u", row,
                 head);
}

static void
run_tower (const Speed *speed, const char *name)
{
  static const guint rows[] = {0, 63, 3202, TOWER_ROWS - 2, TOWER_ROWS - 1};
  Check check = start_check (speed, name);
  CheckModel model = {.tower_width = TOWER_D, .tower_heads = TOWER_HEADS, 560, 14};
  g_autoptr (OracleDevice) device = check_open (&check, &model);
  g_autofree float *qkv = noise_new (1, (gsize) TOWER_ROWS * 3 * TOWER_D, 2), *bias = g_new0 (float, TOWER_ROWS),
                   *found = NULL;
  MllamaSequence sequence = {0, TOWER_ROWS - 1, TOWER_ROWS};
  Tower t = {device,
             oracle_tensor_new (device, TOWER_ROWS, TOWER_D, NULL),
             oracle_tensor_new (device, TOWER_ROWS, 3 * TOWER_D, qkv),
             {TOWER_ROWS, 1, &sequence, bias}};
  SpeedCost cost = {name, 8. * TOWER_ROWS * TOWER_D, 4. * TOWER_ROWS * TOWER_ROWS * TOWER_D};

  bias[TOWER_ROWS - 1] = logf (28);
  call_tower (&t);
  found = oracle_tensor_read (device, t.a, TOWER_ROWS, TOWER_D);
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    for (guint head = 0; head < TOWER_HEADS; head += 5)
      check_tower_row (&check, qkv, bias, found, rows[i], head);
  speed_report (speed, &check, &cost, speed_measure (device, NULL, 4, call_tower, &t));
}

/* --- the decoder --- */

typedef struct {
  Check check;
  OracleDevice *device;
  CheckKeys keys;
  CheckPass *pass;
  MllamaTensor *a, *q;
  MllamaSlab *slab;
  MllamaKv *kv;
} Decoder;

static void
call_decoder (gpointer data)
{
  const Decoder *d = data;
  const MllamaBackendOps *ops = d->device->ops;

  if (d->slab)
    ops->cross_attention (d->device->be, d->a, d->q, 1, &d->pass->pass);
  else
    ops->self_attention (d->device->be, d->a, d->q, 1, &d->pass->pass);
}

static void
check_head (Decoder *d, const float *q, const float *found, guint token, guint head)
{
  guint n_keys = d->slab ? N_CROSS_KEYS : d->pass->positions[token] + 1;
  gsize at = ((gsize) token * H + head) * C;
  g_autofree OracleKey *keys = g_new (OracleKey, n_keys);
  OracleNumber expected[C];

  for (guint j = 0; j < n_keys; j++)
    keys[j] = check_keys_get (&d->keys, d->slab ? 100 : d->pass->rows[token], j, head / (H / K), 0);
  oracle_attend_rounded (expected, q + at, keys, n_keys, C, check_get_weight_rounding (&d->check));
  check_round (&d->check, expected, C);
  check_numbers (&d->check, found + at, expected, C, "token %u, head %u", token, head);
}

static void
measure_decoder (const Speed *speed, Decoder *d, double n_keys)
{
  guint n = d->pass->pass.n_tokens;
  g_autofree float *q = oracle_random (d->device, (gsize) n * H * C, 2), *found = NULL;
  SpeedCost cost = {d->check.name, 4 * n_keys * K * C, 4. * n * (n_keys / d->pass->pass.n_rows) * H * C};

  d->q = oracle_tensor_new (d->device, n, H * C, q);
  d->a = oracle_tensor_new (d->device, n, H * C, NULL);
  check_pass_run (d->device, d->pass, call_decoder, d);
  found = oracle_tensor_read (d->device, d->a, n, H * C);
  for (guint t = 0; t < n; t += n / 3 + 1)
    for (guint head = 0; head < H; head += 7)
      check_head (d, q, found, t, head);
  speed_report (speed, &d->check, &cost, speed_measure (d->device, d->pass, n > 64 ? 8 : 24, call_decoder, d));
  check_keys_clear (&d->keys);
  check_pass_free (d->pass);
}

static void
init_decoder (Decoder *d, const Speed *speed, const char *name)
{
  CheckModel model = {H, K, C, .has_still_rope = TRUE};

  *d = (Decoder){start_check (speed, name)};
  d->device = check_open (&d->check, &model);
}

/* n_rows answers at the same position, or a prompt that ends there. */
static void
run_self (const Speed *speed, const char *name, MllamaPassKind kind, guint n_rows, guint position, guint n_tokens)
{
  guint pages_a_row = position / MLLAMA_KV_PAGE + 1;
  GError *error = NULL;
  Decoder d;

  init_decoder (&d, speed, name);
  d.kv = d.device->ops->kv_new (d.device->be, 2, n_rows * pages_a_row, &error);
  g_assert_no_error (error);
  d.device->ops->kv_commit (d.device->be, d.kv, n_rows * pages_a_row, &error);
  g_assert_no_error (error);
  d.pass = check_pass_new (kind, n_rows * n_tokens, n_rows, pages_a_row, d.kv);
  check_keys_init_self (&d.keys, &d.check, d.device);
  for (guint row = 0; row < n_rows; row++) {
    check_keys_append (&d.keys, d.pass, MLLAMA_PASS_MANY, 1, row, 0, position + 1, FALSE);
    check_pass_add (d.pass, row, position + 1 - n_tokens, n_tokens);
  }
  measure_decoder (speed, &d, (double) n_rows * (position + 1));
  d.device->ops->kv_free (d.device->be, d.kv);
  oracle_device_free (d.device);
}

/* All rows look at the same picture. */
static void
run_cross (const Speed *speed, const char *name, MllamaPassKind kind, guint n_tokens)
{
  Decoder d;

  init_decoder (&d, speed, name);
  d.pass = check_pass_new (kind, n_tokens, 1, n_tokens / MLLAMA_KV_PAGE + 1, NULL);
  check_keys_init_cross (&d.keys, &d.check, d.device);
  d.slab = check_keys_new_slab (&d.keys, 100, N_CROSS_KEYS, 0, N_CROSS_KEYS);
  check_pass_add (d.pass, 0, 0, n_tokens);
  check_pass_add_span (d.pass, d.slab, 0, N_CROSS_KEYS, 0);
  for (guint t = 0; t < n_tokens; t++)
    d.pass->n_spans[t] = 1;
  measure_decoder (speed, &d, N_CROSS_KEYS);
  d.device->ops->slab_free (d.device->be, d.slab);
  oracle_device_free (d.device);
}

/* --- draws --- */

enum {
  N_LOGITS = 128256,
  N_DRAWS = 32
};

typedef struct {
  OracleDevice *device;
  MllamaTensor *logits;
  CheckPass *pass;
} Draws;

static void
call_draw (gpointer data)
{
  const Draws *d = data;

  d->device->ops->draw (d->device->be, d->logits, &d->pass->pass);
}

/* In pass after pass: each has one draw, and somebody reads it. */
static void
draw_and_read (gpointer data)
{
  Draws *d = data;
  MllamaSample samples[MLLAMA_MAX_ROWS];

  check_pass_run (d->device, d->pass, call_draw, d);
  d->device->ops->samples_read (d->device->be, samples, NULL);
}

static void
run_draws (const Speed *speed, const char *name, double temperature, double top_p)
{
  Check check = start_check (speed, name);
  CheckModel model = {.n_ids = N_LOGITS};
  g_autoptr (OracleDevice) device = check_open (&check, &model);
  g_autofree float *logits = oracle_random (device, (gsize) N_DRAWS * N_LOGITS, 8);
  g_autoptr (CheckPass) pass = check_pass_new (MLLAMA_PASS_FEW, N_DRAWS, N_DRAWS, 1, NULL);
  MllamaSampler *sampler = mllama_sampler_new (N_LOGITS);
  MllamaSample samples[MLLAMA_MAX_ROWS];
  Draws d = {device, oracle_tensor_new_full (device, N_DRAWS, N_LOGITS, logits), pass};
  SpeedCost cost = {name, 4. * N_DRAWS * N_LOGITS};

  for (guint i = 0; i < N_DRAWS; i++) {
    check_pass_add (pass, i, 0, 1);
    pass->outputs[i] = i;
    pass->sampling[i] = (MllamaSampling){.temperature = temperature,
                                         .top_p = top_p,
                                         .seed = i,
                                         .repetition_penalty = 1,
                                         .slot = pass->row_table[i].slot};
  }
  pass->pass.n_outputs = N_DRAWS;
  pass->pass.sampling = pass->sampling;
  check_pass_run (device, pass, call_draw, &d);
  device->ops->samples_read (device->be, samples, NULL);
  for (guint i = 0; i < N_DRAWS; i++) {
    guint32 id = mllama_sampler_draw (sampler, logits + (gsize) i * N_LOGITS, &pass->sampling[i], NULL).id;
    if (samples[i].id != id)
      check_fail (&check, "row %u: id %u, expected %u", i, samples[i].id, id);
  }
  mllama_sampler_free (sampler);
  speed_report (speed, &check, &cost, speed_measure (device, NULL, 8, draw_and_read, &d));
}

/* --- all of them --- */

typedef enum {
  TOWER,
  SELF,
  CROSS,
  DRAW,
} Kind;

typedef struct {
  const Speed *speed;
  const char *name;
  Kind kind;
  MllamaPassKind pass_kind;
  guint n_rows, position, n_tokens;
  double temperature, top_p;
} Shape;

static void
run_shape (gpointer data)
{
  const Shape *s = data;

  switch (s->kind) {
  case TOWER:
    run_tower (s->speed, s->name);
    break;
  case SELF:
    run_self (s->speed, s->name, s->pass_kind, s->n_rows, s->position, s->n_tokens);
    break;
  case CROSS:
    run_cross (s->speed, s->name, s->pass_kind, s->n_tokens);
    break;
  case DRAW:
    run_draws (s->speed, s->name, s->temperature, s->top_p);
    break;
  }
}

void
speed_run_attention (const Speed *speed)
{
  const Shape all[] = {
      {speed, "tower_attention, 6405 rows", TOWER},
      {speed, "self_attention, 1 token at 1023", SELF, MLLAMA_PASS_FEW, 1, 1023, 1},
      {speed, "self_attention, 32 tokens at 1023", SELF, MLLAMA_PASS_FEW, 32, 1023, 1},
      {speed, "self_attention, a prompt of 512", SELF, MLLAMA_PASS_MANY, 1, 511, 512},
      {speed, "cross_attention, 1 token, 6404 keys", CROSS, MLLAMA_PASS_FEW, .n_tokens = 1},
      {speed, "cross_attention, 32 tokens, 6404 keys", CROSS, MLLAMA_PASS_FEW, .n_tokens = 32},
      {speed, "cross_attention, 512 tokens, 6404 keys", CROSS, MLLAMA_PASS_MANY, .n_tokens = 512},
      {speed, "draw, greedy, 32 rows", DRAW, .top_p = 1},
      {speed, "draw, top-p, 32 rows", DRAW, .temperature = 1, .top_p = 0.9},
  };

  for (guint i = 0; i < G_N_ELEMENTS (all); i++)
    speed_run (speed, all[i].name, run_shape, (gpointer) &all[i]);
}
