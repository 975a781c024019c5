/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Captions as subtitle files and as lines of JSON, read back by what reads such files. */
#include <string.h>
#include "rig-files.h"

#define RED "pattern=red ! video/x-raw,format=I420,width=64,height=64,framerate=10/1"

static char **
read_subtitles (const char *path)
{
  return rig_read_cues ("filesrc location=%s ! subparse ! fakesink name=s", path);
}

/* 12 s of video; the captions say what time it is. */
static void
check_subtitles (const char *encoder, guint interval)
{
  g_autofree char *path = rig_make_path ("");
  const guint n = (12 + interval - 1) / interval;

  fake_reset ();
  g_autoptr (GPtrArray) captions =
      rig_write_file (path,
                      "videotestsrc num-buffers=120 " RED " ! mllamacaption name=c interval=%u000000000 prompt={pts} "
                      "c.src ! fakesink c.text_0 ! %s",
                      interval, encoder);
  g_auto (GStrv) cues = read_subtitles (path);
  g_assert_cmpuint (captions->len, ==, n);
  g_assert_cmpuint (g_strv_length (cues), ==, n);
  for (guint i = 0; i < n; i++) {
    g_autofree char *cue = g_strdup_printf ("%u %u red 64x64: 0:00:%02u.000", i * interval * 1000,
                                            (i + 1) * interval * 1000, i * interval);
    g_assert_cmpstr (cues[i], ==, cue);
  }
  rig_remove_path (g_steal_pointer (&path));
}

static void
encoder_reads_back_at_1_and_5_s (gconstpointer encoder)
{
  check_subtitles (encoder, 1);
  check_subtitles (encoder, 5);
}

static char *
run_into_filesink (const char *caps, guint interval)
{
  char *path = rig_make_path ("");

  fake_reset ();
  g_autoptr (GPtrArray) captions =
      rig_write_file (path,
                      "videotestsrc num-buffers=120 " RED " ! mllamacaption name=c interval=%u000000000 "
                      "prompt=\"{pts};\" c.src ! fakesink c.text_0 ! %s",
                      interval, caps);
  g_assert_cmpuint (captions->len, ==, (12 + interval - 1) / interval);
  return rig_take_contents (path);
}

static void
filesink_holds_each_caption_at_1_and_5_s (void)
{
  g_autofree char *often = run_into_filesink ("text/x-raw", 1), *seldom = run_into_filesink ("text/x-raw", 5);

  g_assert_cmpuint (strlen (often), ==, 12 * strlen ("red 64x64: 0:00:00.000;"));
  g_assert_true (g_str_has_suffix (often, "red 64x64: 0:00:11.000;"));
  g_assert_cmpstr (seldom, ==, "red 64x64: 0:00:00.000;red 64x64: 0:00:05.000;red 64x64: 0:00:10.000;");
}

/* --- JSON --- */

static void
check_lines (guint interval)
{
  g_autofree char *json = run_into_filesink ("application/x-json", interval);
  g_auto (GStrv) lines = g_strsplit (json, "\n", -1);
  const guint n = (12 + interval - 1) / interval;

  g_assert_cmpuint (g_strv_length (lines), ==, n + 1);
  g_assert_cmpstr (lines[n], ==, "");
  for (guint i = 0; i < n; i++) {
    g_autofree char *pts = g_strdup_printf ("\"pts\":%" G_GUINT64_FORMAT ",", i * interval * GST_SECOND);
    g_assert_true (g_str_has_prefix (lines[i], "{\"text\":\"red 64x64: 0:00:"));
    g_assert_nonnull (strstr (lines[i], pts));
  }
}

static void
json_has_a_line_a_caption_at_1_and_5_s (void)
{
  check_lines (1);
  check_lines (5);
}

static void
json_holds_times_taken_in_one_member (void)
{
  g_autofree char *json = run_into_filesink ("application/x-json", 5);
  g_auto (GStrv) lines = g_strsplit (json, "\n", -1);
  static const char *const names[] = {"queue-time", "encode-time", "prefill-time", "decode-time", "latency"};

  for (guint i = 0; i < 3; i++) {
    const char *timing = strstr (lines[i], ",\"timing\":{\"queue-time\":");
    g_assert_nonnull (timing);
    g_assert_true (g_str_has_suffix (timing, "}}"));
    for (guint k = 0; k < G_N_ELEMENTS (names); k++) {
      g_assert_nonnull (strstr (timing, names[k]));
      g_assert_null (g_strstr_len (lines[i], timing - lines[i], names[k]));
    }
  }
}

