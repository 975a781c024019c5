/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A text pad: one question, and a task that pushes its answers. */
#pragma once

#include <gst/gst.h>
#include "enums.h"

G_BEGIN_DECLS

#define GST_TYPE_MLLAMA_CAPTION_PAD (gst_mllama_caption_pad_get_type ())
G_DECLARE_FINAL_TYPE (GstMllamaCaptionPad, gst_mllama_caption_pad, GST, MLLAMA_CAPTION_PAD, GstPad)

typedef struct _GstMllamaCaptionAnswer GstMllamaCaptionAnswer;

typedef struct _GstMllamaCaptionTextQueue GstMllamaCaptionTextQueue;

/* What is put here gets pushed by the pad's task. (transfer none) */
GstMllamaCaptionTextQueue *gst_mllama_caption_pad_get_queue (GstMllamaCaptionPad *pad);

/* Takes a FLUSH_START or FLUSH_STOP from upstream: pushes it, and empties the queue. Blocks until the task rests. */
void gst_mllama_caption_pad_flush (GstMllamaCaptionPad *pad, GstEvent *event);

/* Replaces the element's values by those the pad was given. *prompt is a new string. */
void gst_mllama_caption_pad_get_question (GstMllamaCaptionPad *pad, char **prompt, gint *prompt_format,
                                          guint *max_tokens);

/* Implemented by the element: whether a question can be asked, else a warning is posted. prompt_format -1: the
 * element's. */
gboolean gst_mllama_caption_check_question (GstElement *element, const char *prompt, gint prompt_format);
/* Implemented by the element: it shall be asked soon. pad NULL: the element's own questions. */
void gst_mllama_caption_ask_anew (GstElement *element, GstMllamaCaptionPad *pad);

G_END_DECLS
