/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line. */
#include <errno.h>
#include <string.h>
#include "mllama-caption.h"
#include "program-element.h"

/* Properties that are no matter of taste here: the program sets them, or they only serve live pipelines. */
static const char *const hidden_properties[] = {
    "name",         "parent",        "prompt",          "prompts", "post-messages",   "attach-meta",
    "idle-timeout", "eos-timeout",   "last-caption",    "stats",   "text-timestamps", "latency",
    "on-error",     "max-in-flight", "partial-results", NULL,
};

typedef struct {
  GObject *element; /* of options */
  CaptionOptions *options;
  GPtrArray *prompts;
  gboolean version;
} Parsing;

GQuark
caption_error_quark (void)
{
  return g_quark_from_static_string ("mllama-caption-error-quark");
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

static GOptionContext *
add_options (Parsing *parsing)
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

  return program_element_make_context (entries, parsing, hidden_properties);
}

static GOptionContext *
make_context (Parsing *parsing)
{
  GOptionContext *context = add_options (parsing);

  g_option_context_set_summary (
      context,
      "Says what pictures and videos show, with a Llama 3.2-Vision (Mllama) checkpoint.\n\n"
      "FILE is a picture, a video or a URI, whatever GStreamer can decode. A picture gets one caption, a video\n"
      "one each --interval. With --together all FILEs go into one prompt, the first picture of each. Without\n"
      "FILE the prompt alone is answered.");
  g_option_context_set_description (
      context,
      "A TIME is a number with ns, us, ms, s, m or h after it; a bare number counts nanoseconds,\n"
      "at least a million.\n\n"
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
  Parsing parsing = {NULL, options, g_ptr_array_new_with_free_func (g_free), FALSE};
  gboolean parsed = FALSE;

  options->element = program_element_make (error);
  if (options->element) {
    parsing.element = G_OBJECT (options->element);
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
