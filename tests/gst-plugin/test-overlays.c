/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Captions drawn over video by textoverlay: on which frames there is text, and that none is waited for in vain. */
#include "rig.h"
#include "rig-coverage.h"

#define BLACK "pattern=black ! video/x-raw,format=I420,width=160,height=120,framerate=10/1"

/* For each frame that left the overlay, whether anything is bright. */
static void
note_frame (GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer data)
{
  GArray *drawn = data;
  gboolean bright = FALSE;
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_READ);
  for (gsize i = 0; i < 160 * 120 && !bright; i++)
    bright = map.data[i] > 128;
  gst_buffer_unmap (buffer, &map);
  g_array_append_val (drawn, bright);
}

static Rig *
new_overlay (const char *settings, guint n_frames, const char *queue, const char *overlay, GArray *drawn)
{
  Rig *rig = rig_new ("videotestsrc name=v num-buffers=%u " BLACK " ! mllamacaption name=c prompt=What %s c.src ! %s "
                      "textoverlay name=o %s ! fakesink name=s signal-handoffs=true c.text_0 ! %s o.text_sink",
                      n_frames, settings, queue, overlay, queue);
  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (rig->pipeline), "s");

  g_signal_connect (sink, "handoff", G_CALLBACK (note_frame), drawn);
  return rig;
}

static gboolean
is_there (void)
{
  g_autoptr (GstElementFactory) factory = gst_element_factory_find ("textoverlay");

  if (!factory)
    g_test_skip ("there is no textoverlay (Debian: gstreamer1.0-x)");
  return factory != NULL;
}

static guint
count_drawn (const GArray *drawn)
{
  guint n = 0;

  for (guint i = 0; i < drawn->len; i++)
    n += g_array_index (drawn, gboolean, i);
  return n;
}

/* An archive that waits for text has it on each frame, from the first to the last. Returns how many frames came behind
 * their text: where several are in work, there may be none. */
static guint
check_archive (const char *settings, const char *queue)
{
  g_autoptr (GArray) drawn = g_array_new (FALSE, FALSE, sizeof (gboolean));
  Rig *rig = new_overlay (settings, 120, queue, "wait-text=true", drawn);

  g_test_message ("%s %s", settings, queue);
  fake_script.encode_ms = 2;
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (drawn->len, ==, 120);
  g_assert_cmpuint (count_drawn (drawn), ==, 120);
  const guint n_covered = rig_coverage_count (rig->coverage);
  rig_free (rig);
  return n_covered;
}

static void
waiting_for_text_puts_it_on_every_frame (void)
{
  static const char *const settings[] = {"interval=1000000000", "interval=5000000000",
                                         "interval=1000000000 attach-meta=false max-in-flight=4",
                                         "interval=5000000000 scene-threshold=0.1 max-interval=20000000000"};

  guint n_covered = 0;

  if (!is_there ())
    return;
  for (guint i = 0; i < G_N_ELEMENTS (settings); i++)
    n_covered += check_archive (settings[i], "") + check_archive (settings[i], "queue !");
  g_assert_cmpuint (n_covered, >, 0);
}

static void
check_passing (const char *settings, const char *queue, const char *overlay)
{
  g_autoptr (GArray) drawn = g_array_new (FALSE, FALSE, sizeof (gboolean));
  Rig *rig = new_overlay (settings, 20, queue, overlay, drawn);

  g_test_message ("%s %s %s", settings, queue, overlay);
  fake_script.encode_ms = 150;
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (drawn->len, ==, 20);
  g_assert_cmpuint (rig->captions->len, >=, 1);
  rig_free (rig);
}

static void
without_waiting_video_reaches_the_end (void)
{
  static const char *const settings[] = {"interval=1000000000", "interval=5000000000"};

  if (!is_there ())
    return;
  for (guint i = 0; i < G_N_ELEMENTS (settings); i++) {
    check_passing (settings[i], "", "wait-text=false");
    check_passing (settings[i], "queue !", "wait-text=false");
  }
}

/* Of a live source text comes late, and stays from then on until the next frame is due. */
static void
check_live (const char *settings, const char *queue, const char *overlay)
{
  g_autoptr (GArray) drawn = g_array_new (FALSE, FALSE, sizeof (gboolean));
  Rig *rig = new_overlay (settings, 20, queue, overlay, drawn);
  g_autoptr (GstElement) source = gst_bin_get_by_name (GST_BIN (rig->pipeline), "v");

  g_test_message ("%s %s %s", settings, queue, overlay);
  g_object_set (source, "is-live", TRUE, NULL);
  fake_script.encode_ms = 300;
  const gint64 start = g_get_monotonic_time ();
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpint (g_get_monotonic_time () - start, <, 5 * G_TIME_SPAN_SECOND);
  g_assert_cmpuint (drawn->len, ==, 20);
  g_assert_cmpuint (count_drawn (drawn), >=, 5);
  g_assert_false (g_array_index (drawn, gboolean, 0));
  rig_free (rig);
}

static void
live_text_is_drawn_when_it_is_there (gconstpointer overlay)
{
  if (!is_there ())
    return;
  check_live ("interval=1000000000", "", overlay);
  check_live ("interval=5000000000", "queue !", overlay);
}

static void
odd_texts_are_drawn (void)
{
  static const char *const answers[] = {"<b>bold</b> & <i>",    "a --> b",
                                        "one\n\n\ntwo",         "half \xf0\x9f\x90",
                                        "\xf0\x9f\x90\xb6 dog", "<span foreground='nonsense"};

  if (!is_there ())
    return;
  for (guint i = 0; i < G_N_ELEMENTS (answers); i++) {
    g_autoptr (GArray) drawn = g_array_new (FALSE, FALSE, sizeof (gboolean));
    Rig *rig = new_overlay ("", 3, "queue !", "wait-text=true", drawn);
    fake_script.answer = answers[i];
    rig_run (rig);
    g_assert_no_error (rig->error);
    g_assert_cmpuint (rig_count_messages (rig, GST_MESSAGE_WARNING), ==, 0);
    g_assert_cmpuint (count_drawn (drawn), ==, 3);
    rig_free (rig);
  }
}

static void
add_tests (void)
{
  g_test_add_func ("/overlays/waiting_for_text_puts_it_on_every_frame", waiting_for_text_puts_it_on_every_frame);
  g_test_add_func ("/overlays/without_waiting_video_reaches_the_end", without_waiting_video_reaches_the_end);
  g_test_add_data_func ("/overlays/live_text_is_drawn_when_it_is_there_with_waiting", "wait-text=true",
                        live_text_is_drawn_when_it_is_there);
  g_test_add_data_func ("/overlays/live_text_is_drawn_when_it_is_there_without_waiting", "wait-text=false",
                        live_text_is_drawn_when_it_is_there);
  g_test_add_func ("/overlays/odd_texts_are_drawn", odd_texts_are_drawn);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
