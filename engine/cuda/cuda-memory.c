/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Device memory: a pool of the backend's own, work space, and slabs. */
#include "cuda-driver.h"

gsize
mllama_cuda_round_up (gsize width)
{
  return width > G_MAXSIZE - MLLAMA_CUDA_ALIGNMENT
             ? width
             : (width + MLLAMA_CUDA_ALIGNMENT - 1) / MLLAMA_CUDA_ALIGNMENT * MLLAMA_CUDA_ALIGNMENT;
}

/* --- the pool --- */

/* Frees what other threads gave back. They don't do it themselves: a stream that is being recorded must not be touched
 * by another thread. */
static void
free_returned (MllamaCudaBackend *be)
{
  g_autoptr (GPtrArray) returned = NULL;

  g_mutex_lock (&be->lock);
  if (be->returned->len > 0) {
    returned = be->returned;
    be->returned = g_ptr_array_new ();
  }
  g_mutex_unlock (&be->lock);
  for (guint i = 0; returned && i < returned->len; i++)
    mllama_cuda_free (be, g_ptr_array_index (returned, i));
}

/* A second try waits for the stream: memory that was freed in its order can be had only then. */
static cudaError_t
take_from_pool (MllamaCudaBackend *be, gsize n_bytes, void **data)
{
  cudaError_t result;

  if (n_bytes > be->total_bytes)
    return cudaErrorMemoryAllocation;
  result = cudaMallocFromPoolAsync (data, MAX (n_bytes, 1), be->pool, be->stream);
  if (result != cudaErrorMemoryAllocation)
    return result;
  cudaGetLastError ();
  if (!mllama_cuda_check (be, cudaStreamSynchronize (be->stream), "waiting for memory"))
    return cudaErrorMemoryAllocation;
  return cudaMallocFromPoolAsync (data, MAX (n_bytes, 1), be->pool, be->stream);
}

void *
mllama_cuda_alloc (MllamaCudaBackend *be, gsize n_bytes, const char *what, GError **error)
{
  void *data = NULL;
  cudaError_t result;

  mllama_cuda_device_enter (be);
  free_returned (be);
  if (!mllama_cuda_is_well (be, error))
    return NULL;
  result = take_from_pool (be, n_bytes, &data);
  if (result == cudaSuccess)
    return data;
  if (result != cudaErrorMemoryAllocation)
    mllama_cuda_check (be, result, what);
  if (mllama_cuda_is_well (be, error))
    mllama_cuda_set_error (error, result, what, n_bytes);
  return NULL;
}

void
mllama_cuda_free (MllamaCudaBackend *be, void *data)
{
  if (!data)
    return;
  mllama_cuda_device_enter (be);
  mllama_cuda_check (be, cudaFreeAsync (data, be->stream), "freeing memory");
}

/* Zeros, in the stream's order. */
static void *
alloc_zeros (MllamaCudaBackend *be, gsize n_bytes, const char *what, GError **error)
{
  void *data = mllama_cuda_alloc (be, n_bytes, what, error);

  if (!data || mllama_cuda_check (be, cudaMemsetAsync (data, 0, n_bytes, be->stream), what))
    return data;
  mllama_cuda_is_well (be, error);
  mllama_cuda_free (be, data);
  return NULL;
}

void *
mllama_cuda_alloc_rows (MllamaCudaBackend *be, gsize n_rows, gsize ld, gsize element_bytes, const char *what,
                        GError **error)
{
  gsize n_bytes;

  if (g_size_checked_mul (&n_bytes, n_rows, ld) && g_size_checked_mul (&n_bytes, n_bytes, element_bytes))
    return alloc_zeros (be, n_bytes, what, error);
  mllama_cuda_set_error (error, cudaErrorMemoryAllocation, what, 0);
  return NULL;
}

gsize
mllama_cuda_get_free_bytes (MllamaBackend *base)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);
  gsize free_bytes;

  return mllama_cuda_driver_get_free_bytes (be->driver, be->device, &free_bytes) ? free_bytes : G_MAXSIZE;
}

gsize
mllama_cuda_get_total_bytes (MllamaBackend *base)
{
  return mllama_cuda_backend (base)->total_bytes;
}

/* --- work space --- */

/* Operations of a pass, which may be recorded together with the addresses they were given. */
static gboolean
is_recorded (MllamaCudaScratch name)
{
  return name != MLLAMA_CUDA_SCRATCH_LAYOUT;
}

