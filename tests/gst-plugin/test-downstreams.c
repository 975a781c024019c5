/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a text pad makes of what it leads to: formats, branches that end or are not there, and what it pushes. */
#include <string.h>
#include "rig-coverage.h"
#include "rig-files.h"

#define RED "pattern=red ! video/x-raw,format=I420,width=64,height=64,framerate=10/1"

static void
markup_is_given_where_only_markup_is_taken (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=3 " RED " ! mllamacaption name=c c.src ! fakesink "
                      "c.text_0 ! text/x-raw,format=pango-markup ! queue ! fakesink");

  fake_script.answer = "a < b & c";
  rig_watch (rig, "text_0");
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpint (rig_find (rig, "text_0 caps text/x-raw, format=(string)pango-markup"), >=, 0);
  g_assert_cmpint (rig_find (rig, "text_0 caption 0 1000 a &lt; b &amp; c"), >=, 0);
  g_assert_cmpstr (rig_get_text (rig, 0), ==, "a < b & c");
  rig_free (rig);
}

static void
plain_text_is_given_where_both_are_taken (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=3 " RED " ! mllamacaption name=c c.src ! fakesink "
                      "c.text_0 ! queue ! capsfilter caps=\"text/x-raw,format=(string){pango-markup,utf8};"
                      "application/x-json\" ! fakesink");

  rig_watch (rig, "text_0");
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpint (rig_find (rig, "text_0 caps text/x-raw, format=(string)utf8"), >=, 0);
  rig_free (rig);
}

static void
a_downstream_that_takes_no_text_is_an_error (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=30 " RED " ! mllamacaption name=c c.src ! fakesink "
                      "c.text_0 ! capsfilter name=f ! fakesink");
  g_autoptr (GstElement) filter = gst_bin_get_by_name (GST_BIN (rig->pipeline), "f");

  gst_util_set_object_arg (G_OBJECT (filter), "caps", "text/x-raw,format=nonsense");
  rig_run (rig);
  g_assert_error (rig->error, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED);
  rig_free (rig);
}

static void
an_unlinked_text_pad_does_not_stop_messages (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=30 " RED " ! mllamacaption name=c text_0::prompt=What ! fakesink");
  GstPad *pad = gst_element_request_pad_simple (rig->element, "text_0");

  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (rig->captions->len, ==, 3);
  g_assert_cmpstr (rig_get_text (rig, 2), ==, "red 64x64: What");
  gst_object_unref (pad);
  rig_free (rig);
}

static void
a_text_branch_that_has_ended_does_not_stop_the_rest (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=50 " RED " ! mllamacaption name=c c.src ! fakesink "
                      "c.text_0 ! identity eos-after=2 ! fakesink c.text_1 ! fakesink");

  rig_watch (rig, "src");
  rig_watch (rig, "text_1");
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_auto (GStrv) video = rig_read (rig, "src video"), texts = rig_read (rig, "text_1 caption");
  g_assert_cmpuint (g_strv_length (video), ==, 50);
  g_assert_cmpuint (g_strv_length (texts), ==, 5);
  g_assert_cmpuint (rig->captions->len, ==, 10);
  rig_free (rig);
}

static void
an_empty_answer_is_a_gap (void)
{
  Rig *rig =
      rig_new ("videotestsrc num-buffers=20 " RED " ! mllamacaption name=c c.src ! fakesink c.text_0 ! fakesink");

  fake_script.answer = "\a\a";
  rig_watch (rig, "text_0");
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpint (rig_find (rig, "text_0 caption"), ==, -1);
  g_assert_cmpint (rig_find (rig, "text_0 gap 0 1000"), >, 0);
  g_assert_cmpint (rig_find (rig, "text_0 gap 1000 1000"), >, 0);
  g_assert_cmpuint (rig->captions->len, ==, 2);
  rig_free (rig);
}

static void
repeats_of_an_unchanged_scene_keep_their_caption_id (void)
{
  char *path = rig_make_path ("");

  fake_reset ();
  g_autoptr (GPtrArray) captions =
      rig_write_file (path, "videotestsrc num-buffers=30 " RED " ! mllamacaption name=c scene-threshold=0.1 c.src ! "
                            "fakesink c.text_0 ! application/x-json,timing=false");
  g_autofree char *json = rig_take_contents (path);
  g_auto (GStrv) lines = g_strsplit (json, "\n", -1);
  g_assert_cmpuint (captions->len, ==, 1);
  g_assert_cmpuint (g_strv_length (lines), ==, 4);
  for (guint i = 0; i < 3; i++)
    g_assert_nonnull (strstr (lines[i], "\"caption-id\":1,"));
}

