/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every raw format, at odd sizes and with odd descriptions: the bytes that come out are those that went in, in the same
 * memory, and the frame is captioned. */
#include <gst/check/gstharness.h>
#include <gst/video/video.h>
#include "rig.h"

/* What a frame may come with. */
typedef struct {
  GstVideoInterlaceMode interlace;
  gint par_n, par_d;
  const char *orientation; /* of the tag; NULL: none */
  GstVideoRectangle crop;  /* w 0: none */
  gboolean padded;         /* lines are longer than the format needs, and planes lie apart */
  const char *size;        /* what the model sees */
} Case;

static void
describe_planes (GstBuffer *buffer, const GstVideoInfo *info)
{
  gst_buffer_add_video_meta_full (buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_INFO_FORMAT (info),
                                  (guint) GST_VIDEO_INFO_WIDTH (info), (guint) GST_VIDEO_INFO_HEIGHT (info),
                                  GST_VIDEO_INFO_N_PLANES (info), (gsize *) info->offset, (gint *) info->stride);
}

static GstBuffer *
make_frame (const GstVideoInfo *info, const Case *wanted)
{
  GstVideoInfo layout = *info;
  /* What GStreamer makes of padding and tiles does not hold the tiles. */
  const gboolean padded = wanted->padded && !GST_VIDEO_FORMAT_INFO_IS_TILED (info->finfo);
  GstVideoAlignment alignment;
  g_autoptr (GRand) random = g_rand_new_with_seed (info->size);
  GstMapInfo map;

  gst_video_alignment_reset (&alignment);
  alignment.padding_left = alignment.padding_right = alignment.padding_bottom = padded ? 16 : 0;
  g_assert_true (gst_video_info_align (&layout, &alignment));
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, layout.size, NULL);
  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  for (gsize i = 0; i < map.size; i++)
    map.data[i] = (guint8) g_rand_int_range (random, 0, 256);
  gst_buffer_unmap (buffer, &map);
  if (padded)
    describe_planes (buffer, &layout);
  if (wanted->crop.w > 0) {
    GstVideoCropMeta *crop = gst_buffer_add_video_crop_meta (buffer);
    crop->x = (guint) wanted->crop.x;
    crop->y = (guint) wanted->crop.y;
    crop->width = (guint) wanted->crop.w;
    crop->height = (guint) wanted->crop.h;
  }
  if (wanted->interlace != GST_VIDEO_INTERLACE_MODE_PROGRESSIVE)
    GST_BUFFER_FLAG_SET (buffer, GST_VIDEO_BUFFER_FLAG_INTERLACED | GST_VIDEO_BUFFER_FLAG_TFF);
  GST_BUFFER_PTS (buffer) = 0;
  GST_BUFFER_DURATION (buffer) = GST_SECOND;
  return buffer;
}

static GstHarness *
open_harness (const GstVideoInfo *info, const Case *wanted)
{
  GstHarness *harness = gst_harness_new_parse ("mllamacaption prompt=What attach-meta=false");
  GstCaps *caps = gst_video_info_to_caps ((GstVideoInfo *) info);

  if (wanted->interlace == GST_VIDEO_INTERLACE_MODE_ALTERNATE)
    gst_caps_set_features_simple (caps, gst_caps_features_new (GST_CAPS_FEATURE_FORMAT_INTERLACED, NULL));
  gst_harness_set_live (harness, FALSE);
  gst_harness_set_src_caps (harness, caps);
  if (wanted->orientation)
    gst_harness_push_event (
        harness, gst_event_new_tag (gst_tag_list_new (GST_TAG_IMAGE_ORIENTATION, wanted->orientation, NULL)));
  return harness;
}

static GBytes *
copy_bytes (GstBuffer *buffer)
{
  gpointer data = NULL;
  gsize size = 0;

  gst_buffer_extract_dup (buffer, 0, (gsize) -1, &data, &size);
  return g_bytes_new_take (data, size);
}

static void
check (GstVideoFormat format, guint width, guint height, const Case *wanted)
{
  GstVideoInfo info;

  fake_reset ();
  g_assert_true (gst_video_info_set_interlaced_format (&info, format, wanted->interlace, width, height));
  GST_VIDEO_INFO_PAR_N (&info) = MAX (wanted->par_n, 1);
  GST_VIDEO_INFO_PAR_D (&info) = MAX (wanted->par_d, 1);
  GST_VIDEO_INFO_FPS_N (&info) = GST_VIDEO_INFO_FPS_D (&info) = 1;
  GstHarness *harness = open_harness (&info, wanted);
  GstBuffer *frame = make_frame (&info, wanted);
  const GstMemory *memory = gst_buffer_peek_memory (frame, 0);
  g_autoptr (GBytes) before = copy_bytes (frame);
  g_assert_cmpint (gst_harness_push (harness, frame), ==, GST_FLOW_OK);
  g_autoptr (GstBuffer) passed = gst_harness_pull (harness);
  gst_harness_push_event (harness, gst_event_new_eos ());
  g_autoptr (GstElement) element = gst_harness_find_element (harness, "mllamacaption");
  g_autoptr (GBytes) after = copy_bytes (passed);
  g_autofree char *caption = NULL;
  g_object_get (element, "last-caption", &caption, NULL);
  if (!caption)
    g_error ("no caption of %s %ux%u", gst_video_format_to_string (format), width, height);
  g_autofree char *seen = g_strdup_printf (" %s: What", wanted->size);
  if (!g_str_has_suffix (caption, seen))
    g_error ("%s %ux%u: \"%s\" is not of a picture of %s", gst_video_format_to_string (format), width, height, caption,
             wanted->size);
  g_assert_true (gst_buffer_peek_memory (passed, 0) == memory);
  g_assert_true (g_bytes_equal (before, after));
  gst_harness_teardown (harness);
}

