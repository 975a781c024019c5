/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <mllama/macros.h>

G_BEGIN_DECLS

/* Pixel layouts, named by byte order in memory as GStreamer names them. */
typedef enum {
  MLLAMA_FORMAT_RGB, /* 3 bytes */
  MLLAMA_FORMAT_BGR,
  MLLAMA_FORMAT_RGBA, /* 4 bytes, straight alpha, composited over white */
  MLLAMA_FORMAT_BGRA,
  MLLAMA_FORMAT_ARGB,
  MLLAMA_FORMAT_ABGR,
  MLLAMA_FORMAT_RGBX, /* 4 bytes, the fourth ignored */
  MLLAMA_FORMAT_BGRX,
  MLLAMA_FORMAT_XRGB,
  MLLAMA_FORMAT_XBGR,
  MLLAMA_FORMAT_GRAY8,
  MLLAMA_FORMAT_I420, /* three planes: Y, U, V; 4:2:0 */
  MLLAMA_FORMAT_NV12, /* two planes: Y, UV interleaved; 4:2:0 */
  MLLAMA_FORMAT_YUY2, /* one plane: Y0 U Y1 V; 4:2:2 */
} MllamaFormat;

/* Which matrix the YUV and GRAY8 formats were made with. Zero means: BT.709 from 720 lines
 * on, BT.601 below, as GStreamer assumes. */
typedef enum {
  MLLAMA_MATRIX_AUTO,
  MLLAMA_MATRIX_BT601,
  MLLAMA_MATRIX_BT709,
  MLLAMA_MATRIX_BT2020,
} MllamaMatrix;

typedef enum {
  MLLAMA_RANGE_AUTO,    /* limited for YUV, full for GRAY8 */
  MLLAMA_RANGE_FULL,    /* 0-255 */
  MLLAMA_RANGE_LIMITED, /* 16-235, chroma 16-240 */
} MllamaRange;

typedef enum {
  MLLAMA_MEMORY_HOST,
  MLLAMA_MEMORY_CUDA, /* planes are device pointers */
} MllamaMemory;

/* CUDA memory may belong to any context of the model's own device: mapped memory of decoders, or of another library.
 * It is copied between the contexts, and may be changed or freed when the call returns. What was queued in the default
 * stream of its context is waited for; work in other streams that writes it must have ended before. INVALID if it is
 * memory of another device, or of none, or if the model is on the CPU. */

/* A borrowed view of a picture: planes stay the caller's, and must stay valid and unchanged for
 * the call that takes the image. Strides are in bytes and may exceed the width. */
typedef struct {
  MllamaFormat format;
  guint width, height;     /* pixels, 1 to MLLAMA_MAX_IMAGE_SIDE */
  const guint8 *planes[3]; /* unused ones NULL */
  gsize strides[3];
  MllamaMatrix matrix;
  MllamaRange range;
  MllamaMemory memory;
} MllamaImage;

#define MLLAMA_MAX_IMAGE_SIDE 65535

MLLAMA_API guint mllama_format_get_n_planes (MllamaFormat format);
MLLAMA_API const char *mllama_format_to_string (MllamaFormat format);

/* Bytes of meaning in a row of a plane, and rows of it, for a picture of this size. Odd sizes
 * round chroma up. */
MLLAMA_API gsize mllama_format_get_row_bytes (MllamaFormat format, guint plane, guint width);
MLLAMA_API guint mllama_format_get_n_rows (MllamaFormat format, guint plane, guint height);

/* mllama_image_validate: INVALID if the view cannot be a picture (size, planes, strides). */
MLLAMA_API gboolean mllama_image_validate (const MllamaImage *image, GError **error);

/* mllama_image_to_rgb: host memory only. Writes [height][width][3] bytes to rgb, alpha over white
 * by Pillow's arithmetic, YUV by the matrix and range in 16.16 fixed point, chroma replicated. */
MLLAMA_API gboolean mllama_image_to_rgb (const MllamaImage *image, guint8 *rgb, GError **error);

G_END_DECLS
