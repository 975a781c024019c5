/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The planes of a chosen frame, copied on the streaming thread. */
#pragma once

#include <gst/video/video.h>

G_BEGIN_DECLS

/* CUDA memory as GStreamer's own library makes it: known by its name, and mapped to device pointers with a flag of its
 * own (GST_MAP_CUDA), so that the library is not needed here. Mapped without the flag it is downloaded. Its copies are
 * made within the device. */
#define GST_MLLAMA_CAPTION_CUDA_MEMORY "gst.cuda.memory"
#define GST_MLLAMA_CAPTION_MAP_CUDA    ((GstMapFlags) (GST_MAP_FLAG_LAST << 1))

/* A copy of a frame; constant once made. */
typedef struct {
  GstBuffer *pixels;                     /* owned; laid out as info says, or its video meta */
  gboolean on_device;                    /* pixels are CUDA memory */
  GstVideoInfo info;                     /* of the copy; one field of an interlaced frame */
  GstVideoRectangle crop;                /* what of it is the picture, in its own lines */
  gboolean half_height;                  /* one field: lines count twice */
  GstVideoOrientationMethod orientation; /* how to turn it upright */
} GstMllamaCaptionPicture;

/* Whether the planes can be mapped to device pointers. */
gboolean gst_mllama_caption_picture_is_on_device (GstBuffer *buffer);

/* Copies planes, strides and crop as the metas of the mapped buffer say; of an interlaced frame the first field. The
 * copy is where the frame is mapped to. */
GstMllamaCaptionPicture *gst_mllama_caption_picture_new (const GstVideoFrame *frame,
                                                         GstVideoOrientationMethod orientation);
void gst_mllama_caption_picture_free (GstMllamaCaptionPicture *picture);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstMllamaCaptionPicture, gst_mllama_caption_picture_free)

G_END_DECLS
