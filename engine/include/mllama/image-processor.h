/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a picture to tiles, bit-equal to MllamaImageProcessor's Pillow path. */
#pragma once

#include <mllama/config.h>
#include <mllama/image.h>

G_BEGIN_DECLS

/* PIL.Image.Resampling, by its numbers. */
typedef enum {
  MLLAMA_RESAMPLE_NEAREST = 0,
  MLLAMA_RESAMPLE_LANCZOS = 1,
  MLLAMA_RESAMPLE_BILINEAR = 2,
  MLLAMA_RESAMPLE_BICUBIC = 3,
  MLLAMA_RESAMPLE_BOX = 4,
  MLLAMA_RESAMPLE_HAMMING = 5,
} MllamaResample;

/* Which pass comes first when both sides change. Bytes are rounded between the passes, so that the results differ by a
 * level in places. Zero is what the weights were trained with. */
typedef enum {
  MLLAMA_PASS_ORDER_HORIZONTAL_FIRST, /* always horizontal: Pillow up to 12.1 */
  MLLAMA_PASS_ORDER_PILLOW_13, /* vertical if rows are lost, and more than twice as many as columns: a picture over
                                  twice as high as wide that shrinks; otherwise horizontal */
} MllamaPassOrder;

/* preprocessor_config.json, or image_processor in processor_config.json. Unlike other settings
 * structs an all-zero one is not a default: the file must say what the weights were trained with. */
typedef struct {
  gboolean do_convert_rgb, do_resize, do_rescale, do_normalize, do_pad;
  guint size; /* height == width: side of a tile */
  MllamaResample resample;
  double rescale_factor;
  double image_mean[3], image_std[3];
  guint max_image_tiles;
  MllamaPassOrder pass_order; /* not in the file */
} MllamaImageOptions;

/* One picture, tiled. */
typedef struct {
  float *values; /* [n_tiles][3][size][size], the used tiles only; owned */
  guint size;
  guint n_tiles; /* rows * columns of the arrangement */
  guint n_rows, n_columns;
  guint aspect_ratio_id; /* index of the arrangement in the model's list + 1 */
  guint resized_width, resized_height;
} MllamaPixels;

/* Where a picture of some size goes, before any pixel is touched. */
typedef struct {
  guint aspect_ratio_id;
  guint n_rows, n_columns;
  guint resized_width, resized_height;
} MllamaTilePlan;

/* mllama_image_options_init_from_data: the text of preprocessor_config.json or processor_config.json.
 * size must be present, and image_mean and image_std unless do_normalize is FALSE: the class's defaults of these are
 * not what the weights were trained with. Other fields default as in the class. do_resize or do_pad FALSE, a size that
 * is not square and max_image_tiles < 1 are errors (spec 1.3). Errors: MALFORMED, UNSUPPORTED (another
 * image_processor_type). */
MLLAMA_API gboolean mllama_image_options_init_from_data (MllamaImageOptions *options, const char *json, gsize length,
                                                         GError **error);

/* mllama_tile_plan_init: chooses the arrangement and the resized size (all in IEEE double) among
 * the ratios that need at most max_tiles tiles. */
MLLAMA_API gboolean mllama_tile_plan_init (MllamaTilePlan *plan, const MllamaAspectRatio *ratios, guint n_ratios,
                                           guint max_tiles, guint size, guint width, guint height, GError **error);

/* mllama_pixels_new: host images only. max_tiles 0 means options->max_image_tiles. The picture is streamed: beside the
 * result only a few of its rows are held.
 * Errors: INVALID, OUT_OF_MEMORY. */
MLLAMA_API MllamaPixels *mllama_pixels_new (const MllamaImage *image, const MllamaImageOptions *options,
                                            const MllamaAspectRatio *ratios, guint n_ratios, guint max_tiles,
                                            GError **error);
MLLAMA_API void mllama_pixels_free (MllamaPixels *pixels);

/* mllama_resize_rgb: Pillow's two-pass uint8 resampling of [height][width][3] bytes. The caller frees the result with
 * g_free. */
MLLAMA_API guint8 *mllama_resize_rgb (const guint8 *rgb, guint width, guint height, guint new_width, guint new_height,
                                      MllamaResample resample, MllamaPassOrder order, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaPixels, mllama_pixels_free)

G_END_DECLS
