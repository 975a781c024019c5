/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gst/app/gstappsink.h>
#include "mllama-caption-picture.h"
#include "mllama-caption.h"

/* Formats of the engine go through as they were decoded, others are converted. A decoder's bytes are only touched to
 * turn a picture upright, or where its pixels are not square. */
#define DECODER                                                                                                        \
  "uridecodebin name=source caps=video/x-raw expose-all-streams=false ! videoconvert ! videoscale ! video/x-raw, "     \
  "pixel-aspect-ratio=1/1, format={ RGB, BGR, RGBA, BGRA, ARGB, ABGR, RGBx, BGRx, xRGB, xBGR, GRAY8, I420, NV12 } ! "  \
  "videoflip video-direction=auto ! appsink name=sink sync=false"

static const struct {
  GstVideoFormat video;
  MllamaFormat format;
} formats[] = {
    {GST_VIDEO_FORMAT_RGB, MLLAMA_FORMAT_RGB},     {GST_VIDEO_FORMAT_BGR, MLLAMA_FORMAT_BGR},
    {GST_VIDEO_FORMAT_RGBA, MLLAMA_FORMAT_RGBA},   {GST_VIDEO_FORMAT_BGRA, MLLAMA_FORMAT_BGRA},
    {GST_VIDEO_FORMAT_ARGB, MLLAMA_FORMAT_ARGB},   {GST_VIDEO_FORMAT_ABGR, MLLAMA_FORMAT_ABGR},
    {GST_VIDEO_FORMAT_RGBx, MLLAMA_FORMAT_RGBX},   {GST_VIDEO_FORMAT_BGRx, MLLAMA_FORMAT_BGRX},
    {GST_VIDEO_FORMAT_xRGB, MLLAMA_FORMAT_XRGB},   {GST_VIDEO_FORMAT_xBGR, MLLAMA_FORMAT_XBGR},
    {GST_VIDEO_FORMAT_GRAY8, MLLAMA_FORMAT_GRAY8}, {GST_VIDEO_FORMAT_I420, MLLAMA_FORMAT_I420},
    {GST_VIDEO_FORMAT_NV12, MLLAMA_FORMAT_NV12},
};

static MllamaMatrix
convert_matrix (GstVideoColorMatrix matrix)
{
  switch (matrix) {
  case GST_VIDEO_COLOR_MATRIX_BT601:
    return MLLAMA_MATRIX_BT601;
  case GST_VIDEO_COLOR_MATRIX_BT709:
    return MLLAMA_MATRIX_BT709;
  case GST_VIDEO_COLOR_MATRIX_BT2020:
    return MLLAMA_MATRIX_BT2020;
  default:
    return MLLAMA_MATRIX_AUTO;
  }
}

static MllamaRange
convert_range (GstVideoColorRange range)
{
  return range == GST_VIDEO_COLOR_RANGE_0_255    ? MLLAMA_RANGE_FULL
         : range == GST_VIDEO_COLOR_RANGE_16_235 ? MLLAMA_RANGE_LIMITED
                                                 : MLLAMA_RANGE_AUTO;
}

static void
view_frame (MllamaImage *image, const GstVideoFrame *frame)
{
  const GstVideoInfo *info = &frame->info;

  for (guint i = 0; i < G_N_ELEMENTS (formats); i++)
    if (formats[i].video == GST_VIDEO_INFO_FORMAT (info))
      image->format = formats[i].format;
  image->width = GST_VIDEO_INFO_WIDTH (info);
  image->height = GST_VIDEO_INFO_HEIGHT (info);
  for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES (frame); i++) {
    image->planes[i] = GST_VIDEO_FRAME_PLANE_DATA (frame, i);
    image->strides[i] = GST_VIDEO_FRAME_PLANE_STRIDE (frame, i);
  }
  image->matrix = convert_matrix (info->colorimetry.matrix);
  image->range = convert_range (info->colorimetry.range);
}

/* Waits until the first picture has arrived at the sink (the pipeline is PAUSED then), or cannot arrive. */
static gboolean
wait_for_picture (GstElement *pipeline, GError **error)
{
  const GstMessageType types = GST_MESSAGE_ASYNC_DONE | GST_MESSAGE_ERROR | GST_MESSAGE_EOS | GST_MESSAGE_ELEMENT;
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  g_autofree char *missing = NULL;

  for (;;) {
    g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (bus, GST_CLOCK_TIME_NONE, types);
    const GstStructure *structure = gst_message_get_structure (message);

    if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ASYNC_DONE)
      return TRUE;
    if (GST_MESSAGE_TYPE (message) != GST_MESSAGE_ELEMENT) {
      g_propagate_error (error, caption_error_from_message (message, missing));
      return FALSE;
    }
    if (gst_structure_has_name (structure, "missing-plugin") && !missing)
      missing = g_strdup (gst_structure_get_string (structure, "name"));
  }
}

static GstSample *
decode_sample (const char *uri, GError **error)
{
  g_autoptr (GstElement) pipeline = gst_parse_launch (DECODER, error);
  GstSample *sample = NULL;

  if (!pipeline)
    return NULL;
  g_autoptr (GstElement) source = gst_bin_get_by_name (GST_BIN (pipeline), "source");
  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (pipeline), "sink");
  g_object_set (source, "uri", uri, NULL);
  gst_element_set_state (pipeline, GST_STATE_PAUSED);
  if (wait_for_picture (pipeline, error)) {
    sample = gst_app_sink_try_pull_preroll (GST_APP_SINK (sink), 0);
    if (!sample)
      g_set_error_literal (error, CAPTION_ERROR, CAPTION_ERROR_MEDIA, "It ended before its first picture");
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  return sample;
}

CaptionPicture *
caption_picture_new (const char *file, GError **error)
{
  g_autofree char *uri = caption_file_to_uri (file, error);
  g_autoptr (GstSample) sample = uri ? decode_sample (uri, error) : NULL;
  GstVideoInfo info;

  if (!sample)
    return NULL;
  CaptionPicture *picture = g_new0 (CaptionPicture, 1);
  if (!gst_video_info_from_caps (&info, gst_sample_get_caps (sample)) ||
      !gst_video_frame_map (&picture->frame, &info, gst_sample_get_buffer (sample), GST_MAP_READ)) {
    g_set_error (error, CAPTION_ERROR, CAPTION_ERROR_MEDIA, "The decoded picture cannot be read");
    g_free (picture);
    return NULL;
  }
  picture->sample = g_steal_pointer (&sample);
  view_frame (&picture->image, &picture->frame);
  return picture;
}

void
caption_picture_free (CaptionPicture *picture)
{
  if (!picture)
    return;
  gst_video_frame_unmap (&picture->frame);
  gst_sample_unref (picture->sample);
  g_free (picture);
}
