/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Patches, tiles and columns of the vision tower, and how weights are laid out. */
#include "check.h"

#include <math.h>
#include <string.h>

#define EPS 1e-5f

enum {
  N_IDS = 3,
  N_SLOTS = 4
};

/* --- patches --- */

typedef struct {
  guint d, image_size, patch_size;
} PatchSize;

static const PatchSize patch_sizes[] = {{16, 28, 14},  {3, 5, 5},    {40, 30, 6},   {7, 4, 1},
                                        {20, 150, 10}, {80, 42, 14}, {1280, 28, 14}};

typedef struct {
  Check *check;
  OracleDevice *device;
  PatchSize size;
  guint n_columns, n_patches, n_pixels; /* P; 3 * ps * ps */
  float *patch, *class_token, *pre_tile, *position, *tile_position, *norm_weight, *norm_bias;
  MllamaPatchWeights w;
  MllamaTensor *x;
  const MllamaTowerTile *tiles;
  const guint *pad_rows;
  guint n_tiles, n_pad_rows;
} Patches;

static void
init_patches (Patches *p, Check *check, const PatchSize *size)
{
  CheckModel model = {.tower_width = size->d, .tower_heads = 1, size->image_size, size->patch_size};
  OracleDevice *device = check_open (check, &model);
  guint d = size->d, n_columns = size->image_size / size->patch_size;

  *p = (Patches){check, device, *size, n_columns, n_columns * n_columns + 1, 3 * size->patch_size * size->patch_size};
  p->patch = oracle_random (device, (gsize) d * p->n_pixels, 1 / sqrtf (p->n_pixels));
  p->class_token = oracle_random (device, d, 1);
  p->pre_tile = oracle_random (device, N_IDS * N_SLOTS * d, 1);
  p->position = oracle_random (device, p->n_patches * d, 1);
  p->tile_position = oracle_random (device, N_IDS * N_SLOTS * p->n_patches * d, 1);
  p->norm_weight = oracle_random (device, d, 1);
  p->norm_bias = oracle_random (device, d, 1);
  p->w = (MllamaPatchWeights){oracle_matrix_new (device, d, p->n_pixels, p->patch),
                              oracle_vector_new (device, d, p->class_token),
                              oracle_table_new (device, N_IDS, N_SLOTS * d, p->pre_tile),
                              oracle_table_new (device, p->n_patches, d, p->position),
                              oracle_table_new (device, N_IDS, (gsize) N_SLOTS * p->n_patches * d, p->tile_position),
                              oracle_vector_new (device, d, p->norm_weight),
                              oracle_vector_new (device, d, p->norm_bias),
                              0.3f,
                              -0.6f};
}

static void
clear_patches (Patches *p)
{
  g_free (p->patch);
  g_free (p->class_token);
  g_free (p->pre_tile);
  g_free (p->position);
  g_free (p->tile_position);
  g_free (p->norm_weight);
  g_free (p->norm_bias);
  oracle_device_free (p->device);
}

/* Pixels of a patch, channel by channel; zero without a picture. */
static void
gather_patch (const Patches *p, const float *tile, guint patch, OracleNumber *pixels)
{
  guint s = p->size.image_size, ps = p->size.patch_size;
  guint top = patch / p->n_columns * ps, left = patch % p->n_columns * ps;

  for (guint channel = 0, i = 0; channel < 3; channel++)
    for (guint y = 0; y < ps; y++)
      for (guint x = 0; x < ps; x++, i++)
        pixels[i] = (OracleNumber){tile ? tile[(channel * s + top + y) * s + left + x] : 0, 0};
}

/* Row p of a tile; pixels NULL: unused. */
static void
expect_patch (const Patches *p, const MllamaTowerTile *tile, const float *values, guint row, OracleNumber *y)
{
  guint d = p->size.d, at = tile->aspect_ratio_id * N_SLOTS + tile->slot;
  g_autofree OracleNumber *pixels = g_new (OracleNumber, p->n_pixels), *term = g_new (OracleNumber, d);

  if (row == 0)
    oracle_exact (y, p->class_token, d);
  else {
    gather_patch (p, values, row - 1, pixels);
    oracle_linear (y, pixels, p->patch, NULL, d, p->n_pixels);
    check_round (p->check, y, d);
    oracle_exact (term, p->pre_tile + at * d, d);
    oracle_add (y, term, p->w.pre_tile_gate, d);
    check_round (p->check, y, d);
  }
  oracle_exact (term, p->position + row * d, d);
  oracle_add (y, term, 1 - (double) p->w.position_gate, d);
  check_round (p->check, y, d);
  oracle_exact (term, p->tile_position + (at * p->n_patches + row) * d, d);
  oracle_add (y, term, p->w.position_gate, d);
  check_round (p->check, y, d);
  oracle_layer_norm (y, y, p->norm_weight, p->norm_bias, d, check_eps (p->check, EPS));
  check_round (p->check, y, d);
}

