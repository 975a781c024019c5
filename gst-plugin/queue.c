/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames on their way from the streaming thread through worker and reporter, and how they are cancelled. */
#include "element.h"

#define GST_CAT_DEFAULT gst_mllama_caption_debug

#define ARCHIVE_FRAMES_IN_FLIGHT 8

/* --- putting --- */

/* The frame that the next ones are compared with, and repeated from. */
void
gst_mllama_caption_set_reference (GstMllamaCaption *self, GstMllamaCaptionFrame *frame)
{
  g_clear_pointer (&self->reference, gst_mllama_caption_frame_unref);
  self->reference = gst_mllama_caption_frame_ref (frame);
  for (guint i = 0; i < frame->answers->len; i++) {
    GstMllamaCaptionAnswer *answer = g_ptr_array_index (frame->answers, i);
    if (answer->pad)
      g_hash_table_insert (self->latest, gst_object_ref (answer->pad), gst_mllama_caption_answer_ref (answer));
  }
}

/* Takes the waiting frame out, so that a newer one can have its place. */
static GstMllamaCaptionFrame *
take_replaced (GstMllamaCaption *self)
{
  GstMllamaCaptionFrame *replaced = self->live ? g_queue_pop_head (&self->waiting) : NULL;

  if (!replaced)
    return NULL;
  if (g_queue_remove (&self->in_flight, replaced))
    gst_mllama_caption_frame_unref (replaced);
  for (guint i = 0; i < replaced->answers->len; i++) {
    GstMllamaCaptionAnswer *answer = g_ptr_array_index (replaced->answers, i);
    gst_mllama_caption_answer_drop (answer);
    if (answer->pad)
      gst_mllama_caption_text_queue_wake (gst_mllama_caption_pad_get_queue (answer->pad));
  }
  self->stats.counts[GST_MLLAMA_CAPTION_FRAMES_REPLACED]++;
  return replaced;
}

/* Gives each answer its number, and with the time of the frame its place among the texts. */
static void
enlist_answers (GstMllamaCaption *self, GstMllamaCaptionFrame *frame)
{
  for (guint i = 0; i < frame->answers->len; i++) {
    GstMllamaCaptionAnswer *answer = g_ptr_array_index (frame->answers, i);
    answer->caption_id = ++self->n_captions;
    if (answer->pad && !self->arrival && !frame->again)
      gst_mllama_caption_text_queue_put_answer (gst_mllama_caption_pad_get_queue (answer->pad), answer,
                                                frame->times.pts, frame->times.end, FALSE);
  }
}

void
gst_mllama_caption_put_frame (GstMllamaCaption *self, GstMllamaCaptionFrame *frame)
{
  g_mutex_lock (&self->lock);
  if (self->flushing || self->stopping) {
    g_mutex_unlock (&self->lock);
    gst_mllama_caption_frame_unref (frame);
    return;
  }
  g_autoptr (GstMllamaCaptionFrame) replaced = take_replaced (self);
  enlist_answers (self, frame);
  self->stats.counts[GST_MLLAMA_CAPTION_FRAMES_CHOSEN]++;
  g_queue_push_tail (&self->in_flight, gst_mllama_caption_frame_ref (frame));
  g_queue_push_tail (&self->waiting, frame);
  /* Live, only what the worker really takes can be compared with. */
  if (!self->live)
    gst_mllama_caption_set_reference (self, frame);
  const guint64 n_dropped = self->stats.counts[GST_MLLAMA_CAPTION_FRAMES_REPLACED];
  const guint64 n_processed = self->stats.counts[GST_MLLAMA_CAPTION_FRAMES_CHOSEN] - n_dropped;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
  if (replaced)
    gst_mllama_caption_post_qos (self, replaced, n_processed, n_dropped);
}

/* Whether a question is the element's prompt, or the pad's that was changed. */
static gboolean
is_asked_anew (GstMllamaCaption *self, const GstMllamaCaptionAnswer *answer, GstMllamaCaptionPad *pad)
{
  return pad ? answer->pad == pad : !answer->pad || g_strcmp0 (answer->prompt, self->settings.prompt) == 0;
}

