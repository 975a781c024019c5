/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one thread that runs a loaded model: it takes work from all threads of the process and gives it turns.
 *
 * A turn is: one task, or a few encodes together, and then a turn of the answers (answers.h). */
#pragma once

#include "runtime.h"

G_BEGIN_DECLS

typedef struct _MllamaScheduler MllamaScheduler;

/* Takes the runtime. */
MllamaScheduler *mllama_scheduler_new (MllamaRuntime *runtime);

/* mllama_scheduler_stop: ends the thread and frees everything. No work may be left. May be called on the thread itself.
 */
void mllama_scheduler_stop (MllamaScheduler *scheduler);

MllamaRuntime *mllama_scheduler_get_runtime (MllamaScheduler *scheduler);

/* data: [n_data], one of each caller. */
typedef void (*MllamaTaskFunc) (MllamaRuntime *runtime, gpointer *data, guint n_data);

/* mllama_scheduler_run: runs func on the model's thread and waits for it. Tasks run in the order they came; up to
 * max_together neighbours with the same func are handed to one call of it. */
void mllama_scheduler_run (MllamaScheduler *scheduler, MllamaTaskFunc func, guint max_together, gpointer data);

/* mllama_scheduler_add: takes a reference to the generation until it is done. */
void mllama_scheduler_add (MllamaScheduler *scheduler, MllamaGeneration *generation);

/* mllama_scheduler_wake: something changed that a waiting thread should look at (a cancel). */
void mllama_scheduler_wake (MllamaScheduler *scheduler);

G_END_DECLS
