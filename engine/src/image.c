/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image-row.h"

#include <mllama/error.h>

typedef struct {
  const char *name;
  guint n_planes;
} Format;

static const Format formats[] = {
    [MLLAMA_FORMAT_RGB] = {"RGB", 1},   [MLLAMA_FORMAT_BGR] = {"BGR", 1},     [MLLAMA_FORMAT_RGBA] = {"RGBA", 1},
    [MLLAMA_FORMAT_BGRA] = {"BGRA", 1}, [MLLAMA_FORMAT_ARGB] = {"ARGB", 1},   [MLLAMA_FORMAT_ABGR] = {"ABGR", 1},
    [MLLAMA_FORMAT_RGBX] = {"RGBx", 1}, [MLLAMA_FORMAT_BGRX] = {"BGRx", 1},   [MLLAMA_FORMAT_XRGB] = {"xRGB", 1},
    [MLLAMA_FORMAT_XBGR] = {"xBGR", 1}, [MLLAMA_FORMAT_GRAY8] = {"GRAY8", 1}, [MLLAMA_FORMAT_I420] = {"I420", 3},
    [MLLAMA_FORMAT_NV12] = {"NV12", 2}, [MLLAMA_FORMAT_YUY2] = {"YUY2", 1},
};

static gboolean
is_format (MllamaFormat format)
{
  return (guint) format < G_N_ELEMENTS (formats);
}

guint
mllama_format_get_n_planes (MllamaFormat format)
{
  g_return_val_if_fail (is_format (format), 0);

  return formats[format].n_planes;
}

const char *
mllama_format_to_string (MllamaFormat format)
{
  return is_format (format) ? formats[format].name : "unknown";
}

gsize
mllama_format_get_row_bytes (MllamaFormat format, guint plane, guint width)
{
  gsize w = width, half = (w + 1) / 2;

  g_return_val_if_fail (is_format (format) && plane < formats[format].n_planes, 0);

  switch (format) {
  case MLLAMA_FORMAT_RGB:
  case MLLAMA_FORMAT_BGR:
    return 3 * w;
  case MLLAMA_FORMAT_GRAY8:
    return w;
  case MLLAMA_FORMAT_I420:
    return plane == 0 ? w : half;
  case MLLAMA_FORMAT_NV12:
    return plane == 0 ? w : 2 * half;
  case MLLAMA_FORMAT_YUY2:
    return 4 * half;
  default:
    return 4 * w;
  }
}

guint
mllama_format_get_n_rows (MllamaFormat format, guint plane, guint height)
{
  g_return_val_if_fail (is_format (format) && plane < formats[format].n_planes, 0);

  return plane == 0 ? height : height / 2 + height % 2;
}

static gboolean
check_plane (const MllamaImage *image, guint plane, GError **error)
{
  gsize row_bytes = mllama_format_get_row_bytes (image->format, plane, image->width);
  guint n_rows = mllama_format_get_n_rows (image->format, plane, image->height);
  const char *name = formats[image->format].name;
  gsize total;

  if (!image->planes[plane]) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID, "plane %u of the %s picture is NULL; %s has %u plane(s)",
                 plane, name, name, formats[image->format].n_planes);
    return FALSE;
  }
  if (image->strides[plane] < row_bytes) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
                 "stride of plane %u is %" G_GSIZE_FORMAT
                 " bytes; a row of a %s picture %u pixels wide has %" G_GSIZE_FORMAT,
                 plane, image->strides[plane], name, image->width, row_bytes);
    return FALSE;
  }
  if (!g_size_checked_mul (&total, image->strides[plane], n_rows) || total > G_MAXSSIZE) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
                 "plane %u has %u rows with a stride of %" G_GSIZE_FORMAT " bytes, more than memory can hold", plane,
                 n_rows, image->strides[plane]);
    return FALSE;
  }
  return TRUE;
}

static gboolean
check_enums (const MllamaImage *image, GError **error)
{
  const char *field = NULL;

  if (!is_format (image->format))
    field = "format";
  else if ((guint) image->matrix > MLLAMA_MATRIX_BT2020)
    field = "matrix";
  else if ((guint) image->range > MLLAMA_RANGE_LIMITED)
    field = "range";
  else if ((guint) image->memory > MLLAMA_MEMORY_CUDA)
    field = "memory";
  if (!field)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID, "the %s of the picture is not one that mllama/image.h names",
               field);
  return FALSE;
}

gboolean
mllama_image_check_size (guint width, guint height, GError **error)
{
  if (width >= 1 && height >= 1 && width <= MLLAMA_MAX_IMAGE_SIDE && height <= MLLAMA_MAX_IMAGE_SIDE)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID, "a picture of %u x %u pixels; each side must be 1 to %u",
               width, height, MLLAMA_MAX_IMAGE_SIDE);
  return FALSE;
}

gboolean
mllama_image_validate (const MllamaImage *image, GError **error)
{
  g_return_val_if_fail (image != NULL, FALSE);

  if (!check_enums (image, error) || !mllama_image_check_size (image->width, image->height, error))
    return FALSE;
  for (guint plane = 0; plane < formats[image->format].n_planes; plane++)
    if (!check_plane (image, plane, error))
      return FALSE;
  return TRUE;
}

gboolean
mllama_image_check_host (const MllamaImage *image, GError **error)
{
  if (!mllama_image_validate (image, error))
    return FALSE;
  if (image->memory == MLLAMA_MEMORY_HOST)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
               "the picture lies in CUDA memory, and host memory is expected; download it first");
  return FALSE;
}

gboolean
mllama_image_to_rgb (const MllamaImage *image, guint8 *rgb, GError **error)
{
  gsize row_bytes;
  MllamaRowReader reader;

  g_return_val_if_fail (image != NULL && rgb != NULL, FALSE);

  if (!mllama_image_check_host (image, error))
    return FALSE;
  mllama_row_reader_init (&reader, image);
  row_bytes = 3 * (gsize) image->width;
  for (guint y = 0; y < image->height; y++)
    mllama_row_reader_read (&reader, y, rgb + y * row_bytes);
  return TRUE;
}
