/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model.h"
#include <dlfcn.h>

#define DEMO_DIRECTORY "share" G_DIR_SEPARATOR_S "mllama" G_DIR_SEPARATOR_S "demo-model"
#define DEMO_VARIABLE  "MLLAMA_DEMO_MODEL"

static gboolean
holds_model (const char *directory)
{
  g_autofree char *config = g_build_filename (directory, "config.json", NULL);

  return g_file_test (config, G_FILE_TEST_EXISTS);
}

/* Wherever the prefix was moved to: lib/gstreamer-1.0 and lib/TRIPLET/gstreamer-1.0 have share/ two or three above. */
static char *
find_beside_plugin (void)
{
  Dl_info info;

  if (!dladdr ((void *) find_beside_plugin, &info) || !info.dli_fname)
    return NULL;
  g_autofree char *directory = g_path_get_dirname (info.dli_fname);
  for (guint level = 0; level < 4; level++) {
    g_autofree char *above = g_path_get_dirname (directory);
    g_autofree char *demo = g_build_filename (above, DEMO_DIRECTORY, NULL);
    if (holds_model (demo))
      return g_steal_pointer (&demo);
    g_free (directory);
    directory = g_steal_pointer (&above);
  }
  return NULL;
}

char *
gst_mllama_caption_model_find (const GstMllamaCaptionSettings *settings, GError **error)
{
  const char *demo = g_getenv (DEMO_VARIABLE);

  if (settings->model && *settings->model)
    return g_strdup (settings->model);
  if (demo && *demo)
    return g_strdup (demo);
  char *beside = find_beside_plugin ();
  if (beside)
    return beside;
  if (holds_model (GST_MLLAMA_SOURCE_DEMO_MODEL))
    return g_strdup (GST_MLLAMA_SOURCE_DEMO_MODEL);
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND,
               "No model is named and no default model is installed: set the property model to the directory of a "
               "Mllama checkpoint or to a Hugging Face id such as meta-llama/Llama-3.2-11B-Vision-Instruct, or the "
               "environment variable " DEMO_VARIABLE " to a directory");
  return NULL;
}

MllamaModel *
gst_mllama_caption_model_open (const GstMllamaCaptionSettings *settings, GError **error)
{
  g_autofree char *checkpoint = gst_mllama_caption_model_find (settings, error);
  const MllamaModelSettings model_settings = {.device = (MllamaDevice) settings->device,
                                              .cuda_device_plus_one = settings->cuda_device_id + 1,
                                              .dtype = (MllamaDtype) settings->dtype};

  return checkpoint ? mllama_model_open (checkpoint, &model_settings, error) : NULL;
}

static void
find_code (const GError *error, GQuark *domain, gint *code)
{
  static const struct {
    MllamaError error;
    GQuark (*domain) (void);
    gint code;
  } codes[] = {
      {MLLAMA_ERROR_NOT_FOUND, gst_resource_error_quark, GST_RESOURCE_ERROR_NOT_FOUND},
      {MLLAMA_ERROR_UNREADABLE, gst_resource_error_quark, GST_RESOURCE_ERROR_OPEN_READ},
      {MLLAMA_ERROR_MALFORMED, gst_stream_error_quark, GST_STREAM_ERROR_FORMAT},
      {MLLAMA_ERROR_UNSUPPORTED, gst_stream_error_quark, GST_STREAM_ERROR_FORMAT},
      {MLLAMA_ERROR_INVALID, gst_library_error_quark, GST_LIBRARY_ERROR_SETTINGS},
      {MLLAMA_ERROR_TOO_LONG, gst_library_error_quark, GST_LIBRARY_ERROR_SETTINGS},
      {MLLAMA_ERROR_OUT_OF_MEMORY, gst_resource_error_quark, GST_RESOURCE_ERROR_NO_SPACE_LEFT},
      {MLLAMA_ERROR_DEVICE, gst_library_error_quark, GST_LIBRARY_ERROR_INIT},
      {MLLAMA_ERROR_WRONG_MODEL, gst_library_error_quark, GST_LIBRARY_ERROR_SETTINGS},
      {MLLAMA_ERROR_NOT_FINITE, gst_stream_error_quark, GST_STREAM_ERROR_DECODE},
  };

  *domain = GST_LIBRARY_ERROR;
  *code = GST_LIBRARY_ERROR_FAILED;
  for (guint i = 0; i < G_N_ELEMENTS (codes); i++) {
    if (error->domain != MLLAMA_ERROR || error->code != (gint) codes[i].error)
      continue;
    *domain = codes[i].domain ();
    *code = codes[i].code;
  }
}

void
gst_mllama_caption_model_post_error (GstElement *element, const GError *error, gboolean warning)
{
  GQuark domain;
  gint code;

  find_code (error, &domain, &code);
  gst_element_message_full (element, warning ? GST_MESSAGE_WARNING : GST_MESSAGE_ERROR, domain, code,
                            g_strdup (error->message), NULL, __FILE__, G_STRFUNC, __LINE__);
}
