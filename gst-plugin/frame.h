/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A chosen frame on its way through the model, with the questions about it. Refcounted. */
#pragma once

#include "answer.h"
#include "picture.h"
#include "scene.h"
#include "settings.h"

G_BEGIN_DECLS

typedef struct {
  gint ref_count;
  /* constant once the frame is handed over */
  GstMllamaCaptionTimes times;
  GstClockTime duration;             /* of the video frame; NONE: unknown */
  GstMllamaCaptionSettings settings; /* as they were when it was chosen */
  gboolean has_scene;
  GstMllamaCaptionScene scene;
  GPtrArray *answers; /* of GstMllamaCaptionAnswer, in the order of their slots */
  /* the worker's */
  GstMllamaCaptionPicture *picture; /* until it is encoded; NULL from the start for a frame asked about again */
  MllamaStates *states;
  gboolean again; /* asked about a second time: keeps its states, and its captions come when they exist */
  /* the element's lock guards these */
  gboolean stale;  /* flushed or stopped: nobody waits for it */
  gboolean failed; /* counted as failed */
} GstMllamaCaptionFrame;

/* Takes picture. */
GstMllamaCaptionFrame *gst_mllama_caption_frame_new (GstMllamaCaptionPicture *picture,
                                                     const GstMllamaCaptionTimes *times,
                                                     const GstMllamaCaptionSettings *settings);
GstMllamaCaptionFrame *gst_mllama_caption_frame_ref (GstMllamaCaptionFrame *frame);
void gst_mllama_caption_frame_unref (GstMllamaCaptionFrame *frame);

/* Adds a question (transfer full). */
void gst_mllama_caption_frame_add (GstMllamaCaptionFrame *frame, GstMllamaCaptionAnswer *answer);
/* The first answer that is not final, or NULL. */
GstMllamaCaptionAnswer *gst_mllama_caption_frame_get_open (GstMllamaCaptionFrame *frame);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstMllamaCaptionFrame, gst_mllama_caption_frame_unref)

G_END_DECLS
