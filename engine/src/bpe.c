/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bpe.h"

/* Tokens of a piece, as a doubly linked list in place; id NONE: merged into the one before. */
typedef struct {
  guint32 id, previous, next;
} Symbol;

/* The queue is a heap of four children a node (half the cache misses of a binary one) of rank << 32 | position.
 * Nothing is taken out of it when a merge changes a pair: such entries are known by their rank when they come up. */
struct _MllamaBpeScratch {
  GArray *symbols;
  GArray *queue; /* guint64 */
};

#define ARITY 4

void
mllama_bpe_init (MllamaBpe *bpe)
{
  *bpe = (MllamaBpe){.unknown_id = MLLAMA_NONE};
}

void
mllama_bpe_clear (MllamaBpe *bpe)
{
  mllama_pair_map_clear (&bpe->ranks);
  g_clear_pointer (&bpe->merged, g_array_unref);
}

void
mllama_bpe_set_vocabulary (MllamaBpe *bpe, const MllamaVocabulary *vocabulary)
{
  for (guint i = 0; i < 256; i++) {
    char byte = i;

    bpe->byte_ids[i] = mllama_vocabulary_find (vocabulary, &byte, 1);
  }
}

MllamaBpeScratch *
mllama_bpe_scratch_new (void)
{
  MllamaBpeScratch *scratch = g_new (MllamaBpeScratch, 1);

  scratch->symbols = g_array_new (FALSE, FALSE, sizeof (Symbol));
  scratch->queue = g_array_new (FALSE, FALSE, sizeof (guint64));
  return scratch;
}

void
mllama_bpe_scratch_free (MllamaBpeScratch *scratch)
{
  if (!scratch)
    return;
  g_array_unref (scratch->symbols);
  g_array_unref (scratch->queue);
  g_free (scratch);
}

static void
push_entry (GArray *queue, guint64 entry)
{
  guint64 *heap;
  guint i = queue->len;

  g_array_append_val (queue, entry);
  heap = (guint64 *) queue->data;
  for (; i > 0 && heap[(i - 1) / ARITY] > entry; i = (i - 1) / ARITY)
    heap[i] = heap[(i - 1) / ARITY];
  heap[i] = entry;
}

static guint64
pop_entry (GArray *queue)
{
  guint64 *heap = (guint64 *) queue->data;
  guint64 top = heap[0], last = heap[queue->len - 1];
  gsize n = queue->len - 1, i = 0;

  g_array_set_size (queue, n);
  for (;;) {
    gsize first = i * ARITY + 1, end = MIN (first + ARITY, n), least = first;

    if (first >= n)
      break;
    for (gsize child = first + 1; child < end; child++)
      if (heap[child] < heap[least])
        least = child;
    if (heap[least] >= last)
      break;
    heap[i] = heap[least];
    i = least;
  }
  heap[i] = last;
  return top;
}

static void
append_symbol (GArray *symbols, guint32 id)
{
  guint32 i = symbols->len;
  Symbol symbol = {id, i > 0 ? i - 1 : MLLAMA_NONE, i + 1};

  g_array_append_val (symbols, symbol);
}

static void
read_symbols (const MllamaBpe *bpe, GArray *symbols, const char *piece, gsize length)
{
  gboolean after_unknown = FALSE;

  g_array_set_size (symbols, 0);
  for (gsize i = 0; i < length; i++) {
    guint32 id = bpe->byte_ids[(guchar) piece[i]];
    gboolean is_unknown = id == MLLAMA_NONE;

    if (!is_unknown)
      append_symbol (symbols, id);
    else if (bpe->unknown_id != MLLAMA_NONE && !(after_unknown && bpe->fuse_unknown))
      append_symbol (symbols, bpe->unknown_id);
    after_unknown = is_unknown;
  }
  if (symbols->len > 0)
    g_array_index (symbols, Symbol, symbols->len - 1).next = MLLAMA_NONE;
}

/* Rank of the merge of the symbol at position i and the next, or NONE. */
static guint32
find_rank (const MllamaBpe *bpe, const Symbol *symbols, guint32 i)
{
  if (i == MLLAMA_NONE || symbols[i].id == MLLAMA_NONE || symbols[i].next == MLLAMA_NONE)
    return MLLAMA_NONE;
  return mllama_pair_map_find (&bpe->ranks, symbols[i].id, symbols[symbols[i].next].id);
}

static void
queue_pair (const MllamaBpe *bpe, const Symbol *symbols, guint32 i, GArray *queue)
{
  guint32 rank = find_rank (bpe, symbols, i);

  if (rank != MLLAMA_NONE)
    push_entry (queue, (guint64) rank << 32 | i);
}

static void
merge_symbols (const MllamaBpe *bpe, Symbol *symbols, guint32 n, GArray *queue)
{
  g_array_set_size (queue, 0);
  for (guint32 i = 0; i < n; i++)
    queue_pair (bpe, symbols, i, queue);
  while (queue->len > 0) {
    guint64 entry = pop_entry (queue);
    guint32 i = entry & G_MAXUINT32, rank = entry >> 32, right;

    if (find_rank (bpe, symbols, i) != rank)
      continue;
    right = symbols[i].next;
    symbols[i].id = bpe->merged ? g_array_index (bpe->merged, guint32, rank) : rank;
    symbols[i].next = symbols[right].next;
    symbols[right].id = MLLAMA_NONE;
    if (symbols[i].next != MLLAMA_NONE)
      symbols[symbols[i].next].previous = i;
    queue_pair (bpe, symbols, symbols[i].previous, queue);
    queue_pair (bpe, symbols, i, queue);
  }
}

void
mllama_bpe_encode (const MllamaBpe *bpe, const MllamaVocabulary *vocabulary, MllamaBpeScratch *scratch,
                   const char *piece, gsize length, GArray *ids)
{
  Symbol *symbols;

  if (bpe->ignore_merges) {
    guint32 id = mllama_vocabulary_find (vocabulary, piece, length);

    if (id != MLLAMA_NONE && !(mllama_vocabulary_get (vocabulary, id)->flags & MLLAMA_TOKEN_CONTROL)) {
      g_array_append_val (ids, id);
      return;
    }
  }
  read_symbols (bpe, scratch->symbols, piece, length);
  symbols = (Symbol *) scratch->symbols->data;
  merge_symbols (bpe, symbols, scratch->symbols->len, scratch->queue);
  for (guint32 i = 0; i < scratch->symbols->len; i++)
    if (symbols[i].id != MLLAMA_NONE)
      g_array_append_val (ids, symbols[i].id);
}
