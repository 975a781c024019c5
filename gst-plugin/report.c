/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The thread that tells of captions: in the order of their frames, by messages, metadata and text pads. */
#include "element.h"
#include "model.h"

#define GST_CAT_DEFAULT gst_mllama_caption_debug

#define WARNING_INTERVAL_US (5 * G_TIME_SPAN_SECOND)

/* --- which comes next; the lock is held --- */

/* In an archive strictly in order; live, the questions about one frame as they are answered. */
static GstMllamaCaptionAnswer *
find_ended (GstMllamaCaption *self, GstMllamaCaptionFrame *frame)
{
  GstMllamaCaptionAnswer *first = gst_mllama_caption_frame_get_open (frame);

  if (!self->live)
    return first && gst_mllama_caption_answer_get_state (first) == GST_MLLAMA_CAPTION_ANSWER_ENDED ? first : NULL;
  for (guint i = 0; i < frame->answers->len; i++) {
    GstMllamaCaptionAnswer *answer = g_ptr_array_index (frame->answers, i);
    if (gst_mllama_caption_answer_get_state (answer) == GST_MLLAMA_CAPTION_ANSWER_ENDED)
      return answer;
  }
  return NULL;
}

/* Length of the text up to the last complete word. */
static gsize
measure_words (const GString *text)
{
  const char *space = strrchr (text->str, ' ');

  return space ? (gsize) (space - text->str) : 0;
}

static GstMllamaCaptionAnswer *
find_partial (GstMllamaCaptionFrame *frame)
{
  for (guint i = 0; i < frame->answers->len; i++) {
    GstMllamaCaptionAnswer *answer = g_ptr_array_index (frame->answers, i);
    if (gst_mllama_caption_answer_get_state (answer) == GST_MLLAMA_CAPTION_ANSWER_OPEN &&
        measure_words (answer->partial) > answer->n_partial_reported)
      return answer;
  }
  return NULL;
}

/* --- telling, without the lock --- */

static void
post_caption (GstMllamaCaption *self, GstStructure *structure)
{
  gst_element_post_message (GST_ELEMENT (self), gst_message_new_element (GST_OBJECT (self), structure));
}

void
gst_mllama_caption_post_qos (GstMllamaCaption *self, const GstMllamaCaptionFrame *frame, guint64 n_processed,
                             guint64 n_dropped)
{
  const GstMllamaCaptionTimes *times = &frame->times;
  GstMessage *message = gst_message_new_qos (GST_OBJECT (self), TRUE, times->running_time, times->stream_time,
                                             times->pts, frame->duration);

  gst_message_set_qos_stats (message, GST_FORMAT_BUFFERS, n_processed, n_dropped);
  gst_element_post_message (GST_ELEMENT (self), message);
}

static void
warn (GstMllamaCaption *self, const GError *error)
{
  const gint64 now = g_get_monotonic_time ();

  g_mutex_lock (&self->lock);
  const gboolean quiet = self->warned_at > 0 && now - self->warned_at < WARNING_INTERVAL_US;
  const guint n_unwarned = quiet ? self->n_unwarned + 1 : self->n_unwarned;
  self->n_unwarned = quiet ? n_unwarned : 0;
  self->warned_at = quiet ? self->warned_at : now;
  g_mutex_unlock (&self->lock);
  if (quiet)
    return;
  g_autoptr (GError) counted = g_error_copy (error);
  if (n_unwarned > 0)
    g_prefix_error (&counted, "(%u more since the last warning) ", n_unwarned);
  gst_mllama_caption_model_post_error (GST_ELEMENT (self), counted, TRUE);
}

