/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "picture.h"

/* Colours that the caps leave open, as GStreamer assumes them for a whole frame. */
static void
fill_colorimetry (GstVideoInfo *info, gint frame_height)
{
  GstVideoColorimetry *color = &info->colorimetry;
  gboolean rgb = GST_VIDEO_INFO_IS_RGB (info);

  if (color->matrix == GST_VIDEO_COLOR_MATRIX_UNKNOWN && rgb)
    color->matrix = GST_VIDEO_COLOR_MATRIX_RGB;
  else if (color->matrix == GST_VIDEO_COLOR_MATRIX_UNKNOWN)
    color->matrix = frame_height >= 720 ? GST_VIDEO_COLOR_MATRIX_BT709 : GST_VIDEO_COLOR_MATRIX_BT601;
  if (color->range == GST_VIDEO_COLOR_RANGE_UNKNOWN)
    color->range = GST_VIDEO_INFO_IS_YUV (info) ? GST_VIDEO_COLOR_RANGE_16_235 : GST_VIDEO_COLOR_RANGE_0_255;
}

/* Reduces the view of an interlaced frame to the lines of its first field; TRUE if lines count twice then. */
static gboolean
select_field (GstVideoFrame *view)
{
  const gint height = GST_VIDEO_INFO_HEIGHT (&view->info);
  const gboolean alternate = GST_VIDEO_INFO_INTERLACE_MODE (&view->info) == GST_VIDEO_INTERLACE_MODE_ALTERNATE;
  const gboolean interleaved = !alternate && GST_VIDEO_FRAME_IS_INTERLACED (view) && height > 1 &&
                               !GST_VIDEO_FORMAT_INFO_IS_TILED (view->info.finfo);
  /* With other heights the lower field has one line of chroma less. */
  const gboolean bottom = interleaved && !(view->flags & GST_VIDEO_FRAME_FLAG_TFF) && height % 4 == 0;

  if (alternate)
    view->info.height = GST_VIDEO_INFO_FIELD_HEIGHT (&view->info);
  view->info.interlace_mode = GST_VIDEO_INTERLACE_MODE_PROGRESSIVE;
  if (!interleaved)
    return alternate;
  view->info.height = height / 2;
  for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES (view); i++) {
    if (bottom)
      view->data[i] = (guint8 *) view->data[i] + GST_VIDEO_FRAME_PLANE_STRIDE (view, i);
    view->info.stride[i] *= 2;
  }
  return TRUE;
}

static GstVideoRectangle
read_crop (const GstVideoFrame *frame, gboolean half_height)
{
  const gint width = GST_VIDEO_FRAME_WIDTH (frame), height = GST_VIDEO_FRAME_HEIGHT (frame);
  const GstVideoCropMeta *meta = gst_buffer_get_video_crop_meta (frame->buffer);
  const gint lines = half_height ? 2 : 1;

  if (!meta || meta->width == 0 || meta->height == 0)
    return (GstVideoRectangle){0, 0, width, height / lines};
  gint x = (gint) MIN (meta->x, (guint) width - 1), y = (gint) MIN (meta->y, (guint) height - 1);
  gint w = (gint) MIN (meta->width, (guint) (width - x)), h = (gint) MIN (meta->height, (guint) (height - y));
  return (GstVideoRectangle){x, y / lines, w, MAX (1, h / lines)};
}

static gboolean
copy_planes (GstMllamaCaptionPicture *picture, const GstVideoFrame *view)
{
  GstVideoFrame copy;

  picture->pixels = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&picture->info), NULL);
  if (!picture->pixels || !gst_video_frame_map (&copy, &picture->info, picture->pixels, GST_MAP_WRITE))
    return FALSE;
  gst_video_frame_copy (&copy, view);
  gst_video_frame_unmap (&copy);
  return TRUE;
}

gboolean
gst_mllama_caption_picture_is_on_device (GstBuffer *buffer)
{
  return gst_buffer_n_memory (buffer) == 1 &&
         gst_memory_is_type (gst_buffer_peek_memory (buffer, 0), GST_MLLAMA_CAPTION_CUDA_MEMORY);
}

/* The whole memory is copied, and the planes stay where they are in it. */
static gboolean
copy_on_device (GstMllamaCaptionPicture *picture, GstBuffer *buffer, const GstVideoFrame *view)
{
  GstMemory *memory = gst_buffer_peek_memory (buffer, 0), *copy;
  gsize offsets[GST_VIDEO_MAX_PLANES] = {0};
  GstMapInfo map;

  if (!gst_memory_map (memory, &map, (GstMapFlags) (GST_MAP_READ | GST_MLLAMA_CAPTION_MAP_CUDA)))
    return FALSE;
  for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES (view); i++)
    offsets[i] = (gsize) ((const guint8 *) GST_VIDEO_FRAME_PLANE_DATA (view, i) - map.data);
  gst_memory_unmap (memory, &map);
  copy = gst_memory_copy (memory, 0, -1);
  if (!copy)
    return FALSE;
  picture->pixels = gst_buffer_new ();
  gst_buffer_append_memory (picture->pixels, copy);
  gst_buffer_add_video_meta_full (picture->pixels, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_INFO_FORMAT (&picture->info),
                                  (guint) GST_VIDEO_INFO_WIDTH (&picture->info),
                                  (guint) GST_VIDEO_INFO_HEIGHT (&picture->info), GST_VIDEO_FRAME_N_PLANES (view),
                                  offsets, (gint *) view->info.stride);
  picture->on_device = TRUE;
  return TRUE;
}

GstMllamaCaptionPicture *
gst_mllama_caption_picture_new (const GstVideoFrame *frame, GstVideoOrientationMethod orientation)
{
  GstMllamaCaptionPicture *picture = g_new0 (GstMllamaCaptionPicture, 1);
  const gboolean on_device = (frame->map[0].flags & GST_MLLAMA_CAPTION_MAP_CUDA) != 0;
  GstVideoFrame view = *frame;

  picture->half_height = select_field (&view);
  picture->crop = read_crop (frame, picture->half_height);
  picture->orientation = orientation;
  gst_video_info_set_format (&picture->info, GST_VIDEO_FRAME_FORMAT (frame), GST_VIDEO_FRAME_WIDTH (&view),
                             GST_VIDEO_FRAME_HEIGHT (&view));
  GST_VIDEO_INFO_COLORIMETRY (&picture->info) = GST_VIDEO_INFO_COLORIMETRY (&frame->info);
  GST_VIDEO_INFO_CHROMA_SITE (&picture->info) = GST_VIDEO_INFO_CHROMA_SITE (&frame->info);
  GST_VIDEO_INFO_PAR_N (&picture->info) = GST_VIDEO_INFO_PAR_N (&frame->info);
  GST_VIDEO_INFO_PAR_D (&picture->info) = GST_VIDEO_INFO_PAR_D (&frame->info);
  fill_colorimetry (&picture->info, GST_VIDEO_FRAME_HEIGHT (frame));
  if (on_device ? copy_on_device (picture, frame->buffer, &view) : copy_planes (picture, &view))
    return picture;
  gst_mllama_caption_picture_free (picture);
  return NULL;
}

void
gst_mllama_caption_picture_free (GstMllamaCaptionPicture *picture)
{
  if (!picture)
    return;
  gst_clear_buffer (&picture->pixels);
  g_free (picture);
}
