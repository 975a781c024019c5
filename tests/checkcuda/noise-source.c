/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "noise-source.h"

#include <string.h>

typedef struct {
  MllamaTensorInfo info;
  guint seed;
  float scale;
} NoiseTensor;

typedef struct {
  MllamaSource base;
  GPtrArray *tensors; /* NoiseTensor */
} NoiseSource;

/* Eight numbers at a time. */
static guint64
mix (guint seed, gsize group)
{
  guint64 x = (group + 1) * G_GUINT64_CONSTANT (0x9e3779b97f4a7c15) + seed * G_GUINT64_CONSTANT (0xd1342543de82ef95);

  x = (x ^ (x >> 30)) * G_GUINT64_CONSTANT (0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * G_GUINT64_CONSTANT (0x94d049bb133111eb);
  return x ^ (x >> 31);
}

float
noise_get (guint seed, gsize i, float scale)
{
  return (gint8) (mix (seed, i / 8) >> i % 8 * 8) / 128.f * scale;
}

float *
noise_new (guint seed, gsize n, float scale)
{
  float *values = g_new (float, n);

  for (gsize i = 0; i < n; i++)
    values[i] = noise_get (seed, i, scale);
  return values;
}

/* The upper half of the float has all of its bits. */
static gboolean
read_noise (MllamaSource *source, const MllamaTensorInfo *info, gsize offset, gsize n_bytes, void *dest, GError **error)
{
  const NoiseTensor *tensor = (const NoiseTensor *) info;
  guint16 table[256], *out = dest;
  guint64 bytes = 0;

  for (guint i = 0; i < 256; i++) {
    float value = (gint8) i / 128.f * tensor->scale;
    guint32 bits;
    memcpy (&bits, &value, sizeof bits);
    table[i] = bits >> 16;
  }
  for (gsize i = offset / 2, end = (offset + n_bytes) / 2; i < end; i++) {
    if (i % 8 == 0 || out == dest)
      bytes = mix (tensor->seed, i / 8);
    *out++ = table[bytes >> i % 8 * 8 & 0xff];
  }
  return TRUE;
}

static const MllamaTensorInfo *
find_nothing (MllamaSource *source, const char *name)
{
  return NULL;
}

static const MllamaTensorInfo *const *
list_nothing (MllamaSource *source, guint *n_tensors)
{
  *n_tensors = 0;
  return NULL;
}

static void
free_source (MllamaSource *source)
{
  g_ptr_array_unref (((NoiseSource *) source)->tensors);
  g_free (source);
}

MllamaSource *
noise_source_new (void)
{
  NoiseSource *source = g_new0 (NoiseSource, 1);

  source->base = (MllamaSource){find_nothing, list_nothing, read_noise, free_source};
  source->tensors = g_ptr_array_new_with_free_func (g_free);
  return &source->base;
}

MllamaWeight *
noise_weight_new (OracleDevice *device, MllamaSource *source, MllamaWeightUse use, guint seed, gsize n_out, gsize n_in,
                  float scale)
{
  NoiseTensor *tensor = g_new0 (NoiseTensor, 1);
  MllamaWeightSpec spec = {.use = use, .source = source, .n_parts = 1};

  tensor->info = (MllamaTensorInfo){.name = "noise", .dtype = MLLAMA_TENSOR_BF16, .n_dims = 2, .shape = {n_out, n_in}};
  tensor->info.n_elements = n_out * n_in;
  tensor->info.n_bytes = 2 * tensor->info.n_elements;
  tensor->seed = seed;
  tensor->scale = scale;
  g_ptr_array_add (((NoiseSource *) source)->tensors, tensor);
  spec.parts[0] = &tensor->info;
  return oracle_weight_new (device, &spec);
}
