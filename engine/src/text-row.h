/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A row of the decoder from prompt to answer: token ids, what each of them sees, and the pages of its keys and
 * values; and the pass that several rows make together. */
#pragma once

#include "backend.h"
#include "page-pool.h"

G_BEGIN_DECLS

typedef struct {
  MllamaPrompt *prompt;
  guint n_prompt;        /* ids of the prompt */
  MllamaStates **states; /* [n_states], one a mark of the prompt */
  guint n_states;
  MllamaKeySpan *spans; /* [n_states] of what sighted tokens see, then what tokens before the first picture see */
  guint n_spans;
  guint slot; /* of the backend, < MLLAMA_MAX_ROWS */
  guint32 *pages;
  guint n_pages;
  guint n_done; /* tokens whose keys and values are in the pages */
} MllamaTextRow;

/* mllama_text_row_init: references to prompt and states are the row's own. */
void mllama_text_row_init (MllamaTextRow *row, MllamaPrompt *prompt, MllamaStates *const *states, guint n_states);
/* Pages must have been given back. */
void mllama_text_row_clear (MllamaTextRow *row);

/* Pages that so many positions need. */
guint mllama_text_row_count_pages (guint n_positions);
/* FALSE if the pool has not enough free pages; the row then holds none. */
gboolean mllama_text_row_take_pages (MllamaTextRow *row, MllamaPagePool *pool, guint n_pages);
void mllama_text_row_give_pages (MllamaTextRow *row, MllamaPagePool *pool);

/* A pass under construction. Arrays are reserved once; rows must stay until the pass has run. */
typedef struct {
  MllamaPass pass;
  guint max_tokens;
  guint32 *ids, *positions, *rows, *first_span, *n_spans;
  guint8 *sees_image;
  MllamaRow *row_table;
  GArray *spans; /* MllamaKeySpan */
  guint32 outputs[MLLAMA_MAX_ROWS];
  MllamaSampling sampling[MLLAMA_MAX_ROWS];
} MllamaPassBuilder;

void mllama_pass_builder_init (MllamaPassBuilder *builder, guint max_tokens);
void mllama_pass_builder_clear (MllamaPassBuilder *builder);

/* draws: an id is drawn from every output; else none is. */
void mllama_pass_builder_begin (MllamaPassBuilder *builder, MllamaPassKind kind, gboolean draws, MllamaKv *kv);
/* The next n_tokens tokens of the row, whose ids are given, or one whose id was drawn last (ids NULL); advances
 * row->n_done. */
void mllama_pass_builder_add (MllamaPassBuilder *builder, MllamaTextRow *row, const guint32 *ids, guint n_tokens);
/* The last n_tokens tokens added become outputs. sampling: one, for all of them; NULL if nothing is drawn. */
void mllama_pass_builder_add_outputs (MllamaPassBuilder *builder, guint n_tokens, const MllamaSampling *sampling);
/* Valid until the next begin. */
const MllamaPass *mllama_pass_builder_end (MllamaPassBuilder *builder);

G_END_DECLS
