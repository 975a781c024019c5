/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* States of the element, and what is checked before it runs. */
#include "element.h"
#include "model.h"
#include "question.h"

#define GST_CAT_DEFAULT gst_mllama_caption_debug

/* --- questions --- */

MllamaModel *
gst_mllama_caption_ref_model (GstMllamaCaption *self)
{
  g_mutex_lock (&self->lock);
  MllamaModel *model = self->model ? mllama_model_ref (self->model) : NULL;
  g_mutex_unlock (&self->lock);
  return model;
}

static gboolean
can_ask (MllamaModel *model, const char *prompt, gint prompt_format, GError **error)
{
  const GstMllamaCaptionValues values = {0, 0, NULL};
  g_autoptr (MllamaPrompt) made =
      gst_mllama_caption_question_to_prompt (model, prompt ? prompt : "", prompt_format, &values, error);

  return made != NULL;
}

gboolean
gst_mllama_caption_check_question (GstElement *element, const char *prompt, gint prompt_format)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (element);
  g_autoptr (MllamaModel) model = gst_mllama_caption_ref_model (self);
  g_autoptr (GError) error = NULL;

  g_mutex_lock (&self->lock);
  if (prompt_format < 0)
    prompt_format = self->settings.prompt_format;
  g_mutex_unlock (&self->lock);
  if (!model || can_ask (model, prompt, prompt_format, &error))
    return TRUE;
  g_prefix_error (&error, "The new question was refused and the old one stays: ");
  gst_mllama_caption_model_post_error (element, error, TRUE);
  return FALSE;
}

/* All questions as they stand. */
static gboolean
check_all_questions (GstMllamaCaption *self, MllamaModel *model, GError **error)
{
  const GstMllamaCaptionTimes times = {0};
  gboolean valid = TRUE;

  g_mutex_lock (&self->lock);
  g_autoptr (GstMllamaCaptionFrame) frame = gst_mllama_caption_frame_new (NULL, &times, &self->settings);
  gst_mllama_caption_add_questions (self, frame);
  g_mutex_unlock (&self->lock);
  for (guint i = 0; valid && i < frame->answers->len; i++) {
    const GstMllamaCaptionAnswer *answer = g_ptr_array_index (frame->answers, i);
    valid = can_ask (model, answer->prompt, answer->prompt_format, error);
  }
  return valid;
}

/* --- states --- */

static gboolean
open_model (GstMllamaCaption *self)
{
  g_autoptr (GError) error = NULL;
  GstMllamaCaptionSettings settings;

  g_mutex_lock (&self->lock);
  gst_mllama_caption_settings_copy (&settings, &self->settings);
  self->model_changed = FALSE;
  MllamaModel *old = g_steal_pointer (&self->model);
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&old, mllama_model_unref);
  g_autoptr (MllamaModel) model = gst_mllama_caption_model_open (&settings, &error);
  gst_mllama_caption_settings_clear (&settings);
  if (!model || !check_all_questions (self, model, &error)) {
    gst_mllama_caption_model_post_error (GST_ELEMENT (self), error, FALSE);
    return FALSE;
  }
  g_mutex_lock (&self->lock);
  self->model = g_steal_pointer (&model);
  g_mutex_unlock (&self->lock);
  return TRUE;
}

static void
close_model (GstMllamaCaption *self)
{
  g_mutex_lock (&self->lock);
  MllamaModel *model = g_steal_pointer (&self->model);
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&model, mllama_model_unref);
}

static gboolean
start (GstMllamaCaption *self)
{
  g_mutex_lock (&self->lock);
  const gboolean reopen = self->model_changed || !self->model;
  g_mutex_unlock (&self->lock);
  if (reopen && !open_model (self))
    return FALSE;
  g_mutex_lock (&self->lock);
  gst_mllama_caption_reset_stream (self);
  self->stopping = self->flushing = self->failed = FALSE;
  self->load_begun = self->loaded = self->progress_open = FALSE;
  self->n_captions = 0;
  self->warned_at = 0;
  self->n_unwarned = 0;
  memset (&self->stats, 0, sizeof self->stats);
  g_clear_error (&self->load_error);
  g_clear_object (&self->load_cancellable);
  self->load_cancellable = g_cancellable_new ();
  self->worker = g_thread_new ("mllama-worker", gst_mllama_caption_work, self);
  self->reporter = g_thread_new ("mllama-report", gst_mllama_caption_report, self);
  g_mutex_unlock (&self->lock);
  return TRUE;
}

/* After it nothing is said or asked any more; streaming thread and text tasks have been let go. */
static void
stop (GstMllamaCaption *self)
{
  g_mutex_lock (&self->lock);
  GThread *worker = self->worker, *reporter = self->reporter;
  g_mutex_unlock (&self->lock);
  if (worker)
    g_thread_join (worker);
  if (reporter)
    g_thread_join (reporter);
  gst_mllama_caption_end_load (self);
  g_mutex_lock (&self->lock);
  self->worker = self->reporter = NULL;
  while (self->n_running > 0)
    g_cond_wait (&self->changed, &self->lock);
  gst_mllama_caption_reset_stream (self);
  g_clear_pointer (&self->last, gst_mllama_caption_frame_unref);
  g_clear_pointer (&self->reference, gst_mllama_caption_frame_unref);
  g_hash_table_remove_all (self->latest);
  g_mutex_unlock (&self->lock);
}

GstStateChangeReturn
gst_mllama_caption_change_state (GstElement *element, GstStateChange transition)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (element);

  if (transition == GST_STATE_CHANGE_NULL_TO_READY && !open_model (self))
    return GST_STATE_CHANGE_FAILURE;
  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && !start (self))
    return GST_STATE_CHANGE_FAILURE;
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY)
    gst_mllama_caption_cancel (self, TRUE);
  GstStateChangeReturn result = gst_mllama_caption_chain_up_state (element, transition);
  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && result == GST_STATE_CHANGE_FAILURE) {
    gst_mllama_caption_cancel (self, TRUE);
    stop (self);
  }
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY)
    stop (self);
  if (transition == GST_STATE_CHANGE_READY_TO_NULL)
    close_model (self);
  return result;
}
