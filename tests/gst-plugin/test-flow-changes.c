/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Size, format and memory change under way, with frames of before still in work; and where memory is kept. */
#include "rig.h"
#include "fake-cudamemory.h"
#include "stage.h"

typedef struct {
  const char *format;
  guint width, height, colour; /* ARGB */
  gboolean cuda;
  const char *text;
} Kind;

static const Kind kinds[] = {
    {"I420", 64, 48, 0xffff0000, FALSE, "red 64x48: What"},
    {"NV12", 64, 48, 0xff0000ff, FALSE, "blue 64x48: What"},
    {"RGB", 33, 17, 0xff00ff00, FALSE, "green 33x17: What"},
    {"YUY2", 640, 360, 0xffffffff, FALSE, "white 640x360: What"},
    {"NV12", 64, 48, 0xffff0000, TRUE, "red 64x48: What"},
    {"NV12", 64, 48, 0xff000000, FALSE, "black 64x48: What"},
    {"RGBA", 48, 64, 0xffffff00, TRUE, "yellow 48x64: What"},
    {"P010_10LE", 32, 32, 0xff0000ff, FALSE, "blue 32x32: What"},
    {"I420", 64, 48, 0xffff0000, FALSE, "red 64x48: What"},
};

/* A frame of the kind, and its caps. */
static GstBuffer *
draw (const Kind *kind, guint number, char **caps_string)
{
  g_autofree char *line =
      g_strdup_printf ("videotestsrc num-buffers=1 pattern=solid-color foreground-color=%u ! videoconvert ! "
                       "video/x-raw,format=%s,width=%u,height=%u ! appsink name=s",
                       kind->colour, kind->format, kind->width, kind->height);
  g_autoptr (GstElement) pipeline = gst_parse_launch (line, NULL);
  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");
  g_autoptr (GstSample) sample = NULL;
  GstVideoInfo info;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  g_signal_emit_by_name (sink, "pull-sample", &sample);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  g_autoptr (GstCaps) caps = gst_caps_copy (gst_sample_get_caps (sample));
  g_assert_true (gst_video_info_from_caps (&info, caps));
  if (kind->cuda)
    gst_caps_set_features_simple (caps, gst_caps_features_new ("memory:CUDAMemory", NULL));
  *caps_string = gst_caps_to_string (caps);
  GstBuffer *buffer = kind->cuda ? fake_cuda_memory_upload (gst_sample_get_buffer (sample), &info)
                                 : gst_buffer_copy_deep (gst_sample_get_buffer (sample));
  GST_BUFFER_PTS (buffer) = number * GST_SECOND;
  GST_BUFFER_DURATION (buffer) = GST_SECOND;
  GST_BUFFER_FLAG_UNSET (buffer, GST_BUFFER_FLAG_DISCONT);
  return buffer;
}

static void
check_changes (const char *settings, gboolean on_gpu)
{
  Stage *stage = stage_new (TRUE, settings);

  fake_cuda_memory = (FakeCudaMemory){0};
  fake_script.cuda = on_gpu;
  /* All are copied before the first is encoded. */
  fake_script.load_ms = 200;
  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++) {
    g_autofree char *caps = NULL;
    GstBuffer *buffer = draw (&kinds[i], i, &caps);
    stage_send_caps (stage, caps);
    g_assert_cmpint (gst_pad_push (stage->in, buffer), ==, GST_FLOW_OK);
  }
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  stage_listen (stage);
  g_assert_cmpuint (stage->captions->len, ==, G_N_ELEMENTS (kinds));
  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++) {
    g_assert_cmpstr (stage_get_text (stage, i), ==, kinds[i].text);
    g_assert_cmpuint (stage_get_time (stage, i, "pts"), ==, i * GST_SECOND);
  }
  g_assert_cmpuint (stage_count_messages (stage, GST_MESSAGE_WARNING), ==, 0);
  g_assert_cmpuint (fake_get_counts ().n_cuda_images, ==, on_gpu ? 2 : 0);
  g_assert_cmpuint (fake_cuda_memory.n_original_downloads, ==, 0);
  stage_free (stage);
  g_assert_cmpuint (fake_cuda_memory.n_originals + fake_cuda_memory.n_copies, ==, 0);
}

static void
size_format_and_memory_may_change_with_frames_in_work (void)
{
  for (guint on_gpu = 0; on_gpu < 2; on_gpu++) {
    check_changes ("mode=archive max-in-flight=32 attach-meta=false", on_gpu > 0);
    check_changes ("mode=archive max-in-flight=1", on_gpu > 0);
  }
}

static void
caps_that_are_no_picture_pass_without_captions (void)
{
  Stage *stage = stage_new (FALSE, "mode=archive");

  stage_push (stage, 128, 0, 40);
  stage_send_caps (stage, "video/x-raw,format=I420,width=2147483647,height=2147483647,framerate=0/1");
  stage_push (stage, 128, 1000, 40);
  stage_send_caps (stage, "video/x-raw,format=I420,width=64,height=48,framerate=0/1");
  stage_push (stage, 128, 2000, 40);
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  g_autofree char *chosen = stage_list_times (stage), *video = stage_join (stage, "video ");
  g_assert_cmpstr (chosen, ==, "0 2000");
  g_assert_cmpstr (video, ==, "video 0, video 1000, video 2000");
  stage_free (stage);
}

