/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstmllamacaptionpad.h"
#include "textpusher.h"

struct _GstMllamaCaptionPad {
  GstPad parent;

  /* properties; the object's lock guards them */
  char *prompt; /* NULL: the element's */
  gint prompt_format;
  gboolean has_format; /* else the element's */
  guint max_tokens;    /* 0: the element's */
  gboolean hold;

  GstMllamaCaptionTextQueue *queue;

  GstMllamaCaptionPusher pusher; /* the task's own */
};

enum {
  PROP_PROMPT = 1,
  PROP_PROMPT_FORMAT,
  PROP_MAX_TOKENS,
  PROP_HOLD,
};

G_DEFINE_TYPE (GstMllamaCaptionPad, gst_mllama_caption_pad, GST_TYPE_PAD)

/* --- the task --- */

static gboolean
holds (GstMllamaCaptionPad *self)
{
  GST_OBJECT_LOCK (self);
  gboolean hold = self->hold;
  GST_OBJECT_UNLOCK (self);
  return hold;
}

static void
push_next (gpointer data)
{
  GstMllamaCaptionPad *self = data;
  g_autoptr (GstMllamaCaptionItem) item = gst_mllama_caption_text_queue_take (self->queue, self->pusher.position);

  if (item)
    gst_mllama_caption_pusher_push (&self->pusher, item, holds (self));
  else
    gst_pad_pause_task (GST_PAD (self));
}

static void
start_task (GstMllamaCaptionPad *self)
{
  gst_mllama_caption_pusher_clear (&self->pusher);
  gst_mllama_caption_pusher_init (&self->pusher, GST_PAD (self));
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
    gst_mllama_caption_pusher_clear (&self->pusher);
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

  gst_mllama_caption_pusher_clear (&self->pusher);
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
  gst_mllama_caption_pusher_init (&self->pusher, GST_PAD (self));
  gst_pad_set_activatemode_function (GST_PAD (self), GST_DEBUG_FUNCPTR (gst_mllama_caption_pad_activate_mode));
}
