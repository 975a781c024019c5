/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads for the loops that BLAS does not run: attention, and products of one row. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _MllamaCpuWorkers MllamaCpuWorkers;

/* Items [first, first + n). worker, below mllama_cpu_workers_get_n (), is nobody else's at the same time. */
typedef void (*MllamaCpuTask) (gpointer data, gsize first, gsize n, guint worker);

/* n counts the calling thread; 0: one a processor. */
MllamaCpuWorkers *mllama_cpu_workers_new (guint n);
void mllama_cpu_workers_free (MllamaCpuWorkers *workers);
guint mllama_cpu_workers_get_n (const MllamaCpuWorkers *workers);

/* mllama_cpu_workers_run: task for all of n_items, in runs of at least min_items (what is worth waking a thread for).
 * Returns when all are done. One caller at a time. Who does which item is not determined; results must not depend on
 * it. */
void mllama_cpu_workers_run (MllamaCpuWorkers *workers, gsize n_items, gsize min_items, MllamaCpuTask task,
                             gpointer data);

G_END_DECLS
