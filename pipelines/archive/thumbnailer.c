/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "thumbnailer.h"

#include "archive.h"

#define ENCODER                                                                                                        \
  "appsrc name=in format=time ! videoflip name=flip ! jpegenc quality=80 ! appsink name=out sync=false async=false"

struct _ArchiveThumbnailer {
  guint width;
  GstElement *encoder, *in, *flip, *out; /* owned; the others are in the encoder */
  char *folder;
  /* Frames are made small in their own colours first: planes of one format are scaled several times as fast. */
  GstVideoInfo from, small, to;
  GstVideoConverter *scaler, *converter; /* NULL until frames have come */
  GstVideoOrientationMethod orientation; /* in which pictures are turned */
  GMutex lock;                           /* guards what follows */
  GQueue kept;                           /* of GstSample, the oldest first */
};

ArchiveThumbnailer *
archive_thumbnailer_new (guint width, GError **error)
{
  g_autoptr (ArchiveThumbnailer) thumbnailer = g_new0 (ArchiveThumbnailer, 1);

  thumbnailer->width = width;
  thumbnailer->encoder = gst_parse_launch (ENCODER, error);
  if (!thumbnailer->encoder)
    return NULL;
  gst_object_ref_sink (thumbnailer->encoder);
  thumbnailer->in = gst_bin_get_by_name (GST_BIN (thumbnailer->encoder), "in");
  thumbnailer->flip = gst_bin_get_by_name (GST_BIN (thumbnailer->encoder), "flip");
  thumbnailer->out = gst_bin_get_by_name (GST_BIN (thumbnailer->encoder), "out");
  gst_element_set_state (thumbnailer->encoder, GST_STATE_PLAYING);
  return g_steal_pointer (&thumbnailer);
}

/* The lock is held. */
static void
forget (ArchiveThumbnailer *thumbnailer, GstClockTime before)
{
  GstSample *sample;

  while ((sample = g_queue_peek_head (&thumbnailer->kept)) && GST_BUFFER_PTS (gst_sample_get_buffer (sample)) < before)
    gst_sample_unref (g_queue_pop_head (&thumbnailer->kept));
}

static void
clear_converters (ArchiveThumbnailer *thumbnailer)
{
  g_clear_pointer (&thumbnailer->scaler, gst_video_converter_free);
  g_clear_pointer (&thumbnailer->converter, gst_video_converter_free);
}

void
archive_thumbnailer_free (ArchiveThumbnailer *thumbnailer)
{
  if (!thumbnailer)
    return;
  if (thumbnailer->encoder)
    gst_element_set_state (thumbnailer->encoder, GST_STATE_NULL);
  g_clear_object (&thumbnailer->in);
  g_clear_object (&thumbnailer->flip);
  g_clear_object (&thumbnailer->out);
  g_clear_object (&thumbnailer->encoder);
  clear_converters (thumbnailer);
  forget (thumbnailer, GST_CLOCK_TIME_NONE);
  g_free (thumbnailer->folder);
  g_free (thumbnailer);
}

void
archive_thumbnailer_begin (ArchiveThumbnailer *thumbnailer, const char *folder)
{
  g_mutex_lock (&thumbnailer->lock);
  forget (thumbnailer, GST_CLOCK_TIME_NONE);
  g_free (thumbnailer->folder);
  thumbnailer->folder = g_strdup (folder);
  g_mutex_unlock (&thumbnailer->lock);
  archive_thumbnailer_turn (thumbnailer, GST_VIDEO_ORIENTATION_IDENTITY);
}

static gboolean
is_quarter_turn (GstVideoOrientationMethod orientation)
{
  return orientation == GST_VIDEO_ORIENTATION_90R || orientation == GST_VIDEO_ORIENTATION_90L ||
         orientation == GST_VIDEO_ORIENTATION_UL_LR || orientation == GST_VIDEO_ORIENTATION_UR_LL;
}