static void
run_patches (gpointer data)
{
  const Patches *p = data;

  p->device->ops->embed_patches (p->device->be, p->x, &p->w, EPS, p->tiles, p->n_tiles, p->pad_rows, p->n_pad_rows);
}

static MllamaFrame *
create_frame (const Patches *p, const float *values, guint n_tiles)
{
  MllamaPixels pixels = {.values = (float *) values, .size = p->size.image_size, .n_tiles = n_tiles};
  GError *error = NULL;
  MllamaFrame *frame = p->device->ops->frame_new_from_pixels (p->device->be, &pixels, &error);

  g_assert_no_error (error);
  return frame;
}

/* Tiles out of order and of two pictures, a pad row before them and one between. */
static void
check_patch_size (Check *check, const PatchSize *size)
{
  Patches p;
  init_patches (&p, check, size);
  gsize tile_floats = 3 * (gsize) size->image_size * size->image_size;
  guint n = p.n_patches, n_rows = 4 * n + 2, pad_rows[] = {0, n + 1};
  g_autofree float *values = oracle_random (p.device, 3 * tile_floats, 2), *found = NULL,
                   *zeros = g_new0 (float, size->d);
  const float *of_tile[] = {values + tile_floats, NULL, values, values + 2 * tile_floats};
  MllamaFrame *first = create_frame (&p, values, 2), *second = create_frame (&p, values + 2 * tile_floats, 1);
  MllamaTowerTile tiles[] = {
      {1, first, 1, 2, 1}, {n + 2, NULL, 0, 3, 2}, {2 * n + 2, first, 0, 0, 0}, {3 * n + 2, second, 0, 1, 2}};
  g_autofree OracleNumber *expected = g_new (OracleNumber, size->d);
  guint shift = check_has (check, CHECK_FAULT_ROW_SHIFTED);

  p.x = oracle_tensor_new (p.device, n_rows, size->d, NULL);
  p.tiles = tiles;
  p.n_tiles = G_N_ELEMENTS (tiles);
  p.pad_rows = pad_rows;
  p.n_pad_rows = G_N_ELEMENTS (pad_rows);
  found = check_run_twice (check, p.device, p.x, n_rows, size->d, NULL, run_patches, &p, "patches");
  for (guint i = 0; i < G_N_ELEMENTS (tiles); i++)
    for (guint row = shift; row < n; row++) {
      expect_patch (&p, &tiles[i], of_tile[i], row - shift, expected);
      check_numbers (check, found + (gsize) (tiles[i].first_row + row) * size->d, expected, size->d,
                     "%u wide, patches of %u, tile %u, row %u", size->d, size->patch_size, i, row);
    }
  for (guint i = 0; i < G_N_ELEMENTS (pad_rows); i++)
    check_bits (check, found + (gsize) pad_rows[i] * size->d, zeros, size->d, "pad row %u", pad_rows[i]);
  p.device->ops->frame_free (p.device->be, first);
  p.device->ops->frame_free (p.device->be, second);
  clear_patches (&p);
}

static void
check_embed_patches (Check *check)
{
  for (guint i = 0; i < G_N_ELEMENTS (patch_sizes) && !check_is_settled (check); i++)
    if (check_wants_case (check, i == 1))
      check_patch_size (check, &patch_sizes[i]);
}

/* --- between the encoders, and after them --- */

typedef struct {
  OracleDevice *device;
  MllamaTensor *y, *x;
  const MllamaWeight *w, *b, *table;
  const MllamaTowerSpan *spans;
  guint n_spans;
  guint y_first, column, x_first, n_rows;
} Rows;

static void
run_norm_add_tiles (gpointer data)
{
  const Rows *r = data;

  r->device->ops->norm_add_tiles (r->device->be, r->y, r->x, r->w, r->b, EPS, r->table, 0.4f, r->spans, r->n_spans);
}

