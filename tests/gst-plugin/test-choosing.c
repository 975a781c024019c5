/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which frames are chosen: by their times, and by those who ask for one. */
#include "rig.h"
#include "stage.h"
#include <string.h>

static Stage *
open_stage (const char *settings)
{
  g_autofree char *all = g_strconcat ("mode=archive attach-meta=false ", settings, NULL);

  return stage_new (FALSE, all);
}

/* Ends the stream and compares the times of the captions. */
static void
check_and_close (Stage *stage, const char *expected)
{
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  g_autofree char *chosen = stage_list_times (stage);
  g_assert_cmpstr (chosen, ==, expected);
  stage_free (stage);
}

/* A frame for each number, at a constant rate. */
static void
push_rate (Stage *stage, guint n_frames, guint64 numerator, guint64 denominator)
{
  for (guint i = 0; i < n_frames; i++) {
    GstBuffer *buffer = stage_draw (128, 0, -1);
    GST_BUFFER_PTS (buffer) = gst_util_uint64_scale (i, denominator * GST_SECOND, numerator);
    GST_BUFFER_DURATION (buffer) = gst_util_uint64_scale (GST_SECOND, denominator, numerator);
    gst_pad_push (stage->in, buffer);
  }
}

static void
a_constant_rate_gives_the_first_frame_at_or_after_each_due_time (void)
{
  static const struct {
    guint64 numerator, denominator;
    const char *interval, *expected;
  } cases[] = {
      {30, 1, "interval=500000000", "0 500 1000 1500"},
      {30000, 1001, "interval=500000000", "0 500 1001 1501"},
      {25, 1, "interval=300000000", "0 320 600 920 1200 1520 1800"},
      {2, 1, "interval=100000000", "0 500 1000 1500"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    Stage *stage = open_stage (cases[i].interval);
    push_rate (stage, (guint) (2 * cases[i].numerator / cases[i].denominator), cases[i].numerator,
               cases[i].denominator);
    check_and_close (stage, cases[i].expected);
  }
}

static void
due_times_do_not_drift (void)
{
  Stage *stage = open_stage ("interval=1000000000");
  g_autoptr (GString) expected = g_string_new ("0");

  /* 7 frames a second never meet the grid but at whole seconds, for ten minutes. */
  for (guint i = 1; i < 600; i++)
    g_string_append_printf (expected, " %u", i * 1000);
  push_rate (stage, 4200, 7, 1);
  check_and_close (stage, expected->str);
}

static void
a_variable_rate_gives_one_frame_for_each_interval_it_reaches (void)
{
  static const gint64 times[] = {0, 1, 2, 990, 1010, 1011, 3700, 3999, 4000, 4001, 9000, 9999, 10000};
  Stage *stage = open_stage ("");

  for (guint i = 0; i < G_N_ELEMENTS (times); i++)
    stage_push (stage, 128, times[i], -1);
  check_and_close (stage, "0 1010 3700 4000 9000 10000");
}

static void
frames_without_a_time_are_placed_after_the_one_before (void)
{
  Stage *stage = open_stage ("");

  for (guint i = 0; i < 5; i++)
    stage_push (stage, 128, -1, 400);
  stage_push (stage, 128, 2500, 400);
  stage_push (stage, 128, -1, 400);
  stage_push (stage, 128, -1, 400);
  check_and_close (stage, "0 1200 2500 3300");
}

static void
a_first_frame_without_a_time_stands_at_the_start_of_the_segment (void)
{
  Stage *stage = open_stage ("");
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.time = 7 * GST_SECOND;
  stage_send_segment (stage, &segment);
  stage_push (stage, 128, -1, 40);
  check_and_close (stage, "7000");
}

static void
a_discont_is_no_due_time (void)
{
  Stage *stage = open_stage ("");

  stage_push (stage, 128, 0, 40);
  GstBuffer *buffer = stage_draw (128, 500, 40);
  GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DISCONT);
  gst_pad_push (stage->in, buffer);
  stage_push (stage, 128, 1000, 40);
  check_and_close (stage, "0 1000");
}

static void
a_jump_back_is_due_and_jitter_is_not (void)
{
  Stage *stage = open_stage ("");
  static const gint64 times[] = {5000, 5100, 4990, 5200, 6000, 5990, 6010, 1200, 1300, 2000};

  for (guint i = 0; i < G_N_ELEMENTS (times); i++)
    stage_push (stage, 128, times[i], 40);
  check_and_close (stage, "5000 6000 1200 2000");
}

static void
gap_events_pass_and_are_not_chosen (void)
{
  Stage *stage = open_stage ("");

  stage_push (stage, 128, 0, 40);
  gst_pad_push_event (stage->in, gst_event_new_gap (GST_SECOND, GST_SECOND));
  stage_push (stage, 128, 2000, 40);
  g_assert_cmpint (stage_find (stage, "video-gap 1000 1000"), >, 0);
  check_and_close (stage, "0 2000");
}

/* --- asked for --- */

static GstEvent *
make_force_key_unit (void)
{
  return gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM,
                               gst_structure_new ("GstForceKeyUnit", "timestamp", G_TYPE_UINT64, (guint64) 400000000,
                                                  "stream-time", G_TYPE_UINT64, (guint64) 400000000, "running-time",
                                                  G_TYPE_UINT64, (guint64) 400000000, "all-headers", G_TYPE_BOOLEAN,
                                                  TRUE, "count", G_TYPE_UINT, 3, NULL));
}