void
archive_thumbnailer_turn (ArchiveThumbnailer *thumbnailer, GstVideoOrientationMethod orientation)
{
  if (is_quarter_turn (orientation) != is_quarter_turn (thumbnailer->orientation))
    clear_converters (thumbnailer);
  thumbnailer->orientation = orientation;
  g_object_set (thumbnailer->flip, "video-direction", orientation, NULL);
}

/* Square pixels, even sides, as JPEG's halved colours want them. The width is that of the turned picture. */
static void
choose_size (const ArchiveThumbnailer *thumbnailer, const GstVideoInfo *from, gint *width, gint *height)
{
  const double shape = (double) GST_VIDEO_INFO_WIDTH (from) * GST_VIDEO_INFO_PAR_N (from) /
                       GST_VIDEO_INFO_PAR_D (from) / GST_VIDEO_INFO_HEIGHT (from);

  if (is_quarter_turn (thumbnailer->orientation)) {
    *height = MAX (2, MIN ((gint) thumbnailer->width, GST_VIDEO_INFO_HEIGHT (from)) & ~1);
    *width = MAX (2, (gint) (*height * shape + 0.5) & ~1);
  } else {
    *width = MAX (2, MIN ((gint) thumbnailer->width, GST_VIDEO_INFO_WIDTH (from)) & ~1);
    *height = MAX (2, (gint) (*width / shape + 0.5) & ~1);
  }
}

/* An info like another but for size, pixels' shape and, with a format, colours. */
static void
derive_info (GstVideoInfo *info, const GstVideoInfo *from, GstVideoFormat format, gint width, gint height)
{
  gst_video_info_set_interlaced_format (info, format, GST_VIDEO_INTERLACE_MODE_PROGRESSIVE, (guint) width,
                                        (guint) height);
  info->colorimetry = from->colorimetry;
  info->chroma_site = from->chroma_site;
  GST_VIDEO_INFO_FPS_N (info) = GST_VIDEO_INFO_FPS_N (from);
  GST_VIDEO_INFO_FPS_D (info) = GST_VIDEO_INFO_FPS_D (from);
}

static gboolean
prepare (ArchiveThumbnailer *thumbnailer, const GstVideoInfo *from)
{
  GstVideoInfo progressive = *from;
  gint width, height;

  if (thumbnailer->converter && gst_video_info_is_equal (from, &thumbnailer->from))
    return TRUE;
  clear_converters (thumbnailer);
  choose_size (thumbnailer, from, &width, &height);
  thumbnailer->from = *from;
  GST_VIDEO_INFO_INTERLACE_MODE (&progressive) = GST_VIDEO_INTERLACE_MODE_PROGRESSIVE;
  derive_info (&thumbnailer->small, from, GST_VIDEO_INFO_FORMAT (from), width, height);
  derive_info (&thumbnailer->to, from, GST_VIDEO_FORMAT_I420, width, height);
  /* What JPEG files are in. */
  gst_video_colorimetry_from_string (&thumbnailer->to.colorimetry, "1:4:0:0");
  thumbnailer->scaler = gst_video_converter_new (&progressive, &thumbnailer->small,
                                                 gst_structure_new ("scaler", GST_VIDEO_CONVERTER_OPT_RESAMPLER_METHOD,
                                                                    GST_TYPE_VIDEO_RESAMPLER_METHOD,
                                                                    GST_VIDEO_RESAMPLER_METHOD_LINEAR, NULL));
  thumbnailer->converter = gst_video_converter_new (&thumbnailer->small, &thumbnailer->to, NULL);
  return thumbnailer->scaler && thumbnailer->converter;
}

/* Takes the buffer. */
static GstBuffer *
convert (GstVideoConverter *converter, const GstVideoInfo *from_info, const GstVideoInfo *to_info, GstBuffer *taken)
{
  g_autoptr (GstBuffer) buffer = taken, converted = gst_buffer_new_and_alloc (GST_VIDEO_INFO_SIZE (to_info));
  GstVideoFrame from, to;

  if (!gst_video_frame_map (&from, from_info, buffer, GST_MAP_READ))
    return NULL;
  gst_video_frame_map (&to, to_info, converted, GST_MAP_WRITE);
  gst_video_converter_frame (converter, &from, &to);
  gst_video_frame_unmap (&to);
  gst_video_frame_unmap (&from);
  GST_BUFFER_PTS (converted) = GST_BUFFER_PTS (buffer);
  return g_steal_pointer (&converted);
}

