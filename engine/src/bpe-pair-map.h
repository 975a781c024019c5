/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A hash table from pairs of numbers to a number: merges by their two tokens, edges of a trie by node and byte. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define MLLAMA_NONE G_MAXUINT32

typedef struct {
  guint32 a, b, value; /* value NONE: free */
} MllamaPairSlot;

/* All zero is an empty map. */
typedef struct {
  MllamaPairSlot *slots; /* [1 << n_bits], probed linearly */
  guint n_bits;
  guint n_pairs;
} MllamaPairMap;

void mllama_pair_map_clear (MllamaPairMap *map);

/* FALSE, and the map as it was, if it holds the pair. value must not be MLLAMA_NONE. */
gboolean mllama_pair_map_insert (MllamaPairMap *map, guint32 a, guint32 b, guint32 value);

/* MLLAMA_NONE if the map does not hold the pair. */
guint32 mllama_pair_map_find (const MllamaPairMap *map, guint32 a, guint32 b);

G_END_DECLS
