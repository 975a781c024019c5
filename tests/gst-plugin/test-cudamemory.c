/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames in CUDA memory, without a GPU: the memory is a stand-in, and so is the engine. */
#include "rig.h"
#include <gst/check/gstharness.h>
#include "fake-cudamemory.h"
#include "painter.h"

#define RED 0xffff0000

/* A frame of one colour in host memory. */
static GstBuffer *
draw (const char *format, guint width, guint height, GstVideoInfo *info)
{
  g_autofree char *line =
      g_strdup_printf ("videotestsrc num-buffers=1 pattern=solid-color foreground-color=%u ! videoconvert ! "
                       "capsfilter caps=video/x-raw,format=%s,width=%u,height=%u",
                       RED, format, width, height);
  GstHarness *source = gst_harness_new_parse (line);

  gst_harness_play (source);
  GstBuffer *buffer = gst_harness_pull (source);
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (source->sinkpad);
  g_assert_true (gst_video_info_from_caps (info, caps));
  gst_harness_teardown (source);
  return buffer;
}

/* The element, fed with frames of this kind in CUDA memory. */
static GstHarness *
open_harness (const GstVideoInfo *info, const char *launch)
{
  GstHarness *harness = gst_harness_new_parse (launch);
  GstCaps *caps = gst_video_info_to_caps ((GstVideoInfo *) info);

  gst_caps_set_features_simple (caps, gst_caps_features_new ("memory:CUDAMemory", NULL));
  gst_harness_set_live (harness, FALSE);
  gst_harness_set_src_caps (harness, caps);
  return harness;
}

static char *
read_caption (GstHarness *harness)
{
  g_autoptr (GstElement) element = gst_harness_find_element (harness, "mllamacaption");
  char *caption = NULL;

  gst_harness_push_event (harness, gst_event_new_eos ());
  g_object_get (element, "last-caption", &caption, NULL);
  return caption;
}

/* Pushes one frame, takes it out again untouched, and returns what was said about it. */
static char *
caption_one (GstBuffer *frame, const GstVideoInfo *info, const char *launch)
{
  GstHarness *harness = open_harness (info, launch);
  GstMemory *memory = gst_buffer_peek_memory (frame, 0);

  g_assert_cmpint (gst_harness_push (harness, frame), ==, GST_FLOW_OK);
  g_autoptr (GstBuffer) passed = gst_harness_pull (harness);
  g_assert_true (gst_buffer_peek_memory (passed, 0) == memory);
  char *caption = read_caption (harness);
  gst_harness_teardown (harness);
  return caption;
}

static void
reset (gboolean cuda)
{
  fake_reset ();
  fake_script.cuda = cuda;
  fake_cuda_memory = (FakeCudaMemory){0};
}

static void
check_nothing_is_left (void)
{
  g_assert_cmpuint (fake_cuda_memory.n_originals, ==, 0);
  g_assert_cmpuint (fake_cuda_memory.n_copies, ==, 0);
}

static void
check_formats (const char *const *formats, gboolean cuda, guint n_downloads)
{
  for (; *formats; formats++) {
    GstVideoInfo info;
    g_autoptr (GstBuffer) host = draw (*formats, 35, 17, &info);
    reset (cuda);
    g_test_message ("%s", *formats);
    g_autofree char *caption =
        caption_one (fake_cuda_memory_upload (host, &info), &info, "mllamacaption prompt=What attach-meta=false");
    g_assert_cmpstr (caption, ==, "red 35x17: What");
    g_assert_cmpuint (fake_cuda_memory.n_copied, ==, 1);
    g_assert_cmpuint (fake_cuda_memory.n_original_downloads, ==, 0);
    g_assert_cmpuint (MIN (fake_cuda_memory.n_copy_downloads, 1), ==, n_downloads);
    g_assert_cmpuint (fake_get_counts ().n_cuda_images, ==, 1 - n_downloads);
    check_nothing_is_left ();
  }
}

static const char *const native[] = {"NV12", "I420", "YUY2", "RGB",  "BGR",  "RGBA", "BGRA",
                                     "ARGB", "ABGR", "RGBx", "BGRx", "xRGB", "xBGR", NULL};

