/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* tokenizer.model in tiktoken's form: a line for each token, base64 of its bytes and its rank. The file holds neither
 * merges nor special tokens: any two tokens merge that spell a third one together, the third of lowest rank first; and
 * the special tokens are those of Llama 3.2-Vision, from the first id that is no rank. */
#include <mllama/error.h>
#include <string.h>

#include "tokenizer-private.h"

#define ORIGIN "tokenizer.model"

/* All ways to split a token are looked up, in time square to its length; the longest of Llama's has 128 bytes. */
#define MAX_TOKEN_BYTES 256

#define N_RESERVED  256 /* special tokens but the image mark, which is the last */
#define IMAGE_TOKEN "<|image|>"

static const char *const special_tokens[] = {
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|step_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
};

static gboolean
fail (GError **error, guint line, const char *what)
{
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED, ORIGIN ", line %u: %s", line, what);
  return FALSE;
}

/* Bytes of a base64 text in its canonical form, or NULL. */
static guchar *
decode_base64 (const char *text, gsize length, gsize *n_bytes)
{
  g_autofree char *copy = g_strndup (text, length), *again = NULL;
  g_autofree guchar *bytes = g_base64_decode (copy, n_bytes);

  /* GLib skips what is no base64, so see whether it has. */
  again = g_base64_encode (bytes, *n_bytes);
  return strcmp (again, copy) == 0 ? g_steal_pointer (&bytes) : NULL;
}

static gboolean
parse_rank (const char *text, gsize length, guint32 *rank)
{
  guint64 value = 0;

  for (gsize i = 0; i < length; i++) {
    if (!g_ascii_isdigit (text[i]) || value >= MLLAMA_MAX_TOKEN_IDS)
      return FALSE;
    value = value * 10 + g_ascii_digit_value (text[i]);
  }
  *rank = value;
  return length > 0 && value < MLLAMA_MAX_TOKEN_IDS - N_RESERVED - 1;
}

static gboolean
read_line (MllamaVocabulary *vocabulary, const char *line, gsize length, guint number, GError **error)
{
  const char *space = memchr (line, ' ', length);
  g_autofree guchar *bytes = NULL;
  gsize n_bytes;
  guint32 rank;

  if (!space || !parse_rank (space + 1, line + length - space - 1, &rank))
    return fail (error, number, "base64, one space and a rank are expected");
  bytes = decode_base64 (line, space - line, &n_bytes);
  if (!bytes || n_bytes == 0 || n_bytes > MAX_TOKEN_BYTES)
    return fail (error, number, "the base64 of 1 to " G_STRINGIFY (MAX_TOKEN_BYTES) " bytes is expected");
  if (mllama_vocabulary_get (vocabulary, rank))
    return fail (error, number, "an earlier line has the same rank");
  if (mllama_vocabulary_find (vocabulary, (char *) bytes, n_bytes) != MLLAMA_NONE)
    return fail (error, number, "an earlier line has the same token");
  mllama_vocabulary_set (vocabulary, rank, (char *) bytes, n_bytes, 0, TRUE);
  return TRUE;
}

static gboolean
read_lines (MllamaVocabulary *vocabulary, const char *data, gsize length, GError **error)
{
  const char *end = data + length;

  for (guint number = 1; data < end; number++) {
    const char *newline = memchr (data, '\n', end - data);
    gsize n = (newline ? newline : end) - data;

    if (n > 0 && data[n - 1] == '\r')
      n--;
    if (n > 0 && !read_line (vocabulary, data, n, number, error))
      return FALSE;
    data = newline ? newline + 1 : end;
  }
  return TRUE;
}

/* Ranks must leave no hole, since special tokens are counted from their end; and every byte must be a token. */
static gboolean
check_vocabulary (const MllamaTokenizer *tokenizer, GError **error)
{
  guint32 n = mllama_vocabulary_get_n_ids (&tokenizer->vocabulary);

  for (guint32 id = 0; id < n; id++)
    if (!mllama_vocabulary_get (&tokenizer->vocabulary, id)) {
      g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                   ORIGIN ": the ranks go up to %u, but %u is missing; the file may be cut short", n - 1, id);
      return FALSE;
    }
  for (guint byte = 0; byte < 256; byte++)
    if (tokenizer->bpe.byte_ids[byte] == MLLAMA_NONE) {
      g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                   ORIGIN ": byte %u is no token, and all 256 must be; the file may be cut short", byte);
      return FALSE;
    }
  return TRUE;
}

static void
derive_merges (MllamaTokenizer *tokenizer)
{
  const MllamaVocabulary *vocabulary = &tokenizer->vocabulary;

  for (guint32 id = 0; id < mllama_vocabulary_get_n_ids (vocabulary); id++) {
    gsize length;
    const char *bytes = mllama_vocabulary_get_spelling (vocabulary, id, &length);

    for (gsize i = 1; i < length; i++) {
      guint32 left = mllama_vocabulary_find (vocabulary, bytes, i);
      guint32 right = left == MLLAMA_NONE ? MLLAMA_NONE : mllama_vocabulary_find (vocabulary, bytes + i, length - i);

      if (right != MLLAMA_NONE)
        mllama_pair_map_insert (&tokenizer->bpe.ranks, left, right, id);
    }
  }
}

static void
add_special_tokens (MllamaTokenizer *tokenizer)
{
  guint32 first = mllama_vocabulary_get_n_ids (&tokenizer->vocabulary);

  for (guint i = 0; i < N_RESERVED; i++) {
    g_autofree char *reserved = g_strdup_printf ("<|reserved_special_token_%u|>", i - 9);

    mllama_tokenizer_add_token (tokenizer, first + i, i < G_N_ELEMENTS (special_tokens) ? special_tokens[i] : reserved,
                                TRUE, FALSE);
  }
  mllama_tokenizer_add_token (tokenizer, first + N_RESERVED, IMAGE_TOKEN, TRUE, FALSE);
}

MllamaTokenizer *
mllama_tokenizer_new_from_tiktoken (const char *data, gsize length, GError **error)
{
  g_autoptr (MllamaTokenizer) tokenizer = mllama_tokenizer_new ();

  tokenizer->pretokenizer.split = MLLAMA_SPLIT_LLAMA3;
  tokenizer->bpe.ignore_merges = TRUE;
  if (!read_lines (&tokenizer->vocabulary, data, length, error))
    return NULL;
  mllama_bpe_set_vocabulary (&tokenizer->bpe, &tokenizer->vocabulary);
  if (!check_vocabulary (tokenizer, error))
    return NULL;
  derive_merges (tokenizer);
  add_special_tokens (tokenizer);
  return g_steal_pointer (&tokenizer);
}
