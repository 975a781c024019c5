/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <mllama/macros.h>

G_BEGIN_DECLS

/* Where published implementations of Mllama disagree (engine/README.md, 0.3): which encoder
 * states are tapped, and what tokens before the first picture see. */
typedef enum {
  MLLAMA_SEMANTICS_META,         /* what the weights were trained with */
  MLLAMA_SEMANTICS_TRANSFORMERS, /* Hugging Face transformers from 4.56 on */
} MllamaSemantics;

/* The cross-attention states of one picture: keys and values of every cross-attention layer, in the
 * memory of the model's device. Immutable, refcounted, shared by any number of prompts; valid after the
 * caller's last reference to the model is gone. */
typedef struct _MllamaStates MllamaStates;

MLLAMA_API MllamaStates *mllama_states_ref (MllamaStates *states);
MLLAMA_API void mllama_states_unref (MllamaStates *states);

MLLAMA_API MllamaSemantics mllama_states_get_semantics (const MllamaStates *states);
MLLAMA_API guint mllama_states_get_n_tiles (const MllamaStates *states);
MLLAMA_API guint mllama_states_get_aspect_ratio_id (const MllamaStates *states);
MLLAMA_API gsize mllama_states_get_n_bytes (const MllamaStates *states);
/* Counts up over the encodes of a model, from 1. */
MLLAMA_API guint64 mllama_states_get_encode_id (const MllamaStates *states);
/* Time the picture waited for its turn, and time it took (conversion, tiles, tower, projector, keys and values). */
MLLAMA_API guint64 mllama_states_get_queue_ns (const MllamaStates *states);
MLLAMA_API guint64 mllama_states_get_encode_ns (const MllamaStates *states);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaStates, mllama_states_unref)

G_END_DECLS
