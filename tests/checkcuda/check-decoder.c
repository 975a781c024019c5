/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Queries, keys and values of the decoder. Keys and values are opaque: they are seen through attention, with their own
 * errors carried along. */
#include "check-pass.h"

#include "rope.h"

#include <math.h>
#include <string.h>

#define EPS 1e-5f

typedef struct {
  guint n_heads, n_kv_heads, head_width, d;
} Heads;

/* Widths with fast kernels and without, one of each first; d in steps of nothing. */
static const Heads heads[] = {{1, 1, 2, 5},   {2, 2, 16, 37},  {4, 2, 20, 64},  {8, 2, 36, 65},   {8, 1, 64, 128},
                              {4, 1, 72, 72}, {2, 1, 80, 160}, {6, 2, 96, 100}, {8, 2, 128, 256}, {2, 1, 256, 48}};

enum {
  LAYER = 1,
  N_LAYERS = 2,
  N_NEEDED = 2 /* of heads */
};

typedef struct {
  Check *check;
  OracleDevice *device;
  const Heads *heads;
  CheckPass *pass;
  float *w, *norm, *head_norm, inv_freq[128];
  MllamaWeight *w_weight, *norm_weight, *head_norm_weight;
  MllamaTensor *x, *q, *a;
} Decoder;

/* n_parts heads of the weight in all. */
static void
init_decoder (Decoder *d, Check *check, const Heads *h, guint n_parts)
{
  CheckModel model = {h->n_heads, h->n_kv_heads, h->head_width};
  guint n_out = n_parts * h->head_width;

  *d = (Decoder){check, check_open (check, &model), h};
  d->w = oracle_random (d->device, (gsize) n_out * h->d, 3 / sqrtf (h->d));
  d->norm = oracle_random (d->device, h->d, 2);
  d->head_norm = oracle_random (d->device, h->head_width, 2);
  d->w_weight = oracle_matrix_new (d->device, n_out, h->d, d->w);
  d->norm_weight = oracle_vector_new (d->device, h->d, d->norm);
  d->head_norm_weight = oracle_vector_new (d->device, h->head_width, d->head_norm);
  mllama_rope_get_frequencies (&d->device->config.text.rope, h->head_width, d->inv_freq);
}

static void
clear_decoder (Decoder *d)
{
  g_free (d->w);
  g_free (d->norm);
  g_free (d->head_norm);
  check_pass_free (d->pass);
  oracle_device_free (d->device);
}

static void
expect_products (const Decoder *d, const float *x, guint n_out, OracleNumber *y)
{
  g_autofree OracleNumber *in = g_new (OracleNumber, d->heads->d);

  oracle_exact (in, x, d->heads->d);
  oracle_rms_norm (in, in, d->norm, d->heads->d, check_eps (d->check, EPS));
  check_round_rms (d->check, in, d->heads->d);
  oracle_linear (y, in, d->w, NULL, n_out, d->heads->d);
  check_round (d->check, y, n_out);
}

static MllamaKv *
create_kv (OracleDevice *device, guint n_pages)
{
  GError *error = NULL;
  MllamaKv *kv = device->ops->kv_new (device->be, N_LAYERS, n_pages, &error);

  g_assert_no_error (error);
  device->ops->kv_commit (device->be, kv, n_pages, &error);
  g_assert_no_error (error);
  return kv;
}

/* --- queries, keys and values of self layers --- */

static void
call_queries (gpointer data)
{
  const Decoder *d = data;

  d->device->ops->norm_qkv_rope (d->device->be, d->q, d->x, d->norm_weight, EPS, d->w_weight, LAYER, &d->pass->pass);
}

static void
run_queries (gpointer data)
{
  Decoder *d = data;

  check_pass_run (d->device, d->pass, call_queries, d);
}

static guint
get_position (const Check *check, guint position)
{
  return position + check_has (check, CHECK_FAULT_POSITION);
}

