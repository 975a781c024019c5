/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Video on its way through: untouched, in order, and never in the way of anybody. */
#include "rig.h"

#define RED "pattern=red ! video/x-raw,format=I420,width=64,height=64,framerate=10/1"

static void
src_may_stay_unlinked_if_captions_are_wanted (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=15 " RED " ! mllamacaption name=c post-messages=false "
                      "c.text_0 ! fakesink");

  rig_watch (rig, "text_0");
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_auto (GStrv) lines = rig_read (rig, "text_0 caption");
  g_assert_cmpuint (g_strv_length (lines), ==, 2);
  rig_free (rig);
}

static void
src_unlinked_stops_the_flow_if_nothing_is_wanted (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=15 " RED " ! mllamacaption name=c post-messages=false");

  rig_run (rig);
  g_assert_nonnull (rig->error);
  rig_free (rig);
}

static void
text_ends_before_video_and_after_its_captions (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=15 " RED " ! mllamacaption name=c max-in-flight=8 c.src ! fakesink "
                      "c.text_0 ! fakesink c.text_1 ! fakesink");

  fake_script.encode_ms = 100;
  rig_watch (rig, "src");
  rig_watch (rig, "text_0");
  rig_watch (rig, "text_1");
  rig_run (rig);
  g_assert_cmpuint (rig->captions->len, ==, 4);
  const gint text_eos = MAX (rig_find (rig, "text_0 eos"), rig_find (rig, "text_1 eos"));
  g_assert_cmpint (rig_find (rig, "text_0 caption 1000 1000"), <, rig_find (rig, "text_0 eos"));
  g_assert_cmpint (rig_find (rig, "text_0 caption 1000 1000"), >, 0);
  g_assert_cmpint (text_eos, <, rig_find (rig, "src eos"));
  /* The messages were there before the end was. */
  GstMessage *last = g_ptr_array_index (rig->messages, rig->messages->len - 1);
  g_assert_cmpint (GST_MESSAGE_TYPE (last), ==, GST_MESSAGE_EOS);
  rig_free (rig);
}

/* --- the invariant: a video buffer never overtakes its text --- */

typedef struct {
  GMutex lock;
  GCond changed;
  GstClockTime covered;
  guint n_captions;
  gboolean arrival;
} Coverage;

static GstPadProbeReturn
note_coverage (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Coverage *coverage = data;
  GstClockTime start = 0, duration = 0;

  g_mutex_lock (&coverage->lock);
  if (GST_PAD_PROBE_INFO_TYPE (info) & GST_PAD_PROBE_TYPE_BUFFER) {
    start = GST_BUFFER_PTS (GST_PAD_PROBE_INFO_BUFFER (info));
    duration = GST_BUFFER_DURATION (GST_PAD_PROBE_INFO_BUFFER (info));
    coverage->n_captions++;
  } else if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_GAP) {
    gst_event_parse_gap (GST_PAD_PROBE_INFO_EVENT (info), &start, &duration);
    g_assert_cmpuint (duration, >, 0);
  }
  coverage->covered = MAX (coverage->covered, start + duration);
  g_cond_broadcast (&coverage->changed);
  g_mutex_unlock (&coverage->lock);
  return GST_PAD_PROBE_OK;
}

/* Holds the video buffer: text must come from what was handed over before. */
static GstPadProbeReturn
wait_for_coverage (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Coverage *coverage = data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  const GstClockTime end = GST_BUFFER_PTS (buffer) + GST_BUFFER_DURATION (buffer);
  const gint64 deadline = g_get_monotonic_time () + 3 * G_TIME_SPAN_SECOND;

  g_mutex_lock (&coverage->lock);
  /* With the frame's time, an unanswered frame is as far as text can reach. */
  while (coverage->covered < (coverage->arrival ? end : MIN (end, coverage->n_captions * GST_SECOND)))
    g_assert_true (g_cond_wait_until (&coverage->changed, &coverage->lock, deadline));
  g_mutex_unlock (&coverage->lock);
  return GST_PAD_PROBE_OK;
}

