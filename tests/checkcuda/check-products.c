/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Products and what is fused with them; norms. */
#include "check-pass.h"

#include <math.h>
#include <string.h>

#define EPS 1e-5f

/* in, out: single numbers, odd ones, around the sides of tiles, the widths of a patch and of real models. */
static const struct {
  guint n_in, n_out;
} shapes[] = {{1, 1},    {3, 5},   {16, 16},   {37, 129}, {63, 65},    {64, 64},  {65, 63},
              {72, 200}, {48, 48}, {160, 256}, {588, 80}, {1280, 100}, {4100, 72}};

static const guint many_rows[] = {0, 1, 2, 63, 64, 65, 127, 128, 129, 200};
static const guint few_rows[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64};

typedef enum {
  LINEAR,
  LINEAR_BARE, /* no bias */
  LAYER_NORM,
  LAYER_NORM_GELU,
  RESIDUAL,
  RESIDUAL_BARE,
  RESIDUAL_TOKENS,
  RESIDUAL_SIGHTED,
  SWIGLU,
  LOGITS,
} Kind;

/* One operation with its weights. */
typedef struct {
  Check *check;
  OracleDevice *device;
  Kind kind;
  guint n_in, n_out;
  float gate, *w, *bias, *norm, *norm_bias;
  MllamaWeight *w_weight, *bias_weight, *norm_weight, *norm_bias_weight;
  CheckPass *pass;
  /* of this run */
  MllamaTensor *x, *y;
  guint n_rows;
} Case;

static gboolean
is_residual (const Case *c)
{
  return c->kind >= RESIDUAL && c->kind <= RESIDUAL_SIGHTED;
}

static gboolean
is_of_tokens (Kind kind)
{
  return kind >= RESIDUAL_TOKENS;
}

static void
init_case (Case *c, Check *check, OracleDevice *device, Kind kind, MllamaPassKind pass_kind, guint n_in, guint n_out)
{
  guint n_w = kind == SWIGLU ? 2 * n_out : n_out;

  *c = (Case){check, device, kind, n_in, n_out, -0.7f};
  c->w = oracle_random (c->device, (gsize) n_w * n_in, 2 / sqrtf (n_in));
  c->bias = oracle_random (c->device, n_out, kind == LAYER_NORM_GELU ? 6 : 1);
  c->norm = oracle_random (c->device, n_in, 2);
  c->norm_bias = oracle_random (c->device, n_in, 1);
  c->w_weight = oracle_matrix_new (c->device, n_w, n_in, c->w);
  c->bias_weight = oracle_vector_new (c->device, n_out, c->bias);
  c->norm_weight = oracle_vector_new (c->device, n_in, c->norm);
  c->norm_bias_weight = oracle_vector_new (c->device, n_in, c->norm_bias);
  c->pass = check_pass_new (pass_kind, 512, 1, 1, NULL);
}

static void
clear_case (Case *c)
{
  g_free (c->w);
  g_free (c->bias);
  g_free (c->norm);
  g_free (c->norm_bias);
  check_pass_free (c->pass);
  oracle_device_clear (c->device);
}

static void
call_operation (gpointer data)
{
  const Case *c = data;
  const MllamaBackendOps *ops = c->device->ops;
  MllamaBackend *be = c->device->be;
  const MllamaPass *pass = &c->pass->pass;
  const MllamaWeight *bias = c->kind == LINEAR_BARE || c->kind == RESIDUAL_BARE ? NULL : c->bias_weight;

  switch (c->kind) {
  case LINEAR:
  case LINEAR_BARE:
    ops->linear (be, c->y, c->x, c->n_rows, c->w_weight, bias);
    break;
  case LAYER_NORM:
  case LAYER_NORM_GELU:
    ops->layer_norm_linear (be, c->y, c->x, c->n_rows, c->norm_weight, c->norm_bias_weight, EPS, c->w_weight, bias,
                            c->kind == LAYER_NORM_GELU);
    break;
  case RESIDUAL:
  case RESIDUAL_BARE:
    ops->linear_residual (be, c->y, c->x, c->n_rows, c->w_weight, bias, c->gate);
    break;
  case RESIDUAL_TOKENS:
  case RESIDUAL_SIGHTED:
    ops->linear_residual_tokens (be, c->y, c->x, c->w_weight, c->gate, c->kind == RESIDUAL_SIGHTED, pass);
    break;
  case SWIGLU:
    ops->norm_swiglu (be, c->y, c->x, c->norm_weight, EPS, c->w_weight, pass);
    break;
  case LOGITS:
    ops->logits (be, c->y, c->x, c->w_weight, pass);
    break;
  }
}