/* Pages of distant positions are those of near ones: only queries are looked at. */
static void
check_queries_of (Check *check, const Heads *h, MllamaPassKind kind)
{
  static const guint positions[] = {0, 1, 63, 64, 1000, 8191, 65535, 131071};
  guint width = h->n_heads * h->head_width, n = G_N_ELEMENTS (positions);
  g_autofree float *x = NULL, *found = NULL;
  g_autofree OracleNumber *y = g_new (OracleNumber, width);
  MllamaKv *kv;
  Decoder d;

  init_decoder (&d, check, h, h->n_heads + 2 * h->n_kv_heads);
  kv = create_kv (d.device, n);
  d.pass = check_pass_new (kind, n, 1, 131072 / MLLAMA_KV_PAGE, kv);
  for (guint i = 0; i < 131072 / MLLAMA_KV_PAGE; i++)
    d.pass->pages[i] = i == 0 ? 0 : i == 1 ? 1 : 2 + i % (n - 2);
  for (guint i = 0; i < n; i++)
    check_pass_add (d.pass, 0, positions[i], 1);
  x = check_make_rows (d.device, n, h->d);
  d.x = oracle_tensor_new (d.device, n, h->d, x);
  d.q = oracle_tensor_new (d.device, n, width, NULL);
  found = check_run_twice (check, d.device, d.q, n, width, NULL, run_queries, &d, "queries");
  for (guint t = 0; t < n; t++) {
    expect_products (&d, x + t * h->d, width, y);
    for (guint k = 0; k < h->n_heads; k++)
      oracle_rotate (y + k * h->head_width, d.inv_freq, h->head_width, get_position (check, positions[t]));
    check_round (check, y, width);
    check_numbers (check, found + t * width, y, width, "queries: %u/%u heads of %u, position %u", h->n_heads,
                   h->n_kv_heads, h->head_width, positions[t]);
  }
  d.device->ops->wait (d.device->be, NULL);
  d.device->ops->kv_free (d.device->be, kv);
  clear_decoder (&d);
}

/* Queries that look at one number of every key, so that its error is not lost among the others: all zero but one. */
static float *
make_probes (guint n, const Heads *h)
{
  float *q = g_new0 (float, (gsize) n * h->n_heads * h->head_width);
  float value = exp2f (roundf (log2f (3 * sqrtf (h->head_width))));

  for (guint t = 0; t < n; t++)
    for (guint i = 0; i < h->n_heads; i++)
      q[(t * h->n_heads + i) * h->head_width + (t * 5 + i * 3) % h->head_width] = value;
  return q;
}

static double
find_largest_error (const OracleNumber *y, guint n)
{
  double largest = 0;

  for (guint i = 0; i < n; i++)
    largest = MAX (largest, y[i].error + ORACLE_ROUNDING * fabs (y[i].value)); /* numbers becomes float */
  return largest;
}

/* numbers [2][C] keeps what the key points at. */
static OracleKey
make_key (const OracleNumber *key, const OracleNumber *value, guint c, float *numbers)
{
  for (guint i = 0; i < c; i++) {
    numbers[i] = key[i].value;
    numbers[c + i] = value[i].value;
  }
  return (OracleKey){numbers, numbers + c, 0, find_largest_error (key, c), find_largest_error (value, c)};
}

/* A key whose numbers before the rotation are known. */
static OracleKey
expect_rotated (const Decoder *d, const CheckKeys *known, guint row, guint position, guint head, float *numbers)
{
  guint c = d->heads->head_width;
  OracleKey plain = check_keys_get (known, row, position, head, 0);
  OracleNumber key[256], value[256];

  for (guint i = 0; i < c; i++) {
    key[i] = (OracleNumber){plain.key[i], plain.key_error};
    value[i] = (OracleNumber){plain.value[i], plain.value_error};
  }
  oracle_rotate (key, d->inv_freq, c, get_position (d->check, position));
  check_round (d->check, key, c);
  return make_key (key, value, c, numbers);
}

enum {
  N_POSITIONS = 100,
  N_ROWS = 2
};

static void
call_self (gpointer data)
{
  const Decoder *d = data;

  d->device->ops->self_attention (d->device->be, d->a, d->q, LAYER, &d->pass->pass);
}

static void
run_self (gpointer data)
{
  Decoder *d = data;

  check_pass_run (d->device, d->pass, call_self, d);
}

/* Every token against the keys of its row, head by head. */
static void
check_probes (Decoder *d, const CheckKeys *known, const float *q, const float *found)
{
  const Heads *h = d->heads;
  guint c = h->head_width, width = h->n_heads * c, n_group = h->n_heads / h->n_kv_heads;
  g_autofree float *numbers = g_new (float, N_POSITIONS * 2 * c);
  g_autofree OracleKey *keys = g_new (OracleKey, N_POSITIONS);
  g_autofree OracleNumber *expected = g_new (OracleNumber, c);

  for (guint row = 0; row < N_ROWS; row++)
    for (guint i = 0; i < h->n_heads; i++) {
      for (guint j = 0; j < N_POSITIONS; j++)
        keys[j] = expect_rotated (d, known, row, j, i / n_group, numbers + j * 2 * c);
      for (guint t = 0; t < d->pass->pass.n_tokens; t++) {
        if (d->pass->rows[t] != row)
          continue;
        oracle_attend_rounded (expected, q + t * width + i * c, keys, d->pass->positions[t] + 1, c,
                               check_get_weight_rounding (d->check));
        check_round (d->check, expected, c);
        check_numbers (d->check, found + t * width + i * c, expected, c, "keys: %u/%u heads of %u, token %u, head %u",
                       h->n_heads, h->n_kv_heads, c, t, i);
      }
    }
}