/* Zero-length GAPs do not move what waits for text. */
static void
no_gap_is_without_length (void)
{
  static const char *const settings[] = {
      "", "interval=5000000000", "mode=live", "attach-meta=false", "scene-threshold=0.1", "on-error=warn"};

  for (guint i = 0; i < G_N_ELEMENTS (settings); i++) {
    Rig *rig = rig_new ("videotestsrc num-buffers=60 " RED " ! mllamacaption name=c %s c.src ! fakesink "
                        "c.text_0 ! fakesink",
                        settings[i]);
    if (strstr (settings[i], "on-error")) {
      fake_script.encode_error = MLLAMA_ERROR_NOT_FINITE;
      fake_script.first_failing_encode = 2;
    }
    rig_watch (rig, "text_0");
    rig_run (rig);
    g_auto (GStrv) gaps = rig_read (rig, "text_0 gap");
    g_assert_cmpuint (g_strv_length (gaps), >, 0);
    for (char **gap = gaps; *gap; gap++)
      g_assert_false (g_str_has_suffix (*gap, " 0"));
    g_assert_cmpuint (rig_coverage_count (rig->coverage), >, 0);
    rig_free (rig);
  }
}

/* The first frame is covered before it is pushed, or preroll would wait for an answer. */
static void
a_live_stream_prerolls_without_an_answer (void)
{
  Rig *rig = rig_new ("videotestsrc " RED " ! mllamacaption name=c mode=live c.src ! queue ! fakesink "
                      "c.text_0 ! queue ! fakesink");

  fake_script.encode_ms = 60000;
  gst_element_set_state (rig->pipeline, GST_STATE_PAUSED);
  g_assert_cmpint (gst_element_get_state (rig->pipeline, NULL, NULL, 4 * GST_SECOND), ==, GST_STATE_CHANGE_SUCCESS);
  g_assert_cmpuint (fake_get_counts ().n_answers, ==, 0);
  rig_free (rig);
}

static gboolean
has_gap (Rig *rig)
{
  return rig_find (rig, "text_0 gap 0 5000") >= 0;
}

static void
text_reaches_up_to_a_frame_that_is_not_answered (void)
{
  Rig *rig = rig_new ("videotestsrc timestamp-offset=5000000000 " RED " ! mllamacaption name=c mode=archive c.src ! "
                      "fakesink c.text_0 ! fakesink");

  fake_script.encode_ms = 60000;
  rig_watch (rig, "text_0");
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_gap);
  g_assert_cmpuint (fake_get_counts ().n_answers, ==, 0);
  rig_free (rig);
}

static void
add_tests (void)
{
  g_test_add_func ("/downstreams/markup_is_given_where_only_markup_is_taken",
                   markup_is_given_where_only_markup_is_taken);
  g_test_add_func ("/downstreams/plain_text_is_given_where_both_are_taken", plain_text_is_given_where_both_are_taken);
  g_test_add_func ("/downstreams/a_downstream_that_takes_no_text_is_an_error",
                   a_downstream_that_takes_no_text_is_an_error);
  g_test_add_func ("/downstreams/an_unlinked_text_pad_does_not_stop_messages",
                   an_unlinked_text_pad_does_not_stop_messages);
  g_test_add_func ("/downstreams/a_text_branch_that_has_ended_does_not_stop_the_rest",
                   a_text_branch_that_has_ended_does_not_stop_the_rest);
  g_test_add_func ("/downstreams/an_empty_answer_is_a_gap", an_empty_answer_is_a_gap);
  g_test_add_func ("/downstreams/repeats_of_an_unchanged_scene_keep_their_caption_id",
                   repeats_of_an_unchanged_scene_keep_their_caption_id);
  g_test_add_func ("/downstreams/no_gap_is_without_length", no_gap_is_without_length);
  g_test_add_func ("/downstreams/a_live_stream_prerolls_without_an_answer", a_live_stream_prerolls_without_an_answer);
  g_test_add_func ("/downstreams/text_reaches_up_to_a_frame_that_is_not_answered",
                   text_reaches_up_to_a_frame_that_is_not_answered);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
