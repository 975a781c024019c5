/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Byte-pair encoding: of all adjacent pairs of tokens that a merge names, the one of the lowest rank, the leftmost of
 * equals, becomes one token, until there is none. */
#pragma once

#include "tokenizer-vocabulary.h"

G_BEGIN_DECLS

typedef struct {
  MllamaPairMap ranks;    /* pair of ids -> rank; lower goes first */
  GArray *merged;         /* guint32 by rank: what the pair becomes. NULL: the rank is the id */
  guint32 byte_ids[256];  /* NONE: not in the vocabulary */
  guint32 unknown_id;     /* for such bytes; NONE: they are dropped */
  gboolean fuse_unknown;  /* one for all in a row */
  gboolean ignore_merges; /* a piece that is a token needs no merges */
} MllamaBpe;

/* Scratch memory, for one thread. */
typedef struct _MllamaBpeScratch MllamaBpeScratch;

void mllama_bpe_init (MllamaBpe *bpe);
void mllama_bpe_clear (MllamaBpe *bpe);

/* Looks up byte_ids. */
void mllama_bpe_set_vocabulary (MllamaBpe *bpe, const MllamaVocabulary *vocabulary);

MllamaBpeScratch *mllama_bpe_scratch_new (void);
void mllama_bpe_scratch_free (MllamaBpeScratch *scratch);

/* mllama_bpe_encode: appends the piece's tokens to ids. O(n log n) in its bytes, of which there may be 2^31. */
void mllama_bpe_encode (const MllamaBpe *bpe, const MllamaVocabulary *vocabulary, MllamaBpeScratch *scratch,
                        const char *piece, gsize length, GArray *ids);

G_END_DECLS