static void
caption_now_chooses_the_next_frame_and_only_that (void)
{
  Stage *stage = open_stage ("");

  stage_push (stage, 128, 0, 40);
  g_signal_emit_by_name (stage->element, "caption-now");
  g_signal_emit_by_name (stage->element, "caption-now");
  stage_push (stage, 128, 300, 40);
  stage_push (stage, 128, 340, 40);
  stage_push (stage, 128, 1000, 40);
  /* It lasts no longer than to the next due time. */
  stage_wait_for_captions (stage, 3);
  g_assert_cmpuint (stage_get_time (stage, 1, "duration"), ==, 700 * GST_MSECOND);
  check_and_close (stage, "0 300 1000");
}

static void
caption_now_waits_for_a_frame_that_can_be_read (void)
{
  Stage *stage = open_stage ("");

  stage_push (stage, 128, 0, 40);
  g_signal_emit_by_name (stage->element, "caption-now");
  GstBuffer *broken = stage_draw (128, 300, 40);
  GST_BUFFER_FLAG_SET (broken, GST_BUFFER_FLAG_CORRUPTED);
  gst_pad_push (stage->in, broken);
  stage_push (stage, 128, 340, 40);
  check_and_close (stage, "0 340");
}

static void
caption_now_passes_the_scene_gate (void)
{
  Stage *stage = open_stage ("scene-threshold=0.1");

  stage_push (stage, 128, 0, 40);
  stage_push (stage, 128, 1000, 40);
  g_signal_emit_by_name (stage->element, "caption-now");
  stage_push (stage, 128, 1500, 40);
  stage_push (stage, 128, 2000, 40);
  check_and_close (stage, "0 1500");
}

static void
a_flush_forgets_caption_now (void)
{
  Stage *stage = open_stage ("");

  stage_push (stage, 128, 0, 40);
  stage_wait_for_captions (stage, 1);
  g_signal_emit_by_name (stage->element, "caption-now");
  stage_flush (stage, 5 * GST_SECOND);
  stage_push (stage, 128, 5000, 40);
  stage_push (stage, 128, 5040, 40);
  check_and_close (stage, "0 5000");
}

static GstPadProbeReturn
keep_event (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  GstEvent *event = GST_PAD_PROBE_INFO_EVENT (info);

  if (GST_EVENT_TYPE (event) == GST_EVENT_CUSTOM_DOWNSTREAM)
    *(GstEvent **) data = gst_event_ref (event);
  return GST_PAD_PROBE_OK;
}

static void
a_force_key_unit_chooses_the_next_frame_and_passes_unchanged (void)
{
  Stage *stage = open_stage ("");
  g_autoptr (GstEvent) sent = make_force_key_unit (), passed = NULL;

  gst_pad_add_probe (stage->out, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, keep_event, &passed, NULL);
  stage_push (stage, 128, 0, 40);
  gst_pad_push_event (stage->in, gst_event_ref (sent));
  stage_push (stage, 128, 400, 40);
  g_assert_true (passed == sent);
  check_and_close (stage, "0 400");
}

static void
other_custom_events_pass_and_choose_nothing (void)
{
  Stage *stage = open_stage ("");

  stage_push (stage, 128, 0, 40);
  gst_pad_push_event (stage->in, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, gst_structure_new_empty ("other")));
  stage_push (stage, 128, 400, 40);
  g_assert_cmpint (stage_find (stage, "custom-downstream"), >, 0);
  check_and_close (stage, "0");
}

static void
add_tests (void)
{
  g_test_add_func ("/choosing/a_constant_rate_gives_the_first_frame_at_or_after_each_due_time",
                   a_constant_rate_gives_the_first_frame_at_or_after_each_due_time);
  g_test_add_func ("/choosing/due_times_do_not_drift", due_times_do_not_drift);
  g_test_add_func ("/choosing/a_variable_rate_gives_one_frame_for_each_interval_it_reaches",
                   a_variable_rate_gives_one_frame_for_each_interval_it_reaches);
  g_test_add_func ("/choosing/frames_without_a_time_are_placed_after_the_one_before",
                   frames_without_a_time_are_placed_after_the_one_before);
  g_test_add_func ("/choosing/a_first_frame_without_a_time_stands_at_the_start_of_the_segment",
                   a_first_frame_without_a_time_stands_at_the_start_of_the_segment);
  g_test_add_func ("/choosing/a_discont_is_no_due_time", a_discont_is_no_due_time);
  g_test_add_func ("/choosing/a_jump_back_is_due_and_jitter_is_not", a_jump_back_is_due_and_jitter_is_not);
  g_test_add_func ("/choosing/gap_events_pass_and_are_not_chosen", gap_events_pass_and_are_not_chosen);
  g_test_add_func ("/choosing/caption_now_chooses_the_next_frame_and_only_that",
                   caption_now_chooses_the_next_frame_and_only_that);
  g_test_add_func ("/choosing/caption_now_waits_for_a_frame_that_can_be_read",
                   caption_now_waits_for_a_frame_that_can_be_read);
  g_test_add_func ("/choosing/caption_now_passes_the_scene_gate", caption_now_passes_the_scene_gate);
  g_test_add_func ("/choosing/a_flush_forgets_caption_now", a_flush_forgets_caption_now);
  g_test_add_func ("/choosing/a_force_key_unit_chooses_the_next_frame_and_passes_unchanged",
                   a_force_key_unit_chooses_the_next_frame_and_passes_unchanged);
  g_test_add_func ("/choosing/other_custom_events_pass_and_choose_nothing",
                   other_custom_events_pass_and_choose_nothing);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
