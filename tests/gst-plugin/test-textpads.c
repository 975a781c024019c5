/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Captions as timed text, into the elements that people use. */
#include "rig.h"
#include <glib/gstdio.h>

#define RED "pattern=red ! video/x-raw,format=I420,width=64,height=64,framerate=10/1"

/* Runs a line with a %s for a new file, and returns what is in the file. */
static char *
run_to_file (const char *line)
{
  g_autofree char *path = NULL;
  g_autoptr (GError) error = NULL;
  char *contents;

  g_close (g_file_open_tmp ("mllama-XXXXXX", &path, &error), NULL);
  g_assert_no_error (error);
  G_GNUC_BEGIN_IGNORE_DEPRECATIONS
  g_autofree char *filled = g_strdup_printf (line, path); // NOLINT
  G_GNUC_END_IGNORE_DEPRECATIONS
  Rig *rig = rig_new ("%s", filled);
  rig_run (rig);
  g_assert_no_error (rig->error);
  rig_free (rig);
  g_file_get_contents (path, &contents, NULL, &error);
  g_assert_no_error (error);
  g_unlink (path);
  return contents;
}

static void
srtenc_with_src_unlinked_writes_a_cue_an_interval (void)
{
  g_autofree char *srt = run_to_file ("videotestsrc num-buffers=30 " RED " ! mllamacaption name=c prompt=What "
                                      "c.text_0 ! srtenc ! filesink location=%s");

  g_assert_cmpstr (srt, ==,
                   "1\n00:00:00,000 --> 00:00:01,000\nred 64x64: What\n\n"
                   "2\n00:00:01,000 --> 00:00:02,000\nred 64x64: What\n\n"
                   "3\n00:00:02,000 --> 00:00:03,000\nred 64x64: What\n\n");
}

static void
webvttenc_gets_escaped_markup (void)
{
  g_autofree char *vtt = run_to_file ("videotestsrc num-buffers=10 " RED " ! mllamacaption name=c "
                                      "prompt=\"<b>x</b> & --> y\" c.src ! fakesink c.text_0 ! webvttenc ! "
                                      "filesink location=%s");

  g_assert_nonnull (strstr (vtt, "00:00:00.000 --> 00:00:01.000\nred 64x64: &lt;b&gt;x&lt;/b&gt; &amp; -&gt; y\n"));
}

static void
filesink_gets_plain_text (void)
{
  g_autofree char *text = run_to_file ("videotestsrc num-buffers=1 " RED " ! mllamacaption name=c "
                                       "prompt=\"<b> & --> y\" c.src ! fakesink c.text_0 ! filesink location=%s");

  g_assert_cmpstr (text, ==, "red 64x64: <b> & -> y");
}

static void
a_capsfilter_gets_a_json_object_a_line (void)
{
  g_autofree char *json = run_to_file ("videotestsrc num-buffers=11 " RED " ! mllamacaption name=c prompt=What "
                                       "c.src ! fakesink c.text_0 ! application/x-json ! filesink location=%s");
  g_auto (GStrv) lines = g_strsplit (json, "\n", -1);

  g_assert_cmpuint (g_strv_length (lines), ==, 3);
  g_assert_true (g_str_has_prefix (lines[0], "{\"text\":\"red 64x64: What\",\"prompt\":\"What\",\"pad\":\"text_0\","
                                             "\"caption-id\":1,\"encode-id\":1,\"pts\":0,\"running-time\":0,"
                                             "\"stream-time\":0,\"duration\":1000000000,\"tokens\":3,"
                                             "\"token-ids\":[100,101,102],\"finish-reason\":\"stop\","
                                             "\"confidence\":0.7788007830714"));
  g_assert_nonnull (strstr (lines[1], "\"states-reused\":false,\"partial\":false,\"scene-score\":1,"));
}

