/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the model gets to see of a frame: every format, strides, crop, pixel aspect ratio, orientation, fields. */
#include "rig.h"
#include <gst/check/gstharness.h>
#include <gst/video/video.h>
#include "painter.h"
#include "scene.h"

/* --- whole pipelines --- */

static void
every_raw_format_is_captioned (void)
{
  guint n;
  const GstVideoFormat *formats = gst_video_formats_raw (&n);

  g_assert_cmpuint (n, >, 90);
  for (guint i = 0; i < n; i++) {
    const GstVideoFormatInfo *format = gst_video_format_get_info (formats[i]);
    /* No converter writes it; it has a test of its own below. */
    if (formats[i] == GST_VIDEO_FORMAT_RGB8P)
      continue;
    Rig *rig = rig_new ("videotestsrc num-buffers=1 pattern=white ! videoconvert ! "
                        "video/x-raw,format=%s,width=34,height=18 ! mllamacaption name=c prompt=What ! fakesink",
                        GST_VIDEO_FORMAT_INFO_NAME (format));
    g_test_message ("%s", GST_VIDEO_FORMAT_INFO_NAME (format));
    rig_run (rig);
    g_assert_no_error (rig->error);
    g_assert_cmpstr (rig_get_text (rig, 0), ==, "white 34x18: What");
    rig_free (rig);
  }
}

static void
colours_are_right_in_formats_of_each_family (void)
{
  static const char *const formats[] = {"RGB",  "BGRA", "xRGB",      "I420", "NV12",  "YUY2", "UYVY",   "Y444",
                                        "NV21", "v210", "P010_10LE", "AYUV", "RGB16", "GBR",  "ARGB64", "NV12_64Z32"};
  static const char *const colours[] = {"red", "green", "blue"};
  static const guint argb[] = {0xffff0000, 0xff00ff00, 0xff0000ff};

  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    for (guint k = 0; k < 3; k++) {
      Rig *rig = rig_new ("videotestsrc num-buffers=1 pattern=solid-color foreground-color=%u ! videoconvert ! "
                          "video/x-raw,format=%s,width=33,height=17 ! mllamacaption name=c prompt=What ! fakesink",
                          argb[k], formats[i]);
      g_autofree char *text = g_strdup_printf ("%s 33x17: What", colours[k]);
      rig_run (rig);
      g_assert_no_error (rig->error);
      g_assert_cmpstr (rig_get_text (rig, 0), ==, text);
      rig_free (rig);
    }
  }
}

static void
a_paletted_picture_is_captioned (void)
{
  GstHarness *harness;
  GstVideoInfo info;
  GstVideoFrame frame;

  fake_reset ();
  harness = gst_harness_new ("mllamacaption");
  gst_harness_set_live (harness, FALSE);
  gst_harness_set_src_caps_str (harness, "video/x-raw,format=RGB8P,width=8,height=8,framerate=1/1");
  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_RGB8P, 8, 8);
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, info.size, NULL);
  gst_buffer_memset (buffer, 0, 0, info.size);
  g_assert_true (gst_video_frame_map (&frame, &info, buffer, GST_MAP_WRITE));
  ((guint32 *) frame.data[1])[0] = 0xff0000ff; /* blue, as ARGB in host order */
  gst_video_frame_unmap (&frame);
  GST_BUFFER_PTS (buffer) = 0;
  g_assert_cmpint (gst_harness_push (harness, buffer), ==, GST_FLOW_OK);
  g_autofree char *last = NULL;
  g_object_get (harness->element, "last-caption", &last, NULL);
  g_assert_true (g_str_has_prefix (last, "blue 8x8: "));
  gst_harness_teardown (harness);
}

static void
pixels_are_made_square (void)
{
  static const struct {
    const char *caps, *size;
  } cases[] = {{"width=40,height=20,pixel-aspect-ratio=2/1", "80x20"},
               {"width=40,height=20,pixel-aspect-ratio=1/2", "40x40"},
               {"width=72,height=58,pixel-aspect-ratio=16/15", "77x58"}};

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    Rig *rig = rig_new ("videotestsrc num-buffers=1 pattern=red ! video/x-raw,format=I420,%s ! mllamacaption name=c "
                        "prompt=What ! fakesink",
                        cases[i].caps);
    g_autofree char *text = g_strdup_printf ("red %s: What", cases[i].size);
    rig_run (rig);
    g_assert_cmpstr (rig_get_text (rig, 0), ==, text);
    rig_free (rig);
  }
}

static void
an_orientation_tag_turns_the_picture (void)
{
  static const char *const tags[] = {"rotate-0", "rotate-90", "flip-rotate-270", "rotate-180"};

  for (guint i = 0; i < G_N_ELEMENTS (tags); i++) {
    Rig *rig = rig_new ("videotestsrc num-buffers=1 pattern=red ! video/x-raw,format=I420,width=40,height=20 ! "
                        "taginject tags=\"image-orientation=%s\" ! mllamacaption name=c prompt=What ! fakesink",
                        tags[i]);
    rig_run (rig);
    g_assert_no_error (rig->error);
    g_assert_cmpstr (rig_get_text (rig, 0), ==, i == 1 || i == 2 ? "red 20x40: What" : "red 40x20: What");
    rig_free (rig);
  }
}

