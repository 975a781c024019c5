/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A checkpoint by its directory, or by its Hugging Face id in the cache of huggingface_hub:
 * models--owner--name/refs/REVISION holds the name of a directory under models--owner--name/snapshots. */
#include "checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"

#define MAX_REFERENCE 256

/* "~/..." as Python's expanduser. */
static char *
expand_home (const char *path)
{
  if (path[0] == '~' && (path[1] == '/' || !path[1]))
    return g_strconcat (g_get_home_dir (), path + 1, NULL);
  return g_strdup (path);
}

static const char *
get_setting (const char *name)
{
  const char *value = g_getenv (name);

  return value && *value ? value : NULL;
}

/* The order of huggingface_hub. */
static char *
find_cache (void)
{
  static const char *const direct[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"};
  g_autofree char *home = NULL;
  const char *value;

  for (guint i = 0; i < G_N_ELEMENTS (direct); i++)
    if ((value = get_setting (direct[i])))
      return expand_home (value);
  if ((value = get_setting ("HF_HOME"))) {
    home = expand_home (value);
    return g_build_filename (home, "hub", NULL);
  }
  home = expand_home ((value = get_setting ("XDG_CACHE_HOME")) ? value : "~/.cache");
  return g_build_filename (home, "huggingface", "hub", NULL);
}

/* Letters, digits, '-', '_', '.', and no name of a directory's parent. */
static gboolean
is_plain_name (const char *name, gsize length)
{
  if (length == 0 || name[0] == '.')
    return FALSE;
  for (gsize i = 0; i < length; i++)
    if (!g_ascii_isalnum (name[i]) && !strchr ("-_.", name[i]))
      return FALSE;
  return TRUE;
}

/* "owner/name" or "name", with "@revision" after it; revision may have slashes (refs/pr/1). */
static gboolean
split_id (const char *id, char **repository, char **revision)
{
  const char *at = strchr (id, '@');
  gsize length = at ? (gsize) (at - id) : strlen (id);
  g_autofree char *name = g_strndup (id, length);
  g_auto (GStrv) parts = g_strsplit (name, "/", -1);
  g_auto (GStrv) steps = g_strsplit (at ? at + 1 : "main", "/", -1);

  if (g_strv_length (parts) < 1 || g_strv_length (parts) > 2 || g_strv_length (steps) < 1)
    return FALSE;
  for (char **part = parts; *part; part++)
    if (!is_plain_name (*part, strlen (*part)))
      return FALSE;
  for (char **step = steps; *step; step++)
    if (!is_plain_name (*step, strlen (*step)))
      return FALSE;
  *repository = g_steal_pointer (&name);
  *revision = g_strdup (at ? at + 1 : "main");
  return TRUE;
}

/* The snapshot of a branch or tag, or of a commit by its own name; NULL if the cache has none. */
static char *
find_snapshot (const char *folder, const char *revision)
{
  g_autofree char *reference = g_build_filename (folder, "refs", revision, NULL);
  g_autofree char *commit = NULL, *path = NULL;
  gsize length;

  if (!mllama_read_file (reference, MAX_REFERENCE, &commit, &length, NULL))
    commit = g_strdup (revision);
  g_strstrip (commit);
  if (!is_plain_name (commit, strlen (commit)))
    return NULL;
  path = g_build_filename (folder, "snapshots", commit, NULL);
  return g_file_test (path, G_FILE_TEST_IS_DIR) ? g_steal_pointer (&path) : NULL;
}

static char *
find_in_cache (const char *checkpoint, GError **error)
{
  g_autofree char *repository = NULL, *revision = NULL, *cache = NULL, *folder = NULL, *snapshot = NULL;
  g_auto (GStrv) parts = NULL;
  g_autofree char *name = NULL;

  if (!split_id (checkpoint, &repository, &revision)) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND,
                 "%s: no such directory; a checkpoint's directory, or a Hugging Face id like "
                 "meta-llama/Llama-3.2-11B-Vision-Instruct, is expected",
                 checkpoint);
    return NULL;
  }
  parts = g_strsplit (repository, "/", -1);
  name = g_strjoinv ("--", parts);
  cache = find_cache ();
  folder = g_strdup_printf ("%s/models--%s", cache, name);
  snapshot = find_snapshot (folder, revision);
  if (!snapshot)
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND,
                 "%s: no such directory, and no snapshot of revision %s in %s; download it with: huggingface-cli "
                 "download %s --revision %s",
                 checkpoint, revision, folder, repository, revision);
  return g_steal_pointer (&snapshot);
}

char *
mllama_checkpoint_find (const char *checkpoint, GError **error)
{
  g_autofree char *directory = NULL;
  char *resolved;

  if (g_file_test (checkpoint, G_FILE_TEST_IS_DIR))
    directory = g_strdup (checkpoint);
  else if (g_file_test (checkpoint, G_FILE_TEST_EXISTS))
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND,
                 "%s: this is a file; the directory with config.json and the weights is expected", checkpoint);
  else
    directory = find_in_cache (checkpoint, error);
  if (!directory)
    return NULL;
  resolved = realpath (directory, NULL);
  if (!resolved) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNREADABLE, "%s: its path cannot be resolved", directory);
    return NULL;
  }
  return resolved;
}
