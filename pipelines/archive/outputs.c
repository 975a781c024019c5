/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outputs.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <unistd.h>

#include "../subtitles.h"
#include "text.h"

#define LINES       ".jsonl"
#define WHOLE_LINES ".jsonl.part" /* until the clip is entered */

/* --- what the files say --- */

static void
append_cue (GString *text, const ArchiveCaption *caption, guint number, gboolean is_vtt)
{
  g_autofree char *line =
      is_vtt ? gst_mllama_caption_text_to_markup (caption->text) : gst_mllama_caption_text_clean (caption->text);

  subtitles_append_cue (text, is_vtt, number, caption->start, caption->end, line);
}

static char *
make_subtitles (const ArchiveAnnotation *annotation, guint question, gboolean is_vtt)
{
  GString *text = g_string_new (is_vtt ? SUBTITLES_VTT_HEADER : "");
  guint n = 0;

  for (guint i = 0; i < annotation->captions->len; i++) {
    const ArchiveCaption *caption = g_ptr_array_index (annotation->captions, i);
    if (caption->question == question)
      append_cue (text, caption, ++n, is_vtt);
  }
  return g_string_free (text, FALSE);
}

static void
append_line (GString *lines, const ArchiveCaption *caption, const ArchiveQuestion *question)
{
  g_autoptr (JsonNode) root = json_node_new (JSON_NODE_OBJECT);
  JsonObject *object = json_object_new ();
  g_autoptr (JsonGenerator) generator = json_generator_new ();

  json_node_take_object (root, object);
  json_object_set_double_member (object, "start", (double) caption->start / GST_SECOND);
  json_object_set_double_member (object, "end", (double) caption->end / GST_SECOND);
  json_object_set_string_member (object, "question", question->name);
  json_object_set_string_member (object, "text", caption->text);
  json_object_set_double_member (object, "confidence", caption->confidence);
  if (caption->thumbnail)
    json_object_set_string_member (object, "thumbnail", caption->thumbnail);
  json_generator_set_root (generator, root);
  json_generator_to_gstring (generator, lines);
  g_string_append_c (lines, '\n');
}

static char *
make_lines (const ArchiveAnnotation *annotation, const ArchiveQuestion *questions)
{
  GString *lines = g_string_new (NULL);

  for (guint i = 0; i < annotation->captions->len; i++) {
    const ArchiveCaption *caption = g_ptr_array_index (annotation->captions, i);
    append_line (lines, caption, &questions[caption->question]);
  }
  return g_string_free (lines, FALSE);
}

/* --- files --- */

static char *
make_path (const char *output, const ArchiveQuestion *question, gboolean is_first, const char *ending)
{
  return is_first ? g_strconcat (output, ".", ending, NULL)
                  : g_strconcat (output, ".", question->name, ".", ending, NULL);
}

static gboolean
fail (GError **error, const char *what, const char *path)
{
  g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_OUTPUT, "%s %s: %s", what, path, g_strerror (errno));
  return FALSE;
}

/* Takes both. */
static gboolean
write_file (char *taken_path, char *taken_contents, GError **error)
{
  g_autofree char *path = taken_path, *contents = taken_contents;

  return archive_write_file (path, contents, TRUE, error);
}

static void
remove_folder (const char *path)
{
  g_autoptr (GDir) folder = g_dir_open (path, 0, NULL);
  const char *name;

  while (folder && (name = g_dir_read_name (folder))) {
    g_autofree char *file = g_build_filename (path, name, NULL);
    g_unlink (file);
  }
  g_rmdir (path);
}

/* A renamed file is on the disk when its folder is. */
static gboolean
sync_folder_of (const char *path, GError **error)
{
  g_autofree char *folder = g_path_get_dirname (path);
  const int fd = g_open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  const gboolean is_good = fd >= 0 && fsync (fd) == 0;

  if (!is_good)
    fail (error, "There is no syncing", folder);
  if (fd >= 0)
    close (fd);
  return is_good;
}

char *
archive_outputs_prepare (const char *output, GError **error)
{
  g_autofree char *thumbs = g_strconcat (output, ".thumbs.part", NULL);
  g_autofree char *folder = g_path_get_dirname (output);

  remove_folder (thumbs);
  if (g_mkdir_with_parents (folder, 0777) == 0 && g_mkdir (thumbs, 0777) == 0)
    return g_steal_pointer (&thumbs);
  fail (error, "There is no folder", thumbs);
  return NULL;
}

void
archive_outputs_discard (const char *thumbs)
{
  remove_folder (thumbs);
}

/* Hundreds of small files at once, rather than one by one. */
static gboolean
sync_thumbs (const char *thumbs, GError **error)
{
  const int fd = g_open (thumbs, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  const gboolean is_good = fd >= 0 && syncfs (fd) == 0;

  if (!is_good)
    fail (error, "There is no syncing", thumbs);
  if (fd >= 0)
    close (fd);
  return is_good;
}

static gboolean
put_thumbs (const char *output, const char *thumbs, GError **error)
{
  g_autofree char *path = g_strconcat (output, ".thumbs", NULL);

  remove_folder (path);
  if (g_rename (thumbs, path) == 0)
    return TRUE;
  return fail (error, "Thumbnails cannot be put into", path);
}

/* From now on the files are not what the index says of them. */
static gboolean
remove_sign (const char *output, GError **error)
{
  g_autofree char *lines = g_strconcat (output, LINES, NULL);

  return g_unlink (lines) != 0 || sync_folder_of (lines, error);
}

gboolean
archive_outputs_finish (const char *output, GError **error)
{
  g_autofree char *lines = g_strconcat (output, LINES, NULL), *whole = g_strconcat (output, WHOLE_LINES, NULL);

  return g_rename (whole, lines) == 0 || fail (error, "There is no renaming", whole);
}

gboolean
archive_outputs_write (const char *output, const char *thumbs, const ArchiveQuestion *questions, guint n_questions,
                       const ArchiveAnnotation *annotation, GError **error)
{
  if (!sync_thumbs (thumbs, error) || !remove_sign (output, error) || !put_thumbs (output, thumbs, error))
    return FALSE;
  for (guint i = 0; i < n_questions; i++) {
    if (!write_file (make_path (output, &questions[i], i == 0, "vtt"), make_subtitles (annotation, i, TRUE), error) ||
        !write_file (make_path (output, &questions[i], i == 0, "srt"), make_subtitles (annotation, i, FALSE), error))
      return FALSE;
  }
  return write_file (g_strconcat (output, WHOLE_LINES, NULL), make_lines (annotation, questions), error) &&
         sync_folder_of (output, error);
}

/* Takes the path. */
static gboolean
exists (char *taken_path)
{
  g_autofree char *path = taken_path;

  return g_file_test (path, G_FILE_TEST_EXISTS);
}

static gboolean
has_thumbs (const char *output, guint n)
{
  g_autofree char *path = g_strconcat (output, ".thumbs", NULL);
  g_autoptr (GDir) folder = g_dir_open (path, 0, NULL);
  guint n_found = 0;

  while (folder && g_dir_read_name (folder))
    n_found++;
  return folder && n_found >= n;
}

gboolean
archive_outputs_exist (const char *output, const ArchiveQuestion *questions, guint n_questions, guint n_thumbnails)
{
  for (guint i = 0; i < n_questions; i++)
    if (!exists (make_path (output, &questions[i], i == 0, "vtt")) ||
        !exists (make_path (output, &questions[i], i == 0, "srt")))
      return FALSE;
  return exists (g_strconcat (output, LINES, NULL)) && has_thumbs (output, n_thumbnails);
}
