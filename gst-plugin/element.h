/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The element from inside, and which of its threads does what.
 *
 *   streaming thread   flow.c, events.c   chooses and copies frames, passes video on
 *   worker             worker.c           loads the model, encodes frames, asks
 *   reporter           report.c           messages, metadata, hands captions to text pads
 *   text tasks         gstmllamacaptionpad.c
 *   engine's thread    worker.c           callbacks that only note what they are given
 *
 * One lock guards all of it; no message is posted, nothing is pushed and no function of the engine that may call back
 * is called with the lock held. The locks of text queues may be taken inside it, never around it. */
#pragma once

#include <gst/video/video.h>
#include "frame.h"
#include "gstmllamacaption.h"
#include "sampler.h"
#include "stats.h"
#include "textqueue.h"

G_BEGIN_DECLS

GST_DEBUG_CATEGORY_EXTERN (gst_mllama_caption_debug);

struct _GstMllamaCaption {
  GstElement parent;
  GstPad *sinkpad, *srcpad;

  GMutex lock; /* guards what follows */
  GCond changed;
  GstMllamaCaptionSettings settings;
  GList *text_pads; /* of GstMllamaCaptionPad, owned, by number */
  guint next_pad;

  /* the stream; written by the streaming thread only */
  GstEvent *stream_start, *text_segment; /* what a new text pad starts with; NULL before they came */
  GstSegment segment;
  GstVideoInfo info;
  gboolean has_info;
  GstVideoOrientationMethod orientation;
  GstMllamaCaptionSampler sampler;
  gboolean mode_known, live, arrival;
  GstClockTime video_end; /* time up to which video was handed on; NONE: none in this segment */
  gboolean captionable;   /* the segment is in time */
  guint epoch;            /* counts segments: times of different ones do not compare */

  gboolean forced; /* the next frame is chosen whether due or not */
  guint32 seek_seqnum;
  gboolean seek_result;

  /* work */
  GThread *worker, *reporter; /* NULL in READY and below */
  gboolean stopping, flushing;
  gboolean failed; /* an ERROR was posted: video stops */
  MllamaModel *model;
  gboolean model_changed; /* a property that names it was set since it was opened */
  gboolean load_begun, loaded, progress_open;
  GError *load_error;
  GCancellable *cancellable, *load_cancellable;
  gint64 idle_since; /* monotonic time since when the model has nothing to do */
  guint n_running;   /* generations whose callbacks may still come */
  GQueue waiting;    /* of GstMllamaCaptionFrame, not yet taken by the worker; at most one if live */
  GQueue again;      /* the same, for frames asked about again */
  GQueue in_flight;  /* all frames with an answer that is not reported, oldest first */

  /* what later frames refer to */
  GstMllamaCaptionFrame *reference; /* the scene to compare with; NULL: none */
  GstMllamaCaptionFrame *last;      /* the last encoded one; its states are kept */
  GstClockTime confirmed;           /* time of the last frame that last stands for */
  GHashTable *latest;               /* text pad -> its last answer, for repeating */
  GHashTable *said;                 /* question -> its last caption, for {previous} */

  /* reports */
  gboolean reporting; /* the reporter is outside the lock with an answer */
  guint64 n_captions;
  GPtrArray *pending_meta; /* of GstStructure */
  char *last_caption;
  GstMllamaCaptionStats stats;
  gint64 warned_at;
  guint n_unwarned; /* warnings held back since */
};

/* --- gstmllamacaption.c --- */
void gst_mllama_caption_notify_last_caption (GstMllamaCaption *self);
GstStateChangeReturn gst_mllama_caption_chain_up_state (GstElement *element, GstStateChange transition);

/* --- pads.c --- */
GstPad *gst_mllama_caption_request_new_pad (GstElement *element, GstPadTemplate *template, const gchar *requested,
                                            const GstCaps *caps);
void gst_mllama_caption_release_pad (GstElement *element, GstPad *pad);
void gst_mllama_caption_child_proxy_init (gpointer iface, gpointer data);