static void
check_all (const Case *wanted, guint width, guint height)
{
  guint n;
  const GstVideoFormat *formats = gst_video_formats_raw (&n);

  for (guint i = 0; i < n; i++)
    check (formats[i], width, height, wanted);
}

/* As GST_VIDEO_FORMATS_ALL lists them, which is what the pad templates offer. */
static void
all_formats_are_those_of_the_template (void)
{
  g_autoptr (GstCaps) all = gst_caps_from_string (GST_VIDEO_CAPS_MAKE (GST_VIDEO_FORMATS_ALL));
  const GValue *names = gst_structure_get_value (gst_caps_get_structure (all, 0), "format");
  guint n;
  const GstVideoFormat *formats = gst_video_formats_raw (&n);

  g_assert_cmpuint (gst_value_list_get_size (names), ==, n);
  for (guint i = 0; i < n; i++) {
    const GstVideoFormat format =
        gst_video_format_from_string (g_value_get_string (gst_value_list_get_value (names, i)));
    gboolean found = FALSE;
    for (guint k = 0; k < n; k++)
      found |= formats[k] == format;
    g_assert_true (found);
  }
}

static void
odd_sizes_pass_in_every_format (void)
{
  check_all (&(Case){.size = "33x17"}, 33, 17);
  check_all (&(Case){.size = "1x1"}, 1, 1);
  check_all (&(Case){.size = "2x3"}, 2, 3);
}

static void
padded_lines_pass_in_every_format (void)
{
  check_all (&(Case){.padded = TRUE, .size = "34x18"}, 34, 18);
}

static void
interlaced_frames_pass_in_every_format (void)
{
  check_all (&(Case){.interlace = GST_VIDEO_INTERLACE_MODE_INTERLEAVED, .size = "34x20"}, 34, 20);
  check_all (&(Case){.interlace = GST_VIDEO_INTERLACE_MODE_INTERLEAVED, .size = "34x18"}, 34, 18);
  check_all (&(Case){.interlace = GST_VIDEO_INTERLACE_MODE_MIXED, .size = "34x20"}, 34, 20);
}

static void
alternating_fields_count_twice_in_height (void)
{
  static const GstVideoFormat formats[] = {GST_VIDEO_FORMAT_NV12, GST_VIDEO_FORMAT_I420, GST_VIDEO_FORMAT_YUY2,
                                           GST_VIDEO_FORMAT_RGBA};

  for (guint i = 0; i < G_N_ELEMENTS (formats); i++)
    check (formats[i], 34, 20, &(Case){.interlace = GST_VIDEO_INTERLACE_MODE_ALTERNATE, .size = "34x20"});
}

static void
a_crop_is_seen_in_every_format (void)
{
  check_all (&(Case){.crop = {4, 2, 20, 10}, .size = "20x10"}, 34, 18);
  check_all (&(Case){.crop = {5, 3, 9, 7}, .padded = TRUE, .size = "9x7"}, 34, 18);
}

static void
all_at_once_in_every_format (void)
{
  check_all (&(Case){.interlace = GST_VIDEO_INTERLACE_MODE_INTERLEAVED,
                     .par_n = 2,
                     .par_d = 1,
                     .orientation = "rotate-90",
                     .crop = {4, 4, 16, 8},
                     .padded = TRUE,
                     .size = "8x32"},
             34, 20);
}

static void
add_tests (void)
{
  g_test_add_func ("/formats/all_formats_are_those_of_the_template", all_formats_are_those_of_the_template);
  g_test_add_func ("/formats/odd_sizes_pass_in_every_format", odd_sizes_pass_in_every_format);
  g_test_add_func ("/formats/padded_lines_pass_in_every_format", padded_lines_pass_in_every_format);
  g_test_add_func ("/formats/interlaced_frames_pass_in_every_format", interlaced_frames_pass_in_every_format);
  g_test_add_func ("/formats/alternating_fields_count_twice_in_height", alternating_fields_count_twice_in_height);
  g_test_add_func ("/formats/a_crop_is_seen_in_every_format", a_crop_is_seen_in_every_format);
  g_test_add_func ("/formats/all_at_once_in_every_format", all_at_once_in_every_format);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
