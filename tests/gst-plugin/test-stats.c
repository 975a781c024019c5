/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The property stats: what it counts, and the times it keeps. */
#include <string.h>
#include "rig.h"
#include "stats.h"

#define RED "pattern=red ! video/x-raw,format=I420,width=64,height=64,framerate=10/1"

static GType
get_type (const GstStructure *stats, const char *field)
{
  g_test_message ("%s", field);
  return gst_structure_get_field_type (stats, field);
}

static void
has_every_field_with_its_type (void)
{
  static const char *const counts[] = {
      "frames-seen", "frames-chosen", "frames-gated", "frames-replaced", "frames-failed", "captions",     "tokens",
      "encodes",     "states-reused", "decode-steps", "weight-bytes",    "kv-bytes",      "states-bytes", "gpu-bytes"};
  static const char *const times[] = {"load-time",    "queue-time",  "encode-time",
                                      "prefill-time", "decode-time", "latency"};
  static const char *const figures[] = {"last", "mean", "p50", "p95"};
  GstElement *element = gst_object_ref_sink (gst_element_factory_make ("mllamacaption", NULL));
  g_autoptr (GstStructure) stats = NULL;

  g_object_get (element, "stats", &stats, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (counts); i++)
    g_assert_cmpuint (get_type (stats, counts[i]), ==, G_TYPE_UINT64);
  for (guint i = 0; i < G_N_ELEMENTS (times); i++) {
    for (guint k = 0; k < G_N_ELEMENTS (figures); k++) {
      g_autofree char *name = g_strconcat (times[i], "-", figures[k], NULL);
      g_assert_cmpuint (get_type (stats, name), ==, G_TYPE_UINT64);
    }
  }
  g_assert_cmpuint (get_type (stats, "rows-per-step"), ==, G_TYPE_DOUBLE);
  g_assert_cmpuint (get_type (stats, "mode"), ==, G_TYPE_STRING);
  g_assert_cmpuint (get_type (stats, "loaded"), ==, G_TYPE_BOOLEAN);
  g_assert_cmpuint (get_type (stats, "frames-in-flight"), ==, G_TYPE_UINT);
  g_assert_cmpint (gst_structure_n_fields (stats), ==, 14 + 6 * 4 + 4);
  gst_object_unref (element);
}

static void
frames_are_counted_by_what_became_of_them (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=60 " RED " ! mllamacaption name=c prompts=\"<One,Two>\" "
                      "scene-threshold=0.1 max-interval=2000000000 on-error=warn ! fakesink");

  fake_script.encode_error = MLLAMA_ERROR_NOT_FINITE;
  fake_script.first_failing_encode = 2;
  fake_script.n_failing_encodes = 1;
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait_for_end (rig);
  g_assert_no_error (rig->error);
  /* At 0 s answered, at 1 s unchanged, at 2 s failed, so at 3 s answered, at 4 s unchanged, at 5 s answered. */
  g_assert_cmpuint (rig_get_stat (rig, "frames-seen"), ==, 60);
  g_assert_cmpuint (rig_get_stat (rig, "frames-chosen"), ==, 4);
  g_assert_cmpuint (rig_get_stat (rig, "frames-gated"), ==, 2);
  g_assert_cmpuint (rig_get_stat (rig, "frames-failed"), ==, 1);
  g_assert_cmpuint (rig_get_stat (rig, "frames-replaced"), ==, 0);
  g_assert_cmpuint (rig_get_stat (rig, "captions"), ==, 6);
  g_assert_cmpuint (rig_get_stat (rig, "encodes"), ==, 3);
  g_assert_cmpuint (rig_get_stat (rig, "states-reused"), ==, 3);
  g_assert_cmpuint (rig_get_stat (rig, "tokens"), ==, 18);
  rig_free (rig);
}

static void
replaced_frames_are_counted (void)
{
  Rig *rig = rig_new ("videotestsrc is-live=true num-buffers=15 " RED " ! mllamacaption name=c interval=0 ! fakesink");

  fake_script.encode_ms = 400;
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait_for_end (rig);
  g_assert_cmpuint (rig_get_stat (rig, "frames-chosen"), ==, 15);
  g_assert_cmpuint (rig_get_stat (rig, "frames-replaced"), >=, 8);
  g_assert_cmpuint (rig_get_stat (rig, "frames-replaced") + rig_get_stat (rig, "captions"), ==, 15);
  g_assert_cmpuint (rig_get_stat (rig, "captions"), ==, rig->captions->len);
  rig_free (rig);
}

static void
questions_asked_together_share_steps (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=20 " RED " ! mllamacaption name=c prompts=\"<A,B,C,D>\" ! fakesink");
  g_autoptr (GstStructure) stats = NULL;
  double rows;

  fake_script.token_ms = 3;
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait_for_end (rig);
  g_object_get (rig->element, "stats", &stats, NULL);
  g_assert_true (gst_structure_get_double (stats, "rows-per-step", &rows));
  g_assert_cmpfloat (rows, >, 2);
  g_assert_cmpfloat (rows, <=, 4);
  rig_free (rig);
}

