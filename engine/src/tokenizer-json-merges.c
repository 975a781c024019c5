/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* model.merges of tokenizer.json. */
#include "tokenizer-json.h"

#include <mllama/error.h>
#include <string.h>

#include "tokenizer-utf8.h"

typedef struct {
  const MllamaVocabulary *vocabulary;
  MllamaBpe *bpe;
  GString *bytes; /* scratch: a spelling out of its alphabet */
} Reader;

/* The id of a spelling of length bytes in the alphabet. */
static guint32
find_token (Reader *reader, const char *spelling, gsize length)
{
  g_autofree char *copy = g_strndup (spelling, length);

  g_string_truncate (reader->bytes, 0);
  if (!mllama_byte_alphabet_decode (copy, reader->bytes))
    return MLLAMA_NONE;
  return mllama_vocabulary_find (reader->vocabulary, reader->bytes->str, reader->bytes->len);
}

/* The id of what two tokens spell together. */
static guint32
find_joined (Reader *reader, guint32 left, guint32 right)
{
  gsize n_left, n_right;
  const char *left_bytes = mllama_vocabulary_get_spelling (reader->vocabulary, left, &n_left);
  const char *right_bytes = mllama_vocabulary_get_spelling (reader->vocabulary, right, &n_right);

  g_string_truncate (reader->bytes, 0);
  g_string_append_len (reader->bytes, left_bytes, n_left);
  g_string_append_len (reader->bytes, right_bytes, n_right);
  return mllama_vocabulary_find (reader->vocabulary, reader->bytes->str, reader->bytes->len);
}

/* The two sides of a merge: ["a", "b"], or "a b" in older files. */
static gboolean
split_merge (JsonNode *node, const char **left, gsize *n_left, const char **right)
{
  const char *space;

  if (JSON_NODE_HOLDS_ARRAY (node)) {
    JsonArray *pair = json_node_get_array (node);
    JsonNode *sides[2];

    if (json_array_get_length (pair) != 2)
      return FALSE;
    for (guint i = 0; i < 2; i++) {
      sides[i] = json_array_get_element (pair, i);
      if (!JSON_NODE_HOLDS_VALUE (sides[i]) || json_node_get_value_type (sides[i]) != G_TYPE_STRING)
        return FALSE;
    }
    *left = json_node_get_string (sides[0]);
    *right = json_node_get_string (sides[1]);
    *n_left = strlen (*left);
    return TRUE;
  }
  if (!JSON_NODE_HOLDS_VALUE (node) || json_node_get_value_type (node) != G_TYPE_STRING)
    return FALSE;
  *left = json_node_get_string (node);
  space = strchr (*left, ' ');
  if (!space || strchr (space + 1, ' '))
    return FALSE;
  *n_left = space - *left;
  *right = space + 1;
  return TRUE;
}

static gboolean
read_merge (Reader *reader, JsonNode *node, guint rank, GError **error)
{
  MllamaBpe *bpe = reader->bpe;
  const char *left, *right;
  gsize n_left;
  guint32 left_id, right_id, merged_id;

  if (!split_merge (node, &left, &n_left, &right)) {
    g_autofree char *found = mllama_json_describe (node);

    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED,
                                  "model.merges[%u] is %s; [\"a\", \"b\"] or \"a b\" is expected", rank, found);
  }
  left_id = find_token (reader, left, n_left);
  right_id = find_token (reader, right, strlen (right));
  merged_id = left_id == MLLAMA_NONE || right_id == MLLAMA_NONE ? MLLAMA_NONE : find_joined (reader, left_id, right_id);
  if (merged_id == MLLAMA_NONE)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED,
                                  "model.merges[%u] joins \"%.*s\" and \"%.64s\", but model.vocab lacks %s", rank,
                                  (int) MIN (n_left, 64), left, right,
                                  left_id == MLLAMA_NONE    ? "the first"
                                  : right_id == MLLAMA_NONE ? "the second"
                                                            : "both together");
  g_array_append_val (bpe->merged, merged_id);
  /* The text of a control token is cut out before BPE unless it is literal, and then it must not become that token. */
  if (mllama_vocabulary_get (reader->vocabulary, merged_id)->flags & MLLAMA_TOKEN_CONTROL)
    return TRUE;
  if (!mllama_pair_map_insert (&bpe->ranks, left_id, right_id, rank))
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED, "model.merges[%u] repeats an earlier one", rank);
  return TRUE;
}

gboolean
mllama_tokenizer_read_merges (MllamaTokenizer *tokenizer, JsonObject *model, GError **error)
{
  g_autoptr (GString) bytes = g_string_new (NULL);
  Reader reader = {&tokenizer->vocabulary, &tokenizer->bpe, bytes};
  JsonArray *merges = NULL;

  if (!mllama_json_get_array (model, "merges", &merges, MLLAMA_TOKENIZER_JSON, error))
    return FALSE;
  if (!merges)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED, "model.merges is missing");
  reader.bpe->merged = g_array_new (FALSE, FALSE, sizeof (guint32));
  for (guint i = 0; i < json_array_get_length (merges); i++)
    if (!read_merge (&reader, json_array_get_element (merges, i), i, error))
      return FALSE;
  return TRUE;
}
