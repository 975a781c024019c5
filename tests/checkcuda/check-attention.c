/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attention of the decoder, over pages and over spans of slabs, whose keys and values are known to the bit. */
#include "check-pass.h"

#include <math.h>
#include <string.h>

typedef struct {
  guint n_heads, n_kv_heads, head_width;
} Heads;

/* Groups of 1, 2, 4, 8, and more; widths with a fast kernel, and without. One of each kernel first: those of any width,
 * then those of bf16 alone. */
static const Heads heads[] = {{1, 1, 2},    {4, 2, 20},  {8, 1, 64},  {16, 1, 128}, {2, 2, 16},
                              {8, 2, 36},   {4, 4, 64},  {4, 1, 72},  {2, 1, 80},   {6, 2, 96},
                              {16, 2, 128}, {12, 1, 64}, {8, 2, 128}, {2, 1, 256},  {33, 1, 32}};

enum {
  LAYER = 1,
  N_LAYERS = 2,
  SLAB_SEED = 100
};

typedef struct {
  Check *check;
  OracleDevice *device;
  const Heads *heads;
  CheckKeys keys;
  CheckPass *pass;
  MllamaTensor *a, *q;
  MllamaSlab *slabs[2]; /* known by SLAB_SEED + index */
} Decoder;

static void
call_attention (gpointer data)
{
  const Decoder *d = data;
  const MllamaBackendOps *ops = d->device->ops;

  if (d->slabs[0])
    ops->cross_attention (d->device->be, d->a, d->q, LAYER, &d->pass->pass);
  else
    ops->self_attention (d->device->be, d->a, d->q, LAYER, &d->pass->pass);
}

static void
run_attention (gpointer data)
{
  Decoder *d = data;

  check_pass_run (d->device, d->pass, call_attention, d);
}

static guint
map_head (const Decoder *d, guint head)
{
  guint n = d->heads->n_kv_heads;

  return check_has (d->check, CHECK_FAULT_HEAD_MAP) ? head % n : head / (d->heads->n_heads / n);
}

static void
expect_self (const Decoder *d, guint token, guint head, const float *q, OracleNumber *a)
{
  guint position = d->pass->positions[token], row = d->pass->rows[token];
  guint n_keys = position + 1 + check_has (d->check, CHECK_FAULT_CAUSAL), last_page = position / MLLAMA_KV_PAGE;
  g_autofree OracleKey *keys = g_new (OracleKey, n_keys);

  for (guint j = 0; j < n_keys; j++) {
    gboolean is_elsewhere = check_has (d->check, CHECK_FAULT_PAGE) && j / MLLAMA_KV_PAGE == last_page;
    keys[j] = check_keys_get (&d->keys, is_elsewhere ? row + 1 : row, j, map_head (d, head), 0);
  }
  oracle_attend_rounded (a, q, keys, n_keys, d->heads->head_width, check_get_weight_rounding (d->check));
}

static void
expect_cross (const Decoder *d, guint token, guint head, const float *q, OracleNumber *a)
{
  const MllamaPass *pass = &d->pass->pass;
  g_autoptr (GArray) keys = g_array_new (FALSE, FALSE, sizeof (OracleKey));

  for (guint s = 0; s < pass->n_spans[token]; s++) {
    const MllamaKeySpan *span = &pass->spans[pass->first_span[token] + s];
    guint seed = SLAB_SEED + (span->slab == d->slabs[1]);
    guint end = span->first + span->n_keys - check_has (d->check, CHECK_FAULT_PAD_KEY);

    for (guint j = span->first; j < end; j++) {
      double bias = check_has (d->check, CHECK_FAULT_KEY_BIAS) ? 0 : span->bias;
      OracleKey key = check_keys_get (&d->keys, seed, j, map_head (d, head), bias);
      g_array_append_val (keys, key);
    }
  }
  oracle_attend_rounded (a, q, (const OracleKey *) keys->data, keys->len, d->heads->head_width,
                         check_get_weight_rounding (d->check));
}

