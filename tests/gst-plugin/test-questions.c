/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Several questions about one stream: pads that come and go, what they share, and when new ones are asked. */
#include <gst/check/gstharness.h>
#include "rig.h"

#define RED "pattern=red ! video/x-raw,format=I420,width=64,height=64,framerate=10/1"

static gboolean
reads_reused (const GstStructure *caption)
{
  gboolean reused;

  g_assert_true (gst_structure_get_boolean (caption, "states-reused", &reused));
  return reused;
}

/* Requests a pad and links it to a sink that does not wait. */
static GstPad *
add_branch (Rig *rig, const char *name, const char *prompt)
{
  GstElement *sink = gst_element_factory_make ("fakesink", NULL);
  g_autoptr (GstPad) sinkpad = gst_element_get_static_pad (sink, "sink");
  GstPad *pad = gst_element_request_pad_simple (rig->element, name);

  g_object_set (sink, "async", FALSE, "sync", FALSE, NULL);
  g_object_set (pad, "prompt", prompt, NULL);
  gst_bin_add (GST_BIN (rig->pipeline), sink);
  gst_element_sync_state_with_parent (sink);
  g_assert_cmpint (gst_pad_link (pad, sinkpad), ==, GST_PAD_LINK_OK);
  return pad;
}

static void
release_branch (Rig *rig, GstPad *pad)
{
  g_autoptr (GstPad) sinkpad = gst_pad_get_peer (pad);
  GstElement *sink = gst_pad_get_parent_element (sinkpad);

  gst_pad_unlink (pad, sinkpad);
  gst_element_release_request_pad (rig->element, pad);
  gst_object_unref (pad);
  gst_element_set_state (sink, GST_STATE_NULL);
  gst_bin_remove (GST_BIN (rig->pipeline), sink);
  gst_object_unref (sink);
}

static void
one_encode_a_frame_is_shared_by_all_pads (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=41 " RED " ! mllamacaption name=c text_0::prompt=A text_1::prompt=B "
                      "text_2::prompt=C text_3::prompt=D c.src ! fakesink c.text_2 ! fakesink c.text_3 ! fakesink "
                      "c.text_1 ! fakesink c.text_0 ! fakesink");

  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (fake_get_counts ().n_encodes, ==, 5);
  g_assert_cmpuint (fake_get_counts ().n_answers, ==, 20);
  g_assert_cmpuint (rig->captions->len, ==, 20);
  for (guint i = 0; i < 20; i++) {
    const GstStructure *caption = g_ptr_array_index (rig->captions, i);
    g_autofree char *pad = g_strdup_printf ("text_%u", i % 4);
    g_assert_cmpstr (gst_structure_get_string (caption, "pad"), ==, pad);
    g_assert_cmpint (reads_reused (caption), ==, i % 4 > 0);
    g_assert_cmpuint (rig_get_time (rig, i, "encode-id"), ==, 1 + i / 4);
    g_assert_cmpuint (rig_get_time (rig, i, "caption-id"), ==, 1 + i);
  }
  rig_free (rig);
}

static gboolean
has_two_running (Rig *rig)
{
  return fake_get_counts ().max_running >= 2 && fake_get_counts ().n_tokens >= 2;
}

static gboolean
has_cancelled (Rig *rig)
{
  return fake_get_counts ().n_cancelled >= 1;
}

static gboolean
has_caption (Rig *rig)
{
  return rig->captions->len >= 1;
}

static void
a_pad_released_amid_its_answer_takes_only_that_along (void)
{
  Rig *rig = rig_new ("videotestsrc is-live=true " RED " ! mllamacaption name=c interval=60000000000 "
                      "text_0::prompt=\"a b c d e f\" c.src ! fakesink c.text_0 ! fakesink async=false");
  GstPad *pad = add_branch (rig, "text_1", "q r s t u v w x y z");

  fake_script.token_ms = 50;
  rig_watch (rig, "text_1");
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_two_running);
  release_branch (rig, pad);
  rig_wait (rig, has_cancelled);
  rig_wait (rig, has_caption);
  rig_listen (rig, 100);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (rig->captions->len, ==, 1);
  g_assert_cmpstr (rig_get_text (rig, 0), ==, "red 64x64: a b c d e f");
  g_assert_cmpuint (fake_get_counts ().n_cancelled, ==, 1);
  g_assert_cmpint (rig_find (rig, "text_1 caption"), ==, -1);
  rig_free (rig);
}

