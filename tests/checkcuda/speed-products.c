/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Products of the 11B model, at some rows and columns. */
#include "noise-source.h"
#include "speed.h"

#include <math.h>
#include <string.h>

#define EPS 1e-5f

typedef enum {
  QKV_ROPE,
  RESIDUAL_TOKENS,
  SWIGLU,
  LOGITS,
  LAYER_NORM,
  LAYER_NORM_GELU,
  RESIDUAL,
  LINEAR,
} Kind;

static const struct {
  const char *name;
  Kind kind;
  MllamaPassKind pass_kind;
  guint n_rows, n_in, n_out;
} shapes[] = {
    {"norm_qkv_rope, 1 token", QKV_ROPE, MLLAMA_PASS_FEW, 1, 4096, 4096},
    {"norm_qkv_rope, 32 tokens", QKV_ROPE, MLLAMA_PASS_FEW, 32, 4096, 4096},
    {"norm_qkv_rope, 512 tokens", QKV_ROPE, MLLAMA_PASS_MANY, 512, 4096, 4096},
    {"linear_residual_tokens of attention, 1 token", RESIDUAL_TOKENS, MLLAMA_PASS_FEW, 1, 4096, 4096},
    {"linear_residual_tokens of attention, 32 tokens", RESIDUAL_TOKENS, MLLAMA_PASS_FEW, 32, 4096, 4096},
    {"norm_swiglu, 1 token", SWIGLU, MLLAMA_PASS_FEW, 1, 4096, 14336},
    {"norm_swiglu, 8 tokens", SWIGLU, MLLAMA_PASS_FEW, 8, 4096, 14336},
    {"norm_swiglu, 32 tokens", SWIGLU, MLLAMA_PASS_FEW, 32, 4096, 14336},
    {"norm_swiglu, 64 tokens", SWIGLU, MLLAMA_PASS_FEW, 64, 4096, 14336},
    {"norm_swiglu, 512 tokens", SWIGLU, MLLAMA_PASS_MANY, 512, 4096, 14336},
    {"linear_residual_tokens of the feed-forward, 1 token", RESIDUAL_TOKENS, MLLAMA_PASS_FEW, 1, 14336, 4096},
    {"linear_residual_tokens of the feed-forward, 32 tokens", RESIDUAL_TOKENS, MLLAMA_PASS_FEW, 32, 14336, 4096},
    {"linear_residual_tokens of the feed-forward, 512 tokens", RESIDUAL_TOKENS, MLLAMA_PASS_MANY, 512, 14336, 4096},
    {"logits, 1 row", LOGITS, MLLAMA_PASS_FEW, 1, 4096, 128256},
    {"logits, 32 rows", LOGITS, MLLAMA_PASS_FEW, 32, 4096, 128256},
    {"layer_norm_linear, 6405 rows", LAYER_NORM, 0, 6405, 1280, 3840},
    {"layer_norm_linear with GELU, 6405 rows", LAYER_NORM_GELU, 0, 6405, 1280, 5120},
    {"linear_residual of attention, 6405 rows", RESIDUAL, 0, 6405, 1280, 1280},
    {"linear_residual of the feed-forward, 6405 rows", RESIDUAL, 0, 6405, 5120, 1280},
    {"linear of the projector, 6404 rows", LINEAR, 0, 6404, 7680, 4096},
};

enum {
  X_SEED = 1,
  Y_SEED,
  NORM_SEED,
  NORM_BIAS_SEED,
  BIAS_SEED,
  W_SEED,
  MAX_COPIES = 8,
  N_CHECKED_ROWS = 4,
  N_CHECKED_COLUMNS = 40
};

typedef struct {
  Check check;
  OracleDevice *device;
  MllamaSource *source;
  Kind kind;
  guint n_rows, n_in, n_out, n_w, n_copies, next;
  float scale;
  MllamaWeight *w[MAX_COPIES]; /* more than the caches hold */
  MllamaWeight *norm, *norm_bias, *bias;
  MllamaTensor *x, *y;
  MllamaKv *kv;
  CheckPass *pass;
} Case;

static gboolean
is_residual (const Case *c)
{
  return c->kind == RESIDUAL || c->kind == RESIDUAL_TOKENS;
}

