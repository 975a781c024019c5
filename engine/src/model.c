/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model-private.h"

#include "prompt-private.h"
#include "states-private.h"

struct _MllamaModel {
  gint ref_count; /* under registry_lock */
  char *key;      /* of the registry */
  MllamaCheckpoint *checkpoint;
  MllamaModelSettings settings; /* device and dtype are never AUTO */

  GMutex load_lock;           /* held while loading */
  MllamaScheduler *scheduler; /* atomic: NULL until loaded, then constant */
};

/* The models of the process, so that whoever opens the same finds it again: key (its own) -> MllamaModel, no reference.
 * The one place where the library keeps something for the whole process. */
static GMutex registry_lock;
static GHashTable *registry;

static char *
create_key (const char *path, const MllamaModelSettings *settings)
{
  return g_strdup_printf ("%d:%d:%d:%d:%s", settings->device, settings->cuda_device_plus_one, settings->dtype,
                          settings->text_only, path);
}

/* The lock is held. NULL also if the model's device has failed: it is to be loaded again. */
static MllamaModel *
look_up (const char *key)
{
  MllamaModel *model = registry ? g_hash_table_lookup (registry, key) : NULL;
  MllamaScheduler *scheduler = model ? g_atomic_pointer_get (&model->scheduler) : NULL;
  MllamaBackend *backend = scheduler ? mllama_scheduler_get_runtime (scheduler)->backend : NULL;

  return !backend || backend->ops->is_well (backend) ? model : NULL;
}

/* Returns a reference, or NULL. */
static MllamaModel *
find_model (const char *key)
{
  MllamaModel *model;

  g_mutex_lock (&registry_lock);
  model = look_up (key);
  if (model)
    model->ref_count++;
  g_mutex_unlock (&registry_lock);
  return model;
}

/* Enters the model, unless another thread has opened the same meanwhile: that one is returned then. */
static MllamaModel *
enter_model (MllamaModel *model)
{
  MllamaModel *other;

  g_mutex_lock (&registry_lock);
  if (!registry)
    registry = g_hash_table_new (g_str_hash, g_str_equal);
  other = look_up (model->key);
  if (other)
    other->ref_count++;
  else
    g_hash_table_replace (registry, model->key, model);
  g_mutex_unlock (&registry_lock);
  return other ? other : model;
}

static void
free_model (MllamaModel *model)
{
  if (model->scheduler)
    mllama_scheduler_stop (model->scheduler);
  mllama_checkpoint_free (model->checkpoint);
  g_mutex_clear (&model->load_lock);
  g_free (model->key);
  g_free (model);
}

static gboolean
resolve_settings (MllamaModelSettings *settings, GError **error)
{
  if (settings->device == MLLAMA_DEVICE_AUTO)
    settings->device = mllama_backend_has_cuda () ? MLLAMA_DEVICE_CUDA : MLLAMA_DEVICE_CPU;
  if (settings->dtype == MLLAMA_DTYPE_AUTO)
    settings->dtype = settings->device == MLLAMA_DEVICE_CUDA ? MLLAMA_DTYPE_BF16 : MLLAMA_DTYPE_F32;
  if (settings->device == MLLAMA_DEVICE_CUDA || settings->dtype == MLLAMA_DTYPE_F32)
    return TRUE;
  g_set_error_literal (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
                       "the CPU backend computes in f32 only; use dtype=f32 or dtype=auto with device=cpu");
  return FALSE;
}

MllamaModel *
mllama_model_open (const char *checkpoint, const MllamaModelSettings *settings, GError **error)
{
  MllamaModelSettings resolved = {0};
  g_autofree char *path = NULL, *key = NULL;
  MllamaModel *model, *entered;

  g_return_val_if_fail (checkpoint != NULL, NULL);
  if (settings)
    resolved = *settings;
  if (!resolve_settings (&resolved, error) || !(path = mllama_checkpoint_find (checkpoint, error)))
    return NULL;
  key = create_key (path, &resolved);
  if ((model = find_model (key)))
    return model;
  model = g_new0 (MllamaModel, 1);
  model->ref_count = 1;
  model->key = g_steal_pointer (&key);
  model->settings = resolved;
  g_mutex_init (&model->load_lock);
  model->checkpoint = mllama_checkpoint_open (path, resolved.text_only, error);
  if (!model->checkpoint) {
    free_model (model);
    return NULL;
  }
  entered = enter_model (model);
  if (entered != model)
    free_model (model);
  return entered;
}

MllamaModel *
mllama_model_ref (MllamaModel *model)
{
  g_mutex_lock (&registry_lock);
  model->ref_count++;
  g_mutex_unlock (&registry_lock);
  return model;
}

