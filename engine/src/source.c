/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "source.h"

#include <string.h>

/* Files are little-endian, and so is every machine with a backend. */
G_STATIC_ASSERT (G_BYTE_ORDER == G_LITTLE_ENDIAN);

/* Elements converted at a time: large reads, and a buffer that stays in the cache. */
#define CHUNK 32768

const char *
mllama_tensor_dtype_to_string (MllamaTensorDtype dtype)
{
  static const char *const names[] = {"F32", "F16", "BF16"};

  return names[dtype];
}

gsize
mllama_tensor_dtype_get_bytes (MllamaTensorDtype dtype)
{
  return dtype == MLLAMA_TENSOR_F32 ? 4 : 2;
}

char *
mllama_tensor_shape_to_string (const gsize *shape, guint n_dims)
{
  GString *text = g_string_new ("[");

  for (guint i = 0; i < n_dims; i++)
    g_string_append_printf (text, "%s%" G_GSIZE_FORMAT, i ? ", " : "", shape[i]);
  return g_string_free (g_string_append_c (text, ']'), FALSE);
}

static inline float
float_from_bits (guint32 bits)
{
  float value;

  memcpy (&value, &bits, sizeof value);
  return value;
}

static inline float
float_from_half (guint16 half)
{
  guint32 sign = (guint32) (half & 0x8000) << 16;
  guint32 magnitude = half & 0x7fff;
  float subnormal = magnitude * 0x1p-24f;

  if (magnitude >= 0x7c00) /* infinity, and NaN with its payload */
    return float_from_bits (sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  if (magnitude < 0x400)
    return sign ? -subnormal : subnormal;
  return float_from_bits (sign | (magnitude + ((127 - 15) << 10)) << 13);
}

static void
convert (MllamaTensorDtype dtype, const guint16 *raw, gsize n, float *dest)
{
  if (dtype == MLLAMA_TENSOR_BF16)
    for (gsize i = 0; i < n; i++)
      dest[i] = float_from_bits ((guint32) raw[i] << 16);
  else
    for (gsize i = 0; i < n; i++)
      dest[i] = float_from_half (raw[i]);
}

gboolean
mllama_source_read_f32 (MllamaSource *source, const MllamaTensorInfo *tensor, gsize first, gsize n_elements,
                        float *dest, GError **error)
{
  g_autofree guint16 *raw = NULL;

  g_return_val_if_fail (first <= tensor->n_elements && n_elements <= tensor->n_elements - first, FALSE);
  if (tensor->dtype == MLLAMA_TENSOR_F32)
    return mllama_source_read (source, tensor, first * 4, n_elements * 4, dest, error);
  raw = g_new (guint16, MIN (n_elements, CHUNK));
  for (gsize done = 0; done < n_elements; done += CHUNK) {
    gsize n = MIN (n_elements - done, CHUNK);

    if (!mllama_source_read (source, tensor, (first + done) * 2, n * 2, raw, error))
      return FALSE;
    convert (tensor->dtype, raw, n, dest + done);
  }
  return TRUE;
}
