/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frequencies of the rotary embedding, the same for every backend. */
#pragma once

#include <mllama/mllama.h>

G_BEGIN_DECLS

/* mllama_rope_get_frequencies: inv_freq [C / 2] in float32, step by step as transformers computes it (spec 5.3). */
void mllama_rope_get_frequencies (const MllamaRopeConfig *rope, guint head_width, float *inv_freq);

G_END_DECLS
