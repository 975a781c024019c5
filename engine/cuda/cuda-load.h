/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The values of weights on their way from the checkpoint to the device. Reader threads fetch pieces into pinned
 * memory, and a stream of the loader's own copies them; one fetches while others' pieces are copied. */
#pragma once

#include "cuda.h"

G_BEGIN_DECLS

/* Elements [first, first + n) of one part of a weight. */
typedef struct {
  MllamaWeight *weight;
  MllamaSource *source;
  const MllamaTensorInfo *part;
  gsize place; /* of the part's first element among the weight's, padding not counted */
  gsize first, n;
  guint n_taps;       /* 0: columns stay where they are */
  gboolean is_direct; /* bytes are right as they are, in one run */
} MllamaCudaPiece;

#define MLLAMA_CUDA_PIECE_BYTES ((gsize) 16 << 20)

/* Before pieces of a new weight are pushed, once its memory has been asked for. needs_staging: some are not direct. */
gboolean mllama_cuda_loader_prepare (MllamaCudaBackend *be, gboolean needs_staging, GError **error);
/* Blocks while many are waiting. After an error the piece is dropped. */
void mllama_cuda_loader_push (MllamaCudaBackend *be, const MllamaCudaPiece *piece);
/* No piece of the weight is written after this, in the order of the backend's stream. */
void mllama_cuda_loader_forget (MllamaCudaBackend *be, const MllamaWeight *weight);

G_END_DECLS