static void
times_are_those_of_the_captions (void)
{
  Rig *rig = rig_new ("videotestsrc num-buffers=30 " RED " ! mllamacaption name=c ! fakesink");
  static const char *const times[] = {"queue-time", "encode-time", "prefill-time", "decode-time", "latency"};

  fake_script.load_ms = 20;
  fake_script.encode_ms = 4;
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait_for_end (rig);
  g_assert_cmpuint (rig->captions->len, ==, 3);
  for (guint i = 0; i < G_N_ELEMENTS (times); i++) {
    g_autofree char *last = g_strconcat (times[i], "-last", NULL), *mean = g_strconcat (times[i], "-mean", NULL);
    guint64 sum = 0;
    for (guint k = 0; k < 3; k++)
      sum += rig_get_time (rig, k, times[i]);
    g_assert_cmpuint (rig_get_stat (rig, last), ==, rig_get_time (rig, 2, times[i]));
    g_assert_cmpuint (rig_get_stat (rig, mean), ==, sum / 3);
  }
  g_assert_cmpuint (rig_get_stat (rig, "load-time-last"), >=, 20 * GST_MSECOND);
  g_assert_cmpuint (rig_get_stat (rig, "encode-time-last"), ==, 4 * GST_MSECOND + 1000);
  g_assert_cmpuint (rig_get_stat (rig, "latency-last"), >=, rig_get_stat (rig, "encode-time-last"));
  rig_free (rig);
}

static guint64
read_figure (const GstMllamaCaptionStats *stats, const char *field)
{
  g_autoptr (GstStructure) structure = gst_structure_new_empty ("stats");
  guint64 value;

  gst_mllama_caption_stats_write (stats, structure);
  g_assert_true (gst_structure_get_uint64 (structure, field, &value));
  return value;
}

/* 1 to n in an order that is not theirs. */
static void
add_times (GstMllamaCaptionStats *stats, guint n)
{
  for (guint i = 0; i < n; i++)
    gst_mllama_caption_stats_add (stats, GST_MLLAMA_CAPTION_LATENCY, 1 + (i * 37 + 5) % n);
}

static void
quantiles_are_of_the_newest_and_the_mean_is_of_all (void)
{
  g_autofree GstMllamaCaptionStats *stats = g_new0 (GstMllamaCaptionStats, 1);

  g_assert_cmpuint (read_figure (stats, "latency-p95"), ==, 0);
  gst_mllama_caption_stats_add (stats, GST_MLLAMA_CAPTION_LATENCY, 7);
  g_assert_cmpuint (read_figure (stats, "latency-p50"), ==, 7);
  g_assert_cmpuint (read_figure (stats, "latency-p95"), ==, 7);
  memset (stats, 0, sizeof *stats);
  add_times (stats, 100);
  g_assert_cmpuint (read_figure (stats, "latency-p50"), ==, 50);
  g_assert_cmpuint (read_figure (stats, "latency-p95"), ==, 95);
  g_assert_cmpuint (read_figure (stats, "latency-last"), ==, 1 + (99 * 37 + 5) % 100);
  g_assert_cmpuint (read_figure (stats, "latency-mean"), ==, 5050 / 100);
  for (guint i = 0; i < GST_MLLAMA_CAPTION_STATS_SAMPLES; i++)
    gst_mllama_caption_stats_add (stats, GST_MLLAMA_CAPTION_LATENCY, 1000);
  g_assert_cmpuint (read_figure (stats, "latency-p50"), ==, 1000);
  g_assert_cmpuint (read_figure (stats, "latency-mean"), ==, (5050 + 256 * 1000) / 356);
  g_assert_cmpuint (read_figure (stats, "queue-time-p95"), ==, 0);
}

static void
gpu_bytes_are_those_of_a_model_on_a_gpu (void)
{
  for (guint cuda = 0; cuda < 2; cuda++) {
    Rig *rig = rig_new ("videotestsrc num-buffers=2 " RED " ! mllamacaption name=c ! fakesink");
    fake_script.cuda = cuda;
    gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
    rig_wait_for_end (rig);
    const guint64 held =
        rig_get_stat (rig, "weight-bytes") + rig_get_stat (rig, "kv-bytes") + rig_get_stat (rig, "states-bytes");
    g_assert_cmpuint (held, >, 0);
    g_assert_cmpuint (rig_get_stat (rig, "gpu-bytes"), ==, cuda ? held : 0);
    rig_free (rig);
  }
}

static void
add_tests (void)
{
  g_test_add_func ("/stats/has_every_field_with_its_type", has_every_field_with_its_type);
  g_test_add_func ("/stats/frames_are_counted_by_what_became_of_them", frames_are_counted_by_what_became_of_them);
  g_test_add_func ("/stats/replaced_frames_are_counted", replaced_frames_are_counted);
  g_test_add_func ("/stats/questions_asked_together_share_steps", questions_asked_together_share_steps);
  g_test_add_func ("/stats/times_are_those_of_the_captions", times_are_those_of_the_captions);
  g_test_add_func ("/stats/quantiles_are_of_the_newest_and_the_mean_is_of_all",
                   quantiles_are_of_the_newest_and_the_mean_is_of_all);
  g_test_add_func ("/stats/gpu_bytes_are_those_of_a_model_on_a_gpu", gpu_bytes_are_those_of_a_model_on_a_gpu);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
