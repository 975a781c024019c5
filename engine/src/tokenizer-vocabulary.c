/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tokenizer-vocabulary.h"

#include <string.h>

#define MIN_BITS 9

void
mllama_vocabulary_init (MllamaVocabulary *vocabulary)
{
  *vocabulary = (MllamaVocabulary){
      .bytes = g_string_new (NULL),
      .entries = g_array_new (FALSE, TRUE, sizeof (MllamaVocabularyEntry)),
  };
}

void
mllama_vocabulary_clear (MllamaVocabulary *vocabulary)
{
  if (vocabulary->bytes)
    g_string_free (vocabulary->bytes, TRUE);
  if (vocabulary->entries)
    g_array_unref (vocabulary->entries);
  g_free (vocabulary->slots);
  *vocabulary = (MllamaVocabulary){0};
}

static guint32
hash_bytes (const char *bytes, gsize length, guint n_bits)
{
  guint64 x = G_GUINT64_CONSTANT (0xcbf29ce484222325); /* FNV-1a, with the bits mixed at the end */

  for (gsize i = 0; i < length; i++)
    x = (x ^ (guchar) bytes[i]) * G_GUINT64_CONSTANT (0x100000001b3);
  x ^= x >> 32;
  return x * G_GUINT64_CONSTANT (0x9e3779b97f4a7c15) >> (64 - n_bits);
}

/* The slot that holds the spelling, or the free one where it belongs. */
static guint32 *
find_slot (const MllamaVocabulary *vocabulary, const char *spelling, gsize length)
{
  guint32 mask = (1u << vocabulary->n_bits) - 1;

  for (guint32 i = hash_bytes (spelling, length, vocabulary->n_bits);; i = (i + 1) & mask) {
    gsize n;
    const char *found;

    if (vocabulary->slots[i] == MLLAMA_NONE)
      return &vocabulary->slots[i];
    found = mllama_vocabulary_get_spelling (vocabulary, vocabulary->slots[i], &n);
    if (n == length && memcmp (found, spelling, n) == 0)
      return &vocabulary->slots[i];
  }
}

static void
grow (MllamaVocabulary *vocabulary)
{
  guint32 *old = vocabulary->slots;
  gsize n_old = old ? (gsize) 1 << vocabulary->n_bits : 0, n_new;

  vocabulary->n_bits = old ? vocabulary->n_bits + 1 : MIN_BITS;
  n_new = (gsize) 1 << vocabulary->n_bits;
  vocabulary->slots = g_new (guint32, n_new);
  memset (vocabulary->slots, 0xff, n_new * sizeof (guint32)); /* MLLAMA_NONE */
  for (gsize i = 0; i < n_old; i++) {
    gsize length;
    const char *spelling;

    if (old[i] == MLLAMA_NONE)
      continue;
    spelling = mllama_vocabulary_get_spelling (vocabulary, old[i], &length);
    *find_slot (vocabulary, spelling, length) = old[i];
  }
  g_free (old);
}

void
mllama_vocabulary_set (MllamaVocabulary *vocabulary, guint32 id, const char *spelling, gsize length,
                       MllamaTokenFlags flags, gboolean findable)
{
  MllamaVocabularyEntry *entry;

  if (id >= vocabulary->entries->len)
    g_array_set_size (vocabulary->entries, id + 1);
  entry = &g_array_index (vocabulary->entries, MllamaVocabularyEntry, id);
  *entry = (MllamaVocabularyEntry){vocabulary->bytes->len, length, flags | MLLAMA_TOKEN_KNOWN};
  g_string_append_len (vocabulary->bytes, spelling, length);
  g_string_append_c (vocabulary->bytes, '\0');
  if (!findable)
    return;
  /* At most half full. */
  if (!vocabulary->slots || 2 * (gsize) (vocabulary->n_findable + 1) > (gsize) 1 << vocabulary->n_bits)
    grow (vocabulary);
  *find_slot (vocabulary, spelling, length) = id;
  vocabulary->n_findable++;
}

guint32
mllama_vocabulary_find (const MllamaVocabulary *vocabulary, const char *spelling, gsize length)
{
  return vocabulary->slots ? *find_slot (vocabulary, spelling, length) : MLLAMA_NONE;
}
