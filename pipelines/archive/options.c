/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "options.h"

#include <gio/gio.h>
#include <string.h>

#include "../program-element.h"
#include "clips.h"

#define DEFAULT_JOBS            8
#define DEFAULT_THUMBNAIL_WIDTH 320

/* The program sets them, or they only serve live pipelines. */
static const char *const hidden_properties[] = {
    "name",        "parent",       "prompt", "prompts",         "post-messages", "attach-meta",     "idle-timeout",
    "eos-timeout", "last-caption", "stats",  "text-timestamps", "latency",       "partial-results", "mode",
    "on-error",    NULL,
};

/* They decide where and when captions are made, not what they say. */
static const char *const placing_properties[] = {"device", "cuda-device-id", "max-in-flight", "model", NULL};

typedef struct {
  GObject *element; /* of options */
  ArchiveOptions *options;
} Parsing;

static void
clear_question (ArchiveQuestion *question)
{
  g_free (question->name);
  g_free (question->prompt);
}

static void
add_question (ArchiveOptions *options, const char *name, const char *prompt)
{
  const ArchiveQuestion question = {g_strdup (name), g_strdup (prompt)};

  g_array_append_val (options->questions, question);
}

static gboolean
is_known (const ArchiveOptions *options, const char *name)
{
  for (guint i = 0; i < options->questions->len; i++)
    if (g_str_equal (g_array_index (options->questions, ArchiveQuestion, i).name, name))
      return TRUE;
  return FALSE;
}

/* Names become parts of names of files. */
static gboolean
is_name (const char *name)
{
  for (const char *at = name; *at; at++)
    if (!g_ascii_isalnum (*at) && *at != '-' && *at != '_')
      return FALSE;
  return *name;
}

static gboolean
set_prompt (const char *option, const char *text, gpointer data, GError **error)
{
  ArchiveQuestion *caption = &g_array_index (((Parsing *) data)->options->questions, ArchiveQuestion, 0);

  if (!g_utf8_validate (text, -1, NULL)) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "%s needs UTF-8 text", option);
    return FALSE;
  }
  g_free (caption->prompt);
  caption->prompt = g_strdup (text);
  return TRUE;
}

/* --ask NAME=PROMPT */
static gboolean
add_asked (const char *option, const char *text, gpointer data, GError **error)
{
  ArchiveOptions *options = ((Parsing *) data)->options;
  const char *sign = strchr (text, '=');
  g_autofree char *name = sign ? g_strndup (text, (gsize) (sign - text)) : NULL;

  if (!name || !is_name (name) || !sign[1] || !g_utf8_validate (text, -1, NULL)) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                 "%s takes NAME=PROMPT, where NAME is of letters, digits, - and _, not \"%s\"", option, text);
    return FALSE;
  }
  if (is_known (options, name)) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "%s %s: there is a question of that name", option,
                 name);
    return FALSE;
  }
  add_question (options, name, sign + 1);
  return TRUE;
}

static GOptionContext *
add_options (Parsing *parsing)
{
  ArchiveOptions *options = parsing->options;
  const gint bytes = G_OPTION_FLAG_FILENAME;
  const GOptionEntry entries[] = {
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &options->output, "Put files below it, not beside the clips", "FOLDER"},
      {"index", 0, 0, G_OPTION_ARG_FILENAME, &options->index, "The index; archive.db in the output folder", "FILE"},
      {"include", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->include,
       "Clips in folders that fit; * and ? stand for any characters; may be given several times", "PATTERN"},
      {"exclude", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->exclude, "Clips in folders to leave out", "PATTERN"},
      {"files-from", 0, 0, G_OPTION_ARG_FILENAME, &options->list, "Clips that a file names, a path a line; - is input",
       "FILE"},
      {"base", 0, 0, G_OPTION_ARG_FILENAME, &options->base, "Where such clips are named from, for --output", "FOLDER"},
      {"prompt", 'p', bytes, G_OPTION_ARG_CALLBACK, set_prompt, "What captions answer", "TEXT"},
      {"ask", 'a', bytes, G_OPTION_ARG_CALLBACK, add_asked, "A further question; may be given several times",
       "NAME=PROMPT"},
      {"jobs", 'j', 0, G_OPTION_ARG_INT, &options->n_jobs, "Clips in work at once (8)", "N"},
      {"thumbnail-width", 0, 0, G_OPTION_ARG_INT, &options->thumbnail_width, "In pixels (320)", "N"},
      {"decode-all", 0, 0, G_OPTION_ARG_NONE, &options->decodes_all, "Decode all frames, needed or not", NULL},
      {"force", 0, 0, G_OPTION_ARG_NONE, &options->force, "Annotate clips anew that were", NULL},
      {"dry-run", 'n', 0, G_OPTION_ARG_NONE, &options->dry_run, "Only tell what would be annotated", NULL},
      {"no-progress", 0, 0, G_OPTION_ARG_NONE, &options->no_progress, "Plain lines, even on a terminal", NULL},
      {"metrics", 0, 0, G_OPTION_ARG_FILENAME, &options->metrics, "Keep counts there, in Prometheus' text format",
       "FILE"},
      {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->paths, NULL, "PATH..."},
      {NULL},
  };

  return program_element_make_context (entries, parsing, hidden_properties);
}

