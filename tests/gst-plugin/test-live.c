/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Live: video never waits. And what may be changed while it plays. */
#include "rig.h"
#include <string.h>

#define RED "pattern=red ! video/x-raw,format=I420,width=64,height=64,framerate=10/1"

static void
the_source_decides_the_mode (void)
{
  static const struct {
    const char *live, *property, *mode;
  } cases[] = {{"true", "auto", "live"}, {"false", "auto", "archive"}, {"false", "live", "live"}};

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GstStructure) stats = NULL;
    Rig *rig = rig_new ("videotestsrc num-buffers=3 is-live=%s ! mllamacaption name=c mode=%s ! fakesink",
                        cases[i].live, cases[i].property);
    gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
    rig_wait_for_end (rig);
    g_object_get (rig->element, "stats", &stats, NULL);
    g_assert_cmpstr (gst_structure_get_string (stats, "mode"), ==, cases[i].mode);
    rig_free (rig);
  }
}

/* --- the mailbox --- */

static GstPadProbeReturn
note_time (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  GArray *times = data;
  gint64 now = g_get_monotonic_time ();

  g_array_append_val (times, now);
  return GST_PAD_PROBE_OK;
}

static void
a_slow_model_does_not_hold_video_up (void)
{
  Rig *rig = rig_new ("videotestsrc is-live=true num-buffers=20 " RED " ! mllamacaption name=c interval=100000000 "
                      "eos-timeout=3000000000 ! fakesink sync=false");
  g_autoptr (GstPad) sink = gst_element_get_static_pad (rig->element, "sink");
  g_autoptr (GstPad) src = gst_element_get_static_pad (rig->element, "src");
  g_autoptr (GArray) in = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr (GArray) out = g_array_new (FALSE, FALSE, sizeof (gint64));

  fake_script.load_ms = 300;
  fake_script.encode_ms = 500;
  gst_pad_add_probe (sink, GST_PAD_PROBE_TYPE_BUFFER, note_time, in, NULL);
  gst_pad_add_probe (src, GST_PAD_PROBE_TYPE_BUFFER, note_time, out, NULL);
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait_for_end (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (out->len, ==, 20);
  for (guint i = 0; i < out->len; i++)
    g_assert_cmpint (g_array_index (out, gint64, i) - g_array_index (in, gint64, i), <, 100 * G_TIME_SPAN_MILLISECOND);
  const guint64 n_replaced = rig_get_stat (rig, "frames-replaced");
  g_assert_cmpuint (n_replaced, >, 5);
  g_assert_cmpuint (rig_get_stat (rig, "frames-chosen"), ==, 20);
  g_assert_cmpuint (rig->captions->len, ==, 20 - n_replaced);
  g_assert_cmpuint (rig_count_messages (rig, GST_MESSAGE_QOS), ==, n_replaced);
  /* The newest frame is the one that is captioned last. */
  g_assert_cmpuint (rig_get_time (rig, rig->captions->len - 1, "pts"), >=, 1900 * GST_MSECOND);
  rig_free (rig);
}

static void
qos_messages_count_what_was_replaced (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=10 " RED " ! mllamacaption name=c mode=live interval=0 ! fakesink");
  guint64 processed = 0, dropped = 0;
  guint n = 0;

  fake_script.encode_ms = 100;
  fake_script.token_ms = 20;
  rig_run (rig);
  /* One at a time, so that the next is new. */
  g_assert_cmpuint (fake_get_counts ().max_running, ==, 1);
  for (guint i = 0; i < rig->messages->len; i++) {
    GstMessage *message = g_ptr_array_index (rig->messages, i);
    GstFormat format;
    gboolean live;
    guint64 timestamp;
    if (GST_MESSAGE_TYPE (message) != GST_MESSAGE_QOS)
      continue;
    gst_message_parse_qos (message, &live, NULL, NULL, &timestamp, NULL);
    gst_message_parse_qos_stats (message, &format, &processed, &dropped);
    g_assert_true (live);
    g_assert_cmpint (format, ==, GST_FORMAT_BUFFERS);
    g_assert_cmpuint (dropped, ==, ++n);
    g_assert_true (GST_CLOCK_TIME_IS_VALID (timestamp));
  }
  g_assert_cmpuint (n, >=, 7);
  g_assert_cmpuint (processed + dropped, ==, 10);
  rig_free (rig);
}

static void
archive_captions_every_frame_the_same_way_each_time (void)
{
  g_autofree char *before = NULL;

  for (guint round = 0; round < 4; round++) {
    Rig *rig = rig_new ("videotestsrc num-buffers=40 pattern=blink ! video/x-raw,format=I420,width=64,height=64,"
                        "framerate=10/1 ! mllamacaption name=c mode=archive interval=100000000 prompt={pts} "
                        "attach-meta=false max-in-flight=%u ! fakesink",
                        round < 2 ? 1 : 8);
    g_autoptr (GString) texts = g_string_new (NULL);
    fake_script.encode_ms = 2;
    fake_script.token_ms = 1;
    rig_run (rig);
    g_assert_cmpuint (rig->captions->len, ==, 40);
    for (guint i = 0; i < 40; i++) {
      g_assert_cmpuint (rig_get_time (rig, i, "caption-id"), ==, i + 1);
      g_assert_cmpuint (rig_get_time (rig, i, "pts"), ==, i * 100 * GST_MSECOND);
      g_string_append_printf (texts, "%s\n", rig_get_text (rig, i));
    }
    g_assert_cmpuint (fake_get_counts ().max_running, <=, round < 2 ? 1 : 8);
    if (before)
      g_assert_cmpstr (texts->str, ==, before);
    g_free (before);
    before = g_strdup (texts->str);
    rig_free (rig);
  }
}

static void
archive_waits_for_no_more_than_max_in_flight (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=20 " RED " ! mllamacaption name=c mode=archive interval=100000000 "
                      "max-in-flight=3 ! fakesink sync=false");

  fake_script.encode_ms = 30;
  rig_watch (rig, "src");
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  while (rig->captions->len < 4) {
    g_auto (GStrv) video = rig_read (rig, "src video");
    g_assert_cmpuint (g_strv_length (video), <=, fake_get_counts ().n_encodes + 3);
    rig_listen (rig, 2);
  }
  rig_wait_for_end (rig);
  g_assert_cmpuint (rig->captions->len, ==, 20);
  rig_free (rig);
}

