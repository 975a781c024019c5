/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing safetensors files. */
#include "test-util.h"

#include <string.h>

#include "checkpoint-tensors.h"

typedef struct {
  char *name;
  MllamaTensorDtype dtype;
  guint n_dims;
  gsize shape[MLLAMA_TENSOR_MAX_DIMS];
  GByteArray *bytes;
} Tensor;

struct _TestTensors {
  GPtrArray *list; /* Tensor */
};

static void
free_tensor (gpointer data)
{
  Tensor *tensor = data;

  g_free (tensor->name);
  g_byte_array_unref (tensor->bytes);
  g_free (tensor);
}

static char *
spell (const char *canonical, const char *text_prefix, const char *other_prefix, const char *head_prefix)
{
  if (g_str_has_prefix (canonical, "language_model."))
    return g_strconcat (text_prefix, canonical + strlen ("language_model."), NULL);
  return g_strconcat (g_str_has_prefix (canonical, "lm_head.") ? head_prefix : other_prefix, canonical, NULL);
}

char *
test_spell_hub (const char *canonical)
{
  return spell (canonical, "language_model.model.", "", "language_model.");
}

char *
test_spell_class (const char *canonical)
{
  return spell (canonical, "model.language_model.", "model.", "");
}

char *
test_spell_bare (const char *canonical)
{
  return spell (canonical, "model.", "", "");
}

TestTensors *
test_tensors_new (void)
{
  TestTensors *tensors = g_new (TestTensors, 1);

  tensors->list = g_ptr_array_new_with_free_func (free_tensor);
  return tensors;
}

void
test_tensors_free (TestTensors *tensors)
{
  g_ptr_array_unref (tensors->list);
  g_free (tensors);
}

guint
test_tensors_get_n (TestTensors *tensors)
{
  return tensors->list->len;
}

void
test_tensors_remove (TestTensors *tensors, const char *name)
{
  for (guint i = 0; i < tensors->list->len; i++)
    if (g_str_equal (((Tensor *) g_ptr_array_index (tensors->list, i))->name, name))
      g_ptr_array_remove_index (tensors->list, i--);
}

/* F16 is written for values that it holds exactly and normally, or zero. */
static void
append_value (GByteArray *bytes, MllamaTensorDtype dtype, float value)
{
  guint32 bits;
  guint16 half;

  memcpy (&bits, &value, sizeof bits);
  if (dtype == MLLAMA_TENSOR_F32) {
    g_byte_array_append (bytes, (guint8 *) &bits, sizeof bits);
    return;
  }
  half = bits >> 16;
  if (dtype == MLLAMA_TENSOR_F16)
    half = value == 0 ? bits >> 16 : (bits >> 16 & 0x8000) | (((bits >> 13) - (112 << 10)) & 0x7fff);
  g_byte_array_append (bytes, (guint8 *) &half, sizeof half);
}

void
test_tensors_add (TestTensors *tensors, const char *name, MllamaTensorDtype dtype, guint n_dims, const gsize *shape,
                  const float *values)
{
  g_autoptr (GRand) noise = g_rand_new_with_seed (g_str_hash (name));
  Tensor *tensor = g_new0 (Tensor, 1);
  gsize n = 1;

  test_tensors_remove (tensors, name);
  tensor->name = g_strdup (name);
  tensor->dtype = dtype;
  tensor->n_dims = n_dims;
  tensor->bytes = g_byte_array_new ();
  for (guint i = 0; i < n_dims; i++)
    n *= tensor->shape[i] = shape[i];
  for (gsize i = 0; i < n; i++)
    append_value (tensor->bytes, dtype, values ? values[i] : g_rand_int_range (noise, -64, 65) / 512.0f);
  g_ptr_array_add (tensors->list, tensor);
}

TestTensors *
test_tensors_new_for_config (const MllamaConfig *config, gboolean with_vision, MllamaTensorDtype dtype)
{
  g_autoptr (GArray) expected = mllama_expected_tensors_new (config, with_vision);
  TestTensors *tensors = test_tensors_new ();

  for (guint i = 0; i < expected->len; i++) {
    MllamaExpectedTensor *tensor = &g_array_index (expected, MllamaExpectedTensor, i);

    if (tensor->shape[0] == MLLAMA_ANY_ROWS)
      tensor->shape[0] = config->text.vocab_size + (g_str_has_prefix (tensor->name, "lm_head") ? 0 : 8);
    test_tensors_add (tensors, tensor->name, dtype, tensor->n_dims, tensor->shape, NULL);
  }
  return tensors;
}

void
test_write_safetensors (const char *directory, const char *name, const char *header, gint64 header_length,
                        gsize n_bytes)
{
  g_autoptr (GByteArray) file = g_byte_array_new ();
  guint64 length = GUINT64_TO_LE (header_length < 0 ? strlen (header) : (guint64) header_length);
  gsize start = sizeof length + strlen (header);

  g_byte_array_append (file, (guint8 *) &length, sizeof length);
  g_byte_array_append (file, (const guint8 *) header, strlen (header));
  g_byte_array_set_size (file, start + n_bytes);
  memset (file->data + start, 0, n_bytes);
  test_write_file (directory, name, file->data, file->len);
}

void
test_tensors_write (TestTensors *tensors, guint first, guint end, TestSpelling spelling, const char *directory,
                    const char *name)
{
  g_autoptr (GString) header = g_string_new ("{\"__metadata__\": {\"format\": \"pt\"}");
  g_autoptr (GByteArray) file = g_byte_array_new ();
  gsize offset = 0;
  guint64 length;

  for (guint i = first; i < end; i++) {
    const Tensor *tensor = g_ptr_array_index (tensors->list, i);
    g_autofree char *spelled = spelling (tensor->name);
    g_autofree char *shape = mllama_tensor_shape_to_string (tensor->shape, tensor->n_dims);

    g_string_append_printf (header, ", \"%s\": {\"dtype\": \"%s\", \"shape\": %s, \"data_offsets\": [%zu, %zu]}",
                            spelled, mllama_tensor_dtype_to_string (tensor->dtype), shape, offset,
                            offset + tensor->bytes->len);
    offset += tensor->bytes->len;
  }
  g_string_append_c (header, '}');
  length = GUINT64_TO_LE (header->len);
  g_byte_array_append (file, (guint8 *) &length, sizeof length);
  g_byte_array_append (file, (guint8 *) header->str, header->len);
  for (guint i = first; i < end; i++) {
    const Tensor *tensor = g_ptr_array_index (tensors->list, i);
    g_byte_array_append (file, tensor->bytes->data, tensor->bytes->len);
  }
  test_write_file (directory, name, file->data, file->len);
}

void
test_tensors_write_shards (TestTensors *tensors, guint n_shards, TestSpelling spelling, const char *directory)
{
  g_autoptr (GString) index = g_string_new ("{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
  guint n = tensors->list->len;

  for (guint k = 0; k < n_shards; k++) {
    g_autofree char *name = g_strdup_printf ("model-%05u-of-%05u.safetensors", k + 1, n_shards);
    guint first = n * k / n_shards, end = n * (k + 1) / n_shards;

    test_tensors_write (tensors, first, end, spelling, directory, name);
    for (guint i = first; i < end; i++) {
      g_autofree char *spelled = spelling (((Tensor *) g_ptr_array_index (tensors->list, i))->name);
      g_string_append_printf (index, "%s\"%s\": \"%s\"", i ? ", " : "", spelled, name);
    }
  }
  test_write_file (directory, "model.safetensors.index.json", g_string_append (index, "}}")->str, -1);
}
