/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu.h"
#include "oracle.h"
#include "oracle-device.h"

#include <math.h>
#include <string.h>

#define EPS 1e-5f

/* --- attention --- */

typedef struct {
  guint n_heads, head_width;
  guint n_sequences;
  MllamaSequence sequences[3];
} AttentionCase;

/* Blocks are of 64 queries, and of 16 to 512 keys. */
static const AttentionCase attention_cases[] = {
    {1, 1, 1, {{0, 1, 1}}},
    {2, 8, 1, {{0, 3, 5}}},
    {3, 16, 1, {{2, 63, 63}}},
    {2, 16, 1, {{0, 64, 65}}},
    {2, 5, 2, {{0, 65, 70}, {70, 1, 3}}},
    {1, 80, 3, {{1, 130, 140}, {141, 49, 49}, {200, 0, 4}}},
    {1, 7, 1, {{0, 600, 611}}},
    {1, 256, 1, {{0, 20, 37}}},
    {2, 127, 1, {{0, 66, 131}}},
};

static guint
count_rows (const AttentionCase *c)
{
  const MllamaSequence *last = &c->sequences[c->n_sequences - 1];

  return last->first + last->n_rows;
}

/* Row i of a sequence, as the contract says it. */
static void
expect_attention (const AttentionCase *c, const MllamaSequence *sequence, const float *qkv, const float *bias, guint i,
                  guint head, OracleNumber *expected)
{
  guint width = c->n_heads * c->head_width, n_keys = i < sequence->n_real ? sequence->n_rows : sequence->n_real;
  g_autofree OracleKey *keys = g_new (OracleKey, n_keys + 1);
  const float *columns = qkv + head * c->head_width;

  for (guint j = 0; j < n_keys; j++) {
    const float *row = columns + (gsize) (sequence->first + j) * 3 * width;
    keys[j] = (OracleKey){row + width, row + 2 * width, bias[sequence->first + j]};
  }
  oracle_attend (expected, columns + (gsize) (sequence->first + i) * 3 * width, keys, n_keys, c->head_width);
}

static void
check_attention (const AttentionCase *c)
{
  guint width = c->n_heads * c->head_width, n_rows = count_rows (c);
  g_autoptr (OracleDevice) device = oracle_device_new_with_tower (width, c->n_heads, 28, 14);
  g_autofree float *qkv = oracle_random (device, (gsize) n_rows * 3 * width, 2),
                   *bias = oracle_random (device, n_rows, 3), *found = NULL;
  g_autofree OracleNumber *expected = g_new (OracleNumber, c->head_width);
  MllamaTowerLayout layout = {n_rows, c->n_sequences, c->sequences, bias};
  MllamaTensor *a = oracle_tensor_new (device, n_rows, width, NULL);

  /* Rows of no sequence belong to nobody. */
  for (guint r = 0; r < c->sequences[0].first * 3 * width; r++)
    qkv[r] = NAN;
  device->ops->tower_attention (device->be, a, oracle_tensor_new (device, n_rows, 3 * width, qkv), c->n_heads, &layout);
  found = oracle_tensor_read (device, a, n_rows, width);
  for (guint s = 0; s < c->n_sequences; s++)
    for (guint i = 0; i < c->sequences[s].n_rows; i++)
      for (guint h = 0; h < c->n_heads; h++) {
        expect_attention (c, &c->sequences[s], qkv, bias, i, h, expected);
        oracle_check (found + (gsize) (c->sequences[s].first + i) * width + h * c->head_width, expected, c->head_width);
      }
  for (guint r = 0; r < c->sequences[0].first; r++)
    g_assert_true (isnan (found[r * width]));
  oracle_tensor_check_guard (device, a, n_rows, width);
}

static void
test_attention (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (attention_cases); i++)
    check_attention (&attention_cases[i]);
}

