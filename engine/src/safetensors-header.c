/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "safetensors-header.h"

#include <string.h>

#include <mllama/error.h>

#include "json.h"

static const struct {
  const char *name;
  guint n_bits;
  gboolean is_readable;
  MllamaTensorDtype dtype;
} dtypes[] = {
    {"F32", 32, TRUE, MLLAMA_TENSOR_F32},
    {"F16", 16, TRUE, MLLAMA_TENSOR_F16},
    {"BF16", 16, TRUE, MLLAMA_TENSOR_BF16},
    {"BOOL", 8},
    {"U8", 8},
    {"I8", 8},
    {"F8_E5M2", 8},
    {"F8_E4M3", 8},
    {"F8_E8M0", 8},
    {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8},
    {"F4", 4},
    {"F6_E2M3", 6},
    {"F6_E3M2", 6},
    {"I16", 16},
    {"U16", 16},
    {"I32", 32},
    {"U32", 32},
    {"I64", 64},
    {"U64", 64},
    {"F64", 64},
    {"C64", 64},
};

static void
clear_entry (gpointer data)
{
  MllamaSafetensorsEntry *entry = data;

  g_free (entry->name);
  g_free (entry->dtype);
}

static gboolean
read_dtype (MllamaSafetensorsEntry *entry, JsonObject *object, guint *n_bits, const char *origin, GError **error)
{
  const char *found = NULL;

  if (!mllama_json_get_string (object, "dtype", &found, origin, error))
    return FALSE;
  for (guint i = 0; found && i < G_N_ELEMENTS (dtypes); i++) {
    if (!g_str_equal (found, dtypes[i].name))
      continue;
    entry->dtype = g_strdup (found);
    entry->is_readable = dtypes[i].is_readable;
    entry->info.dtype = dtypes[i].dtype;
    *n_bits = dtypes[i].n_bits;
    return TRUE;
  }
  g_set_error (error, MLLAMA_ERROR, found ? MLLAMA_ERROR_UNSUPPORTED : MLLAMA_ERROR_MALFORMED,
               "%s: dtype is %s; BF16, F16 or F32 is expected", origin, found ? found : "missing");
  return FALSE;
}

/* A list of non-negative integers. */
static gboolean
read_sizes (JsonObject *object, const char *member, guint min_length, guint max_length, guint64 *values, guint *n,
            const char *origin, GError **error)
{
  JsonArray *list = NULL;

  if (!mllama_json_get_array (object, member, &list, origin, error))
    return FALSE;
  *n = list ? json_array_get_length (list) : 0;
  if (!list || *n < min_length || *n > max_length) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED, "%s: %s has %u entries; %u to %u are expected", origin,
                 member, *n, min_length, max_length);
    return FALSE;
  }
  for (guint i = 0; i < *n; i++) {
    JsonNode *node = json_array_get_element (list, i);
    gint64 value = json_node_get_value_type (node) == G_TYPE_INT64 ? json_node_get_int (node) : -1;

    if (value < 0) {
      g_autofree char *found = mllama_json_describe (node);

      g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                   "%s: %s[%u] is %s; an integer that is not negative is expected", origin, member, i, found);
      return FALSE;
    }
    values[i] = value;
  }
  return TRUE;
}

static gboolean
read_shape (MllamaTensorInfo *info, JsonObject *object, guint n_bits, const char *origin, GError **error)
{
  guint64 sides[MLLAMA_TENSOR_MAX_DIMS], n_elements = 1, total_bits;

  if (!read_sizes (object, "shape", 0, MLLAMA_TENSOR_MAX_DIMS, sides, &info->n_dims, origin, error))
    return FALSE;
  for (guint i = 0; i < info->n_dims; i++) {
    info->shape[i] = sides[i];
    if (!g_uint64_checked_mul (&n_elements, n_elements, sides[i]))
      goto overflow;
  }
  if (!g_uint64_checked_mul (&total_bits, n_elements, n_bits))
    goto overflow;
  info->n_elements = n_elements;
  info->n_bytes = total_bits / 8;
  return TRUE;

overflow : {
  g_autofree char *shape = mllama_tensor_shape_to_string (info->shape, info->n_dims);

  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED, "%s: shape %s is larger than any file", origin, shape);
  return FALSE;
}
}

