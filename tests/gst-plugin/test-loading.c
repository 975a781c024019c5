/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Loading: off the streaming thread, told by PROGRESS, always with an end. */
#include "rig.h"
#include "stage.h"

/* The types of PROGRESS messages so far, such as "start complete". The caller frees it. */
static char *
list_progress (Stage *stage)
{
  static const char *const names[] = {[GST_PROGRESS_TYPE_START] = "start",
                                      [GST_PROGRESS_TYPE_CONTINUE] = "continue",
                                      [GST_PROGRESS_TYPE_COMPLETE] = "complete",
                                      [GST_PROGRESS_TYPE_CANCELED] = "canceled",
                                      [GST_PROGRESS_TYPE_ERROR] = "error"};
  GString *list = g_string_new (NULL);

  stage_listen (stage);
  for (guint i = 0; i < stage->messages->len; i++) {
    GstMessage *message = g_ptr_array_index (stage->messages, i);
    g_autofree char *code = NULL, *text = NULL;
    GstProgressType type;
    if (GST_MESSAGE_TYPE (message) != GST_MESSAGE_PROGRESS)
      continue;
    gst_message_parse_progress (message, &type, &code, &text);
    g_assert_cmpstr (code, ==, "load");
    g_assert_cmpint (*text, !=, 0);
    g_string_append_printf (list, "%s%s", list->len > 0 ? " " : "", names[type]);
  }
  return g_string_free (list, FALSE);
}

static void
check_progress (Stage *stage, const char *expected)
{
  g_autofree char *list = list_progress (stage);

  g_assert_cmpstr (list, ==, expected);
}

static void
wait_for_progress (Stage *stage, const char *expected)
{
  const gint64 deadline = g_get_monotonic_time () + 10 * G_TIME_SPAN_SECOND;
  g_autofree char *list = NULL;

  while (g_strcmp0 (list, expected) != 0) {
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
    g_usleep (1000);
    g_free (list);
    list = list_progress (stage);
  }
}

static void
progress_starts_with_the_first_buffer_and_not_before (void)
{
  Stage *stage = stage_new (TRUE, "mode=live");

  fake_script.load_ms = 30;
  g_usleep (20000);
  check_progress (stage, "");
  g_assert_cmpuint (fake_get_counts ().n_loads, ==, 0);
  stage_push (stage, 128, 0, 40);
  /* It was posted before the buffer went on. */
  g_autofree char *list = list_progress (stage);
  g_assert_true (g_str_has_prefix (list, "start"));
  wait_for_progress (stage, "start complete");
  stage_free (stage);
}

static void
a_failed_load_ends_progress_with_an_error (void)
{
  Stage *stage = stage_new (FALSE, "mode=live");

  fake_script.load_error = MLLAMA_ERROR_OUT_OF_MEMORY;
  stage_push (stage, 128, 0, 40);
  wait_for_progress (stage, "start error");
  stage_wait_for_captions (stage, 1);
  g_assert_cmpuint (stage_count_messages (stage, GST_MESSAGE_WARNING), ==, 1);
  stage_free (stage);
}

static void
ready_cancels_a_load_and_says_so (void)
{
  static const char *const modes[] = {"mode=live", "mode=archive max-in-flight=4"};

  for (guint i = 0; i < G_N_ELEMENTS (modes); i++) {
    Stage *stage = stage_new (FALSE, modes[i]);
    fake_script.load_ms = 8000;
    stage_push (stage, 128, 0, 40);
    const gint64 start = g_get_monotonic_time ();
    gst_element_set_state (stage->element, GST_STATE_READY);
    g_assert_cmpint (g_get_monotonic_time () - start, <, G_TIME_SPAN_SECOND);
    check_progress (stage, "start canceled");
    /* And it can be begun again. */
    fake_script.load_ms = 0;
    gst_element_set_state (stage->element, GST_STATE_PLAYING);
    stage_send_stream_start (stage);
    stage_send_caps (stage, "video/x-raw,format=I420,width=64,height=48,framerate=0/1");
    GstSegment segment;
    gst_segment_init (&segment, GST_FORMAT_TIME);
    stage_send_segment (stage, &segment);
    stage_push (stage, 128, 0, 40);
    wait_for_progress (stage, "start canceled start complete");
    stage_wait_for_captions (stage, 1);
    stage_free (stage);
  }
}

static gpointer
push_frame (gpointer data)
{
  return GINT_TO_POINTER (stage_push (data, 128, 0, 40));
}

/* In an archive the chain waits for the weights; the state change must not wait for it. */
static void
ready_frees_a_chain_that_waits_for_the_weights (void)
{
  Stage *stage = stage_new (FALSE, "mode=archive");

  fake_script.load_ms = 8000;
  GThread *thread = g_thread_new ("chain", push_frame, stage);
  wait_for_progress (stage, "start");
  const gint64 start = g_get_monotonic_time ();
  gst_element_set_state (stage->element, GST_STATE_READY);
  g_assert_cmpint (GPOINTER_TO_INT (g_thread_join (thread)), ==, GST_FLOW_FLUSHING);
  g_assert_cmpint (g_get_monotonic_time () - start, <, G_TIME_SPAN_SECOND);
  check_progress (stage, "start canceled");
  stage_free (stage);
}

