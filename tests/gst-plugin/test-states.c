/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* States, loading, flushes and seeks. */
#include "rig.h"
#include <string.h>

#define RED "pattern=red ! video/x-raw,format=I420,width=64,height=64,framerate=10/1"

static guint
count_progress (Rig *rig, GstProgressType wanted)
{
  guint n = 0;

  for (guint i = 0; i < rig->messages->len; i++) {
    GstMessage *message = g_ptr_array_index (rig->messages, i);
    GstProgressType type;
    if (GST_MESSAGE_TYPE (message) != GST_MESSAGE_PROGRESS)
      continue;
    gst_message_parse_progress (message, &type, NULL, NULL);
    n += type == wanted;
  }
  return n;
}

/* The scripted engine's thread lets go of an answer in a step of its own. */
static gboolean
wait_until_no_answer_is_left (void)
{
  for (guint i = 0; i < 2000 && fake_get_counts ().n_generations > 0; i++)
    g_usleep (1000);
  return fake_get_counts ().n_generations == 0;
}

static void
starts_again_any_number_of_times (void)
{
  Rig *rig = rig_new ("videotestsrc " RED " ! mllamacaption name=c ! fakesink c.text_0 ! fakesink");

  fake_script.encode_ms = 3;
  fake_script.token_ms = 1;
  for (guint i = 0; i < 60; i++) {
    rig_set_state (rig, i % 3 == 0 ? GST_STATE_PLAYING : GST_STATE_PAUSED);
    rig_listen (rig, i % 7);
    rig_set_state (rig, i % 2 == 0 ? GST_STATE_READY : GST_STATE_NULL);
    g_assert_true (wait_until_no_answer_is_left ());
  }
  g_assert_no_error (rig->error);
  rig_free (rig);
}

static void
every_state_can_be_cycled_without_data (void)
{
  Rig *rig = rig_new ("mllamacaption name=c ! fakesink async=false c.text_0 ! fakesink async=false");

  for (guint i = 0; i < 10; i++) {
    rig_set_state (rig, GST_STATE_READY);
    rig_set_state (rig, GST_STATE_PAUSED);
    rig_set_state (rig, GST_STATE_PLAYING);
    rig_set_state (rig, GST_STATE_PAUSED);
    rig_set_state (rig, GST_STATE_READY);
    rig_set_state (rig, GST_STATE_NULL);
  }
  g_assert_cmpuint (fake_get_counts ().n_loads, ==, 0);
  rig_free (rig);
}

static gboolean
has_caption (Rig *rig)
{
  return rig->captions->len >= 1;
}

static gboolean
has_tokens (Rig *rig)
{
  return fake_get_counts ().n_tokens >= 2;
}

static void
stopping_cancels_within_one_token (void)
{
  Rig *rig = rig_new ("videotestsrc " RED " ! mllamacaption name=c prompt=\"a b c d e f g h i j k l m n\" ! fakesink");

  fake_script.token_ms = 60;
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_tokens);
  const guint n_tokens = fake_get_counts ().n_tokens;
  const gint64 start = g_get_monotonic_time ();
  rig_set_state (rig, GST_STATE_READY);
  g_assert_cmpint (g_get_monotonic_time () - start, <, 500 * G_TIME_SPAN_MILLISECOND);
  g_assert_cmpuint (fake_get_counts ().n_tokens, <=, n_tokens + 1);
  g_assert_cmpuint (fake_get_counts ().n_cancelled, ==, 1);
  rig_listen (rig, 100);
  g_assert_cmpuint (rig->captions->len, ==, 0);
  rig_free (rig);
}

static void
stopping_cancels_an_encode (void)
{
  Rig *rig = rig_new ("videotestsrc " RED " ! mllamacaption name=c ! fakesink");

  fake_script.encode_ms = 8000;
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_listen (rig, 100);
  const gint64 start = g_get_monotonic_time ();
  rig_set_state (rig, GST_STATE_NULL);
  g_assert_cmpint (g_get_monotonic_time () - start, <, 2 * G_TIME_SPAN_SECOND);
  rig_free (rig);
}

/* --- loading --- */

static void
progress_starts_with_the_first_buffer_and_completes (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=12 " RED " ! mllamacaption name=c ! fakesink");

  fake_script.load_ms = 50;
  rig_set_state (rig, GST_STATE_READY);
  g_assert_cmpuint (fake_get_counts ().n_opens, ==, 1);
  g_assert_cmpuint (fake_get_counts ().n_loads, ==, 0);
  rig_run (rig);
  g_assert_cmpuint (count_progress (rig, GST_PROGRESS_TYPE_START), ==, 1);
  g_assert_cmpuint (count_progress (rig, GST_PROGRESS_TYPE_COMPLETE), ==, 1);
  g_assert_cmpuint (rig->captions->len, ==, 2);
  rig_free (rig);
}

