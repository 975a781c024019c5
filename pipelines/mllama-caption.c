/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mllama-caption: says what pictures and videos show. See --help. */
#include <locale.h>
#include "mllama-caption.h"

enum {
  STATUS_DONE = 0,
  STATUS_FAILED = 1, /* a file, or the model */
  STATUS_USAGE = 2,
};

static void
report (const char *file, const GError *error)
{
  g_printerr ("mllama-caption: %s%s%s\n", file ? file : "", file ? ": " : "", error->message);
}

static gboolean
caption_file (CaptionMedia *media, CaptionOutput *output, const char *file, GError **error)
{
  if (!caption_output_begin (output, file, error))
    return FALSE;
  gboolean good = caption_media_run (media, file, error);
  return caption_output_end (output, !good, error) && good;
}

/* Every file is tried, whatever became of those before it. */
static gboolean
caption_files (const CaptionOptions *options, CaptionOutput *output, GError **error)
{
  g_autoptr (CaptionProgress) progress = caption_progress_new (g_strv_length (options->files), options->no_progress);
  g_autoptr (CaptionMedia) media = caption_media_new (options, output, progress, error);
  guint n_failed = 0;

  if (!media)
    return FALSE;
  for (char **file = options->files; *file; file++) {
    g_autoptr (GError) fault = NULL;
    caption_progress_begin (progress, *file);
    if (caption_file (media, output, *file, &fault))
      continue;
    n_failed++;
    caption_progress_clear (progress);
    report (*file, fault);
  }
  if (n_failed > 0)
    g_set_error (error, CAPTION_ERROR, CAPTION_ERROR_MEDIA, "%u of %u files were not captioned", n_failed,
                 g_strv_length (options->files));
  return n_failed == 0;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;

  setlocale (LC_ALL, "");
  gst_init (NULL, NULL);
  g_autoptr (CaptionOptions) options = caption_options_parse (&argc, &argv, &error);
  if (!options && !error)
    return STATUS_DONE;
  g_autoptr (CaptionOutput) output = options ? caption_output_new (options, &error) : NULL;
  if (!output) {
    report (NULL, error);
    return STATUS_USAGE;
  }
  gboolean done = options->together || !options->files ? caption_together_run (options, output, &error)
                                                       : caption_files (options, output, &error);
  done = caption_output_finish (output, done ? &error : NULL) && done;
  if (!done)
    report (NULL, error);
  return done ? STATUS_DONE : STATUS_FAILED;
}
