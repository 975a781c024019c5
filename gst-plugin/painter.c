/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "painter.h"

struct _GstMllamaCaptionPainter {
  GstVideoConverter *converter; /* NULL: not needed so far */
  GstVideoInfo from, to;        /* what it converts */
  GstVideoRectangle crop;
  GstBuffer *painted; /* laid out as to says */
  guint8 *turned;     /* the same, upright */
  GstVideoFrame mapped;
  gboolean is_mapped; /* mapped holds what the last view points into */
};

static gboolean
find_format (GstVideoFormat format, MllamaFormat *found)
{
  static const struct {
    GstVideoFormat gst;
    MllamaFormat mllama;
  } formats[] = {
      {GST_VIDEO_FORMAT_RGB, MLLAMA_FORMAT_RGB},   {GST_VIDEO_FORMAT_BGR, MLLAMA_FORMAT_BGR},
      {GST_VIDEO_FORMAT_RGBA, MLLAMA_FORMAT_RGBA}, {GST_VIDEO_FORMAT_BGRA, MLLAMA_FORMAT_BGRA},
      {GST_VIDEO_FORMAT_ARGB, MLLAMA_FORMAT_ARGB}, {GST_VIDEO_FORMAT_ABGR, MLLAMA_FORMAT_ABGR},
      {GST_VIDEO_FORMAT_RGBx, MLLAMA_FORMAT_RGBX}, {GST_VIDEO_FORMAT_BGRx, MLLAMA_FORMAT_BGRX},
      {GST_VIDEO_FORMAT_xRGB, MLLAMA_FORMAT_XRGB}, {GST_VIDEO_FORMAT_xBGR, MLLAMA_FORMAT_XBGR},
      {GST_VIDEO_FORMAT_I420, MLLAMA_FORMAT_I420}, {GST_VIDEO_FORMAT_NV12, MLLAMA_FORMAT_NV12},
      {GST_VIDEO_FORMAT_YUY2, MLLAMA_FORMAT_YUY2}, {GST_VIDEO_FORMAT_GRAY8, MLLAMA_FORMAT_GRAY8},
  };

  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    if (formats[i].gst != format)
      continue;
    *found = formats[i].mllama;
    return TRUE;
  }
  return FALSE;
}

static gboolean
find_matrix (const GstVideoInfo *info, MllamaMatrix *matrix)
{
  switch (GST_VIDEO_INFO_COLORIMETRY (info).matrix) {
  case GST_VIDEO_COLOR_MATRIX_BT601:
    *matrix = MLLAMA_MATRIX_BT601;
    return TRUE;
  case GST_VIDEO_COLOR_MATRIX_BT709:
    *matrix = MLLAMA_MATRIX_BT709;
    return TRUE;
  case GST_VIDEO_COLOR_MATRIX_BT2020:
    *matrix = MLLAMA_MATRIX_BT2020;
    return TRUE;
  default:
    *matrix = MLLAMA_MATRIX_AUTO;
    return GST_VIDEO_INFO_IS_RGB (info) || GST_VIDEO_INFO_IS_GRAY (info);
  }
}

/* Size of the upright-to-be picture with square pixels. */
static void
find_square_size (const GstMllamaCaptionPicture *picture, gint *width, gint *height)
{
  gint n = MAX (1, GST_VIDEO_INFO_PAR_N (&picture->info)), d = MAX (1, GST_VIDEO_INFO_PAR_D (&picture->info));
  guint64 w = (guint64) picture->crop.w, h = (guint64) picture->crop.h * (picture->half_height ? 2 : 1);

  if (n > d)
    w = gst_util_uint64_scale_int_round (w, n, d);
  else
    h = gst_util_uint64_scale_int_round (h, d, n);
  *width = (gint) CLAMP (w, 1, MLLAMA_MAX_IMAGE_SIDE);
  *height = (gint) CLAMP (h, 1, MLLAMA_MAX_IMAGE_SIDE);
}

