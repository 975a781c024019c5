/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A tokenizer.json or a tokenizer.model, a line of four bytes ff, and a text for it. Whatever loads must give ids that
 * it knows, and decode them in pieces as it does at once. */
#include <string.h>

#include <mllama/error.h>
#include <mllama/tokenizer.h>

int LLVMFuzzerTestOneInput (const guint8 *data, size_t size);

static const char separator[] = "\xff\xff\xff\xff\n";

static void
check_decoding (MllamaTokenizer *tokenizer, const GArray *ids, gboolean skip_special)
{
  g_autoptr (MllamaTokenDecoder) decoder = mllama_token_decoder_new (tokenizer, skip_special);
  g_autoptr (GString) streamed = g_string_new (NULL);
  g_autofree char *whole = NULL;
  gsize length;

  for (guint i = 0; i < ids->len; i++)
    mllama_token_decoder_push (decoder, g_array_index (ids, guint32, i), streamed);
  mllama_token_decoder_finish (decoder, streamed);
  whole = mllama_tokenizer_decode (tokenizer, (const guint32 *) ids->data, ids->len, skip_special, &length);
  g_assert_cmpmem (whole, length, streamed->str, streamed->len);
  for (gsize i = 0; i < length; i += strlen (whole + i) + 1)
    g_assert_true (g_utf8_validate (whole + i, -1, NULL));
}

static void
check_text (MllamaTokenizer *tokenizer, const char *text, gsize length, MllamaTokenizeFlags flags)
{
  g_autoptr (GArray) ids = g_array_new (FALSE, FALSE, sizeof (guint32));
  const MllamaTextRange literal[] = {{length / 4, length / 3}, {length / 2, length}};

  mllama_tokenizer_encode (tokenizer, text, length, flags, literal, flags ? G_N_ELEMENTS (literal) : 0, ids);
  for (guint i = 0; i < ids->len; i++) {
    guint32 id = g_array_index (ids, guint32, i);

    g_assert_cmpuint (id, <, mllama_tokenizer_get_n_ids (tokenizer));
    g_assert_nonnull (mllama_tokenizer_get_spelling (tokenizer, id, NULL));
  }
  check_decoding (tokenizer, ids, flags != MLLAMA_TOKENIZE_PLAIN);
}

int
LLVMFuzzerTestOneInput (const guint8 *data, size_t size)
{
  const guint8 *end = memmem (data, size, separator, strlen (separator));
  gsize length = end ? (gsize) (end - data) : size;
  g_autofree char *file = g_strndup ((const char *) data, length);
  g_autoptr (GError) error = NULL;
  g_autoptr (MllamaTokenizer) tokenizer = NULL;

  if (length > 0 && data[0] == '{')
    tokenizer = mllama_tokenizer_new_from_json (file, length, &error);
  else
    tokenizer = mllama_tokenizer_new_from_tiktoken (file, length, &error);
  g_assert_true (!tokenizer == !!error);
  if (!tokenizer) {
    g_assert_true (error->domain == MLLAMA_ERROR && g_utf8_validate (error->message, -1, NULL));
    return 0;
  }
  if (end) {
    const char *text = (const char *) end + strlen (separator);
    gsize n = size - length - strlen (separator);

    check_text (tokenizer, text, n, MLLAMA_TOKENIZE_PLAIN);
    check_text (tokenizer, text, n, MLLAMA_TOKENIZE_SPECIAL | MLLAMA_TOKENIZE_ADD);
  }
  return 0;
}
