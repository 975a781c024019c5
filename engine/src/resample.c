/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image-row.h"
#include "resample.h"

#include <string.h>

#include <mllama/error.h>

/* Rows go source -> across -> ring -> down -> sink, or, with the vertical pass first, source -> ring -> down -> across
 * -> sink. */
typedef struct {
  MllamaRowReader reader;
  const MllamaResampleOps *ops;
  MllamaResampleAxis x, y;
  gboolean vertical_first;
  guint8 *ring; /* [y.n_taps][pitch]: row i of what the vertical pass reads is in slot i % y.n_taps */
  gsize pitch;
  guint n_fetched;     /* rows of the source that have been taken, or passed over */
  guint8 *before_ring; /* a row of the source, when the horizontal pass comes first */
  guint8 *after_ring;  /* [pitch]: a row that the vertical pass made */
  guint8 *result;      /* a row of the result, when the vertical pass comes first */
} Resampler;

static gboolean
is_unchanged (const MllamaResampleAxis *axis)
{
  return axis->n_in == axis->n_out;
}

/* The rule of Pillow 13.0.0's ImagingResampleInner. Versions 12.2 and 12.3 have another one, for pictures a hundred
 * times as high as wide. */
gboolean
mllama_resample_is_vertical_first (const MllamaResampleAxis *x, const MllamaResampleAxis *y, MllamaPassOrder order)
{
  gint64 rows = (gint64) y->n_in - y->n_out, columns = (gint64) x->n_in - x->n_out;

  return order == MLLAMA_PASS_ORDER_PILLOW_13 && rows > 0 && rows > 2 * columns;
}

static gboolean
allocate (guint8 **bytes, gsize n_rows, gsize row_bytes, GError **error)
{
  gsize total;

  *bytes = NULL;
  if (g_size_checked_mul (&total, n_rows, row_bytes))
    *bytes = g_try_malloc0 (total);
  if (*bytes)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY,
               "no memory for %" G_GSIZE_FORMAT " rows of %" G_GSIZE_FORMAT
               " bytes while resizing; a smaller picture needs less",
               n_rows, row_bytes);
  return FALSE;
}

static gsize
get_pitch (guint width)
{
  gsize bytes = 3 * (gsize) width + MLLAMA_RESAMPLE_SLACK;

  return (bytes + MLLAMA_RESAMPLE_BLOCK - 1) / MLLAMA_RESAMPLE_BLOCK * MLLAMA_RESAMPLE_BLOCK;
}

static gboolean
allocate_rows (Resampler *resampler, GError **error)
{
  gsize source_bytes = get_pitch (resampler->x.n_in);
  gsize result_bytes = get_pitch (resampler->x.n_out);

  resampler->pitch = resampler->vertical_first ? source_bytes : result_bytes;
  return allocate (&resampler->ring, resampler->y.n_taps, resampler->pitch, error) &&
         allocate (&resampler->before_ring, 1, source_bytes, error) &&
         allocate (&resampler->after_ring, 1, resampler->pitch, error) &&
         allocate (&resampler->result, 1, result_bytes, error);
}

static void
clear_resampler (Resampler *resampler)
{
  mllama_resample_axis_clear (&resampler->x);
  mllama_resample_axis_clear (&resampler->y);
  g_free (resampler->ring);
  g_free (resampler->before_ring);
  g_free (resampler->after_ring);
  g_free (resampler->result);
}

static void
fetch_row (Resampler *resampler, guint y)
{
  guint8 *slot = resampler->ring + (y % resampler->y.n_taps) * resampler->pitch;

  if (resampler->vertical_first || is_unchanged (&resampler->x)) {
    mllama_row_reader_read (&resampler->reader, y, slot);
    return;
  }
  mllama_row_reader_read (&resampler->reader, y, resampler->before_ring);
  resampler->ops->across (slot, resampler->before_ring, &resampler->x);
}

static const guint8 *
make_row (Resampler *resampler, guint y)
{
  const MllamaResampleAxis *axis = &resampler->y;
  guint start = axis->starts[y], end = start + axis->counts[y];
  const guint8 *row = resampler->after_ring;

  for (guint i = MAX (resampler->n_fetched, start); i < end; i++)
    fetch_row (resampler, i);
  resampler->n_fetched = MAX (resampler->n_fetched, end);
  if (is_unchanged (axis))
    row = resampler->ring;
  else
    resampler->ops->down (resampler->after_ring, resampler->ring, resampler->pitch, axis->n_taps, start % axis->n_taps,
                          axis->weights + (gsize) y * axis->n_taps, axis->counts[y]);
  if (!resampler->vertical_first || is_unchanged (&resampler->x))
    return row;
  resampler->ops->across (resampler->result, row, &resampler->x);
  return resampler->result;
}

gboolean
mllama_resample_check (guint new_width, guint new_height, MllamaResample resample, MllamaPassOrder order,
                       GError **error)
{
  if ((guint) resample > MLLAMA_RESAMPLE_HAMMING) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
                 "resample is %d; 0 to %d, the numbers of PIL.Image.Resampling, are expected", resample,
                 MLLAMA_RESAMPLE_HAMMING);
    return FALSE;
  }
  if ((guint) order > MLLAMA_PASS_ORDER_PILLOW_13) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID, "pass order %d is not one that image-processor.h names",
                 order);
    return FALSE;
  }
  return mllama_image_check_size (new_width, new_height, error);
}

gboolean
mllama_resample_image (const MllamaImage *image, guint new_width, guint new_height, MllamaResample resample,
                       MllamaPassOrder order, MllamaRowSink sink, gpointer data, GError **error)
{
  Resampler resampler = {.ops = mllama_resample_ops_list ()[0]};
  gboolean ok;

  if (!mllama_resample_check (new_width, new_height, resample, order, error))
    return FALSE;
  mllama_row_reader_init (&resampler.reader, image);
  mllama_resample_axis_init (&resampler.x, resample, image->width, new_width);
  mllama_resample_axis_init (&resampler.y, resample, image->height, new_height);
  resampler.vertical_first = mllama_resample_is_vertical_first (&resampler.x, &resampler.y, order);
  ok = allocate_rows (&resampler, error);
  for (guint y = 0; ok && y < new_height; y++)
    sink (data, y, make_row (&resampler, y));
  clear_resampler (&resampler);
  return ok;
}

typedef struct {
  guint8 *rgb;
  gsize row_bytes;
} Packed;

static void
copy_row (gpointer data, guint y, const guint8 *rgb)
{
  const Packed *packed = data;

  memcpy (packed->rgb + y * packed->row_bytes, rgb, packed->row_bytes);
}

guint8 *
mllama_resize_rgb (const guint8 *rgb, guint width, guint height, guint new_width, guint new_height,
                   MllamaResample resample, MllamaPassOrder order, GError **error)
{
  MllamaImage image = {MLLAMA_FORMAT_RGB, width, height, {rgb}, {3 * (gsize) width}};
  Packed packed = {NULL, 3 * (gsize) new_width};

  g_return_val_if_fail (rgb != NULL, NULL);

  if (!mllama_image_validate (&image, error) ||
      !mllama_resample_check (new_width, new_height, resample, order, error) ||
      !allocate (&packed.rgb, new_height, packed.row_bytes, error))
    return NULL;
  if (!mllama_resample_image (&image, new_width, new_height, resample, order, copy_row, &packed, error))
    g_clear_pointer (&packed.rgb, g_free);
  return packed.rgb;
}
