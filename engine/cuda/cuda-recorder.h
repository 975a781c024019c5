/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state of passes: shared by cuda-pass.c, which records and plays them, and cuda-upload.c, which sends what they
 * see.
 */
#pragma once

#include "cuda.h"

G_BEGIN_DECLS

/* Passes under way: one more than may be queued ahead, and one that nobody waits for (forward). */
#define MLLAMA_CUDA_N_UPLOADS 3
#define MLLAMA_CUDA_N_RESULTS 3
#define MLLAMA_CUDA_N_BUCKETS 7

/* What a pass sees on its way to the device. */
typedef struct {
  guint8 *host; /* pinned */
  gsize n_bytes, n_used;
  cudaEvent_t done; /* the copy has been made */
} MllamaCudaUpload;

typedef struct {
  MllamaSample *samples; /* pinned [MLLAMA_MAX_ROWS] */
  guint n_samples;
  cudaEvent_t done;
} MllamaCudaResult;

typedef enum {
  MLLAMA_CUDA_NEVER_RUN,
  MLLAMA_CUDA_RUN_ONCE,
  MLLAMA_CUDA_RECORDED,
} MllamaCudaRecordingState;

typedef struct {
  MllamaCudaRecordingState state;
  cudaGraphExec_t graph;
} MllamaCudaRecording;

struct _MllamaCudaRecorder {
  MllamaCudaUpload uploads[MLLAMA_CUDA_N_UPLOADS]; /* used in turn */
  guint next_upload;
  guint8 *arrays; /* device: the arrays of the pass under way */
  gsize arrays_bytes;
  MllamaSample *samples; /* device [MLLAMA_MAX_ROWS] */
  guint32 *drawn;        /* device [MLLAMA_MAX_ROWS] */
  guint8 *done;          /* device [MLLAMA_MAX_ROWS] */
  guint32 *history;      /* device [MLLAMA_MAX_ROWS][history_words] */
  gsize history_words;

  MllamaCudaResult results[MLLAMA_CUDA_N_RESULTS]; /* a ring */
  guint first_result, n_results;

  MllamaCudaRecording recordings[MLLAMA_CUDA_N_BUCKETS][2]; /* of passes without and with keys to see */
  MllamaCudaRecording *recording; /* of the pass under way; NULL if it is not to be recorded */
  gboolean is_capturing, has_draws;
  guint n_outputs;
};

/* cuda-upload.c: queues the way of a pass to be->pass, and the start of the histories it starts. FALSE after a failure,
 * which is recorded. */
gboolean mllama_cuda_send_pass (MllamaCudaBackend *be, const MllamaPass *pass);

G_END_DECLS
