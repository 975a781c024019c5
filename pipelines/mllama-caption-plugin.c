/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mllama-caption.h"

#define ELEMENT_NAME "mllamacaption"
#define PLUGIN_FILE  "libgstmllama.so"

/* build/pipelines/mllama-caption has its plugin in build/gst-plugin; installed, there is no such folder beside it. */
static char *
find_plugin_in_build_tree (void)
{
  g_autofree char *program = g_file_read_link ("/proc/self/exe", NULL);
  if (!program)
    return NULL;
  g_autofree char *directory = g_path_get_dirname (program);
  g_autofree char *path = g_build_filename (directory, "..", "gst-plugin", PLUGIN_FILE, NULL);
  return g_file_test (path, G_FILE_TEST_IS_REGULAR) ? g_steal_pointer (&path) : NULL;
}

/* Loading a file registers its elements in this process only: the user's registry cache stays as it is. */
static gboolean
load_plugin (const char *path, GError **error)
{
  GstPlugin *plugin = gst_plugin_load_file (path, error);
  if (!plugin)
    return FALSE;
  gst_object_unref (plugin);
  return TRUE;
}

/* GStreamer 1.22 does not plug this parser by itself, and without it nobody reads which way up a camera was held. */
static void
prefer_jpeg_parser (void)
{
  GstPluginFeature *parser = gst_registry_lookup_feature (gst_registry_get (), "jpegparse");

  if (!parser)
    return;
  gst_plugin_feature_set_rank (parser, GST_RANK_PRIMARY + 1);
  gst_object_unref (parser);
}

GstElement *
caption_plugin_make_element (GError **error)
{
  g_autofree char *built = find_plugin_in_build_tree ();
  GstElement *element;

  prefer_jpeg_parser ();
  if (built && !load_plugin (built, error))
    return NULL;
  element = gst_element_factory_make (ELEMENT_NAME, NULL);
  if (!element && load_plugin (MLLAMA_PLUGIN_DIR G_DIR_SEPARATOR_S PLUGIN_FILE, NULL))
    element = gst_element_factory_make (ELEMENT_NAME, NULL);
  if (!element) {
    g_set_error (error, CAPTION_ERROR, CAPTION_ERROR_MODEL,
                 "The GStreamer element " ELEMENT_NAME " was found neither by GStreamer nor as %s. Set GST_PLUGIN_PATH "
                 "to the folder that holds " PLUGIN_FILE ".",
                 MLLAMA_PLUGIN_DIR G_DIR_SEPARATOR_S PLUGIN_FILE);
    return NULL;
  }
  return gst_object_ref_sink (element);
}
