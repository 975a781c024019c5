/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line. Options for the element's properties are made from the properties themselves, so that names, texts
 * and ranges cannot drift apart. */
#include <errno.h>
#include <string.h>
#include "mllama-caption.h"

/* Properties that are no matter of taste here: the program sets them, or they only serve live pipelines. */
static const char *const hidden_properties[] = {
    "name",         "parent",        "prompt",          "prompts", "post-messages",   "attach-meta",
    "idle-timeout", "eos-timeout",   "last-caption",    "stats",   "text-timestamps", "latency",
    "on-error",     "max-in-flight", "partial-results", NULL,
};

typedef struct {
  CaptionOptions *options;
  GPtrArray *prompts;
  gboolean version;
} Parsing;

GQuark
caption_error_quark (void)
{
  return g_quark_from_static_string ("mllama-caption-error-quark");
}

/* Times are the element's unsigned 64-bit properties but for the seed. */
static gboolean
is_time (const GParamSpec *pspec)
{
  return pspec->value_type == G_TYPE_UINT64 && !g_str_equal (pspec->name, "seed");
}

/* "500ms", "2s", "1.5m", "none"; a bare number counts nanoseconds, as in gst-launch-1.0. */
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
  if (end == text || !g_ascii_isdigit (text[0]))
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
  Parsing *parsing = data;
  GObject *element = G_OBJECT (parsing->options->element);
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
                 is_time (pspec) ? ": a number with ns, us, ms, s, m or h, or none" : "");
  }
  g_value_unset (&value);
  return valid;
}

/* The bytes of a prompt are taken as they are, whatever the locale: they have to be UTF-8. */
static gboolean
add_prompt (const char *option, const char *text, gpointer data, GError **error)
{
  Parsing *parsing = data;

  if (!g_utf8_validate (text, -1, NULL)) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "%s needs UTF-8 text", option);
    return FALSE;
  }
  g_ptr_array_add (parsing->prompts, g_strdup (text));
  return TRUE;
}

static gboolean
parse_format (const char *text, CaptionFormat *format)
{
  static const char *const names[] = {"text", "json", "srt", "vtt"};

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    if (!g_str_equal (text, names[i]))
      continue;
    *format = i;
    return TRUE;
  }
  return FALSE;
}

/* --format FORMAT, and --json, --srt and --vtt for short. */
static gboolean
set_format (const char *option, const char *text, gpointer data, GError **error)
{
  Parsing *parsing = data;

  if (parse_format (text ? text : option + strlen ("--"), &parsing->options->format))
    return TRUE;
  g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--format takes text, json, srt or vtt, not \"%s\"",
               text);
  return FALSE;
}

static void
add_own_options (GOptionGroup *group, Parsing *parsing)
{
  CaptionOptions *options = parsing->options;
  const gint bytes = G_OPTION_FLAG_FILENAME, bare = G_OPTION_FLAG_NO_ARG;
  const GOptionEntry entries[] = {
      {"prompt", 'p', bytes, G_OPTION_ARG_CALLBACK, add_prompt, "A question; may be given several times", "TEXT"},
      {"format", 'f', bytes, G_OPTION_ARG_CALLBACK, set_format, "Form of the output", "text|json|srt|vtt"},
      {"json", 0, bare, G_OPTION_ARG_CALLBACK, set_format, "Same as --format=json", NULL},
      {"srt", 0, bare, G_OPTION_ARG_CALLBACK, set_format, "Same as --format=srt", NULL},
      {"vtt", 0, bare, G_OPTION_ARG_CALLBACK, set_format, "Same as --format=vtt", NULL},
      {"token-ids", 0, 0, G_OPTION_ARG_NONE, &options->token_ids, "Add ids and log-probabilities to the JSON", NULL},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &options->output, "Write to PATH, not to standard output", "PATH"},
      {"together", 0, 0, G_OPTION_ARG_NONE, &options->together, "Ask about all FILEs in one prompt", NULL},
      {"no-progress", 0, 0, G_OPTION_ARG_NONE, &options->no_progress, "No progress bar, not even on a terminal", NULL},
      {"version", 0, 0, G_OPTION_ARG_NONE, &parsing->version, "Print the version", NULL},
      {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->files, NULL, "[FILE...]"},
      {NULL},
  };

  g_option_group_add_entries (group, entries);
}

