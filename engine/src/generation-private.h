/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The scheduler's side of an answer. All but cancel belongs to the model's thread. */
#pragma once

#include "text-row.h"

G_BEGIN_DECLS

struct _MllamaGeneration {
  gatomicrefcount ref_count;
  MllamaModel *model;
  MllamaGenerationSettings settings; /* stop_ids: below */
  guint max_tokens;
  GArray *stop_ids; /* guint32: ids that end the answer */
  MllamaTextRow row;
  guint n_drawn;        /* ids asked of the backend so far; those that have come are in ids */
  gboolean is_finished; /* the model's thread is done with it */

  gint is_cancelled; /* atomic */
  GArray *ids;       /* guint32: prompt, then answer */
  GArray *logprobs;  /* double, of the answer */
  GString *text;
  MllamaTokenDecoder *decoder;
  GError *error;
  gint64 created_us, started_us, first_token_us, last_token_us;

  GMutex lock; /* guards is_done; result is constant once it is set */
  GCond done;
  gboolean is_done;
  MllamaResult result;
};

/* Positions whose keys and values the whole answer can need: the last id is never fed back. */
guint mllama_generation_count_positions (const MllamaGeneration *generation);
gboolean mllama_generation_is_cancelled (MllamaGeneration *generation);
MllamaSampling mllama_generation_get_sampling (const MllamaGeneration *generation);

/* Takes in a drawn id and reports it. Returns why the answer ends with it, or NONE. */
MllamaFinishReason mllama_generation_accept (MllamaGeneration *generation, const MllamaSample *sample);
/* Makes the result and reports it; error (transfer full) goes with MLLAMA_FINISH_ERROR. */
void mllama_generation_finish (MllamaGeneration *generation, MllamaFinishReason reason, GError *error);

G_END_DECLS