static void
check_norm_add_tiles_of (Check *check, guint d)
{
  enum {
    N = 60,
    N_OUT = 45
  };
  static const MllamaTowerSpan spans[] = {
      {0, 3, 4, 1, 1, 2}, {4, 2, 8, 0, 3, 0}, {6, 33, 20, 1, 0, 1}, {41, 1, 0, 1, 2, 2}};
  CheckModel model = {.tower_width = d, .tower_heads = 1};
  g_autoptr (OracleDevice) device = check_open (check, &model);
  g_autofree float *x = oracle_random (device, N * d, 1), *w = oracle_random (device, d, 1),
                   *b = oracle_random (device, d, 1), *table = oracle_random (device, N_IDS * N_SLOTS * d, 1),
                   *found = NULL;
  g_autofree OracleNumber *expected = g_new (OracleNumber, d), *term = g_new (OracleNumber, d);
  Rows rows = {device,
               oracle_tensor_new (device, N_OUT, d, NULL),
               oracle_tensor_new (device, N, d, x),
               oracle_vector_new (device, d, w),
               oracle_vector_new (device, d, b),
               oracle_table_new (device, N_IDS, N_SLOTS * d, table),
               spans,
               G_N_ELEMENTS (spans)};

  found = check_run_twice (check, device, rows.y, N_OUT, d, NULL, run_norm_add_tiles, &rows, "norm_add_tiles");
  for (guint s = 0; s < G_N_ELEMENTS (spans); s++)
    for (guint r = 0; r < spans[s].n_rows; r++) {
      guint at = spans[s].aspect_ratio_id * N_SLOTS + (spans[s].slot + check_has (check, CHECK_FAULT_TAP)) % N_SLOTS;
      oracle_exact (expected, x + (spans[s].source_first + r * spans[s].source_step) * d, d);
      oracle_layer_norm (expected, expected, w, b, d, check_eps (check, EPS));
      check_round (check, expected, d);
      oracle_exact (term, table + at * d, d);
      oracle_add (expected, term, 0.4f, d);
      check_round (check, expected, d);
      check_numbers (check, found + (gsize) (spans[s].first_row + r) * d, expected, d, "%u wide, span %u, row %u", d, s,
                     r);
    }
  for (guint r = 0; r < N_OUT; r++)
    if ((r == 3 || r > 41 || r == 39 || r == 40) && !isnan (found[r * d]))
      check_fail (check, "row %u, of no span, was written to", r);
}

static void
check_norm_add_tiles (Check *check)
{
  static const guint widths[] = {19, 1, 64, 72, 1280};

  for (guint i = 0; i < G_N_ELEMENTS (widths); i++)
    if (check_wants_case (check, i == 3))
      check_norm_add_tiles_of (check, widths[i]);
}

static void
run_copy_columns (gpointer data)
{
  const Rows *r = data;

  r->device->ops->copy_columns (r->device->be, r->y, r->y_first, r->column, r->x, r->x_first, r->n_rows);
}

static void
check_columns (Check *check, guint d, guint width, guint column, guint n_rows)
{
  enum {
    N = 70,
    FIRST = 2,
    X_FIRST = 1
  };
  CheckModel model = {0};
  g_autoptr (OracleDevice) device = check_open (check, &model);
  g_autofree float *x = oracle_random (device, N * d, 1), *y = oracle_random (device, N * width, 1), *found = NULL,
                   *expected = g_memdup2 (y, N * width * sizeof (float));
  Rows rows = {.device = device,
               .y = oracle_tensor_new (device, N, width, y),
               .x = oracle_tensor_new (device, N, d, x),
               .y_first = FIRST,
               .column = column,
               .x_first = X_FIRST,
               .n_rows = n_rows};

  for (guint r = 0; r < n_rows; r++)
    memcpy (expected + (FIRST + r) * width + column, x + (X_FIRST + r + check_has (check, CHECK_FAULT_ROW_SHIFTED)) * d,
            d * sizeof (float));
  found = check_run_twice (check, device, rows.y, N, width, y, run_copy_columns, &rows, "copy_columns");
  check_bits (check, found, expected, N * width, "%u columns to column %u of %u", d, column, width);
}

static void
check_copy_columns (Check *check)
{
  static const guint cases[][4] = {{5, 17, 7, 3},   {64, 192, 64, 65},  {1, 1, 0, 1},    {8, 24, 8, 0},
                                   {3, 70, 67, 60}, {80, 480, 400, 64}, {20, 60, 20, 33}};

  /* The second is aligned. */
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    if (check_wants_case (check, i == 1))
      check_columns (check, cases[i][0], cases[i][1], cases[i][2], cases[i][3]);
}

