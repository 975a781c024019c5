/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pictures: what the device makes of a frame's planes has the bits of mllama_pixels_new. Frames are opaque: both go
 * through a patch embedding whose weight is the unit matrix. */
#include "../engine/test-image-data.h"
#include "ceilings.h"
#include "check.h"

#include <math.h>

#define EPS 1e-5f

enum {
  PATCH = 14,
  N_PIXELS = 3 * PATCH * PATCH,
  MAX_TILES = 4
};

typedef struct {
  Check *check;
  OracleDevice *device;
  guint size, n_patches; /* of a tile */
  MllamaPatchWeights w;
  MllamaTensor *x;
  MllamaAspectRatio ratios[MLLAMA_MAX_ASPECT_RATIOS];
  guint n_ratios;
} Rig;

static void
init_rig (Rig *rig, Check *check, guint size)
{
  CheckModel model = {.tower_width = N_PIXELS, .tower_heads = N_PIXELS / 42, .image_size = size, .patch_size = PATCH};
  guint n_columns = size / PATCH, n_patches = n_columns * n_columns + 1;
  g_autofree float *unit = g_new0 (float, N_PIXELS *N_PIXELS), *zeros = g_new0 (float, n_patches *N_PIXELS),
                   *ones = g_new (float, N_PIXELS);

  *rig = (Rig){check, check_open (check, &model), size, n_patches};
  for (guint i = 0; i < N_PIXELS; i++) {
    unit[i * N_PIXELS + i] = 1;
    ones[i] = 1;
  }
  rig->w = (MllamaPatchWeights){oracle_matrix_new (rig->device, N_PIXELS, N_PIXELS, unit),
                                oracle_vector_new (rig->device, N_PIXELS, zeros),
                                oracle_table_new (rig->device, 1, N_PIXELS, zeros),
                                oracle_table_new (rig->device, n_patches, N_PIXELS, zeros),
                                oracle_table_new (rig->device, 1, (gsize) n_patches * N_PIXELS, zeros),
                                oracle_vector_new (rig->device, N_PIXELS, ones),
                                oracle_vector_new (rig->device, N_PIXELS, zeros),
                                0,
                                0};
  rig->x = oracle_tensor_new (rig->device, MAX_TILES * n_patches, N_PIXELS, NULL);
  rig->n_ratios = fill_ratios (rig->ratios, MAX_TILES);
}

static void
clear_rig (Rig *rig)
{
  oracle_device_free (rig->device);
}

/* The rows of all tiles; takes the frame. */
static float *
embed (const Rig *rig, MllamaFrame *frame, guint n_tiles)
{
  MllamaTowerTile tiles[MAX_TILES];

  for (guint t = 0; t < n_tiles; t++)
    tiles[t] = (MllamaTowerTile){t * rig->n_patches, frame, t, 0, 0};
  rig->device->ops->embed_patches (rig->device->be, rig->x, &rig->w, EPS, tiles, n_tiles, NULL, 0);
  rig->device->ops->frame_free (rig->device->be, frame);
  return oracle_tensor_read (rig->device, rig->x, n_tiles * rig->n_patches, N_PIXELS);
}

static void
check_picture (const Rig *rig, const MllamaImage *image, const MllamaImage *host, const MllamaImageOptions *options)
{
  GError *error = NULL;
  g_autoptr (MllamaPixels) pixels = mllama_pixels_new (host, options, rig->ratios, rig->n_ratios, MAX_TILES, &error);
  const MllamaBackendOps *ops = rig->device->ops;
  g_autofree float *found = NULL, *expected = NULL;
  MllamaTilePlan plan;
  MllamaFrame *frame;

  g_assert_no_error (error);
  mllama_tile_plan_init (&plan, rig->ratios, rig->n_ratios, MAX_TILES, rig->size, image->width, image->height, &error);
  g_assert_no_error (error);
  frame = ops->frame_new_from_pixels (rig->device->be, pixels, &error);
  g_assert_no_error (error);
  expected = embed (rig, frame, pixels->n_tiles);
  frame = ops->frame_new (rig->device->be, image, options, &plan, &error);
  if (error) {
    check_fail (rig->check, "%s, %u x %u: %s", mllama_format_to_string (image->format), image->width, image->height,
                error->message);
    g_error_free (error);
    return;
  }
  found = embed (rig, frame, pixels->n_tiles);
  check_bits (rig->check, found, expected, (gsize) pixels->n_tiles * rig->n_patches * N_PIXELS,
              "%s in %s memory, %u x %u, matrix %d, range %d, filter %d, order %d",
              mllama_format_to_string (image->format), image->memory == MLLAMA_MEMORY_CUDA ? "device" : "host",
              image->width, image->height, image->matrix, image->range, options->resample, options->pass_order);
}

/* Planes of noise whose rows are longer than they need be. */
static MllamaImage
make_image (MllamaFormat format, guint width, guint height, guint seed)
{
  MllamaImage image = {.format = format, .width = width, .height = height};

  for (guint i = 0; i < mllama_format_get_n_planes (format); i++) {
    image.strides[i] = mllama_format_get_row_bytes (format, i, width) + 5 * i + seed % 3;
    image.planes[i] = make_noise (image.strides[i] * mllama_format_get_n_rows (format, i, height), seed + i);
  }
  return image;
}

static void
clear_image (MllamaImage *image)
{
  for (guint i = 0; i < 3; i++)
    g_free ((guint8 *) image->planes[i]);
}

