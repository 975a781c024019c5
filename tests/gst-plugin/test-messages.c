/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is told about a caption, and how: messages, metadata, statistics, last-caption. */
#include "rig.h"

#define RED "pattern=red ! video/x-raw,format=RGB,width=32,height=16,framerate=10/1"

static void
has_the_fields_of_the_design_in_order_and_type (void)
{
  static const struct {
    const char *name;
    GType type;
  } fields[] = {{"text", G_TYPE_STRING},
                {"prompt", G_TYPE_STRING},
                {"pad", G_TYPE_STRING},
                {"caption-id", G_TYPE_UINT64},
                {"encode-id", G_TYPE_UINT64},
                {"pts", G_TYPE_UINT64},
                {"running-time", G_TYPE_UINT64},
                {"stream-time", G_TYPE_UINT64},
                {"duration", G_TYPE_UINT64},
                {"tokens", G_TYPE_UINT},
                {"token-ids", 0},
                {"finish-reason", G_TYPE_STRING},
                {"confidence", G_TYPE_DOUBLE},
                {"states-reused", G_TYPE_BOOLEAN},
                {"partial", G_TYPE_BOOLEAN},
                {"scene-score", G_TYPE_DOUBLE},
                {"queue-time", G_TYPE_UINT64},
                {"encode-time", G_TYPE_UINT64},
                {"prefill-time", G_TYPE_UINT64},
                {"decode-time", G_TYPE_UINT64},
                {"latency", G_TYPE_UINT64},
                {"logprobs", 0}};
  Rig *rig = rig_new ("videotestsrc num-buffers=1 " RED " ! mllamacaption name=c prompt=What ! fakesink");

  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (rig->captions->len, ==, 1);
  const GstStructure *structure = g_ptr_array_index (rig->captions, 0);
  g_assert_cmpint (gst_structure_n_fields (structure), ==, G_N_ELEMENTS (fields));
  for (guint i = 0; i < G_N_ELEMENTS (fields); i++) {
    g_assert_cmpstr (gst_structure_nth_field_name (structure, i), ==, fields[i].name);
    g_assert_cmpstr (g_type_name (gst_structure_get_field_type (structure, fields[i].name)), ==,
                     g_type_name (fields[i].type ? fields[i].type : GST_TYPE_ARRAY));
  }
  const GValue *ids = gst_structure_get_value (structure, "token-ids");
  g_assert_cmpuint (gst_value_array_get_size (ids), ==, 3);
  g_assert_true (G_VALUE_HOLDS_INT (gst_value_array_get_value (ids, 0)));
  g_assert_cmpint (g_value_get_int (gst_value_array_get_value (ids, 1)), ==, 101);
  rig_free (rig);
}

static void
says_what_it_saw_and_when (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=21 timestamp-offset=5000000000 " RED
                      " ! mllamacaption name=c prompt=What ! fakesink");
  double confidence;

  rig_run (rig);
  g_assert_cmpuint (rig->captions->len, ==, 3);
  for (guint i = 0; i < 3; i++) {
    g_assert_cmpstr (rig_get_text (rig, i), ==, "red 32x16: What");
    g_assert_cmpuint (rig_get_time (rig, i, "pts"), ==, (5 + i) * GST_SECOND);
    g_assert_cmpuint (rig_get_time (rig, i, "running-time"), ==, (5 + i) * GST_SECOND);
    g_assert_cmpuint (rig_get_time (rig, i, "duration"), ==, GST_SECOND);
    g_assert_cmpuint (rig_get_time (rig, i, "caption-id"), ==, i + 1);
    g_assert_cmpuint (rig_get_time (rig, i, "encode-id"), ==, i + 1);
  }
  const GstStructure *first = g_ptr_array_index (rig->captions, 0);
  g_assert_cmpstr (gst_structure_get_string (first, "finish-reason"), ==, "stop");
  g_assert_cmpstr (gst_structure_get_string (first, "pad"), ==, "");
  g_assert_cmpstr (gst_structure_get_string (first, "prompt"), ==, "What");
  g_assert_true (gst_structure_get_double (first, "confidence", &confidence));
  g_assert_cmpfloat_with_epsilon (confidence, 0.7788007830714049, 1e-12);
  rig_free (rig);
}

