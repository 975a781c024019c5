/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "text-row.h"

#include "prompt-private.h"
#include "states-private.h"

static void
add_span (MllamaTextRow *row, const MllamaSlab *slab, guint first, guint n_keys, float bias)
{
  if (n_keys > 0)
    row->spans[row->n_spans++] = (MllamaKeySpan){slab, first, n_keys, bias};
}

/* In transformers a token that may look at no picture looks at all of them, unused tiles included (spec 0.3 B);
 * in meta it looks at nothing. */
static void
add_blind_spans (MllamaTextRow *row)
{
  for (guint i = 0; i < row->n_states; i++) {
    const MllamaStates *states = row->states[i];
    if (states->semantics != MLLAMA_SEMANTICS_TRANSFORMERS)
      continue;
    add_span (row, states->slab, 0, states->n_seen_keys, 0);
    add_span (row, states->slab, states->n_seen_keys, states->n_blank_keys, states->blank_bias);
  }
}

void
mllama_text_row_init (MllamaTextRow *row, MllamaPrompt *prompt, MllamaStates *const *states, guint n_states)
{
  gsize n_ids;

  *row = (MllamaTextRow){.prompt = mllama_prompt_ref (prompt), .n_states = n_states};
  mllama_prompt_get_ids (prompt, &n_ids);
  row->n_prompt = n_ids;
  row->states = g_new (MllamaStates *, n_states);
  row->spans = g_new (MllamaKeySpan, 3 * n_states);
  for (guint i = 0; i < n_states; i++) {
    row->states[i] = mllama_states_ref (states[i]);
    add_span (row, states[i]->slab, 0, states[i]->n_seen_keys, 0);
  }
  add_blind_spans (row);
}

void
mllama_text_row_clear (MllamaTextRow *row)
{
  g_assert (!row->pages);
  g_clear_pointer (&row->prompt, mllama_prompt_unref);
  for (guint i = 0; i < row->n_states; i++)
    mllama_states_unref (row->states[i]);
  row->n_states = 0;
  g_clear_pointer (&row->states, g_free);
  g_clear_pointer (&row->spans, g_free);
}

guint
mllama_text_row_count_pages (guint n_positions)
{
  return n_positions / MLLAMA_KV_PAGE + (n_positions % MLLAMA_KV_PAGE > 0);
}

gboolean
mllama_text_row_take_pages (MllamaTextRow *row, MllamaPagePool *pool, guint n_pages)
{
  guint32 *pages = g_new (guint32, n_pages);

  if (!mllama_page_pool_take (pool, pages, n_pages)) {
    g_free (pages);
    return FALSE;
  }
  row->pages = pages;
  row->n_pages = n_pages;
  return TRUE;
}

void
mllama_text_row_give_pages (MllamaTextRow *row, MllamaPagePool *pool)
{
  if (!row->pages)
    return;
  mllama_page_pool_give (pool, row->pages, row->n_pages);
  g_clear_pointer (&row->pages, g_free);
  row->n_pages = 0;
}

/* --- passes --- */

void
mllama_pass_builder_init (MllamaPassBuilder *builder, guint max_tokens)
{
  *builder = (MllamaPassBuilder){.max_tokens = max_tokens};
  builder->ids = g_new (guint32, max_tokens);
  builder->positions = g_new (guint32, max_tokens);
  builder->rows = g_new (guint32, max_tokens);
  builder->first_span = g_new (guint32, max_tokens);
  builder->n_spans = g_new (guint32, max_tokens);
  builder->sees_image = g_new (guint8, max_tokens);
  builder->row_table = g_new (MllamaRow, max_tokens);
  builder->spans = g_array_sized_new (FALSE, FALSE, sizeof (MllamaKeySpan), 3 * max_tokens);
}

void
mllama_pass_builder_clear (MllamaPassBuilder *builder)
{
  g_free (builder->ids);
  g_free (builder->positions);
  g_free (builder->rows);
  g_free (builder->first_span);
  g_free (builder->n_spans);
  g_free (builder->sees_image);
  g_free (builder->row_table);
  g_clear_pointer (&builder->spans, g_array_unref);
}

void
mllama_pass_builder_begin (MllamaPassBuilder *builder, MllamaPassKind kind, gboolean draws, MllamaKv *kv)
{
  builder->pass =
      (MllamaPass){.kind = kind, .kv = kv, .sampling = draws ? builder->sampling : NULL, .may_record = draws};
  g_array_set_size (builder->spans, 0);
}

/* Tokens of the answer see what the last token of the prompt sees (spec 5.5 step 4). */
static void
set_sight (MllamaPassBuilder *builder, guint t, const MllamaTextRow *row, guint position, guint row_first_span)
{
  MllamaImageRun run = mllama_prompt_get_runs (row->prompt)[MIN (position, row->n_prompt - 1)];

  builder->sees_image[t] = run.n > 0;
  builder->first_span[t] = row_first_span + (run.n > 0 ? run.first : row->n_states);
  builder->n_spans[t] = run.n > 0 ? run.n : row->n_spans - row->n_states;
}

void
mllama_pass_builder_add (MllamaPassBuilder *builder, MllamaTextRow *row, const guint32 *ids, guint n_tokens)
{
  guint row_first_span = builder->spans->len;

  g_assert (builder->pass.n_tokens + n_tokens <= builder->max_tokens);
  g_array_append_vals (builder->spans, row->spans, row->n_spans);
  builder->row_table[builder->pass.n_rows] = (MllamaRow){row->slot, row->pages};
  for (guint i = 0; i < n_tokens; i++) {
    guint t = builder->pass.n_tokens++;
    builder->ids[t] = ids ? ids[i] : MLLAMA_ID_DRAWN;
    builder->positions[t] = row->n_done;
    builder->rows[t] = builder->pass.n_rows;
    set_sight (builder, t, row, row->n_done, row_first_span);
    row->n_done++;
  }
  builder->pass.n_rows++;
}

void
mllama_pass_builder_add_outputs (MllamaPassBuilder *builder, guint n_tokens, const MllamaSampling *sampling)
{
  MllamaPass *pass = &builder->pass;

  g_assert (pass->n_outputs + n_tokens <= MLLAMA_MAX_ROWS && n_tokens <= pass->n_tokens);
  for (guint i = 0; i < n_tokens; i++) {
    builder->outputs[pass->n_outputs] = pass->n_tokens - n_tokens + i;
    if (sampling)
      builder->sampling[pass->n_outputs] = *sampling;
    pass->n_outputs++;
  }
}

const MllamaPass *
mllama_pass_builder_end (MllamaPassBuilder *builder)
{
  MllamaPass *pass = &builder->pass;

  pass->ids = builder->ids;
  pass->positions = builder->positions;
  pass->rows = builder->rows;
  pass->first_span = builder->first_span;
  pass->n_spans = builder->n_spans;
  pass->sees_image = builder->sees_image;
  pass->row_table = builder->row_table;
  pass->spans = (const MllamaKeySpan *) builder->spans->data;
  pass->n_spans_total = builder->spans->len;
  pass->outputs = builder->outputs;
  return pass;
}
