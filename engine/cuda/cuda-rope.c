/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cuda.h"
#include "rope.h"

gboolean
mllama_cuda_rope_init (MllamaCudaBackend *be, GError **error)
{
  static const char what[] = "rotary frequencies";
  const MllamaTextConfig *text = &be->base.config->text;
  gsize n_bytes = text->head_width / 2 * sizeof (float);
  g_autofree float *inv_freq = g_malloc (n_bytes);
  cudaError_t result;

  mllama_rope_get_frequencies (&text->rope, text->head_width, inv_freq);
  if (!(be->inv_freq = mllama_cuda_alloc (be, n_bytes, what, error)))
    return FALSE;
  result = cudaMemcpyAsync (be->inv_freq, inv_freq, n_bytes, cudaMemcpyHostToDevice, be->stream);
  if (result == cudaSuccess)
    result = cudaStreamSynchronize (be->stream);
  if (result != cudaSuccess)
    mllama_cuda_set_error (error, result, what, n_bytes);
  return result == cudaSuccess;
}
