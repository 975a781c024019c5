/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Subtitles from the element's text pads: each pad answers one prompt, holds a caption until its end is known, and
 * takes out of the text what would break the file. */
#include <gst/app/gstappsink.h>
#include "mllama-caption.h"

typedef struct {
  GstClockTime start, end; /* stream time */
  guint question;          /* number of the text pad */
  char *text;
} Cue;

struct _CaptionCues {
  guint n_sinks;
  GstAppSink **sinks;    /* [n_sinks] */
  GstClockTime *reached; /* [n_sinks] start of the newest cue of each */
  GPtrArray *pending;    /* of Cue, in order */
};

static void
free_cue (gpointer data)
{
  Cue *cue = data;

  g_free (cue->text);
  g_free (cue);
}

static gint
compare_cues (gconstpointer a, gconstpointer b)
{
  const Cue *cue_a = *(Cue *const *) a, *cue_b = *(Cue *const *) b;

  if (cue_a->start != cue_b->start)
    return cue_a->start < cue_b->start ? -1 : 1;
  return (cue_a->question > cue_b->question) - (cue_a->question < cue_b->question);
}

/* WebVTT has markup, so its text comes escaped; SubRip knows no escapes. */
static GstAppSink *
add_sink (const CaptionOptions *options, GstBin *pipeline, guint question)
{
  g_autoptr (GstCaps) caps = gst_caps_new_simple (
      "text/x-raw", "format", G_TYPE_STRING, options->format == CAPTION_FORMAT_VTT ? "pango-markup" : "utf8", NULL);
  g_autofree char *name = g_strdup_printf ("text_%u", question);
  GstElement *sink = gst_element_factory_make ("appsink", NULL);
  g_autoptr (GstPad) pad = gst_element_request_pad_simple (options->element, name);
  g_autoptr (GstPad) sink_pad = gst_element_get_static_pad (sink, "sink");

  g_object_set (pad, "hold", TRUE, NULL);
  if (options->prompts)
    g_object_set (pad, "prompt", options->prompts[question], NULL);
  g_object_set (sink, "caps", caps, "sync", FALSE, "async", FALSE, NULL);
  gst_bin_add (pipeline, sink);
  gst_pad_link (pad, sink_pad);
  return GST_APP_SINK (sink);
}

CaptionCues *
caption_cues_new (const CaptionOptions *options, GstBin *pipeline)
{
  CaptionCues *cues = g_new0 (CaptionCues, 1);

  cues->n_sinks = options->prompts ? g_strv_length (options->prompts) : 1;
  cues->sinks = g_new0 (GstAppSink *, cues->n_sinks);
  cues->reached = g_new0 (GstClockTime, cues->n_sinks);
  cues->pending = g_ptr_array_new_with_free_func (free_cue);
  for (guint i = 0; i < cues->n_sinks; i++)
    cues->sinks[i] = add_sink (options, pipeline, i);
  return cues;
}

static Cue *
make_cue (GstSample *sample, guint question)
{
  GstBuffer *buffer = gst_sample_get_buffer (sample);
  const GstSegment *segment = gst_sample_get_segment (sample);
  GstClockTime start = gst_segment_to_stream_time (segment, GST_FORMAT_TIME, GST_BUFFER_PTS (buffer));
  Cue *cue = g_new0 (Cue, 1);
  GstMapInfo map;

  cue->question = question;
  cue->start = GST_CLOCK_TIME_IS_VALID (start) ? start : 0;
  cue->end = cue->start + (GST_BUFFER_DURATION_IS_VALID (buffer) ? GST_BUFFER_DURATION (buffer) : GST_SECOND);
  if (gst_buffer_map (buffer, &map, GST_MAP_READ)) {
    cue->text = g_strndup ((const char *) map.data, map.size);
    gst_buffer_unmap (buffer, &map);
  }
  return cue;
}

static void
take_cues (CaptionCues *cues, guint question)
{
  GstSample *sample;

  while ((sample = gst_app_sink_try_pull_sample (cues->sinks[question], 0))) {
    Cue *cue = make_cue (sample, question);
    cues->reached[question] = cue->start;
    g_ptr_array_add (cues->pending, cue);
    gst_sample_unref (sample);
  }
}

guint
caption_cues_write (CaptionCues *cues, CaptionOutput *output, gboolean ended)
{
  GstClockTime settled = GST_CLOCK_TIME_NONE;
  guint n_written = 0;

  for (guint i = 0; i < cues->n_sinks; i++) {
    take_cues (cues, i);
    settled = MIN (settled, cues->reached[i]);
  }
  g_ptr_array_sort (cues->pending, compare_cues);
  for (; n_written < cues->pending->len; n_written++) {
    const Cue *cue = g_ptr_array_index (cues->pending, n_written);
    if (!ended && cues->n_sinks > 1 && cue->start >= settled)
      break;
    caption_output_write_cue (output, cue->start, cue->end, cue->text ? cue->text : "");
  }
  if (n_written > 0)
    g_ptr_array_remove_range (cues->pending, 0, n_written);
  if (ended)
    memset (cues->reached, 0, cues->n_sinks * sizeof *cues->reached);
  return n_written;
}

void
caption_cues_free (CaptionCues *cues)
{
  if (!cues)
    return;
  g_ptr_array_unref (cues->pending);
  g_free (cues->sinks);
  g_free (cues->reached);
  g_free (cues);
}