static void
run_operation (gpointer data)
{
  Case *c = data;

  if (is_of_tokens (c->kind))
    check_pass_run (c->device, c->pass, call_operation, c);
  else
    call_operation (c);
}

/* W with rows and columns changed places, if that fault is planted. */
static float *
get_expected_weight (const Case *c)
{
  guint n_w = c->kind == SWIGLU ? 2 * c->n_out : c->n_out;
  float *w = g_memdup2 (c->w, (gsize) n_w * c->n_in * sizeof (float));

  if (check_has (c->check, CHECK_FAULT_TRANSPOSED) && c->n_in == c->n_out)
    for (guint o = 0; o < c->n_out; o++)
      for (guint i = 0; i < c->n_in; i++)
        w[o * c->n_in + i] = c->w[i * c->n_in + o];
  return w;
}

/* What the approximation makes of a number, as if that were right. */
static void
apply_gelu (const Check *check, OracleNumber *y, gsize n)
{
  g_autofree OracleNumber *x = g_memdup2 (y, n * sizeof *y);

  oracle_gelu (y, n);
  if (check_has (check, CHECK_FAULT_TANH_GELU))
    for (gsize i = 0; i < n; i++) {
      double v = x[i].value;
      y[i].value = v / 2 * (1 + tanh (sqrt (2 / G_PI) * (v + 0.044715 * v * v * v)));
    }
}

/* How much the sum of the two may change when it is rounded. */
static double
get_rounding (const Check *check, const OracleNumber *a, const OracleNumber *b)
{
  OracleNumber sum = {a->value + b->value, a->error + b->error};
  double error = sum.error;

  check_round (check, &sum, 1);
  return sum.error - error;
}

/* The bias may be scaled by the gate beforehand, and rounded then; of three that are added it may be the second or the
 * last, and what the first two make may be rounded. */
static void
add_gated_bias (const Case *c, OracleNumber *y, const OracleNumber *multiple)
{
  g_autofree OracleNumber *bias = g_new (OracleNumber, c->n_out);

  for (guint i = 0; i < c->n_out; i++)
    bias[i] = (OracleNumber){c->gate * (double) c->bias[i], ORACLE_ROUNDING * fabs (c->gate * c->bias[i])};
  check_round (c->check, bias, c->n_out);
  for (guint i = 0; i < c->n_out; i++)
    bias[i].error +=
        MAX (get_rounding (c->check, &multiple[i], &bias[i]), get_rounding (c->check, &multiple[i], &y[i]));
  oracle_add (y, bias, 1, c->n_out);
}

static void
add_residual (const Case *c, OracleNumber *y, const OracleNumber *out, const float *residual)
{
  g_autofree OracleNumber *multiple = g_new0 (OracleNumber, c->n_out);

  oracle_add (multiple, out, c->gate, c->n_out);
  check_round (c->check, multiple, c->n_out);
  oracle_exact (y, residual, c->n_out);
  if (c->kind == RESIDUAL)
    add_gated_bias (c, y, multiple);
  oracle_add (y, multiple, 1, c->n_out);
}