/* A bias of log n stands for n equal keys (performance.md 1.4). */
static void
test_key_bias_stands_for_equal_rows (void)
{
  enum {
    N_REAL = 70,
    N_EQUAL = 9,
    C = 16
  };
  g_autoptr (OracleDevice) device = oracle_device_new_with_tower (C, 1, 28, 14);
  g_autofree float *qkv = oracle_random (device, (N_REAL + N_EQUAL) * 3 * C, 2), *found = NULL, *folded = NULL;
  float bias[N_REAL + N_EQUAL] = {0}, folded_bias[N_REAL + 1] = {0};
  MllamaSequence sequence = {0, N_REAL, N_REAL + N_EQUAL}, folded_sequence = {0, N_REAL, N_REAL + 1};
  MllamaTowerLayout layout = {N_REAL + N_EQUAL, 1, &sequence, bias},
                    short_layout = {N_REAL + 1, 1, &folded_sequence, folded_bias};
  MllamaTensor *a = oracle_tensor_new (device, N_REAL + N_EQUAL, C, NULL);
  MllamaTensor *b = oracle_tensor_new (device, N_REAL + 1, C, NULL);

  for (guint i = 1; i < N_EQUAL; i++)
    memcpy (qkv + (N_REAL + i) * 3 * C, qkv + N_REAL * 3 * C, 3 * C * sizeof (float));
  folded_bias[N_REAL] = logf (N_EQUAL);
  device->ops->tower_attention (device->be, a, oracle_tensor_new (device, N_REAL + N_EQUAL, 3 * C, qkv), 1, &layout);
  device->ops->tower_attention (device->be, b, oracle_tensor_new (device, N_REAL + 1, 3 * C, qkv), 1, &short_layout);
  found = oracle_tensor_read (device, a, N_REAL + 1, C);
  folded = oracle_tensor_read (device, b, N_REAL + 1, C);
  for (guint i = 0; i < (N_REAL + 1) * C; i++)
    g_assert_cmpfloat_with_epsilon (found[i], folded[i], 1e-5f);
}

/* A sequence in the company of others, at other places. */
static void
test_bits_do_not_depend_on_other_sequences (void)
{
  enum {
    N = 150,
    N_REAL = 140,
    N_OTHER = 77,
    H = 2,
    C = 24,
    D = H * C,
    N_ALL = N + 2 * N_OTHER
  };
  g_autoptr (OracleDevice) device = oracle_device_new_with_tower (D, H, 28, 14);
  g_autofree float *own = oracle_random (device, N * 3 * D, 1), *all = oracle_random (device, N_ALL * 3 * D, 1);
  g_autofree float *bias = g_new0 (float, N_ALL), *alone = NULL;
  MllamaSequence sequence = {0, N_REAL, N};
  MllamaTowerLayout layout = {N, 1, &sequence, bias};
  MllamaTensor *a = oracle_tensor_new (device, N, D, NULL), *b = oracle_tensor_new (device, N_ALL, D, NULL);

  device->ops->tower_attention (device->be, a, oracle_tensor_new (device, N, 3 * D, own), H, &layout);
  alone = oracle_tensor_read (device, a, N, D);
  for (guint n_before = 0; n_before <= 2; n_before++) {
    MllamaSequence sequences[3];
    guint first = n_before * N_OTHER;
    g_autofree float *found = NULL, *mixed = g_memdup2 (all, N_ALL * 3 * D * sizeof (float));

    for (guint i = 0, row = 0; i < 3; i++) {
      guint n = i == n_before ? N : N_OTHER;
      sequences[i] = (MllamaSequence){row, i == n_before ? N_REAL : n - 1, n};
      row += n;
    }
    memcpy (mixed + first * 3 * D, own, N * 3 * D * sizeof (float));
    layout = (MllamaTowerLayout){N_ALL, 3, sequences, bias};
    device->ops->tower_attention (device->be, b, oracle_tensor_new (device, N_ALL, 3 * D, mixed), H, &layout);
    found = oracle_tensor_read (device, b, N_ALL, D);
    g_assert_cmpmem (found + first * D, N * D * sizeof (float), alone, N * D * sizeof (float));
  }
}