static GstMllamaCaptionFrame *
make_frame_asked_again (GstMllamaCaption *self, GstMllamaCaptionPad *pad)
{
  GstMllamaCaptionTimes times = self->last->times;

  times.chosen_us = g_get_monotonic_time ();
  times.wallclock_us = g_get_real_time ();
  GstMllamaCaptionFrame *frame = gst_mllama_caption_frame_new (NULL, &times, &self->settings);
  frame->again = TRUE;
  frame->duration = self->last->duration;
  frame->states = mllama_states_ref (self->last->states);
  gst_mllama_caption_add_questions (self, frame);
  for (guint i = frame->answers->len; i-- > 0;)
    if (!is_asked_anew (self, g_ptr_array_index (frame->answers, i), pad))
      g_ptr_array_remove_index (frame->answers, i);
  return frame;
}

void
gst_mllama_caption_ask_anew (GstElement *element, GstMllamaCaptionPad *pad)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (element);

  g_mutex_lock (&self->lock);
  const GstClockTime length = self->last && GST_CLOCK_TIME_IS_VALID (self->last->duration) ? self->last->duration : 0;
  /* By the start of the newest frame, which may be the one that was confirmed, however short the interval. */
  const gboolean young = self->last && GST_CLOCK_TIME_IS_VALID (self->video_end) &&
                         self->video_end < self->confirmed + length + MAX (self->settings.interval, 1);
  /* Else the next due frame is asked about, even if the scene is unchanged. */
  if (!young)
    g_clear_pointer (&self->reference, gst_mllama_caption_frame_unref);
  GstMllamaCaptionFrame *frame = young ? make_frame_asked_again (self, pad) : NULL;
  if (frame && frame->answers->len == 0)
    g_clear_pointer (&frame, gst_mllama_caption_frame_unref);
  if (frame) {
    enlist_answers (self, frame);
    for (guint i = 0; i < frame->answers->len; i++) {
      GstMllamaCaptionAnswer *answer = g_ptr_array_index (frame->answers, i);
      if (answer->pad)
        g_hash_table_insert (self->latest, gst_object_ref (answer->pad), gst_mllama_caption_answer_ref (answer));
    }
    /* The worker takes it before the frames that wait: so it is reported before them. */
    g_queue_push_nth (&self->in_flight, gst_mllama_caption_frame_ref (frame),
                      (gint) (self->in_flight.length - self->waiting.length));
    g_queue_push_tail (&self->again, frame);
    g_cond_broadcast (&self->changed);
  }
  g_mutex_unlock (&self->lock);
}

/* --- waiting --- */

/* Only frames of the stream itself count. */
static guint
count_frames_in_flight (GstMllamaCaption *self)
{
  guint n = 0;

  for (GList *at = self->in_flight.head; at; at = at->next)
    n += !((GstMllamaCaptionFrame *) at->data)->again;
  return n;
}

static gboolean
has_room (GstMllamaCaption *self)
{
  guint limit = self->settings.max_in_flight;

  if (limit == 0)
    limit = self->settings.attach_meta ? 1 : ARCHIVE_FRAMES_IN_FLIGHT;
  return self->live || count_frames_in_flight (self) < limit;
}

GstFlowReturn
gst_mllama_caption_wait_for_room (GstMllamaCaption *self)
{
  g_mutex_lock (&self->lock);
  while (!self->flushing && !self->stopping && !self->failed && !has_room (self))
    g_cond_wait (&self->changed, &self->lock);
  GstFlowReturn flow = self->flushing || self->stopping ? GST_FLOW_FLUSHING
                       : self->failed                   ? GST_FLOW_ERROR
                                                        : GST_FLOW_OK;
  g_mutex_unlock (&self->lock);
  return flow;
}

/* Waits until no frame is left; FALSE after the deadline, which is -1 for none. */
static gboolean
wait_for_all (GstMllamaCaption *self, gint64 deadline)
{
  while (!self->flushing && !self->stopping && !self->failed && !g_queue_is_empty (&self->in_flight)) {
    if (deadline < 0)
      g_cond_wait (&self->changed, &self->lock);
    else if (!g_cond_wait_until (&self->changed, &self->lock, deadline))
      return FALSE;
  }
  return TRUE;
}

/* --- cancelling --- */

/* The generations of frames still in work (of one pad, if it is not NULL), to be cancelled without the lock. */
static GPtrArray *
list_generations (GstMllamaCaption *self, GstMllamaCaptionPad *pad)
{
  GPtrArray *list = g_ptr_array_new_with_free_func ((GDestroyNotify) mllama_generation_unref);

  for (GList *at = self->in_flight.head; at; at = at->next) {
    const GstMllamaCaptionFrame *frame = at->data;
    for (guint i = 0; i < frame->answers->len; i++) {
      const GstMllamaCaptionAnswer *answer = g_ptr_array_index (frame->answers, i);
      if (answer->generation && (!pad || answer->pad == pad))
        g_ptr_array_add (list, mllama_generation_ref (answer->generation));
    }
  }
  return list;
}