static void
frames_stay_in_cuda_memory_for_a_model_on_the_gpu (void)
{
  check_formats (native, TRUE, 0);
}

static void
frames_are_downloaded_for_a_model_on_the_cpu (void)
{
  check_formats (native, FALSE, 1);
}

static void
other_formats_are_downloaded_and_converted (void)
{
  static const char *const others[] = {"P010_10LE", "Y444", "UYVY", NULL};

  check_formats (others, TRUE, 1);
}

static void
no_upstream_frame_is_held (void)
{
  GstVideoInfo info;
  g_autoptr (GstBuffer) host = draw ("NV12", 64, 48, &info);

  reset (TRUE);
  fake_script.encode_ms = 200;
  GstHarness *harness = open_harness (&info, "mllamacaption prompt=What attach-meta=false max-in-flight=4");
  g_assert_cmpint (gst_harness_push (harness, fake_cuda_memory_upload (host, &info)), ==, GST_FLOW_OK);
  gst_buffer_unref (gst_harness_pull (harness));
  g_assert_cmpuint (fake_cuda_memory.n_originals, ==, 0);
  g_assert_cmpuint (fake_cuda_memory.n_copies, ==, 1);
  g_autofree char *caption = read_caption (harness);
  g_assert_cmpstr (caption, ==, "red 64x48: What");
  gst_harness_teardown (harness);
  check_nothing_is_left ();
}

static void
a_full_device_means_a_download (void)
{
  for (guint i = 0; i < 2; i++) {
    GstVideoInfo info;
    g_autoptr (GstBuffer) host = draw ("NV12", 64, 48, &info);
    reset (TRUE);
    fake_cuda_memory.refuse_copies = i == 0;
    fake_cuda_memory.refuse_maps_to_the_device = i == 1;
    g_autofree char *caption = caption_one (fake_cuda_memory_upload (host, &info), &info, "mllamacaption prompt=What");
    g_assert_cmpstr (caption, ==, "red 64x48: What");
    g_assert_cmpuint (fake_cuda_memory.n_original_downloads, >, 0);
    g_assert_cmpuint (fake_get_counts ().n_cuda_images, ==, 0);
    check_nothing_is_left ();
  }
}

static void
scenes_are_compared_in_host_memory (void)
{
  GstVideoInfo info;
  g_autoptr (GstBuffer) host = draw ("NV12", 64, 48, &info);

  reset (TRUE);
  g_autofree char *caption =
      caption_one (fake_cuda_memory_upload (host, &info), &info, "mllamacaption prompt=What scene-threshold=0.1");
  g_assert_cmpstr (caption, ==, "red 64x48: What");
  g_assert_cmpuint (fake_cuda_memory.n_original_downloads, >, 0);
  g_assert_cmpuint (fake_cuda_memory.n_copied, ==, 0);
  check_nothing_is_left ();
}

static void
crop_and_square_pixels_are_honoured (void)
{
  GstVideoInfo info;
  g_autoptr (GstBuffer) host = draw ("NV12", 64, 48, &info);

  reset (TRUE);
  GST_VIDEO_INFO_PAR_N (&info) = 2;
  GstBuffer *frame = fake_cuda_memory_upload (host, &info);
  GstVideoCropMeta *crop = gst_buffer_add_video_crop_meta (frame);
  crop->x = crop->y = 8;
  crop->width = 20;
  crop->height = 30;
  g_autofree char *caption = caption_one (frame, &info, "mllamacaption prompt=What");
  g_assert_cmpstr (caption, ==, "red 40x30: What");
  g_assert_cmpuint (fake_get_counts ().n_cuda_images, ==, 0);
}

