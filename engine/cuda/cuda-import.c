/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Planes in CUDA memory. They belong to the context that made them, which a kernel of ours must not rely on reaching:
 * they are copied, by the driver's copy between contexts. */
#include "cuda-driver.h"
#include "imager.h"

static gboolean
check_plane (MllamaCudaBackend *be, const guint8 *plane, guint i, GError **error)
{
  const MllamaCudaDriver *driver = be->driver;
  CUdeviceptr pointer = (CUdeviceptr) (guintptr) plane;
  unsigned int type = 0;
  int device = -1;

  if (driver->pointer_get_attribute (&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, pointer) != CUDA_SUCCESS ||
      type != CU_MEMORYTYPE_DEVICE ||
      driver->pointer_get_attribute (&device, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, pointer) != CUDA_SUCCESS) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
                 "plane %u of the picture is said to be CUDA memory, and CUDA knows of no memory of a device there; "
                 "memory of other kinds must be mapped for CUDA, or be handed over as host memory",
                 i);
    return FALSE;
  }
  if (device == be->device)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
               "the picture lies on CUDA device %d, and the model on device %d; load the model on the picture's device "
               "(cuda-device-id), or hand over pictures of the model's",
               device, be->device);
  return FALSE;
}

/* NULL: memory of a pool, or mapped page by page, belongs to no context. */
static CUcontext
find_context (const MllamaCudaDriver *driver, CUdeviceptr pointer)
{
  CUcontext context = NULL;

  if (driver->pointer_get_attribute (&context, CU_POINTER_ATTRIBUTE_CONTEXT, pointer) != CUDA_SUCCESS)
    return NULL;
  return context;
}

/* GStreamer 1.22 returns from a copy within the device before it is done. */
static gboolean
wait_for_writes (const MllamaCudaDriver *driver, const guint8 *plane, GError **error)
{
  CUcontext context = find_context (driver, (CUdeviceptr) (guintptr) plane), popped;
  CUresult result;

  if (!context)
    return TRUE;
  result = driver->context_push (context);
  if (result == CUDA_SUCCESS) {
    result = driver->stream_synchronize (NULL);
    driver->context_pop (&popped);
  }
  if (result == CUDA_SUCCESS)
    return TRUE;
  /* The driver's numbers are the runtime's. */
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
               "the CUDA context that a picture belongs to reports %s; restart what makes the pictures",
               cudaGetErrorString ((cudaError_t) result));
  return FALSE;
}

gboolean
mllama_cuda_import_check (MllamaCudaBackend *be, const MllamaImage *image, GError **error)
{
  for (guint i = 0; i < mllama_format_get_n_planes (image->format); i++)
    if (!check_plane (be, image->planes[i], i, error) || !wait_for_writes (be->driver, image->planes[i], error))
      return FALSE;
  return TRUE;
}

static CUresult
copy_rows (MllamaCudaBackend *be, CUDA_MEMCPY3D_PEER *copy)
{
  CUresult result = be->driver->stream_get_context (be->imager->stream, &copy->dstContext);

  if (result != CUDA_SUCCESS)
    return result;
  copy->srcContext = find_context (be->driver, copy->srcDevice);
  if (!copy->srcContext)
    copy->srcContext = copy->dstContext;
  return be->driver->copy_between_contexts (copy, be->imager->stream);
}

gboolean
mllama_cuda_import_rows (MllamaCudaBackend *be, void *dest, gsize pitch, const guint8 *src, gsize stride,
                         gsize row_bytes, gsize n_rows, GError **error)
{
  CUDA_MEMCPY3D_PEER copy = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                             .srcDevice = (CUdeviceptr) (guintptr) src,
                             .srcPitch = stride,
                             .srcHeight = n_rows,
                             .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                             .dstDevice = (CUdeviceptr) (guintptr) dest,
                             .dstPitch = pitch,
                             .dstHeight = n_rows,
                             .WidthInBytes = row_bytes,
                             .Height = n_rows,
                             .Depth = 1};
  CUresult result = copy_rows (be, &copy);

  if (result == CUDA_SUCCESS)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
               "copying %" G_GSIZE_FORMAT " rows of %" G_GSIZE_FORMAT " bytes, %" G_GSIZE_FORMAT
               " apart, of a picture in CUDA memory failed: %s; its memory must not be freed before the call returns",
               n_rows, row_bytes, stride, cudaGetErrorString ((cudaError_t) result));
  return FALSE;
}
