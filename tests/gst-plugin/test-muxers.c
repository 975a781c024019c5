/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Captions as a subtitle track of a film: to the end whatever stands between, and read back. */
#include <string.h>
#include "rig-files.h"

#define RED "pattern=red ! video/x-raw,format=I420,width=64,height=64,framerate=10/1"

typedef struct {
  const char *muxer, *encoder, *text_pad, *demuxer;
} Film;

static const Film matroska = {"matroskamux", "identity", "subtitle_%u", "matroskademux"};
static const Film mp4 = {"mp4mux", "openh264enc ! h264parse", "subtitle_%u", "qtdemux"};
static const Film quicktime = {"qtmux", "jpegenc", "subtitle_%u", "qtdemux"};

static gboolean
has_elements (const char *line)
{
  g_auto (GStrv) names = g_strsplit (line, " ! ", -1);

  for (char **name = names; *name; name++) {
    g_autoptr (GstElementFactory) factory = gst_element_factory_find (*name);
    if (!factory)
      return FALSE;
  }
  return TRUE;
}

static char **
read_film (const Film *film, const char *path)
{
  return rig_read_cues ("filesrc location=%s ! %s name=d d.subtitle_0 ! queue ! fakesink name=s "
                        "d.video_0 ! queue ! fakesink sync=false async=false",
                        path, film->demuxer);
}

static void
check_cues (char **cues, guint interval, guint n)
{
  g_assert_cmpuint (g_strv_length (cues), ==, n);
  for (guint i = 0; i < n; i++) {
    const guint start = i * interval;
    g_autofree char *cue =
        g_strdup_printf ("%u %u red 64x64: 0:00:%02u.000", start * 1000, (start + interval) * 1000, start);
    g_assert_cmpstr (cues[i], ==, cue);
  }
}

/* 12 s of video with captions that say what time it is. */
static void
check_film (const Film *film, guint interval, const char *queue, const char *settings)
{
  g_autofree char *path = rig_make_path ("");

  g_test_message ("%s, a caption every %u s, %s", film->muxer, interval, *queue ? queue : "no queue");
  fake_reset ();
  g_autoptr (GPtrArray) captions =
      rig_write_file (path,
                      "videotestsrc num-buffers=120 " RED " ! mllamacaption name=c interval=%u000000000 prompt={pts} "
                      "%s c.src ! %s %s ! m.video_%%u c.text_0 ! %s m.%s %s name=m",
                      interval, settings, queue, film->encoder, queue, film->text_pad, film->muxer);
  const guint n = (12 + interval - 1) / interval;
  g_assert_cmpuint (captions->len, ==, n);
  g_auto (GStrv) cues = read_film (film, path);
  check_cues (cues, interval, n);
  rig_remove_path (g_steal_pointer (&path));
}

static void
check_films (gconstpointer data)
{
  const Film *film = data;
  static const char *const queues[] = {"", "queue !"};

  if (!has_elements (film->encoder)) {
    g_test_skip (film->encoder);
    return;
  }
  for (guint i = 0; i < G_N_ELEMENTS (queues); i++) {
    check_film (film, 1, queues[i], "");
    check_film (film, 5, queues[i], "");
    check_film (film, 5, queues[i], "attach-meta=false");
  }
}

/* Text is late: the muxer gets none for what it is to write. */
static void
a_live_recording_does_not_wait_for_a_slow_model (gconstpointer data)
{
  const Film *film = data;
  g_autofree char *path = rig_make_path ("");

  fake_reset ();
  fake_script.load_ms = 600;
  fake_script.encode_ms = 700;
  const gint64 start = g_get_monotonic_time ();
  g_autoptr (GPtrArray) captions =
      rig_write_file (path,
                      "videotestsrc is-live=true num-buffers=30 " RED " ! mllamacaption name=c prompt={pts} "
                      "c.src ! queue ! %s ! m.video_%%u c.text_0 ! queue ! m.%s %s name=m",
                      film->encoder, film->text_pad, film->muxer);
  g_assert_cmpint (g_get_monotonic_time () - start, <, 6 * G_TIME_SPAN_SECOND);
  g_auto (GStrv) cues = read_film (film, path);
  g_assert_cmpuint (captions->len, >=, 2);
  g_assert_cmpuint (g_strv_length (cues), ==, captions->len);
  for (guint i = 0; i < captions->len; i++)
    g_assert_true (g_str_has_suffix (cues[i], gst_structure_get_string (g_ptr_array_index (captions, i), "text")));
  rig_remove_path (g_steal_pointer (&path));
}

static gboolean
has_caption (Rig *rig)
{
  return rig->captions->len >= 1;
}

/* The muxer's tables hold the length of each text and of each hole between two; neither can be negative. Start of the
 * first text that ends so, in ms. */
static gint64
check_order (char **texts, const char *suffix)
{
  gint64 end = 0, found = -1;

  for (char **text = texts; *text; text++) {
    char *rest;
    const gint64 start = g_ascii_strtoll (*text + strlen ("text_0 caption "), &rest, 10);
    g_assert_cmpint (start, >=, end - 1); /* both were rounded down */
    end = start + g_ascii_strtoll (rest, NULL, 10);
    if (found < 0 && g_str_has_suffix (*text, suffix))
      found = start;
  }
  return found;
}

