/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Many elements of one process on one model of the real engine. MLLAMA_SOAK_SECONDS (default 18) is how long the
 * streams are handled at random, MLLAMA_SOAK_SEED says how; a full run takes 300. */
#include <stdlib.h>
#include <string.h>
#include "soak.h"
#include "stacks.h"

#define N_STREAMS    16
#define N_COMPANIONS 31
#define N_FRAMES     6
#define N_PHASES     3

static char *
find_model (void)
{
  return g_build_filename (g_getenv ("MLLAMA_TEST_SOURCE_DIR"), "golden", "checkpoints", "hub", NULL);
}

static guint
read_number (const char *name, guint otherwise)
{
  const char *value = g_getenv (name);

  return value ? (guint) g_ascii_strtoull (value, NULL, 10) : otherwise;
}

static double
read_statistic (GstElement *element, const char *name)
{
  g_autoptr (GstStructure) statistics = NULL;
  guint64 number = 0;
  double value = 0;

  g_object_get (element, "stats", &statistics, NULL);
  if (gst_structure_get_uint64 (statistics, name, &number))
    return (double) number;
  g_assert_true (gst_structure_get_double (statistics, name, &value));
  return value;
}

/* --- answers do not depend on companions --- */

typedef struct {
  GstElement *pipeline;
  GString *answers; /* ids and log-probabilities, to the last digit */
  guint n_answers;
  gboolean is_over;
  GMutex lock; /* guards what is above, but for pipeline */
  GCond changed;
} Listener;

static void
write_numbers (Listener *listener, const GstStructure *structure, const char *name)
{
  const GValue *array = gst_structure_get_value (structure, name);

  g_string_append_printf (listener->answers, " %s", name);
  for (guint i = 0; i < gst_value_array_get_size (array); i++) {
    const GValue *value = gst_value_array_get_value (array, i);
    if (G_VALUE_HOLDS_INT (value))
      g_string_append_printf (listener->answers, " %d", g_value_get_int (value));
    else
      g_string_append_printf (listener->answers, " %a", g_value_get_double (value));
  }
}

static GstBusSyncReply
listen (GstBus *bus, GstMessage *message, gpointer data)
{
  Listener *listener = data;
  const GstStructure *structure = gst_message_get_structure (message);

  g_mutex_lock (&listener->lock);
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ELEMENT && gst_structure_has_name (structure, "mllama-caption")) {
    guint64 pts;
    g_assert_true (gst_structure_get_uint64 (structure, "pts", &pts));
    g_string_append_printf (listener->answers, "%" G_GUINT64_FORMAT, pts);
    write_numbers (listener, structure, "token-ids");
    write_numbers (listener, structure, "logprobs");
    g_string_append_c (listener->answers, '\n');
    listener->n_answers++;
  }
  g_assert_cmpint (GST_MESSAGE_TYPE (message), !=, GST_MESSAGE_ERROR);
  listener->is_over |= GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS;
  g_cond_broadcast (&listener->changed);
  g_mutex_unlock (&listener->lock);
  gst_message_unref (message);
  return GST_BUS_DROP;
}

/* The stream that is compared ends; its companions go on until they are stopped. */
static Listener *
listener_new (const char *model, guint number, gint n_frames)
{
  Listener *listener = g_new0 (Listener, 1);
  g_autofree char *properties =
      g_strdup_printf ("interval=0 max-tokens=%u temperature=%u seed=%u prompt=\"Question %u?\"", 12 + number % 5,
                       number % 2, number, number);

  listener->answers = g_string_new (NULL);
  listener->pipeline = soak_launch (model, number, properties);
  g_autoptr (GstElement) source = gst_bin_get_by_name (GST_BIN (listener->pipeline), "v");
  g_object_set (source, "num-buffers", n_frames, NULL);
  g_autoptr (GstBus) bus = gst_pipeline_get_bus (GST_PIPELINE (listener->pipeline));
  gst_bus_set_sync_handler (bus, listen, listener, NULL);
  return listener;
}