static GOptionContext *
make_context (Parsing *parsing)
{
  GOptionContext *context = add_options (parsing);

  g_option_context_set_summary (
      context,
      "Captions clips, and enters them into an index that mllama-archive search reads.\n\n"
      "PATH is a clip, or a folder whose clips are taken, those of folders in it too. A clip gets CLIP.vtt,\n"
      "CLIP.srt and CLIP.jsonl, CLIP.NAME.vtt and CLIP.NAME.srt for each --ask, and thumbnails in CLIP.thumbs/.\n"
      "What was done is not done again: a clip whose size, time of change and settings are those of the index,\n"
      "and whose files are there, is passed over. Interrupted at any moment, the same command goes on.");
  g_option_context_set_description (context,
                                    "Exit status: 0 if every clip is annotated, 1 if one is not, 2 for a wrong "
                                    "command line.");
  return context;
}

/* "archive.db in the output folder": without one that of the only folder that is named. */
static char *
choose_index (const ArchiveOptions *options)
{
  if (options->output)
    return g_build_filename (options->output, "archive.db", NULL);
  if (options->paths && !options->paths[1] && !g_file_test (options->paths[0], G_FILE_TEST_IS_REGULAR))
    return g_build_filename (options->paths[0], "archive.db", NULL);
  return NULL;
}

/* What is wrong with them, or NULL. Chooses the index if none is named. */
static const char *
complete (ArchiveOptions *options)
{
  const char *fault = archive_clips_find_fault (options->paths, options->list, options->include || options->exclude);

  if (fault)
    return fault;
  if (options->n_jobs < 1 || options->n_jobs > 256)
    return "--jobs takes a number from 1 to 256";
  if (options->thumbnail_width < 16 || options->thumbnail_width > 4096)
    return "--thumbnail-width takes a number from 16 to 4096";
  if (!options->index && !(options->index = choose_index (options)))
    return "Where files lie beside clips of several places, --index has to say where the index is";
  return NULL;
}

ArchiveOptions *
archive_options_parse (int *argc, char ***argv, GError **error)
{
  g_autoptr (ArchiveOptions) options = g_new0 (ArchiveOptions, 1);
  Parsing parsing = {NULL, options};

  options->n_jobs = DEFAULT_JOBS;
  options->thumbnail_width = DEFAULT_THUMBNAIL_WIDTH;
  options->questions = g_array_new (FALSE, FALSE, sizeof (ArchiveQuestion));
  g_array_set_clear_func (options->questions, (GDestroyNotify) clear_question);
  options->element = program_element_make (error);
  if (!options->element)
    return NULL;
  parsing.element = G_OBJECT (options->element);
  g_autofree char *prompt = NULL;
  g_object_get (options->element, "prompt", &prompt, NULL);
  add_question (options, "caption", prompt);
  gst_util_set_object_arg (parsing.element, "mode", "archive");
  g_object_set (options->element, "post-messages", FALSE, "attach-meta", FALSE, NULL);
  g_autoptr (GOptionContext) context = make_context (&parsing);
  if (!g_option_context_parse (context, argc, argv, error))
    return NULL;
  const char *fault = complete (options);
  if (fault) {
    g_set_error_literal (error, ARCHIVE_ERROR, ARCHIVE_ERROR_USAGE, fault);
    return NULL;
  }
  return g_steal_pointer (&options);
}

void
archive_options_free (ArchiveOptions *options)
{
  if (!options)
    return;
  gst_clear_object (&options->element);
  g_strfreev (options->paths);
  g_strfreev (options->include);
  g_strfreev (options->exclude);
  g_free (options->list);
  g_free (options->base);
  g_free (options->output);
  g_free (options->index);
  g_array_unref (options->questions);
  g_free (options->metrics);
  g_free (options);
}

/* --- the element --- */

static gboolean
is_copied (const GParamSpec *pspec)
{
  static const char *const own[] = {"name", "parent", NULL};

  return (pspec->flags & G_PARAM_READWRITE) == G_PARAM_READWRITE && !g_strv_contains (own, pspec->name);
}

