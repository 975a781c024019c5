/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How an id is drawn from a row of logits. Order and rules are those of transformers' generate (): repetition
 * penalty, temperature, top-k, top-p, draw. Greedy takes the largest logit after the penalty, the first of equals. */
#pragma once

#include "backend.h"

G_BEGIN_DECLS

/* Scratch for rows of n_logits, so that nothing is allocated per token. Not thread-safe. */
typedef struct _MllamaSampler MllamaSampler;
MllamaSampler *mllama_sampler_new (gsize n_logits);
void mllama_sampler_free (MllamaSampler *sampler);

/* The ids of prompt and answer, as a set: a bit for each id that has a logit. Others (the image token) have nothing to
 * punish and are passed over. Words of 32 bits. */
gsize mllama_history_get_words (gsize n_logits);
void mllama_history_add (guint32 *history, gsize n_logits, guint32 id);

/* logits [n_logits] is left as it is. history may be NULL: nothing is punished. The noise is a function of (seed,
 * position) alone. */
MllamaSample mllama_sampler_draw (MllamaSampler *sampler, const float *logits, const MllamaSampling *sampling,
                                  const guint32 *history);

/* Log-softmax of a row at one id, in double. */
double mllama_log_softmax_at (const float *logits, gsize n_logits, gsize id);

G_END_DECLS
