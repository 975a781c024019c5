/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "textqueue.h"

struct _GstMllamaCaptionTextQueue {
  GMutex lock; /* guards all */
  GCond changed;
  gboolean flushing;
  GQueue items;                  /* of GstMllamaCaptionItem, next first */
  GstMllamaCaptionItem *partial; /* newest text of an answer still running, or NULL */
  GstClockTime covered;          /* up to where covers taken so far reach */
  gint64 busy_since;             /* monotonic time at which the item being pushed was taken; 0: none is */
};

static GstMllamaCaptionItem *
make_item (GstMllamaCaptionItemType type, GstMllamaCaptionAnswer *answer, GstClockTime start, GstClockTime end)
{
  GstMllamaCaptionItem *item = g_new0 (GstMllamaCaptionItem, 1);

  item->type = type;
  item->answer = answer ? gst_mllama_caption_answer_ref (answer) : NULL;
  item->start = start;
  item->end = end;
  return item;
}

void
gst_mllama_caption_item_free (GstMllamaCaptionItem *item)
{
  if (!item)
    return;
  gst_clear_event (&item->event);
  gst_mllama_caption_answer_unref (item->answer);
  gst_clear_structure (&item->partial);
  g_free (item);
}

GstMllamaCaptionTextQueue *
gst_mllama_caption_text_queue_new (void)
{
  GstMllamaCaptionTextQueue *queue = g_new0 (GstMllamaCaptionTextQueue, 1);

  g_mutex_init (&queue->lock);
  g_cond_init (&queue->changed);
  g_queue_init (&queue->items);
  queue->flushing = TRUE;
  return queue;
}

static void
clear (GstMllamaCaptionTextQueue *queue)
{
  g_queue_clear_full (&queue->items, (GDestroyNotify) gst_mllama_caption_item_free);
  g_clear_pointer (&queue->partial, gst_mllama_caption_item_free);
  queue->covered = 0;
}

void
gst_mllama_caption_text_queue_free (GstMllamaCaptionTextQueue *queue)
{
  clear (queue);
  g_mutex_clear (&queue->lock);
  g_cond_clear (&queue->changed);
  g_free (queue);
}

void
gst_mllama_caption_text_queue_set_flushing (GstMllamaCaptionTextQueue *queue, gboolean flushing)
{
  g_mutex_lock (&queue->lock);
  queue->flushing = flushing;
  clear (queue);
  queue->busy_since = 0;
  g_cond_broadcast (&queue->changed);
  g_mutex_unlock (&queue->lock);
}

/* Takes the item. */
static void
put (GstMllamaCaptionTextQueue *queue, GstMllamaCaptionItem *item)
{
  if (queue->flushing) {
    gst_mllama_caption_item_free (item);
    return;
  }
  g_queue_push_tail (&queue->items, item);
  g_cond_broadcast (&queue->changed);
}

void
gst_mllama_caption_text_queue_put_event (GstMllamaCaptionTextQueue *queue, GstEvent *event)
{
  GstMllamaCaptionItem *item = make_item (GST_MLLAMA_CAPTION_ITEM_EVENT, NULL, 0, 0);

  item->event = event;
  g_mutex_lock (&queue->lock);
  put (queue, item);
  g_mutex_unlock (&queue->lock);
}

void
gst_mllama_caption_text_queue_put_cover (GstMllamaCaptionTextQueue *queue, GstClockTime start, GstClockTime end)
{
  g_mutex_lock (&queue->lock);
  GstMllamaCaptionItem *last = g_queue_peek_tail (&queue->items);
  /* One cover for many frames, so that a blocked downstream does not make the queue grow. */
  if (last && last->type == GST_MLLAMA_CAPTION_ITEM_COVER) {
    last->start = MIN (last->start, start);
    last->end = MAX (last->end, end);
  } else {
    put (queue, make_item (GST_MLLAMA_CAPTION_ITEM_COVER, NULL, start, end));
  }
  g_mutex_unlock (&queue->lock);
}