static void
add_property_options (GOptionGroup *group, GObject *element)
{
  guint n_properties;
  g_autofree GParamSpec **properties = g_object_class_list_properties (G_OBJECT_GET_CLASS (element), &n_properties);

  for (guint i = 0; i < n_properties; i++) {
    const GParamSpec *pspec = properties[i];
    if (!(pspec->flags & G_PARAM_WRITABLE) || g_strv_contains (hidden_properties, pspec->name))
      continue;
    const GOptionEntry entries[] = {
        {pspec->name, 0, G_OPTION_FLAG_FILENAME, G_OPTION_ARG_CALLBACK, set_property,
         g_param_spec_get_blurb (properties[i]), describe_values (properties[i])},
        {NULL},
    };
    g_option_group_add_entries (group, entries);
  }
}

static GOptionContext *
make_context (Parsing *parsing)
{
  GOptionContext *context = g_option_context_new (NULL);
  GOptionGroup *group = g_option_group_new ("main", "", "", parsing, NULL);

  add_own_options (group, parsing);
  add_property_options (group, G_OBJECT (parsing->options->element));
  g_option_context_set_main_group (context, group);
  g_option_context_set_summary (
      context,
      "Says what pictures and videos show, with a Llama 3.2-Vision (Mllama) checkpoint.\n\n"
      "FILE is a picture, a video or a URI, whatever GStreamer can decode. A picture gets one caption, a video\n"
      "one each --interval. With --together all FILEs go into one prompt, the first picture of each. Without\n"
      "FILE the prompt alone is answered.");
  g_option_context_set_description (
      context,
      "A TIME is a number with ns, us, ms, s, m or h after it; a bare number counts nanoseconds.\n\n"
      "Text: one line for each caption, with the file in front if there are several, then the time in a video. JSON:\n"
      "one object a line with file, pts and duration (nanoseconds), prompt, text, finish_reason (stop, length,\n"
      "cancelled or error), confidence and timings (nanoseconds); --token-ids adds token_ids and logprobs. Subtitles\n"
      "of several FILEs need --output DIRECTORY.\n\n"
      "Exit status: 0 if every file was captioned, 1 if not, 2 for a wrong command line. What went wrong with a file\n"
      "is told on standard error, and the others are done all the same.\n\n"
      "Examples:\n"
      "  mllama-caption --model meta-llama/Llama-3.2-11B-Vision-Instruct photo.jpg\n"
      "  mllama-caption --model DIRECTORY --json --prompt 'How many people are there?' *.png\n"
      "  mllama-caption --model DIRECTORY --interval 2s --srt --output clip.srt clip.mp4");
  return context;
}

/* What the single options cannot know of each other. */
static gboolean
check_combination (const CaptionOptions *options, GError **error)
{
  gboolean subtitles = options->format == CAPTION_FORMAT_SRT || options->format == CAPTION_FORMAT_VTT;
  guint n_files = options->files ? g_strv_length (options->files) : 0;
  const char *fault = NULL;

  if (options->token_ids && options->format != CAPTION_FORMAT_JSON)
    fault = "--token-ids needs --json";
  else if (options->together && n_files == 0)
    fault = "--together needs at least one FILE";
  else if (n_files == 0 && !options->prompts)
    fault = "Give a FILE to caption, or a --prompt to answer without one; see --help";
  else if (subtitles && (options->together || n_files == 0))
    fault = "Subtitles need times, and an answer about several files or about none has no time: use text or --json";
  if (fault)
    g_set_error_literal (error, CAPTION_ERROR, CAPTION_ERROR_USAGE, fault);
  return !fault;
}

CaptionOptions *
caption_options_parse (int *argc, char ***argv, GError **error)
{
  g_autoptr (CaptionOptions) options = g_new0 (CaptionOptions, 1);
  Parsing parsing = {options, g_ptr_array_new_with_free_func (g_free), FALSE};
  gboolean parsed = FALSE;

  options->element = caption_plugin_make_element (error);
  if (options->element) {
    g_autoptr (GOptionContext) context = make_context (&parsing);
    parsed = g_option_context_parse (context, argc, argv, error);
  }
  if (parsing.prompts->len > 0) {
    g_ptr_array_add (parsing.prompts, NULL);
    options->prompts = (char **) g_ptr_array_free (parsing.prompts, FALSE);
  } else {
    g_ptr_array_unref (parsing.prompts);
  }
  if (!parsed)
    return NULL;
  if (parsing.version) {
    puts ("mllama-caption " MLLAMA_VERSION);
    return NULL;
  }
  return check_combination (options, error) ? g_steal_pointer (&options) : NULL;
}

void
caption_options_free (CaptionOptions *options)
{
  if (!options)
    return;
  gst_clear_object (&options->element);
  g_free (options->output);
  g_strfreev (options->prompts);
  g_strfreev (options->files);
  g_free (options);
}