static gboolean
read_offsets (MllamaTensorInfo *info, JsonObject *object, guint64 data_start, const char *origin, GError **error)
{
  guint64 offsets[2];
  guint n;

  if (!read_sizes (object, "data_offsets", 2, 2, offsets, &n, origin, error))
    return FALSE;
  if (offsets[0] > offsets[1] || offsets[1] - offsets[0] != info->n_bytes) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: data_offsets are %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT
                 "; dtype and shape need %" G_GSIZE_FORMAT " bytes between them",
                 origin, offsets[0], offsets[1], info->n_bytes);
    return FALSE;
  }
  info->offset = data_start + offsets[0]; /* both below 2^63 */
  return TRUE;
}

static gboolean
read_entry (MllamaSafetensorsEntry *entry, JsonNode *node, guint64 data_start, const char *origin, GError **error)
{
  g_autofree char *inner = g_strdup_printf ("%s: tensor %s", origin, entry->name);
  JsonObject *object;
  guint n_bits;

  if (!JSON_NODE_HOLDS_OBJECT (node)) {
    g_autofree char *found = mllama_json_describe (node);

    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s is %s; an object with dtype, shape and data_offsets is expected", inner, found);
    return FALSE;
  }
  object = json_node_get_object (node);
  return read_dtype (entry, object, &n_bits, inner, error) && read_shape (&entry->info, object, n_bits, inner, error) &&
         read_offsets (&entry->info, object, data_start, inner, error);
}

static int
compare_offsets (gconstpointer a, gconstpointer b)
{
  const MllamaTensorInfo *x = &((const MllamaSafetensorsEntry *) a)->info;
  const MllamaTensorInfo *y = &((const MllamaSafetensorsEntry *) b)->info;

  if (x->offset != y->offset)
    return x->offset < y->offset ? -1 : 1;
  return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

/* entries are ordered: each must start where the one before it ends, and the last one end the file. */
static gboolean
check_coverage (const GArray *entries, guint64 data_start, guint64 file_size, const char *origin, GError **error)
{
  guint64 end = data_start;

  for (guint i = 0; i < entries->len; i++) {
    const MllamaSafetensorsEntry *entry = &g_array_index (entries, MllamaSafetensorsEntry, i);

    if (entry->info.offset != end) {
      g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                   "%s: tensor %s starts at byte %" G_GUINT64_FORMAT
                   " of the file; the one before it ends at %" G_GUINT64_FORMAT
                   ", and tensors may neither overlap nor leave holes",
                   origin, entry->name, entry->info.offset, end);
      return FALSE;
    }
    end += entry->info.n_bytes;
  }
  if (end != file_size) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: the file has %" G_GUINT64_FORMAT " bytes, and its header describes %" G_GUINT64_FORMAT
                 "; download it again",
                 origin, file_size, end);
    return FALSE;
  }
  return TRUE;
}

GArray *
mllama_safetensors_parse_header (const char *json, gsize length, guint64 data_start, guint64 file_size,
                                 const char *origin, GError **error)
{
  g_autoptr (JsonParser) parser = mllama_json_parse (json, length, origin, error);
  g_autoptr (GArray) entries = g_array_new (FALSE, TRUE, sizeof (MllamaSafetensorsEntry));
  JsonObjectIter iter;
  const char *name;
  JsonNode *node;

  g_array_set_clear_func (entries, clear_entry);
  if (!parser)
    return NULL;
  json_object_iter_init (&iter, json_node_get_object (json_parser_get_root (parser)));
  while (json_object_iter_next (&iter, &name, &node)) {
    MllamaSafetensorsEntry *entry;

    if (g_str_equal (name, "__metadata__"))
      continue;
    g_array_set_size (entries, entries->len + 1);
    entry = &g_array_index (entries, MllamaSafetensorsEntry, entries->len - 1);
    entry->name = g_strdup (name);
    if (!read_entry (entry, node, data_start, origin, error))
      return NULL;
  }
  g_array_sort (entries, compare_offsets);
  if (!check_coverage (entries, data_start, file_size, origin, error))
    return NULL;
  return g_steal_pointer (&entries);
}
