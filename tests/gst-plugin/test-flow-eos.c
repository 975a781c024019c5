/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of a stream: what was begun is finished first, and what breaks that wait. */
#include "rig.h"
#include "stage.h"

#define LONG "prompt=\"a b c d e f g h i j k l m n o p q r s t u v w x y z\" "

static gpointer
send_eos (gpointer data)
{
  gst_pad_push_event (((Stage *) data)->in, gst_event_new_eos ());
  return NULL;
}

/* Sends EOS from a thread of its own; at this point it waits for captions. */
static GThread *
begin_eos (Stage *stage)
{
  GThread *thread = g_thread_new ("eos", send_eos, stage);

  /* The answer runs, and a while later EOS has not passed. */
  while (fake_get_counts ().n_tokens < 2)
    g_usleep (1000);
  g_usleep (50000);
  g_assert_cmpint (stage_find (stage, "eos"), <, 0);
  return thread;
}

static void
captions_then_text_then_video_end (void)
{
  static const struct {
    gboolean text;
    const char *settings;
  } cases[] = {
      {TRUE, "mode=archive max-in-flight=8"}, {TRUE, "mode=live"}, {FALSE, "mode=archive"}, {FALSE, "mode=live"}};

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    Stage *stage = stage_new (cases[i].text, cases[i].settings);
    fake_script.encode_ms = 80;
    stage_push (stage, 16, 0, 1000);
    stage_push (stage, 235, 1000, 1000);
    gst_pad_push_event (stage->in, gst_event_new_eos ());
    stage_listen (stage);
    /* Live, the second may have replaced the first; the last is always there. */
    g_assert_cmpuint (stage->captions->len, >=, i % 2 == 0 ? 2 : 1);
    g_assert_cmpstr (stage_get_text (stage, stage->captions->len - 1), ==, "white 64x48: What");
    g_assert_cmpint (stage_find (stage, "eos"), >, stage_find (stage, "video 1000"));
    if (cases[i].text) {
      g_autofree char *texts = stage_join (stage, "text ");
      g_assert_true (g_str_has_suffix (texts, " white 64x48: What"));
      g_assert_cmpint (stage_find (stage, "text-eos"), <, stage_find (stage, "eos"));
    }
    stage_free (stage);
  }
}

static void
archive_waits_as_long_as_it_takes (void)
{
  Stage *stage = stage_new (TRUE, "mode=archive eos-timeout=1000000 max-in-flight=4");

  fake_script.encode_ms = 300;
  stage_push (stage, 16, 0, 1000);
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  stage_listen (stage);
  g_assert_cmpstr (stage_get_text (stage, 0), ==, "black 64x48: What");
  stage_free (stage);
}

/* Loading may take minutes, and is no answer that runs. */
static void
eos_timeout_holds_while_the_model_loads (void)
{
  Stage *stage = stage_new (TRUE, "mode=live eos-timeout=100000000");
  const gint64 start = g_get_monotonic_time ();

  fake_script.load_ms = 6000;
  stage_push (stage, 16, 0, 40);
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  g_assert_cmpint (g_get_monotonic_time () - start, <, 2 * G_TIME_SPAN_SECOND);
  g_assert_cmpint (stage_find (stage, "text-eos"), >, 0);
  g_assert_cmpint (stage_find (stage, "eos"), >, 0);
  stage_listen (stage);
  g_assert_cmpuint (stage->captions->len, ==, 1);
  g_assert_cmpstr (gst_structure_get_string (g_ptr_array_index (stage->captions, 0), "finish-reason"), ==, "cancelled");
  stage_free (stage);
}

static void
eos_timeout_ends_an_encode (void)
{
  Stage *stage = stage_new (TRUE, "mode=live eos-timeout=100000000");
  const gint64 start = g_get_monotonic_time ();

  fake_script.encode_ms = 6000;
  stage_push (stage, 16, 0, 40);
  gst_pad_push_event (stage->in, gst_event_new_eos ());
  g_assert_cmpint (g_get_monotonic_time () - start, <, 2 * G_TIME_SPAN_SECOND);
  g_assert_cmpint (stage_find (stage, "eos"), >, 0);
  stage_free (stage);
}

static void
a_flush_breaks_the_wait (void)
{
  static const char *const modes[] = {"mode=live eos-timeout=18446744073709551615", "mode=archive max-in-flight=4"};

  for (guint i = 0; i < G_N_ELEMENTS (modes); i++) {
    g_autofree char *settings = g_strconcat (LONG, modes[i], NULL);
    Stage *stage = stage_new (TRUE, settings);
    fake_script.token_ms = 300;
    stage_push (stage, 16, 0, 40);
    GThread *thread = begin_eos (stage);
    const gint64 start = g_get_monotonic_time ();
    gst_pad_push_event (stage->in, gst_event_new_flush_start ());
    g_thread_join (thread);
    g_assert_cmpint (g_get_monotonic_time () - start, <, 2 * G_TIME_SPAN_SECOND);
    g_assert_cmpint (stage_find (stage, "eos"), <, 0);
    g_assert_cmpint (stage_find (stage, "text-eos"), <, 0);
    stage_listen (stage);
    g_assert_cmpuint (stage->captions->len, ==, 0);
    stage_free (stage);
  }
}

static void
shutdown_breaks_the_wait (void)
{
  Stage *stage = stage_new (TRUE, LONG "mode=archive max-in-flight=4");

  fake_script.token_ms = 300;
  stage_push (stage, 16, 0, 40);
  GThread *thread = begin_eos (stage);
  const gint64 start = g_get_monotonic_time ();
  gst_element_set_state (stage->element, GST_STATE_READY);
  g_thread_join (thread);
  g_assert_cmpint (g_get_monotonic_time () - start, <, 2 * G_TIME_SPAN_SECOND);
  stage_free (stage);
}

static void
add_tests (void)
{
  g_test_add_func ("/eos/captions_then_text_then_video_end", captions_then_text_then_video_end);
  g_test_add_func ("/eos/archive_waits_as_long_as_it_takes", archive_waits_as_long_as_it_takes);
  g_test_add_func ("/eos/eos_timeout_holds_while_the_model_loads", eos_timeout_holds_while_the_model_loads);
  g_test_add_func ("/eos/eos_timeout_ends_an_encode", eos_timeout_ends_an_encode);
  g_test_add_func ("/eos/a_flush_breaks_the_wait", a_flush_breaks_the_wait);
  g_test_add_func ("/eos/shutdown_breaks_the_wait", shutdown_breaks_the_wait);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