static void
tell_error (GstMllamaCaption *self, const GError *error, gboolean stop)
{
  if (!stop) {
    warn (self, error);
    return;
  }
  g_mutex_lock (&self->lock);
  const gboolean told = self->failed;
  g_mutex_unlock (&self->lock);
  if (told)
    return;
  gst_mllama_caption_model_post_error (GST_ELEMENT (self), error, FALSE);
  /* Only now: the source ends the moment that video stops, with an ERROR that says nothing. */
  g_mutex_lock (&self->lock);
  self->failed = TRUE;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

/* --- noting; the lock is held --- */

static void
count (GstMllamaCaption *self, GstMllamaCaptionFrame *frame, GstMllamaCaptionAnswer *answer)
{
  GstMllamaCaptionStats *stats = &self->stats;

  if (answer->finish_reason == MLLAMA_FINISH_ERROR) {
    stats->counts[GST_MLLAMA_CAPTION_FRAMES_FAILED] += !frame->failed;
    frame->failed = TRUE;
    return;
  }
  stats->counts[GST_MLLAMA_CAPTION_CAPTIONS]++;
  stats->counts[GST_MLLAMA_CAPTION_TOKENS] += answer->ids->len;
  stats->counts[GST_MLLAMA_CAPTION_STATES_REUSED] += answer->states_reused;
  gst_mllama_caption_stats_add (stats, GST_MLLAMA_CAPTION_QUEUE_TIME, answer->queue_ns);
  if (!answer->states_reused)
    gst_mllama_caption_stats_add (stats, GST_MLLAMA_CAPTION_ENCODE_TIME, answer->encode_ns);
  gst_mllama_caption_stats_add (stats, GST_MLLAMA_CAPTION_PREFILL_TIME, answer->prefill_ns);
  gst_mllama_caption_stats_add (stats, GST_MLLAMA_CAPTION_DECODE_TIME, answer->decode_ns);
  gst_mllama_caption_stats_add (stats, GST_MLLAMA_CAPTION_LATENCY, answer->latency_ns);
}

/* When a text that exists now starts, on pads that do not carry the time of the frame. */
static GstClockTime
find_now (GstMllamaCaption *self, const GstMllamaCaptionTimes *times)
{
  /* The frame may be of a segment that has ended. */
  if (times->epoch != self->epoch)
    return GST_CLOCK_TIME_IS_VALID (self->video_end) ? self->video_end : self->segment.start;
  return GST_CLOCK_TIME_IS_VALID (self->video_end) ? MAX (self->video_end, times->pts) : times->pts;
}

static void
hand_to_pad (GstMllamaCaption *self, GstMllamaCaptionFrame *frame, GstMllamaCaptionAnswer *answer)
{
  GstMllamaCaptionTextQueue *queue = gst_mllama_caption_pad_get_queue (answer->pad);

  if (self->arrival || frame->again) {
    GstClockTime start = find_now (self, &answer->times);
    GstClockTime end = gst_mllama_caption_sampler_get_next (&self->sampler, start, frame->duration);
    gst_mllama_caption_text_queue_put_answer (queue, answer, start, end, TRUE);
  }
  gst_mllama_caption_text_queue_wake (queue);
}

static void
note_caption (GstMllamaCaption *self, GstMllamaCaptionAnswer *answer)
{
  g_free (self->last_caption);
  self->last_caption = g_strdup (answer->text);
  g_hash_table_insert (self->said, gst_mllama_caption_answer_get_key (answer), g_strdup (answer->text));
}

/* --- reporting --- */

static gboolean
is_pad_released (GstMllamaCaption *self, const GstMllamaCaptionAnswer *answer)
{
  return answer->pad && !g_list_find (self->text_pads, answer->pad);
}

/* Makes the answer final and gives it to everything that hangs on the lock; the structure for messages, or NULL. */
static GstStructure *
settle (GstMllamaCaption *self, GstMllamaCaptionFrame *frame, GstMllamaCaptionAnswer *answer)
{
  answer->latency_ns = (guint64) (g_get_monotonic_time () - answer->times.chosen_us) * GST_USECOND;
  g_atomic_int_set (&answer->state, GST_MLLAMA_CAPTION_ANSWER_REPORTED);
  if (is_pad_released (self, answer))
    return NULL;
  count (self, frame, answer);
  if (gst_mllama_caption_answer_is_caption (answer))
    note_caption (self, answer);
  else if (self->reference == frame)
    g_clear_pointer (&self->reference, gst_mllama_caption_frame_unref);
  GstStructure *structure = gst_mllama_caption_answer_to_structure (answer, NULL);
  if (self->settings.attach_meta)
    g_ptr_array_add (self->pending_meta, gst_structure_copy (structure));
  if (answer->pad)
    hand_to_pad (self, frame, answer);
  return structure;
}

/* Called and returns with the lock held; open in between. */
static void
report (GstMllamaCaption *self, GstMllamaCaptionFrame *frame, GstMllamaCaptionAnswer *answer)
{
  const gint on_error = self->settings.on_error;
  const gboolean stop =
      on_error == GST_MLLAMA_CAPTION_ON_ERROR_STOP || (on_error == GST_MLLAMA_CAPTION_ON_ERROR_AUTO && !self->live);
  const gboolean post = self->settings.post_messages;
  g_autoptr (GstStructure) structure = settle (self, frame, answer);

  self->reporting = TRUE;
  g_mutex_unlock (&self->lock);
  if (structure && answer->error)
    tell_error (self, answer->error, stop);
  if (structure && (post || answer->error))
    post_caption (self, g_steal_pointer (&structure));
  if (gst_mllama_caption_answer_is_caption (answer))
    gst_mllama_caption_notify_last_caption (self);
  g_mutex_lock (&self->lock);
  self->reporting = FALSE;
  if (!gst_mllama_caption_frame_get_open (frame) && g_queue_remove (&self->in_flight, frame))
    gst_mllama_caption_frame_unref (frame);
  self->idle_since = g_get_monotonic_time ();
  g_cond_broadcast (&self->changed);
}

static void
report_partial (GstMllamaCaption *self, GstMllamaCaptionAnswer *answer)
{
  const gboolean post = self->settings.post_messages;
  g_autofree char *text = NULL;

  answer->n_partial_reported = measure_words (answer->partial);
  text = g_strndup (answer->partial->str, answer->n_partial_reported);
  if (is_pad_released (self, answer))
    return;
  GstStructure *structure = gst_mllama_caption_answer_to_structure (answer, text);
  if (answer->pad)
    gst_mllama_caption_text_queue_put_partial (gst_mllama_caption_pad_get_queue (answer->pad), answer,
                                               gst_structure_copy (structure),
                                               self->arrival ? find_now (self, &answer->times) : answer->times.pts);
  self->reporting = TRUE;
  g_mutex_unlock (&self->lock);
  if (post)
    post_caption (self, structure);
  else
    gst_structure_free (structure);
  g_mutex_lock (&self->lock);
  self->reporting = FALSE;
  g_cond_broadcast (&self->changed);
}

void
gst_mllama_caption_wait_for_report (GstMllamaCaption *self)
{
  /* A bus handler may seek: then the reporter itself is the one that waits. */
  if (g_thread_self () == self->reporter)
    return;
  g_mutex_lock (&self->lock);
  while (self->reporting)
    g_cond_wait (&self->changed, &self->lock);
  g_mutex_unlock (&self->lock);
}

gpointer
gst_mllama_caption_report (gpointer data)
{
  GstMllamaCaption *self = data;

  g_mutex_lock (&self->lock);
  while (!self->stopping) {
    GstMllamaCaptionFrame *head = g_queue_peek_head (&self->in_flight);
    g_autoptr (GstMllamaCaptionFrame) frame = head ? gst_mllama_caption_frame_ref (head) : NULL;
    GstMllamaCaptionAnswer *ended = frame ? find_ended (self, frame) : NULL;
    GstMllamaCaptionAnswer *partial = frame && !ended ? find_partial (frame) : NULL;
    if (ended)
      report (self, frame, ended);
    else if (partial)
      report_partial (self, partial);
    else
      g_cond_wait (&self->changed, &self->lock);
  }
  g_mutex_unlock (&self->lock);
  return NULL;
}
