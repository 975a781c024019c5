/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Archive loses nothing: every due frame in order, and the same words whatever else runs. With the real engine. */
#include "rig.h"

#define N_CAPTIONS 40
#define N_OTHERS   31
#define CHECKPOINT "/golden/checkpoints/single"
#define VIDEO      "video/x-raw,format=I420,width=96,height=64,framerate=10/1"

/* All of a caption but its times and the number of its encode, which counts those of other streams too. */
static char *
describe (const GstStructure *caption)
{
  g_autoptr (GstStructure) lasting = gst_structure_copy (caption);

  gst_structure_remove_fields (lasting, "queue-time", "encode-time", "prefill-time", "decode-time", "latency",
                               "encode-id", NULL);
  return gst_structure_to_string (lasting);
}

/* Each caption a line. */
static char *
caption_archive (const char *settings)
{
  g_autoptr (GString) lines = g_string_new (NULL);
  Rig *rig = rig_new ("videotestsrc num-buffers=%u pattern=ball ! " VIDEO " ! mllamacaption name=c model=%s" CHECKPOINT
                      " device=cpu mode=archive interval=100000000 prompt=\"at {pts}\" max-tokens=20 "
                      "attach-meta=false %s ! fakesink",
                      N_CAPTIONS, g_getenv ("MLLAMA_TEST_SOURCE_DIR"), settings);

  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (rig->captions->len, ==, N_CAPTIONS);
  for (guint i = 0; i < rig->captions->len; i++) {
    g_autofree char *line = describe (g_ptr_array_index (rig->captions, i));
    g_assert_cmpuint (rig_get_time (rig, i, "pts"), ==, i * 100 * GST_MSECOND);
    g_assert_cmpuint (rig_get_time (rig, i, "caption-id"), ==, i + 1);
    g_string_append_printf (lines, "%s\n", line);
  }
  rig_free (rig);
  return g_string_free (g_steal_pointer (&lines), FALSE);
}

static const char *const samplings[] = {"", "temperature=1.2 top-k=40 seed=7 repetition-penalty=1.1"};

static void
words_do_not_depend_on_how_many_frames_are_in_flight (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (samplings); i++) {
    g_autofree char *one = g_strconcat (samplings[i], " max-in-flight=1", NULL);
    g_autofree char *eight = g_strconcat (samplings[i], " max-in-flight=8", NULL);
    g_autofree char *first = caption_archive (one);
    g_autofree char *second = caption_archive (eight);
    g_autofree char *third = caption_archive (eight);
    g_assert_cmpstr (first, ==, second);
    g_assert_cmpstr (second, ==, third);
  }
}

/* --- beside other streams --- */

static GstBusSyncReply
swallow (GstBus *bus, GstMessage *message, gpointer data)
{
  g_assert_cmpint (GST_MESSAGE_TYPE (message), !=, GST_MESSAGE_ERROR);
  gst_message_unref (message);
  return GST_BUS_DROP;
}

static GstElement *
start_others (void)
{
  g_autoptr (GString) line = g_string_new (NULL);
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < N_OTHERS; i++)
    g_string_append_printf (line,
                            "videotestsrc is-live=true pattern=%u ! " VIDEO
                            " ! mllamacaption name=c%u model=%s" CHECKPOINT
                            " device=cpu interval=0 max-tokens=%u temperature=%s prompt=\"stream %u at {pts}\" ! "
                            "fakesink ",
                            i % 20, i, g_getenv ("MLLAMA_TEST_SOURCE_DIR"), 200 + i, i % 2 == 0 ? "0" : "0.9", i);
  GstElement *others = gst_parse_launch (line->str, &error);
  g_assert_no_error (error);
  gst_object_ref_sink (others);
  g_autoptr (GstBus) bus = gst_element_get_bus (others);
  gst_bus_set_sync_handler (bus, swallow, NULL, NULL);
  gst_element_set_state (others, GST_STATE_PLAYING);
  return others;
}

static guint64
read_captions (GstElement *others, guint number, double *rows)
{
  g_autofree char *name = g_strdup_printf ("c%u", number);
  g_autoptr (GstElement) element = gst_bin_get_by_name (GST_BIN (others), name);
  g_autoptr (GstStructure) stats = NULL;
  guint64 n = 0;

  g_object_get (element, "stats", &stats, NULL);
  gst_structure_get (stats, "captions", G_TYPE_UINT64, &n, "rows-per-step", G_TYPE_DOUBLE, rows, NULL);
  return n;
}

/* Waits until each of them has more captions than it had; returns the rows of a step. */
static double
wait_for_all (GstElement *others, guint64 *captions)
{
  const gint64 deadline = g_get_monotonic_time () + 60 * G_TIME_SPAN_SECOND;
  double rows = 0;

  for (guint i = 0; i < N_OTHERS; i++) {
    guint64 n;
    while ((n = read_captions (others, i, &rows)) <= captions[i]) {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_usleep (5000);
    }
    captions[i] = n;
  }
  return rows;
}

static void
words_do_not_depend_on_other_streams (void)
{
  g_autofree char *alone = caption_archive ("max-in-flight=8");
  guint64 captions[N_OTHERS] = {0};

  GstElement *others = start_others ();
  wait_for_all (others, captions);
  g_autofree char *beside = caption_archive ("max-in-flight=8");
  g_autofree char *one_by_one = caption_archive ("max-in-flight=1");
  /* They ran all the time, and shared steps. */
  const double rows = wait_for_all (others, captions);
  g_test_message ("%.1f rows a step", rows);
  g_assert_cmpfloat (rows, >, 4);
  gst_element_set_state (others, GST_STATE_NULL);
  gst_object_unref (others);
  g_assert_cmpstr (beside, ==, alone);
  g_assert_cmpstr (one_by_one, ==, alone);
}

static void
add_tests (void)
{
  g_test_add_func ("/archive/words_do_not_depend_on_how_many_frames_are_in_flight",
                   words_do_not_depend_on_how_many_frames_are_in_flight);
  g_test_add_func ("/archive/words_do_not_depend_on_other_streams", words_do_not_depend_on_other_streams);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
