/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pictures of any format, row by row as packed RGB: nothing larger than a row is ever converted. */
#pragma once

#include <mllama/image.h>

G_BEGIN_DECLS

/* yuv_to_rgb: the colours of one pixel, in 16.16 fixed point; integers only, so that every backend gives the same bits.
 *
 *   formula   r = clip ((y_gain * (Y - y_zero) + v_to_r * (V - 128) + 2^15) >> 16)
 *             g = clip ((y_gain * (Y - y_zero) + u_to_g * (U - 128) + v_to_g * (V - 128) + 2^15) >> 16)
 *             b = clip ((y_gain * (Y - y_zero) + u_to_b * (U - 128) + 2^15) >> 16)
 *             clip (x) = min (max (x, 0), 255); >> rounds down, also below zero
 *             Pixel (x, y) uses U and V of sample (x / 2, y / 2), or (x / 2, y) in 4:2:2: replication, which is the
 *             nearest sample wherever the chroma is sited.
 *   weights   of Kr, Kb of the matrix, Kg = 1 - Kr - Kb, chroma gain s; each times 2^16 and rounded:
 *             y_gain 255/219 or 1, y_zero 16 or 0, s 255/224 or 1 (limited or full range);
 *             v_to_r 2 s (1 - Kr), u_to_b 2 s (1 - Kb), u_to_g -2 s (1 - Kb) Kb / Kg, v_to_g -2 s (1 - Kr) Kr / Kg
 *   limits    |sum| < 2^27
 *   rounding  to nearest, once; at most 0.004 from the real number before it
 *   source    ITU-R BT.601-7, BT.709-6, BT.2020-2 (non-constant luminance)
 */
typedef struct {
  gint32 y_zero, y_gain;
  gint32 v_to_r, u_to_g, v_to_g, u_to_b;
} MllamaYuvWeights;

/* Matrix and range of the image, AUTO resolved. */
void mllama_yuv_weights_init (MllamaYuvWeights *weights, const MllamaImage *image);

typedef struct MllamaRowReader MllamaRowReader;

struct MllamaRowReader {
  const MllamaImage *image;
  void (*read) (const MllamaRowReader *reader, guint y, guint8 *rgb);
  guint8 r, g, b, a; /* places of the components in a packed pixel */
  guint8 gray[256];  /* GRAY8: value -> value in full range */
  MllamaYuvWeights yuv;
};

/* mllama_row_reader_init: image must be valid, in host memory, and outlive the reader. */
void mllama_row_reader_init (MllamaRowReader *reader, const MllamaImage *image);

/* Writes [width][3] bytes of row y. */
static inline void
mllama_row_reader_read (const MllamaRowReader *reader, guint y, guint8 *rgb)
{
  reader->read (reader, y, rgb);
}

/* Whether the format has an alpha channel. */
gboolean mllama_format_has_alpha (MllamaFormat format);

/* INVALID, naming the limit. */
gboolean mllama_image_check_size (guint width, guint height, GError **error);

/* mllama_image_validate, and INVALID if the planes are not host memory. */
gboolean mllama_image_check_host (const MllamaImage *image, GError **error);

G_END_DECLS