static void
call (gpointer data)
{
  Case *c = data;
  const MllamaBackendOps *ops = c->device->ops;
  MllamaBackend *be = c->device->be;
  const MllamaWeight *w = c->w[c->next++ % c->n_copies];
  const MllamaPass *pass = c->pass ? &c->pass->pass : NULL;

  switch (c->kind) {
  case QKV_ROPE:
    ops->norm_qkv_rope (be, c->y, c->x, c->norm, EPS, w, 0, pass);
    break;
  case RESIDUAL_TOKENS:
    ops->linear_residual_tokens (be, c->y, c->x, w, 0.5f, FALSE, pass);
    break;
  case SWIGLU:
    ops->norm_swiglu (be, c->y, c->x, c->norm, EPS, w, pass);
    break;
  case LOGITS:
    ops->logits (be, c->y, c->x, w, pass);
    break;
  case LAYER_NORM:
  case LAYER_NORM_GELU:
    ops->layer_norm_linear (be, c->y, c->x, c->n_rows, c->norm, c->norm_bias, EPS, w, c->bias,
                            c->kind == LAYER_NORM_GELU);
    break;
  case RESIDUAL:
    ops->linear_residual (be, c->y, c->x, c->n_rows, w, c->bias, 0.5f);
    break;
  case LINEAR:
    ops->linear (be, c->y, c->x, c->n_rows, w, c->bias);
    break;
  }
}

static MllamaWeight *
create_weight (Case *c, MllamaWeightUse use, guint seed, gsize n_out, gsize n_in, float scale)
{
  return noise_weight_new (c->device, c->source, use, seed, n_out, n_in, scale);
}

static void
create_pass (Case *c, MllamaPassKind kind)
{
  GError *error = NULL;

  c->kv = c->device->ops->kv_new (c->device->be, 1, c->n_rows / MLLAMA_KV_PAGE + 1, &error);
  g_assert_no_error (error);
  c->device->ops->kv_commit (c->device->be, c->kv, c->n_rows / MLLAMA_KV_PAGE + 1, &error);
  g_assert_no_error (error);
  c->pass = check_pass_new (kind, c->n_rows, 1, c->n_rows / MLLAMA_KV_PAGE + 1, c->kv);
  check_pass_fill (c->pass, c->n_rows, c->kind == LOGITS ? c->n_rows : 0);
}

static void
create_weights (Case *c)
{
  gsize n_bytes = 2 * (gsize) c->n_w * c->n_in;

  c->n_copies = CLAMP ((160 << 20) / n_bytes + 1, 1, MAX_COPIES);
  c->scale = exp2f (roundf (log2f (2 / sqrtf (c->n_in))));
  for (guint i = 0; i < c->n_copies; i++)
    c->w[i] = create_weight (c, MLLAMA_WEIGHT_MATRIX, W_SEED, c->n_w, c->n_in, c->scale);
  c->norm = create_weight (c, MLLAMA_WEIGHT_VECTOR, NORM_SEED, 1, c->n_in, 2);
  c->norm_bias = create_weight (c, MLLAMA_WEIGHT_VECTOR, NORM_BIAS_SEED, 1, c->n_in, 1);
  c->bias = create_weight (c, MLLAMA_WEIGHT_VECTOR, BIAS_SEED, 1, c->n_out, 1);
}

static void
init_case (Case *c, const Speed *speed, guint i)
{
  CheckModel model = {32, 8, 128, .tower_width = 1280, .tower_heads = 16, 560, 14, .n_ids = 128256};
  g_autofree float *x = noise_new (X_SEED, (gsize) shapes[i].n_rows * shapes[i].n_in, 2), *y = NULL;

  *c = (Case){{.name = shapes[i].name, .device = speed->report->device, .dtype = MLLAMA_DTYPE_BF16}};
  c->kind = shapes[i].kind;
  c->n_rows = shapes[i].n_rows;
  c->n_in = shapes[i].n_in;
  c->n_out = shapes[i].n_out;
  c->n_w = c->kind == SWIGLU ? 2 * c->n_out : c->kind == QKV_ROPE ? c->n_out + 2 * 8 * 128 : c->n_out;
  c->device = check_open (&c->check, &model);
  c->source = noise_source_new ();
  create_weights (c);
  if (c->kind <= LOGITS)
    create_pass (c, shapes[i].pass_kind);
  y = noise_new (Y_SEED, (gsize) c->n_rows * c->n_out, 1);
  c->x = oracle_tensor_new (c->device, c->n_rows, c->n_in, x);
  c->y = (c->kind == LOGITS ? oracle_tensor_new_full : oracle_tensor_new) (c->device, c->n_rows, c->n_out, y);
}

static void
clear_case (Case *c)
{
  c->device->ops->wait (c->device->be, NULL);
  if (c->pass) {
    check_pass_free (c->pass);
    c->device->ops->kv_free (c->device->be, c->kv);
  }
  oracle_device_free (c->device);
  mllama_source_free (c->source);
}

