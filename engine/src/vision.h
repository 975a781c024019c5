/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The vision tower and the projector: tiles of pictures -> rows for the cross-attention layers (spec 4, 5.1). */
#pragma once

#include "weights.h"

G_BEGIN_DECLS

typedef struct _MllamaVision MllamaVision;

/* A picture on its way through the tower. */
typedef struct {
  const MllamaFrame *frame;
  guint aspect_ratio_id;
  guint n_used; /* tiles with pixels: rows * columns of the arrangement */
} MllamaVisionImage;

/* What of a picture became rows of the output, in this order. Unused tiles that are equal share their rows
 * (n_blank 1, each row standing for n_folded tiles); otherwise each has its own (n_folded 1). */
typedef struct {
  guint first_row; /* of this picture in the output */
  guint n_used, n_blank, n_folded;
} MllamaVisionRows;

/* weights must outlive the result. */
MllamaVision *mllama_vision_new (const MllamaWeights *weights);
void mllama_vision_free (MllamaVision *vision);

/* mllama_vision_run: pictures side by side through the tower. Output rows of a picture: P for each used tile, then,
 * if wanted, P for each blank one. rows [n_images] says where.
 * CANCELLED between two layers. The results stay valid until the next run. */
gboolean mllama_vision_run (MllamaVision *vision, const MllamaVisionImage *images, guint n_images,
                            MllamaSemantics semantics, gboolean with_blanks, MllamaVisionRows *rows,
                            GCancellable *cancellable, GError **error);

/* mllama_vision_run_layer: one layer alone, local ones first, then global ones. x holds the rows of the picture as they
 * enter it: used tiles, blank tiles, pad rows; and then as they leave. */
gboolean mllama_vision_run_layer (MllamaVision *vision, const MllamaVisionImage *image, guint layer, MllamaTensor *x,
                                  GError **error);

/* CANCELLED if it was. */
gboolean mllama_vision_check_cancelled (GCancellable *cancellable, GError **error);

/* act [rows][(1 + n_taps) * D]: final output | tap 0 | tap 1 ... */
const MllamaTensor *mllama_vision_get_features (MllamaVision *vision);
/* act [rows][text D]: the projector's output. Runs the projector. */
const MllamaTensor *mllama_vision_project (MllamaVision *vision);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaVision, mllama_vision_free)

G_END_DECLS
