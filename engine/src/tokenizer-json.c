/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* tokenizer.json, as the `tokenizers` library writes it: the file as a whole, and its added tokens. */
#include "tokenizer-json.h"

#include <mllama/error.h>
#include <string.h>

gboolean
mllama_tokenizer_fail (GError **error, gint code, const char *format, ...)
{
  g_autofree char *cut = NULL, *message = NULL;
  va_list arguments;

  va_start (arguments, format);
  cut = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  /* A precision may have cut a character. */
  message = g_utf8_make_valid (cut, -1);
  g_set_error (error, MLLAMA_ERROR, code, MLLAMA_TOKENIZER_JSON ": %s", message);
  return FALSE;
}

/* --- added tokens --- */

/* Options that would change where such a token is found, or how much it takes. */
static gboolean
check_options (JsonObject *token, const char *content, GError **error)
{
  static const char *const options[] = {"single_word", "lstrip", "rstrip"};

  for (guint i = 0; i < G_N_ELEMENTS (options); i++) {
    gboolean value = FALSE;

    if (!mllama_json_get_boolean (token, options[i], &value, MLLAMA_TOKENIZER_JSON, error))
      return FALSE;
    if (value)
      return mllama_tokenizer_fail (error, MLLAMA_ERROR_UNSUPPORTED,
                                    "%s of the added token \"%s\" is true, which is not implemented", options[i],
                                    content);
  }
  return TRUE;
}

/* An added token may also be in the vocabulary, with the same id. */
static gboolean
check_id (MllamaTokenizer *tokenizer, guint id, const char *content, GError **error)
{
  const MllamaVocabularyEntry *entry = mllama_vocabulary_get (&tokenizer->vocabulary, id);
  guint32 other = mllama_vocabulary_find (&tokenizer->vocabulary, content, strlen (content));
  gsize length;
  const char *spelling = mllama_vocabulary_get_spelling (&tokenizer->vocabulary, id, &length);

  if (entry && entry->flags & MLLAMA_TOKEN_ADDED)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED, "the added tokens \"%s\" and \"%s\" have one id, %u",
                                  spelling, content, id);
  if (spelling && other != id && strcmp (spelling, content) != 0)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED,
                                  "the id %u of the added token \"%s\" is that of \"%s\" in model.vocab", id, content,
                                  spelling);
  if (other != MLLAMA_NONE && other != id)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED,
                                  "the added token \"%s\" has id %u, and id %u in model.vocab", content, id, other);
  return TRUE;
}

static gboolean
read_added_token (MllamaTokenizer *tokenizer, JsonNode *node, guint index, GError **error)
{
  JsonObject *token = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  const char *content = NULL;
  guint id = MLLAMA_NONE;
  gboolean is_special = FALSE, is_normalized = FALSE;

  if (!token)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED, "added_tokens[%u] is not an object", index);
  if (!mllama_json_get_string (token, "content", &content, MLLAMA_TOKENIZER_JSON, error) ||
      !mllama_json_get_uint (token, "id", 0, MLLAMA_MAX_TOKEN_IDS - 1, &id, MLLAMA_TOKENIZER_JSON, error) ||
      !mllama_json_get_boolean (token, "special", &is_special, MLLAMA_TOKENIZER_JSON, error) ||
      !mllama_json_get_boolean (token, "normalized", &is_normalized, MLLAMA_TOKENIZER_JSON, error))
    return FALSE;
  if (!content || !*content || id == MLLAMA_NONE || strlen (content) > MLLAMA_MAX_TOKEN_BYTES)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED,
                                  "added_tokens[%u] needs an id, and a content of 1 to %u bytes", index,
                                  MLLAMA_MAX_TOKEN_BYTES);
  if (!check_options (token, content, error) || !check_id (tokenizer, id, content, error))
    return FALSE;
  if (!mllama_tokenizer_add_token (tokenizer, id, content, is_special, is_normalized))
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED, "the token \"%s\" is added twice", content);
  return TRUE;
}

gboolean
mllama_tokenizer_read_added_tokens (MllamaTokenizer *tokenizer, JsonObject *root, GError **error)
{
  JsonArray *tokens = NULL;

  if (!mllama_json_get_array (root, "added_tokens", &tokens, MLLAMA_TOKENIZER_JSON, error))
    return FALSE;
  for (guint i = 0; tokens && i < json_array_get_length (tokens); i++)
    if (!read_added_token (tokenizer, json_array_get_element (tokens, i), i, error))
      return FALSE;
  return TRUE;
}

/* --- the file --- */

static gboolean
check_version (JsonObject *root, GError **error)
{
  const char *version = "1.0";

  if (!mllama_json_get_string (root, "version", &version, MLLAMA_TOKENIZER_JSON, error))
    return FALSE;
  if (strcmp (version, "1.0") != 0)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_UNSUPPORTED,
                                  "version is \"%s\"; \"1.0\" is the one that is implemented", version);
  return TRUE;
}

static gboolean
read_root (MllamaTokenizer *tokenizer, JsonObject *root, GError **error)
{
  JsonObject *model = NULL;

  if (!check_version (root, error) || !mllama_json_get_object (root, "model", &model, MLLAMA_TOKENIZER_JSON, error))
    return FALSE;
  if (!model)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED, "model is missing");
  return mllama_tokenizer_read_components (tokenizer, root, error) &&
         mllama_tokenizer_read_vocabulary (tokenizer, model, error) &&
         mllama_tokenizer_read_added_tokens (tokenizer, root, error) &&
         mllama_tokenizer_read_merges (tokenizer, model, error) &&
         mllama_tokenizer_read_post_processor (tokenizer, root, error);
}

/* truncation and padding are left alone: transformers sets both anew for each call. */
MllamaTokenizer *
mllama_tokenizer_new_from_json (const char *json, gsize length, GError **error)
{
  g_autoptr (MllamaTokenizer) tokenizer = mllama_tokenizer_new ();
  g_autoptr (JsonParser) parser = mllama_json_parse (json, length, MLLAMA_TOKENIZER_JSON, error);

  if (!parser || !read_root (tokenizer, json_node_get_object (json_parser_get_root (parser)), error))
    return NULL;
  return g_steal_pointer (&tokenizer);
}

MllamaTokenizer *
mllama_tokenizer_new_from_directory (const char *directory, GError **error)
{
  static const struct {
    const char *name;
    MllamaTokenizer *(*read) (const char *text, gsize length, GError **error);
  } files[] = {
      {MLLAMA_TOKENIZER_JSON, mllama_tokenizer_new_from_json},
      {"tokenizer.model", mllama_tokenizer_new_from_tiktoken},
  };

  for (guint i = 0; i < G_N_ELEMENTS (files); i++) {
    g_autofree char *path = g_build_filename (directory, files[i].name, NULL), *text = NULL;
    g_autoptr (GError) failure = NULL;
    MllamaTokenizer *tokenizer;
    gsize length;

    if (!mllama_read_file (path, MLLAMA_JSON_MAX_BYTES, &text, &length, &failure)) {
      if (g_error_matches (failure, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND))
        continue;
      g_propagate_error (error, g_steal_pointer (&failure));
      return NULL;
    }
    tokenizer = files[i].read (text, length, error);
    if (!tokenizer)
      g_prefix_error (error, "%s" G_DIR_SEPARATOR_S, directory);
    return tokenizer;
  }
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND,
               "%s holds neither tokenizer.json nor tokenizer.model; download one of them with the checkpoint",
               directory);
  return NULL;
}