static void
answers_several_prompts_over_one_encode (void)
{
  Rig *rig = rig_new (
      "videotestsrc num-buffers=11 " RED
      " ! mllamacaption name=c prompts=\"<\\\"One with a long answer\\\",\\\"Two\\\",\\\"Three\\\">\" ! fakesink");
  static const char *const prompts[] = {"One with a long answer", "Two", "Three"};

  fake_script.token_ms = 2;
  rig_run (rig);
  g_assert_cmpuint (rig->captions->len, ==, 6);
  g_assert_cmpuint (fake_get_counts ().n_encodes, ==, 2);
  g_assert_cmpuint (fake_get_counts ().max_running, ==, 3);
  for (guint i = 0; i < 6; i++) {
    gboolean reused;
    g_assert_true (gst_structure_get_boolean (g_ptr_array_index (rig->captions, i), "states-reused", &reused));
    g_assert_cmpint (reused, ==, i % 3 > 0);
    g_assert_cmpuint (rig_get_time (rig, i, "encode-id"), ==, 1 + i / 3);
    g_assert_true (g_str_has_suffix (rig_get_text (rig, i), prompts[i % 3]));
    g_assert_cmpint (rig_get_time (rig, i, "encode-time") > 0, ==, i % 3 == 0);
  }
  rig_free (rig);
}

static void
posts_nothing_when_told_so (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=11 " RED " ! mllamacaption name=c post-messages=false ! fakesink");

  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (rig->captions->len, ==, 0);
  g_assert_cmpuint (fake_get_counts ().n_answers, ==, 2);
  rig_free (rig);
}

/* Number of captions in the metadata of each buffer that reaches the sink, and whether memory stayed the same. */
static GstPadProbeReturn
note_meta (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  GArray *counts = data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, "mllama-caption");
  gint n = 0;

  if (meta) {
    const GValue *array = gst_structure_get_value (gst_custom_meta_get_structure (meta), "captions");
    n = (gint) gst_value_array_get_size (array);
    const GstStructure *caption = gst_value_get_structure (gst_value_array_get_value (array, 0));
    guint64 pts;
    g_assert_true (gst_structure_has_name (caption, "mllama-caption"));
    g_assert_true (gst_structure_get_uint64 (caption, "pts", &pts));
    g_assert_cmpuint (pts, ==, GST_BUFFER_PTS (buffer));
  }
  g_array_append_val (counts, n);
  return GST_PAD_PROBE_OK;
}

static void
archive_attaches_metadata_to_the_frame_itself (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=21 " RED " ! mllamacaption name=c mode=archive "
                      "prompts=\"<\\\"One\\\",\\\"Two\\\">\" ! videoconvert ! video/x-raw,format=I420 ! videoscale "
                      "! video/x-raw,width=8,height=8 ! fakesink name=s");
  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (rig->pipeline), "s");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (sink, "sink");
  g_autoptr (GArray) counts = g_array_new (FALSE, FALSE, sizeof (gint));

  fake_script.encode_ms = 5;
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, note_meta, counts, NULL);
  rig_run (rig);
  g_assert_no_error (rig->error);
  g_assert_cmpuint (counts->len, ==, 21);
  for (guint i = 0; i < 21; i++)
    g_assert_cmpint (g_array_index (counts, gint, i), ==, i % 10 == 0 ? 2 : 0);
  rig_free (rig);
}

static void
attaches_nothing_when_told_so (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=11 " RED " ! mllamacaption name=c attach-meta=false ! fakesink name=s");
  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (rig->pipeline), "s");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (sink, "sink");
  g_autoptr (GArray) counts = g_array_new (FALSE, FALSE, sizeof (gint));

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, note_meta, counts, NULL);
  rig_run (rig);
  for (guint i = 0; i < counts->len; i++)
    g_assert_cmpint (g_array_index (counts, gint, i), ==, 0);
  g_assert_cmpuint (rig->captions->len, ==, 2);
  rig_free (rig);
}

static void
count_notification (GObject *object, GParamSpec *pspec, gpointer data)
{
  g_atomic_int_inc ((gint *) data);
}

