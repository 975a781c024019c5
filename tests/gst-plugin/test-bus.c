/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* No lock is held when a message is posted: a bus handler calls back into the element from inside each kind of
 * message, and would hang if one were. */
#include "rig.h"
#include "stage.h"

/* What was handled, as GstMessageType; and how often. */
static gint handled, n_handled;

/* All that an application may do from a handler: read, change, ask, request pads. */
static void
use_element (GstElement *element)
{
  g_autoptr (GstStructure) stats = NULL;
  g_autofree char *last = NULL, *prompt = NULL;
  g_autoptr (GstQuery) query = gst_query_new_latency ();
  g_autoptr (GstPad) src = gst_element_get_static_pad (element, "src");

  g_object_get (element, "stats", &stats, "last-caption", &last, "prompt", &prompt, NULL);
  g_object_set (element, "interval", GST_SECOND / 10, "max-tokens", 60, "scene-threshold", 0.0, NULL);
  /* Each new question is one more caption, which comes here too. */
  if (g_atomic_int_add (&n_handled, 1) < 8)
    g_object_set (element, "prompt", g_str_equal (prompt, "What") ? "Which" : "What", NULL);
  g_signal_emit_by_name (element, "caption-now");
  gst_pad_query (src, query);
  GstPad *pad = gst_element_request_pad_simple (element, "text_%u");
  g_object_set (pad, "prompt", "Who", NULL);
  gst_element_release_request_pad (element, pad);
  gst_object_unref (pad);
  GObject *child = gst_child_proxy_get_child_by_index (GST_CHILD_PROXY (element), 0);
  g_clear_object (&child);
}

static GstBusSyncReply
call_back (GstBus *bus, GstMessage *message, gpointer data)
{
  static __thread gboolean inside;
  GstElement *element = data;

  /* Not for messages of the handler's own calls. */
  if (GST_MESSAGE_SRC (message) != GST_OBJECT (element) || inside)
    return GST_BUS_PASS;
  inside = TRUE;
  use_element (element);
  inside = FALSE;
  g_atomic_int_or (&handled, (gint) GST_MESSAGE_TYPE (message));
  return GST_BUS_PASS;
}

static Stage *
open_stage (gboolean with_text, const char *settings)
{
  Stage *stage = stage_new (with_text, settings);

  g_atomic_int_set (&handled, 0);
  g_atomic_int_set (&n_handled, 0);
  gst_bus_set_sync_handler (stage->bus, call_back, stage->element, NULL);
  return stage;
}

static void
check_and_close (Stage *stage, GstMessageType types)
{
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  gst_bus_set_sync_handler (stage->bus, NULL, NULL, NULL);
  g_assert_cmpint (g_atomic_int_get (&handled) & (gint) types, ==, (gint) types);
  stage_free (stage);
}

static void
captions_and_progress_are_posted_without_a_lock (void)
{
  static const char *const settings[] = {"mode=archive", "mode=archive max-in-flight=8", "mode=live",
                                         "mode=live partial-results=true"};

  for (guint i = 0; i < G_N_ELEMENTS (settings); i++) {
    Stage *stage = open_stage (i % 2 == 0, settings[i]);
    fake_script.token_ms = 2;
    for (guint n = 0; n < 10; n++)
      stage_push (stage, 128, n * 1000, 1000);
    stage_wait_for_captions (stage, 1);
    check_and_close (stage, GST_MESSAGE_ELEMENT | GST_MESSAGE_PROGRESS);
  }
}

static void
qos_is_posted_without_a_lock (void)
{
  Stage *stage = open_stage (TRUE, "mode=live interval=0");

  fake_script.encode_ms = 50;
  for (guint n = 0; n < 10; n++)
    stage_push (stage, 128, n * 40, 40);
  check_and_close (stage, GST_MESSAGE_QOS | GST_MESSAGE_PROGRESS);
}

static void
warnings_are_posted_without_a_lock (void)
{
  static const char *const settings[] = {"mode=archive on-error=warn", "mode=live"};

  for (guint i = 0; i < G_N_ELEMENTS (settings); i++) {
    Stage *stage = open_stage (TRUE, settings[i]);
    fake_script.encode_error = MLLAMA_ERROR_DEVICE;
    stage_push (stage, 128, 0, 1000);
    stage_wait_for_captions (stage, 1);
    check_and_close (stage, GST_MESSAGE_WARNING);
  }
}

static void
errors_are_posted_without_a_lock (void)
{
  static const gint places[] = {0, 1, 2, 3};

  for (guint i = 0; i < G_N_ELEMENTS (places); i++) {
    Stage *stage = open_stage (TRUE, "mode=archive");
    fake_script.load_error = i == 0 ? (gint) MLLAMA_ERROR_OUT_OF_MEMORY : FAKE_NO_ERROR;
    fake_script.encode_error = i == 1 ? (gint) MLLAMA_ERROR_DEVICE : FAKE_NO_ERROR;
    fake_script.start_error = i == 2 ? (gint) MLLAMA_ERROR_TOO_LONG : FAKE_NO_ERROR;
    fake_script.answer_error = i == 3 ? (gint) MLLAMA_ERROR_NOT_FINITE : FAKE_NO_ERROR;
    g_assert_cmpint (stage_push (stage, 128, 0, 1000), ==, GST_FLOW_ERROR);
    check_and_close (stage, GST_MESSAGE_ERROR | GST_MESSAGE_PROGRESS);
  }
}

