/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "report.h"

#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <string.h>

#include "index.h"

#define TEMPLATE "/archive/report.html"
#define MARK     "@DATA@"

typedef struct {
  char *index, *output, *title;
} Options;

static void
clear_options (Options *options)
{
  g_free (options->index);
  g_free (options->output);
  g_free (options->title);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, clear_options)

/* The page's data as it grows, clip by clip. */
typedef struct {
  const char *folder; /* of the page */
  JsonArray *questions, *clips, *captions;
  GHashTable *question_numbers; /* name -> number */
  char *clip;                   /* the path of the one that captions are added to */
  guint64 n_captions;
} Page;

/* --- paths as a browser sees them --- */

/* "../x/y.mp4", escaped: both are absolute. */
static char *
make_relative_url (const char *folder, const char *path)
{
  g_auto (GStrv) from = g_strsplit (folder, "/", -1), to = g_strsplit (path, "/", -1);
  GString *url = g_string_new (NULL);
  guint n = 0;

  while (from[n] && to[n] && to[n + 1] && g_str_equal (from[n], to[n]))
    n++;
  for (guint i = n; from[i]; i++)
    if (*from[i])
      g_string_append (url, "../");
  for (guint i = n; to[i]; i++) {
    g_autofree char *part = g_uri_escape_string (to[i], NULL, FALSE);
    g_string_append_printf (url, "%s%s", part, to[i + 1] ? "/" : "");
  }
  return g_string_free (url, FALSE);
}

/* A name for people: below the page's folder, or the whole path. */
static char *
make_name (const char *folder, const char *path)
{
  const gsize n = strlen (folder);

  return g_filename_display_name (g_str_has_prefix (path, folder) && path[n] == '/' ? path + n + 1 : path);
}

/* --- data --- */

static gint64
number_question (Page *page, const char *name)
{
  gpointer number;

  if (g_hash_table_lookup_extended (page->question_numbers, name, NULL, &number))
    return GPOINTER_TO_INT (number);
  const gint next = (gint) json_array_get_length (page->questions);
  g_hash_table_insert (page->question_numbers, g_strdup (name), GINT_TO_POINTER (next));
  json_array_add_string_element (page->questions, name);
  return next;
}

static void
begin_clip (Page *page, const ArchiveMatch *match)
{
  JsonObject *clip = json_object_new ();
  g_autofree char *name = make_name (page->folder, match->path), *video = make_relative_url (page->folder, match->path);
  g_autofree char *thumbs = g_strconcat (match->output, ".thumbs/", NULL);
  g_autofree char *thumbs_url = make_relative_url (page->folder, thumbs);

  g_free (page->clip);
  page->clip = g_strdup (match->path);
  page->captions = json_array_new ();
  json_object_set_string_member (clip, "name", name);
  json_object_set_string_member (clip, "video", video);
  json_object_set_string_member (clip, "thumbs", thumbs_url);
  json_object_set_array_member (clip, "captions", page->captions);
  json_array_add_object_element (page->clips, clip);
}

/* Matches come clip by clip. */
static void
add_match (const ArchiveMatch *match, gpointer data)
{
  Page *page = data;
  JsonArray *caption = json_array_new ();

  if (g_strcmp0 (page->clip, match->path) != 0)
    begin_clip (page, match);
  json_array_add_int_element (caption, number_question (page, match->question));
  json_array_add_int_element (caption, match->start_ns / 1000000);
  json_array_add_int_element (caption, match->end_ns / 1000000);
  json_array_add_string_element (caption, match->text);
  if (match->thumbnail)
    json_array_add_string_element (caption, match->thumbnail);
  json_array_add_array_element (page->captions, caption);
  page->n_captions++;
}

static char *
make_data (Page *page, const char *title)
{
  g_autoptr (JsonNode) root = json_node_new (JSON_NODE_OBJECT);
  JsonObject *object = json_object_new ();

  json_node_take_object (root, object);
  json_object_set_string_member (object, "title", title);
  json_object_set_array_member (object, "questions", page->questions);
  json_object_set_array_member (object, "clips", page->clips);
  g_autofree char *json = json_to_string (root, FALSE);
  /* Nothing in it may end the element that it stands in. */
  GString *text = g_string_new (json);
  g_string_replace (text, "<", "\\u003c", 0);
  return g_string_free (text, FALSE);
}

static char *
fill_template (const char *data)
{
  g_autoptr (GBytes) bytes = g_resources_lookup_data (TEMPLATE, G_RESOURCE_LOOKUP_FLAGS_NONE, NULL);
  g_autofree char *text = g_strndup (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
  char *mark = strstr (text, MARK);

  *mark = 0;
  return g_strconcat (text, data, mark + strlen (MARK), NULL);
}

static gboolean
write_page (const Options *options, ArchiveIndex *index, const char *output, GError **error)
{
  const ArchiveQuery query = {.since_ns = G_MININT64, .n_most = G_MAXINT32};
  g_autofree char *folder = g_path_get_dirname (output);
  Page page = {.folder = folder, .questions = json_array_new (), .clips = json_array_new ()};

  page.question_numbers = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  /* Captions come first, whatever the index begins with. */
  number_question (&page, "caption");
  const gboolean is_read = archive_index_search (index, &query, add_match, &page, error);
  g_autofree char *data = make_data (&page, options->title ? options->title : "Archive");
  g_hash_table_unref (page.question_numbers);
  g_free (page.clip);
  g_autofree char *html = is_read ? fill_template (data) : NULL;
  if (!is_read || !g_file_set_contents_full (output, html, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0666, error))
    return FALSE;
  g_print ("%s: %" G_GUINT64_FORMAT " captions\n", output, page.n_captions);
  return TRUE;
}

gboolean
archive_report (int argc, char **argv, GError **error)
{
  g_auto (Options) options = {0};
  const GOptionEntry entries[] = {
      {"index", 0, 0, G_OPTION_ARG_FILENAME, &options.index, "The index (archive.db)", "FILE"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &options.output, "The page; index.html beside the index", "FILE"},
      {"title", 0, 0, G_OPTION_ARG_STRING, &options.title, "Its title", "TEXT"},
      {NULL},
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);

  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_set_summary (context,
                                "Writes a page that looks for captions and plays their clips. It refers to clips and "
                                "thumbnails by where they lie seen from it.");
  if (!g_option_context_parse (context, &argc, &argv, error))
    return FALSE;
  g_autofree char *path = g_canonicalize_filename (options.index ? options.index : "archive.db", NULL);
  g_autofree char *folder = g_path_get_dirname (path);
  g_autofree char *output =
      options.output ? g_canonicalize_filename (options.output, NULL) : g_build_filename (folder, "index.html", NULL);
  g_autoptr (ArchiveIndex) index = archive_index_open (path, FALSE, error);
  return index && write_page (&options, index, output, error);
}
