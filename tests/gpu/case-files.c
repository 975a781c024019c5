/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "case-files.h"

#include <string.h>

MllamaModel *
case_open_model (const char *path, const char *device, const char *dtype, GError **error)
{
  MllamaModelSettings settings = {
      .device = g_str_equal (device, "cuda") ? MLLAMA_DEVICE_CUDA : MLLAMA_DEVICE_CPU,
      .dtype = g_str_equal (dtype, "bf16") ? MLLAMA_DTYPE_BF16 : MLLAMA_DTYPE_F32,
  };
  g_autoptr (MllamaModel) model = mllama_model_open (path, &settings, error);

  if (!model || !mllama_model_load (model, NULL, error))
    return NULL;
  return g_steal_pointer (&model);
}

/* --- files --- */

static char *
make_path (const char *dir, const char *name, const char *suffix)
{
  return g_strdup_printf ("%s/%s.%s", dir, name, suffix);
}

/* Values of value_bytes each. *n_values: how many there have to be; 0: any number, which is returned. */
static gpointer
read_values (const char *path, gsize value_bytes, gsize *n_values, GError **error)
{
  g_autofree char *bytes = NULL;
  gsize length;

  if (!g_file_get_contents (path, &bytes, &length, error))
    return NULL;
  if (length % value_bytes != 0 || (*n_values > 0 && length != *n_values * value_bytes)) {
    g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                 "%s has %" G_GSIZE_FORMAT " bytes, expected %" G_GSIZE_FORMAT " values of %" G_GSIZE_FORMAT, path,
                 length, *n_values, value_bytes);
    return NULL;
  }
  *n_values = length / value_bytes;
  return g_steal_pointer (&bytes);
}

float *
case_read (const char *dir, const char *name, const char *suffix, gsize *n_values, GError **error)
{
  g_autofree char *path = make_path (dir, name, suffix);

  return read_values (path, sizeof (float), n_values, error);
}

gboolean
case_write (const char *dir, const char *name, const char *suffix, const float *values, gsize n_values, GError **error)
{
  g_autofree char *path = make_path (dir, name, suffix);

  return g_file_set_contents_full (path, (const char *) values, n_values * sizeof (float), G_FILE_SET_CONTENTS_NONE,
                                   0644, error);
}

char **
case_list (const char *dir, GError **error)
{
  g_autofree char *path = g_build_filename (dir, "cases.txt", NULL);
  g_autofree char *text = NULL;

  if (!g_file_get_contents (path, &text, NULL, error))
    return NULL;
  return g_strsplit (g_strchomp (text), "\n", -1);
}

/* --- cases --- */

static gboolean
read_prompt (Case *item, GError **error)
{
  g_autofree char *path = make_path (item->dir, item->name, "ids");
  gsize n_ids = 0;
  g_autofree guint32 *ids = read_values (path, sizeof (guint32), &n_ids, error);

  item->prompt = ids ? mllama_prompt_new_from_ids (item->model, ids, n_ids, error) : NULL;
  return item->prompt != NULL;
}

static gboolean
read_picture (Case *item, guint ratio_id, GError **error)
{
  const MllamaVisionConfig *config = &mllama_model_get_config (item->model)->vision;
  const MllamaAspectRatio *ratio = &config->aspect_ratios[ratio_id - 1];
  guint size = config->image_size;
  gsize n_values;

  item->pixels = g_new0 (MllamaPixels, 1);
  *item->pixels = (MllamaPixels){.size = size,
                                 .n_tiles = ratio->n_rows * ratio->n_columns,
                                 .n_rows = ratio->n_rows,
                                 .n_columns = ratio->n_columns,
                                 .aspect_ratio_id = ratio_id,
                                 .resized_width = ratio->n_columns * size,
                                 .resized_height = ratio->n_rows * size};
  n_values = (gsize) item->pixels->n_tiles * 3 * size * size;
  if (!(item->pixels->values = case_read (item->dir, item->name, "pixels", &n_values, error)))
    return FALSE;
  item->states = mllama_model_encode_pixels (item->model, item->pixels, MLLAMA_SEMANTICS_TRANSFORMERS, NULL, error);
  return item->states != NULL;
}

Case *
case_new (MllamaModel *model, const char *dir, const char *line, GError **error)
{
  g_autoptr (Case) item = g_new0 (Case, 1);
  g_auto (GStrv) words = g_strsplit (line, " ", -1);
  guint ratio_id = g_strv_length (words) == 3 ? g_ascii_strtoull (words[1], NULL, 10) : G_MAXUINT;

  item->model = model;
  item->dir = g_strdup (dir);
  item->name = g_strdup (words[0]);
  if (ratio_id > mllama_model_get_config (model)->vision.n_aspect_ratios) {
    g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s/cases.txt: \"%s\" is no case", dir, line);
    return NULL;
  }
  if (!read_prompt (item, error) || (ratio_id > 0 && !read_picture (item, ratio_id, error)))
    return NULL;
  return g_steal_pointer (&item);
}

void
case_free (Case *item)
{
  if (!item)
    return;
  g_clear_pointer (&item->prompt, mllama_prompt_unref);
  g_clear_pointer (&item->pixels, mllama_pixels_free);
  g_clear_pointer (&item->states, mllama_states_unref);
  g_free (item->dir);
  g_free (item->name);
  g_free (item);
}
