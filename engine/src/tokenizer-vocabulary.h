/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ids and their spellings, in bytes. Two kinds of spelling share the ids: those of BPE's tokens, found by their bytes,
 * and those of added tokens, which are found in the text by a trie and only looked up by id here. */
#pragma once

#include "bpe-pair-map.h"

G_BEGIN_DECLS

/* Ids lie below it: a damaged file must not make a table of gigabytes. */
#define MLLAMA_MAX_TOKEN_IDS (1u << 22)

typedef enum {
  MLLAMA_TOKEN_KNOWN = 1 << 0,
  MLLAMA_TOKEN_ADDED = 1 << 1,
  MLLAMA_TOKEN_SPECIAL = 1 << 2, /* skipped by decode on request */
  MLLAMA_TOKEN_CONTROL = 1 << 3, /* never made from literal text */
} MllamaTokenFlags;

typedef struct {
  guint32 start, length; /* within bytes */
  guint8 flags;
} MllamaVocabularyEntry;

typedef struct {
  GString *bytes;  /* the spellings, each followed by NUL */
  GArray *entries; /* MllamaVocabularyEntry by id; flags 0: no such id */
  guint32 *slots;  /* [1 << n_bits] hash table of ids by spelling, probed linearly */
  guint n_bits;
  guint n_findable;
} MllamaVocabulary;

void mllama_vocabulary_init (MllamaVocabulary *vocabulary);
void mllama_vocabulary_clear (MllamaVocabulary *vocabulary);

/* mllama_vocabulary_set: gives a free id its spelling. Findable spellings must differ. */
void mllama_vocabulary_set (MllamaVocabulary *vocabulary, guint32 id, const char *spelling, gsize length,
                            MllamaTokenFlags flags, gboolean findable);

/* The id of a findable spelling, or MLLAMA_NONE. */
guint32 mllama_vocabulary_find (const MllamaVocabulary *vocabulary, const char *spelling, gsize length);

/* Largest known id + 1. */
static inline guint32
mllama_vocabulary_get_n_ids (const MllamaVocabulary *vocabulary)
{
  return vocabulary->entries->len;
}

/* NULL if there is no such id. */
static inline MllamaVocabularyEntry *
mllama_vocabulary_get (const MllamaVocabulary *vocabulary, guint32 id)
{
  MllamaVocabularyEntry *entry;

  if (id >= vocabulary->entries->len)
    return NULL;
  entry = &g_array_index (vocabulary->entries, MllamaVocabularyEntry, id);
  return entry->flags ? entry : NULL;
}

static inline const char *
mllama_vocabulary_get_spelling (const MllamaVocabulary *vocabulary, guint32 id, gsize *length)
{
  const MllamaVocabularyEntry *entry = mllama_vocabulary_get (vocabulary, id);

  *length = entry ? entry->length : 0;
  return entry ? vocabulary->bytes->str + entry->start : NULL;
}

G_END_DECLS
