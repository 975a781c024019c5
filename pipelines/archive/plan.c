/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan.h"

#include <gst/pbutils/pbutils.h>

#include "clips.h"

#define MAX_SHARDS    10000
#define DISCOVER_TIME (20 * GST_SECOND)
#define CLIP_COST_NS  (gint64) GST_SECOND /* what a clip costs besides its length, and one that tells none in all */

typedef struct {
  gint n_shards;
  char *output, *list;
  char **paths, **include, **exclude;
} Options;

static void
clear_options (Options *options)
{
  g_free (options->output);
  g_free (options->list);
  g_strfreev (options->paths);
  g_strfreev (options->include);
  g_strfreev (options->exclude);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, clear_options)

typedef struct {
  GString *paths; /* a line each */
  gint64 duration_ns;
  guint n_clips;
} Shard;

/* A clip that tells no length is planned all the same: annotate will say what is wrong with it. */
static gboolean
measure (GPtrArray *clips, GError **error)
{
  g_autoptr (GstDiscoverer) discoverer = gst_discoverer_new (DISCOVER_TIME, error);

  for (guint i = 0; discoverer && i < clips->len; i++) {
    ArchiveClip *clip = g_ptr_array_index (clips, i);
    g_autofree char *uri = gst_filename_to_uri (clip->path, NULL);
    g_autoptr (GstDiscovererInfo) info = gst_discoverer_discover_uri (discoverer, uri, NULL);
    const GstClockTime duration = info ? gst_discoverer_info_get_duration (info) : GST_CLOCK_TIME_NONE;
    clip->duration_ns = GST_CLOCK_TIME_IS_VALID (duration) ? (gint64) duration : 0;
  }
  return discoverer != NULL;
}

static gint
compare_durations (gconstpointer a, gconstpointer b)
{
  const ArchiveClip *x = *(ArchiveClip *const *) a, *y = *(ArchiveClip *const *) b;

  if (x->duration_ns != y->duration_ns)
    return x->duration_ns > y->duration_ns ? -1 : 1;
  return strcmp (x->path, y->path);
}

/* The longest first, each to the shard that has least. */
static void
share_out (GPtrArray *clips, Shard *shards, guint n_shards)
{
  g_ptr_array_sort (clips, compare_durations);
  for (guint i = 0; i < clips->len; i++) {
    const ArchiveClip *clip = g_ptr_array_index (clips, i);
    Shard *least = shards;
    for (guint k = 1; k < n_shards; k++)
      if (shards[k].duration_ns < least->duration_ns)
        least = &shards[k];
    g_string_append_printf (least->paths, "%s\n", clip->path);
    least->duration_ns += clip->duration_ns + CLIP_COST_NS;
    least->n_clips++;
  }
}

static gboolean
write_shard (const Options *options, guint number, const Shard *shard, GError **error)
{
  g_autofree char *name = g_strdup_printf ("shard-%u.txt", number);
  g_autofree char *path = g_build_filename (options->output, name, NULL);

  if (!g_file_set_contents (path, shard->paths->str, -1, error))
    return FALSE;
  g_print ("%s: %u clips, %.1f s\n", path, shard->n_clips, (double) shard->duration_ns * 1e-9);
  return TRUE;
}

static gboolean
write_plan (const Options *options, GPtrArray *clips, GError **error)
{
  const guint n = (guint) options->n_shards;
  Shard *shards = g_new0 (Shard, n);
  gboolean is_good = TRUE;

  for (guint i = 0; i < n; i++)
    shards[i].paths = g_string_new (NULL);
  share_out (clips, shards, n);
  g_mkdir_with_parents (options->output, 0777);
  for (guint i = 0; i < n && is_good; i++)
    is_good = write_shard (options, i, &shards[i], error);
  for (guint i = 0; i < n; i++)
    g_string_free (shards[i].paths, TRUE);
  g_free (shards);
  return is_good;
}

static gboolean
check (const Options *options, const GPtrArray *clips, GError **error)
{
  for (guint i = 0; i < clips->len; i++) {
    const ArchiveClip *clip = g_ptr_array_index (clips, i);
    if (!strchr (clip->path, '\n'))
      continue;
    g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_USAGE, "A list cannot name a path with a line break: %s",
                 clip->path);
    return FALSE;
  }
  return TRUE;
}

static gboolean
parse (Options *options, int *argc, char ***argv, GError **error)
{
  const GOptionEntry entries[] = {
      {"shards", 0, 0, G_OPTION_ARG_INT, &options->n_shards, "How many", "N"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &options->output, "Where shard-0.txt and the others are written",
       "FOLDER"},
      {"files-from", 0, 0, G_OPTION_ARG_FILENAME, &options->list, "As of annotate", "FILE"},
      {"include", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->include, "As of annotate", "PATTERN"},
      {"exclude", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->exclude, "As of annotate", "PATTERN"},
      {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->paths, NULL, "PATH..."},
      {NULL},
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  const char *fault = NULL;

  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_set_summary (context,
                                "Shares clips out by their durations. Each list is for one annotate --files-from.");
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (options->n_shards < 1 || options->n_shards > MAX_SHARDS)
    fault = "--shards takes a number from 1 to 10000";
  else if (!options->output)
    fault = "--output has to say where the lists go";
  else
    fault = archive_clips_find_fault (options->paths, options->list, options->include || options->exclude);
  if (fault)
    g_set_error_literal (error, ARCHIVE_ERROR, ARCHIVE_ERROR_USAGE, fault);
  return !fault;
}

gboolean
archive_plan (int argc, char **argv, GError **error)
{
  g_auto (Options) options = {0};

  if (!parse (&options, &argc, &argv, error))
    return FALSE;
  g_autoptr (GPtrArray) clips = options.list
                                    ? archive_clips_read (options.list, NULL, error)
                                    : archive_clips_find (options.paths, options.include, options.exclude, error);
  return clips && check (&options, clips, error) && measure (clips, error) && write_plan (&options, clips, error);
}