static void
check_keys_of (Check *check, const Heads *h, MllamaPassKind kind)
{
  static const guint counts[] = {3, 9, 24, 64}; /* for every size of a product of few rows; N_POSITIONS */
  guint n = kind == MLLAMA_PASS_FEW ? MLLAMA_MAX_ROWS : N_ROWS * N_POSITIONS, width = h->n_heads * h->head_width;
  g_autofree float *q = make_probes (n, h), *found = NULL;
  g_auto (CheckKeys) known = {0};
  MllamaKv *kv;
  Decoder d;

  init_decoder (&d, check, h, 1);
  kv = create_kv (d.device, 4);
  d.pass = check_pass_new (kind, n, N_ROWS, 2, kv);
  check_keys_init_self (&known, check, d.device);
  for (guint row = 0; row < N_ROWS; row++) {
    for (guint i = 0, first = 0; i < G_N_ELEMENTS (counts); first += counts[i++])
      check_keys_append (&known, d.pass, kind, LAYER, row, first, counts[i], FALSE);
    check_pass_add (d.pass, row, N_POSITIONS - n / N_ROWS, n / N_ROWS);
  }
  d.q = oracle_tensor_new (d.device, n, width, q);
  d.a = oracle_tensor_new (d.device, n, width, NULL);
  found = check_run_twice (check, d.device, d.a, n, width, NULL, run_self, &d, "keys and values");
  check_probes (&d, &known, q, found);
  d.device->ops->kv_free (d.device->be, kv);
  clear_decoder (&d);
}

static void
check_qkv (Check *check, MllamaPassKind kind)
{
  for (guint i = 0; i < G_N_ELEMENTS (heads) && !check_is_settled (check); i++) {
    if (!check_wants_case (check, i < N_NEEDED))
      continue;
    check_queries_of (check, &heads[i], kind);
    check_keys_of (check, &heads[i], kind);
  }
}

static void
check_qkv_few (Check *check)
{
  check_qkv (check, MLLAMA_PASS_FEW);
}

static void
check_qkv_many (Check *check)
{
  check_qkv (check, MLLAMA_PASS_MANY);
}

/* --- queries, keys and values of cross layers --- */

static void
call_q_heads (gpointer data)
{
  const Decoder *d = data;

  d->device->ops->norm_q_heads (d->device->be, d->q, d->x, d->norm_weight, EPS, d->w_weight, d->head_norm_weight,
                                &d->pass->pass);
}

static void
run_q_heads (gpointer data)
{
  Decoder *d = data;

  check_pass_run (d->device, d->pass, call_q_heads, d);
}

static void
expect_head_norm (const Decoder *d, OracleNumber *y)
{
  guint c = d->heads->head_width;

  oracle_rms_norm (y, y, d->head_norm, c, check_eps (d->check, EPS));
  check_round_rms (d->check, y, c);
}

static void
check_q_heads (Check *check, MllamaPassKind kind)
{
  static const guint few[] = {19, 5, 37, 12}; /* for every size of a product of few rows */

  for (guint i = 0; i < G_N_ELEMENTS (heads) && !check_is_settled (check); i++) {
    if (!check_wants_case (check, i < (kind == MLLAMA_PASS_FEW ? G_N_ELEMENTS (few) : N_NEEDED)))
      continue;
    const Heads *h = &heads[i];
    guint width = h->n_heads * h->head_width, n = kind == MLLAMA_PASS_FEW ? few[i % G_N_ELEMENTS (few)] : 70;
    g_autofree float *x = NULL, *found = NULL;
    g_autofree OracleNumber *y = g_new (OracleNumber, width);
    Decoder d;

    init_decoder (&d, check, h, h->n_heads);
    d.pass = check_pass_new (kind, n, 1, 2, NULL);
    check_pass_add (d.pass, 0, 3, n);
    x = check_make_rows (d.device, n, h->d);
    d.x = oracle_tensor_new (d.device, n, h->d, x);
    d.q = oracle_tensor_new (d.device, n, width, NULL);
    found = check_run_twice (check, d.device, d.q, n, width, NULL, run_q_heads, &d, "norm_q_heads");
    for (guint t = 0; t < n; t++) {
      expect_products (&d, x + t * h->d, width, y);
      for (guint k = 0; k < h->n_heads; k++)
        expect_head_norm (&d, y + k * h->head_width);
      check_numbers (check, found + t * width, y, width, "%u heads of %u, token %u", h->n_heads, h->head_width, t);
    }
    clear_decoder (&d);
  }
}

static void
check_q_heads_few (Check *check)
{
  check_q_heads (check, MLLAMA_PASS_FEW);
}

