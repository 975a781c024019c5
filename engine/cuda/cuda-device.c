/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which device, which tier of kernels, and what to say when there is none. */
#include "cuda-driver.h"

#define MIN_CAPABILITY 80 /* bf16 matrix products and asynchronous copies came with it */

#define TIER_VARIABLE "MLLAMA_CUDA_TIER"

static const char *const tier_names[] = {[MLLAMA_CUDA_SM80] = "sm_80", [MLLAMA_CUDA_SM90] = "sm_90"};

/* Compute capability, 90 for 9.0; 0 if the device does not say. */
static int
get_capability (int device)
{
  int major = 0, minor = 0;

  if (cudaDeviceGetAttribute (&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute (&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) {
    cudaGetLastError ();
    return 0;
  }
  return major * 10 + minor;
}

guint
mllama_cuda_count_devices (void)
{
  int n_devices = 0;
  guint n_usable = 0;

  if (cudaGetDeviceCount (&n_devices) != cudaSuccess) {
    cudaGetLastError ();
    return 0;
  }
  for (int i = 0; i < n_devices; i++)
    n_usable += get_capability (i) >= MIN_CAPABILITY;
  return n_usable;
}

/* --- no driver, no device --- */

static void
set_old_driver (GError **error)
{
  int version = 0;

  if (cudaDriverGetVersion (&version) != cudaSuccess)
    cudaGetLastError ();
  if (version == 0)
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
                 "device=cuda needs the NVIDIA driver, for CUDA %d.%d or newer, and libcuda.so.1 of it was not found; "
                 "nvidia-smi will not run either: install the driver (in a container, give it the GPU), or use "
                 "device=cpu",
                 CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  else
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
                 "device=cuda needs an NVIDIA driver for CUDA %d.%d or newer, and this one is for CUDA %d.%d "
                 "(nvidia-smi shows it as CUDA Version): update the driver, or use device=cpu",
                 CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10, version / 1000, version % 1000 / 10);
}

static void
set_no_device (GError **error)
{
  const char *visible = g_getenv ("CUDA_VISIBLE_DEVICES");

  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
               "device=cuda needs an NVIDIA GPU, and the driver finds none%s%s%s; see what nvidia-smi -L lists (in a "
               "container, give it the GPU), or use device=cpu",
               visible ? " (CUDA_VISIBLE_DEVICES is \"" : "", visible ? visible : "", visible ? "\")" : "");
}

static gboolean
count_all (int *n_devices, GError **error)
{
  cudaError_t result = cudaGetDeviceCount (n_devices);

  if (result == cudaSuccess && *n_devices > 0)
    return TRUE;
  cudaGetLastError ();
  if (result == cudaErrorInsufficientDriver)
    set_old_driver (error);
  else if (result == cudaSuccess || result == cudaErrorNoDevice)
    set_no_device (error);
  else
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
                 "device=cuda needs an NVIDIA GPU, and the driver reports %s (%s); nvidia-smi may say more: mend the "
                 "driver, or use device=cpu",
                 cudaGetErrorName (result), cudaGetErrorString (result));
  return FALSE;
}

/* --- which one --- */

static int
find_most_free (const MllamaCudaDriver *driver, int n_devices)
{
  gsize most = 0;
  int best = -1;

  for (int i = 0; i < n_devices; i++) {
    gsize free_bytes = 0;

    if (get_capability (i) < MIN_CAPABILITY)
      continue;
    /* The only device is not asked: that would make its context twice. */
    if (n_devices > 1 && !mllama_cuda_driver_get_free_bytes (driver, i, &free_bytes))
      continue;
    if (best < 0 || free_bytes > most) {
      best = i;
      most = free_bytes;
    }
  }
  return MAX (best, 0);
}

