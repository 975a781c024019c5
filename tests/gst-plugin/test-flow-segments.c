/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Segments: where due times start, and that times of one are never taken for times of another. */
#include "rig.h"
#include "stage.h"
#include <string.h>

#define SECONDS(n) ((GstClockTime) ((n) *GST_SECOND))

static GstSegment
make_segment (gdouble rate, GstClockTime start, GstClockTime stop, GstClockTime base)
{
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.rate = rate;
  segment.start = segment.time = start;
  segment.position = rate < 0 ? stop : start;
  segment.stop = stop;
  segment.base = base;
  return segment;
}

static void
an_accurate_seek_starts_the_grid_where_it_went (void)
{
  Stage *stage = stage_new (TRUE, "mode=archive");
  const GstSegment segment = make_segment (1, 2500 * GST_MSECOND, GST_CLOCK_TIME_NONE, 0);
  static const gint64 times[] = {2000, 2400, 2450, 2550, 3000, 3490, 3500, 4400, 4550};

  stage_send_segment (stage, &segment);
  for (guint i = 0; i < G_N_ELEMENTS (times); i++)
    stage_push (stage, 128, times[i], 50);
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  g_autofree char *chosen = stage_list_times (stage);
  /* The frame that ends where the segment starts is not in it, and the grid is 2.5 s + k. */
  g_assert_cmpstr (chosen, ==, "2550 3500 4550");
  g_assert_cmpuint (stage_get_time (stage, 0, "running-time"), ==, 50 * GST_MSECOND);
  g_assert_cmpuint (stage_get_time (stage, 0, "stream-time"), ==, 2550 * GST_MSECOND);
  g_assert_cmpuint (stage_get_time (stage, 0, "duration"), ==, 950 * GST_MSECOND);
  /* All video passed, in the segment or not. */
  g_assert_cmpint (stage_find (stage, "video 2000"), >=, 0);
  stage_free (stage);
}

static void
a_frame_across_the_start_is_chosen_at_the_start (void)
{
  Stage *stage = stage_new (FALSE, "mode=archive");
  const GstSegment segment = make_segment (1, 2500 * GST_MSECOND, GST_CLOCK_TIME_NONE, 0);

  stage_send_segment (stage, &segment);
  stage_push (stage, 128, 2480, 40);
  stage_push (stage, 128, 2520, 40);
  g_autofree char *chosen = stage_list_times (stage);
  g_assert_cmpstr (chosen, ==, "2500");
  stage_free (stage);
}

static void
frames_outside_the_segment_are_not_chosen (void)
{
  Stage *stage = stage_new (FALSE, "mode=archive");
  const GstSegment segment = make_segment (1, SECONDS (2), SECONDS (4), 0);
  static const gint64 times[] = {0, 1000, 2000, 3000, 4000, 5000};

  stage_send_segment (stage, &segment);
  for (guint i = 0; i < G_N_ELEMENTS (times); i++)
    stage_push (stage, 128, times[i], 40);
  g_autofree char *chosen = stage_list_times (stage);
  g_assert_cmpstr (chosen, ==, "2000 3000");
  g_autofree char *video = stage_join (stage, "video ");
  g_assert_cmpstr (video, ==, "video 0, video 1000, video 2000, video 3000, video 4000, video 5000");
  stage_free (stage);
}

static void
the_same_segment_again_does_not_restart_the_grid (void)
{
  Stage *stage = stage_new (FALSE, "mode=archive");
  GstSegment segment = make_segment (1, 0, GST_CLOCK_TIME_NONE, 0);

  stage_push (stage, 128, 0, 40);
  segment.position = 500 * GST_MSECOND;
  segment.stop = SECONDS (30);
  stage_send_segment (stage, &segment);
  stage_push (stage, 128, 500, 40);
  stage_push (stage, 128, 1000, 40);
  g_autofree char *chosen = stage_list_times (stage);
  g_assert_cmpstr (chosen, ==, "0 1000");
  stage_free (stage);
}

/* Sum of all GAPs in ms; how many frames one stands for is a matter of timing. */
static gint64
count_gaps (Stage *stage)
{
  g_autofree char *all = stage_join (stage, "gap ");
  g_auto (GStrv) gaps = g_strsplit (all, ", ", -1);
  gint64 sum = 0;

  for (guint i = 0; gaps[i]; i++)
    sum += g_ascii_strtoll (strrchr (gaps[i], ' '), NULL, 10);
  return sum;
}

static void
backwards_video_passes_without_captions (void)
{
  Stage *stage = stage_new (TRUE, "mode=archive");
  const GstSegment segment = make_segment (-1, 0, SECONDS (3), 0);

  stage_send_segment (stage, &segment);
  for (gint64 time = 2900; time >= 0; time -= 100)
    g_assert_cmpint (stage_push (stage, 128, time, 100), ==, GST_FLOW_OK);
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  g_autofree char *chosen = stage_list_times (stage), *texts = stage_join (stage, "text ");
  g_assert_cmpstr (chosen, ==, "");
  g_assert_cmpstr (texts, ==, "");
  g_assert_cmpuint (stage_get_stat (stage, "frames-seen"), ==, 30);
  g_assert_cmpuint (stage_get_stat (stage, "encodes"), ==, 0);
  g_assert_cmpuint (stage_count_messages (stage, GST_MESSAGE_WARNING), ==, 0);
  /* Nobody downstream waits for text. */
  g_assert_cmpint (count_gaps (stage), ==, 3000);
  g_assert_cmpint (stage_find (stage, "eos"), >, stage_find (stage, "text-eos"));
  stage_free (stage);
}