static void
check_matroska (guint interval, const char *queue, const char *cue)
{
  g_autofree char *path = NULL;
  g_close (g_file_open_tmp ("mllama-XXXXXX.mkv", &path, NULL), NULL);
  Rig *rig = rig_new ("videotestsrc num-buffers=120 " RED " ! mllamacaption name=c interval=%u000000000 prompt={pts} "
                      "c.src ! %s matroskamux name=m ! filesink location=%s c.text_0 ! %s m.",
                      interval, queue, path, queue);

  rig_run (rig);
  g_assert_no_error (rig->error);
  rig_free (rig);
  g_autofree char *line = g_strdup_printf ("filesrc location=%s ! matroskademux name=d d.subtitle_0 ! queue ! srtenc ! "
                                           "filesink location=%%s videotestsrc num-buffers=1 ! mllamacaption name=c ! "
                                           "fakesink d.video_0 ! queue ! fakesink",
                                           path);
  g_autofree char *srt = run_to_file (line);
  g_assert_true (g_str_has_prefix (srt, "1\n00:00:00,000 --> "));
  g_assert_true (g_str_has_suffix (srt, cue));
  g_unlink (path);
}

/* The muxer waits for text far longer than the queue before it lasts. */
static void
matroska_keeps_a_subtitle_track (void)
{
  check_matroska (1, "queue !", "12\n00:00:11,000 --> 00:00:12,000\nred 64x64: 0:00:11.000\n\n");
  check_matroska (5, "queue !", "3\n00:00:10,000 --> 00:00:15,000\nred 64x64: 0:00:10.000\n\n");
  check_matroska (5, "", "3\n00:00:10,000 --> 00:00:15,000\nred 64x64: 0:00:10.000\n\n");
}

static void
run_overlay (const char *wait, const char *queue, const char *mode)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=45 " RED " ! mllamacaption name=c prompt=What mode=%s c.src ! %s "
                      "textoverlay name=o wait-text=%s ! fakesink c.text_0 ! %s o.text_sink",
                      mode, queue, wait, queue);

  fake_script.encode_ms = 2;
  rig_watch (rig, "text_0");
  rig_watch (rig, "src");
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_auto (GStrv) video = rig_read (rig, "src video");
  g_assert_cmpuint (g_strv_length (video), ==, 45);
  g_assert_cmpuint (rig->captions->len, >=, 1);
  rig_free (rig);
}

static void
textoverlay_reaches_the_end (void)
{
  GstElement *overlay = gst_element_factory_make ("textoverlay", NULL);
  static const char *const modes[] = {"archive", "live", "archive interval=5000000000"};

  if (!overlay) {
    g_test_skip ("there is no textoverlay (Debian: gstreamer1.0-x)");
    return;
  }
  gst_object_unref (gst_object_ref_sink (overlay));
  for (guint i = 0; i < G_N_ELEMENTS (modes); i++) {
    run_overlay ("true", "", modes[i]);
    run_overlay ("false", "", modes[i]);
    run_overlay ("true", "queue !", modes[i]);
    run_overlay ("false", "queue !", modes[i]);
  }
}

static void
pads_ask_their_own_questions_over_one_encode (void)
{
  Rig *rig =
      rig_new ("videotestsrc num-buffers=11 " RED " ! mllamacaption name=c text_0::prompt=Zero text_7::prompt=Seven "
               "text_3::max-tokens=2 prompt=Default c.src ! fakesink c.text_7 ! fakesink c.text_0 ! fakesink "
               "c.text_3 ! fakesink");
  static const char *const texts[] = {"red 64x64: Zero", "red 64x64:", "red 64x64: Seven"};
  static const char *const pads[] = {"text_0", "text_3", "text_7"};

  fake_script.token_ms = 1;
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (fake_get_counts ().n_encodes, ==, 2);
  g_assert_cmpuint (fake_get_counts ().max_running, ==, 3);
  g_assert_cmpuint (rig->captions->len, ==, 6);
  for (guint i = 0; i < 6; i++) {
    const GstStructure *caption = g_ptr_array_index (rig->captions, i);
    gboolean reused;
    g_assert_cmpstr (rig_get_text (rig, i), ==, texts[i % 3]);
    g_assert_cmpstr (gst_structure_get_string (caption, "pad"), ==, pads[i % 3]);
    g_assert_true (gst_structure_get_boolean (caption, "states-reused", &reused));
    g_assert_cmpint (reused, ==, i % 3 > 0);
  }
  rig_free (rig);
}