static void
check_invariant (const char *settings, gboolean arrival, guint encode_ms)
{
  Coverage coverage = {.arrival = arrival};
  Rig *rig = rig_new (
      "videotestsrc num-buffers=45 " RED " ! mllamacaption name=c %s c.src ! fakesink c.text_0 ! fakesink", settings);
  g_autoptr (GstPad) src = gst_element_get_static_pad (rig->element, "src");
  g_autoptr (GstPad) text = gst_element_get_static_pad (rig->element, "text_0");

  g_mutex_init (&coverage.lock);
  g_cond_init (&coverage.changed);
  fake_script.encode_ms = encode_ms;
  gst_pad_add_probe (text, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, note_coverage, &coverage,
                     NULL);
  gst_pad_add_probe (src, GST_PAD_PROBE_TYPE_BUFFER, wait_for_coverage, &coverage, NULL);
  rig_run (rig);
  g_assert_no_error (rig->error);
  rig_free (rig);
  g_assert_cmpint (coverage.n_captions > 0, ==, encode_ms < 1000);
  g_mutex_clear (&coverage.lock);
  g_cond_clear (&coverage.changed);
}

static void
text_covers_video_before_it_is_pushed (void)
{
  check_invariant ("mode=archive", FALSE, 20);
  check_invariant ("mode=archive max-in-flight=8", FALSE, 20);
  check_invariant ("mode=archive text-timestamps=arrival", TRUE, 20);
  check_invariant ("mode=live", TRUE, 20);
  check_invariant ("mode=archive scene-threshold=0.1", TRUE, 20);
  /* No caption ever comes: only GAPs can. */
  check_invariant ("mode=live eos-timeout=0", TRUE, 20000);
}

/* --- frames that are not like the others --- */

/* Pushes frames of these times; -1: none. */
static void
feed (GstElement *source, const gint64 *times_ms, guint n, GstBufferFlags flags)
{
  for (guint i = 0; i < n; i++) {
    GstBuffer *buffer = gst_buffer_new_allocate (NULL, 64 * 64 * 3 / 2, NULL);
    GstFlowReturn flow;
    gst_buffer_memset (buffer, 0, 128, 64 * 64 * 3 / 2);
    if (times_ms[i] >= 0)
      GST_BUFFER_PTS (buffer) = (GstClockTime) times_ms[i] * GST_MSECOND;
    GST_BUFFER_FLAG_SET (buffer, flags);
    g_signal_emit_by_name (source, "push-buffer", buffer, &flow);
    gst_buffer_unref (buffer);
  }
}

#define APPSRC "appsrc name=a format=time block=true caps=video/x-raw,format=I420,width=64,height=64,framerate=0/1 ! "

static void
end (GstElement *source)
{
  GstFlowReturn flow;

  g_signal_emit_by_name (source, "end-of-stream", &flow);
}

static void
chooses_by_time_at_a_variable_rate (void)
{
  static const gint64 times[] = {0, 10, 900, 999, 1003, 1500, 4200, 4900, 5000, 5001};
  static const guint chosen[] = {0, 1003, 4200, 5000};
  Rig *rig = rig_new (APPSRC "mllamacaption name=c ! fakesink");
  g_autoptr (GstElement) source = gst_bin_get_by_name (GST_BIN (rig->pipeline), "a");

  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  feed (source, times, G_N_ELEMENTS (times), 0);
  end (source);
  rig_wait_for_end (rig);
  g_assert_cmpuint (rig->captions->len, ==, G_N_ELEMENTS (chosen));
  for (guint i = 0; i < G_N_ELEMENTS (chosen); i++) {
    g_assert_cmpuint (rig_get_time (rig, i, "pts"), ==, chosen[i] * GST_MSECOND);
    g_assert_cmpuint (rig_get_time (rig, i, "duration"), ==, (1000 - chosen[i] % 1000) * GST_MSECOND);
  }
  rig_free (rig);
}

