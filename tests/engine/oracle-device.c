/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "oracle-device.h"
#include "oracle.h"

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

OracleDevice *
oracle_device_open (const MllamaConfig *config, MllamaDevice where, MllamaDtype dtype)
{
  OracleDevice *device = g_new0 (OracleDevice, 1);
  MllamaBackendSettings settings = {.cuda_device = -1, .dtype = dtype};
  GError *error = NULL;

  device->config = *config;
  device->is_bf16 = dtype == MLLAMA_DTYPE_BF16;
  device->source = create_memory_source ();
  device->rand = g_rand_new_with_seed (20240918);
  device->tensors = g_ptr_array_new ();
  device->weights = g_ptr_array_new ();
  device->be = mllama_backend_new (where, &device->config, &settings, &error);
  g_assert_no_error (error);
  device->ops = device->be->ops;
  return device;
}

static MllamaConfig
make_config (guint n_heads, guint n_kv_heads, guint head_width)
{
  MllamaConfig config = {0};

  config.text.n_heads = n_heads;
  config.text.n_kv_heads = n_kv_heads;
  config.text.head_width = head_width;
  config.text.hidden_size = n_heads * head_width;
  config.text.rope.theta = 10000;
  return config;
}

OracleDevice *
oracle_device_new (guint n_heads, guint n_kv_heads, guint head_width)
{
  MllamaConfig config = make_config (n_heads, n_kv_heads, head_width);

  return oracle_device_open (&config, MLLAMA_DEVICE_CPU, MLLAMA_DTYPE_F32);
}

OracleDevice *
oracle_device_new_with_tower (guint hidden_size, guint n_heads, guint image_size, guint patch_size)
{
  MllamaConfig config = make_config (2, 1, 8);

  config.has_vision = TRUE;
  config.vision.hidden_size = hidden_size;
  config.vision.n_heads = n_heads;
  config.vision.image_size = image_size;
  config.vision.patch_size = patch_size;
  config.vision.max_n_tiles = 4;
  return oracle_device_open (&config, MLLAMA_DEVICE_CPU, MLLAMA_DTYPE_F32);
}

void
oracle_device_clear (OracleDevice *device)
{
  for (guint i = 0; i < device->tensors->len; i++)
    device->ops->tensor_free (device->be, g_ptr_array_index (device->tensors, i));
  for (guint i = 0; i < device->weights->len; i++)
    device->ops->weight_free (device->be, g_ptr_array_index (device->weights, i));
  g_ptr_array_set_size (device->tensors, 0);
  g_ptr_array_set_size (device->weights, 0);
}

void
oracle_device_free (OracleDevice *device)
{
  oracle_device_clear (device);
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

  for (gsize i = 0; i < n; i++) {
    values[i] = scale * (float) g_rand_double_range (device->rand, -1, 1);
    if (device->is_bf16)
      values[i] = oracle_to_bf16 (values[i]);
  }
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

static MllamaTensor *
create_tensor (OracleDevice *device, MllamaTensorUse use, gsize n_rows, gsize width, const float *values)
{
  gsize n_all = n_rows + ORACLE_GUARD_ROWS;
  g_autofree float *all = g_new (float, n_all *width);
  GError *error = NULL;
  MllamaTensor *tensor = device->ops->tensor_new (device->be, use, n_all, width, &error);

  g_assert_no_error (error);
  for (gsize i = 0; i < n_all * width; i++)
    all[i] = values && i < n_rows * width ? values[i] : get_guard_value ();
  device->ops->tensor_write (device->be, tensor, 0, n_all, all, &error);
  g_assert_no_error (error);
  g_ptr_array_add (device->tensors, tensor);
  return tensor;
}

MllamaTensor *
oracle_tensor_new (OracleDevice *device, gsize n_rows, gsize width, const float *values)
{
  return create_tensor (device, MLLAMA_TENSOR_ACT, n_rows, width, values);
}

MllamaTensor *
oracle_tensor_new_full (OracleDevice *device, gsize n_rows, gsize width, const float *values)
{
  return create_tensor (device, MLLAMA_TENSOR_FULL, n_rows, width, values);
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

MllamaWeight *
oracle_weight_new (OracleDevice *device, const MllamaWeightSpec *spec)
{
  GError *error = NULL;
  MllamaWeight *weight = device->ops->weight_new (device->be, spec, &error);

  g_assert_no_error (error);
  device->ops->wait (device->be, &error);
  g_assert_no_error (error);
  g_ptr_array_add (device->weights, weight);
  return weight;
}

static MllamaWeight *
add_weight (OracleDevice *device, MllamaWeightUse use, const float *values, guint n_dims, const gsize *shape)
{
  g_autofree char *name = g_strdup_printf ("weight.%u", device->weights->len);
  MllamaWeightSpec spec = {.use = use, .source = device->source, .n_parts = 1};

  spec.parts[0] = oracle_source_add (device->source, name, values, n_dims, shape);
  return oracle_weight_new (device, &spec);
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
