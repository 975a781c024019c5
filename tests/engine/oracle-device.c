/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "oracle-device.h"

#include <math.h>
#include <string.h>

/* --- tensors in memory --- */

typedef struct {
  MllamaSource base;
  GPtrArray *tensors; /* MemoryTensor */
} MemorySource;

typedef struct {
  MllamaTensorInfo info;
  float *values;
} MemoryTensor;

static void
free_memory_tensor (gpointer data)
{
  MemoryTensor *tensor = data;

  g_free ((char *) tensor->info.name);
  g_free (tensor->values);
  g_free (tensor);
}

static const MllamaTensorInfo *
find_memory_tensor (MllamaSource *source, const char *name)
{
  GPtrArray *tensors = ((MemorySource *) source)->tensors;

  for (guint i = 0; i < tensors->len; i++) {
    const MemoryTensor *tensor = g_ptr_array_index (tensors, i);
    if (g_str_equal (tensor->info.name, name))
      return &tensor->info;
  }
  return NULL;
}

static const MllamaTensorInfo *const *
list_memory_tensors (MllamaSource *source, guint *n_tensors)
{
  GPtrArray *tensors = ((MemorySource *) source)->tensors;

  *n_tensors = tensors->len;
  return (const MllamaTensorInfo *const *) tensors->pdata;
}

static gboolean
read_memory_tensor (MllamaSource *source, const MllamaTensorInfo *tensor, gsize offset, gsize n_bytes, void *dest,
                    GError **error)
{
  g_assert_true (offset <= tensor->n_bytes && n_bytes <= tensor->n_bytes - offset);
  memcpy (dest, (const guint8 *) ((const MemoryTensor *) tensor)->values + offset, n_bytes);
  return TRUE;
}

static void
free_memory_source (MllamaSource *source)
{
  g_ptr_array_unref (((MemorySource *) source)->tensors);
  g_free (source);
}

static MllamaSource *
create_memory_source (void)
{
  MemorySource *source = g_new0 (MemorySource, 1);

  source->base = (MllamaSource){find_memory_tensor, list_memory_tensors, read_memory_tensor, free_memory_source};
  source->tensors = g_ptr_array_new_with_free_func (free_memory_tensor);
  return &source->base;
}

const MllamaTensorInfo *
oracle_source_add (MllamaSource *source, const char *name, const float *values, guint n_dims, const gsize *shape)
{
  MemoryTensor *tensor = g_new0 (MemoryTensor, 1);

  tensor->info = (MllamaTensorInfo){.name = g_strdup (name), .dtype = MLLAMA_TENSOR_F32, .n_dims = n_dims};
  tensor->info.n_elements = 1;
  for (guint i = 0; i < n_dims; i++) {
    tensor->info.shape[i] = shape[i];
    tensor->info.n_elements *= shape[i];
  }
  tensor->info.n_bytes = tensor->info.n_elements * sizeof (float);
  tensor->values = g_memdup2 (values, tensor->info.n_bytes);
  g_ptr_array_add (((MemorySource *) source)->tensors, tensor);
  return &tensor->info;
}

/* --- the device --- */

static void
open_backend (OracleDevice *device)
{
  GError *error = NULL;

  device->be = mllama_cpu_backend_new (&device->config, NULL, &error);
  g_assert_no_error (error);
  device->ops = device->be->ops;
}

static OracleDevice *
create_device (guint n_heads, guint n_kv_heads, guint head_width)
{
  OracleDevice *device = g_new0 (OracleDevice, 1);
  MllamaTextConfig *text = &device->config.text;

  text->n_heads = n_heads;
  text->n_kv_heads = n_kv_heads;
  text->head_width = head_width;
  text->hidden_size = n_heads * head_width;
  text->rope.theta = 10000;
  device->source = create_memory_source ();
  device->rand = g_rand_new_with_seed (20240918);
  device->tensors = g_ptr_array_new ();
  device->weights = g_ptr_array_new ();
  return device;
}

OracleDevice *
oracle_device_new (guint n_heads, guint n_kv_heads, guint head_width)
{
  OracleDevice *device = create_device (n_heads, n_kv_heads, head_width);

  open_backend (device);
  return device;
}

OracleDevice *
oracle_device_new_with_tower (guint hidden_size, guint n_heads, guint image_size, guint patch_size)
{
  OracleDevice *device = create_device (2, 1, 8);
  MllamaVisionConfig *vision = &device->config.vision;

  device->config.has_vision = TRUE;
  vision->hidden_size = hidden_size;
  vision->n_heads = n_heads;
  vision->image_size = image_size;
  vision->patch_size = patch_size;
  vision->max_n_tiles = 4;
  open_backend (device);
  return device;
}