static void
a_new_answer_cuts_the_old_one_short_in_qtmux (void)
{
  Rig *rig = rig_new ("videotestsrc is-live=true num-buffers=25 " RED " ! mllamacaption name=c interval=10000000000 "
                      "prompt=One c.src ! queue ! jpegenc ! m.video_0 c.text_0 ! queue ! m.subtitle_0 qtmux name=m ! "
                      "fakesink sync=false");

  rig_watch (rig, "text_0");
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_caption);
  rig_listen (rig, 500);
  g_object_set (rig->element, "prompt", "Two", NULL);
  rig_wait_for_end (rig);
  g_assert_no_error (rig->error);
  g_auto (GStrv) texts = rig_read (rig, "text_0 caption");
  const gint64 start = check_order (texts, "Two");
  g_assert_cmpint (start, >=, 300);
  g_assert_cmpint (start, <=, 2500);
  rig_free (rig);
}

/* A failed frame is a hole in the track, not the end of the film. */
static void
a_frame_that_fails_leaves_a_hole (gconstpointer data)
{
  const Film *film = data;
  g_autofree char *path = rig_make_path ("");

  fake_reset ();
  fake_script.encode_error = MLLAMA_ERROR_NOT_FINITE;
  fake_script.first_failing_encode = 2;
  fake_script.n_failing_encodes = 1;
  g_autoptr (GPtrArray) captions =
      rig_write_file (path,
                      "videotestsrc num-buffers=30 " RED " ! mllamacaption name=c prompt=What on-error=warn "
                      "c.src ! %s ! m.video_%%u c.text_0 ! m.%s %s name=m",
                      film->encoder, film->text_pad, film->muxer);
  g_assert_cmpuint (captions->len, ==, 3);
  g_auto (GStrv) cues = read_film (film, path);
  g_assert_cmpuint (g_strv_length (cues), ==, 2);
  g_assert_cmpstr (cues[0], ==, "0 1000 red 64x64: What");
  g_assert_cmpstr (cues[1], ==, "2000 3000 red 64x64: What");
  rig_remove_path (g_steal_pointer (&path));
}

/* What comes back is what the demuxer makes of it: markup from Matroska, plain text from QuickTime. */
static void
check_odd_texts (gconstpointer data)
{
  static const struct {
    const char *answer, *plain, *markup;
  } cases[] = {
      {"Tom & Jerry: 1 < 2 --> x", "Tom & Jerry: 1 < 2 -> x", "Tom &amp; Jerry: 1 &lt; 2 -&gt; x"},
      {"one\n\n\ntwo\a", "one\ntwo", "one\ntwo"},
      {"half \xf0\x9f", "half \xef\xbf\xbd\xef\xbf\xbd", "half \xef\xbf\xbd\xef\xbf\xbd"},
      {"a \xf0\x9f\x90\xb6", "a \xf0\x9f\x90\xb6", "a \xf0\x9f\x90\xb6"},
      {"so <b>bold</b>", "so <b>bold</b>", "so <b>bold</b>"},
  };
  const Film *film = data;

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *path = rig_make_path ("");
    fake_reset ();
    fake_script.answer = cases[i].answer;
    g_autoptr (GPtrArray) captions =
        rig_write_file (path,
                        "videotestsrc num-buffers=20 " RED " ! mllamacaption name=c c.src ! %s ! m.video_%%u "
                        "c.text_0 ! m.%s %s name=m",
                        film->encoder, film->text_pad, film->muxer);
    g_auto (GStrv) cues = read_film (film, path);
    g_autofree char *cue = g_strconcat ("0 2000 ", film == &matroska ? cases[i].markup : cases[i].plain, NULL);
    g_assert_cmpuint (captions->len, ==, 2);
    g_assert_cmpuint (g_strv_length (cues), ==, 1);
    g_assert_cmpstr (cues[0], ==, cue);
    rig_remove_path (g_steal_pointer (&path));
  }
}

static void
add_tests (void)
{
  g_test_add_data_func ("/muxers/matroskamux_reads_back_at_1_and_5_s", &matroska, check_films);
  g_test_add_data_func ("/muxers/mp4mux_reads_back_at_1_and_5_s", &mp4, check_films);
  g_test_add_data_func ("/muxers/qtmux_reads_back_at_1_and_5_s", &quicktime, check_films);
  g_test_add_data_func ("/muxers/matroskamux_keeps_odd_texts", &matroska, check_odd_texts);
  g_test_add_data_func ("/muxers/qtmux_keeps_odd_texts", &quicktime, check_odd_texts);
  g_test_add_data_func ("/muxers/a_live_recording_into_matroska_does_not_wait_for_a_slow_model", &matroska,
                        a_live_recording_does_not_wait_for_a_slow_model);
  g_test_add_data_func ("/muxers/a_live_recording_into_quicktime_does_not_wait_for_a_slow_model", &quicktime,
                        a_live_recording_does_not_wait_for_a_slow_model);
  g_test_add_func ("/muxers/a_new_answer_cuts_the_old_one_short_in_qtmux",
                   a_new_answer_cuts_the_old_one_short_in_qtmux);
  g_test_add_data_func ("/muxers/a_frame_that_fails_leaves_a_hole_in_matroska", &matroska,
                        a_frame_that_fails_leaves_a_hole);
  g_test_add_data_func ("/muxers/a_frame_that_fails_leaves_a_hole_in_quicktime", &quicktime,
                        a_frame_that_fails_leaves_a_hole);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