static void
test_nan_stays_in_its_sequence (void)
{
  enum {
    N = 66,
    C = 8
  };
  g_autoptr (OracleDevice) device = oracle_device_new_with_tower (C, 1, 28, 14);
  g_autofree float *qkv = oracle_random (device, 2 * N * 3 * C, 1), *bias = g_new0 (float, 2 * N), *found = NULL;
  MllamaSequence sequences[] = {{0, N, N}, {N, N, N}};
  MllamaTowerLayout layout = {2 * N, 2, sequences, bias};
  MllamaTensor *a = oracle_tensor_new (device, 2 * N, C, NULL);

  qkv[(N - 1) * 3 * C + C] = NAN; /* a key */
  device->ops->tower_attention (device->be, a, oracle_tensor_new (device, 2 * N, 3 * C, qkv), 1, &layout);
  found = oracle_tensor_read (device, a, 2 * N, C);
  for (guint i = 0; i < 2 * N * C; i++)
    g_assert_cmpint (isnan (found[i]) != 0, ==, i < N * C);
}

/* --- patches --- */

typedef struct {
  guint d, image_size, patch_size;
} PatchCase;

static const PatchCase patch_cases[] = {{16, 28, 14}, {7, 4, 1}, {40, 30, 6}, {3, 5, 5}, {20, 150, 10}};

enum {
  N_IDS = 3,
  N_SLOTS = 4
};

typedef struct {
  OracleDevice *device;
  PatchCase size;
  guint n_columns, n_patches, n_pixels; /* P; 3 * ps * ps */
  float *patch, *class_token, *pre_tile, *position, *tile_position, *norm_weight, *norm_bias;
  MllamaPatchWeights w;
} PatchTest;

static void
patch_test_init (PatchTest *t, OracleDevice *device, const PatchCase *size)
{
  guint d = size->d, n_columns = size->image_size / size->patch_size;

  *t = (PatchTest){device, *size, n_columns, n_columns * n_columns + 1, 3 * size->patch_size * size->patch_size};
  t->patch = oracle_random (device, d * t->n_pixels, 1);
  t->class_token = oracle_random (device, d, 1);
  t->pre_tile = oracle_random (device, N_IDS * N_SLOTS * d, 1);
  t->position = oracle_random (device, t->n_patches * d, 1);
  t->tile_position = oracle_random (device, N_IDS * N_SLOTS * t->n_patches * d, 1);
  t->norm_weight = oracle_random (device, d, 1);
  t->norm_bias = oracle_random (device, d, 1);
  t->w = (MllamaPatchWeights){oracle_matrix_new (device, d, t->n_pixels, t->patch),
                              oracle_vector_new (device, d, t->class_token),
                              oracle_table_new (device, N_IDS, N_SLOTS * d, t->pre_tile),
                              oracle_table_new (device, t->n_patches, d, t->position),
                              oracle_table_new (device, N_IDS, N_SLOTS * t->n_patches * d, t->tile_position),
                              oracle_vector_new (device, d, t->norm_weight),
                              oracle_vector_new (device, d, t->norm_bias),
                              0.3f,
                              -0.6f};
}

