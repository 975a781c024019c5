/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The text model: tokens of a pass -> hidden states and logits (spec 5). */
#pragma once

#include "weights.h"

G_BEGIN_DECLS

typedef struct _MllamaDecoder MllamaDecoder;

/* mllama_decoder_new: work space for passes of up to max_tokens tokens; nothing is allocated later. weights must
 * outlive the result. */
MllamaDecoder *mllama_decoder_new (const MllamaWeights *weights, guint max_tokens, GError **error);
void mllama_decoder_free (MllamaDecoder *decoder);

/* mllama_decoder_run: queues a pass: embedding and all layers (keys and values go to the rows' pages), then the hidden
 * states, logits and ids of its outputs. The ids come by the table's samples_read. */
void mllama_decoder_run (MllamaDecoder *decoder, const MllamaPass *pass);

/* mllama_decoder_run_layer: one layer alone. x [n_tokens][D]: as the tokens enter it, and then as they leave. The pass
 * may not be recorded. */
gboolean mllama_decoder_run_layer (MllamaDecoder *decoder, guint layer, const MllamaPass *pass, float *x,
                                   GError **error);

/* Of the outputs of the last run, valid until the next: states after the final norm, act [n_outputs][D], and logits,
 * [n_outputs][Z] in full. */
const MllamaTensor *mllama_decoder_get_hidden (const MllamaDecoder *decoder);
const MllamaTensor *mllama_decoder_get_logits (const MllamaDecoder *decoder);

/* mllama_decoder_fill_slab: keys and values of every cross layer for the keys of a slab, from rows y_first on of the
 * projector's output. */
void mllama_decoder_fill_slab (MllamaDecoder *decoder, MllamaSlab *slab, const MllamaTensor *y, guint y_first);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaDecoder, mllama_decoder_free)

G_END_DECLS
