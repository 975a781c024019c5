/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Captions as entries of GstAnalyticsRelationMeta, from GStreamer 1.24 on. */
#include <gst/analytics/analytics.h>
#include <string.h>
#include "analytics.h"
#include "rig.h"

#define RED "pattern=red ! video/x-raw,format=RGB,width=64,height=48,framerate=10/1"

/* Texts of the entries of our type, in the order of the buffers. */
static void
note_buffer (GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer data)
{
  GPtrArray *seen = data;
  GstAnalyticsRelationMeta *meta = gst_buffer_get_analytics_relation_meta (buffer);
  GstAnalyticsMtd mtd;
  gpointer state = NULL;

  while (meta && gst_analytics_relation_meta_iterate (meta, &state, GST_ANALYTICS_MTD_TYPE_ANY, &mtd)) {
    const char *name = gst_analytics_mtd_type_get_name (gst_analytics_mtd_get_mtd_type (&mtd));
    const char *json = gst_analytics_relation_meta_get_mtd_data (meta, gst_analytics_mtd_get_id (&mtd));
    g_assert_cmpstr (name, ==, GST_MLLAMA_CAPTION_MTD_NAME);
    g_assert_cmpuint (gst_analytics_mtd_get_size (&mtd), ==, strlen (json) + 1);
    g_ptr_array_add (seen, g_strdup (json));
  }
}

static void
captions_are_entries_behind (gconstpointer elements)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=30 " RED " ! mllamacaption name=c mode=archive prompts=\"<One,Two>\" ! "
                      "%s ! fakesink name=s signal-handoffs=true",
                      (const char *) elements);
  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (rig->pipeline), "s");
  g_autoptr (GPtrArray) seen = g_ptr_array_new_with_free_func (g_free);

  g_signal_connect (sink, "handoff", G_CALLBACK (note_buffer), seen);
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (seen->len, ==, 6);
  for (guint i = 0; i < 6; i++) {
    g_autofree char *start = g_strdup_printf ("{\"text\":\"red 64x48: %s\",", i % 2 ? "Two" : "One");
    g_assert_true (g_str_has_prefix (g_ptr_array_index (seen, i), start));
    g_assert_true (g_str_has_suffix (g_ptr_array_index (seen, i), "}}\n"));
  }
  rig_free (rig);
}

static void
no_caption_becomes_a_quark (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=1 " RED " ! mllamacaption name=c mode=archive ! fakesink");

  fake_script.answer = "a sentence that nobody has said before";
  rig_run (rig);
  g_assert_cmpuint (rig->captions->len, ==, 1);
  g_assert_cmpuint (g_quark_try_string (fake_script.answer), ==, 0);
  rig_free (rig);
}

static void
add_tests (void)
{
  g_test_add_data_func ("/analytics/captions_are_entries_behind_nothing", "identity silent=true",
                        captions_are_entries_behind);
  g_test_add_data_func ("/analytics/captions_are_entries_behind_videoconvert", "videoconvert ! video/x-raw,format=NV12",
                        captions_are_entries_behind);
  g_test_add_data_func ("/analytics/captions_are_entries_behind_videoscale",
                        "videoscale ! video/x-raw,width=20,height=10", captions_are_entries_behind);
  g_test_add_func ("/analytics/no_caption_becomes_a_quark", no_caption_becomes_a_quark);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
