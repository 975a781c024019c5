/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The scene gate: what counts as another picture. */
#include "rig.h"
#include "scene.h"
#include "stage.h"

#define MAX_COST_US 5000
#define MAX_TRIES   50 /* of which the quickest counts */
#define TOLERANCE   26 /* half a step of the coarsest format, RGB8P; light and dark are 160 apart */

static Stage *
open_stage (const char *settings)
{
  g_autofree char *all = g_strconcat ("mode=archive interval=100000000 ", settings, NULL);

  return stage_new (TRUE, all);
}

static double
get_score (Stage *stage, guint caption)
{
  double score = -1;

  gst_structure_get_double (g_ptr_array_index (stage->captions, caption), "scene-score", &score);
  return score;
}

static void
check_and_close (Stage *stage, const char *expected)
{
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  g_autofree char *chosen = stage_list_times (stage);
  g_assert_cmpstr (chosen, ==, expected);
  stage_free (stage);
}

static void
a_cut_is_encoded_and_a_still_is_not (void)
{
  Stage *stage = open_stage ("scene-threshold=0.05");

  for (guint i = 0; i < 20; i++)
    stage_push (stage, i < 10 ? 16 : 235, i * 100, 100);
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  stage_listen (stage);
  g_assert_cmpfloat (get_score (stage, 0), ==, 1);
  g_assert_cmpfloat_with_epsilon (get_score (stage, 1), 219 / 255.0, 1e-9);
  g_assert_cmpuint (stage_get_stat (stage, "encodes"), ==, 2);
  g_assert_cmpuint (stage_get_stat (stage, "frames-gated"), ==, 18);
  check_and_close (stage, "0 1000");
}

static void
an_unchanged_scene_repeats_its_text_each_interval (void)
{
  Stage *stage = open_stage ("scene-threshold=0.05 max-in-flight=1");

  for (guint i = 0; i < 4; i++)
    stage_push (stage, i < 3 ? 16 : 235, i * 100, 100);
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  g_autofree char *texts = stage_join (stage, "text ");
  g_assert_cmpstr (texts, ==,
                   "text 0 100 black 64x48: What, text 100 100 black 64x48: What, text 200 100 black 64x48: What, "
                   "text 300 100 white 64x48: What");
  g_assert_cmpuint (fake_get_counts ().n_answers, ==, 2);
  stage_free (stage);
}

/* Each step is below the threshold; what counts is how far it is from the last one encoded. */
static void
a_fade_is_encoded_each_time_it_has_gone_far_enough (void)
{
  Stage *stage = open_stage ("scene-threshold=0.1");

  for (guint i = 0; i < 20; i++)
    stage_push (stage, (guint8) (16 + 10 * i), i * 100, 100);
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  /* 0.1 of 255 is 25.5: three steps. */
  check_and_close (stage, "0 300 600 900 1200 1500 1800");
}

static void
a_flash_between_due_times_is_not_seen_and_on_one_it_is (void)
{
  static const struct {
    guint flash;
    const char *expected;
  } cases[] = {{130, "0"}, {200, "0 200 300"}};

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    Stage *stage = open_stage ("scene-threshold=0.1");
    for (guint time = 0; time < 600; time += 10)
      stage_push (stage, time == cases[i].flash ? 235 : 60, time, 10);
    check_and_close (stage, cases[i].expected);
  }
}

/* Bars that move by two pixels a frame. */
static GstBuffer *
draw_bars (guint offset, gint64 pts)
{
  GstBuffer *buffer = stage_draw (16, pts, 100);
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  for (guint y = 0; y < STAGE_HEIGHT; y++)
    for (guint x = 0; x < STAGE_WIDTH; x++)
      map.data[y * STAGE_WIDTH + x] = (x + offset) / 32 % 2 == 0 ? 16 : 235;
  gst_buffer_unmap (buffer, &map);
  return buffer;
}

static void
a_slow_pan_is_encoded_before_it_has_moved_out (void)
{
  Stage *stage = open_stage ("scene-threshold=0.2");

  /* Two columns of 64 change by 0.86 twice a step: 0.054. The fourth step is 0.21 away. */
  for (guint i = 0; i < 13; i++)
    gst_pad_push (stage->in, draw_bars (2 * i, i * 100));
  check_and_close (stage, "0 400 800 1200");
}

