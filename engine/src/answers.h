/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The answers a model is working on: which of them get memory, which tokens make the next pass, and what becomes of the
 * ids that come back. All of it belongs to the model's thread. */
#pragma once

#include "runtime.h"

G_BEGIN_DECLS

typedef struct _MllamaAnswers MllamaAnswers;

/* runtime must outlive the result. */
MllamaAnswers *mllama_answers_new (MllamaRuntime *runtime);
/* No answer may be left. */
void mllama_answers_free (MllamaAnswers *answers);

/* Takes a reference to the generation until it is done. */
void mllama_answers_add (MllamaAnswers *answers, MllamaGeneration *generation);

/* Whether there is nothing to do. */
gboolean mllama_answers_is_idle (const MllamaAnswers *answers);

/* mllama_answers_take_turn: admits waiting answers whose memory is there, then queues at most one pass of a long
 * prompt, and one pass of one token of every running answer together with short prompts; and takes in the ids of
 * passes that are due. */
void mllama_answers_take_turn (MllamaAnswers *answers);

G_END_DECLS
