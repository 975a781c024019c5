/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mini-model.h"

#include <math.h>

#define EPS 1e-5f

static MllamaWeight *
create_matrix (OracleDevice *device, gsize n_out, gsize n_in)
{
  g_autofree float *values = oracle_random (device, n_out * n_in, 2 / sqrtf (n_in));

  return oracle_matrix_new (device, n_out, n_in, values);
}

static MllamaWeight *
create_vector (OracleDevice *device, gsize n)
{
  g_autofree float *values = oracle_random (device, n, 2);

  return oracle_vector_new (device, n, values);
}

static MllamaWeight *
create_table (OracleDevice *device, gsize n_rows, gsize width)
{
  g_autofree float *values = oracle_random (device, n_rows * width, 1);

  return oracle_table_new (device, n_rows, width, values);
}

/* --- the decoder --- */

static void
create_layers (MiniDecoder *m)
{
  const MiniSize *s = &m->size;
  guint q_width = s->n_heads * s->head_width, kv_width = s->n_kv_heads * s->head_width;

  for (guint i = 0; i < MINI_LAYERS; i++) {
    m->qkv[i] = create_matrix (m->device, i < MINI_SELF_LAYERS ? q_width + 2 * kv_width : q_width, s->d);
    m->o[i] = create_matrix (m->device, s->d, q_width);
    m->gate_up[i] = create_matrix (m->device, 2 * s->f, s->d);
    m->down[i] = create_matrix (m->device, s->d, s->f);
  }
}

static void
create_memory (MiniDecoder *m, guint n_pages)
{
  const MllamaBackendOps *ops = m->device->ops;
  g_autofree float *states = oracle_random (m->device, (gsize) MINI_N_KEYS * m->size.d, 2);
  GError *error = NULL;

  m->slab = ops->slab_new (m->device->be, MINI_CROSS_LAYERS, MINI_N_KEYS, &error);
  g_assert_no_error (error);
  ops->cross_keys_values (m->device->be, m->slab, 0, oracle_tensor_new (m->device, MINI_N_KEYS, m->size.d, states), 0,
                          create_matrix (m->device, 2 * m->size.n_kv_heads * m->size.head_width, m->size.d),
                          m->head_norm, EPS);
  m->kv = ops->kv_new (m->device->be, MINI_SELF_LAYERS, n_pages, &error);
  g_assert_no_error (error);
  ops->kv_commit (m->device->be, m->kv, n_pages, &error);
  g_assert_no_error (error);
}

MiniDecoder *
mini_decoder_new (const Check *check, const MiniSize *size, guint n_pages)
{
  CheckModel model = {size->n_heads, size->n_kv_heads, size->head_width, .n_ids = size->n_logits};
  MiniDecoder *m = g_new0 (MiniDecoder, 1);
  guint q_width = size->n_heads * size->head_width;

  m->size = *size;
  m->device = check_open (check, &model);
  m->embedding = create_table (m->device, size->n_logits + 8, size->d);
  m->norm = create_vector (m->device, size->d);
  m->head_norm = create_vector (m->device, size->head_width);
  m->head = create_matrix (m->device, size->n_logits, size->d);
  create_layers (m);
  create_memory (m, n_pages);
  m->x = oracle_tensor_new (m->device, MINI_MAX_TOKENS, size->d, NULL);
  m->q = oracle_tensor_new (m->device, MINI_MAX_TOKENS, q_width, NULL);
  m->a = oracle_tensor_new (m->device, MINI_MAX_TOKENS, q_width, NULL);
  m->hidden = oracle_tensor_new (m->device, MINI_MAX_TOKENS, size->f, NULL);
  m->normed = oracle_tensor_new (m->device, MLLAMA_MAX_ROWS, size->d, NULL);
  m->logits = oracle_tensor_new_full (m->device, MLLAMA_MAX_ROWS, size->n_logits, NULL);
  return m;
}

void
mini_decoder_free (MiniDecoder *m)
{
  m->device->ops->wait (m->device->be, NULL);
  m->device->ops->slab_free (m->device->be, m->slab);
  m->device->ops->kv_free (m->device->be, m->kv);
  oracle_device_free (m->device);
  g_free (m);
}

static void
run_layer (MiniDecoder *m, guint i, const MllamaPass *pass)
{
  const MllamaBackendOps *ops = m->device->ops;
  MllamaBackend *be = m->device->be;
  gboolean is_cross = i >= MINI_SELF_LAYERS;
  float gate = is_cross ? 0.4f : 1;

  if (is_cross) {
    ops->norm_q_heads (be, m->q, m->x, m->norm, EPS, m->qkv[i], m->head_norm, pass);
    ops->cross_attention (be, m->a, m->q, i - MINI_SELF_LAYERS, pass);
  } else {
    ops->norm_qkv_rope (be, m->q, m->x, m->norm, EPS, m->qkv[i], i, pass);
    ops->self_attention (be, m->a, m->q, i, pass);
  }
  ops->linear_residual_tokens (be, m->x, m->a, m->o[i], gate, FALSE, pass);
  ops->norm_swiglu (be, m->hidden, m->x, m->norm, EPS, m->gate_up[i], pass);
  ops->linear_residual_tokens (be, m->x, m->hidden, m->down[i], gate, is_cross, pass);
}

