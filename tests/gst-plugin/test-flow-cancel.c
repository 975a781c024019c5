/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whoever asks for an end gets it within a decode step of the real engine, and everything goes on afterwards. */
#include "rig.h"
#include <gst/check/gstharness.h>

#define CHECKPOINT "/golden/checkpoints/single"
#define VIDEO      "video/x-raw,format=I420,width=96,height=64,framerate=10/1"

typedef struct {
  GstHarness *harness;
  GstElement *element;
  GstPad *text;
  guint64 n_frames;
} Stage;

/* A caption of 2000 tokens takes much longer than anything here; it is never waited for. */
static Stage
set_stage (const char *settings)
{
  Stage stage = {0};
  g_autofree char *line =
      g_strdup_printf ("mllamacaption model=%s" CHECKPOINT " device=cpu mode=live max-tokens=2000 %s",
                       g_getenv ("MLLAMA_TEST_SOURCE_DIR"), settings);

  stage.harness = gst_harness_new_parse (line);
  gst_harness_set_drop_buffers (stage.harness, TRUE);
  gst_harness_set_src_caps_str (stage.harness, VIDEO);
  stage.element = gst_harness_find_element (stage.harness, "mllamacaption");
  return stage;
}

static void
clear_stage (Stage *stage)
{
  gst_clear_object (&stage->text);
  gst_object_unref (stage->element);
  gst_harness_teardown (stage->harness);
}

static void
push_frame (Stage *stage)
{
  GstBuffer *buffer = gst_harness_create_buffer (stage->harness, 96 * 64 * 3 / 2);

  gst_buffer_memset (buffer, 0, 77, gst_buffer_get_size (buffer));
  GST_BUFFER_PTS (buffer) = stage->n_frames++ * GST_SECOND;
  GST_BUFFER_DURATION (buffer) = GST_SECOND / 10;
  g_assert_cmpint (gst_harness_push (stage->harness, buffer), ==, GST_FLOW_OK);
}

static guint64
read_stat (Stage *stage, const char *name)
{
  g_autoptr (GstStructure) stats = NULL;
  guint64 value = 0;

  g_object_get (stage->element, "stats", &stats, NULL);
  g_assert_true (gst_structure_get_uint64 (stats, name, &value));
  return value;
}

/* Pushes a frame and waits until its caption is well under way; the engine's steps so far. */
static guint64
begin_caption (Stage *stage)
{
  const guint64 before = read_stat (stage, "decode-steps");
  const gint64 deadline = g_get_monotonic_time () + 20 * G_TIME_SPAN_SECOND;

  push_frame (stage);
  while (read_stat (stage, "decode-steps") < before + 20) {
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
    g_usleep (200);
  }
  return read_stat (stage, "decode-steps");
}

/* The request has returned. What runs now was there before it; then the engine must rest. */
static void
check_engine_rests (Stage *stage)
{
  const guint64 at_return = read_stat (stage, "decode-steps");

  g_usleep (30000);
  g_assert_cmpuint (read_stat (stage, "decode-steps"), <=, at_return + 1);
}

static void
flush (Stage *stage)
{
  gst_harness_push_event (stage->harness, gst_event_new_flush_start ());
}

static void
go_on_after_flush (Stage *stage)
{
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (stage->harness, gst_event_new_flush_stop (TRUE));
  gst_harness_push_event (stage->harness, gst_event_new_segment (&segment));
}

static void
a_flush_stops_the_engine_within_a_step (void)
{
  Stage stage = set_stage ("");

  for (guint i = 0; i < 20; i++) {
    begin_caption (&stage);
    flush (&stage);
    check_engine_rests (&stage);
    go_on_after_flush (&stage);
  }
  g_assert_cmpuint (read_stat (&stage, "captions"), ==, 0);
  clear_stage (&stage);
}

static void
ready_stops_the_engine_within_a_step (void)
{
  Stage stage = set_stage ("");

  for (guint i = 0; i < 10; i++) {
    begin_caption (&stage);
    g_assert_cmpint (gst_element_set_state (stage.element, GST_STATE_READY), ==, GST_STATE_CHANGE_SUCCESS);
    check_engine_rests (&stage);
    gst_element_set_state (stage.element, GST_STATE_PLAYING);
    gst_harness_set_src_caps_str (stage.harness, VIDEO);
    stage.n_frames = 0;
  }
  clear_stage (&stage);
}