static void
check_q_heads_many (Check *check)
{
  check_q_heads (check, MLLAMA_PASS_MANY);
}

enum {
  N_STATES = 67,
  FIRST_STATE = 3
};

static void
call_cross (gpointer data)
{
  const Decoder *d = data;

  d->device->ops->cross_attention (d->device->be, d->a, d->q, LAYER, &d->pass->pass);
}

static void
run_cross (gpointer data)
{
  Decoder *d = data;

  check_pass_run (d->device, d->pass, call_cross, d);
}

/* Keys of one head, made of the states; values [N_STATES][2][C] keeps their numbers. */
static void
expect_states (const Decoder *d, const float *states, guint head, OracleKey *keys, float *values)
{
  const Heads *h = d->heads;
  guint c = h->head_width, width = h->n_kv_heads * c, d_in = h->d;
  g_autofree OracleNumber *in = g_new (OracleNumber, d_in), *y = g_new (OracleNumber, 2 * width);

  for (guint s = 0; s < N_STATES; s++) {
    oracle_exact (in, states + (FIRST_STATE + s) * d_in, d_in);
    oracle_linear (y, in, d->w, NULL, 2 * width, d_in);
    check_round (d->check, y, 2 * width);
    expect_head_norm (d, y + head * c);
    keys[s] = make_key (y + head * c, y + width + head * c, c, values + s * 2 * c);
  }
}

/* The first tokens see one key each, to show its value; the others see them all. */
static void
check_states_of (Check *check, const Heads *h)
{
  guint c = h->head_width, width = h->n_heads * c, n = N_STATES + 30, n_group = h->n_heads / h->n_kv_heads;
  g_autofree float *states = NULL, *q = NULL, *found = NULL, *values = g_new (float, N_STATES * 2 * c);
  g_autofree OracleKey *keys = g_new (OracleKey, N_STATES);
  g_autofree OracleNumber *expected = g_new (OracleNumber, c);
  GError *error = NULL;
  MllamaSlab *slab;
  Decoder d;

  init_decoder (&d, check, h, 2 * h->n_kv_heads);
  slab = d.device->ops->slab_new (d.device->be, N_LAYERS, N_STATES, &error);
  g_assert_no_error (error);
  states = check_make_rows (d.device, FIRST_STATE + N_STATES, h->d);
  for (guint i = 0; i < FIRST_STATE * h->d; i++)
    states[i] = NAN;
  d.device->ops->cross_keys_values (d.device->be, slab, LAYER,
                                    oracle_tensor_new (d.device, FIRST_STATE + N_STATES, h->d, states), FIRST_STATE,
                                    d.w_weight, d.head_norm_weight, EPS);
  q = make_probes (n, h);
  d.q = oracle_tensor_new (d.device, n, width, q);
  d.a = oracle_tensor_new (d.device, n, width, NULL);
  d.pass = check_pass_new (MLLAMA_PASS_MANY, n, 1, 2, NULL);
  check_pass_add (d.pass, 0, 0, n);
  for (guint t = 0; t < n; t++) {
    gboolean is_alone = t < N_STATES;
    d.pass->first_span[t] = check_pass_add_span (d.pass, slab, is_alone ? t : 0, is_alone ? 1 : N_STATES, 0);
    d.pass->n_spans[t] = 1;
  }
  found = check_run_twice (check, d.device, d.a, n, width, NULL, run_cross, &d, "cross_keys_values");
  for (guint i = 0; i < h->n_heads; i++) {
    expect_states (&d, states, i / n_group, keys, values);
    for (guint t = 0; t < n; t++) {
      gboolean is_alone = t < N_STATES;
      oracle_attend_rounded (expected, q + t * width + i * c, keys + (is_alone ? t : 0), is_alone ? 1 : N_STATES, c,
                             check_get_weight_rounding (check));
      check_round (check, expected, c);
      check_numbers (check, found + t * width + i * c, expected, c, "%u/%u heads of %u, %s %u, head %u", h->n_heads,
                     h->n_kv_heads, c, t < N_STATES ? "state" : "all states", t % N_STATES, i);
    }
  }
  d.device->ops->slab_free (d.device->be, slab);
  clear_decoder (&d);
}

static void
check_states (Check *check)
{
  for (guint i = 0; i < G_N_ELEMENTS (heads) && !check_is_settled (check); i++)
    if (check_wants_case (check, i < N_NEEDED))
      check_states_of (check, &heads[i]);
}

const CheckEntry checks_of_decoder[] = {
    {"norm_qkv_rope_few", check_qkv_few},    {"norm_qkv_rope_many", check_qkv_many},
    {"norm_q_heads_few", check_q_heads_few}, {"norm_q_heads_many", check_q_heads_many},
    {"cross_keys_values", check_states},     {NULL, NULL},
};
