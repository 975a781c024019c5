/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "clips.h"

#include <gio/gio.h>

#define ATTRIBUTES                                                                                                     \
  G_FILE_ATTRIBUTE_STANDARD_NAME "," G_FILE_ATTRIBUTE_STANDARD_TYPE "," G_FILE_ATTRIBUTE_STANDARD_SIZE                 \
                                 "," G_FILE_ATTRIBUTE_TIME_MODIFIED "," G_FILE_ATTRIBUTE_TIME_MODIFIED_USEC

static const char *const video_endings[] = {"3gp", "asf", "avi",  "flv", "m2ts", "m4v",  "mkv",
                                            "mov", "mp4", "mpeg", "mpg", "mts",  "mxf",  "nut",
                                            "ogg", "ogv", "qt",   "ts",  "vob",  "webm", "wmv"};

typedef struct {
  GPtrArray *clips;
  char **include, **exclude;
  gboolean is_one_path; /* else the names of folders are part of those of clips */
} Search;

const char *
archive_clips_find_fault (char **paths, const char *list, gboolean has_patterns)
{
  if (!paths == !list)
    return "Name clips, or folders of clips, or a list of clips by --files-from; --help tells more";
  return list && has_patterns ? "--include and --exclude choose clips of folders; all that --files-from names are taken"
                              : NULL;
}

static gboolean
has_video_ending (const char *name)
{
  const char *dot = strrchr (name, '.');

  for (guint i = 0; dot && i < G_N_ELEMENTS (video_endings); i++)
    if (g_ascii_strcasecmp (dot + 1, video_endings[i]) == 0)
      return TRUE;
  return FALSE;
}

static gboolean
fits_one (char **patterns, const char *name)
{
  for (char **pattern = patterns; pattern && *pattern; pattern++)
    if (g_pattern_match_simple (*pattern, name))
      return TRUE;
  return FALSE;
}

/* What annotate itself puts beside clips. */
static gboolean
is_output (const char *name)
{
  static const char *const endings[] = {".jsonl", ".srt", ".vtt", ".part", ".thumbs", "archive.db", "-wal", "-shm"};

  for (guint i = 0; i < G_N_ELEMENTS (endings); i++)
    if (g_str_has_suffix (name, endings[i]))
      return TRUE;
  return FALSE;
}

static gboolean
is_wanted (const Search *search, const char *name)
{
  return (search->include ? fits_one (search->include, name) : has_video_ending (name)) &&
         !fits_one (search->exclude, name);
}

static void
add_clip (Search *search, const char *path, const char *name, GFileInfo *info)
{
  ArchiveClip *clip = g_new0 (ArchiveClip, 1);

  clip->path = g_strdup (path);
  clip->name = g_strdup (name);
  clip->size = (guint64) g_file_info_get_size (info);
  clip->modified_ns = (gint64) g_file_info_get_attribute_uint64 (info, G_FILE_ATTRIBUTE_TIME_MODIFIED) * 1000000000 +
                      g_file_info_get_attribute_uint32 (info, G_FILE_ATTRIBUTE_TIME_MODIFIED_USEC) * 1000;
  g_ptr_array_add (search->clips, clip);
}

/* below: what names of clips in the folder begin with. */
static gboolean
walk (Search *search, GFile *folder, const char *below, GError **error)
{
  g_autoptr (GFileEnumerator) entries =
      g_file_enumerate_children (folder, ATTRIBUTES, G_FILE_QUERY_INFO_NOFOLLOW_SYMLINKS, NULL, error);
  GFileInfo *info;
  GFile *file;

  while (entries) {
    if (!g_file_enumerator_iterate (entries, &info, &file, NULL, error))
      return FALSE;
    if (!info)
      return TRUE;
    g_autofree char *name = g_build_filename (below, g_file_info_get_name (info), NULL);
    if (is_output (name))
      continue;
    if (g_file_info_get_file_type (info) == G_FILE_TYPE_DIRECTORY) {
      if (!walk (search, file, name, error))
        return FALSE;
    } else if (is_wanted (search, name)) {
      /* A link to a file is that file. */
      g_autoptr (GFileInfo) target = g_file_query_info (file, ATTRIBUTES, G_FILE_QUERY_INFO_NONE, NULL, NULL);
      if (target && g_file_info_get_file_type (target) == G_FILE_TYPE_REGULAR)
        add_clip (search, g_file_peek_path (file), name, target);
    }
  }
  return FALSE;
}

