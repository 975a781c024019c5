/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tensors, and what passes between them and host memory in float32. */
#include "cuda.h"

#include <math.h>
#include <string.h>

static gsize
get_element_bytes (MllamaCudaBackend *be, MllamaTensorUse use)
{
  return use == MLLAMA_TENSOR_FULL ? sizeof (float) : be->element_bytes;
}

MllamaTensor *
mllama_cuda_tensor_new (MllamaBackend *base, MllamaTensorUse use, gsize n_rows, gsize width, GError **error)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);
  gsize ld = mllama_cuda_round_up (width);
  void *data = mllama_cuda_alloc_rows (be, n_rows, ld, get_element_bytes (be, use), "a tensor", error);
  MllamaTensor *tensor;

  if (!data)
    return NULL;
  tensor = g_new0 (MllamaTensor, 1);
  *tensor = (MllamaTensor){use, n_rows, width, ld, data};
  return tensor;
}

void
mllama_cuda_tensor_free (MllamaBackend *base, MllamaTensor *tensor)
{
  if (!tensor)
    return;
  mllama_cuda_free (mllama_cuda_backend (base), tensor->data);
  g_free (tensor);
}

/* --- bf16 --- */

static guint16
round_to_bf16 (float value)
{
  guint32 bits;

  memcpy (&bits, &value, sizeof bits);
  if (isnan (value))
    return bits >> 16 | 0x40;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static void
narrow (const float *src, gsize n, guint16 *dest)
{
  for (gsize i = 0; i < n; i++)
    dest[i] = round_to_bf16 (src[i]);
}

/* values [n]: its second half holds n bf16. Number i is read before anything is written over it. */
static void
widen_in_place (float *values, gsize n)
{
  const char *narrow_values = (const char *) values + n * sizeof (guint16);

  for (gsize i = 0; i < n; i++) {
    guint16 half;
    guint32 bits;

    memcpy (&half, narrow_values + i * sizeof half, sizeof half);
    bits = (guint32) half << 16;
    memcpy (&values[i], &bits, sizeof bits);
  }
}

/* --- reading and writing --- */

/* Copies rows without the columns past width, host [n_rows][width], and waits. */
static gboolean
copy_rows (MllamaCudaBackend *be, const MllamaTensor *tensor, gsize first_row, gsize n_rows, void *host,
           enum cudaMemcpyKind kind, GError **error)
{
  gsize bytes = get_element_bytes (be, tensor->use);
  gsize host_pitch = tensor->width * bytes, device_pitch = tensor->ld * bytes;
  char *device = (char *) tensor->data + first_row * device_pitch;
  gboolean ok = TRUE;

  mllama_cuda_device_enter (be);
  if (n_rows > 0 && host_pitch > 0 && kind == cudaMemcpyDeviceToHost)
    ok = mllama_cuda_check (
        be, cudaMemcpy2DAsync (host, host_pitch, device, device_pitch, host_pitch, n_rows, kind, be->stream),
        "reading a tensor");
  else if (n_rows > 0 && host_pitch > 0)
    ok = mllama_cuda_check (
        be, cudaMemcpy2DAsync (device, device_pitch, host, host_pitch, host_pitch, n_rows, kind, be->stream),
        "writing a tensor");
  if (ok)
    mllama_cuda_check (be, cudaStreamSynchronize (be->stream), "waiting for a tensor");
  return mllama_cuda_is_well (be, error);
}

gboolean
mllama_cuda_tensor_read (MllamaBackend *base, const MllamaTensor *tensor, gsize first_row, gsize n_rows, float *dest,
                         GError **error)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);
  gboolean is_narrow = get_element_bytes (be, tensor->use) < sizeof (float);
  gsize n = n_rows * tensor->width;

  if (!mllama_tensor_check_rows (tensor->n_rows, first_row, n_rows, error) ||
      !copy_rows (be, tensor, first_row, n_rows, (char *) dest + (is_narrow ? n * sizeof (guint16) : 0),
                  cudaMemcpyDeviceToHost, error))
    return FALSE;
  if (is_narrow)
    widen_in_place (dest, n);
  return TRUE;
}

gboolean
mllama_cuda_tensor_write (MllamaBackend *base, MllamaTensor *tensor, gsize first_row, gsize n_rows, const float *src,
                          GError **error)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);
  gsize n = n_rows * tensor->width;
  g_autofree guint16 *rounded = NULL;

  if (!mllama_tensor_check_rows (tensor->n_rows, first_row, n_rows, error))
    return FALSE;
  if (get_element_bytes (be, tensor->use) == sizeof (float))
    return copy_rows (be, tensor, first_row, n_rows, (float *) src, cudaMemcpyHostToDevice, error);
  rounded = g_try_new (guint16, n);
  if (!rounded && n > 0) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY,
                 "rounding a tensor needs %.1f MB of host memory, and the system refuses it; end other programs",
                 n * sizeof (guint16) / 1e6);
    return FALSE;
  }
  narrow (src, n, rounded);
  return copy_rows (be, tensor, first_row, n_rows, rounded, cudaMemcpyHostToDevice, error);
}