void
mllama_model_unref (MllamaModel *model)
{
  gboolean is_last;

  if (!model)
    return;
  g_mutex_lock (&registry_lock);
  is_last = --model->ref_count == 0;
  /* Another may stand there by now. */
  if (is_last && g_hash_table_lookup (registry, model->key) == model)
    g_hash_table_remove (registry, model->key);
  g_mutex_unlock (&registry_lock);
  if (is_last)
    free_model (model);
}

gboolean
mllama_model_load (MllamaModel *model, GCancellable *cancellable, GError **error)
{
  MllamaRuntime *runtime = NULL;
  gboolean is_loaded;

  g_mutex_lock (&model->load_lock);
  is_loaded = model->scheduler != NULL;
  if (!is_loaded) {
    runtime = mllama_runtime_new (model->checkpoint, model->settings.device, &model->settings, cancellable, error);
    if (runtime)
      g_atomic_pointer_set (&model->scheduler, mllama_scheduler_new (runtime));
  }
  g_mutex_unlock (&model->load_lock);
  return is_loaded || runtime;
}

gboolean
mllama_model_is_loaded (MllamaModel *model)
{
  return g_atomic_pointer_get (&model->scheduler) != NULL;
}

MllamaScheduler *
mllama_model_get_scheduler (MllamaModel *model, GError **error)
{
  MllamaScheduler *scheduler = g_atomic_pointer_get (&model->scheduler);

  if (!scheduler)
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
                 "the weights of %s are not loaded yet; call mllama_model_load first", model->checkpoint->path);
  return scheduler;
}

const MllamaCheckpoint *
mllama_model_get_checkpoint (MllamaModel *model)
{
  return model->checkpoint;
}

const MllamaConfig *
mllama_model_get_config (MllamaModel *model)
{
  return model->checkpoint->config;
}

const MllamaImageOptions *
mllama_model_get_image_options (MllamaModel *model)
{
  return model->checkpoint->has_image_options ? &model->checkpoint->image_options : NULL;
}

MllamaTokenizer *
mllama_model_get_tokenizer (MllamaModel *model)
{
  return model->checkpoint->tokenizer;
}

const char *
mllama_model_get_path (MllamaModel *model)
{
  return model->checkpoint->path;
}

MllamaDevice
mllama_model_get_device (MllamaModel *model)
{
  return model->settings.device;
}

MllamaDtype
mllama_model_get_dtype (MllamaModel *model)
{
  return model->settings.dtype;
}

gboolean
mllama_model_has_chat_template (MllamaModel *model)
{
  return model->checkpoint->has_chat_template;
}

const guint32 *
mllama_model_get_eos_ids (MllamaModel *model, guint *n_ids)
{
  *n_ids = model->checkpoint->n_eos_ids;
  return model->checkpoint->eos_ids;
}

void
mllama_model_get_statistics (MllamaModel *model, MllamaStatistics *statistics)
{
  MllamaScheduler *scheduler = mllama_model_get_scheduler (model, NULL);
  MllamaRuntime *runtime;

  *statistics = (MllamaStatistics){0};
  if (!scheduler)
    return;
  runtime = mllama_scheduler_get_runtime (scheduler);
  g_mutex_lock (&runtime->lock);
  *statistics = runtime->statistics;
  statistics->device_free_bytes = runtime->backend->ops->get_free_bytes (runtime->backend);
  statistics->device_total_bytes = runtime->backend->ops->get_total_bytes (runtime->backend);
  g_mutex_unlock (&runtime->lock);
}

gboolean
mllama_model_check_states (MllamaModel *model, const MllamaPrompt *prompt, MllamaStates *const *states, guint n_states,
                           GError **error)
{
  guint n_images = mllama_prompt_get_n_images (prompt);

  if (mllama_prompt_get_tokenizer (prompt) != model->checkpoint->tokenizer) {
    g_set_error_literal (error, MLLAMA_ERROR, MLLAMA_ERROR_WRONG_MODEL,
                         "the prompt was made for another model; make it again for this one");
    return FALSE;
  }
  if (n_states != n_images) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
                 "the prompt has %u image marks, and %u pictures were given; each mark needs one", n_images, n_states);
    return FALSE;
  }
  for (guint i = 0; i < n_states; i++) {
    if (states[i]->model != model) {
      g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_WRONG_MODEL,
                   "the states of picture %u were made by another model; encode the picture with this one", i);
      return FALSE;
    }
    if (states[i]->semantics != states[0]->semantics) {
      g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_WRONG_MODEL,
                   "pictures 0 and %u of one prompt were encoded with different semantics; encode them alike", i);
      return FALSE;
    }
  }
  return TRUE;
}
