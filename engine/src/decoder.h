/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The text model: tokens of a pass -> hidden states and logits (spec 5). */
#pragma once

#include "weights.h"

G_BEGIN_DECLS

typedef struct _MllamaDecoder MllamaDecoder;

/* mllama_decoder_new: work space for passes of up to max_tokens tokens and max_logits rows of logits at a time; nothing
 * is allocated later. weights must outlive the result. */
MllamaDecoder *mllama_decoder_new (const MllamaWeights *weights, guint max_tokens, guint max_logits, GError **error);
void mllama_decoder_free (MllamaDecoder *decoder);

guint mllama_decoder_get_max_tokens (const MllamaDecoder *decoder);
guint mllama_decoder_get_max_logits (const MllamaDecoder *decoder);

/* mllama_decoder_run: embedding and all layers; keys and values go to the rows' pages. */
void mllama_decoder_run (MllamaDecoder *decoder, const MllamaPass *pass);

/* mllama_decoder_get_hidden: the last run's states of some of its tokens after the final norm: act [n_tokens][D], valid
 * until the next call. n_tokens <= max_logits. */
const MllamaTensor *mllama_decoder_get_hidden (MllamaDecoder *decoder, const guint32 *tokens, guint n_tokens);

/* mllama_decoder_get_logits: likewise, through the head: [n_tokens][Z]. */
const MllamaTensor *mllama_decoder_get_logits (MllamaDecoder *decoder, const guint32 *tokens, guint n_tokens,
                                               MllamaPhase phase);

/* mllama_decoder_fill_slab: keys and values of every cross layer for the keys of a slab, from rows y_first on of the
 * projector's output. */
void mllama_decoder_fill_slab (MllamaDecoder *decoder, MllamaSlab *slab, const MllamaTensor *y, guint y_first);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaDecoder, mllama_decoder_free)

G_END_DECLS
