/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One question about one frame, and what came of it. Refcounted; shared by the frame it belongs to, the engine's
 * callbacks and the queues of text pads. */
#pragma once

#include "gstmllamacaptionpad.h"

G_BEGIN_DECLS

typedef enum {
  GST_MLLAMA_CAPTION_ANSWER_OPEN,     /* not answered yet */
  GST_MLLAMA_CAPTION_ANSWER_ENDED,    /* answered or failed; not reported */
  GST_MLLAMA_CAPTION_ANSWER_REPORTED, /* final; from here on the struct is constant */
} GstMllamaCaptionAnswerState;

/* What every question about a frame shares. */
typedef struct {
  GstClockTime pts, end; /* in the segment; end is the next due time */
  GstClockTime running_time, stream_time;
  gint64 wallclock_us; /* when it was chosen: UTC, and by the monotonic clock */
  gint64 chosen_us;
  double scene_score;
  guint epoch; /* which segment the times belong to */
} GstMllamaCaptionTimes;

struct _GstMllamaCaptionAnswer {
  gint ref_count;
  gint state; /* GstMllamaCaptionAnswerState; atomic. Everything below belongs to the element's lock until REPORTED */

  /* the question */
  char *prompt;
  gint prompt_format; /* GstMllamaCaptionPromptFormat */
  guint max_tokens;
  GstMllamaCaptionPad *pad; /* NULL: asked by the element itself */
  guint slot;               /* place among the questions; with pad, identifies the question from frame to frame */
  guint64 caption_id;
  GstMllamaCaptionTimes times;

  /* the answer */
  MllamaGeneration *generation; /* while it runs */
  GString *partial;             /* what on_token gave so far */
  gsize n_partial_reported;     /* bytes of it already reported */
  guint64 encode_id;
  gboolean states_reused;
  char *text;
  GArray *ids;                      /* guint32 */
  GArray *logprobs;                 /* double */
  MllamaFinishReason finish_reason; /* NONE at the end: dropped, nobody hears of it */
  GError *error;
  guint64 queue_ns, encode_ns, prefill_ns, decode_ns, latency_ns;
};

GstMllamaCaptionAnswer *gst_mllama_caption_answer_new (const char *prompt, gint prompt_format, guint max_tokens,
                                                       GstMllamaCaptionPad *pad, guint slot);
GstMllamaCaptionAnswer *gst_mllama_caption_answer_ref (GstMllamaCaptionAnswer *answer);
void gst_mllama_caption_answer_unref (GstMllamaCaptionAnswer *answer);

gint gst_mllama_caption_answer_get_state (GstMllamaCaptionAnswer *answer);

/* Takes what a finished generation gave; ends the answer. */
void gst_mllama_caption_answer_take (GstMllamaCaptionAnswer *answer, const MllamaResult *result);
/* Ends the answer with a copy of the error; CANCELLED is a finish reason of its own. */
void gst_mllama_caption_answer_fail (GstMllamaCaptionAnswer *answer, const GError *error);
/* Final without anything to say: the frame was replaced or its time is over. */
void gst_mllama_caption_answer_drop (GstMllamaCaptionAnswer *answer);

/* Whether it is final and holds a caption rather than a failure. */
gboolean gst_mllama_caption_answer_is_caption (GstMllamaCaptionAnswer *answer);
double gst_mllama_caption_answer_get_confidence (const GstMllamaCaptionAnswer *answer);

/* Names the question from frame to frame. The caller frees it. */
char *gst_mllama_caption_answer_get_key (const GstMllamaCaptionAnswer *answer);

/* The structure of messages, metadata and JSON lines. With partial the text so far is given instead of the final one.
 */
GstStructure *gst_mllama_caption_answer_to_structure (const GstMllamaCaptionAnswer *answer, const char *partial);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstMllamaCaptionAnswer, gst_mllama_caption_answer_unref)

G_END_DECLS
