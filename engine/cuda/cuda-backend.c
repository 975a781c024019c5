/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cuda.h"

/* One size for each kind of pass that is recorded or has kernels of its own: the buckets of few tokens, and many. */
static const guint slow_starts[] = {1, 2, 4, 8, 16, 32, 64, 256};

static gboolean
wait_for_all (MllamaBackend *base, GError **error)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);

  mllama_cuda_device_enter (be);
  if (!mllama_cuda_loader_finish (be, error))
    return FALSE;
  mllama_cuda_check (be, cudaStreamSynchronize (be->stream), "waiting for the device");
  return mllama_cuda_is_well (be, error);
}

static gboolean
is_well (MllamaBackend *base)
{
  return mllama_cuda_is_well (mllama_cuda_backend (base), NULL);
}

/* --- operations that may be the first of a thread --- */

static MllamaFrame *
create_frame (MllamaBackend *be, const MllamaImage *image, const MllamaImageOptions *options,
              const MllamaTilePlan *plan, GError **error)
{
  mllama_cuda_device_enter (mllama_cuda_backend (be));
  return mllama_cuda_frame_new (be, image, options, plan, error);
}

static MllamaFrame *
create_frame_from_pixels (MllamaBackend *be, const MllamaPixels *pixels, GError **error)
{
  mllama_cuda_device_enter (mllama_cuda_backend (be));
  return mllama_cuda_frame_new_from_pixels (be, pixels, error);
}

static gboolean
begin_pass (MllamaBackend *be, const MllamaPass *pass)
{
  mllama_cuda_device_enter (mllama_cuda_backend (be));
  return mllama_cuda_pass_begin (be, pass);
}

static gboolean
read_samples (MllamaBackend *be, MllamaSample *samples, GError **error)
{
  mllama_cuda_device_enter (mllama_cuda_backend (be));
  return mllama_cuda_samples_read (be, samples, error);
}

/* --- its life --- */

static void
free_backend (MllamaBackend *base)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);

  if (!be)
    return;
  if (be->stream) {
    mllama_cuda_device_enter (be);
    mllama_cuda_loader_clear (be);
    mllama_cuda_check (be, cudaStreamSynchronize (be->stream), "waiting for the last work");
  }
  mllama_cuda_tower_clear (be);
  if (be->imager)
    mllama_cuda_imager_clear (be);
  if (be->recorder)
    mllama_cuda_recorder_clear (be);
  if (be->matmul)
    mllama_cuda_matmul_clear (be);
  mllama_cuda_free (be, be->inv_freq);
  mllama_cuda_memory_clear (be);
  g_free (be->driver);
  g_clear_error (&be->failure);
  g_mutex_clear (&be->lock);
  g_free (be);
}

static const MllamaBackendOps table = {
    .name = "cuda",
    .n_ahead = 1,
    .max_frames = 8,
    .slow_starts = slow_starts,
    .n_slow_starts = G_N_ELEMENTS (slow_starts),
    .free = free_backend,
    .wait = wait_for_all,
    .is_well = is_well,
    .tensor_new = mllama_cuda_tensor_new,
    .tensor_free = mllama_cuda_tensor_free,
    .tensor_read = mllama_cuda_tensor_read,
    .tensor_write = mllama_cuda_tensor_write,
    .weight_new = mllama_cuda_weight_new,
    .weight_free = mllama_cuda_weight_free,
    .weight_get_bytes = mllama_cuda_weight_get_bytes,
    .get_free_bytes = mllama_cuda_get_free_bytes,
    .get_total_bytes = mllama_cuda_get_total_bytes,
    .frame_new = create_frame,
    .frame_new_from_pixels = create_frame_from_pixels,
    .frame_free = mllama_cuda_frame_free,
    .slab_new = mllama_cuda_slab_new,
    .slab_free = mllama_cuda_slab_free,
    .slab_get_bytes = mllama_cuda_slab_get_bytes,
    .kv_new = mllama_cuda_kv_new,
    .kv_commit = mllama_cuda_kv_commit,
    .kv_free = mllama_cuda_kv_free,
    .kv_get_page_bytes = mllama_cuda_kv_get_page_bytes,
    .embed_patches = mllama_cuda_embed_patches,
    .layer_norm_linear = mllama_cuda_layer_norm_linear,
    .tower_attention = mllama_cuda_tower_attention,
    .linear_residual = mllama_cuda_linear_residual,
    .norm_add_tiles = mllama_cuda_norm_add_tiles,
    .copy_columns = mllama_cuda_copy_columns,
    .linear = mllama_cuda_linear,
    .cross_keys_values = mllama_cuda_cross_keys_values,
    .pass_begin = begin_pass,
    .pass_end = mllama_cuda_pass_end,
    .embed_tokens = mllama_cuda_embed_tokens,
    .norm_qkv_rope = mllama_cuda_norm_qkv_rope,
    .self_attention = mllama_cuda_self_attention,
    .norm_q_heads = mllama_cuda_norm_q_heads,
    .cross_attention = mllama_cuda_cross_attention,
    .norm_swiglu = mllama_cuda_norm_swiglu,
    .linear_residual_tokens = mllama_cuda_linear_residual_tokens,
    .norm_outputs = mllama_cuda_norm_outputs,
    .logits = mllama_cuda_logits,
    .draw = mllama_cuda_draw,
    .samples_read = read_samples,
};

static gboolean
choose_dtype (MllamaCudaBackend *be, MllamaDtype dtype, GError **error)
{
  if (dtype != MLLAMA_DTYPE_AUTO && dtype != MLLAMA_DTYPE_BF16 && dtype != MLLAMA_DTYPE_F32) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
                 "the CUDA backend computes in bf16 or f32, and dtype number %d was asked for; use dtype=auto", dtype);
    return FALSE;
  }
  be->dtype = dtype == MLLAMA_DTYPE_F32 ? MLLAMA_DTYPE_F32 : MLLAMA_DTYPE_BF16;
  be->element_bytes = be->dtype == MLLAMA_DTYPE_F32 ? 4 : 2;
  return TRUE;
}

MllamaBackend *
mllama_cuda_backend_new (const MllamaConfig *config, const MllamaBackendSettings *settings, GError **error)
{
  MllamaCudaBackend *be = g_new0 (MllamaCudaBackend, 1);

  be->base.ops = &table;
  be->base.config = config;
  g_mutex_init (&be->lock);
  if (choose_dtype (be, settings ? settings->dtype : MLLAMA_DTYPE_AUTO, error) &&
      mllama_cuda_device_choose (be, settings ? settings->cuda_device : -1, error) &&
      mllama_cuda_memory_init (be, error) && mllama_cuda_loader_init (be, error) && mllama_cuda_rope_init (be, error) &&
      mllama_cuda_matmul_init (be, error) && mllama_cuda_recorder_init (be, error) &&
      mllama_cuda_imager_init (be, error))
    return &be->base;
  free_backend (&be->base);
  return NULL;
}
