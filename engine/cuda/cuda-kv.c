/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pages of keys and values. Addresses are reserved for all of them at once, so that none ever moves; memory comes in
 * chunks as pages are first needed. */
#include "cuda-driver.h"

#define CHUNK_BYTES ((gsize) 64 << 20)

static const char *const name = "the pool of text keys and values";

static CUmemAllocationProp
get_properties (const MllamaCudaBackend *be)
{
  return (CUmemAllocationProp){.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                               .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = be->device}};
}

/* The driver's and the runtime's numbers for the same error are equal. */
static gboolean
check (CUresult result, gsize n_bytes, GError **error)
{
  if (result != CUDA_SUCCESS)
    mllama_cuda_set_error (error, (cudaError_t) result, name, n_bytes);
  return result == CUDA_SUCCESS;
}

static gsize
round_up (gsize n, gsize multiple)
{
  return (n + multiple - 1) / multiple * multiple;
}

gsize
mllama_cuda_kv_get_page_bytes (MllamaBackend *base, guint n_layers)
{
  return mllama_cuda_count_key_bytes (base, n_layers) * MLLAMA_KV_PAGE;
}

/* A small pool takes one chunk, no larger than it must be. */
static gboolean
plan (MllamaCudaBackend *be, MllamaKv *kv, GError **error)
{
  CUmemAllocationProp properties = get_properties (be);
  gsize total, granularity;

  if (!g_size_checked_mul (&total, kv->page_bytes, kv->n_pages) || total > G_MAXSIZE / 2)
    return check (CUDA_ERROR_OUT_OF_MEMORY, 0, error);
  total = MAX (total, 1);
  if (!check (be->driver->memory_get_granularity (&granularity, &properties, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED),
              total, error))
    return FALSE;
  kv->chunk_bytes = round_up (MIN (total, MAX (CHUNK_BYTES, kv->page_bytes)), granularity);
  kv->reserved_bytes = round_up (total, kv->chunk_bytes);
  return TRUE;
}

MllamaKv *
mllama_cuda_kv_new (MllamaBackend *base, guint n_layers, guint n_pages, GError **error)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);
  CUdeviceptr address;
  MllamaKv *kv;

  mllama_cuda_device_enter (be);
  if (!mllama_cuda_is_well (be, error))
    return NULL;
  kv = g_new0 (MllamaKv, 1);
  kv->n_layers = n_layers;
  kv->n_pages = n_pages;
  kv->n_kv_heads = base->config->text.n_kv_heads;
  kv->head_width = base->config->text.head_width;
  kv->page_bytes = mllama_cuda_kv_get_page_bytes (base, n_layers);
  kv->chunks = g_array_new (FALSE, FALSE, sizeof (CUmemGenericAllocationHandle));
  if (!plan (be, kv, error) ||
      !check (be->driver->address_reserve (&address, kv->reserved_bytes, 0, 0, 0), kv->reserved_bytes, error)) {
    mllama_cuda_kv_free (base, kv);
    return NULL;
  }
  kv->data = (void *) (guintptr) address;
  return kv;
}

static gboolean
map_chunk (const MllamaCudaBackend *be, CUdeviceptr address, gsize n_bytes, CUmemGenericAllocationHandle chunk,
           GError **error)
{
  CUmemAccessDesc access = {.location = get_properties (be).location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};

  if (!check (be->driver->memory_map (address, n_bytes, 0, chunk, 0), n_bytes, error))
    return FALSE;
  if (check (be->driver->memory_set_access (address, n_bytes, &access, 1), n_bytes, error))
    return TRUE;
  be->driver->memory_unmap (address, n_bytes);
  return FALSE;
}

/* Memory that the pool keeps for later goes first. */
static CUresult
create_chunk (MllamaCudaBackend *be, gsize n_bytes, CUmemGenericAllocationHandle *chunk)
{
  CUmemAllocationProp properties = get_properties (be);
  CUresult result = be->driver->memory_create (chunk, n_bytes, &properties, 0);

  if (result != CUDA_ERROR_OUT_OF_MEMORY)
    return result;
  mllama_cuda_check (be, cudaStreamSynchronize (be->stream), "waiting for memory");
  mllama_cuda_check (be, cudaMemPoolTrimTo (be->pool, 0), "giving memory back");
  return be->driver->memory_create (chunk, n_bytes, &properties, 0);
}

static gboolean
add_chunk (MllamaCudaBackend *be, MllamaKv *kv, GError **error)
{
  char *start = (char *) kv->data + kv->chunks->len * kv->chunk_bytes;
  CUmemGenericAllocationHandle chunk;

  if (!check (create_chunk (be, kv->chunk_bytes, &chunk), kv->chunk_bytes, error))
    return FALSE;
  if (!map_chunk (be, (guintptr) start, kv->chunk_bytes, chunk, error)) {
    be->driver->memory_release (chunk);
    return FALSE;
  }
  g_array_append_val (kv->chunks, chunk);
  mllama_cuda_check (be, cudaMemsetAsync (start, 0, kv->chunk_bytes, be->stream), "clearing pages");
  return mllama_cuda_is_well (be, error);
}

gboolean
mllama_cuda_kv_commit (MllamaBackend *base, MllamaKv *kv, guint n_pages, GError **error)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);

  g_return_val_if_fail (n_pages <= kv->n_pages, FALSE);
  if (n_pages <= kv->n_committed)
    return TRUE;
  mllama_cuda_device_enter (be);
  if (!mllama_cuda_is_well (be, error))
    return FALSE;
  while (kv->chunks->len * kv->chunk_bytes < n_pages * kv->page_bytes)
    if (!add_chunk (be, kv, error))
      return FALSE;
  kv->n_committed = MIN (kv->n_pages, kv->chunks->len * kv->chunk_bytes / MAX (kv->page_bytes, 1));
  return TRUE;
}

void
mllama_cuda_kv_free (MllamaBackend *base, MllamaKv *kv)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);

  if (!kv)
    return;
  mllama_cuda_device_enter (be);
  mllama_cuda_check (be, cudaStreamSynchronize (be->stream), "waiting for the last pass");
  for (guint i = 0; i < kv->chunks->len; i++) {
    be->driver->memory_unmap ((guintptr) kv->data + i * kv->chunk_bytes, kv->chunk_bytes);
    be->driver->memory_release (g_array_index (kv->chunks, CUmemGenericAllocationHandle, i));
  }
  if (kv->data)
    be->driver->address_free ((guintptr) kv->data, kv->reserved_bytes);
  g_array_unref (kv->chunks);
  g_free (kv);
}
