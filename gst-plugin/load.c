/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Loading the model on the worker's thread, with PROGRESS messages; and giving it up. */
#include "element.h"
#include "model.h"

#define GST_CAT_DEFAULT gst_mllama_caption_debug

static void
post_progress (GstMllamaCaption *self, GstProgressType type, const char *text)
{
  gst_element_post_message (GST_ELEMENT (self), gst_message_new_progress (GST_OBJECT (self), type, "load", text));
}

void
gst_mllama_caption_begin_load (GstMllamaCaption *self)
{
  g_mutex_lock (&self->lock);
  const gboolean begin = !self->load_begun && !self->stopping;
  self->load_begun = TRUE;
  g_mutex_unlock (&self->lock);
  if (!begin)
    return;
  /* START goes first: only then may the worker finish. */
  post_progress (self, GST_PROGRESS_TYPE_START, "Loading the model");
  g_mutex_lock (&self->lock);
  self->progress_open = TRUE;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

static void
finish_progress (GstMllamaCaption *self, GstProgressType type, const char *text)
{
  g_mutex_lock (&self->lock);
  const gboolean open = self->progress_open;
  self->progress_open = FALSE;
  g_mutex_unlock (&self->lock);
  if (open)
    post_progress (self, type, text);
}

void
gst_mllama_caption_end_load (GstMllamaCaption *self)
{
  finish_progress (self, GST_PROGRESS_TYPE_CANCELED, "Loading was cancelled");
}

/* The element's model; opened again if it was unloaded. */
static MllamaModel *
get_model (GstMllamaCaption *self, GError **error)
{
  GstMllamaCaptionSettings settings;

  g_mutex_lock (&self->lock);
  MllamaModel *model = self->model ? mllama_model_ref (self->model) : NULL;
  gst_mllama_caption_settings_copy (&settings, &self->settings);
  g_mutex_unlock (&self->lock);
  if (!model && (model = gst_mllama_caption_model_open (&settings, error))) {
    g_mutex_lock (&self->lock);
    self->model = mllama_model_ref (model);
    g_mutex_unlock (&self->lock);
  }
  gst_mllama_caption_settings_clear (&settings);
  return model;
}

/* Loads without the lock. A failure is kept: each frame then fails with it, as on-error says. */
static void
load (GstMllamaCaption *self)
{
  g_autoptr (GError) error = NULL;
  const gint64 start = g_get_monotonic_time ();
  g_autoptr (MllamaModel) model = get_model (self, &error);
  const gboolean loaded = model && mllama_model_load (model, self->load_cancellable, &error);

  g_mutex_lock (&self->lock);
  self->loaded = loaded;
  self->idle_since = g_get_monotonic_time ();
  gst_mllama_caption_stats_add (&self->stats, GST_MLLAMA_CAPTION_LOAD_TIME,
                                (guint64) (self->idle_since - start) * GST_USECOND);
  if (!loaded)
    self->load_error = g_error_copy (error);
  g_mutex_unlock (&self->lock);
  if (loaded)
    finish_progress (self, GST_PROGRESS_TYPE_COMPLETE, "The model is loaded");
  else if (g_error_matches (error, MLLAMA_ERROR, MLLAMA_ERROR_CANCELLED))
    finish_progress (self, GST_PROGRESS_TYPE_CANCELED, "Loading was cancelled");
  else
    finish_progress (self, GST_PROGRESS_TYPE_ERROR, error->message);
}

void
gst_mllama_caption_load (GstMllamaCaption *self)
{
  const gboolean start = !self->progress_open;

  self->progress_open = TRUE;
  g_mutex_unlock (&self->lock);
  if (start)
    post_progress (self, GST_PROGRESS_TYPE_START, "Loading the model");
  load (self);
  g_mutex_lock (&self->lock);
}

/* Gives the model up after a while without work; the next frame loads it again. */
void
gst_mllama_caption_unload (GstMllamaCaption *self)
{
  g_autoptr (MllamaModel) model = g_steal_pointer (&self->model);

  GST_INFO_OBJECT (self, "idle-timeout: unloading the model");
  self->loaded = FALSE;
  g_clear_pointer (&self->last, gst_mllama_caption_frame_unref);
  g_clear_pointer (&self->reference, gst_mllama_caption_frame_unref);
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&model, mllama_model_unref);
  g_mutex_lock (&self->lock);
}
