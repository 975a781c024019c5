/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a text pad is to push, in order. Thread-safe. An answer that is not reported yet holds back what comes after
 * it, so that captions with the time of their frame stay in order. */
#pragma once

#include "answer.h"

G_BEGIN_DECLS

typedef enum {
  GST_MLLAMA_CAPTION_ITEM_EVENT,
  GST_MLLAMA_CAPTION_ITEM_COVER,   /* text or GAP shall reach from start to end */
  GST_MLLAMA_CAPTION_ITEM_ANSWER,  /* a caption from start to end, or a GAP if the answer has none */
  GST_MLLAMA_CAPTION_ITEM_PARTIAL, /* the text so far, from start on */
} GstMllamaCaptionItemType;

typedef struct {
  GstMllamaCaptionItemType type;
  GstEvent *event;                /* owned */
  GstMllamaCaptionAnswer *answer; /* owned */
  GstStructure *partial;          /* owned */
  GstClockTime start, end;
  gboolean may_be_cut; /* of an ANSWER: another one may start before the end */
} GstMllamaCaptionItem;

typedef struct _GstMllamaCaptionTextQueue GstMllamaCaptionTextQueue;

/* Starts flushing: puts are ignored. */
GstMllamaCaptionTextQueue *gst_mllama_caption_text_queue_new (void);
void gst_mllama_caption_text_queue_free (GstMllamaCaptionTextQueue *queue);

/* Flushing empties the queue and ends waits. */
void gst_mllama_caption_text_queue_set_flushing (GstMllamaCaptionTextQueue *queue, gboolean flushing);

void gst_mllama_caption_text_queue_put_event (GstMllamaCaptionTextQueue *queue, GstEvent *event); /* (transfer full) */
void gst_mllama_caption_text_queue_put_cover (GstMllamaCaptionTextQueue *queue, GstClockTime start, GstClockTime end);
void gst_mllama_caption_text_queue_put_answer (GstMllamaCaptionTextQueue *queue, GstMllamaCaptionAnswer *answer,
                                               GstClockTime start, GstClockTime end, gboolean may_be_cut);
/* Replaces a partial text that was not taken yet; the final answer makes it void. structure: (transfer full) */
void gst_mllama_caption_text_queue_put_partial (GstMllamaCaptionTextQueue *queue, GstMllamaCaptionAnswer *answer,
                                                GstStructure *structure, GstClockTime start);
/* An answer that may be queued was reported. */
void gst_mllama_caption_text_queue_wake (GstMllamaCaptionTextQueue *queue);

/* Waits for the next item that can be pushed, given that text or GAP reach to position already; NULL when flushing.
 * Before an open answer a COVER up to its start is made. A partial text waits until what was pushed before has ended.
 * Taking means that the item before was pushed. */
GstMllamaCaptionItem *gst_mllama_caption_text_queue_take (GstMllamaCaptionTextQueue *queue, GstClockTime position);
void gst_mllama_caption_item_free (GstMllamaCaptionItem *item);

/* Waits until all is pushed; gives up when one push takes longer than patience, or when flushing. */
void gst_mllama_caption_text_queue_drain (GstMllamaCaptionTextQueue *queue, gint64 patience_us);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstMllamaCaptionItem, gst_mllama_caption_item_free)

G_END_DECLS