static void
keeps_statistics_and_the_last_caption (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=25 " RED " ! mllamacaption name=c prompt=What ! fakesink");
  g_autofree char *last = NULL;
  gint n_notified = 0;

  fake_script.encode_ms = 3;
  g_signal_connect (rig->element, "notify::last-caption", G_CALLBACK (count_notification), &n_notified);
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait_for_end (rig);
  g_object_get (rig->element, "last-caption", &last, NULL);
  g_assert_cmpstr (last, ==, "red 32x16: What");
  g_assert_cmpint (g_atomic_int_get (&n_notified), ==, 3);
  g_assert_cmpuint (rig_get_stat (rig, "frames-seen"), ==, 25);
  g_assert_cmpuint (rig_get_stat (rig, "frames-chosen"), ==, 3);
  g_assert_cmpuint (rig_get_stat (rig, "captions"), ==, 3);
  g_assert_cmpuint (rig_get_stat (rig, "encodes"), ==, 3);
  g_assert_cmpuint (rig_get_stat (rig, "tokens"), ==, 9);
  g_assert_cmpuint (rig_get_stat (rig, "frames-failed"), ==, 0);
  g_assert_cmpuint (rig_get_stat (rig, "decode-steps"), ==, 9);
  g_assert_cmpuint (rig_get_stat (rig, "encode-time-p50"), >=, 3 * GST_MSECOND);
  g_assert_cmpuint (rig_get_stat (rig, "latency-p95"), >=, 3 * GST_MSECOND);
  rig_free (rig);
}

static void
partial_results_grow_word_by_word (void)
{
  Rig *rig =
      rig_new ("videotestsrc num-buffers=1 " RED " ! mllamacaption name=c partial-results=true prompt=\"a b c\" ! "
               "fakesink");
  static const char *const texts[] = {"red", "red 32x16:", "red 32x16: a", "red 32x16: a b"};

  fake_script.token_ms = 100;
  rig_run (rig);
  /* The last is void when the whole text is there as soon. */
  g_assert_cmpuint (rig->partials->len, >=, G_N_ELEMENTS (texts) - 1);
  g_assert_cmpuint (rig->partials->len, <=, G_N_ELEMENTS (texts));
  for (guint i = 0; i < rig->partials->len; i++) {
    const GstStructure *partial = g_ptr_array_index (rig->partials, i);
    g_assert_cmpstr (gst_structure_get_string (partial, "text"), ==, texts[i]);
    g_assert_cmpstr (gst_structure_get_string (partial, "finish-reason"), ==, "none");
  }
  g_assert_cmpstr (rig_get_text (rig, 0), ==, "red 32x16: a b c");
  rig_free (rig);
}

static void
placeholders_are_filled_in (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=11 " RED " ! mllamacaption name=c attach-meta=false "
                      "prompt=\"at {pts}, before: {previous}; {unknown} {wallclock}\" ! fakesink");

  /* Slow enough for the next frame to be in work before this one is answered. */
  fake_script.token_ms = 5;
  rig_run (rig);
  g_assert_cmpuint (rig->captions->len, ==, 2);
  g_assert_true (g_str_has_prefix (rig_get_text (rig, 0), "red 32x16: at 0:00:00.000, before: ; {unknown} 20"));
  g_assert_true (g_str_has_prefix (rig_get_text (rig, 1), "red 32x16: at 0:00:01.000, before: red 32x16: at 0:00:00"));
  rig_free (rig);
}

static void
limits_tokens_and_names_the_reason (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=1 " RED " ! mllamacaption name=c max-tokens=2 prompt=What ! fakesink");

  rig_run (rig);
  g_assert_cmpstr (rig_get_text (rig, 0), ==, "red 32x16:");
  g_assert_cmpstr (gst_structure_get_string (g_ptr_array_index (rig->captions, 0), "finish-reason"), ==, "length");
  rig_free (rig);
}

static void
add_tests (void)
{
  g_test_add_func ("/messages/has_the_fields_of_the_design_in_order_and_type",
                   has_the_fields_of_the_design_in_order_and_type);
  g_test_add_func ("/messages/says_what_it_saw_and_when", says_what_it_saw_and_when);
  g_test_add_func ("/messages/answers_several_prompts_over_one_encode", answers_several_prompts_over_one_encode);
  g_test_add_func ("/messages/posts_nothing_when_told_so", posts_nothing_when_told_so);
  g_test_add_func ("/messages/partial_results_grow_word_by_word", partial_results_grow_word_by_word);
  g_test_add_func ("/messages/placeholders_are_filled_in", placeholders_are_filled_in);
  g_test_add_func ("/messages/limits_tokens_and_names_the_reason", limits_tokens_and_names_the_reason);
  g_test_add_func ("/meta/archive_attaches_metadata_to_the_frame_itself",
                   archive_attaches_metadata_to_the_frame_itself);
  g_test_add_func ("/meta/attaches_nothing_when_told_so", attaches_nothing_when_told_so);
  g_test_add_func ("/stats/keeps_statistics_and_the_last_caption", keeps_statistics_and_the_last_caption);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
