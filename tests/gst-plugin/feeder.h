/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The element alone between a camera with a pool of two buffers and a screen that keeps the one it shows: a third
 * buffer does not exist, so that whoever holds one stops the camera. */
#pragma once

#include <gst/video/video.h>

G_BEGIN_DECLS

typedef struct {
  guint n_frames, n_passed;       /* pushed; arrived at the screen */
  guint n_starved;                /* frames for which the camera had no buffer when they were due */
  guint n_changed;                /* frames with another memory, time or place in the order than when they went in */
  gint64 worst_us, worst_wall_us; /* time of a frame in the element, without and with that spent waiting for a CPU */
  guint n_slow;                   /* frames that took more than 5 ms by the clock */
  guint n_captions, n_qos;        /* messages */
  guint64 n_processed, n_dropped; /* of the last QOS message */
  guint64 n_chosen, n_replaced;   /* stats at the end */
  gint64 late_us;                 /* how much later than its time the last frame left the camera */
  char *first_text;
  GError *error;
} Feed;

/* Pushes 1080p NV12 frames at 30 a second through mllamacaption with these settings, then EOS. */
Feed *feed_camera (const char *settings, guint n_frames);
void feed_free (Feed *feed);

G_END_DECLS
