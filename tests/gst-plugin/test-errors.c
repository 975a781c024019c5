/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What happens when something fails: never a hang, never a crash, always a word about what to do. */
#include "rig.h"
#include <string.h>

#define RED "pattern=red ! video/x-raw,format=I420,width=64,height=64,framerate=10/1"

static void
a_model_that_does_not_open_is_an_error_in_ready (void)
{
  static const struct {
    MllamaError error;
    GQuark (*domain) (void);
    gint code;
  } cases[] = {
      {MLLAMA_ERROR_NOT_FOUND, gst_resource_error_quark, GST_RESOURCE_ERROR_NOT_FOUND},
      {MLLAMA_ERROR_UNREADABLE, gst_resource_error_quark, GST_RESOURCE_ERROR_OPEN_READ},
      {MLLAMA_ERROR_MALFORMED, gst_stream_error_quark, GST_STREAM_ERROR_FORMAT},
      {MLLAMA_ERROR_UNSUPPORTED, gst_stream_error_quark, GST_STREAM_ERROR_FORMAT},
      {MLLAMA_ERROR_INVALID, gst_library_error_quark, GST_LIBRARY_ERROR_SETTINGS},
      {MLLAMA_ERROR_OUT_OF_MEMORY, gst_resource_error_quark, GST_RESOURCE_ERROR_NO_SPACE_LEFT},
      {MLLAMA_ERROR_DEVICE, gst_library_error_quark, GST_LIBRARY_ERROR_INIT},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    Rig *rig = rig_new ("videotestsrc num-buffers=2 " RED " ! mllamacaption name=c model=/there ! fakesink");
    fake_script.open_error = (gint) cases[i].error;
    g_assert_cmpint (gst_element_set_state (rig->pipeline, GST_STATE_READY), ==, GST_STATE_CHANGE_FAILURE);
    rig_listen (rig, 10);
    g_assert_error (rig->error, cases[i].domain (), cases[i].code);
    g_assert_cmpstr (rig->error->message, ==, "scripted fault: /there");
    /* It can be tried again. */
    fake_script.open_error = FAKE_NO_ERROR;
    g_clear_error (&rig->error);
    rig_run (rig);
    g_assert_no_error (rig->error);
    g_assert_cmpuint (rig->captions->len, ==, 1);
    rig_free (rig);
  }
}

static void
without_any_model_the_error_says_how_to_name_one (void)
{
  Rig *rig;

  g_unsetenv ("MLLAMA_DEMO_MODEL");
  if (g_file_test (GST_MLLAMA_SOURCE_DEMO_MODEL "/config.json", G_FILE_TEST_EXISTS)) {
    g_test_skip ("this source tree has a default model");
  } else {
    rig = rig_new ("videotestsrc ! mllamacaption name=c ! fakesink");
    g_assert_cmpint (gst_element_set_state (rig->pipeline, GST_STATE_READY), ==, GST_STATE_CHANGE_FAILURE);
    rig_listen (rig, 10);
    g_assert_error (rig->error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND);
    g_assert_nonnull (strstr (rig->error->message, "property model"));
    g_assert_nonnull (strstr (rig->error->message, "MLLAMA_DEMO_MODEL"));
    rig_free (rig);
  }
  g_setenv ("MLLAMA_DEMO_MODEL", "/scripted", TRUE);
}

static void
a_raw_prompt_without_a_mark_is_an_error_in_ready (void)
{
  Rig *rig = rig_new ("videotestsrc ! mllamacaption name=c prompt=What prompt-format=raw ! fakesink");

  g_assert_cmpint (gst_element_set_state (rig->pipeline, GST_STATE_READY), ==, GST_STATE_CHANGE_FAILURE);
  rig_listen (rig, 10);
  g_assert_error (rig->error, GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_SETTINGS);
  g_assert_nonnull (strstr (rig->error->message, "<|image|>"));
  rig_free (rig);
}

