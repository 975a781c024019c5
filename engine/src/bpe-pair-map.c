/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bpe-pair-map.h"

#define MIN_BITS 6

/* Multiplicative hashing: the best bits of the product are the top ones. */
static guint32
hash_pair (guint32 a, guint32 b, guint n_bits)
{
  guint64 x = ((guint64) a << 32 | b) * G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);

  x ^= x >> 29;
  return x * G_GUINT64_CONSTANT (0xbf58476d1ce4e5b9) >> (64 - n_bits);
}

/* The slot that holds the pair, or the free one where it belongs. */
static MllamaPairSlot *
find_slot (const MllamaPairMap *map, guint32 a, guint32 b)
{
  guint32 mask = (1u << map->n_bits) - 1;

  for (guint32 i = hash_pair (a, b, map->n_bits);; i = (i + 1) & mask) {
    MllamaPairSlot *slot = &map->slots[i];

    if (slot->value == MLLAMA_NONE || (slot->a == a && slot->b == b))
      return slot;
  }
}

static void
grow (MllamaPairMap *map)
{
  MllamaPairMap old = *map;
  gsize n_old = old.slots ? (gsize) 1 << old.n_bits : 0, n_new;

  map->n_bits = old.slots ? old.n_bits + 1 : MIN_BITS;
  n_new = (gsize) 1 << map->n_bits;
  map->slots = g_new (MllamaPairSlot, n_new);
  for (gsize i = 0; i < n_new; i++)
    map->slots[i].value = MLLAMA_NONE;
  for (gsize i = 0; i < n_old; i++)
    if (old.slots[i].value != MLLAMA_NONE)
      *find_slot (map, old.slots[i].a, old.slots[i].b) = old.slots[i];
  g_free (old.slots);
}

void
mllama_pair_map_clear (MllamaPairMap *map)
{
  g_clear_pointer (&map->slots, g_free);
  map->n_bits = map->n_pairs = 0;
}

gboolean
mllama_pair_map_insert (MllamaPairMap *map, guint32 a, guint32 b, guint32 value)
{
  MllamaPairSlot *slot;

  /* At most two thirds full. */
  if (!map->slots || (guint64) (map->n_pairs + 1) * 3 > (guint64) 2 << map->n_bits)
    grow (map);
  slot = find_slot (map, a, b);
  if (slot->value != MLLAMA_NONE)
    return FALSE;
  *slot = (MllamaPairSlot){a, b, value};
  map->n_pairs++;
  return TRUE;
}

guint32
mllama_pair_map_find (const MllamaPairMap *map, guint32 a, guint32 b)
{
  return map->slots ? find_slot (map, a, b)->value : MLLAMA_NONE;
}