static void
eos_timeout_ends_a_caption_where_it_is (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=3 " RED " ! mllamacaption name=c mode=live eos-timeout=200000000 "
                      "prompt=\"a b c d e f g h i j k l m n o p q r s t u v w x y z\" ! fakesink c.text_0 ! fakesink");
  const gint64 start = g_get_monotonic_time ();

  fake_script.token_ms = 50;
  rig_watch (rig, "text_0");
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpint (g_get_monotonic_time () - start, <, 1200 * G_TIME_SPAN_MILLISECOND);
  g_assert_cmpuint (rig->captions->len, ==, 1);
  g_assert_cmpstr (gst_structure_get_string (g_ptr_array_index (rig->captions, 0), "finish-reason"), ==, "cancelled");
  g_assert_cmpint (rig_find (rig, "text_0 eos"), >, 0);
  rig_free (rig);
}

/* --- text with the time of arrival --- */

static void
arrival_text_starts_now_and_ends_when_due (void)
{
  Rig *rig = rig_new ("videotestsrc is-live=true num-buffers=25 " RED
                      " ! mllamacaption name=c ! fakesink c.text_0 ! fakesink");

  fake_script.encode_ms = 350;
  rig_watch (rig, "text_0");
  rig_run (rig);
  g_auto (GStrv) lines = rig_read (rig, "text_0 caption");
  g_assert_cmpuint (g_strv_length (lines), ==, 3);
  for (guint i = 0; i < 3; i++) {
    g_auto (GStrv) words = g_strsplit (lines[i], " ", 5);
    const gint64 start = g_ascii_strtoll (words[2], NULL, 10), duration = g_ascii_strtoll (words[3], NULL, 10);
    g_assert_cmpint (start, >=, i * 1000 + 300);
    /* Both are rounded down to ms. */
    g_assert_cmpint (start + duration, >=, (i + 1) * 1000 - 1);
    g_assert_cmpint (start + duration, <=, (i + 1) * 1000);
  }
  rig_free (rig);
}

static void
partial_text_lasts_200_ms (void)
{
  Rig *rig = rig_new ("videotestsrc is-live=true num-buffers=15 " RED " ! mllamacaption name=c partial-results=true "
                      "prompt=\"a b c d\" ! fakesink c.text_0 ! fakesink");

  fake_script.token_ms = 100;
  rig_watch (rig, "text_0");
  rig_run (rig);
  g_auto (GStrv) lines = rig_read (rig, "text_0 caption");
  g_assert_cmpuint (g_strv_length (lines), >=, 3);
  g_assert_nonnull (strstr (lines[0], " 200 red"));
  rig_free (rig);
}