static void
run_pass (MiniDecoder *m, const MllamaPass *pass)
{
  const MllamaBackendOps *ops = m->device->ops;
  MllamaBackend *be = m->device->be;
  gboolean sees_pictures = mllama_pass_sees_keys (pass);

  ops->embed_tokens (be, m->x, m->embedding, pass);
  for (guint i = 0; i < MINI_LAYERS; i++)
    if (i < MINI_SELF_LAYERS || sees_pictures)
      run_layer (m, i, pass);
  ops->norm_outputs (be, m->normed, m->x, m->norm, EPS, pass);
  ops->logits (be, m->logits, m->normed, m->head, pass);
  if (pass->sampling)
    ops->draw (be, m->logits, pass);
}

float *
mini_decoder_run (MiniDecoder *m, const CheckPass *p, MllamaSample *samples)
{
  const MllamaBackendOps *ops = m->device->ops;
  const MllamaPass *pass = &p->pass;
  GError *error = NULL;

  if (ops->pass_begin (m->device->be, pass))
    run_pass (m, pass);
  ops->pass_end (m->device->be);
  if (pass->sampling)
    ops->samples_read (m->device->be, samples, &error);
  g_assert_no_error (error);
  return oracle_tensor_read (m->device, m->logits, pass->n_outputs, m->size.n_logits);
}

/* --- the tower --- */

enum {
  N_IDS = 3,
  N_SLOTS = 4,
  N_TAPS = 1
};

static void
create_patch_weights (MiniTower *m)
{
  OracleDevice *device = m->device;
  guint d = m->size.d, p = m->n_patches;

  m->patches = (MllamaPatchWeights){create_matrix (device, d, 3 * m->size.patch_size * m->size.patch_size),
                                    create_vector (device, d),
                                    create_table (device, N_IDS, N_SLOTS * d),
                                    create_table (device, p, d),
                                    create_table (device, N_IDS, (gsize) N_SLOTS * p * d),
                                    create_vector (device, d),
                                    create_vector (device, d),
                                    0.3f,
                                    0.6f};
}

MiniTower *
mini_tower_new (const Check *check, const MiniTowerSize *size)
{
  CheckModel model = {.tower_width = size->d, .tower_heads = size->n_heads, size->image_size, size->patch_size};
  MiniTower *m = g_new0 (MiniTower, 1);
  OracleDevice *device = check_open (check, &model);
  guint n_columns = size->image_size / size->patch_size;

  m->device = device;
  m->size = *size;
  m->n_patches = n_columns * n_columns + 1;
  create_patch_weights (m);
  m->norm = create_vector (device, size->d);
  m->norm_bias = create_vector (device, size->d);
  m->qkv = create_matrix (device, 3 * size->d, size->d);
  m->o = create_matrix (device, size->d, size->d);
  m->fc1 = create_matrix (device, size->f, size->d);
  m->fc1_bias = create_vector (device, size->f);
  m->fc2 = create_matrix (device, size->d, size->f);
  m->fc2_bias = create_vector (device, size->d);
  m->tiles = create_table (device, N_IDS, N_SLOTS * size->d);
  m->projector = create_matrix (device, size->n_out, (1 + N_TAPS) * size->d);
  m->projector_bias = create_vector (device, size->n_out);
  return m;
}

void
mini_tower_free (MiniTower *m)
{
  oracle_device_free (m->device);
  g_free (m);
}

/* The rows of one run: tiles of a picture, and one pad row behind them. */
typedef struct {
  guint n_rows, n_pictures;
  GArray *tiles, *spans, *pads; /* MllamaTowerTile, MllamaTowerSpan, guint */
  GArray *sequences;            /* MllamaSequence */
  GPtrArray *frames;
} TowerRows;

/* The same pixels whenever the same picture is asked for. */
static MllamaFrame *
create_frame (MiniTower *m, guint picture, guint n_tiles)
{
  gsize n = n_tiles * 3 * (gsize) m->size.image_size * m->size.image_size;
  g_autoptr (GRand) rand = g_rand_new_with_seed (picture + 1);
  g_autofree float *values = g_new (float, n);
  MllamaPixels pixels = {.values = values, .size = m->size.image_size, .n_tiles = n_tiles};
  GError *error = NULL;
  MllamaFrame *frame;

  for (gsize i = 0; i < n; i++)
    values[i] = g_rand_double_range (rand, -2, 2);
  frame = m->device->ops->frame_new_from_pixels (m->device->be, &pixels, &error);
  g_assert_no_error (error);
  return frame;
}

