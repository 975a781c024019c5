/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <math.h>

#include "mllama-bench.h"

/* One channel of a pixel is base + slopes + waves + noise, in steps of 1/256. */
typedef struct {
  gint base, slope_x, slope_y;
  guint phase, pitch_x, pitch_y;
} Look;

static void
choose_look (Bench *bench, Look *look, guint width, guint height)
{
  look->base = g_rand_int_range (bench->random, 40 * 256, 140 * 256);
  look->slope_x = g_rand_int_range (bench->random, -60 * 256, 60 * 256) / (gint) width;
  look->slope_y = g_rand_int_range (bench->random, -60 * 256, 60 * 256) / (gint) height;
  look->phase = g_rand_int_range (bench->random, 0, 256);
  look->pitch_x = g_rand_int_range (bench->random, 128, 2048);
  look->pitch_y = g_rand_int_range (bench->random, 128, 2048);
}

static void
fill_channel (guint8 *pixels, guint width, guint height, const Look *look, const gint *wave, guint64 noise)
{
  for (guint y = 0; y < height; y++)
    for (guint x = 0; x < width; x++) {
      guint place = (look->phase + (x * look->pitch_x + y * look->pitch_y) / 256) & 255;
      gint value = look->base + look->slope_x * (gint) x + look->slope_y * (gint) y + wave[place];
      noise = noise * 6364136223846793005u + 1442695040888963407u;
      value += (gint) (noise >> 51) - 4096;
      pixels[3 * ((gsize) y * width + x)] = CLAMP (value >> 8, 0, 255);
    }
}

guint8 *
bench_make_picture (Bench *bench, const MllamaAspectRatio *ratio, MllamaImage *image)
{
  guint size = mllama_model_get_config (bench->model)->vision.image_size;
  guint width = ratio->n_columns * size, height = ratio->n_rows * size;
  guint8 *pixels = g_malloc ((gsize) width * height * 3);
  gint wave[256];

  for (guint i = 0; i < 256; i++)
    wave[i] = lrint (40 * 256 * sin (2 * G_PI * i / 256));
  for (guint channel = 0; channel < 3; channel++) {
    Look look;
    choose_look (bench, &look, width, height);
    fill_channel (pixels + channel, width, height, &look, wave, g_rand_int (bench->random));
  }
  *image = (MllamaImage){.format = MLLAMA_FORMAT_RGB,
                         .width = width,
                         .height = height,
                         .planes = {pixels},
                         .strides = {(gsize) width * 3}};
  return pixels;
}

MllamaPrompt *
bench_make_prompt (Bench *bench, guint n_tokens, gboolean has_image, GError **error)
{
  const MllamaConfig *config = mllama_model_get_config (bench->model);
  g_autofree guint32 *ids = g_new (guint32, n_tokens);

  for (guint i = 0; i < n_tokens; i++) {
    do
      ids[i] = g_rand_int_range (bench->random, 0, config->text.vocab_size);
    while (ids[i] == config->image_token_id);
  }
  if (has_image)
    ids[0] = config->image_token_id;
  return mllama_prompt_new_from_ids (bench->model, ids, n_tokens, error);
}

MllamaStates *
bench_encode (Bench *bench, const MllamaImage *image, GError **error)
{
  return mllama_model_encode (bench->model, image, bench->semantics, 0, NULL, error);
}

MllamaStates *
bench_encode_new_picture (Bench *bench, const MllamaAspectRatio *ratio, GError **error)
{
  MllamaImage image;
  g_autofree G_GNUC_UNUSED guint8 *pixels = bench_make_picture (bench, ratio, &image);

  return bench_encode (bench, &image, error);
}

const MllamaAspectRatio *
bench_find_ratio (Bench *bench, guint n_tiles)
{
  const MllamaVisionConfig *vision = &mllama_model_get_config (bench->model)->vision;
  const MllamaAspectRatio *found = NULL;

  /* The squarest. */
  for (guint i = 0; i < vision->n_aspect_ratios; i++) {
    const MllamaAspectRatio *ratio = &vision->aspect_ratios[i];
    if (ratio->n_rows * ratio->n_columns == n_tiles &&
        (!found || ABS (ratio->n_rows - ratio->n_columns) < ABS (found->n_rows - found->n_columns)))
      found = ratio;
  }
  return found;
}

const MllamaAspectRatio *
bench_find_largest_ratio (Bench *bench)
{
  const MllamaAspectRatio *found = NULL;

  for (guint n = mllama_model_get_config (bench->model)->vision.max_n_tiles; n > 0 && !found; n--)
    found = bench_find_ratio (bench, n);
  return found;
}