/* Inputs of products are rounded, and so is what comes out of them, before anything else is done to it. */
static void
expect_row (const Case *c, const float *w, const float *x, const float *residual, OracleNumber *y)
{
  g_autofree OracleNumber *in = g_new (OracleNumber, c->n_in), *out = g_new (OracleNumber, 2 * c->n_out);
  guint n_w = c->kind == SWIGLU ? 2 * c->n_out : c->n_out;
  gboolean has_bias = c->kind == LINEAR || c->kind == LAYER_NORM || c->kind == LAYER_NORM_GELU;
  double eps = check_eps (c->check, EPS);

  oracle_exact (in, x, c->n_in);
  if (c->kind == LAYER_NORM || c->kind == LAYER_NORM_GELU) {
    oracle_layer_norm (in, in, c->norm, c->norm_bias, c->n_in, eps);
    check_round (c->check, in, c->n_in);
  } else if (c->kind == SWIGLU) {
    oracle_rms_norm (in, in, c->norm, c->n_in, eps);
    check_round_rms (c->check, in, c->n_in);
  }
  oracle_linear (out, in, w, has_bias ? c->bias : NULL, n_w, c->n_in);
  if (c->kind != LOGITS)
    check_round (c->check, out, n_w);
  if (c->kind == LAYER_NORM_GELU) {
    apply_gelu (c->check, out, c->n_out);
    check_round (c->check, out, c->n_out);
  }
  if (c->kind == SWIGLU) {
    oracle_swiglu (out, out, out + c->n_out, c->n_out);
    check_round (c->check, out, c->n_out);
  }
  if (is_residual (c)) {
    add_residual (c, y, out, residual);
    check_round (c->check, y, c->n_out);
  } else
    memcpy (y, out, c->n_out * sizeof (OracleNumber));
}

/* Rows of a fifth of the size in between, so that eps matters; every third token is blind, and what it holds harms
 * nobody. */
static float *
make_inputs (const Case *c, guint n_rows)
{
  float *x = oracle_random (c->device, (gsize) n_rows * c->n_in, 2);

  for (guint r = 0; r < n_rows; r++)
    for (guint i = 0; i < c->n_in; i++) {
      float *v = &x[(gsize) r * c->n_in + i];
      if (r % 4 == 1 && (c->kind == SWIGLU || c->kind == LAYER_NORM || c->kind == LAYER_NORM_GELU))
        *v *= 0x1p-9;
      if (r % 3 == 2 && c->kind == RESIDUAL_SIGHTED)
        *v = NAN;
    }
  return x;
}

static void
prepare_run (Case *c, guint n_rows, const float *x)
{
  guint n = n_rows;

  if (check_has (c->check, CHECK_FAULT_ROW_MISSING) && n > 0)
    n--;
  if (check_has (c->check, CHECK_FAULT_ROW_TOO_MANY))
    n++;
  c->x = oracle_tensor_new (c->device, n_rows, c->n_in, x);
  c->y = c->kind == LOGITS ? oracle_tensor_new_full (c->device, n_rows, c->n_out, NULL)
                           : oracle_tensor_new (c->device, n_rows, c->n_out, NULL);
  c->n_rows = n;
  check_pass_fill (c->pass, n, c->kind == LOGITS ? n : 0);
  for (guint t = 0; t < n; t++)
    c->pass->sees_image[t] = t % 3 != 2;
}

static void
check_rows (Case *c, const float *w, guint n_rows)
{
  g_autofree float *x = make_inputs (c, n_rows), *found = NULL,
                   *residual = oracle_random (c->device, (gsize) n_rows * c->n_out, 1);
  g_autofree OracleNumber *expected = g_new (OracleNumber, c->n_out);
  g_autofree char *what = g_strdup_printf ("%u rows of %u to %u", n_rows, c->n_in, c->n_out);
  guint shift = check_has (c->check, CHECK_FAULT_ROW_SHIFTED);

  prepare_run (c, n_rows, x);
  found = check_run_twice (c->check, c->device, c->y, n_rows, c->n_out, is_residual (c) ? residual : NULL,
                           run_operation, c, what);
  for (guint r = shift; r < n_rows; r++) {
    const float *row = found + (gsize) r * c->n_out, *old = residual + (gsize) r * c->n_out;

    if (c->kind == RESIDUAL_SIGHTED && r % 3 == 2) {
      check_bits (c->check, row, old, c->n_out, "%s, blind row %u", what, r);
      continue;
    }
    expect_row (c, w, x + (gsize) (r - shift) * c->n_in, old, expected);
    check_numbers (c->check, row, expected, c->n_out, "%s, row %u", what, r);
  }
}

