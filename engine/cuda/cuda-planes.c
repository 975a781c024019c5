/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The planes of a picture, and how a kernel finds a pixel in them. */
#include "imager.h"

#define PITCH_ALIGNMENT 32 /* bytes; more than any read of a pixel */

/* Rows first to end - 1 of a plane, of those that a run of rows of the picture needs. */
typedef struct {
  guint first, end;
  gsize row_bytes, pitch;
} Run;

/* In formats of several planes all but the first have half the rows. */
static Run
find_run (const MllamaImage *image, guint plane, guint first, guint end)
{
  gsize row_bytes = mllama_format_get_row_bytes (image->format, plane, image->width);
  gsize pitch = (row_bytes + PITCH_ALIGNMENT - 1) / PITCH_ALIGNMENT * PITCH_ALIGNMENT;

  if (plane == 0)
    return (Run){first, end, row_bytes, pitch};
  return (Run){first / 2, end / 2 + end % 2, row_bytes, pitch};
}

static gsize
get_run_bytes (const Run *run)
{
  return run->pitch * (run->end - run->first);
}

gsize
mllama_cuda_get_planes_bytes (const MllamaImage *image, guint first, guint end)
{
  gsize n_bytes = 0;

  for (guint i = 0; i < mllama_format_get_n_planes (image->format); i++) {
    Run run = find_run (image, i, first, end);

    n_bytes += get_run_bytes (&run);
  }
  return n_bytes;
}

/* --- pixels --- */

static MllamaCudaSource
describe_pixels (const MllamaImage *image)
{
  MllamaCudaSource source = {.pixels = MLLAMA_CUDA_PIXELS_YUV, .step = 1};
  MllamaRowReader reader;

  mllama_row_reader_init (&reader, image);
  source.yuv = reader.yuv;
  switch (image->format) {
  case MLLAMA_FORMAT_RGB:
  case MLLAMA_FORMAT_BGR:
    source.pixels = MLLAMA_CUDA_PIXELS_PACKED;
    source.step = 3;
    source.red = image->format == MLLAMA_FORMAT_RGB ? 0 : 2;
    source.green = 1;
    source.blue = 2 - source.red;
    break;
  case MLLAMA_FORMAT_GRAY8:
    source.pixels = MLLAMA_CUDA_PIXELS_GRAY;
    break;
  case MLLAMA_FORMAT_I420:
  case MLLAMA_FORMAT_NV12:
    source.chroma_step = image->format == MLLAMA_FORMAT_NV12 ? 2 : 1;
    source.chroma_shift = 1;
    break;
  case MLLAMA_FORMAT_YUY2:
    source.step = 2;
    source.chroma_step = 4;
    break;
  default:
    source.pixels = mllama_format_has_alpha (image->format) ? MLLAMA_CUDA_PIXELS_ALPHA : MLLAMA_CUDA_PIXELS_PACKED;
    source.step = 4;
    source.red = reader.r;
    source.green = reader.g;
    source.blue = reader.b;
    source.alpha = reader.a;
  }
  return source;
}

/* Samples of one plane that are read as if they had planes of their own. */
static void
share_plane (MllamaCudaSource *source, guint plane, guint shared, guint offset)
{
  source->planes[plane] = source->planes[shared] + offset;
  source->pitches[plane] = source->pitches[shared];
  source->first_rows[plane] = source->first_rows[shared];
}

static void
share_planes (MllamaCudaSource *source, MllamaFormat format)
{
  if (format == MLLAMA_FORMAT_NV12)
    share_plane (source, 2, 1, 1);
  if (format == MLLAMA_FORMAT_YUY2) {
    share_plane (source, 1, 0, 1);
    share_plane (source, 2, 0, 3);
  }
}

/* --- on their way --- */

static gboolean
send_run (MllamaCudaBackend *be, guint8 *dest, const MllamaImage *image, guint plane, const Run *run, GError **error)
{
  const guint8 *src = image->planes[plane] + run->first * image->strides[plane];
  gsize n_rows = run->end - run->first;

  if (image->memory == MLLAMA_MEMORY_CUDA)
    return mllama_cuda_import_rows (be, dest, run->pitch, src, image->strides[plane], run->row_bytes, n_rows, error);
  mllama_cuda_imager_send_rows (be, dest, run->pitch, src, image->strides[plane], run->row_bytes, n_rows);
  return TRUE;
}

gboolean
mllama_cuda_send_planes (MllamaCudaBackend *be, MllamaCudaSource *source, const MllamaImage *image, guint first,
                         guint end, GError **error)
{
  guint8 *dest;

  if (!mllama_cuda_imager_begin (be, mllama_cuda_get_planes_bytes (image, first, end), error))
    return FALSE;
  *source = describe_pixels (image);
  dest = be->imager->planes;
  for (guint i = 0; i < mllama_format_get_n_planes (image->format); i++) {
    Run run = find_run (image, i, first, end);

    if (!send_run (be, dest, image, i, &run, error))
      return FALSE;
    source->planes[i] = dest;
    source->pitches[i] = run.pitch;
    source->first_rows[i] = run.first;
    dest += get_run_bytes (&run);
  }
  share_planes (source, image->format);
  mllama_cuda_imager_end (be);
  return TRUE;
}
