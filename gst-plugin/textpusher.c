/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "textpusher.h"

GST_DEBUG_CATEGORY_EXTERN (gst_mllama_caption_debug);
#define GST_CAT_DEFAULT gst_mllama_caption_debug

#define PARTIAL_DURATION (200 * GST_MSECOND)

void
gst_mllama_caption_pusher_init (GstMllamaCaptionPusher *self, GstPad *pad)
{
  memset (self, 0, sizeof *self);
  self->pad = pad;
  self->position = GST_CLOCK_TIME_NONE;
  gst_segment_init (&self->segment, GST_FORMAT_TIME);
}

void
gst_mllama_caption_pusher_clear (GstMllamaCaptionPusher *self)
{
  g_clear_pointer (&self->held, gst_mllama_caption_answer_unref);
}

static void
post_flow_error (GstMllamaCaptionPusher *self, GstFlowReturn flow)
{
  g_autoptr (GstObject) element = gst_object_get_parent (GST_OBJECT (self->pad));

  self->broken = TRUE;
  if (element)
    GST_ELEMENT_FLOW_ERROR (element, flow);
}

/* Text where downstream takes text, in the format it prefers; JSON only where it takes nothing else. */
static GstCaps *
choose_caps (GstMllamaCaptionPusher *self)
{
  g_autoptr (GstCaps) peer = gst_pad_peer_query_caps (self->pad, NULL);
  g_autoptr (GstCaps) text = gst_caps_from_string ("text/x-raw, format=(string){ utf8, pango-markup }");
  g_autoptr (GstCaps) json = gst_caps_new_empty_simple ("application/x-json");
  GstCaps *caps = gst_caps_intersect_full (peer, text, GST_CAPS_INTERSECT_FIRST);

  if (gst_caps_is_empty (caps)) {
    gst_caps_unref (caps);
    caps = gst_caps_intersect_full (peer, json, GST_CAPS_INTERSECT_FIRST);
  }
  return gst_caps_is_empty (caps) ? caps : gst_caps_fixate (caps);
}

static gboolean
negotiate (GstMllamaCaptionPusher *self)
{
  g_autoptr (GstCaps) caps = choose_caps (self);
  g_autoptr (GstCaps) current = gst_pad_get_current_caps (self->pad);

  if (gst_caps_is_empty (caps))
    return FALSE;
  const GstStructure *structure = gst_caps_get_structure (caps, 0);
  if (gst_structure_has_name (structure, "application/x-json"))
    self->format = GST_MLLAMA_CAPTION_TEXT_JSON;
  else if (g_strcmp0 (gst_structure_get_string (structure, "format"), "pango-markup") == 0)
    self->format = GST_MLLAMA_CAPTION_TEXT_MARKUP;
  else
    self->format = GST_MLLAMA_CAPTION_TEXT_UTF8;
  if (!current || !gst_caps_is_equal (current, caps))
    gst_pad_push_event (self->pad, gst_event_new_caps (caps));
  return TRUE;
}

static void
ensure_caps (GstMllamaCaptionPusher *self)
{
  if ((gst_pad_check_reconfigure (self->pad) || !gst_pad_has_current_caps (self->pad)) && !negotiate (self))
    post_flow_error (self, GST_FLOW_NOT_NEGOTIATED);
}

static void
push_gap (GstMllamaCaptionPusher *self, GstClockTime start, GstClockTime duration)
{
  ensure_caps (self);
  if (!self->broken)
    gst_pad_push_event (self->pad, gst_event_new_gap (start, duration));
}

static void
advance (GstMllamaCaptionPusher *self, GstClockTime to)
{
  if (!GST_CLOCK_TIME_IS_VALID (self->position) || to <= self->position)
    return;
  push_gap (self, self->position, to - self->position);
  self->position = to;
}