static void
check_shape (Check *check, OracleDevice *device, Kind kind, MllamaPassKind pass_kind, guint n_in, guint n_out,
             gboolean is_last)
{
  gboolean is_few = is_of_tokens (kind) && (pass_kind == MLLAMA_PASS_FEW || kind == LOGITS);
  const guint *counts = is_few ? few_rows : many_rows;
  guint n_counts = is_few ? G_N_ELEMENTS (few_rows) : G_N_ELEMENTS (many_rows);
  /* Large ones with few counts: the oracle is slow. */
  guint step = n_in * n_out > 20000 ? 3 : 1;
  gboolean is_ready = FALSE;
  g_autofree float *w = NULL;
  Case c;

  for (guint i = 0; i < n_counts && !check_is_settled (check); i += step) {
    if (!check_wants_case (check, is_last && i + step >= n_counts))
      continue;
    if (!is_ready) {
      init_case (&c, check, device, kind, pass_kind, n_in, n_out);
      w = get_expected_weight (&c);
      is_ready = TRUE;
    }
    check_rows (&c, w, counts[i]);
  }
  if (is_ready)
    clear_case (&c);
}

static void
check_kind (Check *check, Kind kind, MllamaPassKind pass_kind)
{
  CheckModel model = {.n_ids = 256};
  g_autoptr (OracleDevice) device = check_open (check, &model);

  for (guint s = 0; s < G_N_ELEMENTS (shapes) && !check_is_settled (check); s++)
    check_shape (check, device, kind, pass_kind, shapes[s].n_in, shapes[s].n_out, s + 1 == G_N_ELEMENTS (shapes));
}

/* clang-format off */
static void check_linear (Check *check) { check_kind (check, LINEAR, 0); }
static void check_linear_bare (Check *check) { check_kind (check, LINEAR_BARE, 0); }
static void check_layer_norm_linear (Check *check) { check_kind (check, LAYER_NORM, 0); }
static void check_layer_norm_linear_gelu (Check *check) { check_kind (check, LAYER_NORM_GELU, 0); }
static void check_linear_residual (Check *check) { check_kind (check, RESIDUAL, 0); }
static void check_linear_residual_bare (Check *check) { check_kind (check, RESIDUAL_BARE, 0); }
static void check_residual_few (Check *check) { check_kind (check, RESIDUAL_TOKENS, MLLAMA_PASS_FEW); }
static void check_residual_many (Check *check) { check_kind (check, RESIDUAL_TOKENS, MLLAMA_PASS_MANY); }
static void check_sighted_few (Check *check) { check_kind (check, RESIDUAL_SIGHTED, MLLAMA_PASS_FEW); }
static void check_sighted_many (Check *check) { check_kind (check, RESIDUAL_SIGHTED, MLLAMA_PASS_MANY); }
static void check_swiglu_few (Check *check) { check_kind (check, SWIGLU, MLLAMA_PASS_FEW); }
static void check_swiglu_many (Check *check) { check_kind (check, SWIGLU, MLLAMA_PASS_MANY); }
static void check_logits_few (Check *check) { check_kind (check, LOGITS, MLLAMA_PASS_FEW); }
static void check_logits_many (Check *check) { check_kind (check, LOGITS, MLLAMA_PASS_MANY); }
/* clang-format on */

const CheckEntry checks_of_products[] = {
    {"linear", check_linear},
    {"linear_bare", check_linear_bare},
    {"layer_norm_linear", check_layer_norm_linear},
    {"layer_norm_linear_gelu", check_layer_norm_linear_gelu},
    {"linear_residual", check_linear_residual},
    {"linear_residual_bare", check_linear_residual_bare},
    {"linear_residual_tokens_few", check_residual_few},
    {"linear_residual_tokens_many", check_residual_many},
    {"linear_residual_sighted_few", check_sighted_few},
    {"linear_residual_sighted_many", check_sighted_many},
    {"norm_swiglu_few", check_swiglu_few},
    {"norm_swiglu_many", check_swiglu_many},
    {"logits_few", check_logits_few},
    {"logits_many", check_logits_many},
    {NULL, NULL},
};
