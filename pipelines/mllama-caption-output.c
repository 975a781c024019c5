/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where captions go: lines of text or JSON, or the cues of a subtitle file. */
#include <errno.h>
#include <glib/gstdio.h>
#include "mllama-caption.h"
#include "subtitles.h"

struct _CaptionOutput {
  CaptionFormat format;
  gboolean token_ids, several_files, several_prompts;
  char *path;      /* NULL: standard output */
  char *directory; /* subtitles of several files: one file each in here */
  FILE *stream;
  guint n_cues; /* of the present subtitle file */
};

static gboolean
is_subtitle (CaptionFormat format)
{
  return format == CAPTION_FORMAT_SRT || format == CAPTION_FORMAT_VTT;
}

static gboolean
open_stream (CaptionOutput *output, const char *path, GError **error)
{
  output->stream = path ? g_fopen (path, "wb") : stdout;
  if (output->stream)
    return TRUE;
  g_set_error (error, CAPTION_ERROR, CAPTION_ERROR_USAGE, "%s cannot be written: %s", path, g_strerror (errno));
  return FALSE;
}

/* An error of the device (disk full, reader gone) may show only here. */
static gboolean
close_stream (CaptionOutput *output, GError **error)
{
  gboolean good = output->stream && fflush (output->stream) == 0 && !ferror (output->stream);

  if (output->stream && output->stream != stdout)
    good = fclose (output->stream) == 0 && good;
  output->stream = NULL;
  if (!good)
    g_set_error (error, CAPTION_ERROR, CAPTION_ERROR_USAGE, "The output could not be written: %s", g_strerror (errno));
  return good;
}

/* Subtitles of several files: the output has to be a folder. */
static gboolean
set_directory (CaptionOutput *output, GError **error)
{
  if (!output->path || g_mkdir_with_parents (output->path, 0777) != 0) {
    g_set_error (error, CAPTION_ERROR, CAPTION_ERROR_USAGE,
                 "Subtitles of several FILEs need a folder for --output, and %s",
                 output->path ? g_strerror (errno) : "no --output was given");
    return FALSE;
  }
  output->directory = g_steal_pointer (&output->path);
  return TRUE;
}

CaptionOutput *
caption_output_new (const CaptionOptions *options, GError **error)
{
  g_autoptr (CaptionOutput) output = g_new0 (CaptionOutput, 1);

  output->format = options->format;
  output->token_ids = options->token_ids;
  output->several_files = options->files && options->files[0] && options->files[1] && !options->together;
  output->several_prompts = options->prompts && options->prompts[1];
  output->path = g_strdup (options->output);
  gboolean good = is_subtitle (output->format) && output->several_files ? set_directory (output, error)
                                                                        : open_stream (output, output->path, error);
  return good ? g_steal_pointer (&output) : NULL;
}

/* "clip.mp4" -> DIRECTORY/clip.srt */
static char *
make_subtitle_path (const CaptionOutput *output, const char *file)
{
  g_autofree char *name = g_path_get_basename (file);
  char *dot = strrchr (name, '.');

  if (dot && dot != name)
    *dot = 0;
  g_autofree char *full = g_strconcat (name, output->format == CAPTION_FORMAT_SRT ? ".srt" : ".vtt", NULL);
  return g_build_filename (output->directory, full, NULL);
}

gboolean
caption_output_begin (CaptionOutput *output, const char *file, GError **error)
{
  if (output->directory) {
    g_free (output->path);
    output->path = make_subtitle_path (output, file);
    if (!open_stream (output, output->path, error))
      return FALSE;
  }
  output->n_cues = 0;
  if (output->format == CAPTION_FORMAT_VTT)
    fputs (SUBTITLES_VTT_HEADER, output->stream);
  return TRUE;
}

/* Text for people: control characters could do anything to a terminal. */
static void
write_plain (FILE *stream, const char *text)
{
  for (const char *p = text; *p; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);
    if (!g_unichar_iscntrl (c) || c == '\n' || c == '\t')
      fwrite (p, 1, (gsize) (g_utf8_next_char (p) - p), stream);
  }
}

static void
write_text (CaptionOutput *output, const Caption *caption)
{
  if (output->several_files && caption->n_files == 1)
    fprintf (output->stream, "%s: ", caption->files[0]);
  if (caption->timed && GST_CLOCK_TIME_IS_VALID (caption->stream_time)) {
    guint64 ms = caption->stream_time / GST_MSECOND;
    fprintf (output->stream, "%u:%02u:%02u.%03u  ", (guint) (ms / 3600000), (guint) (ms / 60000 % 60),
             (guint) (ms / 1000 % 60), (guint) (ms % 1000));
  }
  if (output->several_prompts) {
    putc ('[', output->stream);
    write_plain (output->stream, caption->prompt);
    fputs ("] ", output->stream);
  }
  write_plain (output->stream, caption->text);
  putc ('\n', output->stream);
}

void
caption_output_write (CaptionOutput *output, const Caption *caption)
{
  if (output->format == CAPTION_FORMAT_TEXT) {
    write_text (output, caption);
  } else if (output->format == CAPTION_FORMAT_JSON) {
    g_autofree char *json = caption_to_json (caption, output->token_ids);
    fprintf (output->stream, "%s\n", json);
  }
  fflush (output->stream);
}

/* The text comes from a text pad of the element, which has taken out what would break a subtitle file. */
void
caption_output_write_cue (CaptionOutput *output, GstClockTime start, GstClockTime end, const char *text)
{
  g_autoptr (GString) cue = g_string_new (NULL);

  subtitles_append_cue (cue, output->format == CAPTION_FORMAT_VTT, ++output->n_cues, start, end, text);
  fputs (cue->str, output->stream);
  fflush (output->stream);
}

/* A subtitle file without a cue, of a file that could not be decoded, would only mislead. */
gboolean
caption_output_end (CaptionOutput *output, gboolean failed, GError **error)
{
  if (!output->directory)
    return TRUE;
  gboolean good = close_stream (output, failed ? NULL : error);
  if (failed && output->n_cues == 0)
    g_unlink (output->path);
  return good;
}

gboolean
caption_output_finish (CaptionOutput *output, GError **error)
{
  return output->directory ? TRUE : close_stream (output, error);
}

void
caption_output_free (CaptionOutput *output)
{
  if (!output)
    return;
  if (output->stream && output->stream != stdout)
    fclose (output->stream);
  g_free (output->path);
  g_free (output->directory);
  g_free (output);
}
