/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stats.h"

static const char *const count_names[] = {"frames-seen",     "frames-chosen", "frames-gated",
                                          "frames-replaced", "frames-failed", "captions",
                                          "tokens",          "encodes",       "states-reused"};
static const char *const metric_names[] = {"load-time",    "queue-time",  "encode-time",
                                           "prefill-time", "decode-time", "latency"};

G_STATIC_ASSERT (G_N_ELEMENTS (count_names) == GST_MLLAMA_CAPTION_N_COUNTS);
G_STATIC_ASSERT (G_N_ELEMENTS (metric_names) == GST_MLLAMA_CAPTION_N_METRICS);

void
gst_mllama_caption_stats_add (GstMllamaCaptionStats *stats, GstMllamaCaptionMetric metric, guint64 ns)
{
  GstMllamaCaptionSamples *samples = &stats->metrics[metric];

  samples->samples[samples->n % GST_MLLAMA_CAPTION_STATS_SAMPLES] = ns;
  samples->n++;
  samples->sum += ns;
}

static int
compare_times (const void *a, const void *b)
{
  const guint64 x = *(const guint64 *) a, y = *(const guint64 *) b;

  return x < y ? -1 : x > y;
}

static void
write_field (GstStructure *structure, const char *metric, const char *what, guint64 value)
{
  g_autofree char *name = g_strconcat (metric, "-", what, NULL);

  gst_structure_set (structure, name, G_TYPE_UINT64, value, NULL);
}

static void
write_metric (const GstMllamaCaptionSamples *samples, const char *name, GstStructure *structure)
{
  const guint n = (guint) MIN (samples->n, GST_MLLAMA_CAPTION_STATS_SAMPLES);
  guint64 sorted[GST_MLLAMA_CAPTION_STATS_SAMPLES] = {0};
  const guint64 last = samples->n > 0 ? samples->samples[(samples->n - 1) % GST_MLLAMA_CAPTION_STATS_SAMPLES] : 0;

  memcpy (sorted, samples->samples, n * sizeof *sorted);
  qsort (sorted, n, sizeof *sorted, compare_times);
  write_field (structure, name, "last", last);
  write_field (structure, name, "mean", samples->n > 0 ? samples->sum / samples->n : 0);
  write_field (structure, name, "p50", n > 0 ? sorted[(n - 1) / 2] : 0);
  write_field (structure, name, "p95", n > 0 ? sorted[(n * 95 + 99) / 100 - 1] : 0);
}

void
gst_mllama_caption_stats_write (const GstMllamaCaptionStats *stats, GstStructure *structure)
{
  for (guint i = 0; i < GST_MLLAMA_CAPTION_N_COUNTS; i++)
    gst_structure_set (structure, count_names[i], G_TYPE_UINT64, stats->counts[i], NULL);
  for (guint i = 0; i < GST_MLLAMA_CAPTION_N_METRICS; i++)
    write_metric (&stats->metrics[i], metric_names[i], structure);
}
