/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image-row.h"

#include <math.h>
#include <string.h>

#define YUV_BITS 16
#define YUV_HALF (1 << (YUV_BITS - 1))

static const guint8 *
get_row (const MllamaImage *image, guint plane, guint y)
{
  return image->planes[plane] + y * image->strides[plane];
}

static void
read_rgb (const MllamaRowReader *reader, guint y, guint8 *rgb)
{
  memcpy (rgb, get_row (reader->image, 0, y), 3 * (gsize) reader->image->width);
}

static void
read_bgr (const MllamaRowReader *reader, guint y, guint8 *rgb)
{
  const guint8 *in = get_row (reader->image, 0, y);

  for (guint x = 0; x < reader->image->width; x++, in += 3, rgb += 3) {
    rgb[0] = in[2];
    rgb[1] = in[1];
    rgb[2] = in[0];
  }
}

static void
read_opaque (const MllamaRowReader *reader, guint y, guint8 *rgb)
{
  const guint8 *in = get_row (reader->image, 0, y);

  for (guint x = 0; x < reader->image->width; x++, in += 4, rgb += 3) {
    rgb[0] = in[reader->r];
    rgb[1] = in[reader->g];
    rgb[2] = in[reader->b];
  }
}

/* Pillow's alpha_composite over opaque white (spec 3.1): there coef1 is a * 128 exactly, coef2 (255 - a) * 128, and a
 * transparent pixel needs no case of its own. */
static guint8
blend_over_white (guint32 value, guint32 alpha)
{
  guint32 t = (value * alpha + 255 * (255 - alpha) + 128) << 7;

  return ((t >> 8) + t) >> 15;
}

static void
read_alpha (const MllamaRowReader *reader, guint y, guint8 *rgb)
{
  const guint8 *in = get_row (reader->image, 0, y);

  for (guint x = 0; x < reader->image->width; x++, in += 4, rgb += 3) {
    guint32 alpha = in[reader->a];

    rgb[0] = blend_over_white (in[reader->r], alpha);
    rgb[1] = blend_over_white (in[reader->g], alpha);
    rgb[2] = blend_over_white (in[reader->b], alpha);
  }
}

static void
read_gray (const MllamaRowReader *reader, guint y, guint8 *rgb)
{
  const guint8 *in = get_row (reader->image, 0, y);

  for (guint x = 0; x < reader->image->width; x++, rgb += 3)
    rgb[0] = rgb[1] = rgb[2] = reader->gray[in[x]];
}

/* What a chroma sample adds to each colour, rounding included. */
typedef struct {
  gint32 r, g, b;
} Chroma;

static inline Chroma
weigh_chroma (const MllamaYuvWeights *w, guint8 u, guint8 v)
{
  gint32 cu = u - 128, cv = v - 128;

  return (Chroma){w->v_to_r * cv + YUV_HALF, w->u_to_g * cu + w->v_to_g * cv + YUV_HALF, w->u_to_b * cu + YUV_HALF};
}

static inline guint8
clip (gint32 fixed)
{
  gint32 value = fixed >> YUV_BITS;

  return CLAMP (value, 0, 255);
}

static inline void
write_pixel (guint8 *rgb, const MllamaYuvWeights *w, guint8 y, Chroma chroma)
{
  gint32 luma = w->y_gain * (y - w->y_zero);

  rgb[0] = clip (luma + chroma.r);
  rgb[1] = clip (luma + chroma.g);
  rgb[2] = clip (luma + chroma.b);
}

/* A row of pairs that share chroma; steps are bytes from sample to sample. */
static inline void
read_pairs (const MllamaRowReader *reader, guint8 *rgb, const guint8 *luma, guint luma_step, const guint8 *u,
            const guint8 *v, guint chroma_step)
{
  const MllamaYuvWeights weights = reader->yuv;
  guint width = reader->image->width, x = 0;

  for (; x + 1 < width; x += 2, luma += 2 * luma_step, u += chroma_step, v += chroma_step, rgb += 6) {
    Chroma chroma = weigh_chroma (&weights, *u, *v);

    write_pixel (rgb, &weights, luma[0], chroma);
    write_pixel (rgb + 3, &weights, luma[luma_step], chroma);
  }
  if (x < width)
    write_pixel (rgb, &weights, *luma, weigh_chroma (&weights, *u, *v));
}

static void
read_i420 (const MllamaRowReader *reader, guint y, guint8 *rgb)
{
  const MllamaImage *image = reader->image;

  read_pairs (reader, rgb, get_row (image, 0, y), 1, get_row (image, 1, y / 2), get_row (image, 2, y / 2), 1);
}

