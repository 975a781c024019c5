/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The thread that has the model loaded, encodes frames, and starts the answers. */
#include "element.h"
#include "painter.h"
#include "question.h"

#define GST_CAT_DEFAULT gst_mllama_caption_debug

/* --- asking --- */

/* What an engine callback needs; owned by the generation. */
typedef struct {
  GstMllamaCaption *self;
  GstMllamaCaptionFrame *frame;
  GstMllamaCaptionAnswer *answer;
} Call;

/* The engine opens a lost device's model anew for whoever asks; so the next start must. The lock is held. */
static void
note_failure (GstMllamaCaption *self, const GError *error)
{
  self->model_changed |= g_error_matches (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE);
}

static void
free_call (gpointer data)
{
  Call *call = data;
  GstMllamaCaption *self = call->self;

  gst_mllama_caption_answer_unref (call->answer);
  gst_mllama_caption_frame_unref (call->frame);
  g_mutex_lock (&self->lock);
  self->n_running--;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
  gst_object_unref (self);
  g_free (call);
}

static void
note_token (MllamaGeneration *generation, const MllamaToken *token, gpointer data)
{
  Call *call = data;

  g_mutex_lock (&call->self->lock);
  g_string_append (call->answer->partial, token->text);
  g_cond_broadcast (&call->self->changed);
  g_mutex_unlock (&call->self->lock);
}

static void
note_result (MllamaGeneration *generation, gpointer data)
{
  Call *call = data;
  const MllamaResult *result = mllama_generation_get_result (generation);

  g_mutex_lock (&call->self->lock);
  /* Either way the answer lets go of the generation, which owns the call and so the answer. The engine still has a
   * reference: free_call, which takes the lock, does not follow from here. */
  if (gst_mllama_caption_answer_get_state (call->answer) == GST_MLLAMA_CAPTION_ANSWER_OPEN) {
    if (call->frame->stale)
      gst_mllama_caption_answer_drop (call->answer);
    else
      gst_mllama_caption_answer_take (call->answer, result);
    note_failure (call->self, result->error);
  }
  g_cond_broadcast (&call->self->changed);
  g_mutex_unlock (&call->self->lock);
}

static void
fail (GstMllamaCaption *self, GstMllamaCaptionAnswer *answer, const GError *error)
{
  g_mutex_lock (&self->lock);
  note_failure (self, error);
  gst_mllama_caption_answer_fail (answer, error);
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

/* With {previous} the answers of the frames before must be there, however many frames may be in work at once. */
static char *
wait_for_previous (GstMllamaCaption *self, GstMllamaCaptionFrame *frame, const GstMllamaCaptionAnswer *answer)
{
  g_autofree char *key = gst_mllama_caption_answer_get_key (answer);

  g_mutex_lock (&self->lock);
  while (!frame->stale && !frame->again && g_queue_peek_head (&self->in_flight) != frame)
    g_cond_wait (&self->changed, &self->lock);
  char *previous = g_strdup (g_hash_table_lookup (self->said, key));
  g_mutex_unlock (&self->lock);
  return previous;
}

static MllamaPrompt *
make_prompt (GstMllamaCaption *self, MllamaModel *model, GstMllamaCaptionFrame *frame, GstMllamaCaptionAnswer *answer,
             GError **error)
{
  const gboolean wait = gst_mllama_caption_question_uses_previous (answer->prompt);
  g_autofree char *previous = wait ? wait_for_previous (self, frame, answer) : NULL;
  const GstMllamaCaptionValues values = {answer->times.pts, answer->times.wallclock_us, previous};

  return gst_mllama_caption_question_to_prompt (model, answer->prompt, answer->prompt_format, &values, error);
}

static MllamaGeneration *
start_generation (GstMllamaCaption *self, MllamaModel *model, MllamaPrompt *prompt, GstMllamaCaptionFrame *frame,
                  GstMllamaCaptionAnswer *answer, GError **error)
{
  const GstMllamaCaptionSettings *settings = &frame->settings;
  Call *call = g_new (Call, 1);

  *call = (Call){gst_object_ref (self), gst_mllama_caption_frame_ref (frame), gst_mllama_caption_answer_ref (answer)};
  g_mutex_lock (&self->lock);
  self->n_running++;
  g_mutex_unlock (&self->lock);
  const MllamaGenerationSettings generation_settings = {.max_tokens = (gint) answer->max_tokens,
                                                        .temperature = settings->temperature,
                                                        .top_k = settings->top_k,
                                                        .top_p = settings->top_p,
                                                        .seed = settings->seed,
                                                        .repetition_penalty = settings->repetition_penalty,
                                                        .on_token = settings->partial_results ? note_token : NULL,
                                                        .on_done = note_result,
                                                        .user_data = call,
                                                        .user_data_free = free_call};
  return mllama_model_generate_async (model, prompt, &frame->states, 1, &generation_settings, error);
}

static void
ask (GstMllamaCaption *self, MllamaModel *model, GstMllamaCaptionFrame *frame, GstMllamaCaptionAnswer *answer)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (MllamaPrompt) prompt = make_prompt (self, model, frame, answer, &error);
  g_autoptr (MllamaGeneration) generation =
      prompt ? start_generation (self, model, prompt, frame, answer, &error) : NULL;

  if (!generation) {
    fail (self, answer, error);
    return;
  }
  g_mutex_lock (&self->lock);
  if (gst_mllama_caption_answer_get_state (answer) == GST_MLLAMA_CAPTION_ANSWER_OPEN)
    answer->generation = mllama_generation_ref (generation);
  /* A cancel that came before the generation was known did not reach it. */
  const gboolean cancelled = frame->stale || g_cancellable_is_cancelled (self->cancellable);
  g_mutex_unlock (&self->lock);
  if (cancelled)
    mllama_generation_cancel (generation);
}