/* From host memory, and if there is a device, from its own; by turns if sparse. */
static void
check_image (const Rig *rig, MllamaImage *image, const MllamaImageOptions *options)
{
  gboolean has_both = !check_is_sparse (rig->check), is_odd = rig->check->n_cases % 2;
  MllamaImage on_device = *image;

  if (has_both || is_odd || rig->check->device != MLLAMA_DEVICE_CUDA)
    check_picture (rig, image, image, options);
  if (rig->check->device != MLLAMA_DEVICE_CUDA || (!has_both && is_odd))
    return;
  on_device.memory = MLLAMA_MEMORY_CUDA;
  for (guint i = 0; i < mllama_format_get_n_planes (image->format); i++)
    on_device.planes[i] = ceilings_copy_to_device (
        image->planes[i], image->strides[i] * mllama_format_get_n_rows (image->format, i, image->height));
  check_picture (rig, &on_device, image, options);
  for (guint i = 0; i < mllama_format_get_n_planes (image->format); i++)
    ceilings_free ((void *) on_device.planes[i]);
}

static const guint sizes[][2] = {{1, 1}, {7, 5}, {28, 28}, {57, 33}, {33, 200}, {3, 500}, {320, 181}, {720, 720}};

enum {
  NEEDED = 3 /* of sizes, for all formats */
};

static void
check_formats (Check *check)
{
  MllamaImageOptions options = get_usual_options (28);
  Rig rig;

  init_rig (&rig, check, 28);
  for (guint format = MLLAMA_FORMAT_RGB; format <= MLLAMA_FORMAT_YUY2; format++)
    for (guint s = 0; s < G_N_ELEMENTS (sizes); s++) {
      /* What follows the planes depends on dtype, and not on the format. */
      if (!check_wants_case (check, s == NEEDED && check->dtype == MLLAMA_DTYPE_F32))
        continue;
      MllamaImage image = make_image (format, sizes[s][0], sizes[s][1], format * 8 + s);
      check_image (&rig, &image, &options);
      clear_image (&image);
    }
  clear_rig (&rig);
}

static void
check_colorimetry (Check *check)
{
  static const MllamaFormat formats[] = {MLLAMA_FORMAT_GRAY8, MLLAMA_FORMAT_I420, MLLAMA_FORMAT_NV12,
                                         MLLAMA_FORMAT_YUY2};
  MllamaImageOptions options = get_usual_options (28);
  Rig rig;

  init_rig (&rig, check, 28);
  for (guint f = 0; f < G_N_ELEMENTS (formats); f++)
    for (guint matrix = MLLAMA_MATRIX_AUTO; matrix <= MLLAMA_MATRIX_BT2020; matrix++)
      for (guint range = MLLAMA_RANGE_AUTO; range <= MLLAMA_RANGE_LIMITED; range++) {
        if (!check_wants_case (check, FALSE))
          continue;
        MllamaImage image = make_image (formats[f], 61, 45, matrix * 3 + range);
        image.matrix = matrix;
        image.range = range;
        check_image (&rig, &image, &options);
        clear_image (&image);
      }
  clear_rig (&rig);
}

static void
check_filters (Check *check)
{
  static const guint wide[][2] = {{100, 30}, {30, 100}, {20, 9}, {41, 300}};
  Rig rig;

  init_rig (&rig, check, 42);
  for (guint filter = MLLAMA_RESAMPLE_NEAREST; filter <= MLLAMA_RESAMPLE_HAMMING; filter++)
    for (guint order = 0; order < 2; order++)
      for (guint s = 0; s < G_N_ELEMENTS (wide); s++) {
        if (!check_wants_case (check, FALSE))
          continue;
        MllamaImage image = make_image (MLLAMA_FORMAT_RGB, wide[s][0], wide[s][1], filter);
        MllamaImageOptions options = get_usual_options (42);
        options.resample = filter;
        options.pass_order = order;
        check_image (&rig, &image, &options);
        clear_image (&image);
      }
  clear_rig (&rig);
}

static void
check_options (Check *check)
{
  MllamaImageOptions options = get_usual_options (28);
  MllamaImage image = make_image (MLLAMA_FORMAT_RGB, 50, 31, 1);
  Rig rig;

  init_rig (&rig, check, 28);
  options.do_normalize = FALSE;
  check_image (&rig, &image, &options);
  options.do_rescale = FALSE;
  check_image (&rig, &image, &options);
  options.do_normalize = TRUE;
  check_image (&rig, &image, &options);
  clear_image (&image);
  clear_rig (&rig);
}

/* Pictures as they come, in tiles of 560. No kernel is at an edge there. */
static void
check_large (Check *check)
{
  static const MllamaFormat formats[] = {MLLAMA_FORMAT_RGB, MLLAMA_FORMAT_NV12, MLLAMA_FORMAT_I420};
  MllamaImageOptions options = get_usual_options (560);
  Rig rig;

  if (check_is_sparse (check))
    return;
  init_rig (&rig, check, 560);
  for (guint f = 0; f < G_N_ELEMENTS (formats); f++) {
    MllamaImage image = make_image (formats[f], 1920, 1080, f);
    check_image (&rig, &image, &options);
    clear_image (&image);
  }
  clear_rig (&rig);
}

const CheckEntry checks_of_frames[] = {
    {"every_format", check_formats}, {"every_colorimetry", check_colorimetry},
    {"every_filter", check_filters}, {"options", check_options},
    {"full_size", check_large},      {NULL, NULL},
};