/* Row o of the weight. */
static OracleNumber
multiply_row (const Case *c, const OracleNumber *in, guint o, gboolean has_bias)
{
  g_autofree float *w = g_new (float, c->n_in);
  float bias = noise_get (BIAS_SEED, o, 1);
  OracleNumber y;

  for (gsize i = 0; i < c->n_in; i++)
    w[i] = noise_get (W_SEED, (gsize) o * c->n_in + i, c->scale);
  oracle_linear (&y, in, w, has_bias ? &bias : NULL, 1, c->n_in);
  if (c->kind != LOGITS)
    check_round (&c->check, &y, 1);
  return y;
}

static void
prepare_row (const Case *c, guint row, OracleNumber *in)
{
  g_autofree float *norm = noise_new (NORM_SEED, c->n_in, 2), *norm_bias = noise_new (NORM_BIAS_SEED, c->n_in, 1);

  for (gsize i = 0; i < c->n_in; i++)
    in[i] = (OracleNumber){noise_get (X_SEED, (gsize) row * c->n_in + i, 2), 0};
  if (c->kind == QKV_ROPE || c->kind == SWIGLU) {
    oracle_rms_norm (in, in, norm, c->n_in, EPS);
    check_round_rms (&c->check, in, c->n_in);
    return;
  }
  if (c->kind == LAYER_NORM || c->kind == LAYER_NORM_GELU)
    oracle_layer_norm (in, in, norm, norm_bias, c->n_in, EPS);
  else
    return;
  check_round (&c->check, in, c->n_in);
}

/* Number o of a row of the result. Rotations have checks of their own: row 0 is not turned. */
static OracleNumber
expect (const Case *c, const OracleNumber *in, guint row, guint o)
{
  gboolean has_bias = c->kind == LAYER_NORM || c->kind == LAYER_NORM_GELU || c->kind == LINEAR || c->kind == RESIDUAL;
  OracleNumber y = multiply_row (c, in, o, has_bias), other, multiple = {0, 0};

  if (c->kind == LAYER_NORM_GELU)
    oracle_gelu (&y, 1);
  if (c->kind == SWIGLU) {
    other = multiply_row (c, in, c->n_out + o, FALSE);
    oracle_swiglu (&y, &y, &other, 1);
  }
  if (is_residual (c)) {
    oracle_add (&multiple, &y, 0.5, 1);
    check_round (&c->check, &multiple, 1);
    y = (OracleNumber){noise_get (Y_SEED, (gsize) row * c->n_out + o, 1), 0};
    oracle_add (&y, &multiple, 1, 1);
    if (has_bias) /* which may be added by itself */
      check_round (&c->check, &y, 1);
  }
  if (c->kind != LOGITS)
    check_round (&c->check, &y, 1);
  return y;
}

static void
check_some (Case *c)
{
  g_autofree OracleNumber *in = g_new (OracleNumber, c->n_in);
  g_autofree float *found = oracle_tensor_read (c->device, c->y, c->n_rows, c->n_out);
  guint n_rows = c->kind == QKV_ROPE ? 1 : MIN (c->n_rows, N_CHECKED_ROWS);

  for (guint i = 0; i < n_rows; i++) {
    guint row = n_rows > 1 ? (gsize) i * (c->n_rows - 1) / (n_rows - 1) : 0;

    prepare_row (c, row, in);
    for (guint k = 0; k < N_CHECKED_COLUMNS; k++) {
      guint o = (gsize) k * (c->n_out - 1) / (N_CHECKED_COLUMNS - 1);
      OracleNumber y = expect (c, in, row, o);
      check_numbers (&c->check, &found[(gsize) row * c->n_out + o], &y, 1, "row %u, column %u", row, o);
    }
  }
}

typedef struct {
  const Speed *speed;
  guint i;
} Shape;

static void
run_shape (gpointer data)
{
  const Shape *shape = data;
  SpeedCost cost = {shapes[shape->i].name};
  double seconds;
  Case c;

  init_case (&c, shape->speed, shape->i);
  cost.bytes =
      2. * c.n_w * c.n_in + 2. * c.n_rows * (c.n_in + c.n_w) + (c.kind == LOGITS ? 2. * c.n_rows * c.n_out : 0);
  cost.flops = 2. * c.n_w * c.n_in * c.n_rows;
  if (c.pass)
    check_pass_run (c.device, c.pass, call, &c);
  else
    call (&c);
  check_some (&c);
  seconds = speed_measure (c.device, c.pass, c.n_rows > 64 ? 8 : 24, call, &c);
  speed_report (shape->speed, &c.check, &cost, seconds);
  clear_case (&c);
}

void
speed_run_products (const Speed *speed)
{
  for (guint i = 0; i < G_N_ELEMENTS (shapes); i++) {
    Shape shape = {speed, i};
    speed_run (speed, shapes[i].name, run_shape, &shape);
  }
}