/* --- encoding --- */

/* The lock is held: what later frames refer to, and what the answers report. */
static void
note_states (GstMllamaCaption *self, GstMllamaCaptionFrame *frame, guint64 waited_ns)
{
  for (guint i = 0; i < frame->answers->len; i++) {
    GstMllamaCaptionAnswer *answer = g_ptr_array_index (frame->answers, i);
    answer->encode_id = mllama_states_get_encode_id (frame->states);
    answer->states_reused = frame->again || i > 0;
    answer->encode_ns = answer->states_reused ? 0 : mllama_states_get_encode_ns (frame->states);
    answer->queue_ns = waited_ns;
  }
  if (frame->stale || frame->again)
    return;
  self->stats.counts[GST_MLLAMA_CAPTION_ENCODES]++;
  if (frame->times.epoch != self->epoch)
    return;
  g_clear_pointer (&self->last, gst_mllama_caption_frame_unref);
  self->last = gst_mllama_caption_frame_ref (frame);
  self->confirmed = frame->times.pts;
}

static gboolean
encode (GstMllamaCaption *self, MllamaModel *model, GstMllamaCaptionPainter *painter, GstMllamaCaptionFrame *frame,
        GError **error)
{
  const GstMllamaCaptionSettings *settings = &frame->settings;
  MllamaImage image;

  if (!frame->picture) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
                 "The video frame could not be mapped for reading: put an element before mllamacaption that brings it "
                 "into system memory, such as videoconvert, gldownload or cudadownload");
    return FALSE;
  }
  g_mutex_lock (&self->lock);
  g_autoptr (GCancellable) cancellable = g_object_ref (self->cancellable);
  const gboolean stale = frame->stale;
  g_mutex_unlock (&self->lock);
  if (stale) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_CANCELLED, "The frame was flushed");
    return FALSE;
  }
  if (!gst_mllama_caption_painter_paint (painter, frame->picture, mllama_model_get_device (model) == MLLAMA_DEVICE_CUDA,
                                         &image, error))
    return FALSE;
  frame->states = mllama_model_encode (model, &image, (MllamaSemantics) settings->semantics, settings->max_image_tiles,
                                       cancellable, error);
  return frame->states != NULL;
}

