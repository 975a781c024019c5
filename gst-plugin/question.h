/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a question to a prompt. */
#pragma once

#include "enums.h"

G_BEGIN_DECLS

/* What {pts}, {wallclock} and {previous} stand for. */
typedef struct {
  GstClockTime pts;
  gint64 wallclock_us;  /* UTC, since 1970 */
  const char *previous; /* NULL: none yet */
} GstMllamaCaptionValues;

gboolean gst_mllama_caption_question_uses_previous (const char *text);

/* Fills in the placeholders; the ranges of the values are appended to literal (of MllamaTextRange), so that nothing in
 * them becomes a special token. */
char *gst_mllama_caption_question_fill (const char *text, const GstMllamaCaptionValues *values, GArray *literal);

/* The prompt about one picture. prompt_format is a GstMllamaCaptionPromptFormat. Errors also when a raw text does not
 * hold exactly one image mark. */
MllamaPrompt *gst_mllama_caption_question_to_prompt (MllamaModel *model, const char *text, gint prompt_format,
                                                     const GstMllamaCaptionValues *values, GError **error);

G_END_DECLS