static void
latency_is_reported_on_media_text_only (void)
{
  Rig *rig =
      rig_new ("videotestsrc is-live=true " RED " ! mllamacaption name=c latency=700000000 text-timestamps=media ! "
               "fakesink c.text_0 ! fakesink");
  g_autoptr (GstPad) text = gst_element_get_static_pad (rig->element, "text_0");
  g_autoptr (GstPad) src = gst_element_get_static_pad (rig->element, "src");
  g_autoptr (GstQuery) query = gst_query_new_latency ();
  GstClockTime text_min, src_min;
  gboolean live;

  rig_set_state (rig, GST_STATE_PLAYING);
  g_assert_true (gst_pad_query (text, query));
  gst_query_parse_latency (query, &live, &text_min, NULL);
  g_assert_true (live);
  g_autoptr (GstQuery) again = gst_query_new_latency ();
  g_assert_true (gst_pad_query (src, again));
  gst_query_parse_latency (again, &live, &src_min, NULL);
  g_assert_cmpuint (text_min - src_min, ==, 700 * GST_MSECOND);
  rig_free (rig);
}

/* --- changes in PLAYING --- */

static gboolean
has_caption (Rig *rig)
{
  return rig->captions->len >= 1;
}

static gboolean
has_two_captions (Rig *rig)
{
  return rig->captions->len >= 2;
}

static void
a_new_prompt_is_asked_at_once_of_the_last_frame (void)
{
  Rig *rig =
      rig_new ("videotestsrc is-live=true " RED " ! mllamacaption name=c interval=8000000000 prompt=One ! fakesink");
  gboolean reused;

  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_caption);
  g_object_set (rig->element, "prompt", "Two", NULL);
  rig_wait (rig, has_two_captions);
  g_assert_cmpstr (rig_get_text (rig, 1), ==, "red 64x64: Two");
  g_assert_cmpuint (rig_get_time (rig, 1, "encode-id"), ==, 1);
  g_assert_cmpuint (rig_get_time (rig, 1, "pts"), ==, rig_get_time (rig, 0, "pts"));
  g_assert_true (gst_structure_get_boolean (g_ptr_array_index (rig->captions, 1), "states-reused", &reused));
  g_assert_true (reused);
  g_assert_cmpuint (fake_get_counts ().n_encodes, ==, 1);
  rig_free (rig);
}

static void
a_new_prompt_on_an_unchanged_scene_costs_no_encode (void)
{
  Rig *rig = rig_new ("videotestsrc is-live=true " RED " ! mllamacaption name=c interval=300000000 prompt=One "
                      "scene-threshold=0.1 ! fakesink");

  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_caption);
  rig_listen (rig, 1000);
  g_assert_cmpuint (rig->captions->len, ==, 1);
  g_object_set (rig->element, "prompt", "Two", NULL);
  rig_wait (rig, has_two_captions);
  g_assert_cmpstr (rig_get_text (rig, 1), ==, "red 64x64: Two");
  g_assert_cmpuint (fake_get_counts ().n_encodes, ==, 1);
  rig_free (rig);
}

static void
a_pads_new_prompt_is_its_own (void)
{
  Rig *rig =
      rig_new ("videotestsrc is-live=true " RED " ! mllamacaption name=c interval=8000000000 prompt=One ! fakesink "
               "c.text_0 ! fakesink c.text_1 ! fakesink");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (rig->element, "text_1");

  rig_watch (rig, "text_1");
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_two_captions);
  g_object_set (pad, "prompt", "Other", NULL);
  rig_listen (rig, 300);
  g_assert_cmpuint (rig->captions->len, ==, 3);
  g_assert_cmpstr (rig_get_text (rig, 2), ==, "red 64x64: Other");
  g_auto (GStrv) lines = rig_read (rig, "text_1 caption");
  g_assert_cmpuint (g_strv_length (lines), ==, 2);
  rig_free (rig);
}