static void
noise_below_the_threshold_is_no_change (void)
{
  Stage *stage = open_stage ("scene-threshold=0.05");

  for (guint i = 0; i < 30; i++)
    stage_push (stage, (guint8) (100 + (i * 7) % 11), i * 100, 100);
  check_and_close (stage, "0");
}

static void
max_interval_asks_again_about_an_unchanged_scene (void)
{
  Stage *stage = open_stage ("scene-threshold=0.05 max-interval=500000000");

  for (guint i = 0; i < 12; i++)
    stage_push (stage, 100, i * 100, 100);
  check_and_close (stage, "0 500 1000");
}

static void
a_discont_and_a_flush_forget_the_scene (void)
{
  Stage *stage = open_stage ("scene-threshold=0.05");

  stage_push (stage, 100, 0, 100);
  stage_push (stage, 100, 100, 100);
  GstBuffer *buffer = stage_draw (100, 200, 100);
  GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DISCONT);
  gst_pad_push (stage->in, buffer);
  stage_push (stage, 100, 300, 100);
  stage_listen (stage);
  stage_flush (stage, 0);
  stage_push (stage, 100, 0, 100);
  check_and_close (stage, "0 200 0");
}

static void
a_failed_frame_is_no_scene_to_repeat (void)
{
  Stage *stage = open_stage ("scene-threshold=0.05 on-error=warn max-in-flight=1");

  fake_script.encode_error = MLLAMA_ERROR_OUT_OF_MEMORY;
  fake_script.n_failing_encodes = 2;
  for (guint i = 0; i < 5; i++)
    stage_push (stage, 100, i * 100, 100);
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  g_autofree char *texts = stage_join (stage, "text ");
  g_assert_true (g_str_has_prefix (texts, "text 200 100 grey"));
  g_assert_cmpuint (stage_get_stat (stage, "encodes"), ==, 1);
  g_assert_cmpuint (stage_get_stat (stage, "frames-failed"), ==, 2);
  check_and_close (stage, "0 100 200");
}

static void
another_size_or_format_alone_is_no_change (void)
{
  Stage *stage = open_stage ("scene-threshold=0.05");
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, 128 * 96 * 3 / 2, NULL);

  stage_push (stage, 100, 0, 100);
  stage_send_caps (stage, "video/x-raw,format=NV12,width=128,height=96,framerate=0/1");
  gst_buffer_memset (buffer, 0, 100, 128 * 96);
  gst_buffer_memset (buffer, 128 * 96, 128, 128 * 96 / 2);
  GST_BUFFER_PTS (buffer) = 100 * GST_MSECOND;
  GST_BUFFER_DURATION (buffer) = 100 * GST_MSECOND;
  gst_pad_push (stage->in, buffer);
  check_and_close (stage, "0");
}

/* --- every format --- */

/* Dark above, bright below. */
static void
paint (GstVideoFormat format, guint width, guint height, GstMllamaCaptionScene *scene, gint64 *cost_us)
{
  GstVideoInfo gray, info;
  GstVideoFrame from, to, frame;

  gst_video_info_set_format (&gray, GST_VIDEO_FORMAT_GRAY8, width, height);
  gst_video_info_set_format (&info, format, width, height);
  GstBuffer *source = gst_buffer_new_allocate (NULL, gray.size, NULL);
  GstBuffer *target = gst_buffer_new_allocate (NULL, info.size, NULL);
  gst_buffer_memset (source, 0, 40, gray.size);
  gst_buffer_memset (source, gray.size / 2, 200, gray.size);
  gst_buffer_memset (target, 0, 0, info.size);
  GstVideoConverter *converter = gst_video_converter_new (&gray, &info, NULL);
  g_assert_true (gst_video_frame_map (&from, &gray, source, GST_MAP_READ));
  g_assert_true (gst_video_frame_map (&to, &info, target, GST_MAP_WRITE));
  gst_video_converter_frame (converter, &from, &to);
  gst_video_frame_unmap (&from);
  gst_video_frame_unmap (&to);
  g_assert_true (gst_video_frame_map (&frame, &info, target, GST_MAP_READ));
  *cost_us = G_MAXINT64;
  for (guint i = 0; i < MAX_TRIES && *cost_us >= MAX_COST_US; i++) {
    const gint64 start = g_get_monotonic_time ();
    g_assert_true (gst_mllama_caption_scene_init (scene, &frame));
    *cost_us = MIN (*cost_us, g_get_monotonic_time () - start);
  }
  gst_video_frame_unmap (&frame);
  gst_video_converter_free (converter);
  gst_buffer_unref (source);
  gst_buffer_unref (target);
}