static GstPadProbeReturn
add_at_12 (GstPad *src, GstPadProbeInfo *info, gpointer data)
{
  Rig *rig = data;

  const GstClockTime pts = GST_BUFFER_PTS (GST_PAD_PROBE_INFO_BUFFER (info));

  /* Not before the answer to the new pad is there, so that the test need not care for who is faster. */
  for (guint i = 0; pts == 1500 * GST_MSECOND && i < 2000 && rig_find (rig, "text_5 caption") < 0; i++)
    g_usleep (1000);
  if (pts == 1200 * GST_MSECOND) {
    GstPad *pad = gst_element_request_pad_simple (rig->element, "text_5");
    rig_watch (rig, "text_5");
    g_object_set (pad, "prompt", "New", NULL);
    gst_object_unref (pad);
  }
  return GST_PAD_PROBE_OK;
}

static void
a_pad_added_to_an_archive_starts_with_a_whole_stream (void)
{
  Rig *rig =
      rig_new ("videotestsrc num-buffers=30 " RED " ! mllamacaption name=c c.src ! fakesink c.text_0 ! fakesink");
  g_autoptr (GstPad) src = gst_element_get_static_pad (rig->element, "src");

  static const GstEventType types[] = {GST_EVENT_STREAM_START, GST_EVENT_CAPS, GST_EVENT_SEGMENT};

  gst_pad_add_probe (src, GST_PAD_PROBE_TYPE_BUFFER, add_at_12, rig, NULL);
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait_for_end (rig);
  g_assert_no_error (rig->error);
  g_auto (GStrv) captions = rig_read (rig, "text_5 caption");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (rig->element, "text_5");
  for (guint i = 0; i < G_N_ELEMENTS (types); i++) {
    g_autoptr (GstEvent) event = gst_pad_get_sticky_event (pad, types[i], 0);
    g_assert_nonnull (event);
  }
  g_assert_cmpint (rig_find (rig, "text_5 eos"), >, rig_find (rig, "text_5 caption"));
  /* The prompt set then is asked at once of the frame before, as any new prompt. */
  g_assert_cmpuint (g_strv_length (captions), ==, 2);
  g_assert_true (g_str_has_prefix (captions[0], "text_5 caption 1"));
  g_assert_cmpstr (captions[1], ==, "text_5 caption 2000 1000 red 64x64: New");
  rig_free (rig);
}

static void
pads_come_and_go_by_the_hundred (void)
{
  Rig *rig = rig_new ("videotestsrc is-live=true " RED " ! mllamacaption name=c interval=0 c.src ! fakesink "
                      "c.text_0 ! fakesink async=false");
  GstPad *pads[4] = {NULL};

  fake_script.encode_ms = 1;
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_caption);
  for (guint i = 0; i < 100; i++) {
    GstPad **pad = &pads[(i * 7) % G_N_ELEMENTS (pads)];
    if (*pad)
      release_branch (rig, g_steal_pointer (pad));
    else
      *pad = add_branch (rig, "text_%u", "More");
    rig_listen (rig, i % 5);
  }
  for (guint i = 0; i < G_N_ELEMENTS (pads); i++)
    if (pads[i])
      release_branch (rig, pads[i]);
  g_ptr_array_set_size (rig->captions, 0);
  rig_wait (rig, has_caption);
  g_assert_no_error (rig->error);
  rig_free (rig);
}

static void
a_pads_format_and_length_are_its_own (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=1 " RED " ! mllamacaption name=c prompt=What prompt-format=chat "
                      "text_0::prompt=\"<|image|>raw\" text_0::prompt-format=raw text_1::max-tokens=1 c.src ! fakesink "
                      "c.text_0 ! fakesink c.text_1 ! fakesink c.text_2 ! fakesink");

  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpstr (rig_get_text (rig, 0), ==, "red 64x64: <|image|>raw");
  g_assert_cmpstr (rig_get_text (rig, 1), ==, "red");
  g_assert_cmpstr (rig_get_text (rig, 2), ==, "red 64x64: What");
  rig_free (rig);
}

static gboolean
has_three_captions (Rig *rig)
{
  return rig->captions->len >= 3;
}

static void
new_prompts_are_asked_at_once_of_the_last_frame (void)
{
  Rig *rig = rig_new ("videotestsrc is-live=true " RED " ! mllamacaption name=c interval=60000000000 prompt=One ! "
                      "fakesink");

  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_caption);
  gst_util_set_object_arg (G_OBJECT (rig->element), "prompts", "<Two,Three>");
  rig_wait (rig, has_three_captions);
  g_assert_cmpstr (rig_get_text (rig, 1), ==, "red 64x64: Two");
  g_assert_cmpstr (rig_get_text (rig, 2), ==, "red 64x64: Three");
  for (guint i = 1; i < 3; i++) {
    g_assert_cmpuint (rig_get_time (rig, i, "encode-id"), ==, 1);
    g_assert_true (reads_reused (g_ptr_array_index (rig->captions, i)));
  }
  g_assert_cmpuint (fake_get_counts ().n_encodes, ==, 1);
  rig_free (rig);
}