static void
loading_can_be_cancelled (void)
{
  Rig *rig = rig_new ("videotestsrc " RED " ! mllamacaption name=c mode=live ! fakesink");

  fake_script.load_ms = 8000;
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_listen (rig, 100);
  g_assert_cmpuint (count_progress (rig, GST_PROGRESS_TYPE_START), ==, 1);
  const gint64 start = g_get_monotonic_time ();
  rig_set_state (rig, GST_STATE_READY);
  g_assert_cmpint (g_get_monotonic_time () - start, <, 2 * G_TIME_SPAN_SECOND);
  rig_listen (rig, 50);
  g_assert_cmpuint (count_progress (rig, GST_PROGRESS_TYPE_CANCELED), ==, 1);
  g_assert_cmpuint (count_progress (rig, GST_PROGRESS_TYPE_COMPLETE), ==, 0);
  rig_free (rig);
}

static void
live_video_flows_before_the_weights_are_there (void)
{
  Rig *rig = rig_new ("videotestsrc is-live=true " RED " ! mllamacaption name=c ! fakesink");

  fake_script.load_ms = 600;
  rig_watch (rig, "src");
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_listen (rig, 350);
  g_auto (GStrv) lines = rig_read (rig, "src video");
  g_assert_cmpuint (g_strv_length (lines), >=, 2);
  g_assert_cmpuint (count_progress (rig, GST_PROGRESS_TYPE_COMPLETE), ==, 0);
  rig_wait (rig, has_caption);
  rig_free (rig);
}

static gboolean
is_unloaded (Rig *rig)
{
  return fake_get_counts ().n_models == 0;
}

static void
an_idle_model_is_unloaded_and_comes_back (void)
{
  Rig *rig = rig_new ("videotestsrc is-live=true " RED " ! mllamacaption name=c interval=2000000000 "
                      "idle-timeout=300000000 ! fakesink");

  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_caption);
  rig_wait (rig, is_unloaded);
  g_assert_cmpuint (fake_get_counts ().n_loads, ==, 1);
  g_ptr_array_set_size (rig->captions, 0);
  rig_wait (rig, has_caption);
  g_assert_cmpuint (fake_get_counts ().n_loads, ==, 2);
  g_assert_cmpuint (count_progress (rig, GST_PROGRESS_TYPE_COMPLETE), ==, 2);
  rig_free (rig);
}

static void
a_model_named_in_ready_is_the_one_used (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=2 " RED " ! mllamacaption name=c model=/first ! fakesink");

  rig_set_state (rig, GST_STATE_READY);
  g_object_set (rig->element, "model", "/second", NULL);
  fake_script.open_error = MLLAMA_ERROR_NOT_FOUND;
  g_assert_cmpint (gst_element_set_state (rig->pipeline, GST_STATE_PAUSED), ==, GST_STATE_CHANGE_FAILURE);
  rig_listen (rig, 20);
  g_assert_nonnull (rig->error);
  g_assert_nonnull (strstr (rig->error->message, "/second"));
  rig_free (rig);
}

/* --- flush and seek --- */

#define FILE_LIKE                                                                                                      \
  "videotestsrc " RED " ! mllamacaption name=c prompt={pts} interval=100000000 %s ! "                                  \
  "fakesink sync=true c.text_0 ! fakesink"

static void
seek_to (Rig *rig, GstClockTime to)
{
  g_assert_true (gst_element_seek_simple (rig->pipeline, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, (gint64) to));
}

static void
nothing_stale_comes_after_a_seek (void)
{
  static const char *const settings[] = {"max-in-flight=1", "max-in-flight=8", "mode=live", "text-timestamps=arrival"};

  for (guint i = 0; i < G_N_ELEMENTS (settings); i++) {
    Rig *rig = rig_new (FILE_LIKE, settings[i]);
    fake_script.encode_ms = 7;
    fake_script.token_ms = 3;
    rig_watch (rig, "text_0");
    gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
    rig_wait (rig, has_caption);
    for (guint n = 0; n < 8; n++) {
      const GstClockTime to = (100 + n * 50) * GST_SECOND / 10;
      seek_to (rig, to);
      rig_listen (rig, 0);
      g_ptr_array_set_size (rig->captions, 0);
      rig_wait (rig, has_caption);
      for (guint k = 0; k < rig->captions->len; k++)
        g_assert_cmpuint (rig_get_time (rig, k, "pts"), >=, to);
    }
    g_assert_no_error (rig->error);
    rig_free (rig);
  }
}

static void
text_is_flushed_with_video (void)
{
  Rig *rig = rig_new (FILE_LIKE, "");

  rig_watch (rig, "text_0");
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_caption);
  seek_to (rig, 20 * GST_SECOND);
  rig_listen (rig, 100);
  const gint start = rig_find (rig, "text_0 flush-start"), stop = rig_find (rig, "text_0 flush-stop");
  g_assert_cmpint (start, >, 0);
  /* One push may have begun before, and be written down behind the flush-start. */
  g_assert_cmpint (stop, >, start);
  g_assert_cmpint (stop, <=, start + 2);
  g_mutex_lock (&rig->lock);
  g_assert_cmpstr (g_ptr_array_index (rig->log, (guint) stop + 1), ==, "text_0 segment");
  g_assert_true (g_str_has_prefix (g_ptr_array_index (rig->log, (guint) stop + 2), "text_0 caption 20000 100 "));
  g_mutex_unlock (&rig->lock);
  rig_free (rig);
}

