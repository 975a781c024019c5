/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The planes of a chosen frame, copied on the streaming thread. */
#pragma once

#include <gst/video/video.h>

G_BEGIN_DECLS

/* A copy of a frame; constant once made. */
typedef struct {
  GstBuffer *pixels;                     /* owned; laid out as info says */
  GstVideoInfo info;                     /* of the copy; one field of an interlaced frame */
  GstVideoRectangle crop;                /* what of it is the picture, in its own lines */
  gboolean half_height;                  /* one field: lines count twice */
  GstVideoOrientationMethod orientation; /* how to turn it upright */
} GstMllamaCaptionPicture;

/* Copies planes, strides and crop as the metas of the mapped buffer say; of an interlaced frame the first field. */
GstMllamaCaptionPicture *gst_mllama_caption_picture_new (const GstVideoFrame *frame,
                                                         GstVideoOrientationMethod orientation);
void gst_mllama_caption_picture_free (GstMllamaCaptionPicture *picture);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstMllamaCaptionPicture, gst_mllama_caption_picture_free)

G_END_DECLS
