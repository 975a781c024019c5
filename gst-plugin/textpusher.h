/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How items of a text queue become buffers and events on a pad. Belongs to the pad's task. */
#pragma once

#include "text.h"
#include "textqueue.h"

G_BEGIN_DECLS

typedef struct {
  GstPad *pad; /* borrowed */
  GstMllamaCaptionTextFormat format;
  GstSegment segment;
  GstClockTime position; /* text or GAP reach to here; NONE before the segment */
  GstClockTime covered;  /* video reaches to here */
  gboolean broken;       /* an error was posted; nothing is pushed any more */
  gboolean ignores_gaps; /* what the pad leads to, as textpeer.h says */
  /* with ignores_gaps: what is said again until then, as video goes on; NULL: nothing */
  GstBuffer *repeated;
  GstClockTime repeated_end;
  /* with hold: the caption kept back until the next one starts */
  GstMllamaCaptionAnswer *held;
  GstClockTime held_start, held_end;
} GstMllamaCaptionPusher;

void gst_mllama_caption_pusher_init (GstMllamaCaptionPusher *self, GstPad *pad);
void gst_mllama_caption_pusher_clear (GstMllamaCaptionPusher *self);

/* Pushes the item; with hold, a caption is kept back until its end is known. */
void gst_mllama_caption_pusher_push (GstMllamaCaptionPusher *self, GstMllamaCaptionItem *item, gboolean hold);

G_END_DECLS
