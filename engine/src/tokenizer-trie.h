/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds the spellings of added tokens in a text: leftmost first, of those the longest. */
#pragma once

#include <mllama/tokenizer.h>

#include "bpe-pair-map.h"

G_BEGIN_DECLS

/* All zero is an empty trie. */
typedef struct {
  MllamaPairMap edges; /* (node, byte) -> node; the root is 0 */
  GArray *nodes;       /* MllamaTrieNode */
} MllamaTrie;

typedef struct {
  guint32 id; /* of the token that ends here, or NONE */
  gboolean is_control;
} MllamaTrieNode;

typedef struct {
  gsize start, end; /* bytes of the text */
  guint32 id;
} MllamaTrieMatch;

void mllama_trie_clear (MllamaTrie *trie);

/* FALSE if the spelling is there already. length > 0. */
gboolean mllama_trie_insert (MllamaTrie *trie, const char *spelling, gsize length, guint32 id, gboolean is_control);

/* The id of exactly this spelling, or MLLAMA_NONE. */
guint32 mllama_trie_find (const MllamaTrie *trie, const char *spelling, gsize length);

/* mllama_trie_search: the first match within text [start, end). Control tokens are not found where they touch one of
 * the literal ranges (ascending), nor anywhere if !with_control. */
gboolean mllama_trie_search (const MllamaTrie *trie, const char *text, gsize start, gsize end, gboolean with_control,
                             const MllamaTextRange *literal, gsize n_literal, MllamaTrieMatch *match);

G_END_DECLS
