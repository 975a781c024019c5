/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <mllama/tokenizer.h>

#include "bpe.h"
#include "pretokenizer.h"
#include "tokenizer-trie.h"
#include "tokenizer-vocabulary.h"

G_BEGIN_DECLS

struct _MllamaTokenizer {
  gint n_refs; /* atomic */
  MllamaVocabulary vocabulary;
  MllamaTrie added[2]; /* the second is searched in what the first leaves: tokens that a normalizer would apply to */
  MllamaPretokenizer pretokenizer;
  MllamaBpe bpe;
  GArray *prefix, *suffix; /* guint32: what the post-processor puts around a text */
};

/* An empty tokenizer, for the two readers. */
MllamaTokenizer *mllama_tokenizer_new (void);

/* A token that is looked for in the text before BPE; the id may be in the vocabulary, with the same spelling. Control
 * tokens are the special ones, and whatever else has their form, <|...|>: a user's text must not spell the end of a
 * turn because somebody added that token in another way. FALSE if the spelling was added before. */
gboolean mllama_tokenizer_add_token (MllamaTokenizer *tokenizer, guint32 id, const char *spelling, gboolean is_special,
                                     gboolean is_normalized);

G_END_DECLS