static void
a_segment_outside_time_is_told_without_a_lock (void)
{
  Stage *stage = open_stage (TRUE, "mode=archive");
  GstSegment bytes;

  gst_segment_init (&bytes, GST_FORMAT_BYTES);
  stage_send_segment (stage, &bytes);
  check_and_close (stage, GST_MESSAGE_WARNING);
}

static void
a_refused_question_and_a_new_latency_are_told_without_a_lock (void)
{
  Stage *stage = open_stage (TRUE, "mode=archive");

  g_object_set (stage->element, "latency", GST_SECOND, NULL);
  g_object_set (stage->element, "prompt-format", 2, NULL);
  check_and_close (stage, GST_MESSAGE_WARNING | GST_MESSAGE_LATENCY);
}

static void
a_model_that_does_not_open_is_told_without_a_lock (void)
{
  GstElement *element = gst_element_factory_make ("mllamacaption", NULL);
  g_autoptr (GstBus) bus = gst_bus_new ();

  gst_object_ref_sink (element);
  fake_reset ();
  fake_script.open_error = MLLAMA_ERROR_NOT_FOUND;
  g_atomic_int_set (&handled, 0);
  g_atomic_int_set (&n_handled, 0);
  gst_element_set_bus (element, bus);
  gst_bus_set_sync_handler (bus, call_back, element, NULL);
  g_assert_cmpint (gst_element_set_state (element, GST_STATE_READY), ==, GST_STATE_CHANGE_FAILURE);
  g_assert_cmpint (g_atomic_int_get (&handled) & GST_MESSAGE_ERROR, ==, GST_MESSAGE_ERROR);
  gst_bus_set_sync_handler (bus, NULL, NULL, NULL);
  gst_element_set_bus (element, NULL);
  gst_object_unref (element);
}

/* --- a handler that seeks --- */

typedef struct {
  GstElement *pipeline;
  gint n_seeks;
} Seeker;

static GstBusSyncReply
seek_after_a_caption (GstBus *bus, GstMessage *message, gpointer data)
{
  Seeker *seeker = data;

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ELEMENT && g_atomic_int_add (&seeker->n_seeks, 1) < 5)
    g_assert_true (gst_element_seek_simple (seeker->pipeline, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH,
                                            (gint64) (seeker->n_seeks * 10 * GST_SECOND)));
  return GST_BUS_PASS;
}

static gboolean
has_eight_captions (Rig *rig)
{
  return rig->captions->len >= 8;
}

static void
a_handler_may_seek (void)
{
  static const char *const settings[] = {"mode=archive", "mode=archive max-in-flight=8",
                                         "mode=live interval=100000000"};

  for (guint i = 0; i < G_N_ELEMENTS (settings); i++) {
    Rig *rig = rig_new ("videotestsrc ! video/x-raw,width=64,height=64,framerate=10/1 ! mllamacaption name=c %s ! "
                        "fakesink sync=%s c.text_0 ! fakesink",
                        settings[i], i == 2 ? "true" : "false");
    g_autoptr (GstBus) bus = gst_element_get_bus (rig->pipeline);
    Seeker seeker = {.pipeline = rig->pipeline};
    rig_set_state (rig, GST_STATE_PAUSED);
    gst_bus_set_sync_handler (bus, seek_after_a_caption, &seeker, NULL);
    gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
    rig_wait (rig, has_eight_captions);
    g_assert_no_error (rig->error);
    gst_bus_set_sync_handler (bus, NULL, NULL, NULL);
    rig_free (rig);
  }
}

static void
add_tests (void)
{
  g_test_add_func ("/bus/captions_and_progress_are_posted_without_a_lock",
                   captions_and_progress_are_posted_without_a_lock);
  g_test_add_func ("/bus/qos_is_posted_without_a_lock", qos_is_posted_without_a_lock);
  g_test_add_func ("/bus/warnings_are_posted_without_a_lock", warnings_are_posted_without_a_lock);
  g_test_add_func ("/bus/errors_are_posted_without_a_lock", errors_are_posted_without_a_lock);
  g_test_add_func ("/bus/a_segment_outside_time_is_told_without_a_lock", a_segment_outside_time_is_told_without_a_lock);
  g_test_add_func ("/bus/a_refused_question_and_a_new_latency_are_told_without_a_lock",
                   a_refused_question_and_a_new_latency_are_told_without_a_lock);
  g_test_add_func ("/bus/a_model_that_does_not_open_is_told_without_a_lock",
                   a_model_that_does_not_open_is_told_without_a_lock);
  g_test_add_func ("/bus/a_handler_may_seek", a_handler_may_seek);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