static void
fail_all (GstMllamaCaption *self, GstMllamaCaptionFrame *frame, const GError *error)
{
  g_mutex_lock (&self->lock);
  note_failure (self, error);
  for (guint i = 0; i < frame->answers->len; i++)
    gst_mllama_caption_answer_fail (g_ptr_array_index (frame->answers, i), error);
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

/* One encode, and all questions about it started at once, so that they run as one batch. */
static void
work_on (GstMllamaCaption *self, GstMllamaCaptionPainter *painter, GstMllamaCaptionFrame *frame)
{
  g_autoptr (GError) error = NULL;
  const guint64 waited_ns = (guint64) (g_get_monotonic_time () - frame->times.chosen_us) * GST_USECOND;

  g_mutex_lock (&self->lock);
  if (self->load_error)
    error = g_error_copy (self->load_error);
  g_autoptr (MllamaModel) model = self->model ? mllama_model_ref (self->model) : NULL;
  g_mutex_unlock (&self->lock);
  if (error || (!frame->states && !encode (self, model, painter, frame, &error))) {
    g_clear_pointer (&frame->picture, gst_mllama_caption_picture_free);
    fail_all (self, frame, error);
    return;
  }
  g_clear_pointer (&frame->picture, gst_mllama_caption_picture_free);
  g_mutex_lock (&self->lock);
  note_states (self, frame, waited_ns + (frame->again ? 0 : mllama_states_get_queue_ns (frame->states)));
  const gboolean stale = frame->stale;
  g_mutex_unlock (&self->lock);
  for (guint i = 0; !stale && i < frame->answers->len; i++)
    ask (self, model, frame, g_ptr_array_index (frame->answers, i));
}

/* --- the thread; these hold the lock --- */

/* Live, frames taken and not answered are few, so that the next one is new. */
static gboolean
may_take (GstMllamaCaption *self)
{
  const guint limit = self->settings.max_in_flight > 0 ? self->settings.max_in_flight : 1;

  return !self->live || g_queue_get_length (&self->in_flight) - g_queue_get_length (&self->waiting) < limit;
}

static GstMllamaCaptionFrame *
take_frame (GstMllamaCaption *self)
{
  GstMllamaCaptionFrame *frame = g_queue_pop_head (&self->again);

  if (frame || g_queue_is_empty (&self->waiting) || !may_take (self))
    return frame;
  frame = g_queue_pop_head (&self->waiting);
  if (self->live && !self->load_error && frame->times.epoch == self->epoch)
    gst_mllama_caption_set_reference (self, frame);
  return frame;
}

static gboolean
needs_model (GstMllamaCaption *self)
{
  const gboolean wanted = self->progress_open || !g_queue_is_empty (&self->waiting);

  return wanted && !self->loaded && !self->load_error;
}

static void
rest (GstMllamaCaption *self)
{
  const guint64 timeout = self->settings.idle_timeout;

  if (!self->loaded || !GST_CLOCK_TIME_IS_VALID (timeout) || !g_queue_is_empty (&self->in_flight)) {
    g_cond_wait (&self->changed, &self->lock);
    return;
  }
  const gint64 deadline = self->idle_since + (gint64) (MIN (timeout, G_MAXINT64 / 2) / GST_USECOND);
  if (!g_cond_wait_until (&self->changed, &self->lock, deadline) && g_queue_is_empty (&self->in_flight) &&
      g_get_monotonic_time () >= deadline)
    gst_mllama_caption_unload (self);
}

gpointer
gst_mllama_caption_work (gpointer data)
{
  GstMllamaCaption *self = data;
  GstMllamaCaptionPainter *painter = gst_mllama_caption_painter_new ();
  GstMllamaCaptionFrame *frame;

  g_mutex_lock (&self->lock);
  while (!self->stopping) {
    if (needs_model (self)) {
      gst_mllama_caption_load (self);
    } else if ((frame = take_frame (self))) {
      g_mutex_unlock (&self->lock);
      work_on (self, painter, frame);
      gst_mllama_caption_frame_unref (frame);
      g_mutex_lock (&self->lock);
    } else {
      rest (self);
    }
  }
  g_mutex_unlock (&self->lock);
  gst_mllama_caption_painter_free (painter);
  return NULL;
}
