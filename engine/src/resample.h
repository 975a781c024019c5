/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pillow's resampling of 8-bit pictures: two passes, weights in 10.22 fixed point, rounded to bytes in between. Rows
 * are streamed, so that memory is a few rows whatever the picture's size. */
#pragma once

#include <mllama/image-processor.h>

G_BEGIN_DECLS

/* Fraction bits of a weight: what 32 bits leave beside 8 of a pixel, and 2 for sums beyond [0, 1]. */
#define MLLAMA_RESAMPLE_BITS 22

/* Bytes of a row that a kernel takes at a time. Rows that kernels read or write are padded to a multiple. */
#define MLLAMA_RESAMPLE_BLOCK 32

/* Bytes after a row that a kernel may read, and overwrite. */
#define MLLAMA_RESAMPLE_SLACK 1

/* One axis: output i is the weighted sum of inputs starts[i] to starts[i] + counts[i] - 1. */
typedef struct {
  guint n_in, n_out;
  guint n_taps;    /* largest count, and the distance between rows of weights */
  guint *starts;   /* [n_out], not decreasing */
  guint *counts;   /* [n_out] */
  gint32 *weights; /* [n_out][n_taps] */
} MllamaResampleAxis;

/* Sizes must be 1 to MLLAMA_MAX_IMAGE_SIDE, resample one that image-processor.h names. */
void mllama_resample_axis_init (MllamaResampleAxis *axis, MllamaResample resample, guint n_in, guint n_out);
void mllama_resample_axis_clear (MllamaResampleAxis *axis);

/* Whether the vertical pass comes first. */
gboolean mllama_resample_is_vertical_first (const MllamaResampleAxis *x, const MllamaResampleAxis *y,
                                            MllamaPassOrder order);

/* INVALID for a size, filter or order that does not exist. */
gboolean mllama_resample_check (guint new_width, guint new_height, MllamaResample resample, MllamaPassOrder order,
                                GError **error);

/* The two inner loops. Every implementation gives the same bits. */
typedef struct {
  const char *name;

  /* resample_across: out[i][c] = clip ((2^21 + sum_k in[starts[i] + k][c] * weights[i][k]) >> 22), c < 3.
   * in [n_in][3], out [n_out][3], each with MLLAMA_RESAMPLE_SLACK bytes after it */
  void (*across) (guint8 *out, const guint8 *in, const MllamaResampleAxis *axis);

  /* resample_down: out[x] = clip ((2^21 + sum_k ring[(slot + k) % n_slots][x] * weights[k]) >> 22), k < count.
   * pitch bytes from row to row of the ring, and in out: a multiple of MLLAMA_RESAMPLE_BLOCK */
  void (*down) (guint8 *out, const guint8 *ring, gsize pitch, guint n_slots, guint slot, const gint32 *weights,
                guint count);
} MllamaResampleOps;

/* All that this processor can run, best first; ends with NULL. */
const MllamaResampleOps *const *mllama_resample_ops_list (void);

/* Takes row y, [new_width][3]; rows come in order, and are valid for the call. */
typedef void (*MllamaRowSink) (gpointer data, guint y, const guint8 *rgb);

/* mllama_resample_image: image must be valid and in host memory. INVALID for a size or filter that does not exist,
 * OUT_OF_MEMORY. */
gboolean mllama_resample_image (const MllamaImage *image, guint new_width, guint new_height, MllamaResample resample,
                                MllamaPassOrder order, MllamaRowSink sink, gpointer data, GError **error);

G_END_DECLS