static void
archive_stops_at_the_first_failure (void)
{
  static const char *const settings[] = {"", "max-in-flight=8", "on-error=stop mode=live", "attach-meta=false"};

  for (guint i = 0; i < G_N_ELEMENTS (settings); i++) {
    Rig *rig = rig_new ("videotestsrc num-buffers=300 " RED " ! mllamacaption name=c %s ! fakesink c.text_0 ! fakesink",
                        settings[i]);
    fake_script.encode_error = MLLAMA_ERROR_OUT_OF_MEMORY;
    /* Live, it is up to the machine how many frames are taken. */
    fake_script.first_failing_encode = i == 2 ? 1 : 2;
    rig_run (rig);
    g_assert_error (rig->error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT);
    g_assert_cmpuint (rig->captions->len, >=, i == 2 ? 0 : 1);
    rig_free (rig);
  }
}

static void
warn_goes_on_and_tells_of_each_failure (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=45 " RED " ! mllamacaption name=c on-error=warn ! fakesink "
                      "c.text_0 ! fakesink");

  fake_script.encode_error = MLLAMA_ERROR_DEVICE;
  fake_script.first_failing_encode = 2;
  fake_script.n_failing_encodes = 2;
  rig_watch (rig, "text_0");
  rig_watch (rig, "src");
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_auto (GStrv) video = rig_read (rig, "src video");
  g_assert_cmpuint (g_strv_length (video), ==, 45);
  g_assert_cmpuint (rig->captions->len, ==, 5);
  for (guint i = 0; i < 5; i++) {
    const GstStructure *caption = g_ptr_array_index (rig->captions, i);
    const gboolean failed = i == 1 || i == 2;
    g_assert_cmpstr (gst_structure_get_string (caption, "finish-reason"), ==, failed ? "error" : "stop");
    g_assert_cmpstr (gst_structure_get_string (caption, "error"), ==, failed ? "scripted fault: encode" : NULL);
  }
  /* Warnings are rate-limited; text has a gap. */
  g_assert_cmpuint (rig_count_messages (rig, GST_MESSAGE_WARNING), ==, 1);
  g_auto (GStrv) text = rig_read (rig, "text_0 caption");
  g_assert_cmpuint (g_strv_length (text), ==, 3);
  g_assert_true (g_str_has_prefix (text[1], "text_0 caption 3000 1000"));
  g_assert_cmpint (rig_find (rig, "text_0 gap 1000 1000"), >, 0);
  rig_free (rig);
}

static void
a_failed_still_leaves_a_gap_in_the_text (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=1 pattern=red ! video/x-raw,framerate=0/1 ! mllamacaption name=c "
                      "on-error=warn ! fakesink c.text_0 ! fakesink");

  fake_script.encode_error = MLLAMA_ERROR_DEVICE;
  rig_watch (rig, "text_0");
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpint (rig_find (rig, "text_0 gap 0 1000"), >, 0);
  rig_free (rig);
}

static void
failed_answers_follow_the_policy_too (void)
{
  static const struct {
    gint start, answer;
    GQuark (*domain) (void);
    gint code;
  } cases[] = {
      {MLLAMA_ERROR_TOO_LONG, FAKE_NO_ERROR, gst_library_error_quark, GST_LIBRARY_ERROR_SETTINGS},
      {FAKE_NO_ERROR, MLLAMA_ERROR_NOT_FINITE, gst_stream_error_quark, GST_STREAM_ERROR_DECODE},
  };

  for (guint i = 0; i < 2 * G_N_ELEMENTS (cases); i++) {
    const gboolean stop = i < G_N_ELEMENTS (cases);
    Rig *rig = rig_new ("videotestsrc num-buffers=25 " RED " ! mllamacaption name=c on-error=%s ! fakesink",
                        stop ? "stop" : "warn");
    fake_script.start_error = cases[i % 2].start;
    fake_script.answer_error = cases[i % 2].answer;
    rig_run (rig);
    if (stop) {
      g_assert_error (rig->error, cases[i % 2].domain (), cases[i % 2].code);
    } else {
      g_assert_no_error (rig->error);
      g_assert_cmpuint (rig->captions->len, ==, 3);
      g_assert_cmpuint (rig_count_messages (rig, GST_MESSAGE_WARNING), ==, 1);
    }
    rig_free (rig);
  }
}

