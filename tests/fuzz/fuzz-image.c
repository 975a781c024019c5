/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Views of pictures with any size and stride, and the text of a preprocessor_config.json.
 *
 * Input: 16 bytes that describe a picture (below), then the text. The planes hold the text's bytes, over and over, in
 * blocks of exactly the size that the view claims. */
#include <string.h>

#include <mllama/mllama.h>

#define HEADER_BYTES 16
#define MAX_SIDE     128 /* of the options' tiles too, so that a run stays short */

int LLVMFuzzerTestOneInput (const guint8 *data, size_t size);

typedef struct {
  MllamaImage image;
  guint8 *blocks[3];
} Picture;

/* The last row of a plane ends with its last byte of meaning. */
static void
fill_plane (Picture *picture, guint plane, gsize extra, const guint8 *text, gsize length)
{
  MllamaImage *image = &picture->image;
  gsize row_bytes = mllama_format_get_row_bytes (image->format, plane, image->width), n_bytes;
  guint n_rows = mllama_format_get_n_rows (image->format, plane, image->height);

  if (image->width == 0 || n_rows == 0)
    return;
  image->strides[plane] = row_bytes + extra;
  n_bytes = (n_rows - 1) * image->strides[plane] + row_bytes;
  picture->blocks[plane] = g_malloc (n_bytes);
  for (gsize i = 0; i < n_bytes; i++)
    picture->blocks[plane][i] = length > 0 ? text[i % length] : i;
  image->planes[plane] = picture->blocks[plane];
}

/* Bytes 0 to 8: format, width, height, matrix, range, memory, and what the three strides have beyond the rows. Byte 9
 * breaks something now and then, but never so that the view claims more memory than it has. */
static void
init_picture (Picture *picture, const guint8 *header, const guint8 *text, gsize length)
{
  MllamaImage *image = &picture->image;

  *picture = (Picture){{header[0] % (MLLAMA_FORMAT_YUY2 + 1), header[1] % MAX_SIDE, header[2] % MAX_SIDE}};
  image->matrix = header[3] % 5;
  image->range = header[4] % 4;
  image->memory = header[5] == 1 ? MLLAMA_MEMORY_CUDA : MLLAMA_MEMORY_HOST;
  for (guint plane = 0; plane < mllama_format_get_n_planes (image->format); plane++)
    fill_plane (picture, plane, header[6 + plane], text, length);
  if (header[9] == 1)
    image->planes[header[10] % 3] = NULL;
  else if (header[9] == 2)
    image->strides[header[10] % 3] = MIN (image->strides[header[10] % 3], header[11]);
  else if (header[9] == 3)
    image->format = MLLAMA_FORMAT_YUY2 + 1 + header[10];
}

static void
clear_picture (Picture *picture)
{
  for (guint plane = 0; plane < G_N_ELEMENTS (picture->blocks); plane++)
    g_free (picture->blocks[plane]);
}

static void
tile_picture (const MllamaImage *image, MllamaImageOptions *options, const guint8 *header)
{
  const MllamaAspectRatio ratios[] = {{1, 1}, {1, 2}, {1, 3}, {1, 4}, {2, 1}, {2, 2}, {3, 1}, {4, 1}};
  g_autoptr (MllamaPixels) pixels = NULL;

  options->pass_order = header[14] % 3;
  if (options->size <= MAX_SIDE)
    pixels = mllama_pixels_new (image, options, ratios, header[15] % (G_N_ELEMENTS (ratios) + 1), header[13] % 8, NULL);
}

/* The text's options if it has any, else ones from the header. */
static MllamaImageOptions
read_options (const guint8 *header, const guint8 *text, gsize length)
{
  MllamaImageOptions options = {TRUE,          TRUE, header[11] & 1, header[11] & 2, TRUE, header[12] % MAX_SIDE,
                                header[10] % 7};

  options.max_image_tiles = header[13] % 8;
  for (guint c = 0; c < 3; c++)
    options.image_std[c] = header[c];
  mllama_image_options_init_from_data (&options, (const char *) text, length, NULL);
  return options;
}

int
LLVMFuzzerTestOneInput (const guint8 *data, size_t size)
{
  g_autofree guint8 *rgb = NULL, *text = NULL;
  guint8 header[HEADER_BYTES] = {0};
  gsize length = size > HEADER_BYTES ? size - HEADER_BYTES : 0;
  MllamaImageOptions options;
  Picture picture;

  if (size > 0)
    memcpy (header, data, MIN (size, HEADER_BYTES));
  text = g_memdup2 (data + size - length, length); /* a block of its own: nothing follows the text */
  options = read_options (header, text ? text : (const guint8 *) "", length);
  init_picture (&picture, header, text, length);
  rgb = g_malloc (3 * MAX_SIDE * MAX_SIDE);
  mllama_image_to_rgb (&picture.image, rgb, NULL);
  tile_picture (&picture.image, &options, header);
  clear_picture (&picture);
  return 0;
}