static void
check_all_formats (guint width, guint height)
{
  GValue formats = G_VALUE_INIT;
  g_autoptr (GstCaps) caps = gst_caps_from_string (GST_VIDEO_CAPS_MAKE (GST_VIDEO_FORMATS_ALL));
  const GValue *list = gst_structure_get_value (gst_caps_get_structure (caps, 0), "format");

  g_value_init (&formats, GST_TYPE_LIST);
  g_value_copy (list, &formats);
  for (guint i = 0; i < gst_value_list_get_size (&formats); i++) {
    const char *name = g_value_get_string (gst_value_list_get_value (&formats, i));
    GstMllamaCaptionScene scene;
    gint64 cost_us;
    paint (gst_video_format_from_string (name), width, height, &scene, &cost_us);
    g_test_message ("%s: %u above, %u below, %" G_GINT64_FORMAT " us", name, scene.cells[4][32], scene.cells[31][32],
                    cost_us);
    g_assert_cmpint (ABS (scene.cells[4][32] - 45), <=, TOLERANCE);
    g_assert_cmpint (ABS (scene.cells[31][32] - 194), <=, TOLERANCE);
    g_assert_cmpint (ABS (scene.cells[4][0] - scene.cells[4][63]), <=, TOLERANCE);
    g_assert_cmpint (cost_us, <, MAX_COST_US);
  }
  g_value_unset (&formats);
}

static void
every_format_is_compared_in_less_than_5_ms (void)
{
  check_all_formats (1920, 1080);
}

static void
odd_sizes_are_compared_too (void)
{
  check_all_formats (131, 71);
  check_all_formats (16, 16);
}

static void
add_tests (void)
{
  g_test_add_func ("/scene/every_format_is_compared_in_less_than_5_ms", every_format_is_compared_in_less_than_5_ms);
  g_test_add_func ("/scene/odd_sizes_are_compared_too", odd_sizes_are_compared_too);
  g_test_add_func ("/scene/a_cut_is_encoded_and_a_still_is_not", a_cut_is_encoded_and_a_still_is_not);
  g_test_add_func ("/scene/an_unchanged_scene_repeats_its_text_each_interval",
                   an_unchanged_scene_repeats_its_text_each_interval);
  g_test_add_func ("/scene/a_fade_is_encoded_each_time_it_has_gone_far_enough",
                   a_fade_is_encoded_each_time_it_has_gone_far_enough);
  g_test_add_func ("/scene/a_flash_between_due_times_is_not_seen_and_on_one_it_is",
                   a_flash_between_due_times_is_not_seen_and_on_one_it_is);
  g_test_add_func ("/scene/a_slow_pan_is_encoded_before_it_has_moved_out",
                   a_slow_pan_is_encoded_before_it_has_moved_out);
  g_test_add_func ("/scene/noise_below_the_threshold_is_no_change", noise_below_the_threshold_is_no_change);
  g_test_add_func ("/scene/max_interval_asks_again_about_an_unchanged_scene",
                   max_interval_asks_again_about_an_unchanged_scene);
  g_test_add_func ("/scene/a_discont_and_a_flush_forget_the_scene", a_discont_and_a_flush_forget_the_scene);
  g_test_add_func ("/scene/a_failed_frame_is_no_scene_to_repeat", a_failed_frame_is_no_scene_to_repeat);
  g_test_add_func ("/scene/another_size_or_format_alone_is_no_change", another_size_or_format_alone_is_no_change);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
