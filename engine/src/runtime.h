/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A loaded checkpoint: backend, weights, and the memory it works in. Everything but the statistics belongs to the
 * model's thread. */
#pragma once

#include "checkpoint.h"
#include "decoder.h"
#include "text-row.h"
#include "vision.h"

G_BEGIN_DECLS

/* Tokens of one pass of a long prompt. */
#define MLLAMA_PREFILL_CHUNK 256

typedef struct {
  const MllamaCheckpoint *checkpoint;
  MllamaBackend *backend;
  MllamaWeights *weights;
  MllamaVision *vision; /* NULL if text only */
  MllamaDecoder *decoder;
  MllamaKv *kv;
  MllamaPagePool *pages;
  MllamaPassBuilder pass;
  gsize page_bytes, max_states_bytes;
  guint n_self_layers;

  GMutex lock; /* guards what follows */
  MllamaStatistics statistics;
} MllamaRuntime;

/* mllama_runtime_new: blocks while the weights are read. checkpoint must outlive the result. */
MllamaRuntime *mllama_runtime_new (const MllamaCheckpoint *checkpoint, MllamaDevice device,
                                   const MllamaModelSettings *settings, GCancellable *cancellable, GError **error);
void mllama_runtime_free (MllamaRuntime *runtime);

/* warm-up.c: runs what is slow the first time; part of mllama_runtime_new. */
gboolean mllama_runtime_warm_up (MllamaRuntime *runtime, GCancellable *cancellable, GError **error);

/* Gives the pages that the row holds memory of the device. */
gboolean mllama_runtime_commit_pages (MllamaRuntime *runtime, const MllamaTextRow *row, GError **error);

/* Sets aside memory for states, or says how much there is: any thread. */
gboolean mllama_runtime_reserve_states (MllamaRuntime *runtime, gsize n_bytes, GError **error);
void mllama_runtime_release_states (MllamaRuntime *runtime, gsize n_bytes);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaRuntime, mllama_runtime_free)

G_END_DECLS