static void
forwards_again_there_are_captions_again (void)
{
  Stage *stage = stage_new (FALSE, "mode=archive");
  const GstSegment back = make_segment (-1, 0, SECONDS (2), 0), fast = make_segment (2, SECONDS (1), SECONDS (9), 0);

  stage_send_segment (stage, &back);
  stage_push (stage, 128, 1500, 40);
  stage_flush (stage, 0);
  stage_send_segment (stage, &fast);
  stage_push (stage, 128, 1000, 40);
  stage_push (stage, 128, 1500, 40);
  stage_push (stage, 128, 3000, 40);
  g_autofree char *chosen = stage_list_times (stage);
  g_assert_cmpstr (chosen, ==, "1000 3000");
  g_assert_cmpuint (stage_get_time (stage, 1, "running-time"), ==, SECONDS (1));
  stage_free (stage);
}

static void
outside_time_video_passes_and_in_time_again_it_is_captioned (void)
{
  Stage *stage = stage_new (FALSE, "mode=archive");
  const GstSegment time = make_segment (1, SECONDS (5), GST_CLOCK_TIME_NONE, 0);
  GstSegment bytes;

  gst_segment_init (&bytes, GST_FORMAT_BYTES);
  stage_send_segment (stage, &bytes);
  g_assert_cmpint (stage_push (stage, 128, 0, 40), ==, GST_FLOW_OK);
  g_assert_cmpint (stage_push (stage, 128, -1, -1), ==, GST_FLOW_OK);
  stage_send_segment (stage, &time);
  g_assert_cmpint (stage_push (stage, 128, 5000, 40), ==, GST_FLOW_OK);
  g_autofree char *chosen = stage_list_times (stage), *video = stage_join (stage, "video ");
  g_assert_cmpstr (chosen, ==, "5000");
  g_assert_cmpstr (video, ==, "video 0, video -1, video 5000");
  g_assert_cmpuint (stage_count_messages (stage, GST_MESSAGE_WARNING), ==, 1);
  stage_free (stage);
}

/* A live source that starts its clock again, while a caption of the time before is still being made. */
static void
a_caption_that_arrives_in_a_new_segment_has_its_times (void)
{
  for (guint with_video = 0; with_video < 2; with_video++) {
    Stage *stage = stage_new (TRUE, "mode=live");
    const GstSegment old = make_segment (1, SECONDS (30), GST_CLOCK_TIME_NONE, 0);
    const GstSegment new = make_segment (1, 0, GST_CLOCK_TIME_NONE, 40 * GST_MSECOND);
    fake_script.encode_ms = 150;
    stage_send_segment (stage, &old);
    stage_push (stage, 16, 30000, 40);
    while (fake_get_counts ().n_encodes < 1)
      g_usleep (500);
    stage_send_segment (stage, &new);
    if (with_video > 0)
      stage_push (stage, 235, 0, 40);
    stage_wait_for_captions (stage, 1);
    gst_pad_push_event (stage->in, gst_event_new_eos ());
    g_autofree char *texts = stage_join (stage, "text ");
    g_assert_true (g_str_has_prefix (texts, with_video > 0 ? "text 40 960 black" : "text 0 1000 black"));
    g_assert_null (g_strstr_len (texts, -1, "text 30"));
    stage_free (stage);
  }
}

static void
a_new_prompt_is_not_asked_of_a_frame_of_the_segment_before (void)
{
  Stage *stage = stage_new (FALSE, "mode=archive interval=10000000000");
  const GstSegment new = make_segment (1, SECONDS (1), GST_CLOCK_TIME_NONE, SECONDS (60));

  stage_push (stage, 16, 0, 40);
  stage_wait_for_captions (stage, 1);
  stage_send_segment (stage, &new);
  GstBuffer *unfit = stage_draw (235, 1000, 40);
  GST_BUFFER_FLAG_SET (unfit, GST_BUFFER_FLAG_CORRUPTED);
  gst_pad_push (stage->in, unfit);
  g_object_set (stage->element, "prompt", "Two", NULL);
  stage_push (stage, 235, 1040, 40);
  stage_wait_for_captions (stage, 2);
  g_assert_cmpstr (stage_get_text (stage, 1), ==, "white 64x48: Two");
  stage_free (stage);
}

static void
add_tests (void)
{
  g_test_add_func ("/segments/an_accurate_seek_starts_the_grid_where_it_went",
                   an_accurate_seek_starts_the_grid_where_it_went);
  g_test_add_func ("/segments/a_frame_across_the_start_is_chosen_at_the_start",
                   a_frame_across_the_start_is_chosen_at_the_start);
  g_test_add_func ("/segments/frames_outside_the_segment_are_not_chosen", frames_outside_the_segment_are_not_chosen);
  g_test_add_func ("/segments/the_same_segment_again_does_not_restart_the_grid",
                   the_same_segment_again_does_not_restart_the_grid);
  g_test_add_func ("/segments/backwards_video_passes_without_captions", backwards_video_passes_without_captions);
  g_test_add_func ("/segments/forwards_again_there_are_captions_again", forwards_again_there_are_captions_again);
  g_test_add_func ("/segments/outside_time_video_passes_and_in_time_again_it_is_captioned",
                   outside_time_video_passes_and_in_time_again_it_is_captioned);
  g_test_add_func ("/segments/a_caption_that_arrives_in_a_new_segment_has_its_times",
                   a_caption_that_arrives_in_a_new_segment_has_its_times);
  g_test_add_func ("/segments/a_new_prompt_is_not_asked_of_a_frame_of_the_segment_before",
                   a_new_prompt_is_not_asked_of_a_frame_of_the_segment_before);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