/* Even lines 200, odd lines 0, as two fields of different pictures. */
static void
the_first_field_is_a_view_of_the_copy (void)
{
  GstVideoInfo info;
  GstVideoFrame mapped;
  MllamaImage image;

  reset (TRUE);
  gst_video_info_set_interlaced_format (&info, GST_VIDEO_FORMAT_GRAY8, GST_VIDEO_INTERLACE_MODE_INTERLEAVED, 4, 8);
  g_autoptr (GstBuffer) host = gst_buffer_new_allocate (NULL, info.size, NULL);
  for (guint line = 0; line < 8; line++)
    gst_buffer_memset (host, line * 4, line % 2 == 0 ? 200 : 0, 4);
  g_autoptr (GstBuffer) frame = fake_cuda_memory_upload (host, &info);
  GST_BUFFER_FLAG_SET (frame, GST_VIDEO_BUFFER_FLAG_INTERLACED);
  g_assert_true (
      gst_video_frame_map (&mapped, &info, frame, (GstMapFlags) (GST_MAP_READ | GST_MLLAMA_CAPTION_MAP_CUDA)));
  g_autoptr (GstMllamaCaptionPicture) picture =
      gst_mllama_caption_picture_new (&mapped, GST_VIDEO_ORIENTATION_IDENTITY);
  gst_video_frame_unmap (&mapped);
  g_assert_true (picture && picture->on_device);
  GstMllamaCaptionPainter *painter = gst_mllama_caption_painter_new ();
  g_assert_true (gst_mllama_caption_painter_paint (painter, picture, TRUE, &image, NULL));
  g_assert_cmpint (image.memory, ==, MLLAMA_MEMORY_HOST);
  g_assert_cmpuint (image.height, ==, 8);
  for (guint y = 0; y < 8; y++)
    g_assert_cmpint (image.planes[0][y * image.strides[0]], <=, 1); /* without TFF the odd lines come first */
  gst_mllama_caption_painter_free (painter);
}

static void
caps_of_cuda_memory_pass_through (void)
{
  GstHarness *harness = gst_harness_new ("mllamacaption");
  g_autoptr (GstCaps) cuda = gst_caps_from_string ("video/x-raw(memory:CUDAMemory),format=NV12,width=64,height=48,"
                                                   "framerate=1/1");
  g_autoptr (GstCaps) host = gst_caps_from_string ("video/x-raw,format=NV12,width=64,height=48,framerate=1/1");
  GstPad *sink = GST_PAD_PEER (harness->srcpad);
  g_autoptr (GstCaps) template = gst_pad_get_pad_template_caps (sink);
  gboolean named = FALSE;

  for (guint i = 0; i < gst_caps_get_size (template); i++)
    named |= gst_caps_features_contains (gst_caps_get_features (template, i), "memory:CUDAMemory");
  g_assert_true (named);
  gst_harness_set_sink_caps (harness, gst_caps_ref (cuda));
  g_autoptr (GstCaps) taken = gst_pad_query_caps (sink, NULL);
  g_assert_true (gst_caps_is_equal (taken, cuda));
  g_assert_true (gst_pad_query_accept_caps (sink, cuda));
  g_assert_false (gst_caps_can_intersect (taken, host));
  gst_harness_teardown (harness);
}

/* Answers a query for a CUDA context, as an element that has one does. */
static GstPadProbeReturn
give_context (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  GstQuery *query = GST_PAD_PROBE_INFO_QUERY (info);
  const char *type;

  if (GST_QUERY_TYPE (query) != GST_QUERY_CONTEXT)
    return GST_PAD_PROBE_OK;
  gst_query_parse_context_type (query, &type);
  g_autoptr (GstContext) context = gst_context_new (type, FALSE);
  gst_query_set_context (query, context);
  return GST_PAD_PROBE_HANDLED;
}

static char *
ask_for_context (GstPad *pad)
{
  g_autoptr (GstQuery) query = gst_query_new_context ("gst.cuda.context");
  GstContext *context = NULL;

  if (!gst_pad_peer_query (pad, query))
    return NULL;
  gst_query_parse_context (query, &context);
  return g_strdup (gst_context_get_context_type (context));
}

