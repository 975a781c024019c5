/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "textpusher.h"
#include "textpeer.h"

GST_DEBUG_CATEGORY_EXTERN (gst_mllama_caption_debug);
#define GST_CAT_DEFAULT gst_mllama_caption_debug

#define PARTIAL_DURATION (200 * GST_MSECOND)

/* A muxer that ignores GAPs writes video only up to where its newest text starts, and texts must not overlap in it. A
 * text that lasts long is therefore said again: if its end is sure, just before it, so that no video in between waits;
 * else a piece at a time as video goes on, so that the next text can start where it is due. */
#define PIECE_DURATION (100 * GST_MSECOND)
#define TAIL_DURATION  (10 * GST_MSECOND) /* shorter than a frame lasts */

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
  gst_clear_buffer (&self->repeated);
}

static void
post_flow_error (GstMllamaCaptionPusher *self, GstFlowReturn flow)
{
  g_autoptr (GstObject) element = gst_object_get_parent (GST_OBJECT (self->pad));

  self->broken = TRUE;
  if (element)
    GST_ELEMENT_FLOW_ERROR (element, flow);
}

/* Text where downstream takes text, plain unless it has to be markup; JSON only where it takes nothing else. */
static GstCaps *
choose_caps (GstMllamaCaptionPusher *self)
{
  const gboolean webvtt = gst_mllama_caption_text_peer_is_webvtt (self->pad);
  g_autoptr (GstCaps) peer = gst_pad_peer_query_caps (self->pad, NULL);
  g_autoptr (GstCaps) text = gst_caps_from_string (webvtt ? "text/x-raw, format=(string){ pango-markup, utf8 }"
                                                          : "text/x-raw, format=(string){ utf8, pango-markup }");
  g_autoptr (GstCaps) json = gst_caps_new_empty_simple ("application/x-json");
  GstCaps *caps = gst_caps_intersect_full (text, peer, GST_CAPS_INTERSECT_FIRST);

  if (gst_caps_is_empty (caps)) {
    gst_caps_unref (caps);
    caps = gst_caps_intersect_full (json, peer, GST_CAPS_INTERSECT_FIRST);
  }
  return gst_caps_is_empty (caps) ? caps : gst_caps_fixate (caps);
}

/* application/x-json,timing=(boolean)false asks for lines that are the same from run to run. */
static GstMllamaCaptionTextFormat
find_format (const GstStructure *caps)
{
  gboolean timing = TRUE;

  if (gst_structure_has_name (caps, "application/x-json")) {
    gst_structure_get_boolean (caps, "timing", &timing);
    return timing ? GST_MLLAMA_CAPTION_TEXT_JSON : GST_MLLAMA_CAPTION_TEXT_JSON_WITHOUT_TIMING;
  }
  return g_strcmp0 (gst_structure_get_string (caps, "format"), "pango-markup") == 0 ? GST_MLLAMA_CAPTION_TEXT_MARKUP
                                                                                    : GST_MLLAMA_CAPTION_TEXT_UTF8;
}

static gboolean
negotiate (GstMllamaCaptionPusher *self)
{
  g_autoptr (GstCaps) caps = choose_caps (self);
  g_autoptr (GstCaps) current = gst_pad_get_current_caps (self->pad);

  if (gst_caps_is_empty (caps))
    return FALSE;
  self->format = find_format (gst_caps_get_structure (caps, 0));
  self->ignores_gaps = gst_mllama_caption_text_peer_ignores_gaps (self->pad);
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
push_buffer (GstMllamaCaptionPusher *self, GstBuffer *buffer, GstClockTime start, GstClockTime end)
{
  GST_BUFFER_PTS (buffer) = start;
  GST_BUFFER_DURATION (buffer) = end - start;
  GstFlowReturn flow = gst_pad_push (self->pad, buffer);
  GST_LOG_OBJECT (self->pad, "pushed text of %" GST_TIME_FORMAT ": %s", GST_TIME_ARGS (start),
                  gst_flow_get_name (flow));
  /* A pad that is not linked, or whose branch has ended, does not stop messages and metadata. */
  if (flow == GST_FLOW_NOT_NEGOTIATED || flow <= GST_FLOW_ERROR)
    post_flow_error (self, flow);
}

/* Takes the buffer. What is said from start to end, where nothing else can come in between. */
static void
push_whole (GstMllamaCaptionPusher *self, GstBuffer *buffer, GstClockTime start, GstClockTime end)
{
  const gboolean has_tail = self->ignores_gaps && end - start > 2 * PIECE_DURATION;
  const GstClockTime tail = has_tail ? end - TAIL_DURATION : start;

  self->position = MAX (self->position, end);
  if (has_tail)
    push_buffer (self, gst_buffer_copy (buffer), start, tail);
  push_buffer (self, buffer, tail, end);
}

static void
push_piece (GstMllamaCaptionPusher *self, GstClockTime start)
{
  const GstClockTime end = MIN (start + PIECE_DURATION, self->repeated_end);

  self->position = MAX (self->position, end);
  push_buffer (self, gst_buffer_copy (self->repeated), start, end);
  if (end == self->repeated_end)
    gst_clear_buffer (&self->repeated);
}

/* Up to there nothing new is said. */
static void
advance (GstMllamaCaptionPusher *self, GstClockTime to)
{
  if (!GST_CLOCK_TIME_IS_VALID (self->position) || to <= self->position)
    return;
  ensure_caps (self);
  while (self->repeated && self->position < to && !self->broken)
    push_piece (self, self->position);
  if (self->position >= to || self->broken)
    return;
  if (self->ignores_gaps)
    push_whole (self, gst_buffer_new (), self->position, to);
  else
    push_gap (self, self->position, to - self->position);
  self->position = to;
}

static void
push_text (GstMllamaCaptionPusher *self, const GstStructure *structure, GstClockTime start, GstClockTime end,
           gboolean may_be_cut)
{
  advance (self, start);
  ensure_caps (self);
  gst_clear_buffer (&self->repeated);
  if (self->broken)
    return;
  if (self->ignores_gaps && GST_CLOCK_TIME_IS_VALID (self->position) && start < self->position) {
    start = self->position;
    end = MAX (end, start + TAIL_DURATION);
  }
  g_autoptr (GstBuffer) buffer = gst_mllama_caption_text_to_buffer (self->format, structure);
  if (gst_buffer_get_size (buffer) == 0) {
    advance (self, end);
  } else if (self->ignores_gaps && may_be_cut) {
    self->repeated = g_steal_pointer (&buffer);
    self->repeated_end = end;
    push_piece (self, start);
  } else {
    push_whole (self, g_steal_pointer (&buffer), start, end);
  }
}

static void
push_caption (GstMllamaCaptionPusher *self, GstMllamaCaptionAnswer *answer, GstClockTime start, GstClockTime end,
              gboolean may_be_cut)
{
  g_autoptr (GstStructure) structure = gst_mllama_caption_answer_to_structure (answer, NULL);

  push_text (self, structure, start, end, may_be_cut);
}

static void
push_held (GstMllamaCaptionPusher *self, GstClockTime end)
{
  g_autoptr (GstMllamaCaptionAnswer) answer = g_steal_pointer (&self->held);

  if (answer)
    push_caption (self, answer, self->held_start, end > self->held_start ? end : self->held_end, FALSE);
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
    push_caption (self, item->answer, item->start, item->end, item->may_be_cut);
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
    gst_clear_buffer (&self->repeated);
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
      push_text (self, item->partial, item->start, item->start + PARTIAL_DURATION, TRUE);
    break;
  }
}