static void
a_flush_lets_a_load_go_on (void)
{
  Stage *stage = stage_new (FALSE, "mode=archive max-in-flight=4");

  fake_script.load_ms = 150;
  stage_push (stage, 128, 0, 40);
  stage_flush (stage, 5 * GST_SECOND);
  stage_push (stage, 235, 5000, 40);
  stage_wait_for_captions (stage, 1);
  check_progress (stage, "start complete");
  g_assert_cmpuint (fake_get_counts ().n_loads, ==, 1);
  g_assert_cmpuint (stage->captions->len, ==, 1);
  g_assert_cmpuint (stage_get_time (stage, 0, "pts"), ==, 5 * GST_SECOND);
  stage_free (stage);
}

static void
an_archive_captions_the_frames_from_before_the_weights_were_there (void)
{
  Stage *stage = stage_new (FALSE, "mode=archive max-in-flight=4");

  fake_script.load_ms = 100;
  for (guint i = 0; i < 10; i++)
    stage_push (stage, 128, i * 1000, 1000);
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  g_autofree char *times = stage_list_times (stage);
  g_assert_cmpstr (times, ==, "0 1000 2000 3000 4000 5000 6000 7000 8000 9000");
  stage_free (stage);
}

/* --- idle-timeout --- */

static void
wait_until_unloaded (void)
{
  const gint64 deadline = g_get_monotonic_time () + 10 * G_TIME_SPAN_SECOND;

  while (fake_get_counts ().n_models > 0) {
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
    g_usleep (1000);
  }
}

static void
an_idle_model_is_given_up_and_loaded_again_for_the_next_frame (void)
{
  Stage *stage = stage_new (FALSE, "mode=archive max-in-flight=1 idle-timeout=50000000");

  for (guint i = 0; i < 3; i++) {
    stage_push (stage, 128, i * 1000, 1000);
    stage_wait_for_captions (stage, i + 1);
    wait_until_unloaded ();
    g_assert_cmpuint (fake_get_counts ().n_states, ==, 0);
  }
  g_assert_cmpuint (fake_get_counts ().n_loads, ==, 3);
  check_progress (stage, "start complete start complete start complete");
  stage_free (stage);
}

static void
a_model_that_works_is_not_idle (void)
{
  Stage *stage = stage_new (FALSE, "mode=archive idle-timeout=20000000");

  fake_script.encode_ms = 150;
  for (guint i = 0; i < 3; i++)
    stage_push (stage, 128, i * 1000, 1000);
  g_assert_cmpuint (fake_get_counts ().n_loads, ==, 1);
  stage_free (stage);
}

static void
a_reload_that_fails_is_told_as_the_first_one_is (void)
{
  Stage *stage = stage_new (FALSE, "mode=live idle-timeout=30000000");

  stage_push (stage, 128, 0, 1000);
  stage_wait_for_captions (stage, 1);
  wait_until_unloaded ();
  fake_script.open_error = MLLAMA_ERROR_NOT_FOUND;
  stage_push (stage, 128, 1000, 1000);
  stage_wait_for_captions (stage, 2);
  check_progress (stage, "start complete start error");
  stage_free (stage);
}

static void
a_prompt_set_while_unloaded_is_asked_of_the_next_frame (void)
{
  Stage *stage = stage_new (FALSE, "mode=live interval=1000000000 idle-timeout=30000000 scene-threshold=0.1");

  stage_push (stage, 128, 0, 1000);
  stage_wait_for_captions (stage, 1);
  wait_until_unloaded ();
  g_object_set (stage->element, "prompt", "Two", NULL);
  stage_push (stage, 128, 1000, 1000);
  stage_wait_for_captions (stage, 2);
  g_assert_cmpstr (stage_get_text (stage, 1), ==, "grey 64x48: Two");
  stage_free (stage);
}

static void
add_tests (void)
{
  g_test_add_func ("/loading/progress_starts_with_the_first_buffer_and_not_before",
                   progress_starts_with_the_first_buffer_and_not_before);
  g_test_add_func ("/loading/a_failed_load_ends_progress_with_an_error", a_failed_load_ends_progress_with_an_error);
  g_test_add_func ("/loading/ready_cancels_a_load_and_says_so", ready_cancels_a_load_and_says_so);
  g_test_add_func ("/loading/ready_frees_a_chain_that_waits_for_the_weights",
                   ready_frees_a_chain_that_waits_for_the_weights);
  g_test_add_func ("/loading/a_flush_lets_a_load_go_on", a_flush_lets_a_load_go_on);
  g_test_add_func ("/loading/an_archive_captions_the_frames_from_before_the_weights_were_there",
                   an_archive_captions_the_frames_from_before_the_weights_were_there);
  g_test_add_func ("/idle/a_model_is_given_up_and_loaded_again_for_the_next_frame",
                   an_idle_model_is_given_up_and_loaded_again_for_the_next_frame);
  g_test_add_func ("/idle/a_model_that_works_is_not_idle", a_model_that_works_is_not_idle);
  g_test_add_func ("/idle/a_reload_that_fails_is_told_as_the_first_one_is",
                   a_reload_that_fails_is_told_as_the_first_one_is);
  g_test_add_func ("/idle/a_prompt_set_while_unloaded_is_asked_of_the_next_frame",
                   a_prompt_set_while_unloaded_is_asked_of_the_next_frame);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