/* Elements on either side agree on one GPU through the element, which is transparent to them. */
static void
contexts_are_found_across_the_element (void)
{
  for (guint i = 0; i < 2; i++) {
    Rig *rig = rig_new ("videotestsrc name=v ! identity name=i ! mllamacaption name=c ! identity name=j ! fakesink "
                        "c.text_0 ! fakesink");
    g_autoptr (GstElement) before = gst_bin_get_by_name (GST_BIN (rig->pipeline), "i");
    g_autoptr (GstElement) after = gst_bin_get_by_name (GST_BIN (rig->pipeline), "j");
    g_autoptr (GstPad) owner = gst_element_get_static_pad (i == 0 ? before : after, i == 0 ? "src" : "sink");
    g_autoptr (GstPad) asker = gst_element_get_static_pad (i == 0 ? after : before, i == 0 ? "sink" : "src");
    rig_set_state (rig, GST_STATE_PAUSED);
    gst_pad_add_probe (owner,
                       i == 0 ? GST_PAD_PROBE_TYPE_QUERY_UPSTREAM | GST_PAD_PROBE_TYPE_PUSH
                              : GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM | GST_PAD_PROBE_TYPE_PUSH,
                       give_context, NULL, NULL);
    g_autofree char *type = ask_for_context (asker);
    g_assert_cmpstr (type, ==, "gst.cuda.context");
    rig_free (rig);
  }
}

static void
push_colour (GstHarness *harness, GstBuffer *frame, const GstVideoInfo *info, gboolean cuda, GstClockTime pts)
{
  GstCaps *caps = gst_video_info_to_caps ((GstVideoInfo *) info);

  if (cuda)
    gst_caps_set_features_simple (caps, gst_caps_features_new ("memory:CUDAMemory", NULL));
  gst_harness_set_src_caps (harness, caps);
  GST_BUFFER_PTS (frame) = pts;
  GST_BUFFER_DURATION (frame) = GST_SECOND;
  g_assert_cmpint (gst_harness_push (harness, frame), ==, GST_FLOW_OK);
}

static void
memory_may_change_on_the_way (void)
{
  GstVideoInfo info;
  g_autoptr (GstBuffer) host = draw ("NV12", 64, 48, &info);

  reset (TRUE);
  GstHarness *harness = gst_harness_new_parse ("mllamacaption prompt=What");
  gst_harness_set_live (harness, FALSE);
  for (guint i = 0; i < 6; i++) {
    GstBuffer *frame = i % 2 ? fake_cuda_memory_upload (host, &info) : gst_buffer_copy_deep (host);
    push_colour (harness, frame, &info, i % 2, i * GST_SECOND);
    gst_buffer_unref (gst_harness_pull (harness));
  }
  g_autofree char *caption = read_caption (harness);
  g_assert_cmpstr (caption, ==, "red 64x48: What");
  g_assert_cmpuint (fake_get_counts ().n_encodes, ==, 6);
  g_assert_cmpuint (fake_get_counts ().n_cuda_images, ==, 3);
  g_assert_cmpuint (fake_cuda_memory.n_original_downloads, ==, 0);
  gst_harness_teardown (harness);
  check_nothing_is_left ();
}

static void
add_tests (void)
{
  g_test_add_func ("/cuda-memory/frames_stay_in_cuda_memory_for_a_model_on_the_gpu",
                   frames_stay_in_cuda_memory_for_a_model_on_the_gpu);
  g_test_add_func ("/cuda-memory/frames_are_downloaded_for_a_model_on_the_cpu",
                   frames_are_downloaded_for_a_model_on_the_cpu);
  g_test_add_func ("/cuda-memory/other_formats_are_downloaded_and_converted",
                   other_formats_are_downloaded_and_converted);
  g_test_add_func ("/cuda-memory/no_upstream_frame_is_held", no_upstream_frame_is_held);
  g_test_add_func ("/cuda-memory/a_full_device_means_a_download", a_full_device_means_a_download);
  g_test_add_func ("/cuda-memory/scenes_are_compared_in_host_memory", scenes_are_compared_in_host_memory);
  g_test_add_func ("/cuda-memory/crop_and_square_pixels_are_honoured", crop_and_square_pixels_are_honoured);
  g_test_add_func ("/cuda-memory/the_first_field_is_a_view_of_the_copy", the_first_field_is_a_view_of_the_copy);
  g_test_add_func ("/cuda-memory/caps_of_cuda_memory_pass_through", caps_of_cuda_memory_pass_through);
  g_test_add_func ("/cuda-memory/contexts_are_found_across_the_element", contexts_are_found_across_the_element);
  g_test_add_func ("/cuda-memory/memory_may_change_on_the_way", memory_may_change_on_the_way);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