static void
add_picture (MiniTower *m, TowerRows *rows, guint picture, guint n_tiles)
{
  MllamaFrame *frame = create_frame (m, picture, n_tiles);
  guint n_real = n_tiles * m->n_patches, pad = rows->n_rows + n_real, id = picture % N_IDS;
  MllamaSequence sequence = {rows->n_rows, n_real, n_real + 1};
  MllamaTowerSpan last = {pad, 1, pad, 0, n_tiles - 1, id};

  for (guint t = 0; t < n_tiles; t++) {
    guint first = rows->n_rows + t * m->n_patches;
    MllamaTowerTile tile = {first, frame, t, t, id};
    MllamaTowerSpan span = {first, m->n_patches, first, 1, t, id};
    g_array_append_val (rows->tiles, tile);
    g_array_append_val (rows->spans, span);
  }
  g_array_append_val (rows->spans, last);
  g_array_append_val (rows->pads, pad);
  g_array_append_val (rows->sequences, sequence);
  g_ptr_array_add (rows->frames, frame);
  rows->n_rows += n_real + 1;
}

static void
run_tower_layer (MiniTower *m, MllamaTensor *x, MllamaTensor *const *work, const MllamaTowerLayout *layout)
{
  const MllamaBackendOps *ops = m->device->ops;
  MllamaBackend *be = m->device->be;

  ops->layer_norm_linear (be, work[0], x, layout->n_rows, m->norm, m->norm_bias, EPS, m->qkv, NULL, FALSE);
  ops->tower_attention (be, work[1], work[0], m->size.n_heads, layout);
  ops->linear_residual (be, x, work[1], layout->n_rows, m->o, NULL, 0.5f);
  ops->layer_norm_linear (be, work[2], x, layout->n_rows, m->norm, m->norm_bias, EPS, m->fc1, m->fc1_bias, TRUE);
  ops->linear_residual (be, x, work[2], layout->n_rows, m->fc2, m->fc2_bias, 0.5f);
}

static float *
run_rows (MiniTower *m, const TowerRows *rows)
{
  const MllamaBackendOps *ops = m->device->ops;
  MllamaBackend *be = m->device->be;
  guint n = rows->n_rows, d = m->size.d;
  g_autofree float *bias = g_new0 (float, n);
  MllamaTowerLayout layout = {n, rows->sequences->len, (const MllamaSequence *) rows->sequences->data, bias};
  MllamaTensor *x = oracle_tensor_new (m->device, n, d, NULL), *y = oracle_tensor_new (m->device, n, d, NULL);
  MllamaTensor *features = oracle_tensor_new (m->device, n, (1 + N_TAPS) * d, NULL),
               *projected = oracle_tensor_new (m->device, n, m->size.n_out, NULL);
  MllamaTensor *work[] = {oracle_tensor_new (m->device, n, 3 * d, NULL), oracle_tensor_new (m->device, n, d, NULL),
                          oracle_tensor_new (m->device, n, m->size.f, NULL)};

  for (guint i = 0; i < rows->pads->len; i++)
    bias[g_array_index (rows->pads, guint, i)] = logf (7);
  ops->embed_patches (be, x, &m->patches, EPS, (const MllamaTowerTile *) rows->tiles->data, rows->tiles->len,
                      (const guint *) rows->pads->data, rows->pads->len);
  run_tower_layer (m, x, work, &layout);
  ops->copy_columns (be, features, 0, d, x, 0, n);
  ops->norm_add_tiles (be, y, x, m->norm, m->norm_bias, EPS, m->tiles, 0.4f,
                       (const MllamaTowerSpan *) rows->spans->data, rows->spans->len);
  run_tower_layer (m, y, work, &layout);
  ops->copy_columns (be, features, 0, 0, y, 0, n);
  ops->linear (be, projected, features, n, m->projector, m->projector_bias);
  return oracle_tensor_read (m->device, projected, n, m->size.n_out);
}

float *
mini_tower_run (MiniTower *m, const guint *pictures, const guint *n_tiles, guint n_pictures)
{
  g_autoptr (GArray) tiles = g_array_new (FALSE, FALSE, sizeof (MllamaTowerTile)),
                     spans = g_array_new (FALSE, FALSE, sizeof (MllamaTowerSpan)),
                     pads = g_array_new (FALSE, FALSE, sizeof (guint)),
                     sequences = g_array_new (FALSE, FALSE, sizeof (MllamaSequence));
  g_autoptr (GPtrArray) frames = g_ptr_array_new ();
  TowerRows rows = {0, n_pictures, tiles, spans, pads, sequences, frames};
  float *found;

  for (guint i = 0; i < n_pictures; i++)
    add_picture (m, &rows, pictures[i], n_tiles[i]);
  found = run_rows (m, &rows);
  for (guint i = 0; i < frames->len; i++)
    m->device->ops->frame_free (m->device->be, g_ptr_array_index (frames, i));
  return found;
}