static void
cancel_generations (const GPtrArray *generations)
{
  for (guint i = 0; i < generations->len; i++)
    mllama_generation_cancel (g_ptr_array_index (generations, i));
}

void
gst_mllama_caption_cancel_pad (GstMllamaCaption *self, GstMllamaCaptionPad *pad)
{
  g_mutex_lock (&self->lock);
  g_autoptr (GPtrArray) generations = list_generations (self, pad);
  g_mutex_unlock (&self->lock);
  cancel_generations (generations);
}

static void
unref_frame (gpointer frame)
{
  gst_mllama_caption_frame_unref (frame);
}

static void
forget_frames (GstMllamaCaption *self)
{
  for (GList *at = self->in_flight.head; at; at = at->next)
    ((GstMllamaCaptionFrame *) at->data)->stale = TRUE;
  g_queue_clear_full (&self->in_flight, unref_frame);
  g_queue_clear_full (&self->waiting, unref_frame);
  g_queue_clear_full (&self->again, unref_frame);
  g_clear_pointer (&self->reference, gst_mllama_caption_frame_unref);
  g_clear_pointer (&self->last, gst_mllama_caption_frame_unref);
  g_hash_table_remove_all (self->latest);
  g_hash_table_remove_all (self->said);
  g_ptr_array_set_size (self->pending_meta, 0);
  self->forced = FALSE;
}

void
gst_mllama_caption_cancel (GstMllamaCaption *self, gboolean stopping)
{
  g_mutex_lock (&self->lock);
  g_autoptr (GPtrArray) generations = list_generations (self, NULL);
  g_autoptr (GCancellable) cancellable = g_steal_pointer (&self->cancellable);
  self->cancellable = g_cancellable_new ();
  self->stopping |= stopping;
  self->flushing = TRUE;
  forget_frames (self);
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);

  if (stopping)
    g_cancellable_cancel (self->load_cancellable);
  g_cancellable_cancel (cancellable);
  cancel_generations (generations);
}

/* Frames that the worker has not taken end without an answer: it may be loading the model for minutes. Lock held. */
static void
give_up_waiting (GstMllamaCaption *self)
{
  g_autoptr (GError) error = g_error_new_literal (MLLAMA_ERROR, MLLAMA_ERROR_CANCELLED, "eos-timeout");
  GstMllamaCaptionFrame *frame;

  while ((frame = g_queue_pop_head (&self->waiting)) || (frame = g_queue_pop_head (&self->again))) {
    for (guint i = 0; i < frame->answers->len; i++)
      gst_mllama_caption_answer_fail (g_ptr_array_index (frame->answers, i), error);
    gst_mllama_caption_frame_unref (frame);
  }
  g_cond_broadcast (&self->changed);
}

/* Until the deadline the captions take their time; then they end where they are. */
static void
end_captions (GstMllamaCaption *self)
{
  g_mutex_lock (&self->lock);
  give_up_waiting (self);
  g_autoptr (GPtrArray) generations = list_generations (self, NULL);
  g_autoptr (GCancellable) cancellable = g_object_ref (self->cancellable);
  g_mutex_unlock (&self->lock);
  GST_INFO_OBJECT (self, "eos-timeout: running captions end where they are");
  g_cancellable_cancel (cancellable);
  cancel_generations (generations);
  g_mutex_lock (&self->lock);
  wait_for_all (self, -1);
  if (self->cancellable == cancellable) {
    g_object_unref (self->cancellable);
    self->cancellable = g_cancellable_new ();
  }
  g_mutex_unlock (&self->lock);
}

gboolean
gst_mllama_caption_finish (GstMllamaCaption *self)
{
  g_mutex_lock (&self->lock);
  const guint64 timeout = self->live ? self->settings.eos_timeout : GST_CLOCK_TIME_NONE;
  const gint64 deadline =
      GST_CLOCK_TIME_IS_VALID (timeout) ? g_get_monotonic_time () + (gint64) (timeout / GST_USECOND) : -1;
  const gboolean finished = wait_for_all (self, deadline);
  g_mutex_unlock (&self->lock);
  if (!finished)
    end_captions (self);
  g_mutex_lock (&self->lock);
  const gboolean undisturbed = !self->flushing && !self->stopping;
  g_mutex_unlock (&self->lock);
  return undisturbed;
}
