/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstmllamacaptionpad.h"
#include "text.h"
#include "textqueue.h"

GST_DEBUG_CATEGORY_EXTERN (gst_mllama_caption_debug);
#define GST_CAT_DEFAULT gst_mllama_caption_debug

#define PARTIAL_DURATION (200 * GST_MSECOND)

struct _GstMllamaCaptionPad {
  GstPad parent;

  /* properties; the object's lock guards them */
  char *prompt; /* NULL: the element's */
  gint prompt_format;
  gboolean has_format; /* else the element's */
  guint max_tokens;    /* 0: the element's */
  gboolean hold;

  GstMllamaCaptionTextQueue *queue;

  /* the task's own */
  GstMllamaCaptionTextFormat format;
  GstSegment segment;
  GstClockTime position; /* text or GAP reach to here; NONE before the segment */
  GstClockTime covered;  /* video reaches to here */
  gboolean broken;       /* an error was posted; nothing is pushed any more */
  /* with hold: the caption kept back until the next one starts */
  GstMllamaCaptionAnswer *held;
  GstClockTime held_start, held_end;
};

enum {
  PROP_PROMPT = 1,
  PROP_PROMPT_FORMAT,
  PROP_MAX_TOKENS,
  PROP_HOLD,
};

G_DEFINE_TYPE (GstMllamaCaptionPad, gst_mllama_caption_pad, GST_TYPE_PAD)

/* --- pushing: the task's thread --- */

static void
post_flow_error (GstMllamaCaptionPad *self, GstFlowReturn flow)
{
  g_autoptr (GstObject) element = gst_object_get_parent (GST_OBJECT (self));

  self->broken = TRUE;
  if (element)
    GST_ELEMENT_FLOW_ERROR (element, flow);
}

/* Text where downstream takes text, in the format it prefers; JSON only where it takes nothing else. */
static GstCaps *
choose_caps (GstMllamaCaptionPad *self)
{
  g_autoptr (GstCaps) peer = gst_pad_peer_query_caps (GST_PAD (self), NULL);
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
negotiate (GstMllamaCaptionPad *self)
{
  g_autoptr (GstCaps) caps = choose_caps (self);
  g_autoptr (GstCaps) current = gst_pad_get_current_caps (GST_PAD (self));

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
    gst_pad_push_event (GST_PAD (self), gst_event_new_caps (caps));
  return TRUE;
}

static void
ensure_caps (GstMllamaCaptionPad *self)
{
  if ((gst_pad_check_reconfigure (GST_PAD (self)) || !gst_pad_has_current_caps (GST_PAD (self))) && !negotiate (self))
    post_flow_error (self, GST_FLOW_NOT_NEGOTIATED);
}

static void
push_gap (GstMllamaCaptionPad *self, GstClockTime start, GstClockTime duration)
{
  ensure_caps (self);
  if (!self->broken)
    gst_pad_push_event (GST_PAD (self), gst_event_new_gap (start, duration));
}

static void
advance (GstMllamaCaptionPad *self, GstClockTime to)
{
  if (!GST_CLOCK_TIME_IS_VALID (self->position) || to <= self->position)
    return;
  push_gap (self, self->position, to - self->position);
  self->position = to;
}

static void
push_text (GstMllamaCaptionPad *self, const GstStructure *structure, GstClockTime start, GstClockTime end)
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
  GstFlowReturn flow = gst_pad_push (GST_PAD (self), buffer);
  GST_LOG_OBJECT (self, "pushed text of %" GST_TIME_FORMAT ": %s", GST_TIME_ARGS (start), gst_flow_get_name (flow));
  /* A pad that is not linked, or whose branch has ended, does not stop messages and metadata. */
  if (flow == GST_FLOW_NOT_NEGOTIATED || flow <= GST_FLOW_ERROR)
    post_flow_error (self, flow);
}

static void
push_caption (GstMllamaCaptionPad *self, GstMllamaCaptionAnswer *answer, GstClockTime start, GstClockTime end)
{
  g_autoptr (GstStructure) structure = gst_mllama_caption_answer_to_structure (answer, NULL);

  push_text (self, structure, start, end);
}

static void
push_held (GstMllamaCaptionPad *self, GstClockTime end)
{
  g_autoptr (GstMllamaCaptionAnswer) answer = g_steal_pointer (&self->held);

  if (answer)
    push_caption (self, answer, self->held_start, end > self->held_start ? end : self->held_end);
}

