/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cuda-driver.h"

/* The interface of this version is asked for; the types in MllamaCudaDriver are its own. */
#define DRIVER_VERSION 12000

typedef struct {
  const char *name;
  gsize offset; /* in MllamaCudaDriver */
} Entry;

#define ENTRY(name, field)                                                                                             \
  {                                                                                                                    \
    name, G_STRUCT_OFFSET (MllamaCudaDriver, field)                                                                    \
  }

static const Entry entries[] = {
    ENTRY ("cuDeviceGet", device_get),
    ENTRY ("cuDevicePrimaryCtxRetain", primary_context_retain),
    ENTRY ("cuDevicePrimaryCtxRelease", primary_context_release),
    ENTRY ("cuCtxPushCurrent", context_push),
    ENTRY ("cuCtxPopCurrent", context_pop),
    ENTRY ("cuMemGetInfo", memory_get_info),
    ENTRY ("cuMemGetAllocationGranularity", memory_get_granularity),
    ENTRY ("cuMemAddressReserve", address_reserve),
    ENTRY ("cuMemAddressFree", address_free),
    ENTRY ("cuMemCreate", memory_create),
    ENTRY ("cuMemRelease", memory_release),
    ENTRY ("cuMemMap", memory_map),
    ENTRY ("cuMemUnmap", memory_unmap),
    ENTRY ("cuMemSetAccess", memory_set_access),
    ENTRY ("cuStreamSynchronize", stream_synchronize),
    ENTRY ("cuPointerGetAttribute", pointer_get_attribute),
    ENTRY ("cuStreamGetCtx", stream_get_context),
    ENTRY ("cuMemcpy3DPeerAsync", copy_between_contexts),
};

#if CUDART_VERSION >= 12050
static cudaError_t
find_entry (const Entry *entry, void **function, enum cudaDriverEntryPointQueryResult *found)
{
  return cudaGetDriverEntryPointByVersion (entry->name, function, DRIVER_VERSION, cudaEnableDefault, found);
}
#else /* this toolkit's own version, which has the same arguments */
static cudaError_t
find_entry (const Entry *entry, void **function, enum cudaDriverEntryPointQueryResult *found)
{
  return cudaGetDriverEntryPoint (entry->name, function, cudaEnableDefault, found);
}
#endif

MllamaCudaDriver *
mllama_cuda_driver_new (GError **error)
{
  g_autofree MllamaCudaDriver *driver = g_new0 (MllamaCudaDriver, 1);

  for (guint i = 0; i < G_N_ELEMENTS (entries); i++) {
    enum cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    void **function = G_STRUCT_MEMBER_P (driver, entries[i].offset);

    if (find_entry (&entries[i], function, &found) == cudaSuccess && found == cudaDriverEntryPointSuccess && *function)
      continue;
    cudaGetLastError ();
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
                 "the NVIDIA driver has no function %s, which CUDA %d.%d has; update the driver (nvidia-smi shows "
                 "its version), or use device=cpu",
                 entries[i].name, DRIVER_VERSION / 1000, DRIVER_VERSION % 1000 / 10);
    return NULL;
  }
  return g_steal_pointer (&driver);
}

/* Where nobody has made the device's primary context yet, it goes again with the last call. */
gboolean
mllama_cuda_driver_get_free_bytes (const MllamaCudaDriver *driver, int device, gsize *free_bytes)
{
  CUcontext context, popped;
  CUdevice handle;
  gsize total;
  gboolean ok;

  if (driver->device_get (&handle, device) != CUDA_SUCCESS ||
      driver->primary_context_retain (&context, handle) != CUDA_SUCCESS)
    return FALSE;
  ok = driver->context_push (context) == CUDA_SUCCESS;
  if (ok) {
    ok = driver->memory_get_info (free_bytes, &total) == CUDA_SUCCESS;
    driver->context_pop (&popped);
  }
  driver->primary_context_release (handle);
  return ok;
}
