/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "checkpoint.h"
#include "scheduler.h"

G_BEGIN_DECLS

/* The scheduler of a loaded model; NULL and an error if it is not loaded. */
MllamaScheduler *mllama_model_get_scheduler (MllamaModel *model, GError **error);
const MllamaCheckpoint *mllama_model_get_checkpoint (MllamaModel *model);

/* Checks that states fit prompt and model: their number, model and semantics. */
gboolean mllama_model_check_states (MllamaModel *model, const MllamaPrompt *prompt, MllamaStates *const *states,
                                    guint n_states, GError **error);

G_END_DECLS
