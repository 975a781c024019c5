/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether the picture has changed: brightness of 64x36 cells, compared cell by cell. */
#pragma once

#include <gst/video/video.h>

G_BEGIN_DECLS

#define GST_MLLAMA_CAPTION_SCENE_COLUMNS 64
#define GST_MLLAMA_CAPTION_SCENE_ROWS    36

typedef struct {
  guint8 cells[GST_MLLAMA_CAPTION_SCENE_ROWS][GST_MLLAMA_CAPTION_SCENE_COLUMNS];
} GstMllamaCaptionScene;

/* Mean of 16 samples a cell, so that it costs about the same at every size. FALSE: GStreamer cannot unpack the format.
 */
gboolean gst_mllama_caption_scene_init (GstMllamaCaptionScene *scene, const GstVideoFrame *frame);

/* Mean absolute difference of the cells: 0 for the same picture, 1 from black to white. */
double gst_mllama_caption_scene_compare (const GstMllamaCaptionScene *a, const GstMllamaCaptionScene *b);

G_END_DECLS