static void
a_released_pad_stops_the_engine_within_a_step (void)
{
  Stage stage = set_stage ("");

  for (guint i = 0; i < 10; i++) {
    stage.text = gst_element_request_pad_simple (stage.element, "text_%u");
    begin_caption (&stage);
    gst_element_release_request_pad (stage.element, stage.text);
    check_engine_rests (&stage);
    gst_clear_object (&stage.text);
  }
  clear_stage (&stage);
}

static void
an_eos_past_its_timeout_stops_the_engine_within_a_step (void)
{
  Stage stage = set_stage ("eos-timeout=1000000");

  begin_caption (&stage);
  gst_harness_push_event (stage.harness, gst_event_new_eos ());
  check_engine_rests (&stage);
  g_assert_cmpuint (read_stat (&stage, "captions"), ==, 1);
  clear_stage (&stage);
}

/* --- starting again --- */

/* The engine's thread gives memory back right after it has told of the end. */
static void
check_memory_is_back (Rig *rig)
{
  for (guint i = 0; i < 1000 && rig_get_stat (rig, "states-bytes") + rig_get_stat (rig, "kv-bytes") > 0; i++)
    g_usleep (1000);
  g_assert_cmpuint (rig_get_stat (rig, "kv-bytes"), ==, 0);
  g_assert_cmpuint (rig_get_stat (rig, "states-bytes"), ==, 0);
}

static void
it_starts_a_hundred_times (void)
{
  Rig *rig = rig_new ("videotestsrc pattern=ball ! " VIDEO " ! mllamacaption name=c model=%s" CHECKPOINT
                      " device=cpu max-tokens=50 interval=200000000 ! fakesink c.text_0 ! fakesink",
                      g_getenv ("MLLAMA_TEST_SOURCE_DIR"));

  for (guint i = 0; i < 100; i++) {
    rig_set_state (rig, i % 3 == 0 ? GST_STATE_PAUSED : GST_STATE_PLAYING);
    rig_listen (rig, i % 5 * 3);
    rig_set_state (rig, GST_STATE_READY);
    check_memory_is_back (rig);
    if (i % 10 == 9)
      rig_set_state (rig, GST_STATE_NULL);
  }
  g_assert_no_error (rig->error);
  rig_free (rig);
}

static gboolean
has_captions (Rig *rig)
{
  return rig->captions->len >= 3;
}

static void
no_stale_caption_comes_after_a_seek (void)
{
  static const char *const settings[] = {"max-in-flight=1", "max-in-flight=8", "mode=live"};

  for (guint i = 0; i < G_N_ELEMENTS (settings); i++) {
    Rig *rig = rig_new ("videotestsrc pattern=ball ! " VIDEO " ! mllamacaption name=c model=%s" CHECKPOINT
                        " device=cpu max-tokens=300 interval=100000000 %s ! fakesink sync=true c.text_0 ! fakesink",
                        g_getenv ("MLLAMA_TEST_SOURCE_DIR"), settings[i]);
    gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
    rig_wait (rig, has_captions);
    for (guint n = 0; n < 10; n++) {
      /* Now further on, now back. */
      const GstClockTime to = (n % 2 == 0 ? 100 + n : 50 - n) * GST_SECOND;
      g_assert_true (gst_element_seek_simple (rig->pipeline, GST_FORMAT_TIME,
                                              GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE, (gint64) to));
      rig_listen (rig, 0);
      g_ptr_array_set_size (rig->captions, 0);
      rig_wait (rig, has_captions);
      /* Live, a newer frame may have taken the place of the first. */
      if (!g_str_equal (settings[i], "mode=live"))
        g_assert_cmpuint (rig_get_time (rig, 0, "pts"), ==, to);
      for (guint k = 0; k < rig->captions->len; k++)
        g_assert_cmpuint (rig_get_time (rig, k, "pts") - to, <, 40 * GST_SECOND);
    }
    g_assert_no_error (rig->error);
    rig_free (rig);
  }
}

static void
add_tests (void)
{
  g_test_add_func ("/cancel/a_flush_stops_the_engine_within_a_step", a_flush_stops_the_engine_within_a_step);
  g_test_add_func ("/cancel/ready_stops_the_engine_within_a_step", ready_stops_the_engine_within_a_step);
  g_test_add_func ("/cancel/a_released_pad_stops_the_engine_within_a_step",
                   a_released_pad_stops_the_engine_within_a_step);
  g_test_add_func ("/cancel/an_eos_past_its_timeout_stops_the_engine_within_a_step",
                   an_eos_past_its_timeout_stops_the_engine_within_a_step);
  g_test_add_func ("/cancel/it_starts_a_hundred_times", it_starts_a_hundred_times);
  g_test_add_func ("/cancel/no_stale_caption_comes_after_a_seek", no_stale_caption_comes_after_a_seek);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