static gboolean
add_path (Search *search, const char *path, GError **error)
{
  g_autofree char *absolute = g_canonicalize_filename (path, NULL);
  g_autoptr (GFile) file = g_file_new_for_path (absolute);
  g_autoptr (GError) fault = NULL;
  g_autoptr (GFileInfo) info = g_file_query_info (file, ATTRIBUTES, G_FILE_QUERY_INFO_NONE, NULL, &fault);

  g_autofree char *name = g_path_get_basename (absolute);
  if (info && g_file_info_get_file_type (info) == G_FILE_TYPE_DIRECTORY) {
    if (walk (search, file, search->is_one_path ? "" : name, &fault))
      return TRUE;
  } else if (info) {
    add_clip (search, absolute, name, info);
    return TRUE;
  }
  g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_USAGE, "%s cannot be read: %s", path, fault->message);
  return FALSE;
}

static gint
compare_paths (gconstpointer a, gconstpointer b)
{
  return strcmp ((*(ArchiveClip *const *) a)->path, (*(ArchiveClip *const *) b)->path);
}

/* Of sorted clips. */
static void
drop_repeated (GPtrArray *clips)
{
  for (guint i = clips->len; i-- > 1;) {
    const ArchiveClip *clip = g_ptr_array_index (clips, i), *before = g_ptr_array_index (clips, i - 1);
    if (g_str_equal (clip->path, before->path))
      g_ptr_array_remove_index (clips, i);
  }
}

GPtrArray *
archive_clips_find (char **paths, char **include, char **exclude, GError **error)
{
  g_autoptr (GPtrArray) clips = g_ptr_array_new_with_free_func ((GDestroyNotify) archive_clip_free);
  Search search = {clips, include, exclude, !paths[1]};

  for (char **path = paths; *path; path++)
    if (!add_path (&search, *path, error))
      return NULL;
  g_ptr_array_sort (clips, compare_paths);
  drop_repeated (clips);
  return g_steal_pointer (&clips);
}

/* --- lists --- */

static char *
read_list (const char *list, GError **error)
{
  const gboolean is_input = g_str_equal (list, "-");
  g_autoptr (GError) fault = NULL;
  char *text = NULL;

  if (g_file_get_contents (is_input ? "/dev/stdin" : list, &text, NULL, &fault))
    return text;
  g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_USAGE, "The list of clips cannot be read: %s", fault->message);
  return NULL;
}

/* A clip that has gone since the list was made fails by itself, and stops no other. */
static void
add_vanished (Search *search, const char *absolute)
{
  ArchiveClip *clip = g_new0 (ArchiveClip, 1);

  clip->path = g_strdup (absolute);
  clip->name = g_path_get_basename (absolute);
  g_ptr_array_add (search->clips, clip);
}

static gboolean
add_listed (Search *search, GHashTable *known, const char *path, const char *base, GError **error)
{
  g_autofree char *absolute = g_canonicalize_filename (path, NULL);
  const gsize n = g_strcmp0 (base, "/") != 0 && base ? strlen (base) : 0;

  if (g_file_test (absolute, G_FILE_TEST_IS_DIR)) {
    g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_USAGE, "%s is a folder; a list names clips", path);
    return FALSE;
  }
  if (!g_hash_table_add (known, g_strdup (absolute)))
    return TRUE;
  if (!g_file_test (absolute, G_FILE_TEST_EXISTS))
    add_vanished (search, absolute);
  else if (!add_path (search, path, error))
    return FALSE;
  ArchiveClip *clip = g_ptr_array_index (search->clips, search->clips->len - 1);
  if (base && g_str_has_prefix (absolute, base) && absolute[n] == '/') {
    g_free (clip->name);
    clip->name = g_strdup (absolute + n + 1);
  }
  return TRUE;
}

GPtrArray *
archive_clips_read (const char *list, const char *base, GError **error)
{
  g_autoptr (GPtrArray) clips = g_ptr_array_new_with_free_func ((GDestroyNotify) archive_clip_free);
  g_autofree char *text = read_list (list, error), *absolute_base = base ? g_canonicalize_filename (base, NULL) : NULL;
  g_auto (GStrv) lines = text ? g_strsplit (text, "\n", -1) : NULL;
  g_autoptr (GHashTable) known = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  Search search = {.clips = clips, .is_one_path = TRUE};

  if (!text)
    return NULL;
  for (char **line = lines; *line; line++)
    if (**line && !add_listed (&search, known, *line, absolute_base, error))
      return NULL;
  return g_steal_pointer (&clips);
}