static gboolean
needs_painting (const GstMllamaCaptionPicture *picture, gint width, gint height, MllamaImage *image)
{
  const GstVideoInfo *info = &picture->info;

  return !find_format (GST_VIDEO_INFO_FORMAT (info), &image->format) || !find_matrix (info, &image->matrix) ||
         (GST_VIDEO_INFO_IS_RGB (info) && GST_VIDEO_INFO_COLORIMETRY (info).range != GST_VIDEO_COLOR_RANGE_0_255) ||
         picture->orientation != GST_VIDEO_ORIENTATION_IDENTITY || width != GST_VIDEO_INFO_WIDTH (info) ||
         height != GST_VIDEO_INFO_HEIGHT (info) || picture->crop.w != width || picture->crop.h != height;
}

GstMllamaCaptionPainter *
gst_mllama_caption_painter_new (void)
{
  return g_new0 (GstMllamaCaptionPainter, 1);
}

static void
end_view (GstMllamaCaptionPainter *painter)
{
  if (painter->is_mapped)
    gst_video_frame_unmap (&painter->mapped);
  painter->is_mapped = FALSE;
  g_clear_pointer (&painter->turned, g_free);
}

void
gst_mllama_caption_painter_free (GstMllamaCaptionPainter *painter)
{
  if (!painter)
    return;
  end_view (painter);
  g_clear_pointer (&painter->converter, gst_video_converter_free);
  gst_clear_buffer (&painter->painted);
  g_free (painter);
}

static gboolean
prepare_converter (GstMllamaCaptionPainter *painter, const GstMllamaCaptionPicture *picture, const GstVideoInfo *to)
{
  const GstVideoRectangle *crop = &picture->crop;

  if (painter->converter && gst_video_info_is_equal (&painter->from, &picture->info) &&
      gst_video_info_is_equal (&painter->to, to) && memcmp (&painter->crop, crop, sizeof *crop) == 0)
    return TRUE;
  g_clear_pointer (&painter->converter, gst_video_converter_free);
  gst_clear_buffer (&painter->painted);
  painter->from = picture->info;
  painter->to = *to;
  painter->crop = *crop;
  /* Pixels are squared here already. */
  GST_VIDEO_INFO_PAR_N (&painter->from) = GST_VIDEO_INFO_PAR_D (&painter->from) = 1;
  painter->converter = gst_video_converter_new (
      &painter->from, to,
      gst_structure_new ("painter", GST_VIDEO_CONVERTER_OPT_SRC_X, G_TYPE_INT, crop->x, GST_VIDEO_CONVERTER_OPT_SRC_Y,
                         G_TYPE_INT, crop->y, GST_VIDEO_CONVERTER_OPT_SRC_WIDTH, G_TYPE_INT, crop->w,
                         GST_VIDEO_CONVERTER_OPT_SRC_HEIGHT, G_TYPE_INT, crop->h, GST_VIDEO_CONVERTER_OPT_DITHER_METHOD,
                         GST_TYPE_VIDEO_DITHER_METHOD, GST_VIDEO_DITHER_NONE, NULL));
  painter->from = picture->info;
  painter->painted = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (to), NULL);
  return painter->converter && painter->painted;
}

/* Copies the painted pixels upright. */
static void
turn (GstMllamaCaptionPainter *painter, GstVideoOrientationMethod way, MllamaImage *image)
{
  const gboolean swap = way == GST_VIDEO_ORIENTATION_90R || way == GST_VIDEO_ORIENTATION_90L ||
                        way == GST_VIDEO_ORIENTATION_UL_LR || way == GST_VIDEO_ORIENTATION_UR_LL;
  const gboolean flip_x = way == GST_VIDEO_ORIENTATION_HORIZ || way == GST_VIDEO_ORIENTATION_180 ||
                          way == GST_VIDEO_ORIENTATION_90L || way == GST_VIDEO_ORIENTATION_UR_LL;
  const gboolean flip_y = way == GST_VIDEO_ORIENTATION_VERT || way == GST_VIDEO_ORIENTATION_180 ||
                          way == GST_VIDEO_ORIENTATION_90R || way == GST_VIDEO_ORIENTATION_UR_LL;
  const gsize width = image->width, height = image->height;
  const gsize bytes = (gsize) GST_VIDEO_INFO_COMP_PSTRIDE (&painter->to, 0);
  const gsize new_width = swap ? height : width, new_height = swap ? width : height;

  painter->turned = g_malloc (new_width * new_height * bytes);
  for (gsize y = 0; y < new_height; y++) {
    for (gsize x = 0; x < new_width; x++) {
      gsize from_x = swap ? y : x, from_y = swap ? x : y;
      from_x = flip_x ? width - 1 - from_x : from_x;
      from_y = flip_y ? height - 1 - from_y : from_y;
      memcpy (painter->turned + (y * new_width + x) * bytes,
              image->planes[0] + from_y * image->strides[0] + from_x * bytes, bytes);
    }
  }
  image->planes[0] = painter->turned;
  image->strides[0] = new_width * bytes;
  image->width = (guint) new_width;
  image->height = (guint) new_height;
}