static void
a_text_stream_starts_as_a_sparse_one (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=2 " RED " ! mllamacaption name=c c.src ! fakesink c.text_0 ! fakesink");

  rig_watch (rig, "text_0");
  rig_run (rig);
  g_auto (GStrv) lines = rig_read (rig, "text_0");
  g_assert_cmpstr (lines[0], ==, "text_0 stream-start");
  g_assert_cmpstr (lines[1], ==, "text_0 caps text/x-raw, format=(string)utf8");
  g_assert_cmpstr (lines[2], ==, "text_0 segment");
  g_assert_cmpstr (lines[3], ==, "text_0 caption 0 1000 red 64x64: Describe the scene in one short sentence.");
  /* While a text lasts, GAPs tell how far video has come. */
  g_assert_true (g_str_has_prefix (lines[4], "text_0 gap 0 "));
  g_assert_cmpstr (lines[g_strv_length (lines) - 1], ==, "text_0 eos");
  rig_free (rig);
}

static void
note_stream_start (GstPad *pad, gboolean *checked)
{
  g_autoptr (GstEvent) event = gst_pad_get_sticky_event (pad, GST_EVENT_STREAM_START, 0);
  g_autoptr (GstStream) stream = NULL;
  GstStreamFlags flags;
  guint group;

  gst_event_parse_stream_flags (event, &flags);
  gst_event_parse_stream (event, &stream);
  g_assert_true (flags & GST_STREAM_FLAG_SPARSE);
  g_assert_cmpint (gst_stream_get_stream_type (stream), ==, GST_STREAM_TYPE_TEXT);
  g_assert_true (gst_event_parse_group_id (event, &group));
  *checked = TRUE;
}

static void
stream_start_says_text_sparse_and_the_group (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=2 " RED " ! mllamacaption name=c c.src ! fakesink c.text_0 ! fakesink");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (rig->element, "text_0");
  gboolean checked = FALSE;

  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait_for_end (rig);
  note_stream_start (pad, &checked);
  g_assert_true (checked);
  rig_free (rig);
}

static void
hold_gives_one_buffer_a_caption (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=45 " RED " ! mllamacaption name=c prompt=What scene-threshold=0.1 "
                      "text_0::hold=true c.src ! fakesink c.text_0 ! fakesink");

  rig_watch (rig, "text_0");
  rig_run (rig);
  g_auto (GStrv) lines = rig_read (rig, "text_0 caption");
  g_assert_cmpuint (g_strv_length (lines), ==, 1);
  g_assert_cmpstr (lines[0], ==, "text_0 caption 0 4500 red 64x64: What");
  g_assert_cmpuint (fake_get_counts ().n_encodes, ==, 1);
  rig_free (rig);
}

static void
hold_ends_a_caption_where_the_next_starts (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=25 " RED " ! mllamacaption name=c prompt={pts} "
                      "text_0::hold=true c.src ! fakesink c.text_0 ! fakesink");

  rig_watch (rig, "text_0");
  rig_run (rig);
  g_auto (GStrv) lines = rig_read (rig, "text_0 caption");
  g_assert_cmpuint (g_strv_length (lines), ==, 3);
  g_assert_cmpstr (lines[0], ==, "text_0 caption 0 1000 red 64x64: 0:00:00.000");
  g_assert_cmpstr (lines[2], ==, "text_0 caption 2000 500 red 64x64: 0:00:02.000");
  rig_free (rig);
}

