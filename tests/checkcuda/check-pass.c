/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "check-pass.h"

#include <math.h>
#include <string.h>

/* Every page of the pool belongs to one row; neighbours of a row lie far apart. */
static void
shuffle_pages (CheckPass *p, guint n_rows)
{
  guint n = n_rows * p->pages_a_row;
  g_autoptr (GRand) rand = g_rand_new_with_seed (n);

  for (guint i = 0; i < n; i++)
    p->pages[i] = i;
  for (guint i = n; i > 1; i--) {
    guint k = g_rand_int_range (rand, 0, i);
    guint32 page = p->pages[i - 1];
    p->pages[i - 1] = p->pages[k];
    p->pages[k] = page;
  }
}

CheckPass *
check_pass_new (MllamaPassKind kind, guint n_max, guint n_rows, guint pages_a_row, MllamaKv *kv)
{
  CheckPass *p = g_new0 (CheckPass, 1);

  p->n_max = n_max;
  p->pages_a_row = pages_a_row;
  p->ids = g_new0 (guint32, n_max);
  p->positions = g_new0 (guint32, n_max);
  p->rows = g_new0 (guint32, n_max);
  p->first_span = g_new0 (guint32, n_max);
  p->n_spans = g_new0 (guint32, n_max);
  p->sees_image = g_new0 (guint8, n_max);
  p->pages = g_new0 (guint32, n_rows * pages_a_row);
  p->spans = g_array_new (FALSE, FALSE, sizeof (MllamaKeySpan));
  shuffle_pages (p, n_rows);
  for (guint r = 0; r < n_rows; r++)
    p->row_table[r] = (MllamaRow){(5 * r + 3) % MLLAMA_MAX_ROWS, p->pages + r * pages_a_row};
  p->pass = (MllamaPass){.kind = kind,
                         .ids = p->ids,
                         .positions = p->positions,
                         .rows = p->rows,
                         .first_span = p->first_span,
                         .n_spans = p->n_spans,
                         .sees_image = p->sees_image,
                         .n_rows = n_rows,
                         .row_table = p->row_table,
                         .outputs = p->outputs,
                         .kv = kv};
  check_pass_clear (p);
  return p;
}

void
check_pass_free (CheckPass *p)
{
  g_free (p->ids);
  g_free (p->positions);
  g_free (p->rows);
  g_free (p->first_span);
  g_free (p->n_spans);
  g_free (p->sees_image);
  g_free (p->pages);
  g_array_unref (p->spans);
  g_free (p);
}

void
check_pass_clear (CheckPass *p)
{
  p->pass.n_tokens = p->pass.n_outputs = p->pass.n_spans_total = 0;
  g_array_set_size (p->spans, 0);
}

void
check_pass_add (CheckPass *p, guint row, guint position, guint n)
{
  for (guint i = 0; i < n; i++) {
    guint t = p->pass.n_tokens++;
    g_assert_cmpuint (t, <, p->n_max);
    p->rows[t] = row;
    p->positions[t] = position + i;
    p->ids[t] = 0;
    p->first_span[t] = p->n_spans[t] = 0;
    p->sees_image[t] = 1;
  }
}

void
check_pass_fill (CheckPass *p, guint n_tokens, guint n_outputs)
{
  check_pass_clear (p);
  check_pass_add (p, 0, 0, n_tokens);
  p->pass.n_outputs = n_outputs;
  for (guint i = 0; i < n_outputs; i++)
    p->outputs[i] = i;
}

guint
check_pass_add_span (CheckPass *p, const MllamaSlab *slab, guint first, guint n_keys, float bias)
{
  MllamaKeySpan span = {slab, first, n_keys, bias};

  g_array_append_val (p->spans, span);
  p->pass.spans = (const MllamaKeySpan *) p->spans->data;
  p->pass.n_spans_total = p->spans->len;
  return p->spans->len - 1;
}

void
check_pass_run (OracleDevice *device, const CheckPass *p, CheckRun run, gpointer data)
{
  if (device->ops->pass_begin (device->be, &p->pass))
    run (data);
  device->ops->pass_end (device->be);
}

/* --- known keys --- */

#define CHUNK 1024 /* rows of an input */

guint
check_keys_get_column (guint seed, guint position)
{
  guint32 x = (position + 1) * 2654435761u + seed * 40503u;

  x ^= x >> 15;
  x *= 2246822519u;
  return (x ^ x >> 13) % CHECK_N_COLUMNS;
}

/* Rows of the input that pick the columns. */
static void
write_picks (CheckKeys *keys, guint seed, guint first, guint n, float value, gboolean is_poison)
{
  g_autofree float *rows = g_new0 (float, (gsize) n *CHECK_N_COLUMNS);
  GError *error = NULL;

  for (gsize i = 0; i < n; i++)
    rows[i * CHECK_N_COLUMNS + check_keys_get_column (seed, first + i)] = is_poison ? NAN : value;
  keys->device->ops->tensor_write (keys->device->be, keys->x, 0, n, rows, &error);
  g_assert_no_error (error);
}

/* [first_row + width of K, then V][CHECK_N_COLUMNS]: the columns are the keys and values. */
static void
copy_columns_to_weight (const CheckKeys *keys, float *w, guint first_row)
{
  guint width = keys->n_kv_heads * keys->head_width;

  for (guint column = 0; column < CHECK_N_COLUMNS; column++)
    for (guint i = 0; i < width; i++) {
      w[(gsize) (first_row + i) * CHECK_N_COLUMNS + column] = keys->keys[column * width + i];
      w[(gsize) (first_row + width + i) * CHECK_N_COLUMNS + column] = keys->values[column * width + i];
    }
}