static gboolean
has_new_caption_on_pad (Rig *rig)
{
  return rig_find (rig, "text_0 caption") >= 0 && rig->captions->len >= 2;
}

static void
a_pads_new_prompt_on_an_unchanged_scene_costs_no_encode (void)
{
  Rig *rig = rig_new ("videotestsrc is-live=true " RED " ! mllamacaption name=c interval=100000000 "
                      "scene-threshold=0.1 text_0::prompt=One c.src ! fakesink c.text_0 ! fakesink async=false");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (rig->element, "text_0");

  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait (rig, has_caption);
  rig_watch (rig, "text_0");
  rig_listen (rig, 500);
  g_assert_cmpuint (rig->captions->len, ==, 1);
  g_object_set (pad, "prompt", "Two", NULL);
  rig_wait (rig, has_new_caption_on_pad);
  g_assert_cmpstr (rig_get_text (rig, 1), ==, "red 64x64: Two");
  g_assert_cmpuint (rig_get_time (rig, 1, "encode-id"), ==, 1);
  rig_listen (rig, 400);
  /* From now on it is the new text that is said again. */
  g_auto (GStrv) texts = rig_read (rig, "text_0 caption");
  g_assert_true (g_str_has_suffix (texts[g_strv_length (texts) - 1], "Two"));
  g_assert_cmpuint (rig->captions->len, ==, 2);
  g_assert_cmpuint (fake_get_counts ().n_encodes, ==, 1);
  rig_free (rig);
}

static void
push_frame (GstHarness *harness, guint second, gboolean corrupted)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, 64, NULL);

  gst_buffer_memset (buffer, 0, 0, 64);
  GST_BUFFER_PTS (buffer) = second * GST_SECOND;
  GST_BUFFER_DURATION (buffer) = GST_SECOND;
  if (corrupted)
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_CORRUPTED);
  g_assert_cmpint (gst_harness_push (harness, buffer), ==, GST_FLOW_OK);
}

/* The last encoded frame is too old when the prompt comes: unfit frames have passed since. */
static void
a_new_prompt_waits_for_a_frame_if_the_last_is_old (gconstpointer settings)
{
  GstHarness *harness;
  g_autofree char *last = NULL, *line = g_strdup_printf ("mllamacaption prompt=One %s", (const char *) settings);

  fake_reset ();
  harness = gst_harness_new_parse (line);
  g_autoptr (GstElement) element = gst_harness_find_element (harness, "mllamacaption");
  gst_harness_set_live (harness, FALSE);
  gst_harness_set_src_caps_str (harness, "video/x-raw,format=GRAY8,width=8,height=8,framerate=1/1");
  for (guint i = 0; i < 4; i++)
    push_frame (harness, i, i > 0);
  g_object_set (element, "prompt", "Two", NULL);
  g_assert_cmpuint (fake_get_counts ().n_answers, ==, 1);
  push_frame (harness, 4, FALSE);
  g_assert_cmpuint (fake_get_counts ().n_answers, ==, 2);
  g_assert_cmpuint (fake_get_counts ().n_encodes, ==, 2);
  g_object_get (element, "last-caption", &last, NULL);
  g_assert_cmpstr (last, ==, "black 8x8: Two");
  gst_harness_teardown (harness);
}

static void
add_tests (void)
{
  g_test_add_func ("/questions/one_encode_a_frame_is_shared_by_all_pads", one_encode_a_frame_is_shared_by_all_pads);
  g_test_add_func ("/questions/a_pad_released_amid_its_answer_takes_only_that_along",
                   a_pad_released_amid_its_answer_takes_only_that_along);
  g_test_add_func ("/questions/a_pad_added_to_an_archive_starts_with_a_whole_stream",
                   a_pad_added_to_an_archive_starts_with_a_whole_stream);
  g_test_add_func ("/questions/pads_come_and_go_by_the_hundred", pads_come_and_go_by_the_hundred);
  g_test_add_func ("/questions/a_pads_format_and_length_are_its_own", a_pads_format_and_length_are_its_own);
  g_test_add_func ("/questions/new_prompts_are_asked_at_once_of_the_last_frame",
                   new_prompts_are_asked_at_once_of_the_last_frame);
  g_test_add_func ("/questions/a_pads_new_prompt_on_an_unchanged_scene_costs_no_encode",
                   a_pads_new_prompt_on_an_unchanged_scene_costs_no_encode);
  g_test_add_data_func ("/questions/a_new_prompt_waits_for_a_frame_if_the_last_is_old", "",
                        a_new_prompt_waits_for_a_frame_if_the_last_is_old);
  g_test_add_data_func ("/questions/a_new_prompt_waits_for_a_frame_even_if_that_is_unchanged", "scene-threshold=0.1",
                        a_new_prompt_waits_for_a_frame_if_the_last_is_old);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