void
oracle_device_free (OracleDevice *device)
{
  for (guint i = 0; i < device->tensors->len; i++)
    device->ops->tensor_free (device->be, g_ptr_array_index (device->tensors, i));
  for (guint i = 0; i < device->weights->len; i++)
    device->ops->weight_free (device->be, g_ptr_array_index (device->weights, i));
  g_ptr_array_unref (device->tensors);
  g_ptr_array_unref (device->weights);
  device->ops->free (device->be);
  mllama_source_free (device->source);
  g_rand_free (device->rand);
  g_free (device);
}

float *
oracle_random (OracleDevice *device, gsize n, float scale)
{
  float *values = g_new (float, n);

  for (gsize i = 0; i < n; i++)
    values[i] = scale * (float) g_rand_double_range (device->rand, -1, 1);
  return values;
}

/* --- tensors between guards --- */

/* A NaN that no arithmetic makes. */
static float
get_guard_value (void)
{
  const guint32 bits = 0x7fc0dead;
  float value;

  memcpy (&value, &bits, sizeof value);
  return value;
}

MllamaTensor *
oracle_tensor_new (OracleDevice *device, gsize n_rows, gsize width, const float *values)
{
  gsize n_all = n_rows + ORACLE_GUARD_ROWS;
  g_autofree float *all = g_new (float, n_all *width);
  GError *error = NULL;
  MllamaTensor *tensor = device->ops->tensor_new (device->be, MLLAMA_TENSOR_ACT, n_all, width, &error);

  g_assert_no_error (error);
  for (gsize i = 0; i < n_all * width; i++)
    all[i] = values && i < n_rows * width ? values[i] : get_guard_value ();
  device->ops->tensor_write (device->be, tensor, 0, n_all, all, &error);
  g_assert_no_error (error);
  g_ptr_array_add (device->tensors, tensor);
  return tensor;
}

float *
oracle_tensor_read (OracleDevice *device, const MllamaTensor *tensor, gsize n_rows, gsize width)
{
  float *values = g_new (float, n_rows *width);
  GError *error = NULL;

  device->ops->tensor_read (device->be, tensor, 0, n_rows, values, &error);
  g_assert_no_error (error);
  return values;
}

void
oracle_tensor_check_guard (OracleDevice *device, const MllamaTensor *tensor, gsize n_rows, gsize width)
{
  g_autofree float *values = g_new (float, ORACLE_GUARD_ROWS *width);
  float guard = get_guard_value ();
  GError *error = NULL;

  device->ops->tensor_read (device->be, tensor, n_rows, ORACLE_GUARD_ROWS, values, &error);
  g_assert_no_error (error);
  for (gsize i = 0; i < ORACLE_GUARD_ROWS * width; i++)
    g_assert_cmpmem (&values[i], sizeof guard, &guard, sizeof guard);
}

/* --- weights --- */

static MllamaWeight *
add_weight (OracleDevice *device, MllamaWeightUse use, const float *values, guint n_dims, const gsize *shape)
{
  g_autofree char *name = g_strdup_printf ("weight.%u", device->weights->len);
  MllamaWeightSpec spec = {.use = use, .source = device->source, .n_parts = 1};
  GError *error = NULL;
  MllamaWeight *weight;

  spec.parts[0] = oracle_source_add (device->source, name, values, n_dims, shape);
  weight = device->ops->weight_new (device->be, &spec, &error);
  g_assert_no_error (error);
  g_ptr_array_add (device->weights, weight);
  return weight;
}

MllamaWeight *
oracle_matrix_new (OracleDevice *device, gsize n_out, gsize n_in, const float *values)
{
  gsize shape[] = {n_out, n_in};

  return add_weight (device, MLLAMA_WEIGHT_MATRIX, values, 2, shape);
}

MllamaWeight *
oracle_vector_new (OracleDevice *device, gsize n, const float *values)
{
  return add_weight (device, MLLAMA_WEIGHT_VECTOR, values, 1, &n);
}

MllamaWeight *
oracle_table_new (OracleDevice *device, gsize n_rows, gsize width, const float *values)
{
  gsize shape[] = {n_rows, width};

  return add_weight (device, MLLAMA_WEIGHT_TABLE, values, 2, shape);
}
