/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cuda.h"

/* After these the device's context answers every call with the same error, whoever makes it. */
static gboolean
is_device_lost (cudaError_t result)
{
  switch (result) {
  case cudaErrorECCUncorrectable:
  case cudaErrorNvlinkUncorrectable:
  case cudaErrorIllegalAddress:
  case cudaErrorLaunchTimeout:
  case cudaErrorContextIsDestroyed:
  case cudaErrorAssert:
  case cudaErrorHardwareStackError:
  case cudaErrorIllegalInstruction:
  case cudaErrorMisalignedAddress:
  case cudaErrorInvalidAddressSpace:
  case cudaErrorInvalidPc:
  case cudaErrorLaunchFailure:
  case cudaErrorExternalDevice:
  case cudaErrorMpsClientTerminated:
  case cudaErrorUnknown:
    return TRUE;
  default:
    return FALSE;
  }
}

static void
set_out_of_memory (GError **error, const char *what, gsize n_bytes)
{
  static const char *const remedy =
      "lower kv_bytes or states_bytes, use dtype=bf16 rather than f32, lower max_image_tiles, set text_only if no "
      "picture is to be seen, or end other programs on the device";
  gsize free_bytes = 0, total_bytes = 0;

  if (cudaMemGetInfo (&free_bytes, &total_bytes) != cudaSuccess)
    cudaGetLastError ();
  if (n_bytes > 0)
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY,
                 "%s needs %.1f MB of device memory, %.1f of %.1f MB are free; %s", what, n_bytes / 1e6,
                 free_bytes / 1e6, total_bytes / 1e6, remedy);
  else
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY,
                 "%s needs more device memory than there is, %.1f of %.1f MB are free; %s", what, free_bytes / 1e6,
                 total_bytes / 1e6, remedy);
}

void
mllama_cuda_set_error (GError **error, cudaError_t result, const char *what, gsize n_bytes)
{
  /* Else the next call that looks for errors finds this one. */
  cudaGetLastError ();
  if (result == cudaErrorMemoryAllocation)
    set_out_of_memory (error, what, n_bytes);
  else if (is_device_lost (result))
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
                 "the device was lost (%s: %s, %s); every model on it has failed; start the program again, and if it "
                 "comes back look for Xid lines in the system's log",
                 what, cudaGetErrorName (result), cudaGetErrorString (result));
  else
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
                 "%s: the device reports %s (%s); this model cannot go on, load it again", what,
                 cudaGetErrorName (result), cudaGetErrorString (result));
}

gboolean
mllama_cuda_check (MllamaCudaBackend *be, cudaError_t result, const char *what)
{
  GError *error = NULL;

  if (G_LIKELY (result == cudaSuccess))
    return TRUE;
  mllama_cuda_set_error (&error, result, what, 0);
  return mllama_cuda_fail (be, error);
}

gboolean
mllama_cuda_fail (MllamaCudaBackend *be, GError *error)
{
  g_mutex_lock (&be->lock);
  if (be->failure)
    g_error_free (error);
  else
    be->failure = error;
  g_mutex_unlock (&be->lock);
  return FALSE;
}

gboolean
mllama_cuda_is_well (MllamaCudaBackend *be, GError **error)
{
  gboolean is_well;

  g_mutex_lock (&be->lock);
  is_well = be->failure == NULL;
  if (!is_well && error)
    *error = g_error_copy (be->failure);
  g_mutex_unlock (&be->lock);
  return is_well;
}
