/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a picture to patches: planes -> colours -> the first pass -> rows -> the second pass -> tiles. Colours are made
 * as a pass reads them; a side that keeps its length has no pass. Large pictures go through in bands of rows. */
#include "imager.h"

/* Bytes that the planes and rows of a band may take, if one row of the result needs no more. */
#define BAND_BYTES ((gsize) 64 << 20)

typedef struct {
  MllamaCudaBackend *be;
  const MllamaImage *image;
  MllamaCudaCanvas canvas;
  guint canvas_width, canvas_height;
  MllamaCudaSource source; /* the band's planes, once they are there */
  gboolean vertical_first;
} Picture;

/* Rows of the result, and the rows of the picture that they are made from. */
typedef struct {
  guint first, end;
  guint source_first, source_end;
} Band;

/* --- frames --- */

/* Columns past the width become zero; the rest is to be written. */
static MllamaFrame *
allocate_frame (MllamaCudaBackend *be, guint n_tiles, GError **error)
{
  const MllamaVisionConfig *config = &be->base.config->vision;
  guint n_across = config->image_size / config->patch_size;
  gsize n_rows = (gsize) n_across * n_across, width = 3 * (gsize) config->patch_size * config->patch_size;
  gsize ld = mllama_cuda_round_up (width), row_bytes = ld * be->element_bytes, n_bytes = G_MAXSIZE;
  MllamaFrame *frame = g_new0 (MllamaFrame, 1);

  *frame = (MllamaFrame){n_tiles, n_across * n_across, width, ld, NULL};
  if (g_size_checked_mul (&n_rows, n_rows, n_tiles) && g_size_checked_mul (&n_bytes, n_rows, row_bytes))
    frame->patches = mllama_cuda_alloc (be, n_bytes, "a picture", error);
  else
    mllama_cuda_set_error (error, cudaErrorMemoryAllocation, "a picture", G_MAXSIZE);
  if (!frame->patches) {
    g_free (frame);
    return NULL;
  }
  if (ld > width)
    mllama_cuda_check (be,
                       cudaMemset2DAsync ((guint8 *) frame->patches + width * be->element_bytes, row_bytes, 0,
                                          (ld - width) * be->element_bytes, n_rows, be->stream),
                       "clearing a picture");
  return frame;
}

void
mllama_cuda_frame_free (MllamaBackend *be, MllamaFrame *frame)
{
  if (!frame)
    return;
  mllama_cuda_free (mllama_cuda_backend (be), frame->patches);
  g_free (frame);
}

/* --- passes over a band --- */

static gboolean
is_unchanged (const MllamaCudaFilter *filter)
{
  return filter->host.n_in == filter->host.n_out;
}

static gboolean
has_one_pass (const Picture *p)
{
  return is_unchanged (&p->be->imager->x) || is_unchanged (&p->be->imager->y);
}

/* What the first of two passes makes. */
static MllamaCudaImagePass
describe_first_pass (const Picture *p, const Band *band)
{
  const MllamaCudaImager *imager = p->be->imager;

  if (p->vertical_first)
    return (MllamaCudaImagePass){
        p->source,      mllama_cuda_filter_get_axis (&imager->y), FALSE, band->first, band->end - band->first,
        p->image->width};
  return (MllamaCudaImagePass){p->source,          mllama_cuda_filter_get_axis (&imager->x), TRUE,
                               band->source_first, band->source_end - band->source_first,    p->canvas.resized_width};
}

static gsize
get_rows_bytes (const MllamaCudaImagePass *pass)
{
  return (gsize) pass->n_rows * pass->width * 4;
}

static gsize
get_band_bytes (const Picture *p, const Band *band)
{
  MllamaCudaImagePass pass = describe_first_pass (p, band);

  return mllama_cuda_get_planes_bytes (p->image, band->source_first, band->source_end) +
         (has_one_pass (p) ? 0 : get_rows_bytes (&pass));
}

/* The rows below the last band's are black. */
static void
run_last_pass (const Picture *p, const Band *band, const MllamaCudaSource *source, gboolean is_across)
{
  const MllamaCudaImager *imager = p->be->imager;
  guint end = band->end == p->canvas.resized_height ? p->canvas_height : band->end;
  MllamaCudaImagePass pass = {*source,           mllama_cuda_filter_get_axis (is_across ? &imager->x : &imager->y),
                              is_across,         band->first,
                              end - band->first, p->canvas_width};

  mllama_cuda_resample_to_canvas (p->be, &pass, &p->canvas);
}

static gboolean
run_two_passes (const Picture *p, const Band *band, GError **error)
{
  MllamaCudaImagePass first = describe_first_pass (p, band);
  guint8 *rows = mllama_cuda_alloc (p->be, get_rows_bytes (&first), "the rows of a picture", error);
  MllamaCudaSource source = {.pixels = MLLAMA_CUDA_PIXELS_ROWS, .step = 4};

  if (!rows)
    return FALSE;
  source.planes[0] = rows;
  source.pitches[0] = 4 * (gsize) first.width;
  source.first_rows[0] = first.first_row;
  mllama_cuda_resample_to_rows (p->be, &first, rows);
  run_last_pass (p, band, &source, p->vertical_first);
  mllama_cuda_free (p->be, rows);
  return TRUE;
}

static gboolean
run_band (Picture *p, const Band *band, GError **error)
{
  gboolean ok = TRUE;

  if (!mllama_cuda_send_planes (p->be, &p->source, p->image, band->source_first, band->source_end, error))
    return FALSE;
  if (has_one_pass (p))
    run_last_pass (p, band, &p->source, is_unchanged (&p->be->imager->y));
  else
    ok = run_two_passes (p, band, error);
  mllama_cuda_imager_consumed (p->be);
  return ok;
}

