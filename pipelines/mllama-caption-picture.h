/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/video/video.h>
#include <mllama/mllama.h>

G_BEGIN_DECLS

/* A decoded picture, mapped; image is a view of it. */
typedef struct {
  GstSample *sample;
  GstVideoFrame frame;
  MllamaImage image;
} CaptionPicture;

/* caption_picture_new: decodes the first picture of a file or URI, upright and with square pixels. */
CaptionPicture *caption_picture_new (const char *file, GError **error);
void caption_picture_free (CaptionPicture *picture);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CaptionPicture, caption_picture_free)

G_END_DECLS