void
gst_mllama_caption_text_queue_put_answer (GstMllamaCaptionTextQueue *queue, GstMllamaCaptionAnswer *answer,
                                          GstClockTime start, GstClockTime end, gboolean may_be_cut)
{
  GstMllamaCaptionItem *item = make_item (GST_MLLAMA_CAPTION_ITEM_ANSWER, answer, start, end);

  item->may_be_cut = may_be_cut;
  g_mutex_lock (&queue->lock);
  put (queue, item);
  g_mutex_unlock (&queue->lock);
}

void
gst_mllama_caption_text_queue_put_partial (GstMllamaCaptionTextQueue *queue, GstMllamaCaptionAnswer *answer,
                                           GstStructure *structure, GstClockTime start)
{
  GstMllamaCaptionItem *item = make_item (GST_MLLAMA_CAPTION_ITEM_PARTIAL, answer, start, start);

  item->partial = structure;
  g_mutex_lock (&queue->lock);
  g_clear_pointer (&queue->partial, gst_mllama_caption_item_free);
  if (queue->flushing)
    gst_mllama_caption_item_free (item);
  else
    queue->partial = item;
  g_cond_broadcast (&queue->changed);
  g_mutex_unlock (&queue->lock);
}

void
gst_mllama_caption_text_queue_wake (GstMllamaCaptionTextQueue *queue)
{
  g_mutex_lock (&queue->lock);
  g_cond_broadcast (&queue->changed);
  g_mutex_unlock (&queue->lock);
}

static gboolean
is_final (GstMllamaCaptionAnswer *answer)
{
  return gst_mllama_caption_answer_get_state (answer) == GST_MLLAMA_CAPTION_ANSWER_REPORTED;
}

static GstMllamaCaptionItem *
take_partial (GstMllamaCaptionTextQueue *queue, const GstMllamaCaptionItem *head, GstClockTime position)
{
  GstMllamaCaptionItem *partial = queue->partial;

  if (partial && is_final (partial->answer))
    g_clear_pointer (&queue->partial, gst_mllama_caption_item_free);
  if (!queue->partial)
    return NULL;
  /* With the time of the frame, the answer's own place in the queue is where its partial texts belong. */
  if (!(head && head->answer == partial->answer) && GST_CLOCK_TIME_IS_VALID (position) && queue->covered < position)
    return NULL;
  return g_steal_pointer (&queue->partial);
}

/* The next item that can be pushed now, or NULL. */
static GstMllamaCaptionItem *
take_ready (GstMllamaCaptionTextQueue *queue, GstClockTime position)
{
  GstMllamaCaptionItem *head = g_queue_peek_head (&queue->items);

  if (!head)
    return take_partial (queue, NULL, position);
  if (head->type != GST_MLLAMA_CAPTION_ITEM_ANSWER || is_final (head->answer)) {
    g_queue_pop_head (&queue->items);
    if (head->type == GST_MLLAMA_CAPTION_ITEM_COVER)
      queue->covered = head->end;
    return head;
  }
  if (GST_CLOCK_TIME_IS_VALID (position) && head->start > position)
    return make_item (GST_MLLAMA_CAPTION_ITEM_COVER, NULL, position, head->start);
  return take_partial (queue, head, position);
}

GstMllamaCaptionItem *
gst_mllama_caption_text_queue_take (GstMllamaCaptionTextQueue *queue, GstClockTime position)
{
  GstMllamaCaptionItem *item = NULL;

  g_mutex_lock (&queue->lock);
  queue->busy_since = 0;
  g_cond_broadcast (&queue->changed);
  while (!queue->flushing && !(item = take_ready (queue, position)))
    g_cond_wait (&queue->changed, &queue->lock);
  if (item)
    queue->busy_since = g_get_monotonic_time ();
  g_mutex_unlock (&queue->lock);
  return item;
}

void
gst_mllama_caption_text_queue_drain (GstMllamaCaptionTextQueue *queue, gint64 patience_us)
{
  g_mutex_lock (&queue->lock);
  while (!queue->flushing && (queue->busy_since || !g_queue_is_empty (&queue->items))) {
    gint64 deadline = (queue->busy_since ? queue->busy_since : g_get_monotonic_time ()) + patience_us;
    if (!g_cond_wait_until (&queue->changed, &queue->lock, deadline) && queue->busy_since &&
        g_get_monotonic_time () >= queue->busy_since + patience_us)
      break;
  }
  g_mutex_unlock (&queue->lock);
}