static void
an_unchanged_scene_repeats_the_text (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=31 " RED " ! mllamacaption name=c prompt=What scene-threshold=0.1 "
                      "max-interval=3000000000 c.src ! fakesink c.text_0 ! fakesink");

  rig_watch (rig, "text_0");
  rig_run (rig);
  g_auto (GStrv) lines = rig_read (rig, "text_0 caption");
  g_assert_cmpuint (g_strv_length (lines), ==, 4);
  for (guint i = 0; i < 4; i++) {
    g_autofree char *line = g_strdup_printf ("text_0 caption %u 1000 red 64x64: What", i * 1000);
    g_assert_cmpstr (lines[i], ==, line);
  }
  g_assert_cmpuint (rig->captions->len, ==, 2);
  g_assert_cmpuint (fake_get_counts ().n_encodes, ==, 2);
  rig_free (rig);
}

static void
odd_texts_do_not_break_subtitles (void)
{
  static const struct {
    const char *answer, *text;
  } cases[] = {
      {"a\n\n\nb", "a\nb"},
      {"half \xe2\x82", "half \xef\xbf\xbd\xef\xbf\xbd"},
      {"bell\a and\r\nline", "bell and\nline"},
      {"x ---> y --> z", "x -> y -> z"},
      {"\xf0\x9f\x90\xb6 dog", "\xf0\x9f\x90\xb6 dog"},
      {" not trimmed ", " not trimmed "},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    Rig *rig =
        rig_new ("videotestsrc num-buffers=1 " RED " ! mllamacaption name=c c.src ! fakesink c.text_0 ! fakesink");
    fake_script.answer = cases[i].answer;
    rig_watch (rig, "text_0");
    rig_run (rig);
    g_auto (GStrv) lines = rig_read (rig, "text_0 caption");
    g_autofree char *line = g_strconcat ("text_0 caption 0 1000 ", cases[i].text, NULL);
    g_assert_cmpstr (lines[0], ==, line);
    g_assert_null (strstr (lines[0], "-->"));
    g_assert_true (g_utf8_validate (lines[0], -1, NULL));
    /* The message carries what was said. */
    g_assert_cmpint (strstr (rig_get_text (rig, 0), "\n\n\n") != NULL, ==, i == 0);
    rig_free (rig);
  }
}

static void
add_tests (void)
{
  g_test_add_func ("/text/srtenc_with_src_unlinked_writes_a_cue_an_interval",
                   srtenc_with_src_unlinked_writes_a_cue_an_interval);
  g_test_add_func ("/text/webvttenc_gets_escaped_markup", webvttenc_gets_escaped_markup);
  g_test_add_func ("/text/filesink_gets_plain_text", filesink_gets_plain_text);
  g_test_add_func ("/text/a_capsfilter_gets_a_json_object_a_line", a_capsfilter_gets_a_json_object_a_line);
  g_test_add_func ("/text/matroska_keeps_a_subtitle_track", matroska_keeps_a_subtitle_track);
  g_test_add_func ("/text/textoverlay_reaches_the_end", textoverlay_reaches_the_end);
  g_test_add_func ("/text/pads_ask_their_own_questions_over_one_encode", pads_ask_their_own_questions_over_one_encode);
  g_test_add_func ("/text/a_text_stream_starts_as_a_sparse_one", a_text_stream_starts_as_a_sparse_one);
  g_test_add_func ("/text/stream_start_says_text_sparse_and_the_group", stream_start_says_text_sparse_and_the_group);
  g_test_add_func ("/text/hold_gives_one_buffer_a_caption", hold_gives_one_buffer_a_caption);
  g_test_add_func ("/text/hold_ends_a_caption_where_the_next_starts", hold_ends_a_caption_where_the_next_starts);
  g_test_add_func ("/text/an_unchanged_scene_repeats_the_text", an_unchanged_scene_repeats_the_text);
  g_test_add_func ("/text/odd_texts_do_not_break_subtitles", odd_texts_do_not_break_subtitles);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