static void
push_text (GstMllamaCaptionPusher *self, const GstStructure *structure, GstClockTime start, GstClockTime end)
{
  advance (self, start);
  ensure_caps (self);
  if (self->broken)
    return;
  GstBuffer *buffer = gst_mllama_caption_text_to_buffer (self->format, structure);
  if (gst_buffer_get_size (buffer) == 0) {
    gst_buffer_unref (buffer);
    advance (self, end);
    return;
  }
  GST_BUFFER_PTS (buffer) = start;
  GST_BUFFER_DURATION (buffer) = end - start;
  self->position = MAX (self->position, end);
  GstFlowReturn flow = gst_pad_push (self->pad, buffer);
  GST_LOG_OBJECT (self->pad, "pushed text of %" GST_TIME_FORMAT ": %s", GST_TIME_ARGS (start),
                  gst_flow_get_name (flow));
  /* A pad that is not linked, or whose branch has ended, does not stop messages and metadata. */
  if (flow == GST_FLOW_NOT_NEGOTIATED || flow <= GST_FLOW_ERROR)
    post_flow_error (self, flow);
}

static void
push_caption (GstMllamaCaptionPusher *self, GstMllamaCaptionAnswer *answer, GstClockTime start, GstClockTime end)
{
  g_autoptr (GstStructure) structure = gst_mllama_caption_answer_to_structure (answer, NULL);

  push_text (self, structure, start, end);
}

static void
push_held (GstMllamaCaptionPusher *self, GstClockTime end)
{
  g_autoptr (GstMllamaCaptionAnswer) answer = g_steal_pointer (&self->held);

  if (answer)
    push_caption (self, answer, self->held_start, end > self->held_start ? end : self->held_end);
}

static void
push_answer (GstMllamaCaptionPusher *self, GstMllamaCaptionItem *item, gboolean hold)
{
  const gboolean caption = gst_mllama_caption_answer_is_caption (item->answer);

  if (self->held && self->held == item->answer) {
    self->held_end = item->end;
    return;
  }
  push_held (self, item->start);
  if (!caption) {
    /* What was dropped leaves its time to the frames that follow. */
    if (item->answer->finish_reason != MLLAMA_FINISH_NONE)
      advance (self, item->end);
  } else if (hold) {
    /* Sinks need something to preroll on. */
    advance (self, item->start);
    push_gap (self, item->start, 0);
    self->held = gst_mllama_caption_answer_ref (item->answer);
    self->held_start = item->start;
    self->held_end = item->end;
  } else {
    push_caption (self, item->answer, item->start, item->end);
  }
}

static void
cover (GstMllamaCaptionPusher *self, const GstMllamaCaptionItem *item)
{
  if (self->segment.rate < 0) {
    if (item->end > item->start)
      push_gap (self, item->start, item->end - item->start);
    return;
  }
  self->covered = item->end;
  if (self->held)
    return;
  /* Muxers go by where a text starts: while it lasts, GAPs tell them that no other one has come. */
  if (GST_CLOCK_TIME_IS_VALID (self->position) && item->end <= self->position && item->end > item->start)
    push_gap (self, item->start, item->end - item->start);
  else
    advance (self, item->end);
}

static void
push_event (GstMllamaCaptionPusher *self, GstEvent *event)
{
  push_held (self, self->covered);
  if (GST_EVENT_TYPE (event) == GST_EVENT_SEGMENT) {
    gst_event_copy_segment (event, &self->segment);
    self->position = self->segment.start;
    self->covered = 0;
    ensure_caps (self);
  }
  if (!self->broken || GST_EVENT_TYPE (event) == GST_EVENT_EOS)
    gst_pad_push_event (self->pad, gst_event_ref (event));
}

void
gst_mllama_caption_pusher_push (GstMllamaCaptionPusher *self, GstMllamaCaptionItem *item, gboolean hold)
{
  switch (item->type) {
  case GST_MLLAMA_CAPTION_ITEM_EVENT:
    push_event (self, item->event);
    break;
  case GST_MLLAMA_CAPTION_ITEM_COVER:
    cover (self, item);
    break;
  case GST_MLLAMA_CAPTION_ITEM_ANSWER:
    push_answer (self, item, hold);
    break;
  case GST_MLLAMA_CAPTION_ITEM_PARTIAL:
    if (!hold)
      push_text (self, item->partial, item->start, item->start + PARTIAL_DURATION);
    break;
  }
}
