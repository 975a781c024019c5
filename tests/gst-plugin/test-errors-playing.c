/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Failures while it plays: each value of on-error, in both modes, wherever the engine fails. */
#include "rig.h"
#include "stage.h"
#include <string.h>

typedef enum {
  IN_ENCODE,
  AT_START,
  IN_ANSWER,
  N_PLACES
} Place;

static void
set_fault (Place place, MllamaError error)
{
  fake_script.encode_error = place == IN_ENCODE ? (gint) error : FAKE_NO_ERROR;
  fake_script.start_error = place == AT_START ? (gint) error : FAKE_NO_ERROR;
  fake_script.answer_error = place == IN_ANSWER ? (gint) error : FAKE_NO_ERROR;
}

static GError *
find_error (Stage *stage)
{
  GError *error = NULL;

  for (guint i = 0; i < stage->messages->len && !error; i++)
    if (GST_MESSAGE_TYPE (g_ptr_array_index (stage->messages, i)) == GST_MESSAGE_ERROR)
      gst_message_parse_error (g_ptr_array_index (stage->messages, i), &error, NULL);
  return error;
}

/* Waits for the ERROR: video must stop then, and no frame is captioned any more. */
static void
check_stop (Stage *stage, GQuark domain, gint code)
{
  g_autoptr (GError) error = NULL;
  gint64 time = 1000;

  while (stage_push (stage, 128, time, 1000) == GST_FLOW_OK) {
    g_assert_cmpint (time, <, 10000000);
    g_usleep (1000);
    time += 1000;
  }
  g_assert_cmpint (stage_push (stage, 128, time + 1000, 1000), ==, GST_FLOW_ERROR);
  stage_listen (stage);
  error = find_error (stage);
  g_assert_error (error, domain, code);
  g_assert_cmpuint (stage_count_messages (stage, GST_MESSAGE_ERROR), ==, 1);
}

/* Two frames fail; the next is captioned again, and text had a GAP. */
static void
check_warn (Stage *stage)
{
  stage_wait_for_captions (stage, 1);
  g_assert_cmpint (stage_push (stage, 128, 1000, 1000), ==, GST_FLOW_OK);
  stage_wait_for_captions (stage, 2);
  set_fault (N_PLACES, 0);
  g_assert_cmpint (stage_push (stage, 235, 2000, 1000), ==, GST_FLOW_OK);
  stage_wait_for_captions (stage, 3);
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  stage_listen (stage);
  g_assert_cmpuint (stage->captions->len, ==, 3);
  for (guint i = 0; i < 2; i++) {
    const GstStructure *failed = g_ptr_array_index (stage->captions, i);
    g_assert_cmpstr (gst_structure_get_string (failed, "finish-reason"), ==, "error");
    g_assert_true (g_str_has_prefix (gst_structure_get_string (failed, "error"), "scripted fault"));
    g_assert_cmpstr (gst_structure_get_string (failed, "text"), ==, "");
  }
  g_assert_cmpuint (stage_count_messages (stage, GST_MESSAGE_ERROR), ==, 0);
  g_assert_cmpuint (stage_count_messages (stage, GST_MESSAGE_WARNING), ==, 1);
  g_autofree char *texts = stage_join (stage, "text "), *video = stage_join (stage, "video ");
  g_assert_cmpstr (video, ==, "video 0, video 1000, video 2000");
  g_assert_true (g_str_has_suffix (texts, "white 64x48: What"));
  g_assert_null (strstr (texts, ", "));
  g_assert_cmpint (stage_find (stage, "gap "), <, stage_find (stage, "text "));
}

