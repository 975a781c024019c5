/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gst/app/gstappsink.h>
#include "mllama-caption-picture.h"
#include "mllama-caption.h"

#define DECODER                                                                                                        \
  "uridecodebin name=source caps=video/x-raw expose-all-streams=false ! appsink name=sink sync=false caps=video/x-raw"

/* Cameras say in a tag how the picture is to be turned; it passes before the picture does. */
static GstPadProbeReturn
note_orientation (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  GstEvent *event = GST_PAD_PROBE_INFO_EVENT (info);
  GstTagList *tags;

  if (GST_EVENT_TYPE (event) == GST_EVENT_TAG) {
    gst_event_parse_tag (event, &tags);
    gst_video_orientation_from_tag (tags, data);
  }
  return GST_PAD_PROBE_OK;
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
decode_sample (const char *uri, GstVideoOrientationMethod *orientation, GError **error)
{
  g_autoptr (GstElement) pipeline = gst_parse_launch (DECODER, error);
  GstSample *sample = NULL;

  if (!pipeline)
    return NULL;
  g_autoptr (GstElement) source = gst_bin_get_by_name (GST_BIN (pipeline), "source");
  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (pipeline), "sink");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (sink, "sink");
  g_object_set (source, "uri", uri, NULL);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, note_orientation, orientation, NULL);
  gst_element_set_state (pipeline, GST_STATE_PAUSED);
  if (wait_for_picture (pipeline, error)) {
    sample = gst_app_sink_try_pull_preroll (GST_APP_SINK (sink), 0);
    if (!sample)
      g_set_error_literal (error, CAPTION_ERROR, CAPTION_ERROR_MEDIA, "It ended before its first picture");
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  return sample;
}

static GstMllamaCaptionPicture *
copy_sample (GstSample *sample, GstVideoOrientationMethod orientation)
{
  GstMllamaCaptionPicture *pixels;
  GstVideoInfo info;
  GstVideoFrame frame;

  if (!gst_video_info_from_caps (&info, gst_sample_get_caps (sample)) ||
      !gst_video_frame_map (&frame, &info, gst_sample_get_buffer (sample), GST_MAP_READ))
    return NULL;
  pixels = gst_mllama_caption_picture_new (&frame, orientation);
  gst_video_frame_unmap (&frame);
  return pixels;
}

CaptionPicture *
caption_picture_new (const char *file, GError **error)
{
  GstVideoOrientationMethod orientation = GST_VIDEO_ORIENTATION_IDENTITY;
  g_autofree char *uri = caption_file_to_uri (file, error);
  g_autoptr (GstSample) sample = uri ? decode_sample (uri, &orientation, error) : NULL;

  if (!sample)
    return NULL;
  g_autoptr (CaptionPicture) picture = g_new0 (CaptionPicture, 1);
  picture->painter = gst_mllama_caption_painter_new ();
  picture->pixels = copy_sample (sample, orientation);
  if (picture->pixels)
    return gst_mllama_caption_painter_paint (picture->painter, picture->pixels, FALSE, &picture->image, error)
               ? g_steal_pointer (&picture)
               : NULL;
  g_set_error_literal (error, CAPTION_ERROR, CAPTION_ERROR_MEDIA, "The decoded picture cannot be read");
  return NULL;
}

void
caption_picture_free (CaptionPicture *picture)
{
  if (!picture)
    return;
  gst_mllama_caption_painter_free (picture->painter);
  gst_mllama_caption_picture_free (picture->pixels);
  g_free (picture);
}