static void
init_keys (CheckKeys *keys, const Check *check, OracleDevice *device)
{
  const MllamaTextConfig *text = &device->config.text;
  gsize n = (gsize) CHECK_N_COLUMNS * text->n_kv_heads * text->head_width;

  *keys = (CheckKeys){.device = device, .n_kv_heads = text->n_kv_heads, .head_width = text->head_width};
  keys->keys = oracle_random (device, n, 2);
  keys->values = oracle_random (device, n, 2);
  keys->x = oracle_tensor_new (device, CHUNK, CHECK_N_COLUMNS, NULL);
  /* The norm's scale; it is rounded away in bf16. */
  keys->error = check->dtype == MLLAMA_DTYPE_BF16 && check->device != MLLAMA_DEVICE_CPU ? 0 : 24 * ORACLE_ROUNDING;
}

/* 1024 / sqrt (1024^2 / 256) = 16, and eps makes no difference. */
void
check_keys_init_self (CheckKeys *keys, const Check *check, OracleDevice *device)
{
  guint q_width = device->config.text.n_heads * device->config.text.head_width;
  guint n_out = q_width + 2 * device->config.text.n_kv_heads * device->config.text.head_width;
  g_autofree float *w = g_new0 (float, (gsize) n_out *CHECK_N_COLUMNS);
  float norm[CHECK_N_COLUMNS];

  init_keys (keys, check, device);
  copy_columns_to_weight (keys, w, q_width);
  for (guint i = 0; i < CHECK_N_COLUMNS; i++)
    norm[i] = 1. / 16;
  keys->norm = oracle_vector_new (device, CHECK_N_COLUMNS, norm);
  keys->w = oracle_matrix_new (device, n_out, CHECK_N_COLUMNS, w);
  keys->q = oracle_tensor_new (device, CHUNK, q_width, NULL);
}

typedef struct {
  CheckKeys *keys;
  const MllamaPass *pass;
  guint layer;
} Append;

static void
append (gpointer data)
{
  const Append *a = data;
  const CheckKeys *keys = a->keys;

  keys->device->ops->norm_qkv_rope (keys->device->be, keys->q, keys->x, keys->norm, 1e-5f, keys->w, a->layer, a->pass);
}

void
check_keys_append (CheckKeys *keys, const CheckPass *p, MllamaPassKind kind, guint layer, guint row, guint first,
                   guint n, gboolean is_poison)
{
  guint chunk = kind == MLLAMA_PASS_FEW ? MLLAMA_MAX_ROWS : CHUNK;
  g_autoptr (CheckPass) q = check_pass_new (kind, chunk, p->pass.n_rows, p->pages_a_row, p->pass.kv);
  Append a = {keys, &q->pass, layer};

  for (guint done = 0, now; done < n; done += now) {
    now = MIN (n - done, chunk);
    write_picks (keys, row, first + done, now, 1024, is_poison);
    check_pass_clear (q);
    check_pass_add (q, row, first + done, now);
    check_pass_run (keys->device, q, append, &a);
  }
}

/* 64 and -64 become 1 and -1 in the norm of a head, and then its weights. */
void
check_keys_init_cross (CheckKeys *keys, const Check *check, OracleDevice *device)
{
  guint width = device->config.text.n_kv_heads * device->config.text.head_width, c = device->config.text.head_width;
  g_autofree float *w = g_new0 (float, 2 * (gsize) width * CHECK_N_COLUMNS), *norm = oracle_random (device, c, 2);

  init_keys (keys, check, device);
  for (gsize i = 0; i < (gsize) CHECK_N_COLUMNS * width; i++)
    keys->keys[i] = copysignf (64, keys->keys[i]);
  copy_columns_to_weight (keys, w, 0);
  for (gsize i = 0; i < (gsize) CHECK_N_COLUMNS * width; i++)
    keys->keys[i] = copysignf (1, keys->keys[i]) * norm[i % c];
  keys->norm = oracle_vector_new (device, c, norm);
  keys->w = oracle_matrix_new (device, 2 * width, CHECK_N_COLUMNS, w);
}

MllamaSlab *
check_keys_new_slab (CheckKeys *keys, guint seed, guint n_keys, guint first, guint n)
{
  OracleDevice *device = keys->device;
  g_autofree float *rows = g_new0 (float, (gsize) n_keys *CHECK_N_COLUMNS);
  GError *error = NULL;
  MllamaSlab *slab = device->ops->slab_new (device->be, 2, n_keys, &error);

  g_assert_no_error (error);
  for (guint i = 0; i < n_keys; i++)
    rows[(gsize) i * CHECK_N_COLUMNS + check_keys_get_column (seed, i)] = i >= first && i < first + n ? 1 : NAN;
  device->ops->cross_keys_values (device->be, slab, 1, oracle_tensor_new (device, n_keys, CHECK_N_COLUMNS, rows), 0,
                                  keys->w, keys->norm, 1e-5f);
  return slab;
}

void
check_keys_clear (CheckKeys *keys)
{
  g_free (keys->keys);
  g_free (keys->values);
}

OracleKey
check_keys_get (const CheckKeys *keys, guint seed, guint position, guint head, double bias)
{
  gsize at = ((gsize) check_keys_get_column (seed, position) * keys->n_kv_heads + head) * keys->head_width;

  return (OracleKey){keys->keys + at, keys->values + at, bias, keys->error, keys->error};
}