static void
each_value_of_on_error_holds_for_each_failure (void)
{
  static const struct {
    const char *mode, *on_error;
    gboolean stops;
  } cases[] = {{"live", "auto", FALSE},    {"archive", "auto", TRUE}, {"live", "warn", FALSE},
               {"archive", "warn", FALSE}, {"live", "stop", TRUE},    {"archive", "stop", TRUE}};
  static const struct {
    MllamaError error;
    GQuark (*domain) (void);
    gint code;
  } faults[] = {{MLLAMA_ERROR_OUT_OF_MEMORY, gst_resource_error_quark, GST_RESOURCE_ERROR_NO_SPACE_LEFT},
                {MLLAMA_ERROR_DEVICE, gst_library_error_quark, GST_LIBRARY_ERROR_INIT}};

  for (guint i = 0; i < G_N_ELEMENTS (cases) * G_N_ELEMENTS (faults) * N_PLACES; i++) {
    const guint c = i % G_N_ELEMENTS (cases), f = i / G_N_ELEMENTS (cases) % G_N_ELEMENTS (faults);
    const Place place = (Place) (i / G_N_ELEMENTS (cases) / G_N_ELEMENTS (faults));
    g_autofree char *settings =
        g_strdup_printf ("mode=%s on-error=%s max-in-flight=%u", cases[c].mode, cases[c].on_error, 1 + i % 3);
    Stage *stage = stage_new (TRUE, settings);
    g_test_message ("%s, place %d, error %d", settings, place, faults[f].error);
    set_fault (place, faults[f].error);
    const GstFlowReturn flow = stage_push (stage, 128, 0, 1000);
    if (cases[c].stops) {
      check_stop (stage, faults[f].domain (), faults[f].code);
    } else {
      g_assert_cmpint (flow, ==, GST_FLOW_OK);
      check_warn (stage);
    }
    stage_free (stage);
  }
}

/* Of a pipeline whose preroll an ERROR ended, GStreamer says that even the way down failed, although it was gone. */
static void
go_down (Rig *rig, GstState state)
{
  gst_element_set_state (rig->pipeline, state);
  g_assert_cmpint (GST_STATE (rig->element), ==, state);
  /* What the frames before had to say. */
  rig_listen (rig, 0);
  g_ptr_array_set_size (rig->captions, 0);
  g_ptr_array_set_size (rig->messages, 0);
  g_clear_error (&rig->error);
}

/* An ERROR by on-error=stop is no reason to need a new element. */
static void
after_a_stop_it_can_be_started_again (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=25 ! video/x-raw,width=64,height=64,framerate=10/1 ! "
                      "mllamacaption name=c ! fakesink c.text_0 ! fakesink");

  for (guint i = 0; i < 3; i++) {
    set_fault (IN_ENCODE, MLLAMA_ERROR_OUT_OF_MEMORY);
    gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
    rig_wait_for_end (rig);
    g_assert_error (rig->error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT);
    go_down (rig, i == 0 ? GST_STATE_NULL : GST_STATE_READY);
    set_fault (N_PLACES, 0);
    gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
    rig_wait_for_end (rig);
    g_assert_no_error (rig->error);
    g_assert_cmpuint (rig->captions->len, ==, 3);
    go_down (rig, GST_STATE_READY);
  }
  rig_free (rig);
}

/* The engine gives a fresh model to whoever opens one after the device was lost: so it must be opened. */
static void
a_lost_device_means_a_fresh_model_at_the_next_start (void)
{
  static const char *const faults[] = {"encode", "load"};

  for (guint i = 0; i < G_N_ELEMENTS (faults); i++) {
    Stage *stage = stage_new (FALSE, "mode=live");
    if (i == 0)
      set_fault (IN_ENCODE, MLLAMA_ERROR_DEVICE);
    else
      fake_script.load_error = MLLAMA_ERROR_DEVICE;
    stage_push (stage, 128, 0, 1000);
    stage_wait_for_captions (stage, 1);
    g_assert_cmpuint (fake_get_counts ().n_opens, ==, 1);
    gst_element_set_state (stage->element, GST_STATE_READY);
    set_fault (N_PLACES, 0);
    fake_script.load_error = FAKE_NO_ERROR;
    gst_element_set_state (stage->element, GST_STATE_PLAYING);
    g_assert_cmpuint (fake_get_counts ().n_opens, ==, 2);
    stage_free (stage);
  }
}

static void
add_tests (void)
{
  g_test_add_func ("/errors/each_value_of_on_error_holds_for_each_failure",
                   each_value_of_on_error_holds_for_each_failure);
  g_test_add_func ("/errors/after_a_stop_it_can_be_started_again", after_a_stop_it_can_be_started_again);
  g_test_add_func ("/errors/a_lost_device_means_a_fresh_model_at_the_next_start",
                   a_lost_device_means_a_fresh_model_at_the_next_start);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