static void
a_raw_prompt_without_a_mark_is_refused (void)
{
  Rig *rig = rig_new ("videotestsrc is-live=true " RED " ! mllamacaption name=c prompt-format=raw "
                      "prompt=\"<|image|>One\" ! fakesink");
  g_autofree char *prompt = NULL;

  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_caption);
  g_object_set (rig->element, "prompt", "no mark", NULL);
  rig_listen (rig, 50);
  g_assert_cmpuint (rig_count_messages (rig, GST_MESSAGE_WARNING), ==, 1);
  g_object_get (rig->element, "prompt", &prompt, NULL);
  g_assert_cmpstr (prompt, ==, "<|image|>One");
  rig_free (rig);
}

static void
a_previous_caption_is_never_an_image_mark (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=11 " RED " ! mllamacaption name=c prompt-format=raw "
                      "prompt=\"<|image|>then: {previous}\" ! fakesink");

  fake_script.answer = "<|image|> again";
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (rig->captions->len, ==, 2);
  rig_free (rig);
}

static void
pads_come_and_go_while_it_plays (void)
{
  Rig *rig = rig_new ("videotestsrc is-live=true " RED " ! mllamacaption name=c interval=100000000 ! fakesink");

  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_caption);
  for (guint i = 0; i < 5; i++) {
    GstElement *sink = gst_element_factory_make ("fakesink", NULL);
    g_object_set (sink, "async", FALSE, "sync", FALSE, NULL);
    gst_bin_add (GST_BIN (rig->pipeline), sink);
    gst_element_sync_state_with_parent (sink);
    GstPad *pad = gst_element_request_pad_simple (rig->element, "text_%u");
    g_autoptr (GstPad) sinkpad = gst_element_get_static_pad (sink, "sink");
    g_autofree char *name = gst_pad_get_name (pad);
    g_object_set (pad, "prompt", "New", NULL);
    rig_watch (rig, name);
    g_assert_cmpint (gst_pad_link (pad, sinkpad), ==, GST_PAD_LINK_OK);
    g_autofree char *prefix = g_strconcat (name, " caption", NULL);
    for (guint wait = 0; wait < 400 && rig_find (rig, prefix) < 0; wait++)
      rig_listen (rig, 5);
    g_assert_cmpint (rig_find (rig, prefix), >, 0);
    gst_pad_unlink (pad, sinkpad);
    gst_element_release_request_pad (rig->element, pad);
    gst_object_unref (pad);
    gst_element_set_state (sink, GST_STATE_NULL);
    gst_bin_remove (GST_BIN (rig->pipeline), sink);
  }
  g_assert_no_error (rig->error);
  rig_free (rig);
}

static void
add_tests (void)
{
  g_test_add_func ("/live/the_source_decides_the_mode", the_source_decides_the_mode);
  g_test_add_func ("/live/a_slow_model_does_not_hold_video_up", a_slow_model_does_not_hold_video_up);
  g_test_add_func ("/live/qos_messages_count_what_was_replaced", qos_messages_count_what_was_replaced);
  g_test_add_func ("/live/eos_timeout_ends_a_caption_where_it_is", eos_timeout_ends_a_caption_where_it_is);
  g_test_add_func ("/live/arrival_text_starts_now_and_ends_when_due", arrival_text_starts_now_and_ends_when_due);
  g_test_add_func ("/live/partial_text_lasts_200_ms", partial_text_lasts_200_ms);
  g_test_add_func ("/live/latency_is_reported_on_media_text_only", latency_is_reported_on_media_text_only);
  g_test_add_func ("/archive/captions_every_frame_the_same_way_each_time",
                   archive_captions_every_frame_the_same_way_each_time);
  g_test_add_func ("/archive/waits_for_no_more_than_max_in_flight", archive_waits_for_no_more_than_max_in_flight);
  g_test_add_func ("/playing/a_new_prompt_is_asked_at_once_of_the_last_frame",
                   a_new_prompt_is_asked_at_once_of_the_last_frame);
  g_test_add_func ("/playing/a_new_prompt_on_an_unchanged_scene_costs_no_encode",
                   a_new_prompt_on_an_unchanged_scene_costs_no_encode);
  g_test_add_func ("/playing/a_pads_new_prompt_is_its_own", a_pads_new_prompt_is_its_own);
  g_test_add_func ("/playing/a_raw_prompt_without_a_mark_is_refused", a_raw_prompt_without_a_mark_is_refused);
  g_test_add_func ("/playing/a_previous_caption_is_never_an_image_mark", a_previous_caption_is_never_an_image_mark);
  g_test_add_func ("/playing/pads_come_and_go_while_it_plays", pads_come_and_go_while_it_plays);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
