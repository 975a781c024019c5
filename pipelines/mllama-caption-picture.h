/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "painter.h"

G_BEGIN_DECLS

/* A decoded picture; image is a view of it, the same that the element gives to the engine. */
typedef struct {
  GstMllamaCaptionPicture *pixels;
  GstMllamaCaptionPainter *painter;
  MllamaImage image;
} CaptionPicture;

/* caption_picture_new: decodes the first picture of a file or URI. */
CaptionPicture *caption_picture_new (const char *file, GError **error);
void caption_picture_free (CaptionPicture *picture);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CaptionPicture, caption_picture_free)

G_END_DECLS