/* --- painting --- */

/* A 4x2 RGB picture whose pixel n has the red value n, in a buffer with padded lines. */
static GstMllamaCaptionPicture *
make_picture (GstVideoOrientationMethod orientation, const GstVideoRectangle *crop)
{
  GstVideoInfo info;
  GstVideoFrame frame;
  gsize offsets[4] = {16};
  gint strides[4] = {32};
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, 16 + 2 * 32, NULL);

  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_RGB, 4, 2);
  gst_buffer_memset (buffer, 0, 0xee, 16 + 2 * 32);
  for (guint i = 0; i < 8; i++) {
    const guint8 pixel[3] = {(guint8) i, 100, 200};
    gst_buffer_fill (buffer, 16 + i / 4 * 32 + i % 4 * 3, pixel, 3);
  }
  gst_buffer_add_video_meta_full (buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_FORMAT_RGB, 4, 2, 1, offsets, strides);
  if (crop) {
    GstVideoCropMeta *meta = gst_buffer_add_video_crop_meta (buffer);
    meta->x = (guint) crop->x;
    meta->y = (guint) crop->y;
    meta->width = (guint) crop->w;
    meta->height = (guint) crop->h;
  }
  g_assert_true (gst_video_frame_map (&frame, &info, buffer, GST_MAP_READ));
  GstMllamaCaptionPicture *picture = gst_mllama_caption_picture_new (&frame, orientation);
  gst_video_frame_unmap (&frame);
  gst_buffer_unref (buffer);
  return picture;
}

static void
check_pixels (GstVideoOrientationMethod orientation, const GstVideoRectangle *crop, guint width, const guint8 *reds,
              guint n)
{
  g_autoptr (GstMllamaCaptionPicture) picture = make_picture (orientation, crop);
  GstMllamaCaptionPainter *painter = gst_mllama_caption_painter_new ();
  MllamaImage image;

  g_assert_true (gst_mllama_caption_painter_paint (painter, picture, FALSE, &image, NULL));
  g_assert_cmpint (image.format, ==, MLLAMA_FORMAT_RGB);
  g_assert_cmpuint (image.width, ==, width);
  g_assert_cmpuint (image.width * image.height, ==, n);
  for (guint i = 0; i < n; i++) {
    const guint8 *pixel = image.planes[0] + i / width * image.strides[0] + i % width * 3;
    g_assert_cmpuint (pixel[0], ==, reds[i]);
    g_assert_cmpuint (pixel[1], ==, 100);
    g_assert_cmpuint (pixel[2], ==, 200);
  }
  gst_mllama_caption_painter_free (painter);
}

static void
strides_and_crop_come_from_the_metas (void)
{
  const GstVideoRectangle middle = {1, 0, 2, 2}, corner = {3, 1, 1, 1}, outside = {2, 1, 100, 100};

  check_pixels (GST_VIDEO_ORIENTATION_IDENTITY, NULL, 4, (const guint8[]){0, 1, 2, 3, 4, 5, 6, 7}, 8);
  check_pixels (GST_VIDEO_ORIENTATION_IDENTITY, &middle, 2, (const guint8[]){1, 2, 5, 6}, 4);
  check_pixels (GST_VIDEO_ORIENTATION_IDENTITY, &corner, 1, (const guint8[]){7}, 1);
  check_pixels (GST_VIDEO_ORIENTATION_IDENTITY, &outside, 2, (const guint8[]){6, 7}, 2);
}

static void
each_orientation_puts_each_pixel_in_its_place (void)
{
  check_pixels (GST_VIDEO_ORIENTATION_90R, NULL, 2, (const guint8[]){4, 0, 5, 1, 6, 2, 7, 3}, 8);
  check_pixels (GST_VIDEO_ORIENTATION_180, NULL, 4, (const guint8[]){7, 6, 5, 4, 3, 2, 1, 0}, 8);
  check_pixels (GST_VIDEO_ORIENTATION_90L, NULL, 2, (const guint8[]){3, 7, 2, 6, 1, 5, 0, 4}, 8);
  check_pixels (GST_VIDEO_ORIENTATION_HORIZ, NULL, 4, (const guint8[]){3, 2, 1, 0, 7, 6, 5, 4}, 8);
  check_pixels (GST_VIDEO_ORIENTATION_VERT, NULL, 4, (const guint8[]){4, 5, 6, 7, 0, 1, 2, 3}, 8);
  check_pixels (GST_VIDEO_ORIENTATION_UL_LR, NULL, 2, (const guint8[]){0, 4, 1, 5, 2, 6, 3, 7}, 8);
  check_pixels (GST_VIDEO_ORIENTATION_UR_LL, NULL, 2, (const guint8[]){7, 3, 6, 2, 5, 1, 4, 0}, 8);
}

