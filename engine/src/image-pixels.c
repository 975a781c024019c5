/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image-options.h"
#include "image-row.h"
#include "resample.h"

/* The rows of a resized picture on their way into tiles. */
typedef struct {
  MllamaPixels *pixels;
  MllamaPixelTable table;
} Tiler;

/* Row y of the canvas within one tile column. */
static float *
get_tile_row (const MllamaPixels *pixels, guint column, guint channel, guint y)
{
  gsize size = pixels->size, tile = (gsize) (y / pixels->size) * pixels->n_columns + column;

  return pixels->values + ((tile * 3 + channel) * size + y % pixels->size) * size;
}

/* Padding comes before normalisation: it has the colour of black. */
static void
pad_row (float *row, guint start, guint end, float black)
{
  for (guint x = start; x < end; x++)
    row[x] = black;
}

static void
write_row (gpointer data, guint y, const guint8 *rgb)
{
  const Tiler *tiler = data;
  const MllamaPixels *pixels = tiler->pixels;

  for (guint column = 0; column < pixels->n_columns; column++) {
    gsize start = (gsize) column * pixels->size;
    guint used = start < pixels->resized_width ? MIN (pixels->resized_width - start, pixels->size) : 0;

    for (guint channel = 0; channel < 3; channel++) {
      const float *table = tiler->table.values[channel];
      const guint8 *in = rgb + 3 * start + channel;
      float *out = get_tile_row (pixels, column, channel, y);

      for (guint x = 0; x < used; x++)
        out[x] = table[in[3 * x]];
      pad_row (out, used, pixels->size, table[0]);
    }
  }
}

static void
pad_below (const Tiler *tiler)
{
  const MllamaPixels *pixels = tiler->pixels;

  for (guint y = pixels->resized_height; y < pixels->n_rows * pixels->size; y++)
    for (guint column = 0; column < pixels->n_columns; column++)
      for (guint channel = 0; channel < 3; channel++)
        pad_row (get_tile_row (pixels, column, channel, y), 0, pixels->size, tiler->table.values[channel][0]);
}

/* With do_convert_rgb off transformers hands the picture's own channels on, and fails unless there are three. */
gboolean
mllama_image_options_check_channels (const MllamaImageOptions *options, const MllamaImage *image, GError **error)
{
  gboolean alpha = mllama_format_has_alpha (image->format);

  if (options->do_convert_rgb || (!alpha && image->format != MLLAMA_FORMAT_GRAY8))
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
               "do_convert_rgb is off, and the %s picture has %s; the model takes red, green and blue: convert the "
               "picture, or set do_convert_rgb",
               mllama_format_to_string (image->format), alpha ? "an alpha channel" : "one channel");
  return FALSE;
}

static gboolean
allocate_values (MllamaPixels *pixels, GError **error)
{
  gsize n_values = 3 * (gsize) pixels->size * pixels->size;

  if (g_size_checked_mul (&n_values, n_values, pixels->n_tiles))
    pixels->values = g_try_new (float, n_values);
  if (pixels->values)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY,
               "no memory for %u tiles of 3 x %u x %u numbers; fewer tiles (max_tiles) need less", pixels->n_tiles,
               pixels->size, pixels->size);
  return FALSE;
}

static gboolean
plan_tiles (MllamaPixels *pixels, const MllamaImage *image, const MllamaImageOptions *options,
            const MllamaAspectRatio *ratios, guint n_ratios, guint max_tiles, GError **error)
{
  MllamaTilePlan plan;

  if (!mllama_tile_plan_init (&plan, ratios, n_ratios, max_tiles ? max_tiles : options->max_image_tiles, options->size,
                              image->width, image->height, error))
    return FALSE;
  pixels->size = options->size;
  pixels->n_rows = plan.n_rows;
  pixels->n_columns = plan.n_columns;
  pixels->n_tiles = plan.n_rows * plan.n_columns;
  pixels->aspect_ratio_id = plan.aspect_ratio_id;
  pixels->resized_width = plan.resized_width;
  pixels->resized_height = plan.resized_height;
  return TRUE;
}

MllamaPixels *
mllama_pixels_new (const MllamaImage *image, const MllamaImageOptions *options, const MllamaAspectRatio *ratios,
                   guint n_ratios, guint max_tiles, GError **error)
{
  g_autoptr (MllamaPixels) pixels = NULL;
  Tiler tiler;

  g_return_val_if_fail (image != NULL && options != NULL, NULL);

  if (!mllama_image_check_host (image, error) ||
      !mllama_image_options_check (options, MLLAMA_ERROR_INVALID, "image options", error) ||
      !mllama_image_options_check_channels (options, image, error))
    return NULL;
  pixels = g_new0 (MllamaPixels, 1);
  if (!plan_tiles (pixels, image, options, ratios, n_ratios, max_tiles, error) || !allocate_values (pixels, error))
    return NULL;
  tiler.pixels = pixels;
  mllama_pixel_table_init (&tiler.table, options);
  if (!mllama_resample_image (image, pixels->resized_width, pixels->resized_height, options->resample,
                              options->pass_order, write_row, &tiler, error))
    return NULL;
  pad_below (&tiler);
  return g_steal_pointer (&pixels);
}

void
mllama_pixels_free (MllamaPixels *pixels)
{
  if (!pixels)
    return;
  g_free (pixels->values);
  g_free (pixels);
}
