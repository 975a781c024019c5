/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of the program mllama-caption. Options make a configured element; media (through the element) or together
 * (through the engine) make captions; output writes them. */
#pragma once

#include <gst/gst.h>
#include <stdio.h>

G_BEGIN_DECLS

/* What can go wrong that is nobody else's error. */
#define CAPTION_ERROR (caption_error_quark ())
typedef enum {
  CAPTION_ERROR_USAGE, /* the command line */
  CAPTION_ERROR_MEDIA, /* a file */
  CAPTION_ERROR_MODEL, /* the element, or what it runs */
} CaptionErrorCode;
GQuark caption_error_quark (void);

typedef enum {
  CAPTION_FORMAT_TEXT,
  CAPTION_FORMAT_JSON,
  CAPTION_FORMAT_SRT,
  CAPTION_FORMAT_VTT,
} CaptionFormat;

/* The command line. */
typedef struct {
  GstElement *element; /* mllamacaption, with every property named on the command line set */
  CaptionFormat format;
  char *output;   /* NULL: standard output */
  char **prompts; /* NULL: the element's default */
  char **files;   /* NULL: none */
  gboolean token_ids, together, no_progress;
} CaptionOptions;

/* One answer. Borrowed views; what a field does not hold is 0, NULL or GST_CLOCK_TIME_NONE. */
typedef struct {
  const char *const *files; /* [n_files] */
  guint n_files;
  gboolean timed; /* from a video rather than a picture */
  GstClockTime pts, stream_time, duration;
  const char *text, *prompt, *finish_reason, *error;
  double confidence;
  guint n_ids;
  const guint32 *ids;     /* [n_ids] */
  const double *logprobs; /* [n_ids] or NULL */
  gboolean states_reused;
  guint64 queue_ns, encode_ns, prefill_ns, decode_ns, latency_ns;
} Caption;

/* --- options --- */

/* caption_options_parse: NULL with no error set means that --version was answered. */
CaptionOptions *caption_options_parse (int *argc, char ***argv, GError **error);
void caption_options_free (CaptionOptions *options);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CaptionOptions, caption_options_free)

/* --- output --- */

typedef struct _CaptionOutput CaptionOutput;

/* caption_output_new: opens what the options name. Subtitles of several files go into a directory, one file each. */
CaptionOutput *caption_output_new (const CaptionOptions *options, GError **error);
gboolean caption_output_begin (CaptionOutput *output, const char *file, GError **error);
void caption_output_write (CaptionOutput *output, const Caption *caption);
/* One cue of a subtitle file; they come in the order of their times. */
void caption_output_write_cue (CaptionOutput *output, GstClockTime start, GstClockTime end, const char *text);
gboolean caption_output_end (CaptionOutput *output, gboolean failed, GError **error);
/* caption_output_finish: whether everything written has arrived. */
gboolean caption_output_finish (CaptionOutput *output, GError **error);
void caption_output_free (CaptionOutput *output);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CaptionOutput, caption_output_free)

/* One line of JSON without the newline (transfer full). */
char *caption_to_json (const Caption *caption, gboolean with_tokens);

/* --- progress: a bar on a terminal, nothing elsewhere --- */

typedef struct _CaptionProgress CaptionProgress;

CaptionProgress *caption_progress_new (guint n_files, gboolean hidden);
void caption_progress_begin (CaptionProgress *progress, const char *file);
/* fraction of this file that is done, or negative if that is not known; status may be NULL. */
void caption_progress_update (CaptionProgress *progress, double fraction, const char *status);
/* Takes the bar off the terminal, so that something else can be printed. */
void caption_progress_clear (CaptionProgress *progress);
void caption_progress_free (CaptionProgress *progress);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CaptionProgress, caption_progress_free)

/* --- media: pictures and videos through the element --- */

typedef struct _CaptionMedia CaptionMedia;

/* caption_media_new: puts the element into a pipeline and opens the model. */
CaptionMedia *caption_media_new (const CaptionOptions *options, CaptionOutput *output, CaptionProgress *progress,
                                 GError **error);
/* caption_media_run: all captions of one file. */
gboolean caption_media_run (CaptionMedia *media, const char *file, GError **error);
void caption_media_free (CaptionMedia *media);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CaptionMedia, caption_media_free)

/* --- cues: the element's text pads, one for each prompt, merged into one list of subtitles --- */

typedef struct _CaptionCues CaptionCues;

/* caption_cues_new: requests the pads and adds what takes their text to the pipeline. */
CaptionCues *caption_cues_new (const CaptionOptions *options, GstBin *pipeline);
/* Writes the cues whose order is settled; all that there are if the file has ended. Returns how many. */
guint caption_cues_write (CaptionCues *cues, CaptionOutput *output, gboolean ended);
void caption_cues_free (CaptionCues *cues);

/* --- messages on the bus --- */

/* A caption and what it borrows from. */
typedef struct {
  Caption caption;
  GArray *ids, *logprobs;
} CaptionMessage;

/* caption_message_new: of an mllama-caption structure, which must outlive it, as must *file. */
CaptionMessage *caption_message_new (const GstStructure *structure, const char *const *file, gboolean timed);
void caption_message_free (CaptionMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CaptionMessage, caption_message_free)

/* What an ERROR says as one text, with the remedy where one is known; or an EOS that came before any frame. missing:
 * what GStreamer said it lacks, or NULL. */
GError *caption_error_from_message (GstMessage *message, const char *missing);

/* A URI for a URI, or for a file that can be opened. */
char *caption_file_to_uri (const char *file, GError **error);

/* --- together: all files in one prompt, or no file, through the engine --- */

gboolean caption_together_run (const CaptionOptions *options, CaptionOutput *output, GError **error);

G_END_DECLS