/* --- the layout of weights --- */

typedef struct {
  OracleDevice *device;
  MllamaTensor *y, *x;
  const MllamaWeight *w;
  guint n_rows;
} Product;

static void
run_linear (gpointer data)
{
  const Product *p = data;

  p->device->ops->linear (p->device->be, p->y, p->x, p->n_rows, p->w, NULL);
}

/* Rows of the unit matrix show the weight itself: y[i][o] = W[o][i]. */
static void
expect_weight (Check *check, OracleDevice *device, const MllamaWeight *w, const float *values, guint n_out, guint n_in,
               const char *what)
{
  g_autofree float *unit = g_new0 (float, (gsize) n_in *n_in), *expected = g_new (float, (gsize) n_in *n_out),
                   *found = NULL;
  Product p = {device, NULL, NULL, w, n_in};

  for (gsize i = 0; i < n_in; i++) {
    unit[i * n_in + i] = 1;
    for (gsize o = 0; o < n_out; o++)
      expected[i * n_out + o] = values[o * n_in + i];
  }
  p.x = oracle_tensor_new (device, n_in, n_in, unit);
  p.y = oracle_tensor_new (device, n_in, n_out, NULL);
  found = check_run_twice (check, device, p.y, n_in, n_out, NULL, run_linear, &p, what);
  check_bits (check, found, expected, (gsize) n_in * n_out, "%s", what);
}

/* Spec 4.4: column d + c * n_taps + k of the file is channel c of tap k. */
static void
check_projector_of (Check *check, guint d, guint n_taps, guint n_out)
{
  CheckModel model = {0};
  g_autoptr (OracleDevice) device = check_open (check, &model);
  gsize width = (gsize) d * (1 + n_taps), shape[] = {n_out, width};
  g_autofree float *values = oracle_random (device, n_out * width, 1), *expected = g_new (float, n_out *width);
  MllamaWeightSpec spec = {.use = MLLAMA_WEIGHT_PROJECTOR, .source = device->source, .n_parts = 1, .n_taps = n_taps};

  for (guint o = 0; o < n_out; o++)
    for (guint c = 0; c < d; c++) {
      expected[o * width + c] = values[o * width + c];
      for (guint k = 0; k < n_taps; k++) {
        guint tap = (k + check_has (check, CHECK_FAULT_TAP)) % n_taps;
        expected[o * width + (1 + k) * d + c] = values[o * width + d + c * n_taps + tap];
      }
    }
  spec.parts[0] = oracle_source_add (device->source, "projector", values, 2, shape);
  expect_weight (check, device, oracle_weight_new (device, &spec), expected, n_out, width, "projector");
}

static void
check_projector (Check *check)
{
  static const guint cases[][3] = {{6, 5, 3}, {16, 1, 16}, {80, 2, 36}, {64, 5, 65}};

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    if (check_wants_case (check, FALSE))
      check_projector_of (check, cases[i][0], cases[i][1], cases[i][2]);
}

static void
check_parts (Check *check)
{
  static const guint widths[] = {5, 16, 48, 72};

  for (guint i = 0; i < G_N_ELEMENTS (widths); i++) {
    if (!check_wants_case (check, FALSE))
      continue;
    CheckModel model = {0};
    g_autoptr (OracleDevice) device = check_open (check, &model);
    gsize n = widths[i], shapes[3][4] = {{7, n}, {1, n}, {40, n / 4, 2, 2}};
    gboolean is_square = n % 4 == 0;
    g_autofree float *values = oracle_random (device, 48 * n, 1);
    MllamaWeightSpec spec = {.use = MLLAMA_WEIGHT_MATRIX, .source = device->source, .n_parts = 3};

    shapes[2][1] = is_square ? n / 4 : n;
    spec.parts[0] = oracle_source_add (device->source, "q", values, 2, shapes[0]);
    spec.parts[1] = oracle_source_add (device->source, "k", values + 7 * n, 2, shapes[1]);
    spec.parts[2] = oracle_source_add (device->source, "v", values + 8 * n, is_square ? 4 : 2, shapes[2]);
    expect_weight (check, device, oracle_weight_new (device, &spec), values, 48, n, "parts");
  }
}

const CheckEntry checks_of_tower[] = {
    {"embed_patches", check_embed_patches}, {"norm_add_tiles", check_norm_add_tiles},
    {"copy_columns", check_copy_columns},   {"projector", check_projector},
    {"parts_of_weights", check_parts},      {NULL, NULL},
};
