/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tokenizer-trie.h"

void
mllama_trie_clear (MllamaTrie *trie)
{
  mllama_pair_map_clear (&trie->edges);
  g_clear_pointer (&trie->nodes, g_array_unref);
}

static guint32
add_node (MllamaTrie *trie)
{
  MllamaTrieNode node = {MLLAMA_NONE, FALSE};

  if (!trie->nodes)
    trie->nodes = g_array_new (FALSE, FALSE, sizeof node);
  g_array_append_val (trie->nodes, node);
  return trie->nodes->len - 1;
}

gboolean
mllama_trie_insert (MllamaTrie *trie, const char *spelling, gsize length, guint32 id, gboolean is_control)
{
  guint32 at = trie->nodes ? 0 : add_node (trie);
  MllamaTrieNode *node;

  for (gsize i = 0; i < length; i++) {
    guint32 next = mllama_pair_map_find (&trie->edges, at, (guchar) spelling[i]);

    if (next == MLLAMA_NONE) {
      next = add_node (trie);
      mllama_pair_map_insert (&trie->edges, at, (guchar) spelling[i], next);
    }
    at = next;
  }
  node = &g_array_index (trie->nodes, MllamaTrieNode, at);
  if (node->id != MLLAMA_NONE)
    return FALSE;
  *node = (MllamaTrieNode){id, is_control};
  return TRUE;
}

guint32
mllama_trie_find (const MllamaTrie *trie, const char *spelling, gsize length)
{
  guint32 at = 0;

  for (gsize i = 0; i < length && at != MLLAMA_NONE; i++)
    at = mllama_pair_map_find (&trie->edges, at, (guchar) spelling[i]);
  return at == MLLAMA_NONE || at == 0 ? MLLAMA_NONE : g_array_index (trie->nodes, MllamaTrieNode, at).id;
}

/* The longest match at start; a control token must end by control_end. */
static gboolean
match_at (const MllamaTrie *trie, const char *text, gsize start, gsize end, gsize control_end, MllamaTrieMatch *match)
{
  guint32 at = 0;
  gboolean found = FALSE;

  for (gsize i = start; i < end; i++) {
    const MllamaTrieNode *node;

    at = mllama_pair_map_find (&trie->edges, at, (guchar) text[i]);
    if (at == MLLAMA_NONE)
      break;
    node = &g_array_index (trie->nodes, MllamaTrieNode, at);
    if (node->id == MLLAMA_NONE || (node->is_control && i + 1 > control_end))
      continue;
    *match = (MllamaTrieMatch){start, i + 1, node->id};
    found = TRUE;
  }
  return found;
}

gboolean
mllama_trie_search (const MllamaTrie *trie, const char *text, gsize start, gsize end, gboolean with_control,
                    const MllamaTextRange *literal, gsize n_literal, MllamaTrieMatch *match)
{
  gsize k = 0;

  for (gsize i = start; i < end; i++) {
    gsize control_end = with_control ? end : 0;

    /* The first range that ends after i; within it nothing may start, before it nothing may reach into it. */
    while (k < n_literal && literal[k].end <= i)
      k++;
    if (k < n_literal)
      control_end = MIN (control_end, literal[k].start);
    if (match_at (trie, text, i, end, control_end, match))
      return TRUE;
  }
  return FALSE;
}