static void
read_nv12 (const MllamaRowReader *reader, guint y, guint8 *rgb)
{
  const guint8 *uv = get_row (reader->image, 1, y / 2);

  read_pairs (reader, rgb, get_row (reader->image, 0, y), 1, uv, uv + 1, 2);
}

static void
read_yuy2 (const MllamaRowReader *reader, guint y, guint8 *rgb)
{
  const guint8 *in = get_row (reader->image, 0, y);

  read_pairs (reader, rgb, in, 2, in + 1, in + 3, 4);
}

typedef struct {
  void (*read) (const MllamaRowReader *reader, guint y, guint8 *rgb);
  guint8 r, g, b, a;
} Layout;

static const Layout layouts[] = {
    [MLLAMA_FORMAT_RGB] = {read_rgb},
    [MLLAMA_FORMAT_BGR] = {read_bgr},
    [MLLAMA_FORMAT_RGBA] = {read_alpha, 0, 1, 2, 3},
    [MLLAMA_FORMAT_BGRA] = {read_alpha, 2, 1, 0, 3},
    [MLLAMA_FORMAT_ARGB] = {read_alpha, 1, 2, 3, 0},
    [MLLAMA_FORMAT_ABGR] = {read_alpha, 3, 2, 1, 0},
    [MLLAMA_FORMAT_RGBX] = {read_opaque, 0, 1, 2},
    [MLLAMA_FORMAT_BGRX] = {read_opaque, 2, 1, 0},
    [MLLAMA_FORMAT_XRGB] = {read_opaque, 1, 2, 3},
    [MLLAMA_FORMAT_XBGR] = {read_opaque, 3, 2, 1},
    [MLLAMA_FORMAT_GRAY8] = {read_gray},
    [MLLAMA_FORMAT_I420] = {read_i420},
    [MLLAMA_FORMAT_NV12] = {read_nv12},
    [MLLAMA_FORMAT_YUY2] = {read_yuy2},
};

gboolean
mllama_format_has_alpha (MllamaFormat format)
{
  return layouts[format].read == read_alpha;
}

static MllamaMatrix
resolve_matrix (const MllamaImage *image)
{
  if (image->matrix != MLLAMA_MATRIX_AUTO)
    return image->matrix;
  return image->height >= 720 ? MLLAMA_MATRIX_BT709 : MLLAMA_MATRIX_BT601;
}

static gboolean
is_full_range (const MllamaImage *image)
{
  return image->range == MLLAMA_RANGE_FULL ||
         (image->range == MLLAMA_RANGE_AUTO && image->format == MLLAMA_FORMAT_GRAY8);
}

static gint32
to_fixed (double weight)
{
  return (gint32) lrint (weight * (1 << YUV_BITS));
}

void
mllama_yuv_weights_init (MllamaYuvWeights *weights, const MllamaImage *image)
{
  static const struct {
    double kr, kb;
  } matrices[] = {
      [MLLAMA_MATRIX_BT601] = {0.299, 0.114},
      [MLLAMA_MATRIX_BT709] = {0.2126, 0.0722},
      [MLLAMA_MATRIX_BT2020] = {0.2627, 0.0593},
  };
  MllamaMatrix matrix = resolve_matrix (image);
  double kr = matrices[matrix].kr, kb = matrices[matrix].kb, kg = 1 - kr - kb;
  gboolean full = is_full_range (image);
  double chroma = full ? 1 : 255.0 / 224;

  weights->y_zero = full ? 0 : 16;
  weights->y_gain = to_fixed (full ? 1 : 255.0 / 219);
  weights->v_to_r = to_fixed (2 * chroma * (1 - kr));
  weights->u_to_b = to_fixed (2 * chroma * (1 - kb));
  weights->u_to_g = to_fixed (-2 * chroma * (1 - kb) * kb / kg);
  weights->v_to_g = to_fixed (-2 * chroma * (1 - kr) * kr / kg);
}

void
mllama_row_reader_init (MllamaRowReader *reader, const MllamaImage *image)
{
  const Layout *layout = &layouts[image->format];

  *reader = (MllamaRowReader){image, layout->read, layout->r, layout->g, layout->b, layout->a};
  mllama_yuv_weights_init (&reader->yuv, image);
  for (guint value = 0; value < G_N_ELEMENTS (reader->gray); value++) {
    guint8 rgb[3];

    write_pixel (rgb, &reader->yuv, value, weigh_chroma (&reader->yuv, 128, 128));
    reader->gray[value] = rgb[0];
  }
}