/* Every token of the pass, or every step-th. */
static void
check_tokens (Decoder *d, guint step, const char *what)
{
  guint c = d->heads->head_width, width = d->heads->n_heads * c, n = d->pass->pass.n_tokens;
  g_autofree float *q = oracle_random (d->device, (gsize) n * width, 3), *found = NULL;
  g_autofree OracleNumber *expected = g_new (OracleNumber, c);

  d->q = oracle_tensor_new (d->device, n, width, q);
  d->a = oracle_tensor_new (d->device, n, width, NULL);
  found = check_run_twice (d->check, d->device, d->a, n, width, NULL, run_attention, d, what);
  for (guint t = 0; t < n; t += step)
    for (guint h = 0; h < d->heads->n_heads; h++) {
      gsize at = (gsize) t * width + h * c;
      (d->slabs[0] ? expect_cross : expect_self) (d, t, h, q + at, expected);
      check_round (d->check, expected, c);
      check_numbers (d->check, found + at, expected, c, "%s: %u/%u heads of %u, token %u at %u, head %u", what,
                     d->heads->n_heads, d->heads->n_kv_heads, c, t, d->pass->positions[t], h);
    }
}

static gboolean
wants_heads (Check *check, guint i)
{
  return check_wants_case (check, i < (check->dtype == MLLAMA_DTYPE_BF16 ? 4 : 2));
}

static void
init_decoder (Decoder *d, Check *check, const Heads *h)
{
  CheckModel model = {h->n_heads, h->n_kv_heads, h->head_width, .has_still_rope = TRUE};

  *d = (Decoder){check, check_open (check, &model), h};
}

/* --- over pages --- */

/* The pages hold NaN, but for n positions of each row. */
static MllamaKv *
create_kv (Decoder *d, guint n_rows, guint pages_a_row, const guint *n_positions)
{
  GError *error = NULL;
  MllamaKv *kv = d->device->ops->kv_new (d->device->be, N_LAYERS, n_rows * pages_a_row, &error);

  g_assert_no_error (error);
  d->device->ops->kv_commit (d->device->be, kv, n_rows * pages_a_row, &error);
  g_assert_no_error (error);
  check_keys_init_self (&d->keys, d->check, d->device);
  d->pass->pass.kv = kv;
  for (guint r = 0; r < n_rows; r++) {
    check_keys_append (&d->keys, d->pass, MLLAMA_PASS_MANY, LAYER, r, 0, pages_a_row * MLLAMA_KV_PAGE, TRUE);
    check_keys_append (&d->keys, d->pass, MLLAMA_PASS_MANY, LAYER, r, 0, n_positions[r], FALSE);
  }
  return kv;
}

static void
free_pages (Decoder *d, MllamaKv *kv)
{
  d->device->ops->wait (d->device->be, NULL);
  d->device->ops->kv_free (d->device->be, kv);
  check_keys_clear (&d->keys);
  check_pass_free (d->pass);
  oracle_device_free (d->device);
}

/* Answers of many lengths at once, prompts among them. */
static void
add_few (CheckPass *p)
{
  static const guint lengths[] = {1, 2, 16, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1024, 1025, 1100};

  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
    check_pass_add (p, 0, lengths[i] - 1, 1);
  check_pass_add (p, 1, 60, 9);
  check_pass_add (p, 2, 0, 5);
}

/* Prompts from their beginning, and from the middle on; one token of another. */
static void
add_many (CheckPass *p)
{
  check_pass_add (p, 0, 0, 130);
  check_pass_add (p, 1, 7, 1);
  check_pass_add (p, 2, 61, 70);
  check_pass_add (p, 0, 600, 66);
}

static void
check_self (Check *check, MllamaPassKind kind)
{
  static const guint n_positions[] = {1100, 70, 131};

  for (guint i = 0; i < G_N_ELEMENTS (heads) && !check_is_settled (check); i++) {
    Decoder d;
    MllamaKv *kv;

    if (!wants_heads (check, i))
      continue;
    init_decoder (&d, check, &heads[i]);
    d.pass = check_pass_new (kind, 400, 3, 18, NULL);
    kv = create_kv (&d, 3, 18, n_positions);
    (kind == MLLAMA_PASS_FEW ? add_few : add_many) (d.pass);
    check_tokens (&d, kind == MLLAMA_PASS_FEW ? 1 : 3, "self_attention");
    free_pages (&d, kv);
  }
}

static void
check_self_few (Check *check)
{
  check_self (check, MLLAMA_PASS_FEW);
}

static void
check_self_many (Check *check)
{
  check_self (check, MLLAMA_PASS_MANY);
}

