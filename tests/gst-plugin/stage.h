/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The element between pads of the test's own: frames, segments and events are what the test says, one by one. */
#pragma once

#include <gst/video/video.h>
#include "fake-mllama.h"

G_BEGIN_DECLS

#define STAGE_WIDTH  64
#define STAGE_HEIGHT 48

typedef struct {
  GstElement *element;
  GstPad *in, *out, *text; /* ours; text is linked to text_0, or NULL */
  GstBus *bus;
  gint live;           /* what the LATENCY query says; -1: it fails */
  GPtrArray *captions; /* GstStructure of final mllama-caption messages */
  GPtrArray *messages; /* all of them */
  GMutex lock;         /* guards the log */
  GPtrArray *log;      /* lines "video 40", "text 0 1000 red", "gap 0 40", "segment", "eos" and "text-eos" */
} Stage;

/* In PLAYING, after STREAM_START, CAPS of I420 and a SEGMENT from 0; with a text pad if wanted. The script is reset
 * first. */
Stage *stage_new (gboolean with_text, const char *settings);
void stage_free (Stage *stage);

void stage_send_stream_start (Stage *stage);
void stage_send_caps (Stage *stage, const char *caps);
void stage_send_segment (Stage *stage, const GstSegment *segment);
/* FLUSH_START, FLUSH_STOP and a SEGMENT from there on. */
void stage_flush (Stage *stage, GstClockTime start);

/* A frame of one brightness; times in ms, -1: none. */
GstBuffer *stage_draw (guint8 luma, gint64 pts, gint64 duration);
GstFlowReturn stage_push (Stage *stage, guint8 luma, gint64 pts, gint64 duration);

/* Takes the messages that are there. */
void stage_listen (Stage *stage);
/* Waits until there are so many captions, failed ones included, or fails the test after 10 s. */
void stage_wait_for_captions (Stage *stage, guint n);
guint64 stage_get_stat (Stage *stage, const char *field);
guint64 stage_get_time (Stage *stage, guint caption, const char *field);
const char *stage_get_text (Stage *stage, guint caption);
guint stage_count_messages (Stage *stage, GstMessageType type);
/* The times of the captions in ms, such as "0 1000 2500". The caller frees it. */
char *stage_list_times (Stage *stage);
/* Index of the first line that begins with the prefix, or -1. */
gint stage_find (Stage *stage, const char *prefix);
/* All lines that begin with it, joined by ", ". The caller frees it. */
char *stage_join (Stage *stage, const char *prefix);

G_END_DECLS