static void
interval_zero_takes_every_frame (void)
{
  Rig *rig =
      rig_new ("videotestsrc num-buffers=12 " RED " ! mllamacaption name=c interval=0 attach-meta=false ! fakesink");

  rig_run (rig);
  g_assert_cmpuint (rig->captions->len, ==, 12);
  for (guint i = 0; i < 12; i++) {
    g_assert_cmpuint (rig_get_time (rig, i, "pts"), ==, i * 100 * GST_MSECOND);
    g_assert_cmpuint (rig_get_time (rig, i, "duration"), ==, 100 * GST_MSECOND);
  }
  rig_free (rig);
}

static void
frames_without_a_time_follow_the_one_before (void)
{
  static const gint64 times[] = {-1, -1, 2500, -1};
  Rig *rig = rig_new (APPSRC "mllamacaption name=c ! fakesink c.text_0 ! fakesink");
  g_autoptr (GstElement) source = gst_bin_get_by_name (GST_BIN (rig->pipeline), "a");

  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  feed (source, times, G_N_ELEMENTS (times), 0);
  end (source);
  rig_wait_for_end (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (rig->captions->len, ==, 2);
  g_assert_cmpuint (rig_get_time (rig, 1, "pts"), ==, 2500 * GST_MSECOND);
  rig_free (rig);
}

static void
unfit_frames_are_not_chosen (void)
{
  static const GstBufferFlags flags[] = {GST_BUFFER_FLAG_GAP, GST_BUFFER_FLAG_CORRUPTED, GST_BUFFER_FLAG_DECODE_ONLY};
  static const gint64 unfit[] = {0, 1000}, fit[] = {1500};

  for (guint i = 0; i < G_N_ELEMENTS (flags); i++) {
    Rig *rig = rig_new (APPSRC "mllamacaption name=c ! fakesink");
    g_autoptr (GstElement) source = gst_bin_get_by_name (GST_BIN (rig->pipeline), "a");
    gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
    feed (source, unfit, G_N_ELEMENTS (unfit), flags[i]);
    feed (source, fit, G_N_ELEMENTS (fit), 0);
    end (source);
    rig_wait_for_end (rig);
    g_assert_cmpuint (rig->captions->len, ==, 1);
    g_assert_cmpuint (rig_get_time (rig, 0, "pts"), ==, 1500 * GST_MSECOND);
    g_assert_cmpuint (rig_get_stat (rig, "frames-seen"), ==, 3);
    rig_free (rig);
  }
}

static void
a_cut_is_seen_and_a_still_is_not_captioned_again (void)
{
  Rig *rig = rig_new ("concat name=k ! mllamacaption name=c scene-threshold=0.05 prompt=What ! fakesink "
                      "videotestsrc num-buffers=30 " RED " ! k. "
                      "videotestsrc num-buffers=30 pattern=white ! video/x-raw,format=I420,width=64,height=64,"
                      "framerate=10/1 ! k.");
  double score;

  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (rig->captions->len, ==, 2);
  g_assert_cmpstr (rig_get_text (rig, 0), ==, "red 64x64: What");
  g_assert_cmpstr (rig_get_text (rig, 1), ==, "white 64x64: What");
  g_assert_true (gst_structure_get_double (g_ptr_array_index (rig->captions, 1), "scene-score", &score));
  g_assert_cmpfloat (score, >, 0.3);
  rig_free (rig);
}

static GstPadProbeReturn
force_at_500_ms (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Rig *rig = data;

  if (GST_BUFFER_PTS (GST_PAD_PROBE_INFO_BUFFER (info)) == 500 * GST_MSECOND)
    g_signal_emit_by_name (rig->element, "caption-now");
  if (GST_BUFFER_PTS (GST_PAD_PROBE_INFO_BUFFER (info)) == 700 * GST_MSECOND) {
    GstStructure *structure = gst_structure_new ("GstForceKeyUnit", "all-headers", G_TYPE_BOOLEAN, TRUE, NULL);
    gst_pad_send_event (pad, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, structure));
  }
  return GST_PAD_PROBE_OK;
}

