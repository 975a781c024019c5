/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Queries, and which pads belong together. */
#include "element.h"

GstIterator *
gst_mllama_caption_iterate_internal_links (GstPad *pad, GstObject *parent)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (parent);
  GstPad *other = pad == self->sinkpad ? self->srcpad : pad == self->srcpad ? self->sinkpad : NULL;
  GValue value = G_VALUE_INIT;

  g_value_init (&value, GST_TYPE_PAD);
  g_value_set_object (&value, other);
  GstIterator *links = gst_iterator_new_single (GST_TYPE_PAD, other ? &value : NULL);
  g_value_unset (&value);
  return links;
}

/* What src's peer takes, in its order of preference, as far as it is raw video. */
static gboolean
answer_caps (GstMllamaCaption *self, GstPad *pad, GstQuery *query)
{
  GstCaps *filter;
  g_autoptr (GstCaps) template = gst_pad_get_pad_template_caps (pad);

  gst_query_parse_caps (query, &filter);
  g_autoptr (GstCaps) peer = gst_pad_peer_query_caps (self->srcpad, filter);
  g_autoptr (GstCaps) caps = gst_caps_intersect_full (peer, template, GST_CAPS_INTERSECT_FIRST);
  gst_query_set_caps_result (query, caps);
  return TRUE;
}

/* Text pads have no say in it, and nothing of our own is promised: it would be a lie for what is downstream. */
gboolean
gst_mllama_caption_sink_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (parent);

  switch (GST_QUERY_TYPE (query)) {
  case GST_QUERY_CAPS:
    return answer_caps (self, pad, query);
  case GST_QUERY_ACCEPT_CAPS:
    return gst_pad_peer_query (self->srcpad, query) || gst_pad_query_default (pad, parent, query);
  case GST_QUERY_ALLOCATION:
    return gst_pad_peer_query (self->srcpad, query);
  default:
    return gst_pad_query_default (pad, parent, query);
  }
}

static gboolean
answer_latency (GstMllamaCaption *self, GstQuery *query)
{
  gboolean live;
  GstClockTime min, max;

  if (!gst_pad_peer_query (self->sinkpad, query))
    return FALSE;
  g_mutex_lock (&self->lock);
  const gint timestamps = self->settings.text_timestamps;
  const gboolean arrival = self->mode_known ? self->arrival : timestamps == GST_MLLAMA_CAPTION_TIMESTAMPS_ARRIVAL;
  const GstClockTime latency = arrival ? 0 : self->settings.latency;
  g_mutex_unlock (&self->lock);
  gst_query_parse_latency (query, &live, &min, &max);
  gst_query_set_latency (query, live, min + latency, GST_CLOCK_TIME_IS_VALID (max) ? max + latency : max);
  return TRUE;
}

/* Sinks of text ask for position, duration and seeking as sinks of video do. */
gboolean
gst_mllama_caption_text_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (parent);

  switch (GST_QUERY_TYPE (query)) {
  case GST_QUERY_LATENCY:
    return answer_latency (self, query);
  case GST_QUERY_POSITION:
  case GST_QUERY_DURATION:
  case GST_QUERY_SEEKING:
  case GST_QUERY_SEGMENT:
    return gst_pad_peer_query (self->sinkpad, query);
  default:
    return gst_pad_query_default (pad, parent, query);
  }
}
