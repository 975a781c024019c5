/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* model of tokenizer.json, but for its merges: BPE over the byte-level alphabet. */
#include "tokenizer-json.h"

#include <mllama/error.h>
#include <string.h>

#include "tokenizer-utf8.h"

/* --- options --- */

static gboolean
check_affixes (JsonObject *model, GError **error)
{
  static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};

  for (guint i = 0; i < G_N_ELEMENTS (affixes); i++) {
    const char *affix = "";

    if (!mllama_json_get_string (model, affixes[i], &affix, MLLAMA_TOKENIZER_JSON, error))
      return FALSE;
    if (*affix)
      return mllama_tokenizer_fail (error, MLLAMA_ERROR_UNSUPPORTED, "model.%s is \"%s\"; only none is implemented",
                                    affixes[i], affix);
  }
  return TRUE;
}

static gboolean
check_options (JsonObject *model, GError **error)
{
  const char *type = "BPE";
  double dropout = 0;
  gboolean byte_fallback = FALSE;

  if (!mllama_json_get_string (model, "type", &type, MLLAMA_TOKENIZER_JSON, error) ||
      !mllama_json_get_double (model, "dropout", 0, 1, &dropout, MLLAMA_TOKENIZER_JSON, error) ||
      !mllama_json_get_boolean (model, "byte_fallback", &byte_fallback, MLLAMA_TOKENIZER_JSON, error))
    return FALSE;
  if (strcmp (type, "BPE") != 0)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_UNSUPPORTED,
                                  "model.type is \"%s\"; \"BPE\" is the one that is implemented", type);
  if (dropout > 0)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_UNSUPPORTED,
                                  "model.dropout is set, which makes ids random; only none is implemented");
  if (byte_fallback)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_UNSUPPORTED,
                                  "model.byte_fallback is true, which is not implemented");
  return check_affixes (model, error);
}

/* --- vocabulary --- */

static gboolean
read_id (JsonNode *node, guint32 *id)
{
  gint64 value;

  if (!JSON_NODE_HOLDS_VALUE (node) || json_node_get_value_type (node) != G_TYPE_INT64)
    return FALSE;
  value = json_node_get_int (node);
  *id = value;
  return value >= 0 && value < MLLAMA_MAX_TOKEN_IDS;
}

/* What is not spelled in the alphabet is no token of BPE: it may be an added token, which is found by other means. */
static gboolean
read_entry (MllamaVocabulary *vocabulary, const char *spelling, JsonNode *node, GString *bytes, GError **error)
{
  gsize length = strlen (spelling);
  guint32 id;

  if (!read_id (node, &id)) {
    g_autofree char *found = mllama_json_describe (node);

    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED,
                                  "the id of \"%.64s\" in model.vocab is %s; an integer from 0 to %u is expected",
                                  spelling, found, MLLAMA_MAX_TOKEN_IDS - 1);
  }
  if (length == 0 || length > MLLAMA_MAX_TOKEN_BYTES)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED,
                                  "the spelling of id %u in model.vocab has %" G_GSIZE_FORMAT
                                  " bytes; 1 to %u are expected",
                                  id, length, MLLAMA_MAX_TOKEN_BYTES);
  if (mllama_vocabulary_get (vocabulary, id))
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED,
                                  "two tokens of model.vocab have id %u, and \"%.64s\" is the second", id, spelling);
  g_string_truncate (bytes, 0);
  if (mllama_byte_alphabet_decode (spelling, bytes))
    mllama_vocabulary_set (vocabulary, id, bytes->str, bytes->len, 0, TRUE);
  else
    mllama_vocabulary_set (vocabulary, id, spelling, length, 0, FALSE);
  return TRUE;
}

static gboolean
read_entries (MllamaVocabulary *vocabulary, JsonObject *vocab, GError **error)
{
  g_autoptr (GString) bytes = g_string_new (NULL);
  JsonObjectIter iter;
  const char *spelling;
  JsonNode *node;

  json_object_iter_init (&iter, vocab);
  while (json_object_iter_next (&iter, &spelling, &node))
    if (!read_entry (vocabulary, spelling, node, bytes, error))
      return FALSE;
  return TRUE;
}

/* Bytes that are no token become the unknown token, or nothing if there is none. A vocabulary that knows every byte may
 * name one that does not exist. */
static gboolean
read_unknown (MllamaBpe *bpe, JsonObject *model, JsonObject *vocab, GError **error)
{
  const char *unknown = NULL;
  gboolean is_needed = FALSE;

  if (!mllama_json_get_string (model, "unk_token", &unknown, MLLAMA_TOKENIZER_JSON, error) ||
      !mllama_json_get_boolean (model, "fuse_unk", &bpe->fuse_unknown, MLLAMA_TOKENIZER_JSON, error))
    return FALSE;
  for (guint i = 0; i < 256; i++)
    is_needed |= bpe->byte_ids[i] == MLLAMA_NONE;
  if (!unknown || !is_needed)
    return TRUE;
  if (!json_object_has_member (vocab, unknown))
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED,
                                  "model.unk_token is \"%.64s\", which model.vocab lacks", unknown);
  return read_id (json_object_get_member (vocab, unknown), &bpe->unknown_id);
}

gboolean
mllama_tokenizer_read_vocabulary (MllamaTokenizer *tokenizer, JsonObject *model, GError **error)
{
  MllamaBpe *bpe = &tokenizer->bpe;
  JsonObject *vocab = NULL;

  if (!check_options (model, error) || !mllama_json_get_object (model, "vocab", &vocab, MLLAMA_TOKENIZER_JSON, error) ||
      !mllama_json_get_boolean (model, "ignore_merges", &bpe->ignore_merges, MLLAMA_TOKENIZER_JSON, error))
    return FALSE;
  if (!vocab || json_object_get_size (vocab) == 0)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED, "model.vocab is missing or empty");
  if (!read_entries (&tokenizer->vocabulary, vocab, error))
    return FALSE;
  mllama_bpe_set_vocabulary (bpe, &tokenizer->vocabulary);
  return read_unknown (bpe, model, vocab, error);
}
