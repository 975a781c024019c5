/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "golden.h"

#include <string.h>

static char *
read_file (const char *path, gsize *length)
{
  g_autoptr (GError) error = NULL;
  char *bytes = NULL;

  if (!g_file_get_contents (path, &bytes, length, &error))
    g_error ("%s", error->message);
  return bytes;
}

static gint
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *) a, *(const char *const *) b);
}

GPtrArray *
golden_list (const char *root)
{
  GPtrArray *names = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *folder = g_build_filename (root, "records", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (GDir) dir = g_dir_open (folder, 0, &error);
  const char *file;

  if (!dir)
    g_error ("%s", error->message);
  while ((file = g_dir_read_name (dir)))
    if (g_str_has_suffix (file, ".json"))
      g_ptr_array_add (names, g_strndup (file, strlen (file) - strlen (".json")));
  g_ptr_array_sort (names, compare_names);
  return names;
}

/* --- records --- */

static JsonParser *
parse_json (const char *text, gssize length)
{
  JsonParser *parser = json_parser_new ();
  g_autoptr (GError) error = NULL;

  if (!json_parser_load_from_data (parser, text, length, &error))
    g_error ("%s", error->message);
  return parser;
}

static void
read_tensor (Golden *golden, const char *name, JsonObject *header, const char *data)
{
  JsonArray *shape = json_object_get_array_member (header, "shape");
  JsonArray *offsets = json_object_get_array_member (header, "data_offsets");
  GoldenTensor *tensor = g_new0 (GoldenTensor, 1);

  g_assert_cmpstr (json_object_get_string_member (header, "dtype"), ==, "F32");
  tensor->values = (const float *) (data + json_array_get_int_element (offsets, 0));
  tensor->n_values = 1;
  tensor->n_dims = json_array_get_length (shape);
  g_assert_cmpuint (tensor->n_dims, <=, G_N_ELEMENTS (tensor->dims));
  for (guint i = 0; i < tensor->n_dims; i++) {
    tensor->dims[i] = json_array_get_int_element (shape, i);
    tensor->n_values *= tensor->dims[i];
  }
  g_hash_table_insert (golden->tensors, g_strdup (name), tensor);
}

static void
read_tensors (Golden *golden, const char *path)
{
  guint64 header_bytes;
  gsize length;
  g_autoptr (JsonParser) parser = NULL;
  g_autoptr (GList) names = NULL;
  JsonObject *header;

  golden->tensor_file = read_file (path, &length);
  memcpy (&header_bytes, golden->tensor_file, sizeof header_bytes);
  header_bytes = GUINT64_FROM_LE (header_bytes);
  parser = parse_json (golden->tensor_file + sizeof header_bytes, header_bytes);
  header = json_node_get_object (json_parser_get_root (parser));
  names = json_object_get_members (header);
  for (GList *l = names; l; l = l->next)
    if (strcmp (l->data, "__metadata__") != 0)
      read_tensor (golden, l->data, json_object_get_object_member (header, l->data),
                   golden->tensor_file + sizeof header_bytes + header_bytes);
}

Golden *
golden_new (const char *root, const char *name)
{
  Golden *golden = g_new0 (Golden, 1);
  g_autofree char *json_path = g_strdup_printf ("%s/records/%s.json", root, name);
  g_autofree char *tensors_path = g_strdup_printf ("%s/records/%s.safetensors", root, name);
  g_autofree char *json = read_file (json_path, NULL);

  golden->root = g_strdup (root);
  golden->name = g_strdup (name);
  golden->tensors = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  golden->parser = parse_json (json, -1);
  golden->record = json_node_get_object (json_parser_get_root (golden->parser));
  read_tensors (golden, tensors_path);
  return golden;
}

void
golden_free (Golden *golden)
{
  if (!golden)
    return;
  g_clear_pointer (&golden->model, mllama_model_unref);
  g_hash_table_unref (golden->tensors);
  g_object_unref (golden->parser);
  g_free (golden->tensor_file);
  g_free (golden->root);
  g_free (golden->name);
  g_free (golden);
}

MllamaModelSettings
golden_get_settings (void)
{
  gboolean on_gpu = g_strcmp0 (g_getenv ("MLLAMA_GOLDEN_DEVICE"), "cuda") == 0;

  return (MllamaModelSettings){.device = on_gpu ? MLLAMA_DEVICE_CUDA : MLLAMA_DEVICE_CPU, .dtype = MLLAMA_DTYPE_F32};
}

MllamaModel *
golden_get_model (Golden *golden)
{
  g_autofree char *path = g_build_filename (golden->root, "checkpoints", golden->name, NULL);
  MllamaModelSettings settings = golden_get_settings ();
  g_autoptr (GError) error = NULL;

  if (golden->model)
    return golden->model;
  golden->model = mllama_model_open (path, &settings, &error);
  if (!golden->model || !mllama_model_load (golden->model, NULL, &error))
    g_error ("%s: %s", path, error->message);
  return golden->model;
}

const GoldenTensor *
golden_find_tensor (Golden *golden, const char *format, ...)
{
  g_autofree char *name = NULL;
  va_list args;

  va_start (args, format);
  name = g_strdup_vprintf (format, args);
  va_end (args);
  return g_hash_table_lookup (golden->tensors, name);
}

static JsonArray *
find_list (JsonObject *object, const char *member)
{
  return json_object_has_member (object, member) ? json_object_get_array_member (object, member) : NULL;
}

GArray *
golden_read_ids (JsonObject *object, const char *member)
{
  GArray *ids = g_array_new (FALSE, FALSE, sizeof (guint32));
  JsonArray *list = find_list (object, member);

  for (guint i = 0; list && i < json_array_get_length (list); i++) {
    guint32 id = json_array_get_int_element (list, i);
    g_array_append_val (ids, id);
  }
  return ids;
}

GArray *
golden_read_labels (JsonObject *object, const char *member)
{
  GArray *labels = g_array_new (FALSE, FALSE, sizeof (gint64));
  JsonArray *list = find_list (object, member);

  for (guint i = 0; list && i < json_array_get_length (list); i++) {
    gint64 label = json_array_get_int_element (list, i);
    g_array_append_val (labels, label);
  }
  return labels;
}

GArray *
golden_read_doubles (JsonObject *object, const char *member)
{
  GArray *values = g_array_new (FALSE, FALSE, sizeof (double));
  JsonArray *list = find_list (object, member);

  for (guint i = 0; list && i < json_array_get_length (list); i++) {
    double value = json_array_get_double_element (list, i);
    g_array_append_val (values, value);
  }
  return values;
}

JsonObject *
golden_find_case (Golden *golden, const char *semantics, const char *name)
{
  JsonArray *cases = json_object_get_array_member (golden->record, "cases");

  for (guint i = 0; i < json_array_get_length (cases); i++) {
    JsonObject *record = json_array_get_object_element (cases, i);
    if (g_str_equal (json_object_get_string_member (record, "name"), name) &&
        g_str_equal (json_object_get_string_member (record, "semantics"), semantics))
      return record;
  }
  g_error ("%s has no case %s in semantics %s", golden->name, name, semantics);
}

MllamaSemantics
golden_get_semantics (JsonObject *record)
{
  const char *name = json_object_get_string_member (record, "semantics");

  return g_str_equal (name, "meta") ? MLLAMA_SEMANTICS_META : MLLAMA_SEMANTICS_TRANSFORMERS;
}

/* --- pictures --- */

/* The number behind a key of a PAM header. */
static guint
read_pam_number (const char *header, const char *key)
{
  const char *place = strstr (header, key);

  g_assert_nonnull (place);
  return g_ascii_strtoull (place + strlen (key), NULL, 10);
}

static const char *
read_pam_header (GoldenPicture *picture)
{
  const char *end = strstr (picture->bytes, "ENDHDR\n");

  g_assert_nonnull (end);
  picture->width = read_pam_number (picture->bytes, "WIDTH ");
  picture->height = read_pam_number (picture->bytes, "HEIGHT ");
  g_assert_cmpuint (read_pam_number (picture->bytes, "DEPTH "), ==, 4);
  return end + strlen ("ENDHDR\n");
}

/* "P6\n96 72\n255\n" */
static const char *
read_pnm_header (GoldenPicture *picture)
{
  char *end;

  picture->width = g_ascii_strtoull (picture->bytes + 3, &end, 10);
  picture->height = g_ascii_strtoull (end, &end, 10);
  g_assert_cmpuint (g_ascii_strtoull (end, &end, 10), ==, 255);
  return end + 1;
}

GoldenPicture *
golden_picture_new (Golden *golden, JsonObject *record)
{
  g_autofree char *path =
      g_build_filename (golden->root, "pictures", json_object_get_string_member (record, "file"), NULL);
  GoldenPicture *picture = g_new0 (GoldenPicture, 1);
  guint n_channels;
  gsize length;

  picture->bytes = read_file (path, &length);
  switch (picture->bytes[1]) {
  case '5':
    picture->format = MLLAMA_FORMAT_GRAY8;
    n_channels = 1;
    break;
  case '6':
    picture->format = MLLAMA_FORMAT_RGB;
    n_channels = 3;
    break;
  default:
    picture->format = MLLAMA_FORMAT_RGBA;
    n_channels = 4;
  }
  picture->pixels = (const guint8 *) (n_channels == 4 ? read_pam_header (picture) : read_pnm_header (picture));
  picture->stride = (gsize) picture->width * n_channels;
  g_assert_cmpuint ((const char *) picture->pixels - picture->bytes + picture->stride * picture->height, ==, length);
  return picture;
}

void
golden_picture_free (GoldenPicture *picture)
{
  if (!picture)
    return;
  g_free (picture->bytes);
  g_free (picture);
}

MllamaImage
golden_picture_view (const GoldenPicture *picture, JsonObject *record)
{
  g_autoptr (GArray) crop = golden_read_ids (record, "crop");
  const guint32 *part = (const guint32 *) crop->data;
  gsize pixel_bytes = picture->stride / picture->width;

  g_assert_cmpuint (crop->len, ==, 4);
  g_assert_cmpuint (part[0] + part[2], <=, picture->width);
  g_assert_cmpuint (part[1] + part[3], <=, picture->height);
  return (MllamaImage){
      .format = picture->format,
      .width = part[2],
      .height = part[3],
      .planes = {picture->pixels + part[1] * picture->stride + part[0] * pixel_bytes},
      .strides = {picture->stride},
  };
}