static void
fill_image (const GstVideoFrame *frame, MllamaImage *image)
{
  const GstVideoColorRange range = GST_VIDEO_INFO_COLORIMETRY (&frame->info).range;

  find_format (GST_VIDEO_FRAME_FORMAT (frame), &image->format);
  find_matrix (&frame->info, &image->matrix);
  image->range = range == GST_VIDEO_COLOR_RANGE_0_255 ? MLLAMA_RANGE_FULL : MLLAMA_RANGE_LIMITED;
  image->width = (guint) GST_VIDEO_FRAME_WIDTH (frame);
  image->height = (guint) GST_VIDEO_FRAME_HEIGHT (frame);
  for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES (frame); i++) {
    image->planes[i] = GST_VIDEO_FRAME_PLANE_DATA (frame, i);
    image->strides[i] = (gsize) GST_VIDEO_FRAME_PLANE_STRIDE (frame, i);
  }
}

static gboolean
convert (GstMllamaCaptionPainter *painter, const GstMllamaCaptionPicture *picture, gint width, gint height)
{
  GstVideoInfo to;
  GstVideoFrame from;

  gst_video_info_set_format (&to,
                             GST_VIDEO_INFO_HAS_ALPHA (&picture->info) ? GST_VIDEO_FORMAT_RGBA : GST_VIDEO_FORMAT_RGB,
                             (guint) width, (guint) height);
  if (!prepare_converter (painter, picture, &to) ||
      !gst_video_frame_map (&from, &picture->info, picture->pixels, GST_MAP_READ))
    return FALSE;
  painter->is_mapped = gst_video_frame_map (&painter->mapped, &to, painter->painted, GST_MAP_READWRITE);
  if (painter->is_mapped)
    gst_video_converter_frame (painter->converter, &from, &painter->mapped);
  gst_video_frame_unmap (&from);
  return painter->is_mapped;
}

/* The picture as it is. */
static gboolean
map_pixels (GstMllamaCaptionPainter *painter, const GstMllamaCaptionPicture *picture, gboolean takes_cuda,
            MllamaImage *image)
{
  const gboolean stays = picture->on_device && takes_cuda;
  const GstMapFlags flags = stays ? GST_MAP_READ | GST_MLLAMA_CAPTION_MAP_CUDA : GST_MAP_READ;

  image->memory = stays ? MLLAMA_MEMORY_CUDA : MLLAMA_MEMORY_HOST;
  painter->is_mapped = gst_video_frame_map (&painter->mapped, &picture->info, picture->pixels, flags);
  return painter->is_mapped;
}

gboolean
gst_mllama_caption_painter_paint (GstMllamaCaptionPainter *painter, const GstMllamaCaptionPicture *picture,
                                  gboolean takes_cuda, MllamaImage *image, GError **error)
{
  gint width, height;
  gboolean painted;

  end_view (painter);
  memset (image, 0, sizeof *image);
  find_square_size (picture, &width, &height);
  if (needs_painting (picture, width, height, image))
    painted = convert (painter, picture, width, height);
  else
    painted = map_pixels (painter, picture, takes_cuda, image);
  if (!painted) {
    g_set_error (
        error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
        "GStreamer cannot convert %dx%d frames of format %s to %dx%d RGB; put a videoconvert before the element",
        GST_VIDEO_INFO_WIDTH (&picture->info), GST_VIDEO_INFO_HEIGHT (&picture->info),
        GST_VIDEO_INFO_NAME (&picture->info), width, height);
    return FALSE;
  }
  fill_image (&painter->mapped, image);
  if (picture->orientation != GST_VIDEO_ORIENTATION_IDENTITY)
    turn (painter, picture->orientation, image);
  return TRUE;
}
