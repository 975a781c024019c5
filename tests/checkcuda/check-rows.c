/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ids in, hidden states out. */
#include "check-pass.h"

#define EPS 1e-5f

typedef struct {
  OracleDevice *device;
  MllamaTensor *y, *x;
  MllamaWeight *w;
  CheckPass *pass;
} Rows;

static void
call_embed (gpointer data)
{
  const Rows *r = data;

  r->device->ops->embed_tokens (r->device->be, r->y, r->w, &r->pass->pass);
}

static void
run_embed (gpointer data)
{
  Rows *r = data;

  check_pass_run (r->device, r->pass, call_embed, r);
}

static void
check_embed (Check *check)
{
  static const guint widths[] = {23, 1, 64, 100, 4096}, counts[] = {1, 2, 33, 64, 100};
  enum {
    N_IDS = 301
  };

  for (guint i = 0; i < G_N_ELEMENTS (widths) && !check_is_settled (check); i++) {
    if (!check_wants_case (check, i + 1 == G_N_ELEMENTS (widths)))
      continue;
    guint d = widths[i], n = counts[i];
    CheckModel model = {.n_ids = N_IDS - 8}; /* the table has rows that no logit has */
    g_autoptr (OracleDevice) device = check_open (check, &model);
    g_autofree float *table = oracle_random (device, N_IDS * d, 1), *found = NULL;
    g_autoptr (CheckPass) pass = check_pass_new (n > 64 ? MLLAMA_PASS_MANY : MLLAMA_PASS_FEW, n, 1, 2, NULL);
    Rows rows = {device, oracle_tensor_new (device, n, d, NULL), NULL, oracle_table_new (device, N_IDS, d, table),
                 pass};

    check_pass_add (pass, 0, 0, n);
    for (guint t = 0; t < n; t++)
      pass->ids[t] = t * 77 % N_IDS;
    pass->ids[0] = N_IDS - 1;
    found = check_run_twice (check, device, rows.y, n, d, NULL, run_embed, &rows, "embed_tokens");
    for (guint t = check_has (check, CHECK_FAULT_ROW_SHIFTED); t < n; t++)
      check_bits (check, found + t * d, table + pass->ids[t - check_has (check, CHECK_FAULT_ROW_SHIFTED)] * d, d,
                  "%u wide, token %u", d, t);
  }
}

static void
call_norm_outputs (gpointer data)
{
  const Rows *r = data;

  r->device->ops->norm_outputs (r->device->be, r->y, r->x, r->w, EPS, &r->pass->pass);
}

static void
run_norm_outputs (gpointer data)
{
  Rows *r = data;

  check_pass_run (r->device, r->pass, call_norm_outputs, r);
}

static void
check_norm_outputs_of (Check *check, MllamaPassKind kind, guint d, guint n, guint n_outputs)
{
  if (!check_wants_case (check, FALSE))
    return;
  CheckModel model = {0};
  g_autoptr (OracleDevice) device = check_open (check, &model);
  g_autofree float *x = check_make_rows (device, n, d), *norm = oracle_random (device, d, 2), *found = NULL;
  g_autofree OracleNumber *y = g_new (OracleNumber, d);
  g_autoptr (CheckPass) pass = check_pass_new (kind, n, 1, 8, NULL);
  Rows rows = {device, oracle_tensor_new (device, n_outputs, d, NULL), oracle_tensor_new (device, n, d, x),
               oracle_vector_new (device, d, norm), pass};

  check_pass_fill (pass, n, n_outputs);
  for (guint i = 0; i < n_outputs; i++)
    pass->outputs[i] = (n - 1 + i * 7) % n;
  found = check_run_twice (check, device, rows.y, n_outputs, d, NULL, run_norm_outputs, &rows, "norm_outputs");
  for (guint i = 0; i < n_outputs; i++) {
    guint token = (pass->outputs[i] + check_has (check, CHECK_FAULT_ROW_SHIFTED)) % n;
    oracle_exact (y, x + token * d, d);
    oracle_rms_norm (y, y, norm, d, check_eps (check, EPS));
    check_round_rms (check, y, d);
    check_numbers (check, found + i * d, y, d, "%u wide, output %u of %u", d, i, n_outputs);
  }
}

static void
check_norm_outputs (Check *check)
{
  static const guint widths[] = {1, 7, 64, 72, 4096, 1001};

  for (guint i = 0; i < G_N_ELEMENTS (widths) && !check_is_settled (check); i++) {
    check_norm_outputs_of (check, MLLAMA_PASS_FEW, widths[i], 1, 1);
    check_norm_outputs_of (check, MLLAMA_PASS_FEW, widths[i], 33, 5);
    check_norm_outputs_of (check, MLLAMA_PASS_FEW, widths[i], 64, 64);
    check_norm_outputs_of (check, MLLAMA_PASS_MANY, widths[i], 300, 2);
    check_norm_outputs_of (check, MLLAMA_PASS_MANY, widths[i], 130, 0);
  }
}

const CheckEntry checks_of_rows[] = {{"embed_tokens", check_embed}, {"norm_outputs", check_norm_outputs}, {NULL, NULL}};
