/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A checkpoint that runs, and short forms of what tests do with it. Failures end the test. */
#pragma once

#include <mllama/mllama.h>

#define N_NEW 12

char *find_checkpoint (void);
/* A model of its own, that nobody has loaded with other settings. */
MllamaModel *open_model_with (const MllamaModelSettings *settings);
MllamaModel *open_model (void);
/* The states of a picture of noise. */
MllamaStates *encode_noise (MllamaModel *model, guint seed, MllamaSemantics semantics);
/* A chat question about n_images pictures. */
MllamaPrompt *create_prompt (MllamaModel *model, const char *text, guint n_images);
/* n ordinary ids, the first of them an image mark if there is to be one. */
MllamaPrompt *create_long_prompt (MllamaModel *model, guint n, gboolean has_image);
/* states may be NULL. */
MllamaGeneration *start (MllamaModel *model, MllamaPrompt *prompt, MllamaStates *states,
                         const MllamaGenerationSettings *settings);
/* Same ids, and log-probabilities equal to the bit. */
void assert_same_result (const MllamaResult *a, const MllamaResult *b);
