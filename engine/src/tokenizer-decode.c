/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tokenizer-private.h"
#include "tokenizer-utf8.h"

struct _MllamaTokenDecoder {
  MllamaTokenizer *tokenizer;
  gboolean skip_special;
  GString *pending; /* start of a character, at most three bytes between calls */
};

MllamaTokenDecoder *
mllama_token_decoder_new (MllamaTokenizer *tokenizer, gboolean skip_special)
{
  MllamaTokenDecoder *decoder = g_new (MllamaTokenDecoder, 1);

  *decoder = (MllamaTokenDecoder){mllama_tokenizer_ref (tokenizer), skip_special, g_string_new (NULL)};
  return decoder;
}

void
mllama_token_decoder_push (MllamaTokenDecoder *decoder, guint32 id, GString *text)
{
  gsize length;
  const char *spelling = mllama_tokenizer_get_spelling (decoder->tokenizer, id, &length);
  gsize n_left;

  if (!spelling || (decoder->skip_special && mllama_tokenizer_is_special (decoder->tokenizer, id)))
    return;
  g_string_append_len (decoder->pending, spelling, length);
  n_left = mllama_utf8_append (text, decoder->pending->str, decoder->pending->len);
  g_string_erase (decoder->pending, 0, decoder->pending->len - n_left);
}

void
mllama_token_decoder_finish (MllamaTokenDecoder *decoder, GString *text)
{
  if (decoder->pending->len > 0)
    g_string_append (text, MLLAMA_UTF8_REPLACEMENT);
  g_string_truncate (decoder->pending, 0);
}

void
mllama_token_decoder_free (MllamaTokenDecoder *decoder)
{
  if (!decoder)
    return;
  mllama_tokenizer_unref (decoder->tokenizer);
  g_string_free (decoder->pending, TRUE);
  g_free (decoder);
}

char *
mllama_tokenizer_decode (MllamaTokenizer *tokenizer, const guint32 *ids, gsize n_ids, gboolean skip_special,
                         gsize *length)
{
  g_autoptr (MllamaTokenDecoder) decoder = mllama_token_decoder_new (tokenizer, skip_special);
  GString *text = g_string_new (NULL);

  for (gsize i = 0; i < n_ids; i++)
    mllama_token_decoder_push (decoder, ids[i], text);
  mllama_token_decoder_finish (decoder, text);
  if (length)
    *length = text->len;
  return g_string_free (text, FALSE);
}
