/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "find.h"

#include <json-glib/json-glib.h>
#include <stdio.h>

#include "index.h"

#define DEFAULT_MOST 20

typedef struct {
  char *index, *question, *below, *since;
  gint n_most;
  gboolean json;
  char **words;
} Options;

static void
clear_options (Options *options)
{
  g_free (options->index);
  g_free (options->question);
  g_free (options->below);
  g_free (options->since);
  g_strfreev (options->words);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, clear_options)

/* --- what was found --- */

static char *
spell_time (gint64 ns)
{
  const gint64 ms = ns / 1000000;

  return g_strdup_printf ("%d:%02d:%02d.%03d", (int) (ms / 3600000), (int) (ms / 60000 % 60), (int) (ms / 1000 % 60),
                          (int) (ms % 1000));
}

static char *
get_thumbnail (const ArchiveMatch *match)
{
  g_autofree char *folder = g_strconcat (match->output, ".thumbs", NULL);

  return match->thumbnail ? g_build_filename (folder, match->thumbnail, NULL) : NULL;
}

static void
print_text (const ArchiveMatch *match)
{
  g_autofree char *time = spell_time (match->start_ns), *thumbnail = get_thumbnail (match);

  printf ("%s %s  [%s] %s\n", match->path, time, match->question, match->text);
  if (thumbnail)
    printf ("    %s\n", thumbnail);
}

/* Names of files are any bytes, and JSON is UTF-8. */
static void
set_path (JsonObject *object, const char *name, const char *path)
{
  g_autofree char *valid = g_utf8_make_valid (path, -1);

  json_object_set_string_member (object, name, valid);
}

static void
print_json (const ArchiveMatch *match)
{
  g_autoptr (JsonNode) root = json_node_new (JSON_NODE_OBJECT);
  g_autofree char *thumbnail = get_thumbnail (match);
  JsonObject *object = json_object_new ();

  json_node_take_object (root, object);
  set_path (object, "clip", match->path);
  json_object_set_double_member (object, "start", (double) match->start_ns * 1e-9);
  json_object_set_double_member (object, "end", (double) match->end_ns * 1e-9);
  json_object_set_string_member (object, "question", match->question);
  json_object_set_string_member (object, "text", match->text);
  json_object_set_double_member (object, "confidence", match->confidence);
  if (thumbnail)
    set_path (object, "thumbnail", thumbnail);
  json_object_set_double_member (object, "score", match->score);
  g_autofree char *line = json_to_string (root, FALSE);
  puts (line);
}

static void
print_match (const ArchiveMatch *match, gpointer data)
{
  const Options *options = data;

  if (options->json)
    print_json (match);
  else
    print_text (match);
}

/* --- command lines --- */

/* "2026-05-01", or with a time of day, as ISO 8601 has it; of this machine's time zone if it names none. */
static gboolean
parse_since (const char *text, gint64 *ns, GError **error)
{
  g_autoptr (GTimeZone) zone = g_time_zone_new_local ();
  g_autofree char *whole = text && strlen (text) == 10 ? g_strconcat (text, "T00:00:00", NULL) : g_strdup (text);
  g_autoptr (GDateTime) since = whole ? g_date_time_new_from_iso8601 (whole, zone) : NULL;

  *ns = since ? g_date_time_to_unix (since) * 1000000000 : G_MININT64;
  if (!text || since)
    return TRUE;
  g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_USAGE,
               "--since takes a date such as 2026-05-01 or 2026-05-01T18:00, not \"%s\"", text);
  return FALSE;
}

/* Whoever ends it with a slash means that folder, and none whose name is longer. */
static char *
make_beginning (const char *path)
{
  g_autofree char *absolute = g_canonicalize_filename (path, NULL);

  return g_strconcat (absolute, g_str_has_suffix (path, "/") && absolute[1] ? "/" : "", NULL);
}

static gboolean
parse (Options *options, int *argc, char ***argv, GError **error)
{
  const GOptionEntry entries[] = {
      {"index", 0, 0, G_OPTION_ARG_FILENAME, &options->index, "The index (archive.db)", "FILE"},
      {"since", 0, 0, G_OPTION_ARG_STRING, &options->since, "Of clips that changed then or later", "DATE"},
      {"in", 0, 0, G_OPTION_ARG_FILENAME, &options->below, "Of clips whose path begins so", "PATH"},
      {"ask", 0, 0, G_OPTION_ARG_STRING, &options->question, "Answers to that question, \"caption\" for captions",
       "NAME"},
      {"most", 'n', 0, G_OPTION_ARG_INT, &options->n_most, "At most so many (20)", "N"},
      {"json", 0, 0, G_OPTION_ARG_NONE, &options->json, "One JSON object a line", NULL},
      {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->words, NULL, "[WORD...]"},
      {NULL},
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);

  options->n_most = DEFAULT_MOST;
  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_set_summary (context,
                                "Finds captions that have all the WORDs, in any form, the best first: those that say "
                                "little else. Of words that very many have, the captions entered last are looked at. "
                                "Without WORDs all of them, by clip and time.");
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (options->n_most < 1)
    g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_USAGE, "--most takes a number from 1");
  return options->n_most >= 1;
}

gboolean
archive_find (int argc, char **argv, GError **error)
{
  g_auto (Options) options = {0};
  ArchiveQuery query = {0};

  if (!parse (&options, &argc, &argv, error) || !parse_since (options.since, &query.since_ns, error))
    return FALSE;
  g_autofree char *words = options.words ? g_strjoinv (" ", options.words) : NULL;
  g_autofree char *below = options.below ? make_beginning (options.below) : NULL;
  g_autoptr (ArchiveIndex) index = archive_index_open (options.index ? options.index : "archive.db", FALSE, error);
  query.words = words;
  query.below = below;
  query.question = options.question;
  query.n_most = (guint) options.n_most;
  return index && archive_index_search (index, &query, print_match, &options, error);
}

gboolean
archive_merge (int argc, char **argv, GError **error)
{
  g_auto (GStrv) paths = NULL;
  const GOptionEntry entries[] = {
      {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &paths, NULL, "INDEX OTHER..."}, {NULL}};
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);

  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_set_summary (context,
                                "Enters the clips of the OTHER indexes into INDEX, which is made if need be. Of a "
                                "clip in several, what was annotated last stays.");
  if (!g_option_context_parse (context, &argc, &argv, error))
    return FALSE;
  if (!paths || !paths[1]) {
    g_set_error_literal (error, ARCHIVE_ERROR, ARCHIVE_ERROR_USAGE, "Name an index, and at least one to merge into it");
    return FALSE;
  }
  g_autoptr (ArchiveIndex) index = archive_index_open (paths[0], TRUE, error);
  for (char **path = paths + 1; index && *path; path++) {
    guint n_clips = 0, n_taken = 0;
    if (!archive_index_merge (index, *path, &n_clips, &n_taken, error))
      return FALSE;
    printf ("%s: %u of %u clips taken\n", *path, n_taken, n_clips);
  }
  return index != NULL;
}