static gboolean
choose_tier (MllamaCudaBackend *be, int capability, GError **error)
{
  const char *wanted = g_getenv (TIER_VARIABLE);

  be->tier = capability / 10 == 9 ? MLLAMA_CUDA_SM90 : MLLAMA_CUDA_SM80;
  if (!wanted || !*wanted || g_str_equal (wanted, tier_names[be->tier]))
    return TRUE;
  if (g_str_equal (wanted, tier_names[MLLAMA_CUDA_SM80])) {
    be->tier = MLLAMA_CUDA_SM80;
    return TRUE;
  }
  if (g_str_equal (wanted, tier_names[MLLAMA_CUDA_SM90]))
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
                 TIER_VARIABLE "=sm_90 needs a device of compute capability 9.x, and %s has %d.%d; use sm_80, or unset "
                               "the variable",
                 be->device_name, capability / 10, capability % 10);
  else
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
                 TIER_VARIABLE " is \"%s\"; sm_80 and sm_90 are expected, or unset it", wanted);
  return FALSE;
}

static gboolean
read_properties (MllamaCudaBackend *be, GError **error)
{
  struct cudaDeviceProp properties;
  cudaError_t result = cudaGetDeviceProperties (&properties, be->device);

  if (result != cudaSuccess) {
    mllama_cuda_set_error (error, result, "reading what the device can do", 0);
    return FALSE;
  }
  g_strlcpy (be->device_name, properties.name, sizeof be->device_name);
  be->n_multiprocessors = properties.multiProcessorCount;
  be->max_shared_bytes = properties.sharedMemPerBlockOptin;
  be->total_bytes = properties.totalGlobalMem;
  return TRUE;
}

static gboolean
check_kernels (const MllamaCudaBackend *be, int capability, GError **error)
{
  cudaError_t result = mllama_cuda_find_kernels ();

  if (result == cudaSuccess)
    return TRUE;
  cudaGetLastError ();
  if (result == cudaErrorNoKernelImageForDevice || result == cudaErrorInvalidDeviceFunction ||
      result == cudaErrorUnsupportedPtxVersion || result == cudaErrorJitCompilerNotFound ||
      result == cudaErrorJitCompilationDisabled)
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
                 "%s has compute capability %d.%d, and libmllama-cuda.so was built for %s only (%s); build it with "
                 "-Dcuda-architectures=%d, or use device=cpu",
                 be->device_name, capability / 10, capability % 10, MLLAMA_CUDA_ARCHITECTURES,
                 cudaGetErrorName (result), capability);
  else
    mllama_cuda_set_error (error, result, "loading the kernels", 0);
  return FALSE;
}

gboolean
mllama_cuda_device_choose (MllamaCudaBackend *be, gint wanted, GError **error)
{
  int n_devices = 0, capability;

  /* Without a driver there are no functions of it to be found. */
  if (!count_all (&n_devices, error) || !(be->driver = mllama_cuda_driver_new (error)))
    return FALSE;
  if (wanted >= n_devices) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
                 "CUDA device %d was asked for, and there are %d, numbered from 0 (nvidia-smi -L lists them); choose "
                 "one of them, or -1 for the one with the most free memory",
                 wanted, n_devices);
    return FALSE;
  }
  be->device = wanted >= 0 ? wanted : find_most_free (be->driver, n_devices);
  if (!read_properties (be, error))
    return FALSE;
  capability = get_capability (be->device);
  if (capability < MIN_CAPABILITY) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_DEVICE,
                 "CUDA device %d, %s, has compute capability %d.%d, and at least %d.%d is needed; use another device, "
                 "or device=cpu",
                 be->device, be->device_name, capability / 10, capability % 10, MIN_CAPABILITY / 10,
                 MIN_CAPABILITY % 10);
    return FALSE;
  }
  if (!choose_tier (be, capability, error))
    return FALSE;
  mllama_cuda_device_enter (be);
  return mllama_cuda_is_well (be, error) && check_kernels (be, capability, error);
}

void
mllama_cuda_device_enter (MllamaCudaBackend *be)
{
  mllama_cuda_check (be, cudaSetDevice (be->device), "making the device current");
}