static char *
listener_free (Listener *listener)
{
  char *answers;

  gst_element_set_state (listener->pipeline, GST_STATE_NULL);
  gst_object_unref (listener->pipeline);
  answers = g_string_free (listener->answers, FALSE);
  g_free (listener);
  return answers;
}

static void
wait_for (Listener *listener, guint n_answers, gboolean end)
{
  g_mutex_lock (&listener->lock);
  while (listener->n_answers < n_answers || (end && !listener->is_over))
    g_cond_wait (&listener->changed, &listener->lock);
  g_mutex_unlock (&listener->lock);
}

static char *
play_alone (const char *model, guint number)
{
  Listener *listener = listener_new (model, number, N_FRAMES);

  gst_element_set_state (listener->pipeline, GST_STATE_PLAYING);
  wait_for (listener, N_FRAMES, TRUE);
  return listener_free (listener);
}

static void
ids_and_logprobs_are_the_same_alone_and_beside_31_other_streams (void)
{
  g_autofree char *model = find_model ();
  Listener *companions[N_COMPANIONS];

  for (guint i = 0; i < 2; i++) {
    g_autofree char *alone = play_alone (model, i);
    for (guint c = 0; c < N_COMPANIONS; c++) {
      companions[c] = listener_new (model, 2 + c, -1);
      gst_element_set_state (companions[c]->pipeline, GST_STATE_PLAYING);
    }
    for (guint c = 0; c < N_COMPANIONS; c++)
      wait_for (companions[c], 1, FALSE);
    g_autofree char *together = play_alone (model, i);
    g_autoptr (GstElement) element = gst_bin_get_by_name (GST_BIN (companions[0]->pipeline), "c");
    /* Else there was nobody beside it. */
    g_assert_cmpfloat (read_statistic (element, "rows-per-step"), >, 2);
    for (guint c = 0; c < N_COMPANIONS; c++)
      g_free (listener_free (companions[c]));
    g_assert_cmpstr (alone, ==, together);
  }
}

static void
elements_with_the_same_model_share_one_engine (void)
{
  g_autofree char *model = find_model ();
  Listener *one = listener_new (model, 0, N_FRAMES), *other = listener_new (model, 1, N_FRAMES);
  g_autoptr (GstElement) first = gst_bin_get_by_name (GST_BIN (one->pipeline), "c");
  g_autoptr (GstElement) second = gst_bin_get_by_name (GST_BIN (other->pipeline), "c");

  gst_element_set_state (one->pipeline, GST_STATE_PLAYING);
  wait_for (one, N_FRAMES, TRUE);
  gst_element_set_state (other->pipeline, GST_STATE_PLAYING);
  wait_for (other, N_FRAMES, TRUE);
  /* Both tell of the steps of both. */
  g_assert_cmpfloat (read_statistic (first, "decode-steps"), ==, read_statistic (second, "decode-steps"));
  g_assert_cmpfloat (read_statistic (first, "decode-steps"), >, N_FRAMES * 16);
  g_free (listener_free (one));
  g_free (listener_free (other));
}

/* --- 16 streams, handled at random --- */

static SoakSettings
choose_settings (const char *model)
{
  return (SoakSettings){.model = model,
                        .n_streams = N_STREAMS,
                        .seed = read_number ("MLLAMA_SOAK_SEED", 1),
                        .seconds = (double) read_number ("MLLAMA_SOAK_SECONDS", 18) / N_PHASES,
                        .patience_s = 30};
}

static guint64
count_captions (const SoakPhase *phases, guint from)
{
  guint64 n_captions = 0;

  for (guint p = from; p < N_PHASES; p++)
    n_captions += phases[p].n_captions;
  return n_captions;
}

/* Over all phases: a stream that is stopped more often than others in one is not in the next. Where sanitizers leave a
 * handful of captions for each, chance decides who gets them. */
