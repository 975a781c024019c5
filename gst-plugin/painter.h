/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pictures as images that the engine takes. */
#pragma once

#include <mllama/mllama.h>
#include "picture.h"

G_BEGIN_DECLS

/* Makes images the engine takes out of pictures; keeps its converter and memory from frame to frame. Not thread-safe.
 */
typedef struct _GstMllamaCaptionPainter GstMllamaCaptionPainter;

GstMllamaCaptionPainter *gst_mllama_caption_painter_new (void);
void gst_mllama_caption_painter_free (GstMllamaCaptionPainter *painter);

/* Fills image with a view that is valid until the next call, or until picture or painter is freed. Formats the engine
 * knows are passed as they are, in CUDA memory if they are there and the engine takes that; others, crop, pixel aspect
 * ratio and orientation go through RGB or RGBA in host memory. */
gboolean gst_mllama_caption_painter_paint (GstMllamaCaptionPainter *painter, const GstMllamaCaptionPicture *picture,
                                           gboolean takes_cuda, MllamaImage *image, GError **error);

G_END_DECLS