GstElement *
archive_options_make_element (const ArchiveOptions *options, GError **error)
{
  GstElement *element = program_element_make (error);
  guint n_properties;
  g_autofree GParamSpec **properties =
      g_object_class_list_properties (G_OBJECT_GET_CLASS (options->element), &n_properties);

  for (guint i = 0; element && i < n_properties; i++) {
    GValue value = G_VALUE_INIT;
    if (!is_copied (properties[i]))
      continue;
    g_value_init (&value, properties[i]->value_type);
    g_object_get_property (G_OBJECT (options->element), properties[i]->name, &value);
    g_object_set_property (G_OBJECT (element), properties[i]->name, &value);
    g_value_unset (&value);
  }
  return element;
}

/* --- settings --- */

static void
append_properties (GString *text, GObject *element)
{
  guint n_properties;
  g_autofree GParamSpec **properties = g_object_class_list_properties (G_OBJECT_GET_CLASS (element), &n_properties);

  for (guint i = 0; i < n_properties; i++) {
    GValue value = G_VALUE_INIT;
    const char *name = properties[i]->name;
    if (!is_copied (properties[i]) || g_strv_contains (hidden_properties, name) ||
        g_strv_contains (placing_properties, name))
      continue;
    g_value_init (&value, properties[i]->value_type);
    g_object_get_property (element, name, &value);
    g_autofree char *spelt = gst_value_serialize (&value);
    g_string_append_printf (text, "%s=%s\n", name, spelt ? spelt : "");
    g_value_unset (&value);
  }
}

static gint
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

static GPtrArray *
list_files (const char *folder)
{
  GPtrArray *names = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GDir) entries = g_dir_open (folder, 0, NULL);
  const char *name;

  while (entries && (name = g_dir_read_name (entries)))
    if (g_str_has_suffix (name, ".json") || g_str_has_suffix (name, ".safetensors"))
      g_ptr_array_add (names, g_strdup (name));
  g_ptr_array_sort (names, compare_names);
  return names;
}

static void
append_model (GString *text, const char *model)
{
  g_autoptr (GPtrArray) names = list_files (model);

  for (guint i = 0; i < names->len; i++) {
    const char *name = g_ptr_array_index (names, i);
    g_autofree char *path = g_build_filename (model, name, NULL), *contents = NULL;
    g_autoptr (GFile) file = g_file_new_for_path (path);
    g_autoptr (GFileInfo) info = g_file_query_info (file, G_FILE_ATTRIBUTE_STANDARD_SIZE, 0, NULL, NULL);
    gsize n_bytes = 0;
    if (g_str_has_suffix (name, ".json") && g_file_get_contents (path, &contents, &n_bytes, NULL)) {
      g_autofree char *hash = g_compute_checksum_for_data (G_CHECKSUM_SHA256, (const guchar *) contents, n_bytes);
      g_string_append_printf (text, "model %s=%s\n", name, hash);
    } else if (info) {
      g_string_append_printf (text, "model %s=%" G_GOFFSET_FORMAT " bytes\n", name, g_file_info_get_size (info));
    }
  }
}

ArchiveSettings *
archive_options_make_settings (const ArchiveOptions *options, const char *model)
{
  ArchiveSettings *settings = g_new0 (ArchiveSettings, 1);
  GString *text = g_string_new (NULL);

  append_properties (text, G_OBJECT (options->element));
  for (guint i = 0; i < options->questions->len; i++) {
    const ArchiveQuestion *question = &g_array_index (options->questions, ArchiveQuestion, i);
    g_autofree char *prompt = g_strescape (question->prompt, NULL);
    g_string_append_printf (text, "ask %s=%s\n", question->name, prompt);
  }
  append_model (text, model);
  g_string_append_printf (text, "thumbnail-width=%d\n", options->thumbnail_width);
  settings->text = g_string_free (text, FALSE);
  settings->hash = g_compute_checksum_for_string (G_CHECKSUM_SHA256, settings->text, -1);
  return settings;
}

void
archive_settings_free (ArchiveSettings *settings)
{
  if (!settings)
    return;
  g_free (settings->text);
  g_free (settings->hash);
  g_free (settings);
}

/* --- clips --- */

GPtrArray *
archive_options_find_clips (const ArchiveOptions *options, GError **error)
{
  return options->list ? archive_clips_read (options->list, options->base, error)
                       : archive_clips_find (options->paths, options->include, options->exclude, error);
}

char *
archive_options_get_output (const ArchiveOptions *options, const ArchiveClip *clip)
{
  g_autofree char *path = options->output ? g_build_filename (options->output, clip->name, NULL) : NULL;

  return path ? g_canonicalize_filename (path, NULL) : g_strdup (clip->path);
}