/* --- states.c --- */
GstStateChangeReturn gst_mllama_caption_change_state (GstElement *element, GstStateChange transition);
/* NULL in NULL, and while the model is unloaded. */
MllamaModel *gst_mllama_caption_ref_model (GstMllamaCaption *self);

/* --- flow.c --- */
GstFlowReturn gst_mllama_caption_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer);
/* Text pads shall have text or GAP from start to end. Takes the lock. */
void gst_mllama_caption_cover (GstMllamaCaption *self, GstClockTime start, GstClockTime end);
/* The questions asked about a frame now. The lock is held. */
void gst_mllama_caption_add_questions (GstMllamaCaption *self, GstMllamaCaptionFrame *frame);

/* --- events.c --- */
gboolean gst_mllama_caption_sink_event (GstPad *pad, GstObject *parent, GstEvent *event);
gboolean gst_mllama_caption_src_event (GstPad *pad, GstObject *parent, GstEvent *event);
gboolean gst_mllama_caption_text_event (GstPad *pad, GstObject *parent, GstEvent *event);
/* Queues what a text pad added to a running stream has missed. The lock is held. */
void gst_mllama_caption_start_text_pad (GstMllamaCaption *self, GstMllamaCaptionPad *pad);
void gst_mllama_caption_reset_stream (GstMllamaCaption *self);

/* --- queries.c --- */
gboolean gst_mllama_caption_sink_query (GstPad *pad, GstObject *parent, GstQuery *query);
gboolean gst_mllama_caption_text_query (GstPad *pad, GstObject *parent, GstQuery *query);
GstIterator *gst_mllama_caption_iterate_internal_links (GstPad *pad, GstObject *parent);

/* --- queue.c: frames between the threads --- */
/* Hands a frame over (transfer full); replaces a waiting one if live. */
void gst_mllama_caption_put_frame (GstMllamaCaption *self, GstMllamaCaptionFrame *frame);
/* Waits while too many frames are unanswered; never if live. */
GstFlowReturn gst_mllama_caption_wait_for_room (GstMllamaCaption *self);
/* Waits for all frames; if live not longer than eos-timeout, then cancels what is left. FALSE: a flush or a shutdown
 * came instead. */
gboolean gst_mllama_caption_finish (GstMllamaCaption *self);
/* Forgets all frames and cancels what runs: at most one token or one layer of the tower goes on. */
void gst_mllama_caption_cancel (GstMllamaCaption *self, gboolean stopping);
void gst_mllama_caption_set_reference (GstMllamaCaption *self, GstMllamaCaptionFrame *frame); /* lock held */
/* Cancels what is running for a pad that is released. */
void gst_mllama_caption_cancel_pad (GstMllamaCaption *self, GstMllamaCaptionPad *pad);

/* --- worker.c --- */
gpointer gst_mllama_caption_work (gpointer self);

/* --- load.c --- */
/* The first buffer came: posts PROGRESS and has the worker load the model. */
void gst_mllama_caption_begin_load (GstMllamaCaption *self);
/* The thread is over: a PROGRESS still open is CANCELED. */
void gst_mllama_caption_end_load (GstMllamaCaption *self);
/* For the worker, lock held: loads, and returns when the model is there or load_error is set. */
void gst_mllama_caption_load (GstMllamaCaption *self);
/* For the worker, lock held: gives the model up. */
void gst_mllama_caption_unload (GstMllamaCaption *self);

/* --- report.c --- */
gpointer gst_mllama_caption_report (gpointer self);
/* Returns when no caption from before is being reported any more. */
void gst_mllama_caption_wait_for_report (GstMllamaCaption *self);
/* Tells that a frame was replaced. */
void gst_mllama_caption_post_qos (GstMllamaCaption *self, const GstMllamaCaptionFrame *frame, guint64 n_processed,
                                  guint64 n_dropped);

G_END_DECLS