static void
patch_test_clear (PatchTest *t)
{
  g_free (t->patch);
  g_free (t->class_token);
  g_free (t->pre_tile);
  g_free (t->position);
  g_free (t->tile_position);
  g_free (t->norm_weight);
  g_free (t->norm_bias);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (PatchTest, patch_test_clear)

/* Pixels of a patch, channel by channel; zero without a picture. */
static void
gather_patch (const PatchTest *t, const float *tile, guint patch, OracleNumber *pixels)
{
  guint s = t->size.image_size, ps = t->size.patch_size;
  guint top = patch / t->n_columns * ps, left = patch % t->n_columns * ps;

  for (guint channel = 0, i = 0; channel < 3; channel++)
    for (guint y = 0; y < ps; y++)
      for (guint x = 0; x < ps; x++, i++)
        pixels[i] = (OracleNumber){tile ? tile[(channel * s + top + y) * s + left + x] : 0, 0};
}

/* Row p of a tile in slot, id; tile NULL: unused. */
static void
expect_patch (const PatchTest *t, const float *tile, guint slot, guint id, guint p, OracleNumber *y)
{
  guint d = t->size.d;
  g_autofree OracleNumber *pixels = g_new (OracleNumber, t->n_pixels), *term = g_new (OracleNumber, d);

  if (p == 0)
    oracle_exact (y, t->class_token, d);
  else {
    gather_patch (t, tile, p - 1, pixels);
    oracle_linear (y, pixels, t->patch, NULL, d, t->n_pixels);
    oracle_exact (term, t->pre_tile + (id * N_SLOTS + slot) * d, d);
    oracle_add (y, term, t->w.pre_tile_gate, d);
  }
  oracle_exact (term, t->position + p * d, d);
  oracle_add (y, term, 1 - (double) t->w.position_gate, d);
  oracle_exact (term, t->tile_position + ((id * N_SLOTS + slot) * t->n_patches + p) * d, d);
  oracle_add (y, term, t->w.position_gate, d);
  oracle_layer_norm (y, y, t->norm_weight, t->norm_bias, d, EPS);
}

static void
check_patches (const PatchCase *size)
{
  g_autoptr (OracleDevice) device = oracle_device_new_with_tower (size->d, 1, size->image_size, size->patch_size);
  g_auto (PatchTest) t = {0};
  gsize tile_floats = 3 * (gsize) size->image_size * size->image_size;
  g_autofree float *values = oracle_random (device, 2 * tile_floats, 2), *found = NULL;
  g_autofree OracleNumber *expected = g_new (OracleNumber, size->d);
  MllamaPixels pixels = {.values = values, .size = size->image_size, .n_tiles = 2};
  GError *error = NULL;
  MllamaFrame *frame = device->ops->frame_new_from_pixels (device->be, &pixels, &error);

  g_assert_no_error (error);
  patch_test_init (&t, device, size);
  /* Tiles out of order, a pad row before them and one between. */
  guint n = t.n_patches, n_rows = 3 * n + 2, pad_rows[] = {0, n + 1};
  MllamaTowerTile tiles[] = {{1, frame, 1, 2, 1}, {n + 2, NULL, 0, 3, 2}, {2 * n + 2, frame, 0, 0, 0}};
  MllamaTensor *x = oracle_tensor_new (device, n_rows, size->d, NULL);

  device->ops->embed_patches (device->be, x, &t.w, EPS, tiles, G_N_ELEMENTS (tiles), pad_rows, G_N_ELEMENTS (pad_rows));
  device->ops->frame_free (device->be, frame);
  found = oracle_tensor_read (device, x, n_rows, size->d);
  for (guint i = 0; i < G_N_ELEMENTS (tiles); i++)
    for (guint p = 0; p < n; p++) {
      expect_patch (&t, tiles[i].frame ? values + tiles[i].tile * tile_floats : NULL, tiles[i].slot,
                    tiles[i].aspect_ratio_id, p, expected);
      oracle_check (found + (tiles[i].first_row + p) * size->d, expected, size->d);
    }
  for (guint i = 0; i < size->d; i++) {
    g_assert_cmpfloat (found[pad_rows[0] * size->d + i], ==, 0);
    g_assert_cmpfloat (found[pad_rows[1] * size->d + i], ==, 0);
  }
  oracle_tensor_check_guard (device, x, n_rows, size->d);
}

static void
test_embed_patches (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (patch_cases); i++)
    check_patches (&patch_cases[i]);
}

