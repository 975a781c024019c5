/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* When a frame is due: at segment start + k * interval. Knows nothing but times; not thread-safe. */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

typedef struct {
  GstClockTime base;     /* where the grid of due times starts */
  GstClockTime interval; /* 0: every frame is due */
  GstClockTime last;     /* time of the last frame that was due; NONE: none yet */
} GstMllamaCaptionSampler;

/* Starts a new grid; the first frame is due at once. */
void gst_mllama_caption_sampler_reset (GstMllamaCaptionSampler *sampler, GstClockTime base);

/* Moves to a new interval; the grid keeps its base. */
void gst_mllama_caption_sampler_set_interval (GstMllamaCaptionSampler *sampler, GstClockTime interval);

/* Whether a frame of this time is due. */
gboolean gst_mllama_caption_sampler_is_due (const GstMllamaCaptionSampler *sampler, GstClockTime time);

/* Notes that the frame of this time was taken as the due one. */
void gst_mllama_caption_sampler_advance (GstMllamaCaptionSampler *sampler, GstClockTime time);

/* The first due time after time. With interval 0 that is the next frame's: time + frame_duration, or a second later
 * if that is unknown. */
GstClockTime gst_mllama_caption_sampler_get_next (const GstMllamaCaptionSampler *sampler, GstClockTime time,
                                                  GstClockTime frame_duration);

G_END_DECLS
