/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs a recorded case through the engine's public API. */
#pragma once

#include "golden.h"

G_BEGIN_DECLS

/* A case, ready for the engine. */
typedef struct {
  Golden *golden;
  JsonObject *record;
  MllamaModel *model; /* borrowed */
  MllamaPrompt *prompt;
  MllamaStates **states;
  guint n_states;
  GArray *stop_ids;
  MllamaGenerationSettings settings;
} Run;

/* model NULL: the golden's own. The prompt is the recorded ids; pictures are encoded anew. */
Run *run_new (Golden *golden, JsonObject *record, MllamaModel *model);
void run_free (Run *run);

/* The prompt as the engine makes it from the case's text. */
MllamaPrompt *run_create_prompt (Golden *golden, JsonObject *record);
MllamaForwardResult *run_forward (const Run *run, const MllamaForwardSettings *settings);
/* The answer, done. */
MllamaGeneration *run_generate (const Run *run);
MllamaGeneration *run_generate_async (const Run *run);

/* Log-probabilities of ids after one token of a forward result. */
void run_read_probes (const MllamaForwardResult *result, guint row, const GArray *ids, double *logprobs);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Run, run_free)

G_END_DECLS