static void
a_failed_load_follows_the_policy (void)
{
  for (guint warn = 0; warn < 2; warn++) {
    Rig *rig = rig_new ("videotestsrc num-buffers=25 " RED " ! mllamacaption name=c on-error=%s ! fakesink",
                        warn ? "warn" : "auto");
    fake_script.load_error = MLLAMA_ERROR_OUT_OF_MEMORY;
    rig_run (rig);
    if (warn) {
      g_assert_no_error (rig->error);
      g_assert_cmpuint (rig->captions->len, ==, 3);
      g_assert_cmpuint (fake_get_counts ().n_loads, ==, 1);
    } else {
      g_assert_error (rig->error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT);
    }
    g_assert_cmpuint (rig_count_messages (rig, GST_MESSAGE_PROGRESS), ==, 2);
    rig_free (rig);
  }
}

/* A bus handler that looks at the element from inside the message: it would hang if a lock were held. */
static GstBusSyncReply
call_back (GstBus *bus, GstMessage *message, gpointer data)
{
  GstElement *element = data;
  g_autoptr (GstStructure) stats = NULL;
  g_autofree char *last = NULL;
  gint device;

  if (GST_MESSAGE_SRC (message) != GST_OBJECT (element))
    return GST_BUS_PASS;
  g_object_get (element, "stats", &stats, "last-caption", &last, "device", &device, NULL);
  g_object_set (element, "interval", (guint64) GST_SECOND, "prompt", "What", NULL);
  GstPad *pad = gst_element_request_pad_simple (element, "text_%u");
  gst_element_release_request_pad (element, pad);
  gst_object_unref (pad);
  return GST_BUS_PASS;
}

static void
no_lock_is_held_when_a_message_is_posted (void)
{
  for (guint fail = 0; fail < 3; fail++) {
    Rig *rig = rig_new ("videotestsrc num-buffers=15 " RED " ! mllamacaption name=c %s ! fakesink",
                        fail == 2 ? "on-error=warn" : "mode=live interval=100000000");
    g_autoptr (GstBus) bus = gst_element_get_bus (rig->pipeline);
    fake_script.encode_ms = 5;
    fake_script.encode_error = fail == 2 ? MLLAMA_ERROR_DEVICE : FAKE_NO_ERROR;
    fake_script.open_error = fail == 1 ? MLLAMA_ERROR_NOT_FOUND : FAKE_NO_ERROR;
    gst_bus_set_sync_handler (bus, call_back, rig->element, NULL);
    if (fail == 1) {
      g_assert_cmpint (gst_element_set_state (rig->pipeline, GST_STATE_READY), ==, GST_STATE_CHANGE_FAILURE);
    } else {
      rig_run (rig);
      g_assert_no_error (rig->error);
    }
    gst_bus_set_sync_handler (bus, NULL, NULL, NULL);
    rig_free (rig);
  }
}

static void
add_tests (void)
{
  g_test_add_func ("/errors/a_model_that_does_not_open_is_an_error_in_ready",
                   a_model_that_does_not_open_is_an_error_in_ready);
  g_test_add_func ("/errors/without_any_model_the_error_says_how_to_name_one",
                   without_any_model_the_error_says_how_to_name_one);
  g_test_add_func ("/errors/a_raw_prompt_without_a_mark_is_an_error_in_ready",
                   a_raw_prompt_without_a_mark_is_an_error_in_ready);
  g_test_add_func ("/errors/archive_stops_at_the_first_failure", archive_stops_at_the_first_failure);
  g_test_add_func ("/errors/warn_goes_on_and_tells_of_each_failure", warn_goes_on_and_tells_of_each_failure);
  g_test_add_func ("/errors/a_failed_still_leaves_a_gap_in_the_text", a_failed_still_leaves_a_gap_in_the_text);
  g_test_add_func ("/errors/failed_answers_follow_the_policy_too", failed_answers_follow_the_policy_too);
  g_test_add_func ("/errors/a_failed_load_follows_the_policy", a_failed_load_follows_the_policy);
  g_test_add_func ("/errors/no_lock_is_held_when_a_message_is_posted", no_lock_is_held_when_a_message_is_posted);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