static void
caption_now_and_force_key_unit_choose_the_next_frame (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=15 " RED " ! mllamacaption name=c ! fakesink");
  g_autoptr (GstPad) sink = gst_element_get_static_pad (rig->element, "sink");

  gst_pad_add_probe (sink, GST_PAD_PROBE_TYPE_BUFFER, force_at_500_ms, rig, NULL);
  rig_watch (rig, "src");
  rig_run (rig);
  g_assert_cmpuint (rig->captions->len, ==, 4);
  g_assert_cmpuint (rig_get_time (rig, 1, "pts"), ==, 500 * GST_MSECOND);
  g_assert_cmpuint (rig_get_time (rig, 2, "pts"), ==, 700 * GST_MSECOND);
  g_assert_cmpuint (rig_get_time (rig, 3, "pts"), ==, 1000 * GST_MSECOND);
  g_assert_cmpint (rig_find (rig, "src custom-downstream"), >=, 0);
  rig_free (rig);
}

static void
caps_may_change_on_the_way (void)
{
  Rig *rig = rig_new ("concat name=k ! mllamacaption name=c prompt=What max-in-flight=8 ! fakesink c.text_0 ! fakesink "
                      "videotestsrc num-buffers=15 " RED " ! k. "
                      "videotestsrc num-buffers=15 pattern=blue ! video/x-raw,format=NV12,width=32,height=16,"
                      "framerate=10/1 ! k.");

  fake_script.encode_ms = 10;
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (rig->captions->len, ==, 4);
  g_assert_cmpstr (rig_get_text (rig, 1), ==, "red 64x64: What");
  g_assert_cmpstr (rig_get_text (rig, 2), ==, "blue 32x16: What");
  rig_free (rig);
}

static void
without_time_video_passes_and_captions_are_off (void)
{
  Rig *rig = rig_new ("appsrc name=a format=bytes caps=video/x-raw,format=I420,width=64,height=64,framerate=10/1 ! "
                      "mllamacaption name=c ! fakesink c.text_0 ! fakesink");
  g_autoptr (GstElement) source = gst_bin_get_by_name (GST_BIN (rig->pipeline), "a");
  static const gint64 times[] = {0, 1000};

  rig_watch (rig, "src");
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  feed (source, times, 2, 0);
  end (source);
  rig_wait_for_end (rig);
  g_assert_no_error (rig->error);
  g_auto (GStrv) lines = rig_read (rig, "src video");
  g_assert_cmpuint (g_strv_length (lines), ==, 2);
  g_assert_cmpuint (rig->captions->len, ==, 0);
  g_assert_cmpuint (rig_count_messages (rig, GST_MESSAGE_WARNING), ==, 1);
  rig_free (rig);
}

/* --- video itself --- */

static GstPadProbeReturn
note_pointer (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  GPtrArray *pointers = data;

  g_ptr_array_add (pointers, gst_buffer_peek_memory (GST_PAD_PROBE_INFO_BUFFER (info), 0));
  return GST_PAD_PROBE_OK;
}

static void
the_memory_that_goes_in_comes_out (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=25 " RED " ! mllamacaption name=c ! fakesink");
  g_autoptr (GstPad) sink = gst_element_get_static_pad (rig->element, "sink");
  g_autoptr (GstPad) src = gst_element_get_static_pad (rig->element, "src");
  g_autoptr (GPtrArray) in = g_ptr_array_new (), out = g_ptr_array_new ();

  gst_pad_add_probe (sink, GST_PAD_PROBE_TYPE_BUFFER, note_pointer, in, NULL);
  gst_pad_add_probe (src, GST_PAD_PROBE_TYPE_BUFFER, note_pointer, out, NULL);
  rig_run (rig);
  g_assert_cmpuint (in->len, ==, 25);
  g_assert_cmpuint (out->len, ==, 25);
  for (guint i = 0; i < 25; i++)
    g_assert_true (g_ptr_array_index (in, i) == g_ptr_array_index (out, i));
  rig_free (rig);
}