static void
json_without_timing_is_the_same_from_run_to_run (void)
{
  g_autofree char *first = run_into_filesink ("application/x-json,timing=false", 1);
  g_autofree char *second = run_into_filesink ("application/x-json,timing=false", 1);

  g_assert_cmpstr (first, ==, second);
  g_assert_null (strstr (first, "timing"));
  g_assert_null (strstr (first, "latency"));
  g_assert_nonnull (strstr (first, "\"scene-score\":1,\"logprobs\":[-0.25,-0.25,-0.25]}\n"));
}

/* --- odd texts --- */

/* subparse, which knows no escapes, escapes what it reads, but for the tags that it knows and closes. */
static const struct {
  const char *answer, *srt, *vtt;
} odd_texts[] = {
    {"a <b>bold</b> & < claim", "a <b>bold</b> &amp; &lt; claim",
     "a &amp;lt;b&amp;gt;bold&amp;lt;/b&amp;gt; &amp;amp; &amp;lt; claim"},
    {"00:01 --> 00:02 ---> end", "00:01 -&gt; 00:02 -&gt; end", "00:01 -&amp;gt; 00:02 -&amp;gt; end"},
    {"one\n\n\n2\n00:00:07,000 --> 00:00:08,000\ntwo", "one\n2\n00:00:07,000 -&gt; 00:00:08,000\ntwo",
     "one\n2\n00:00:07,000 -&amp;gt; 00:00:08,000\ntwo"},
    {"half \xf0\x9f\x90", "half \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", NULL},
    {"a \xf0\x9f\x90\xb6 and \xe2\x9d\xa4\xef\xb8\x8f", "a \xf0\x9f\x90\xb6 and \xe2\x9d\xa4\xef\xb8\x8f", NULL},
    {"WEBVTT\nNOTE x", "WEBVTT\nNOTE x", NULL},
};

/* Each is one cue, and the one after it is whole. */
static void
encoder_keeps_odd_texts (gconstpointer encoder)
{
  for (guint i = 0; i < G_N_ELEMENTS (odd_texts); i++) {
    g_autofree char *path = rig_make_path ("");
    fake_reset ();
    fake_script.answer = odd_texts[i].answer;
    g_autoptr (GPtrArray) captions = rig_write_file (
        path, "videotestsrc num-buffers=20 " RED " ! mllamacaption name=c c.src ! fakesink c.text_0 ! %s",
        (const char *) encoder);
    g_autofree char *contents = NULL;
    g_file_get_contents (path, &contents, NULL, NULL);
    g_assert_true (g_utf8_validate (contents, -1, NULL));
    g_auto (GStrv) cues = read_subtitles (path);
    g_assert_cmpuint (captions->len, ==, 2);
    /* Two cues that follow each other with the same text are read as one. */
    const gboolean vtt = g_str_equal (encoder, "webvttenc") && odd_texts[i].vtt;
    g_autofree char *both = g_strconcat ("0 2000 ", vtt ? odd_texts[i].vtt : odd_texts[i].srt, NULL);
    g_assert_cmpuint (g_strv_length (cues), ==, 1);
    g_assert_cmpstr (cues[0], ==, both);
    rig_remove_path (g_steal_pointer (&path));
  }
}

static void
add_tests (void)
{
  g_test_add_data_func ("/subtitles/srtenc_reads_back_at_1_and_5_s", "srtenc", encoder_reads_back_at_1_and_5_s);
  g_test_add_data_func ("/subtitles/webvttenc_reads_back_at_1_and_5_s", "webvttenc", encoder_reads_back_at_1_and_5_s);
  g_test_add_data_func ("/subtitles/srtenc_keeps_odd_texts", "srtenc", encoder_keeps_odd_texts);
  g_test_add_data_func ("/subtitles/webvttenc_keeps_odd_texts", "webvttenc", encoder_keeps_odd_texts);
  g_test_add_func ("/subtitles/filesink_holds_each_caption_at_1_and_5_s", filesink_holds_each_caption_at_1_and_5_s);
  g_test_add_func ("/json/has_a_line_a_caption_at_1_and_5_s", json_has_a_line_a_caption_at_1_and_5_s);
  g_test_add_func ("/json/holds_times_taken_in_one_member", json_holds_times_taken_in_one_member);
  g_test_add_func ("/json/without_timing_is_the_same_from_run_to_run", json_without_timing_is_the_same_from_run_to_run);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
