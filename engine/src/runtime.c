/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime.h"

/* Text keys and values get a quarter of the free memory unless the settings say otherwise, and so do the
 * cross-attention states: half is left to work space and to others. */
#define DEFAULT_MEMORY_SHARE 4

static gsize
choose_cap (MllamaBackend *backend, gsize wanted)
{
  gsize available = backend->ops->get_free_bytes (backend);

  return wanted > 0 ? wanted : available / DEFAULT_MEMORY_SHARE;
}

/* Pages for the cap, but never more than every row could fill. */
static gboolean
create_kv (MllamaRuntime *runtime, gsize max_bytes, GError **error)
{
  MllamaBackend *be = runtime->backend;
  const MllamaTextConfig *config = &runtime->checkpoint->config->text;
  gsize most = (gsize) MLLAMA_MAX_ROWS * mllama_text_row_count_pages (config->max_positions);
  gsize n_pages;

  runtime->page_bytes = be->ops->kv_get_page_bytes (be, runtime->n_self_layers);
  n_pages = CLAMP (max_bytes / MAX (runtime->page_bytes, 1), 1, MIN (most, G_MAXINT32));
  if (!(runtime->kv = be->ops->kv_new (be, runtime->n_self_layers, n_pages, error)))
    return FALSE;
  runtime->pages = mllama_page_pool_new (n_pages);
  return TRUE;
}

MllamaRuntime *
mllama_runtime_new (const MllamaCheckpoint *checkpoint, MllamaDevice device, const MllamaModelSettings *settings,
                    GCancellable *cancellable, GError **error)
{
  g_autoptr (MllamaRuntime) runtime = g_new0 (MllamaRuntime, 1);
  MllamaBackendSettings backend_settings = {settings->cuda_device_plus_one - 1, settings->dtype};
  gint64 start = g_get_monotonic_time ();
  MllamaBackend *be;

  g_mutex_init (&runtime->lock);
  runtime->checkpoint = checkpoint;
  runtime->n_self_layers = checkpoint->config->text.n_layers - checkpoint->config->text.n_cross_layers;
  if (!(be = runtime->backend = mllama_backend_new (device, checkpoint->config, &backend_settings, error)))
    return NULL;
  runtime->weights =
      mllama_weights_load (be, checkpoint->source, checkpoint->config, !settings->text_only, cancellable, error);
  if (!runtime->weights || !be->ops->wait (be, error))
    return NULL;
  runtime->max_states_bytes = choose_cap (be, settings->states_bytes);
  if (!create_kv (runtime, choose_cap (be, settings->kv_bytes), error) ||
      !(runtime->decoder = mllama_decoder_new (runtime->weights, MLLAMA_PREFILL_CHUNK, error)))
    return NULL;
  if (runtime->weights->has_vision)
    runtime->vision = mllama_vision_new (runtime->weights);
  mllama_pass_builder_init (&runtime->pass, MLLAMA_PREFILL_CHUNK);
  if (!mllama_runtime_warm_up (runtime, cancellable, error))
    return NULL;
  runtime->statistics.weight_bytes = runtime->weights->n_bytes;
  runtime->statistics.load_ns = (guint64) (g_get_monotonic_time () - start) * 1000;
  return g_steal_pointer (&runtime);
}

void
mllama_runtime_free (MllamaRuntime *runtime)
{
  if (!runtime)
    return;
  if (runtime->pass.spans)
    mllama_pass_builder_clear (&runtime->pass);
  mllama_vision_free (runtime->vision);
  mllama_decoder_free (runtime->decoder);
  mllama_page_pool_free (runtime->pages);
  if (runtime->kv)
    runtime->backend->ops->kv_free (runtime->backend, runtime->kv);
  mllama_weights_free (runtime->weights);
  if (runtime->backend)
    runtime->backend->ops->free (runtime->backend);
  g_mutex_clear (&runtime->lock);
  g_free (runtime);
}

gboolean
mllama_runtime_commit_pages (MllamaRuntime *runtime, const MllamaTextRow *row, GError **error)
{
  guint n_needed = 0;

  for (guint i = 0; i < row->n_pages; i++)
    n_needed = MAX (n_needed, row->pages[i] + 1);
  return runtime->backend->ops->kv_commit (runtime->backend, runtime->kv, n_needed, error);
}

gboolean
mllama_runtime_reserve_states (MllamaRuntime *runtime, gsize n_bytes, GError **error)
{
  gsize used;
  gboolean fits;

  g_mutex_lock (&runtime->lock);
  used = runtime->statistics.states_bytes;
  fits = used <= runtime->max_states_bytes && n_bytes <= runtime->max_states_bytes - used;
  if (fits)
    runtime->statistics.states_bytes += n_bytes;
  g_mutex_unlock (&runtime->lock);
  if (!fits)
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY,
                 "the states of this picture take %.1f MB, and %.1f of the %.1f MB set aside for states are in use; "
                 "drop states that are no longer needed, or raise states_bytes",
                 n_bytes / 1e6, used / 1e6, runtime->max_states_bytes / 1e6);
  return fits;
}

void
mllama_runtime_release_states (MllamaRuntime *runtime, gsize n_bytes)
{
  g_mutex_lock (&runtime->lock);
  runtime->statistics.states_bytes -= n_bytes;
  g_mutex_unlock (&runtime->lock);
}