/* On the streaming thread, where such queries belong. */
static GstPadProbeReturn
ask_for_allocation (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (pad);
  GstQuery *query = gst_query_new_allocation (caps, TRUE);

  gst_pad_query (pad, query);
  *(guint *) data = gst_query_get_n_allocation_metas (query);
  gst_query_unref (query);
  return GST_PAD_PROBE_REMOVE;
}

static void
nothing_is_promised_upstream (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=5 ! mllamacaption name=c ! video/x-raw,format=NV12 ! fakesink "
                      "c.text_0 ! srtenc ! fakesink");
  g_autoptr (GstPad) sink = gst_element_get_static_pad (rig->element, "sink");
  g_autoptr (GstCaps) caps = gst_pad_query_caps (sink, NULL);
  g_autoptr (GstCaps) nv12 = gst_caps_from_string ("video/x-raw,format=NV12,width=64,height=64,framerate=10/1");
  g_autoptr (GstCaps) rgb = gst_caps_from_string ("video/x-raw,format=RGB,width=64,height=64,framerate=10/1");
  guint n_metas = 100;

  g_assert_true (gst_caps_can_intersect (caps, nv12));
  g_assert_false (gst_caps_can_intersect (caps, rgb));
  g_assert_true (gst_pad_query_accept_caps (sink, nv12));
  g_assert_false (gst_pad_query_accept_caps (sink, rgb));
  g_assert_false (GST_PAD_IS_PROXY_ALLOCATION (sink) || GST_PAD_IS_PROXY_CAPS (sink));
  gst_pad_add_probe (sink, GST_PAD_PROBE_TYPE_BUFFER, ask_for_allocation, &n_metas, NULL);
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (n_metas, ==, 0);
  rig_free (rig);
}

static void
crops_upstream_stay_right (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=1 pattern=smpte ! video/x-raw,format=I420,width=64,height=48 ! "
                      "videocrop left=8 top=4 ! mllamacaption name=c prompt=What ! fakesink");

  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_true (g_str_has_suffix (rig_get_text (rig, 0), "56x44: What"));
  rig_free (rig);
}

static void
add_tests (void)
{
  g_test_add_func ("/flow/src_may_stay_unlinked_if_captions_are_wanted", src_may_stay_unlinked_if_captions_are_wanted);
  g_test_add_func ("/flow/src_unlinked_stops_the_flow_if_nothing_is_wanted",
                   src_unlinked_stops_the_flow_if_nothing_is_wanted);
  g_test_add_func ("/flow/text_ends_before_video_and_after_its_captions",
                   text_ends_before_video_and_after_its_captions);
  g_test_add_func ("/flow/text_covers_video_before_it_is_pushed", text_covers_video_before_it_is_pushed);
  g_test_add_func ("/flow/the_memory_that_goes_in_comes_out", the_memory_that_goes_in_comes_out);
  g_test_add_func ("/flow/nothing_is_promised_upstream", nothing_is_promised_upstream);
  g_test_add_func ("/flow/crops_upstream_stay_right", crops_upstream_stay_right);
  g_test_add_func ("/flow/caps_may_change_on_the_way", caps_may_change_on_the_way);
  g_test_add_func ("/flow/without_time_video_passes_and_captions_are_off",
                   without_time_video_passes_and_captions_are_off);
  g_test_add_func ("/choice/chooses_by_time_at_a_variable_rate", chooses_by_time_at_a_variable_rate);
  g_test_add_func ("/choice/interval_zero_takes_every_frame", interval_zero_takes_every_frame);
  g_test_add_func ("/choice/frames_without_a_time_follow_the_one_before", frames_without_a_time_follow_the_one_before);
  g_test_add_func ("/choice/unfit_frames_are_not_chosen", unfit_frames_are_not_chosen);
  g_test_add_func ("/choice/a_cut_is_seen_and_a_still_is_not_captioned_again",
                   a_cut_is_seen_and_a_still_is_not_captioned_again);
  g_test_add_func ("/choice/caption_now_and_force_key_unit_choose_the_next_frame",
                   caption_now_and_force_key_unit_choose_the_next_frame);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
