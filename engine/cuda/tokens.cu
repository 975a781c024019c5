/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Embeddings of a pass' tokens. */
#include "pass.cuh"

namespace mllama
{

enum {
  EMBED_THREADS = 256
};

/* Rows of the table are as long as they are wide: in 16 byte pieces only where the width allows. */
template <typename T, bool WIDE>
__global__ void
__launch_bounds__ (EMBED_THREADS)
    embed_block_per_token (const MllamaCudaPass *pass, T *x, size_t x_ld, const T *table, size_t width)
{
  const unsigned token = blockIdx.x;

  wait_for_inputs ();
  let_next_start ();
  if (token >= pass->n_tokens)
    return;
  const bool inert = is_inert (pass, token);
  const T *from = table + (inert ? 0 : get_id (pass, token) * width);
  T *to = x + token * x_ld;

  if (WIDE) {
    for (size_t i = threadIdx.x * Vector<T>::n; i < width; i += EMBED_THREADS * Vector<T>::n)
      store_vector (to + i, inert ? Vector<T>{} : load_vector (from + i));
  } else {
    for (size_t i = threadIdx.x; i < width; i += EMBED_THREADS)
      to[i] = inert ? from_float<T> (0) : from[i];
  }
}

template <typename T>
static void
embed (MllamaCudaBackend *be, MllamaTensor *x, const MllamaWeight *table)
{
  bool wide = table->width % Vector<T>::n == 0;

  launch (be, "embed_tokens", wide ? embed_block_per_token<T, true> : embed_block_per_token<T, false>,
          dim3 (be->n_max_tokens), dim3 (EMBED_THREADS), 0, be->pass, (T *) x->data, x->ld, (const T *) table->data,
          table->width);
}

} // namespace mllama

extern "C" void
mllama_cuda_embed_tokens (MllamaBackend *backend, MllamaTensor *x, const MllamaWeight *table, const MllamaPass *pass)
{
  MllamaCudaBackend *be = mllama_cuda_backend (backend);

  if (be->n_max_tokens == 0)
    return;
  if (be->dtype == MLLAMA_DTYPE_F32)
    mllama::embed<float> (be, x, table);
  else
    mllama::embed<mllama::bf16> (be, x, table);
}