static GstBuffer *
shrink (ArchiveThumbnailer *thumbnailer, GstBuffer *frame)
{
  GstBuffer *small = convert (thumbnailer->scaler, &thumbnailer->from, &thumbnailer->small, gst_buffer_ref (frame));

  return small ? convert (thumbnailer->converter, &thumbnailer->small, &thumbnailer->to, small) : NULL;
}

gboolean
archive_thumbnailer_keep (ArchiveThumbnailer *thumbnailer, const GstVideoInfo *info, GstBuffer *frame)
{
  g_autoptr (GstBuffer) small = prepare (thumbnailer, info) ? shrink (thumbnailer, frame) : NULL;
  g_autoptr (GstCaps) caps = small ? gst_video_info_to_caps (&thumbnailer->to) : NULL;

  if (!small)
    return FALSE;
  g_mutex_lock (&thumbnailer->lock);
  g_queue_push_tail (&thumbnailer->kept, gst_sample_new (small, caps, NULL, NULL));
  g_mutex_unlock (&thumbnailer->lock);
  return TRUE;
}

/* The lock is held. */
static GstSample *
find (ArchiveThumbnailer *thumbnailer, GstClockTime pts)
{
  for (GList *at = thumbnailer->kept.head; at; at = at->next)
    if (GST_BUFFER_PTS (gst_sample_get_buffer (at->data)) == pts)
      return at->data;
  return NULL;
}

static gboolean
encode (ArchiveThumbnailer *thumbnailer, GstSample *small, const char *path, GError **error)
{
  GstFlowReturn flow = GST_FLOW_OK;
  GstSample *picture = NULL;
  GstMapInfo map;

  g_signal_emit_by_name (thumbnailer->in, "push-sample", small, &flow);
  if (flow == GST_FLOW_OK)
    g_signal_emit_by_name (thumbnailer->out, "pull-sample", &picture);
  if (!picture || !gst_buffer_map (gst_sample_get_buffer (picture), &map, GST_MAP_READ)) {
    g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_OUTPUT, "No JPEG could be made for %s", path);
    g_clear_pointer (&picture, gst_sample_unref);
    return FALSE;
  }
  const gboolean is_good = g_file_set_contents_full (path, (const char *) map.data, (gssize) map.size,
                                                     G_FILE_SET_CONTENTS_NONE, 0666, error);
  gst_buffer_unmap (gst_sample_get_buffer (picture), &map);
  gst_sample_unref (picture);
  return is_good;
}

/* Each question has a caption of the frame; the first to come has the file written. */
char *
archive_thumbnailer_write (ArchiveThumbnailer *thumbnailer, GstClockTime pts, GError **error)
{
  const guint64 ms = pts / GST_MSECOND;
  g_autofree char *name = g_strdup_printf ("%07u.%03u.jpg", (guint) (ms / 1000), (guint) (ms % 1000));

  g_mutex_lock (&thumbnailer->lock);
  g_autofree char *path = g_build_filename (thumbnailer->folder, name, NULL);
  GstSample *small = find (thumbnailer, pts);
  const gboolean is_there =
      small && (g_file_test (path, G_FILE_TEST_EXISTS) || encode (thumbnailer, small, path, error));
  g_mutex_unlock (&thumbnailer->lock);
  return is_there ? g_steal_pointer (&name) : NULL;
}

void
archive_thumbnailer_forget (ArchiveThumbnailer *thumbnailer, GstClockTime before)
{
  g_mutex_lock (&thumbnailer->lock);
  forget (thumbnailer, before);
  g_mutex_unlock (&thumbnailer->lock);
}
