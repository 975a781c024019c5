/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tokenizer-private.h"

#include <string.h>

#include "tokenizer-utf8.h"

MllamaTokenizer *
mllama_tokenizer_new (void)
{
  MllamaTokenizer *tokenizer = g_new0 (MllamaTokenizer, 1);

  tokenizer->n_refs = 1;
  mllama_vocabulary_init (&tokenizer->vocabulary);
  mllama_bpe_init (&tokenizer->bpe);
  tokenizer->prefix = g_array_new (FALSE, FALSE, sizeof (guint32));
  tokenizer->suffix = g_array_new (FALSE, FALSE, sizeof (guint32));
  return tokenizer;
}

MllamaTokenizer *
mllama_tokenizer_ref (MllamaTokenizer *tokenizer)
{
  g_atomic_int_inc (&tokenizer->n_refs);
  return tokenizer;
}

void
mllama_tokenizer_unref (MllamaTokenizer *tokenizer)
{
  if (!tokenizer || !g_atomic_int_dec_and_test (&tokenizer->n_refs))
    return;
  mllama_vocabulary_clear (&tokenizer->vocabulary);
  for (guint i = 0; i < G_N_ELEMENTS (tokenizer->added); i++)
    mllama_trie_clear (&tokenizer->added[i]);
  mllama_bpe_clear (&tokenizer->bpe);
  g_array_unref (tokenizer->prefix);
  g_array_unref (tokenizer->suffix);
  g_free (tokenizer);
}

gboolean
mllama_tokenizer_add_token (MllamaTokenizer *tokenizer, guint32 id, const char *spelling, gboolean is_special,
                            gboolean is_normalized)
{
  MllamaVocabulary *vocabulary = &tokenizer->vocabulary;
  gboolean is_control = is_special || (g_str_has_prefix (spelling, "<|") && g_str_has_suffix (spelling, "|>"));
  MllamaTokenFlags flags =
      MLLAMA_TOKEN_ADDED | (is_special ? MLLAMA_TOKEN_SPECIAL : 0) | (is_control ? MLLAMA_TOKEN_CONTROL : 0);

  if (mllama_vocabulary_get (vocabulary, id))
    mllama_vocabulary_get (vocabulary, id)->flags |= flags;
  else
    mllama_vocabulary_set (vocabulary, id, spelling, strlen (spelling), flags, FALSE);
  return mllama_trie_insert (&tokenizer->added[is_normalized], spelling, strlen (spelling), id, is_control);
}

/* --- encode --- */

typedef struct {
  const MllamaTokenizer *tokenizer;
  const char *text;
  gboolean with_control;
  const MllamaTextRange *literal;
  gsize n_literal;
  MllamaBpeScratch *scratch;
  GArray *ids;
} Encoder;

static void
encode_piece (const char *piece, gsize length, gpointer user_data)
{
  Encoder *encoder = user_data;

  mllama_bpe_encode (&encoder->tokenizer->bpe, &encoder->tokenizer->vocabulary, encoder->scratch, piece, length,
                     encoder->ids);
}

/* Text without added tokens. What is no UTF-8 is read as U+FFFD, as whoever made a string of it would have. */
static void
encode_text (Encoder *encoder, const char *text, gsize length)
{
  const MllamaPretokenizer *pretokenizer = &encoder->tokenizer->pretokenizer;
  g_autoptr (GString) valid = NULL;

  if (mllama_utf8_is_valid (text, length)) {
    mllama_pretokenizer_run (pretokenizer, text, length, encode_piece, encoder);
    return;
  }
  valid = g_string_sized_new (length);
  if (mllama_utf8_append (valid, text, length) > 0)
    g_string_append (valid, MLLAMA_UTF8_REPLACEMENT);
  mllama_pretokenizer_run (pretokenizer, valid->str, valid->len, encode_piece, encoder);
}

/* Text [start, end), in which the tokens of the tries before this one have been found. */
static void
encode_range (Encoder *encoder, gsize start, gsize end, guint trie)
{
  MllamaTrieMatch match;

  if (trie == G_N_ELEMENTS (encoder->tokenizer->added)) {
    encode_text (encoder, encoder->text + start, end - start);
    return;
  }
  while (start < end && mllama_trie_search (&encoder->tokenizer->added[trie], encoder->text, start, end,
                                            encoder->with_control, encoder->literal, encoder->n_literal, &match)) {
    encode_range (encoder, start, match.start, trie + 1);
    g_array_append_val (encoder->ids, match.id);
    start = match.end;
  }
  encode_range (encoder, start, end, trie + 1);
}

void
mllama_tokenizer_encode (MllamaTokenizer *tokenizer, const char *text, gssize length, MllamaTokenizeFlags flags,
                         const MllamaTextRange *literal, gsize n_literal, GArray *ids)
{
  gsize n = length < 0 ? strlen (text) : (gsize) length;
  gboolean adds = flags & MLLAMA_TOKENIZE_ADD;
  Encoder encoder = {
      .tokenizer = tokenizer,
      .text = text,
      .with_control = flags & MLLAMA_TOKENIZE_SPECIAL,
      .literal = literal,
      .n_literal = n_literal,
      .ids = ids,
  };

  g_return_if_fail (n <= G_MAXINT32);
  encoder.scratch = mllama_bpe_scratch_new ();
  if (adds)
    g_array_append_vals (ids, tokenizer->prefix->data, tokenizer->prefix->len);
  encode_range (&encoder, 0, n, 0);
  if (adds)
    g_array_append_vals (ids, tokenizer->suffix->data, tokenizer->suffix->len);
  mllama_bpe_scratch_free (encoder.scratch);
}

/* --- what it holds --- */

gint64
mllama_tokenizer_get_id (MllamaTokenizer *tokenizer, const char *spelling)
{
  guint32 id = MLLAMA_NONE;

  for (guint i = 0; i < G_N_ELEMENTS (tokenizer->added) && id == MLLAMA_NONE; i++)
    id = mllama_trie_find (&tokenizer->added[i], spelling, strlen (spelling));
  if (id == MLLAMA_NONE)
    id = mllama_vocabulary_find (&tokenizer->vocabulary, spelling, strlen (spelling));
  return id == MLLAMA_NONE ? -1 : (gint64) id;
}

const char *
mllama_tokenizer_get_spelling (MllamaTokenizer *tokenizer, guint32 id, gsize *length)
{
  gsize n;
  const char *spelling = mllama_vocabulary_get_spelling (&tokenizer->vocabulary, id, &n);

  if (length)
    *length = n;
  return spelling;
}

gboolean
mllama_tokenizer_is_special (MllamaTokenizer *tokenizer, guint32 id)
{
  const MllamaVocabularyEntry *entry = mllama_vocabulary_get (&tokenizer->vocabulary, id);

  return entry && entry->flags & MLLAMA_TOKEN_SPECIAL;
}

guint32
mllama_tokenizer_get_n_ids (MllamaTokenizer *tokenizer)
{
  return mllama_vocabulary_get_n_ids (&tokenizer->vocabulary);
}