/* Grows by half at least, so that all that was outgrown is no more than twice what is there. */
gboolean
mllama_cuda_reserve_scratch (MllamaCudaBackend *be, MllamaCudaScratch name, gsize n_bytes, GError **error)
{
  gsize old_bytes = be->scratch[name].n_bytes, new_bytes = MAX (n_bytes, old_bytes + old_bytes / 2);
  void *old = be->scratch[name].data, *data;

  if (!mllama_cuda_is_well (be, error))
    return FALSE;
  if (old && n_bytes <= old_bytes)
    return TRUE;
  if (!(data = alloc_zeros (be, new_bytes, "work space", error)))
    return FALSE;
  if (old && is_recorded (name))
    g_ptr_array_add (be->outgrown, old);
  else
    mllama_cuda_free (be, old);
  be->scratch[name].data = data;
  be->scratch[name].n_bytes = new_bytes;
  return TRUE;
}

void *
mllama_cuda_get_scratch (MllamaCudaBackend *be, MllamaCudaScratch name, gsize n_bytes)
{
  GError *error = NULL;

  if (mllama_cuda_reserve_scratch (be, name, n_bytes, &error))
    return be->scratch[name].data;
  mllama_cuda_fail (be, error);
  return NULL;
}

/* --- the backend's part --- */

/* Freed memory up to this stays in the pool from one wait to the next: pictures come and go. */
#define POOL_KEEPS ((guint64) 256 << 20)

gboolean
mllama_cuda_memory_init (MllamaCudaBackend *be, GError **error)
{
  struct cudaMemPoolProps properties = {.allocType = cudaMemAllocationTypePinned,
                                        .handleTypes = cudaMemHandleTypeNone,
                                        .location = {.type = cudaMemLocationTypeDevice, .id = be->device}};
  guint64 threshold = POOL_KEEPS;

  be->returned = g_ptr_array_new ();
  be->outgrown = g_ptr_array_new ();
  if (mllama_cuda_check (be, cudaStreamCreateWithFlags (&be->stream, cudaStreamNonBlocking), "making a stream") &&
      mllama_cuda_check (be, cudaMemPoolCreate (&be->pool, &properties), "making a pool of memory"))
    mllama_cuda_check (be, cudaMemPoolSetAttribute (be->pool, cudaMemPoolAttrReleaseThreshold, &threshold),
                       "setting up a pool of memory");
  return mllama_cuda_is_well (be, error);
}

/* Everything else has been freed, if only in the stream's order. */
void
mllama_cuda_memory_clear (MllamaCudaBackend *be)
{
  if (be->returned)
    free_returned (be);
  for (guint i = 0; be->outgrown && i < be->outgrown->len; i++)
    mllama_cuda_free (be, g_ptr_array_index (be->outgrown, i));
  for (guint i = 0; i < MLLAMA_CUDA_N_SCRATCH; i++)
    mllama_cuda_free (be, be->scratch[i].data);
  if (be->stream)
    mllama_cuda_check (be, cudaStreamSynchronize (be->stream), "waiting for the last work");
  if (be->pool)
    mllama_cuda_check (be, cudaMemPoolDestroy (be->pool), "giving memory back");
  if (be->stream)
    mllama_cuda_check (be, cudaStreamDestroy (be->stream), "ending the stream");
  g_clear_pointer (&be->returned, g_ptr_array_unref);
  g_clear_pointer (&be->outgrown, g_ptr_array_unref);
}

/* --- slabs --- */

/* Bytes of K and V of one key in n_layers layers; 0 if there are too many to count. */
gsize
mllama_cuda_count_key_bytes (MllamaBackend *base, guint n_layers)
{
  gsize n = (gsize) base->config->text.n_kv_heads * base->config->text.head_width;

  return g_size_checked_mul (&n, n, 2 * mllama_cuda_backend (base)->element_bytes) &&
                 g_size_checked_mul (&n, n, n_layers)
             ? n
             : 0;
}

gsize
mllama_cuda_slab_get_bytes (MllamaBackend *base, guint n_layers, guint n_keys)
{
  return mllama_cuda_count_key_bytes (base, n_layers) * n_keys;
}

MllamaSlab *
mllama_cuda_slab_new (MllamaBackend *base, guint n_layers, guint n_keys, GError **error)
{
  const MllamaTextConfig *config = &base->config->text;
  gsize n_bytes = mllama_cuda_slab_get_bytes (base, n_layers, n_keys);
  void *data =
      mllama_cuda_alloc (mllama_cuda_backend (base), n_bytes, "the cross-attention states of a picture", error);
  MllamaSlab *slab;

  if (!data)
    return NULL;
  slab = g_new0 (MllamaSlab, 1);
  *slab = (MllamaSlab){n_layers, n_keys, config->n_kv_heads, config->head_width, n_bytes, data};
  return slab;
}

void
mllama_cuda_slab_free (MllamaBackend *base, MllamaSlab *slab)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);

  if (!slab)
    return;
  g_mutex_lock (&be->lock);
  g_ptr_array_add (be->returned, slab->data);
  g_mutex_unlock (&be->lock);
  g_free (slab);
}
