/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Captions as bytes on a text pad. */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

typedef enum {
  GST_MLLAMA_CAPTION_TEXT_UTF8,
  GST_MLLAMA_CAPTION_TEXT_MARKUP, /* pango-markup */
  GST_MLLAMA_CAPTION_TEXT_JSON,   /* one object a line */
  GST_MLLAMA_CAPTION_TEXT_JSON_WITHOUT_TIMING,
} GstMllamaCaptionTextFormat;

/* What subtitle files can hold: valid UTF-8, no control characters but newline and tab, runs of newlines as one
 * (an empty line ends a cue), "->" for "-->". */
char *gst_mllama_caption_text_clean (const char *text);

/* The same, with & < > escaped. */
char *gst_mllama_caption_text_to_markup (const char *text);

/* The fields as members of one JSON object, in their order, and a newline. Times that are none become null. How long
 * things took, which differs from run to run, is an object of its own: the last member, timing, if it is wanted. */
char *gst_mllama_caption_text_to_json (const GstStructure *structure, gboolean with_timing);

/* A new buffer with the structure's text in the format. No terminating NUL, as text/x-raw asks. */
GstBuffer *gst_mllama_caption_text_to_buffer (GstMllamaCaptionTextFormat format, const GstStructure *structure);

G_END_DECLS
