/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Counts and times of an element since it left READY. Not thread-safe. */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

typedef enum {
  GST_MLLAMA_CAPTION_FRAMES_SEEN,
  GST_MLLAMA_CAPTION_FRAMES_CHOSEN,
  GST_MLLAMA_CAPTION_FRAMES_GATED,    /* due, but the scene was unchanged */
  GST_MLLAMA_CAPTION_FRAMES_REPLACED, /* chosen, and replaced by a newer one before the model took it */
  GST_MLLAMA_CAPTION_FRAMES_FAILED,
  GST_MLLAMA_CAPTION_CAPTIONS,
  GST_MLLAMA_CAPTION_TOKENS,
  GST_MLLAMA_CAPTION_ENCODES,
  GST_MLLAMA_CAPTION_STATES_REUSED,
  GST_MLLAMA_CAPTION_N_COUNTS,
} GstMllamaCaptionCount;

typedef enum {
  GST_MLLAMA_CAPTION_LOAD_TIME,
  GST_MLLAMA_CAPTION_QUEUE_TIME,
  GST_MLLAMA_CAPTION_ENCODE_TIME,
  GST_MLLAMA_CAPTION_PREFILL_TIME,
  GST_MLLAMA_CAPTION_DECODE_TIME,
  GST_MLLAMA_CAPTION_LATENCY,
  GST_MLLAMA_CAPTION_N_METRICS,
} GstMllamaCaptionMetric;

#define GST_MLLAMA_CAPTION_STATS_SAMPLES 256

/* The newest samples of one time; quantiles are over these, the mean over all. */
typedef struct {
  guint64 n, sum;
  guint64 samples[GST_MLLAMA_CAPTION_STATS_SAMPLES];
} GstMllamaCaptionSamples;

typedef struct {
  guint64 counts[GST_MLLAMA_CAPTION_N_COUNTS];
  GstMllamaCaptionSamples metrics[GST_MLLAMA_CAPTION_N_METRICS];
} GstMllamaCaptionStats;

void gst_mllama_caption_stats_add (GstMllamaCaptionStats *stats, GstMllamaCaptionMetric metric, guint64 ns);

/* Adds a field for each count, and NAME-last, -mean, -p50 and -p95 in ns for each time. */
void gst_mllama_caption_stats_write (const GstMllamaCaptionStats *stats, GstStructure *structure);

G_END_DECLS