static void
a_buffer_too_small_for_its_caps_fails_alone (void)
{
  Stage *stage = stage_new (FALSE, "mode=archive on-error=warn");

  stage_push (stage, 128, 0, 40);
  GstBuffer *small = gst_buffer_new_allocate (NULL, 10, NULL);
  GST_BUFFER_PTS (small) = GST_SECOND;
  g_assert_cmpint (gst_pad_push (stage->in, small), ==, GST_FLOW_OK);
  stage_push (stage, 128, 2000, 40);
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  stage_listen (stage);
  g_assert_cmpuint (stage->captions->len, ==, 3);
  g_assert_cmpstr (gst_structure_get_string (g_ptr_array_index (stage->captions, 1), "finish-reason"), ==, "error");
  g_assert_cmpstr (stage_get_text (stage, 2), ==, "grey 64x48: What");
  stage_free (stage);
}

/* --- the mode --- */

static void
check_mode (Stage *stage, gint64 pts, const char *expected)
{
  g_autoptr (GstStructure) stats = NULL;

  g_assert_cmpint (stage_push (stage, 128, pts, 40), ==, GST_FLOW_OK);
  g_object_get (stage->element, "stats", &stats, NULL);
  g_assert_cmpstr (gst_structure_get_string (stats, "mode"), ==, expected);
}

static void
the_mode_is_asked_for_anew_with_each_stream_start (void)
{
  static const struct {
    gint live; /* -1: the query fails */
    const char *mode;
  } cases[] = {{0, "archive"}, {1, "live"}, {-1, "archive"}, {1, "live"}};
  Stage *stage = stage_new (TRUE, "");

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstSegment segment;
    stage->live = cases[i].live;
    stage_send_stream_start (stage);
    gst_segment_init (&segment, GST_FORMAT_TIME);
    stage_send_segment (stage, &segment);
    check_mode (stage, i * 1000, cases[i].mode);
    /* Not asked in the middle of a stream. */
    stage->live = 1 - MAX (cases[i].live, 0);
    check_mode (stage, i * 1000 + 40, cases[i].mode);
  }
  stage_free (stage);
}

/* --- the memory of video --- */

static GstPadProbeReturn
note_memory (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  *(GstMemory **) data = gst_buffer_peek_memory (GST_PAD_PROBE_INFO_BUFFER (info), 0);
  return GST_PAD_PROBE_OK;
}

/* As behind a tee: somebody else has the buffer too, so that its header must be copied for metadata. */
static void
the_memory_stays_the_same_with_metadata_on_a_shared_buffer (void)
{
  Stage *stage = stage_new (FALSE, "mode=archive");
  GstMemory *out = NULL;

  gst_pad_add_probe (stage->out, GST_PAD_PROBE_TYPE_BUFFER, note_memory, &out, NULL);
  for (guint i = 0; i < 3; i++) {
    GstBuffer *buffer = gst_buffer_ref (stage_draw (128, i * 1000, 1000));
    gst_pad_push (stage->in, buffer);
    g_assert_true (out == gst_buffer_peek_memory (buffer, 0));
    g_assert_null (gst_buffer_get_custom_meta (buffer, "mllama-caption"));
    g_assert_cmpint (GST_MINI_OBJECT_REFCOUNT_VALUE (buffer), ==, 1);
    gst_buffer_unref (buffer);
  }
  stage_free (stage);
}

static void
no_buffer_is_held_while_its_frame_is_in_work (void)
{
  static const char *const settings[] = {"mode=live", "mode=archive max-in-flight=4 attach-meta=false"};

  for (guint i = 0; i < G_N_ELEMENTS (settings); i++) {
    Stage *stage = stage_new (TRUE, settings[i]);
    fake_script.encode_ms = 500;
    GstBuffer *buffer = gst_buffer_ref (stage_draw (128, 0, 40));
    GstMemory *memory = gst_buffer_get_memory (buffer, 0);
    gst_pad_push (stage->in, buffer);
    g_assert_cmpuint (stage_get_stat (stage, "captions"), ==, 0);
    g_assert_cmpint (GST_MINI_OBJECT_REFCOUNT_VALUE (buffer), ==, 1);
    g_assert_cmpint (GST_MINI_OBJECT_REFCOUNT_VALUE (memory), ==, 2);
    gst_memory_unref (memory);
    gst_buffer_unref (buffer);
    stage_free (stage);
  }
}

static void
add_tests (void)
{
  g_test_add_func ("/changes/size_format_and_memory_may_change_with_frames_in_work",
                   size_format_and_memory_may_change_with_frames_in_work);
  g_test_add_func ("/changes/caps_that_are_no_picture_pass_without_captions",
                   caps_that_are_no_picture_pass_without_captions);
  g_test_add_func ("/changes/a_buffer_too_small_for_its_caps_fails_alone", a_buffer_too_small_for_its_caps_fails_alone);
  g_test_add_func ("/mode/is_asked_for_anew_with_each_stream_start", the_mode_is_asked_for_anew_with_each_stream_start);
  g_test_add_func ("/memory/stays_the_same_with_metadata_on_a_shared_buffer",
                   the_memory_stays_the_same_with_metadata_on_a_shared_buffer);
  g_test_add_func ("/memory/no_buffer_is_held_while_its_frame_is_in_work",
                   no_buffer_is_held_while_its_frame_is_in_work);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
