/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The element of the programs, and its properties as options, made from the properties themselves, so that names, texts
 * and ranges cannot drift apart. */
#include "program-element.h"

#include <string.h>

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
program_element_make (GError **error)
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
    g_set_error (error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN,
                 "The GStreamer element " ELEMENT_NAME " was found neither by GStreamer nor as %s. Set GST_PLUGIN_PATH "
                 "to the folder that holds " PLUGIN_FILE ".",
                 MLLAMA_PLUGIN_DIR G_DIR_SEPARATOR_S PLUGIN_FILE);
    return NULL;
  }
  return gst_object_ref_sink (element);
}

/* --- options --- */

/* Times are the element's unsigned 64-bit properties but for the seed. */
static gboolean
is_time (const GParamSpec *pspec)
{
  return pspec->value_type == G_TYPE_UINT64 && !g_str_equal (pspec->name, "seed");
}

/* "500ms", "2s", "1.5m", "none"; a bare number counts nanoseconds, as in gst-launch-1.0. One of less than a millisecond
 * was not meant so. */
static gboolean
parse_time (const char *text, GValue *value)
{
  static const struct {
    const char *unit;
    double ns;
  } units[] = {{"", 1}, {"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
  char *end;

  if (g_str_equal (text, "none") || g_str_equal (text, "-1")) {
    g_value_set_uint64 (value, GST_CLOCK_TIME_NONE);
    return TRUE;
  }
  double number = g_ascii_strtod (text, &end);
  if (end == text || !g_ascii_isdigit (text[0]) || (!*end && number > 0 && number < GST_MSECOND))
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (units); i++) {
    if (!g_str_equal (end, units[i].unit) || number * units[i].ns >= 9e18)
      continue;
    g_value_set_uint64 (value, (guint64) (number * units[i].ns + 0.5));
    return TRUE;
  }
  return FALSE;
}

/* What may follow the option, for --help. */
static const char *
describe_values (GParamSpec *pspec)
{
  if (G_IS_PARAM_SPEC_ENUM (pspec)) {
    const GEnumClass *enum_class = G_PARAM_SPEC_ENUM (pspec)->enum_class;
    g_autoptr (GString) text = g_string_new (NULL);
    for (guint i = 0; i < enum_class->n_values; i++)
      g_string_append_printf (text, "%s%s", i ? "|" : "", enum_class->values[i].value_nick);
    return g_intern_string (text->str);
  }
  if (is_time (pspec))
    return "TIME";
  if (G_IS_PARAM_SPEC_STRING (pspec))
    return g_str_equal (pspec->name, "model") ? "DIRECTORY|ID" : "TEXT";
  return G_IS_PARAM_SPEC_BOOLEAN (pspec) ? "true|false" : "NUMBER";
}

/* ", from 0 to 1", or nothing for types that have no range. */
static char *
describe_range (GParamSpec *pspec)
{
  double low, high;

  if (G_IS_PARAM_SPEC_UINT (pspec)) {
    low = G_PARAM_SPEC_UINT (pspec)->minimum;
    high = G_PARAM_SPEC_UINT (pspec)->maximum;
  } else if (G_IS_PARAM_SPEC_INT (pspec)) {
    low = G_PARAM_SPEC_INT (pspec)->minimum;
    high = G_PARAM_SPEC_INT (pspec)->maximum;
  } else if (G_IS_PARAM_SPEC_DOUBLE (pspec)) {
    low = G_PARAM_SPEC_DOUBLE (pspec)->minimum;
    high = G_PARAM_SPEC_DOUBLE (pspec)->maximum;
  } else {
    return g_strdup ("");
  }
  char low_text[G_ASCII_DTOSTR_BUF_SIZE], high_text[G_ASCII_DTOSTR_BUF_SIZE];
  g_ascii_formatd (low_text, sizeof low_text, "%.10g", low);
  g_ascii_formatd (high_text, sizeof high_text, "%.10g", high);
  return g_strdup_printf (", from %s to %s", low_text, high_text);
}

static gboolean
parse_value (GParamSpec *pspec, const char *text, GValue *value)
{
  if (is_time (pspec))
    return parse_time (text, value);
  /* The deserializer would unquote a string, and take a leading minus of an unsigned number. */
  if (G_IS_PARAM_SPEC_STRING (pspec)) {
    g_value_set_string (value, text);
    return g_utf8_validate (text, -1, NULL);
  }
  return (g_type_is_a (pspec->value_type, G_TYPE_INT) || text[0] != '-') &&
         gst_value_deserialize_with_pspec (value, text, pspec);
}

/* GOptionArgFunc of every option that is a property. */
static gboolean
set_property (const char *option, const char *text, gpointer data, GError **error)
{
  GObject *element = *(GObject **) data;
  GParamSpec *pspec = g_object_class_find_property (G_OBJECT_GET_CLASS (element), option + strlen ("--"));
  GValue value = G_VALUE_INIT;

  g_value_init (&value, pspec->value_type);
  gboolean valid = parse_value (pspec, text, &value) && !g_param_value_validate (pspec, &value);
  if (valid) {
    g_object_set_property (element, pspec->name, &value);
  } else {
    g_autofree char *range = describe_range (pspec);
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "%s takes %s%s, not \"%s\"%s", option,
                 describe_values (pspec), range, text,
                 is_time (pspec) ? ": a number with ns, us, ms, s, m or h (500ms), 0, or none" : "");
  }
  g_value_unset (&value);
  return valid;
}

static void
add_properties (GOptionGroup *group, GObject *element, const char *const *hidden)
{
  guint n_properties;
  g_autofree GParamSpec **properties = g_object_class_list_properties (G_OBJECT_GET_CLASS (element), &n_properties);

  for (guint i = 0; i < n_properties; i++) {
    const GParamSpec *pspec = properties[i];
    if (!(pspec->flags & G_PARAM_WRITABLE) || g_strv_contains (hidden, pspec->name))
      continue;
    const GOptionEntry entries[] = {
        {pspec->name, 0, G_OPTION_FLAG_FILENAME, G_OPTION_ARG_CALLBACK, set_property,
         g_param_spec_get_blurb (properties[i]), describe_values (properties[i])},
        {NULL},
    };
    g_option_group_add_entries (group, entries);
  }
}

GOptionContext *
program_element_make_context (const GOptionEntry *own, gpointer data, const char *const *hidden)
{
  GOptionContext *context = g_option_context_new (NULL);
  GOptionGroup *group = g_option_group_new ("main", "", "", data, NULL);

  g_option_group_add_entries (group, own);
  add_properties (group, *(GObject **) data, hidden);
  g_option_context_set_main_group (context, group);
  return context;
}