static Band
find_band (const Picture *p, guint first, guint end)
{
  const MllamaResampleAxis *y = &p->be->imager->y.host;

  return (Band){first, end, y->starts[first], y->starts[end - 1] + y->counts[end - 1]};
}

static gboolean
run_bands (Picture *p, GError **error)
{
  guint n_rows = p->canvas.resized_height;

  for (guint first = 0; first < n_rows;) {
    Band band = find_band (p, first, first + 1);

    for (guint end = first + 2; end <= n_rows; end++) {
      Band larger = find_band (p, first, end);

      if (get_band_bytes (p, &larger) > BAND_BYTES)
        break;
      band = larger;
    }
    if (!run_band (p, &band, error))
      return FALSE;
    first = band.end;
  }
  return TRUE;
}

/* --- pictures --- */

static gboolean
check (MllamaBackend *be, const MllamaImage *image, const MllamaImageOptions *options, const MllamaTilePlan *plan,
       GError **error)
{
  return mllama_image_validate (image, error) &&
         mllama_image_options_check (options, MLLAMA_ERROR_INVALID, "image options", error) &&
         mllama_image_options_check_channels (options, image, error) &&
         mllama_frame_check_size (be->config, options->size, error) &&
         mllama_resample_check (plan->resized_width, plan->resized_height, options->resample, options->pass_order,
                                error) &&
         (image->memory == MLLAMA_MEMORY_HOST || mllama_cuda_import_check (mllama_cuda_backend (be), image, error));
}

static gboolean
use_tables (Picture *p, const MllamaImageOptions *options, const MllamaTilePlan *plan, GError **error)
{
  MllamaCudaImager *imager = p->be->imager;

  if (!mllama_cuda_imager_begin (p->be, 0, error) ||
      !mllama_cuda_imager_use_filter (p->be, &imager->x, options->resample, p->image->width, plan->resized_width,
                                      error) ||
      !mllama_cuda_imager_use_filter (p->be, &imager->y, options->resample, p->image->height, plan->resized_height,
                                      error))
    return FALSE;
  mllama_cuda_imager_use_table (p->be, options);
  mllama_cuda_imager_end (p->be);
  p->vertical_first = mllama_resample_is_vertical_first (&imager->x.host, &imager->y.host, options->pass_order);
  return TRUE;
}

static void
describe_canvas (Picture *p, const MllamaFrame *frame, const MllamaTilePlan *plan)
{
  const MllamaVisionConfig *config = &p->be->base.config->vision;

  p->canvas = (MllamaCudaCanvas){.patches = frame->patches,
                                 .ld = frame->ld,
                                 .table = p->be->imager->device_table,
                                 .size = config->image_size,
                                 .patch_size = config->patch_size,
                                 .n_across = config->image_size / config->patch_size,
                                 .n_columns = plan->n_columns,
                                 .resized_width = plan->resized_width,
                                 .resized_height = plan->resized_height};
  p->canvas_width = plan->n_columns * config->image_size;
  p->canvas_height = plan->n_rows * config->image_size;
}

MllamaFrame *
mllama_cuda_frame_new (MllamaBackend *base, const MllamaImage *image, const MllamaImageOptions *options,
                       const MllamaTilePlan *plan, GError **error)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);
  Picture picture = {.be = be, .image = image};
  MllamaFrame *frame;
  gboolean ok;

  if (!check (base, image, options, plan, error) ||
      !(frame = allocate_frame (be, plan->n_rows * plan->n_columns, error)))
    return NULL;
  describe_canvas (&picture, frame, plan);
  ok = use_tables (&picture, options, plan, error) && run_bands (&picture, error);
  /* The planes are the caller's again. */
  if (image->memory == MLLAMA_MEMORY_CUDA)
    mllama_cuda_check (be, cudaStreamSynchronize (be->imager->stream), "copying a picture");
  if (ok && mllama_cuda_is_well (be, error))
    return frame;
  mllama_cuda_frame_free (base, frame);
  return NULL;
}

/* --- pixels that an image processor made --- */

MllamaFrame *
mllama_cuda_frame_new_from_pixels (MllamaBackend *base, const MllamaPixels *pixels, GError **error)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);
  gsize size = pixels->size, row_bytes = size * sizeof (float), tile_bytes = 3 * size * row_bytes;
  MllamaFrame *frame;

  if (!mllama_frame_check_size (base->config, pixels->size, error) ||
      !(frame = allocate_frame (be, pixels->n_tiles, error)))
    return NULL;
  for (guint tile = 0; tile < pixels->n_tiles; tile++) {
    guint8 *patches = (guint8 *) frame->patches + (gsize) tile * frame->n_patches * frame->ld * be->element_bytes;

    if (!mllama_cuda_imager_begin (be, tile_bytes, error)) {
      mllama_cuda_frame_free (base, frame);
      return NULL;
    }
    mllama_cuda_imager_send (be, be->imager->planes, pixels->values + tile * 3 * size * size, tile_bytes);
    mllama_cuda_imager_end (be);
    mllama_cuda_cut_patches (be, patches, frame->ld, (const float *) be->imager->planes, pixels->size,
                             base->config->vision.patch_size);
    mllama_cuda_imager_consumed (be);
  }
  if (mllama_cuda_is_well (be, error))
    return frame;
  mllama_cuda_frame_free (base, frame);
  return NULL;
}