/* Even lines 200, odd lines 0, as two fields of different pictures. */
static GstMllamaCaptionPicture *
make_fields (gboolean top_first)
{
  GstVideoInfo info;
  GstVideoFrame frame;

  gst_video_info_set_interlaced_format (&info, GST_VIDEO_FORMAT_GRAY8, GST_VIDEO_INTERLACE_MODE_INTERLEAVED, 4, 8);
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, info.size, NULL);
  for (guint line = 0; line < 8; line++)
    gst_buffer_memset (buffer, line * 4, line % 2 == 0 ? 200 : 0, 4);
  GST_BUFFER_FLAG_SET (buffer, GST_VIDEO_BUFFER_FLAG_INTERLACED);
  if (top_first)
    GST_BUFFER_FLAG_SET (buffer, GST_VIDEO_BUFFER_FLAG_TFF);
  g_assert_true (gst_video_frame_map (&frame, &info, buffer, GST_MAP_READ));
  GstMllamaCaptionPicture *picture = gst_mllama_caption_picture_new (&frame, GST_VIDEO_ORIENTATION_IDENTITY);
  gst_video_frame_unmap (&frame);
  gst_buffer_unref (buffer);
  return picture;
}

static void
the_first_field_of_an_interlaced_frame_is_seen (void)
{
  for (guint top_first = 0; top_first < 2; top_first++) {
    g_autoptr (GstMllamaCaptionPicture) picture = make_fields (top_first);
    GstMllamaCaptionPainter *painter = gst_mllama_caption_painter_new ();
    MllamaImage image;
    g_assert_true (gst_mllama_caption_painter_paint (painter, picture, FALSE, &image, NULL));
    g_assert_cmpuint (image.width, ==, 4);
    g_assert_cmpuint (image.height, ==, 8);
    for (guint y = 0; y < 8; y++)
      g_assert_cmpint (ABS (image.planes[0][y * image.strides[0]] - (top_first ? 200 : 0)), <=, 1);
    gst_mllama_caption_painter_free (painter);
  }
}

/* --- scenes --- */

static void
init_scene (GstMllamaCaptionScene *scene, GstVideoFormat format, gint value)
{
  GstVideoInfo info;
  GstVideoFrame frame;

  gst_video_info_set_format (&info, format, 130, 70);
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, info.size, NULL);
  gst_buffer_memset (buffer, 0, (guint8) value, info.size);
  g_assert_true (gst_video_frame_map (&frame, &info, buffer, GST_MAP_READ));
  g_assert_true (gst_mllama_caption_scene_init (scene, &frame));
  gst_video_frame_unmap (&frame);
  gst_buffer_unref (buffer);
}

static void
scenes_differ_by_their_brightness (void)
{
  static const GstVideoFormat formats[] = {GST_VIDEO_FORMAT_GRAY8, GST_VIDEO_FORMAT_RGB, GST_VIDEO_FORMAT_NV12,
                                           GST_VIDEO_FORMAT_UYVY, GST_VIDEO_FORMAT_GRAY16_LE};

  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    GstMllamaCaptionScene dark, same, light;
    init_scene (&dark, formats[i], 50);
    init_scene (&same, formats[i], 50);
    init_scene (&light, formats[i], 101);
    g_assert_cmpfloat (gst_mllama_caption_scene_compare (&dark, &same), ==, 0);
    g_assert_cmpfloat_with_epsilon (gst_mllama_caption_scene_compare (&dark, &light), 0.2, 0.01);
  }
}

static void
add_tests (void)
{
  g_test_add_func ("/pictures/every_raw_format_is_captioned", every_raw_format_is_captioned);
  g_test_add_func ("/pictures/colours_are_right_in_formats_of_each_family",
                   colours_are_right_in_formats_of_each_family);
  g_test_add_func ("/pictures/a_paletted_picture_is_captioned", a_paletted_picture_is_captioned);
  g_test_add_func ("/pictures/pixels_are_made_square", pixels_are_made_square);
  g_test_add_func ("/pictures/an_orientation_tag_turns_the_picture", an_orientation_tag_turns_the_picture);
  g_test_add_func ("/pictures/strides_and_crop_come_from_the_metas", strides_and_crop_come_from_the_metas);
  g_test_add_func ("/pictures/each_orientation_puts_each_pixel_in_its_place",
                   each_orientation_puts_each_pixel_in_its_place);
  g_test_add_func ("/pictures/the_first_field_of_an_interlaced_frame_is_seen",
                   the_first_field_of_an_interlaced_frame_is_seen);
  g_test_add_func ("/scenes/differ_by_their_brightness", scenes_differ_by_their_brightness);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
