/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu.h"

#include <stdlib.h>

#include "rope.h"

/* Every operation is done when it returns. */
static gboolean
wait_for_nothing (MllamaBackend *be, GError **error)
{
  return TRUE;
}

static gboolean
is_well (MllamaBackend *be)
{
  return TRUE;
}

/* A pass is where the caller says it is: operations read it there. */
static gboolean
begin_pass (MllamaBackend *be, const MllamaPass *pass)
{
  return TRUE;
}

static void
end_pass (MllamaBackend *be)
{
}

static void
free_backend (MllamaBackend *be)
{
  MllamaCpuBackend *cpu = mllama_cpu_backend (be);

  if (!be)
    return;
  for (guint i = 0; cpu->scratch && i < mllama_cpu_workers_get_n (cpu->workers); i++)
    free (cpu->scratch[i]);
  g_free (cpu->scratch);
  mllama_cpu_workers_free (cpu->workers);
  mllama_cpu_drawing_clear (&cpu->drawing);
  g_free (cpu->inv_freq);
  free (cpu->inputs);
  free (cpu->outputs);
  g_free (cpu);
}

static const MllamaBackendOps table = {
    .name = "cpu",
    .max_frames = 1,
    .free = free_backend,
    .wait = wait_for_nothing,
    .is_well = is_well,
    .tensor_new = mllama_cpu_tensor_new,
    .tensor_free = mllama_cpu_tensor_free,
    .tensor_read = mllama_cpu_tensor_read,
    .tensor_write = mllama_cpu_tensor_write,
    .weight_new = mllama_cpu_weight_new,
    .weight_free = mllama_cpu_weight_free,
    .weight_get_bytes = mllama_cpu_weight_get_bytes,
    .get_free_bytes = mllama_cpu_get_free_bytes,
    .get_total_bytes = mllama_cpu_get_total_bytes,
    .frame_new = mllama_cpu_frame_new,
    .frame_new_from_pixels = mllama_cpu_frame_new_from_pixels,
    .frame_free = mllama_cpu_frame_free,
    .slab_new = mllama_cpu_slab_new,
    .slab_free = mllama_cpu_slab_free,
    .slab_get_bytes = mllama_cpu_slab_get_bytes,
    .kv_new = mllama_cpu_kv_new,
    .kv_commit = mllama_cpu_kv_commit,
    .kv_free = mllama_cpu_kv_free,
    .kv_get_page_bytes = mllama_cpu_kv_get_page_bytes,
    .embed_patches = mllama_cpu_embed_patches,
    .layer_norm_linear = mllama_cpu_layer_norm_linear,
    .tower_attention = mllama_cpu_tower_attention,
    .linear_residual = mllama_cpu_linear_residual,
    .norm_add_tiles = mllama_cpu_norm_add_tiles,
    .copy_columns = mllama_cpu_copy_columns,
    .linear = mllama_cpu_linear,
    .cross_keys_values = mllama_cpu_cross_keys_values,
    .pass_begin = begin_pass,
    .pass_end = end_pass,
    .embed_tokens = mllama_cpu_embed_tokens,
    .norm_qkv_rope = mllama_cpu_norm_qkv_rope,
    .self_attention = mllama_cpu_self_attention,
    .norm_q_heads = mllama_cpu_norm_q_heads,
    .cross_attention = mllama_cpu_cross_attention,
    .norm_swiglu = mllama_cpu_norm_swiglu,
    .linear_residual_tokens = mllama_cpu_linear_residual_tokens,
    .norm_outputs = mllama_cpu_norm_outputs,
    .logits = mllama_cpu_logits,
    .draw = mllama_cpu_draw,
    .samples_read = mllama_cpu_samples_read,
};

/* What one thread needs beside tensors: for the tower's attention, the decoder's, or one row of either. */
static gsize
count_scratch (const MllamaConfig *config)
{
  const MllamaTextConfig *text = &config->text;
  gsize n = MAX (mllama_cpu_attention_get_scratch (text->n_heads / text->n_kv_heads), text->head_width);

  if (config->has_vision) {
    n = MAX (n, mllama_cpu_tower_get_scratch (config->vision.hidden_size / config->vision.n_heads));
    n = MAX (n, config->vision.hidden_size);
  }
  return n;
}

static gboolean
create_scratch (MllamaCpuBackend *be, GError **error)
{
  guint n_workers = mllama_cpu_workers_get_n (be->workers);
  gsize n_floats = count_scratch (be->base.config);

  be->scratch = g_new0 (float *, n_workers);
  for (guint i = 0; i < n_workers; i++)
    if (!(be->scratch[i] = mllama_cpu_alloc (1, n_floats, "the work space of a thread", error)))
      return FALSE;
  return TRUE;
}

static gboolean
check_settings (const MllamaConfig *config, const MllamaBackendSettings *settings, GError **error)
{
  if (settings && settings->dtype != MLLAMA_DTYPE_AUTO && settings->dtype != MLLAMA_DTYPE_F32) {
    g_set_error_literal (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
                         "the CPU backend computes in float32; use dtype=f32 or dtype=auto, or device=cuda");
    return FALSE;
  }
  return mllama_cpu_check_blas (error);
}

MllamaBackend *
mllama_cpu_backend_new (const MllamaConfig *config, const MllamaBackendSettings *settings, GError **error)
{
  MllamaCpuBackend *be;

  if (!check_settings (config, settings, error))
    return NULL;
  be = g_new0 (MllamaCpuBackend, 1);
  be->base.ops = &table;
  be->base.config = config;
  be->vector = mllama_vector_ops_list ()[0];
  be->workers = mllama_cpu_workers_new (0);
  be->inv_freq = g_new (float, config->text.head_width / 2);
  mllama_rope_get_frequencies (&config->text.rope, config->text.head_width, be->inv_freq);
  if (!create_scratch (be, error)) {
    free_backend (&be->base);
    return NULL;
  }
  return &be->base;
}
