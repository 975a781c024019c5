/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Functions of the driver that the CUDA runtime has no equal of. They are asked for by name, so that the module opens
 * where there is no libcuda.so.1. */
#pragma once

#include <cuda.h>
#include <cudaTypedefs.h>

#include "cuda.h"

G_BEGIN_DECLS

/* In the words of the runtime; the number is the version of CUDA that brought the function as it is used. */
struct _MllamaCudaDriver {
  PFN_cuDeviceGet_v2000 device_get;
  PFN_cuDevicePrimaryCtxRetain_v7000 primary_context_retain;
  PFN_cuDevicePrimaryCtxRelease_v11000 primary_context_release;
  PFN_cuCtxPushCurrent_v4000 context_push;
  PFN_cuCtxPopCurrent_v4000 context_pop;
  PFN_cuMemGetInfo_v3020 memory_get_info;
  PFN_cuMemGetAllocationGranularity_v10020 memory_get_granularity;
  PFN_cuMemAddressReserve_v10020 address_reserve;
  PFN_cuMemAddressFree_v10020 address_free;
  PFN_cuMemCreate_v10020 memory_create;
  PFN_cuMemRelease_v10020 memory_release;
  PFN_cuMemMap_v10020 memory_map;
  PFN_cuMemUnmap_v10020 memory_unmap;
  PFN_cuMemSetAccess_v10020 memory_set_access;
  PFN_cuStreamSynchronize_v2000 stream_synchronize;
  PFN_cuPointerGetAttribute_v4000 pointer_get_attribute;
  PFN_cuStreamGetCtx_v9020 stream_get_context;
  PFN_cuMemcpy3DPeerAsync_v4000 copy_between_contexts;
};

/* DEVICE names a function that the driver lacks. */
MllamaCudaDriver *mllama_cuda_driver_new (GError **error);

/* Free memory of a device, from any thread, whose current context stays what it is. */
gboolean mllama_cuda_driver_get_free_bytes (const MllamaCudaDriver *driver, int device, gsize *free_bytes);

G_END_DECLS