static void
a_seek_cancels_what_runs (void)
{
  Rig *rig = rig_new ("videotestsrc " RED " ! mllamacaption name=c "
                      "prompt=\"a b c d e f g h i j k l m n o p q r s t u v w x y z\" ! fakesink");

  fake_script.token_ms = 40;
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_tokens);
  const gint64 start = g_get_monotonic_time ();
  seek_to (rig, 30 * GST_SECOND);
  g_assert_cmpint (g_get_monotonic_time () - start, <, 500 * G_TIME_SPAN_MILLISECOND);
  g_atomic_int_set (&fake_script.token_ms, 0);
  rig_wait (rig, has_caption);
  g_assert_cmpuint (fake_get_counts ().n_cancelled, ==, 1);
  g_assert_cmpuint (rig_get_time (rig, 0, "pts"), ==, 30 * GST_SECOND);
  rig_free (rig);
}

static gboolean
has_two_encodes (Rig *rig)
{
  return rig_get_stat (rig, "encodes") >= 2;
}

/* The worker waits with the second frame for the words about the first, and those never come. */
static void
a_seek_ends_the_wait_for_previous_words (void)
{
  Rig *rig = rig_new ("videotestsrc " RED " ! mllamacaption name=c attach-meta=false max-in-flight=4 "
                      "prompt=\"{previous} a b c d e f g h i j k l m n o p q r s t u v w x y z\" ! fakesink");

  fake_script.token_ms = 40;
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_two_encodes);
  seek_to (rig, 30 * GST_SECOND);
  g_atomic_int_set (&fake_script.token_ms, 0);
  rig_wait (rig, has_caption);
  g_assert_cmpuint (rig_get_time (rig, 0, "pts"), ==, 30 * GST_SECOND);
  rig_free (rig);
}

static GstPadProbeReturn
count_seeks (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_SEEK)
    g_atomic_int_inc ((gint *) data);
  g_assert_cmpint (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)), !=, GST_EVENT_QOS);
  return GST_PAD_PROBE_OK;
}

static void
a_seek_goes_up_once_and_text_sends_no_qos (void)
{
  Rig *rig = rig_new (FILE_LIKE, "");
  g_autoptr (GstPad) sink = gst_element_get_static_pad (rig->element, "sink");
  g_autoptr (GstPad) text = gst_element_get_static_pad (rig->element, "text_0");
  gint n_seeks = 0;

  gst_pad_add_probe (sink, GST_PAD_PROBE_TYPE_EVENT_UPSTREAM, count_seeks, &n_seeks, NULL);
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_caption);
  for (gint i = 1; i <= 3; i++) {
    seek_to (rig, 10 * GST_SECOND);
    g_assert_cmpint (g_atomic_int_get (&n_seeks), ==, i);
  }
  gst_pad_send_event (text, gst_event_new_qos (GST_QOS_TYPE_UNDERFLOW, 1, 0, 0));
  rig_free (rig);
}

static void
add_tests (void)
{
  g_test_add_func ("/states/starts_again_any_number_of_times", starts_again_any_number_of_times);
  g_test_add_func ("/states/every_state_can_be_cycled_without_data", every_state_can_be_cycled_without_data);
  g_test_add_func ("/states/stopping_cancels_within_one_token", stopping_cancels_within_one_token);
  g_test_add_func ("/states/stopping_cancels_an_encode", stopping_cancels_an_encode);
  g_test_add_func ("/loading/progress_starts_with_the_first_buffer_and_completes",
                   progress_starts_with_the_first_buffer_and_completes);
  g_test_add_func ("/loading/loading_can_be_cancelled", loading_can_be_cancelled);
  g_test_add_func ("/loading/live_video_flows_before_the_weights_are_there",
                   live_video_flows_before_the_weights_are_there);
  g_test_add_func ("/loading/an_idle_model_is_unloaded_and_comes_back", an_idle_model_is_unloaded_and_comes_back);
  g_test_add_func ("/loading/a_model_named_in_ready_is_the_one_used", a_model_named_in_ready_is_the_one_used);
  g_test_add_func ("/flush/nothing_stale_comes_after_a_seek", nothing_stale_comes_after_a_seek);
  g_test_add_func ("/flush/text_is_flushed_with_video", text_is_flushed_with_video);
  g_test_add_func ("/flush/a_seek_cancels_what_runs", a_seek_cancels_what_runs);
  g_test_add_func ("/flush/a_seek_ends_the_wait_for_previous_words", a_seek_ends_the_wait_for_previous_words);
  g_test_add_func ("/flush/a_seek_goes_up_once_and_text_sends_no_qos", a_seek_goes_up_once_and_text_sends_no_qos);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