/* The last position there is; to write so many takes long. */
static void
check_long (Check *check, MllamaPassKind kind)
{
  static const Heads small = {4, 1, 64};
  const guint n_positions = check_is_sparse (check) ? 4096 : 131072;
  Decoder d;
  MllamaKv *kv;

  init_decoder (&d, check, &small);
  d.pass = check_pass_new (kind, 80, 1, n_positions / MLLAMA_KV_PAGE, NULL);
  kv = create_kv (&d, 1, n_positions / MLLAMA_KV_PAGE, &n_positions);
  check_pass_add (d.pass, 0, 5, 1);
  check_pass_add (d.pass, 0, n_positions / 15 * 8, 2);
  check_pass_add (d.pass, 0, n_positions - 2, 2);
  check_tokens (&d, 1, "far positions");
  free_pages (&d, kv);
}

static void
check_long_few (Check *check)
{
  check_long (check, MLLAMA_PASS_FEW);
}

static void
check_long_many (Check *check)
{
  check_long (check, MLLAMA_PASS_MANY);
}

/* --- over spans --- */

enum {
  N_KEYS = 1500,
  FIRST_KEY = 3
};

/* Tokens that see one key, blocks and a key more or less, several spans of two slabs, nothing, and all there is. */
static void
add_spans (Decoder *d, guint n_tokens)
{
  static const struct {
    guint slab, first, n;
    float bias;
  } spans[] = {{0, 3, 1, 0},     {0, 3, 64, 0},  {0, 10, 63, 1.5f},   {1, 5, 65, 0},  {0, 3, N_KEYS - 6, -2},
               {1, 3, 127, 0.5}, {0, 900, 1, 3}, {0, 40, 1025, -.5f}, {1, 17, 128, 0}};
  static const guint counts[] = {1, 1, 1, 1, 3, 0, 4, 9};

  for (guint i = 0; i < G_N_ELEMENTS (spans); i++)
    check_pass_add_span (d->pass, d->slabs[spans[i].slab], spans[i].first, spans[i].n, spans[i].bias);
  check_pass_add (d->pass, 0, 0, n_tokens);
  for (guint t = 0; t < n_tokens; t++) {
    d->pass->n_spans[t] = counts[t % G_N_ELEMENTS (counts)];
    d->pass->first_span[t] = t * 5 % (G_N_ELEMENTS (spans) + 1 - d->pass->n_spans[t]);
  }
}

static void
check_cross (Check *check, MllamaPassKind kind)
{
  guint n_tokens = kind == MLLAMA_PASS_FEW ? 21 : 70;

  for (guint i = 0; i < G_N_ELEMENTS (heads) && !check_is_settled (check); i++) {
    Decoder d;

    if (!wants_heads (check, i))
      continue;
    init_decoder (&d, check, &heads[i]);
    d.pass = check_pass_new (kind, n_tokens, 1, 2, NULL);
    check_keys_init_cross (&d.keys, check, d.device);
    d.slabs[0] = check_keys_new_slab (&d.keys, SLAB_SEED, N_KEYS, FIRST_KEY, N_KEYS - 2 * FIRST_KEY);
    d.slabs[1] = check_keys_new_slab (&d.keys, SLAB_SEED + 1, 150, FIRST_KEY, 144);
    add_spans (&d, n_tokens);
    check_tokens (&d, kind == MLLAMA_PASS_FEW ? 1 : 4, "cross_attention");
    d.device->ops->wait (d.device->be, NULL);
    for (guint s = 0; s < 2; s++)
      d.device->ops->slab_free (d.device->be, d.slabs[s]);
    check_keys_clear (&d.keys);
    check_pass_free (d.pass);
    oracle_device_free (d.device);
  }
}

static void
check_cross_few (Check *check)
{
  check_cross (check, MLLAMA_PASS_FEW);
}

static void
check_cross_many (Check *check)
{
  check_cross (check, MLLAMA_PASS_MANY);
}

const CheckEntry checks_of_attention[] = {
    {"self_attention_few", check_self_few},
    {"self_attention_many", check_self_many},
    {"far_positions_few", check_long_few},
    {"far_positions_many", check_long_many},
    {"cross_attention_few", check_cross_few},
    {"cross_attention_many", check_cross_many},
    {NULL, NULL},
};