static void
assert_fair (const SoakPhase *phases)
{
  double rates[N_STREAMS] = {0}, sum = 0;

  if (count_captions (phases, 0) < 50 * N_STREAMS) {
    g_test_message ("too few captions to tell whether they are shared out fairly");
    return;
  }
  for (guint i = 0; i < N_STREAMS; i++) {
    for (guint p = 0; p < N_PHASES; p++)
      rates[i] += phases[p].rates[i] / N_PHASES;
    sum += rates[i];
  }
  for (guint i = 0; i < N_STREAMS; i++) {
    g_test_message ("stream %u: %.2f captions/s", i, rates[i]);
    g_assert_cmpfloat (rates[i], >=, sum / N_STREAMS / 2);
  }
}

/* The constant is for what grows once, and for what a short run happens to hold at its end: the full one has so many
 * captions that a pointer left behind by each would show. */
static void
assert_flat (const SoakPhase *phases)
{
  const guint64 n_captions = count_captions (phases, 1);

  g_assert_cmpuint (n_captions, >, N_STREAMS);
  g_assert_cmpuint (phases[N_PHASES - 1].heap_bytes, <=, phases[0].heap_bytes + 1000000 + 6 * n_captions);
}

static void
sixteen_streams_are_served_fairly_and_together_however_they_are_handled (void)
{
  g_autofree char *model = find_model ();
  const SoakSettings settings = choose_settings (model);
  /* Keeps the model, and with it what it has counted. */
  g_autoptr (GstElement) keeper = gst_object_ref_sink (gst_element_factory_make ("mllamacaption", NULL));
  SoakPhase phases[N_PHASES];

  g_object_set (keeper, "model", model, NULL);
  g_assert_cmpint (gst_element_set_state (keeper, GST_STATE_READY), ==, GST_STATE_CHANGE_SUCCESS);
  for (guint i = 0; i < N_PHASES; i++) {
    soak_run (&settings, i, &phases[i]);
    g_test_message ("phase %u: %" G_GUINT64_FORMAT " captions, %" G_GUINT64_FORMAT
                    " acts, %.2f rows a step so far, %.1f KB of heap",
                    i, phases[i].n_captions, phases[i].n_acts, read_statistic (keeper, "rows-per-step"),
                    (double) phases[i].heap_bytes / 1e3);
    g_assert_cmpstr (phases[i].first_error, ==, "");
  }
  assert_fair (phases);
  assert_flat (phases);
  g_assert_cmpfloat (read_statistic (keeper, "rows-per-step"), >, 4);
  gst_element_set_state (keeper, GST_STATE_NULL);
}

static void
a_stream_that_hangs_is_found_and_every_thread_is_shown (void)
{
  g_autofree char *model = find_model ();
  SoakSettings settings = choose_settings (model);
  SoakPhase phase;

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
  /* It keeps signals back from threads that wait. */
  g_test_skip ("ThreadSanitizer");
  return;
#endif
#endif
  if (g_test_subprocess ()) {
    settings.n_streams = 2;
    settings.patience_s = 2;
    settings.is_stuck = TRUE;
    soak_run (&settings, 0, &phase);
    return;
  }
  g_test_trap_subprocess (NULL, 60 * G_USEC_PER_SEC, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_failed ();
  g_test_trap_assert_stderr ("*stream 0 has shown no life for 2 s*thread*soak*thread*mllama-worker*");
}

int
main (int argc, char **argv)
{
  stacks_init ();
  gst_init (&argc, &argv);
  g_test_init (&argc, &argv, NULL);
#define CASE(name) g_test_add_func ("/sharing/" #name, name)
  CASE (elements_with_the_same_model_share_one_engine);
  CASE (ids_and_logprobs_are_the_same_alone_and_beside_31_other_streams);
  CASE (sixteen_streams_are_served_fairly_and_together_however_they_are_handled);
  CASE (a_stream_that_hangs_is_found_and_every_thread_is_shown);
  return g_test_run ();
}