static void
test_a_frame_of_another_tile_size_is_refused (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new_with_tower (8, 1, 28, 14);
  g_autofree float *values = g_new0 (float, 3 * 42 * 42);
  MllamaPixels pixels = {.values = values, .size = 42, .n_tiles = 1};
  g_autoptr (GError) error = NULL;

  g_assert_null (device->ops->frame_new_from_pixels (device->be, &pixels, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID);
  g_assert_nonnull (strstr (error->message, "42"));
  g_assert_nonnull (strstr (error->message, "28"));
}

/* --- between the encoders, and after them --- */

static void
test_norm_add_tiles (void)
{
  enum {
    N = 9,
    D = 19,
    N_OUT = 8
  };
  g_autoptr (OracleDevice) device = oracle_device_new_with_tower (D, 1, 28, 14);
  g_autofree float *x = oracle_random (device, N * D, 1), *w = oracle_random (device, D, 1),
                   *b = oracle_random (device, D, 1), *table = oracle_random (device, N_IDS * N_SLOTS * D, 1),
                   *found = NULL;
  MllamaTowerSpan spans[] = {{0, 3, 4, 1, 1, 2}, {4, 2, 8, 0, 3, 0}, {6, 1, 0, 1, 0, 1}};
  MllamaTensor *y = oracle_tensor_new (device, N_OUT, D, NULL);
  guint n_written = 0;

  device->ops->norm_add_tiles (device->be, y, oracle_tensor_new (device, N, D, x), oracle_vector_new (device, D, w),
                               oracle_vector_new (device, D, b), EPS,
                               oracle_table_new (device, N_IDS, N_SLOTS * D, table), 0.4f, spans, 3);
  found = oracle_tensor_read (device, y, N_OUT, D);
  for (guint s = 0; s < G_N_ELEMENTS (spans); s++)
    for (guint r = 0; r < spans[s].n_rows; r++, n_written++) {
      OracleNumber expected[D], term[D];
      oracle_exact (expected, x + (spans[s].source_first + r * spans[s].source_step) * D, D);
      oracle_layer_norm (expected, expected, w, b, D, EPS);
      oracle_exact (term, table + (spans[s].aspect_ratio_id * N_SLOTS + spans[s].slot) * D, D);
      oracle_add (expected, term, 0.4f, D);
      oracle_check (found + (spans[s].first_row + r) * D, expected, D);
    }
  g_assert_true (isnan (found[3 * D]) && isnan (found[7 * D])); /* rows of no span */
  g_assert_cmpuint (n_written, ==, 6);
  oracle_tensor_check_guard (device, y, N_OUT, D);
}

static void
test_copy_columns (void)
{
  enum {
    N = 6,
    D = 5,
    WIDTH = 17,
    FIRST = 2,
    COLUMN = 7,
    N_COPIED = 3,
    X_FIRST = 1
  };
  g_autoptr (OracleDevice) device = oracle_device_new_with_tower (8, 1, 28, 14);
  g_autofree float *x = oracle_random (device, N * D, 1), *y = oracle_random (device, N * WIDTH, 1), *found = NULL;
  MllamaTensor *y_tensor = oracle_tensor_new (device, N, WIDTH, y);

  device->ops->copy_columns (device->be, y_tensor, FIRST, COLUMN, oracle_tensor_new (device, N, D, x), X_FIRST,
                             N_COPIED);
  found = oracle_tensor_read (device, y_tensor, N, WIDTH);
  for (guint r = 0; r < N; r++)
    for (guint i = 0; i < WIDTH; i++) {
      gboolean is_copied = r >= FIRST && r < FIRST + N_COPIED && i >= COLUMN && i < COLUMN + D;
      float expected = is_copied ? x[(r - FIRST + X_FIRST) * D + i - COLUMN] : y[r * WIDTH + i];
      g_assert_cmpfloat (found[r * WIDTH + i], ==, expected);
    }
  oracle_tensor_check_guard (device, y_tensor, N, WIDTH);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/tower/attention", test_attention);
  g_test_add_func ("/cpu/tower/key_bias_stands_for_equal_rows", test_key_bias_stands_for_equal_rows);
  g_test_add_func ("/cpu/tower/bits_do_not_depend_on_other_sequences", test_bits_do_not_depend_on_other_sequences);
  g_test_add_func ("/cpu/tower/nan_stays_in_its_sequence", test_nan_stays_in_its_sequence);
  g_test_add_func ("/cpu/tower/embed_patches", test_embed_patches);
  g_test_add_func ("/cpu/tower/a_frame_of_another_tile_size_is_refused", test_a_frame_of_another_tile_size_is_refused);
  g_test_add_func ("/cpu/tower/norm_add_tiles", test_norm_add_tiles);
  g_test_add_func ("/cpu/tower/copy_columns", test_copy_columns);
  return g_test_run ();
}
