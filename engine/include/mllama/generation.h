/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <mllama/model.h>
#include <mllama/prompt.h>

G_BEGIN_DECLS

/* One running answer. Refcounted. */
typedef struct _MllamaGeneration MllamaGeneration;

typedef enum {
  MLLAMA_FINISH_NONE,   /* still running */
  MLLAMA_FINISH_STOP,   /* a stop id, which is the last of ids */
  MLLAMA_FINISH_LENGTH, /* max_tokens */
  MLLAMA_FINISH_CANCELLED,
  MLLAMA_FINISH_ERROR,
} MllamaFinishReason;

/* "stop", "length", "cancelled", "error"; "none" while running. */
MLLAMA_API const char *mllama_finish_reason_to_string (MllamaFinishReason reason);

typedef struct {
  guint32 id;
  double logprob;   /* log-softmax of the raw logits, before any setting */
  const char *text; /* what this token completes, valid UTF-8, maybe empty; valid during the call */
  guint index;      /* 0 for the first */
} MllamaToken;

/* Called on the model's thread: must be quick, and must not call blocking functions of the model. */
typedef void (*MllamaTokenFunc) (MllamaGeneration *generation, const MllamaToken *token, gpointer user_data);
typedef void (*MllamaDoneFunc) (MllamaGeneration *generation, gpointer user_data);

/* All zero: greedy, 64 new tokens at most. */
typedef struct {
  gint max_tokens;           /* 0: 64; MLLAMA_MAX_TOKENS_NONE: none at all */
  double temperature;        /* 0: greedy */
  guint top_k;               /* 0: off */
  double top_p;              /* 0 or 1: off */
  guint64 seed;              /* noise depends on the seed and the position alone */
  double repetition_penalty; /* 0 or 1: off */
  const guint32 *stop_ids;   /* besides the model's own; copied */
  guint n_stop_ids;
  gboolean ignore_eos; /* only stop_ids and max_tokens end the answer */
  MllamaTokenFunc on_token;
  MllamaDoneFunc on_done; /* once, after the last on_token; the result is final */
  gpointer user_data;
  GDestroyNotify user_data_free; /* after on_done, or when the generation could not start */
} MllamaGenerationSettings;

#define MLLAMA_MAX_TOKENS_NONE (-1)

/* Owned by the generation; constant once it is done. */
typedef struct {
  const char *text;   /* ids decoded, special tokens and NULs left out; valid UTF-8 */
  const guint32 *ids; /* new ids only */
  const double *logprobs;
  guint n_ids;
  MllamaFinishReason finish_reason;
  const GError *error;                     /* with MLLAMA_FINISH_ERROR */
  guint64 queue_ns, prefill_ns, decode_ns; /* waiting; to the first token; from there to the last */
} MllamaResult;

/* mllama_model_generate_async: starts an answer. states holds one entry for each image mark of the prompt,
 * in order; the generation keeps its own references. Errors found before it starts (number of states,
 * WRONG_MODEL, TOO_LONG, mixed semantics) are returned here; later ones are in the result. semantics of a prompt
 * without images has no effect. settings may be NULL. */
MLLAMA_API MllamaGeneration *mllama_model_generate_async (MllamaModel *model, MllamaPrompt *prompt,
                                                          MllamaStates *const *states, guint n_states,
                                                          const MllamaGenerationSettings *settings, GError **error);

/* mllama_model_generate: the same, and waits. NULL also when the answer ended in an error. */
MLLAMA_API MllamaGeneration *mllama_model_generate (MllamaModel *model, MllamaPrompt *prompt,
                                                    MllamaStates *const *states, guint n_states,
                                                    const MllamaGenerationSettings *settings, GError **error);

MLLAMA_API MllamaGeneration *mllama_generation_ref (MllamaGeneration *generation);
MLLAMA_API void mllama_generation_unref (MllamaGeneration *generation);

/* Asks for the end at the next step; returns at once. on_done still follows. */
MLLAMA_API void mllama_generation_cancel (MllamaGeneration *generation);
/* Blocks until done. Must not be called from a callback. */
MLLAMA_API const MllamaResult *mllama_generation_wait (MllamaGeneration *generation);
/* The result if done, else NULL. */
MLLAMA_API const MllamaResult *mllama_generation_get_result (MllamaGeneration *generation);

/* --- one forward pass, as MllamaForConditionalGeneration.forward --- */

typedef struct {
  guint logits_to_keep;   /* logits of the last n tokens; 0: of all */
  gboolean hidden_states; /* also the last hidden state (MllamaTextModel) of every token */
  const gint64 *labels;   /* [n_ids] or NULL; -100 is ignored */
} MllamaForwardSettings;

typedef struct {
  guint n_tokens, n_logits, vocab_size, hidden_size;
  float *logits;        /* [n_logits][vocab_size] */
  float *hidden_states; /* [n_tokens][hidden_size], after the final norm; or NULL */
  double loss;          /* mean cross-entropy of the kept targets; NaN without labels */
} MllamaForwardResult;

MLLAMA_API MllamaForwardResult *mllama_model_forward (MllamaModel *model, MllamaPrompt *prompt,
                                                      MllamaStates *const *states, guint n_states,
                                                      const MllamaForwardSettings *settings, GError **error);
MLLAMA_API void mllama_forward_result_free (MllamaForwardResult *result);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaGeneration, mllama_generation_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaForwardResult, mllama_forward_result_free)

G_END_DECLS
