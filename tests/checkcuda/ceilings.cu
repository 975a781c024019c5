/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

extern "C" {
#include "ceilings.h"
}

#define N_REPEATS   9
#define STREAM_SIZE ((size_t) 1 << 30)
#define SIDE        8192
#define WORK_SIZE   ((size_t) 64 << 20)

/* Reads everything, and keeps the loads from being left out by a store that never happens. */
static __global__ void __launch_bounds__ (256) sum_grid_stride (const float4 *x, size_t n, float *sum)
{
  float s = 0;

  for (size_t i = (size_t) blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (size_t) gridDim.x * blockDim.x) {
    float4 v = x[i];
    s += v.x + v.y + v.z + v.w;
  }
  if (s == 12345.f)
    *sum = s;
}

typedef struct {
  void *a, *b, *c, *work;
  cublasLtHandle_t handle;
  cublasLtMatmulDesc_t operation;
  cublasLtMatrixLayout_t layout;
  cublasLtMatmulHeuristicResult_t best;
} Setup;

typedef void (*Run) (const Setup *setup);

static int
compare (const void *a, const void *b)
{
  float x = *(const float *) a, y = *(const float *) b;

  return (x > y) - (x < y);
}

/* Median seconds of a run; 0 after a failure. */
static double
time_runs (Run run, const Setup *setup)
{
  float times[N_REPEATS];
  cudaEvent_t start, end;
  int is_well;

  if (cudaEventCreate (&start) != cudaSuccess || cudaEventCreate (&end) != cudaSuccess)
    return 0;
  run (setup);
  for (int i = 0; i < N_REPEATS; i++) {
    cudaEventRecord (start);
    run (setup);
    cudaEventRecord (end);
    cudaEventSynchronize (end);
    if (cudaEventElapsedTime (&times[i], start, end) != cudaSuccess)
      times[i] = 0;
  }
  is_well = cudaGetLastError () == cudaSuccess;
  cudaEventDestroy (start);
  cudaEventDestroy (end);
  qsort (times, N_REPEATS, sizeof (float), compare);
  return is_well ? times[N_REPEATS / 2] * 1e-3 : 0;
}

static void
copy (const Setup *setup)
{
  cudaMemcpyAsync (setup->b, setup->a, STREAM_SIZE, cudaMemcpyDeviceToDevice);
}

static void
read (const Setup *setup)
{
  sum_grid_stride<<<132 * 16, 256>>> ((const float4 *) setup->a, STREAM_SIZE / sizeof (float4), (float *) setup->b);
}

static void
multiply (const Setup *setup)
{
  float one = 1, zero = 0;

  cublasLtMatmul (setup->handle, setup->operation, &one, setup->a, setup->layout, setup->b, setup->layout, &zero,
                  setup->c, setup->layout, setup->c, setup->layout, &setup->best.algo, setup->work, WORK_SIZE, 0);
}

static int
allocate (Setup *setup, size_t n_bytes)
{
  *setup = (Setup){};
  return cudaMalloc (&setup->a, n_bytes) == cudaSuccess && cudaMalloc (&setup->b, n_bytes) == cudaSuccess &&
         cudaMemset (setup->a, 0, n_bytes) == cudaSuccess && cudaMemset (setup->b, 0, n_bytes) == cudaSuccess;
}

static void
release (Setup *setup)
{
  if (setup->layout)
    cublasLtMatrixLayoutDestroy (setup->layout);
  if (setup->operation)
    cublasLtMatmulDescDestroy (setup->operation);
  if (setup->handle)
    cublasLtDestroy (setup->handle);
  cudaFree (setup->a);
  cudaFree (setup->b);
  cudaFree (setup->c);
  cudaFree (setup->work);
}

/* Numbers that are not all zero: a product of zeros takes less power, and runs faster. */
static __global__ void __launch_bounds__ (256) fill_noise (__nv_bfloat16 *x, size_t n)
{
  size_t i = (size_t) blockIdx.x * blockDim.x + threadIdx.x;
  unsigned h = (unsigned) i * 2654435761u;

  h ^= h >> 15;
  if (i < n)
    x[i] = __float2bfloat16 ((int) (h * 2246822519u >> 24) / 128.f - 1);
}

static int
prepare_product (Setup *setup)
{
  size_t n = (size_t) SIDE * SIDE;
  cublasLtMatmulPreference_t preference = NULL;
  cublasOperation_t transposed = CUBLAS_OP_T;
  size_t work_size = WORK_SIZE;
  int n_found = 0;

  if (!allocate (setup, n * 2) || cudaMalloc (&setup->c, n * 2) != cudaSuccess ||
      cudaMalloc (&setup->work, WORK_SIZE) != cudaSuccess || cublasLtCreate (&setup->handle) != CUBLAS_STATUS_SUCCESS)
    return 0;
  fill_noise<<<(unsigned) ((n + 255) / 256), 256>>> ((__nv_bfloat16 *) setup->a, n);
  fill_noise<<<(unsigned) ((n + 255) / 256), 256>>> ((__nv_bfloat16 *) setup->b, n);
  cublasLtMatmulDescCreate (&setup->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  cublasLtMatmulDescSetAttribute (setup->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed);
  cublasLtMatrixLayoutCreate (&setup->layout, CUDA_R_16BF, SIDE, SIDE, SIDE);
  cublasLtMatmulPreferenceCreate (&preference);
  cublasLtMatmulPreferenceSetAttribute (preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &work_size,
                                        sizeof work_size);
  cublasLtMatmulAlgoGetHeuristic (setup->handle, setup->operation, setup->layout, setup->layout, setup->layout,
                                  setup->layout, preference, 1, &setup->best, &n_found);
  cublasLtMatmulPreferenceDestroy (preference);
  return n_found > 0;
}

extern "C" double
ceilings_measure_copy (void)
{
  Setup setup;
  double seconds = allocate (&setup, STREAM_SIZE) ? time_runs (copy, &setup) : 0;

  release (&setup);
  return seconds > 0 ? 2 * STREAM_SIZE / seconds : 0;
}

extern "C" double
ceilings_measure_read (void)
{
  Setup setup;
  double seconds = allocate (&setup, STREAM_SIZE) ? time_runs (read, &setup) : 0;

  release (&setup);
  return seconds > 0 ? STREAM_SIZE / seconds : 0;
}

extern "C" double
ceilings_measure_product (void)
{
  Setup setup;
  double seconds = prepare_product (&setup) ? time_runs (multiply, &setup) : 0;

  release (&setup);
  return seconds > 0 ? 2. * SIDE * SIDE * SIDE / seconds : 0;
}

extern "C" void *
ceilings_copy_to_device (const void *bytes, gsize n_bytes)
{
  void *device = NULL;

  if (cudaMalloc (&device, n_bytes) != cudaSuccess)
    return NULL;
  cudaMemcpy (device, bytes, n_bytes, cudaMemcpyHostToDevice);
  return device;
}

extern "C" void
ceilings_free (void *device)
{
  cudaFree (device);
}