static gboolean
holds (GstMllamaCaptionPad *self)
{
  GST_OBJECT_LOCK (self);
  gboolean hold = self->hold;
  GST_OBJECT_UNLOCK (self);
  return hold;
}

static void
push_answer (GstMllamaCaptionPad *self, GstMllamaCaptionItem *item)
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
  } else if (holds (self)) {
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
cover (GstMllamaCaptionPad *self, const GstMllamaCaptionItem *item)
{
  if (self->segment.rate < 0) {
    if (item->end > item->start)
      push_gap (self, item->start, item->end - item->start);
    return;
  }
  self->covered = item->end;
  if (!self->held)
    advance (self, item->end);
}

static void
push_event (GstMllamaCaptionPad *self, GstEvent *event)
{
  push_held (self, self->covered);
  if (GST_EVENT_TYPE (event) == GST_EVENT_SEGMENT) {
    gst_event_copy_segment (event, &self->segment);
    self->position = self->segment.start;
    self->covered = 0;
    ensure_caps (self);
  }
  if (!self->broken || GST_EVENT_TYPE (event) == GST_EVENT_EOS)
    gst_pad_push_event (GST_PAD (self), gst_event_ref (event));
}

static void
push_next (gpointer data)
{
  GstMllamaCaptionPad *self = data;
  g_autoptr (GstMllamaCaptionItem) item = gst_mllama_caption_text_queue_take (self->queue, self->position);

  if (!item) {
    gst_pad_pause_task (GST_PAD (self));
    return;
  }
  switch (item->type) {
  case GST_MLLAMA_CAPTION_ITEM_EVENT:
    push_event (self, item->event);
    break;
  case GST_MLLAMA_CAPTION_ITEM_COVER:
    cover (self, item);
    break;
  case GST_MLLAMA_CAPTION_ITEM_ANSWER:
    push_answer (self, item);
    break;
  case GST_MLLAMA_CAPTION_ITEM_PARTIAL:
    if (!holds (self))
      push_text (self, item->partial, item->start, item->start + PARTIAL_DURATION);
    break;
  }
}

/* --- life of the task --- */

static void
start_task (GstMllamaCaptionPad *self)
{
  self->position = GST_CLOCK_TIME_NONE;
  self->covered = 0;
  self->broken = FALSE;
  gst_segment_init (&self->segment, GST_FORMAT_TIME);
  g_clear_pointer (&self->held, gst_mllama_caption_answer_unref);
  gst_mllama_caption_text_queue_set_flushing (self->queue, FALSE);
  gst_pad_start_task (GST_PAD (self), push_next, self, NULL);
}

static gboolean
gst_mllama_caption_pad_activate_mode (GstPad *pad, GstObject *parent, GstPadMode mode, gboolean active)
{
  GstMllamaCaptionPad *self = GST_MLLAMA_CAPTION_PAD (pad);

  if (mode != GST_PAD_MODE_PUSH)
    return FALSE;
  if (active) {
    start_task (self);
  } else {
    gst_mllama_caption_text_queue_set_flushing (self->queue, TRUE);
    gst_pad_stop_task (pad);
    g_clear_pointer (&self->held, gst_mllama_caption_answer_unref);
  }
  return TRUE;
}

void
gst_mllama_caption_pad_flush (GstMllamaCaptionPad *self, GstEvent *event)
{
  GstPad *pad = GST_PAD (self);
  const gboolean start = GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_START;

  /* Downstream goes first: it may hold the task in a push. */
  gst_pad_push_event (pad, gst_event_ref (event));
  if (start) {
    gst_mllama_caption_text_queue_set_flushing (self->queue, TRUE);
    gst_pad_pause_task (pad);
  } else if (GST_PAD_IS_ACTIVE (pad)) {
    start_task (self);
  }
}

GstMllamaCaptionTextQueue *
gst_mllama_caption_pad_get_queue (GstMllamaCaptionPad *self)
{
  return self->queue;
}

/* --- properties --- */

void
gst_mllama_caption_pad_get_question (GstMllamaCaptionPad *self, char **prompt, gint *prompt_format, guint *max_tokens)
{
  GST_OBJECT_LOCK (self);
  if (self->prompt) {
    g_free (*prompt);
    *prompt = g_strdup (self->prompt);
  }
  if (self->has_format)
    *prompt_format = self->prompt_format;
  if (self->max_tokens > 0)
    *max_tokens = self->max_tokens;
  GST_OBJECT_UNLOCK (self);
}

/* A question that the model cannot take stays as it was. */
static void
set_question (GstMllamaCaptionPad *self, const char *prompt, gint prompt_format, gboolean has_format)
{
  g_autoptr (GstObject) element = gst_object_get_parent (GST_OBJECT (self));

  if (element && prompt &&
      !gst_mllama_caption_check_question (GST_ELEMENT (element), prompt, has_format ? prompt_format : -1))
    return;
  GST_OBJECT_LOCK (self);
  const gboolean changed =
      g_strcmp0 (prompt, self->prompt) != 0 || prompt_format != self->prompt_format || has_format != self->has_format;
  if (prompt != self->prompt) {
    g_free (self->prompt);
    self->prompt = g_strdup (prompt);
  }
  self->prompt_format = prompt_format;
  self->has_format = has_format;
  GST_OBJECT_UNLOCK (self);
  if (element && changed)
    gst_mllama_caption_ask_anew (GST_ELEMENT (element), self);
}

static void
gst_mllama_caption_pad_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  GstMllamaCaptionPad *self = GST_MLLAMA_CAPTION_PAD (object);

  switch (id) {
  case PROP_PROMPT:
    set_question (self, g_value_get_string (value), self->prompt_format, self->has_format);
    break;
  case PROP_PROMPT_FORMAT:
    set_question (self, self->prompt, g_value_get_enum (value), TRUE);
    break;
  case PROP_MAX_TOKENS:
    GST_OBJECT_LOCK (self);
    self->max_tokens = g_value_get_uint (value);
    GST_OBJECT_UNLOCK (self);
    break;
  case PROP_HOLD:
    GST_OBJECT_LOCK (self);
    self->hold = g_value_get_boolean (value);
    GST_OBJECT_UNLOCK (self);
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
gst_mllama_caption_pad_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  GstMllamaCaptionPad *self = GST_MLLAMA_CAPTION_PAD (object);

  GST_OBJECT_LOCK (self);
  switch (id) {
  case PROP_PROMPT:
    g_value_set_string (value, self->prompt);
    break;
  case PROP_PROMPT_FORMAT:
    g_value_set_enum (value, self->prompt_format);
    break;
  case PROP_MAX_TOKENS:
    g_value_set_uint (value, self->max_tokens);
    break;
  case PROP_HOLD:
    g_value_set_boolean (value, self->hold);
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
  GST_OBJECT_UNLOCK (self);
}

static void
gst_mllama_caption_pad_finalize (GObject *object)
{
  GstMllamaCaptionPad *self = GST_MLLAMA_CAPTION_PAD (object);

  g_clear_pointer (&self->held, gst_mllama_caption_answer_unref);
  gst_mllama_caption_text_queue_free (self->queue);
  g_free (self->prompt);
  G_OBJECT_CLASS (gst_mllama_caption_pad_parent_class)->finalize (object);
}

static void
gst_mllama_caption_pad_class_init (GstMllamaCaptionPadClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING;

  object_class->set_property = gst_mllama_caption_pad_set_property;
  object_class->get_property = gst_mllama_caption_pad_get_property;
  object_class->finalize = gst_mllama_caption_pad_finalize;
  g_object_class_install_property (
      object_class, PROP_PROMPT,
      g_param_spec_string ("prompt", "Prompt", "What this pad asks about a frame (NULL = the element's prompt)", NULL,
                           flags));
  g_object_class_install_property (
      object_class, PROP_PROMPT_FORMAT,
      g_param_spec_enum ("prompt-format", "Prompt format",
                         "How the prompt becomes tokens; until it is set, as the element does",
                         gst_mllama_caption_prompt_format_get_type (), GST_MLLAMA_CAPTION_PROMPT_AUTO, flags));
  g_object_class_install_property (object_class, PROP_MAX_TOKENS,
                                   g_param_spec_uint ("max-tokens", "Maximum tokens",
                                                      "Tokens of a caption at most (0 = the element's number)", 0, 2048,
                                                      0, flags));
  g_object_class_install_property (
      object_class, PROP_HOLD,
      g_param_spec_boolean ("hold", "Hold",
                            "Keep a caption back until its end is known: one buffer a caption, for files only", FALSE,
                            flags));
}

static void
gst_mllama_caption_pad_init (GstMllamaCaptionPad *self)
{
  self->queue = gst_mllama_caption_text_queue_new ();
  self->position = GST_CLOCK_TIME_NONE;
  gst_segment_init (&self->segment, GST_FORMAT_TIME);
  gst_pad_set_activatemode_function (GST_PAD (self), GST_DEBUG_FUNCPTR (gst_mllama_caption_pad_activate_mode));
}
