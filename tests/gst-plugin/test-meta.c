/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Captions as metadata of video buffers, read back behind the elements that people put in between. */
#include "rig.h"

#define RED "pattern=red ! video/x-raw,format=RGB,width=64,height=48,framerate=10/1"

typedef struct {
  GPtrArray *captions; /* GstStructure, in the order of the buffers */
  GArray *times;       /* GstClockTime of the buffer of each */
  guint n_buffers;
} Seen;

static void
note_buffer (GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer data)
{
  Seen *seen = data;
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, "mllama-caption");

  seen->n_buffers++;
  if (!meta)
    return;
  const GValue *array = gst_structure_get_value (gst_custom_meta_get_structure (meta), "captions");
  for (guint i = 0; i < gst_value_array_get_size (array); i++) {
    const GstClockTime time = GST_BUFFER_PTS (buffer);
    const GValue *value = gst_value_array_get_value (array, i);
    g_ptr_array_add (seen->captions, gst_structure_copy (gst_value_get_structure (value)));
    g_array_append_val (seen->times, time);
  }
}

static Rig *
new_watched (Seen *seen, const char *line)
{
  Rig *rig = rig_new ("%s ! fakesink name=s signal-handoffs=true", line);
  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (rig->pipeline), "s");

  *seen = (Seen){g_ptr_array_new_with_free_func ((GDestroyNotify) gst_structure_free),
                 g_array_new (FALSE, FALSE, sizeof (GstClockTime)), 0};
  g_signal_connect (sink, "handoff", G_CALLBACK (note_buffer), seen);
  return rig;
}

static void
clear_seen (Seen *seen)
{
  g_ptr_array_unref (seen->captions);
  g_array_unref (seen->times);
}

/* Three frames, two questions each: every structure is that of the message, and sits on its own frame. */
static void
check_archive (const char *elements)
{
  Seen seen;
  g_autofree char *line = g_strconcat ("videotestsrc num-buffers=30 " RED " ! mllamacaption name=c mode=archive "
                                       "prompts=\"<One,Two>\" ! ",
                                       elements, NULL);
  Rig *rig = new_watched (&seen, line);

  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (seen.n_buffers, ==, 30);
  g_assert_cmpuint (rig->captions->len, ==, 6);
  g_assert_cmpuint (seen.captions->len, ==, 6);
  for (guint i = 0; i < 6; i++) {
    g_assert_true (gst_structure_is_equal (g_ptr_array_index (seen.captions, i), g_ptr_array_index (rig->captions, i)));
    g_assert_cmpuint (g_array_index (seen.times, GstClockTime, i), ==, rig_get_time (rig, i, "pts"));
  }
  clear_seen (&seen);
  rig_free (rig);
}

static void
captions_read_back_behind (gconstpointer elements)
{
  g_auto (GStrv) names = g_strsplit (elements, " ", 2);
  g_autoptr (GstElementFactory) factory = gst_element_factory_find (names[0]);

  if (factory)
    check_archive (elements);
  else
    g_test_skip (names[0]);
}

static void
live_captions_are_on_the_next_frame (void)
{
  Seen seen;
  Rig *rig = new_watched (&seen, "videotestsrc is-live=true num-buffers=15 " RED
                                 " ! mllamacaption name=c interval=60000000000");

  fake_script.encode_ms = 350;
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (seen.n_buffers, ==, 15);
  g_assert_cmpuint (seen.captions->len, ==, 1);
  g_assert_true (gst_structure_is_equal (g_ptr_array_index (seen.captions, 0), g_ptr_array_index (rig->captions, 0)));
  g_assert_cmpuint (g_array_index (seen.times, GstClockTime, 0), >, rig_get_time (rig, 0, "pts") + 300 * GST_MSECOND);
  clear_seen (&seen);
  rig_free (rig);
}

/* One element after another: the second adds its captions to those of the first. */
static void
captions_of_two_elements_add_up (void)
{
  Seen seen;
  Rig *rig = new_watched (&seen, "videotestsrc num-buffers=10 " RED " ! mllamacaption prompt=One mode=archive ! "
                                 "mllamacaption name=c prompt=Two mode=archive");

  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (seen.captions->len, ==, 2);
  g_assert_cmpstr (gst_structure_get_string (g_ptr_array_index (seen.captions, 0), "prompt"), ==, "One");
  g_assert_cmpstr (gst_structure_get_string (g_ptr_array_index (seen.captions, 1), "prompt"), ==, "Two");
  clear_seen (&seen);
  rig_free (rig);
}

static void
captions_of_text_pads_are_there_too (void)
{
  Seen seen;
  Rig *rig = new_watched (&seen, "videotestsrc num-buffers=10 " RED " ! mllamacaption name=c mode=archive "
                                 "text_0::prompt=Zero c.text_0 ! fakesink c.src");

  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (seen.captions->len, ==, 1);
  g_assert_cmpstr (gst_structure_get_string (g_ptr_array_index (seen.captions, 0), "pad"), ==, "text_0");
  clear_seen (&seen);
  rig_free (rig);
}

/* Free text must not end up among the quarks, which are never freed. */
static void
no_caption_becomes_a_quark (void)
{
  Seen seen;
  Rig *rig = new_watched (&seen, "videotestsrc num-buffers=1 " RED " ! mllamacaption name=c mode=archive");

  fake_script.answer = "a sentence that nobody has said before";
  rig_run (rig);
  g_assert_cmpuint (seen.captions->len, ==, 1);
  g_assert_cmpuint (g_quark_try_string (fake_script.answer), ==, 0);
  clear_seen (&seen);
  rig_free (rig);
}

static void
add_tests (void)
{
  g_test_add_data_func ("/meta/captions_read_back_behind_nothing", "identity silent=true", captions_read_back_behind);
  g_test_add_data_func ("/meta/captions_read_back_behind_videoconvert", "videoconvert ! video/x-raw,format=NV12",
                        captions_read_back_behind);
  g_test_add_data_func ("/meta/captions_read_back_behind_videoscale", "videoscale ! video/x-raw,width=20,height=10",
                        captions_read_back_behind);
  g_test_add_data_func ("/meta/captions_read_back_behind_textoverlay", "textoverlay text=drawn",
                        captions_read_back_behind);
  g_test_add_data_func ("/meta/captions_read_back_behind_all_three",
                        "textoverlay text=drawn ! queue ! videoconvert ! video/x-raw,format=I420 ! videoscale ! "
                        "video/x-raw,width=20,height=10",
                        captions_read_back_behind);
  g_test_add_func ("/meta/live_captions_are_on_the_next_frame", live_captions_are_on_the_next_frame);
  g_test_add_func ("/meta/captions_of_two_elements_add_up", captions_of_two_elements_add_up);
  g_test_add_func ("/meta/captions_of_text_pads_are_there_too", captions_of_text_pads_are_there_too);
  g_test_add_func ("/meta/no_caption_becomes_a_quark", no_caption_becomes_a_quark);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
