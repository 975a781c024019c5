/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* normalizer, pre_tokenizer, decoder and post_processor of tokenizer.json. */
#include "tokenizer-json.h"

#include <mllama/error.h>
#include <string.h>

static gboolean
refuse (GError **error, const char *where, const char *found, const char *implemented)
{
  return mllama_tokenizer_fail (error, MLLAMA_ERROR_UNSUPPORTED, "%s is %.256s, which is not implemented; %s", where,
                                found, implemented);
}

/* The object and its type; *component NULL if it is null. */
static gboolean
read_component (JsonNode *node, const char *where, JsonObject **component, const char **type, GError **error)
{
  *component = NULL;
  *type = "null";
  if (!node || JSON_NODE_HOLDS_NULL (node))
    return TRUE;
  if (JSON_NODE_HOLDS_OBJECT (node)) {
    *type = NULL;
    if (!mllama_json_get_string (json_node_get_object (node), "type", type, MLLAMA_TOKENIZER_JSON, error))
      return FALSE;
  }
  if (!*type || !JSON_NODE_HOLDS_OBJECT (node))
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED, "%s is not an object with a type", where);
  *component = json_node_get_object (node);
  return TRUE;
}

typedef gboolean (*PartFunc) (MllamaTokenizer *tokenizer, JsonObject *part, const char *type, const char *where,
                              GError **error);

/* Calls func for the component, or for each part of a Sequence in order, or for none of null. */
static gboolean
read_parts (MllamaTokenizer *tokenizer, JsonNode *node, const char *where, const char *list, PartFunc func,
            GError **error)
{
  JsonObject *component;
  JsonArray *parts = NULL;
  const char *type;

  if (!read_component (node, where, &component, &type, error))
    return FALSE;
  if (!component || strcmp (type, "Sequence") != 0)
    return !component || func (tokenizer, component, type, where, error);
  if (!mllama_json_get_array (component, list, &parts, MLLAMA_TOKENIZER_JSON, error))
    return FALSE;
  if (!parts)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED, "%s.%s is missing", where, list);
  for (guint i = 0; i < json_array_get_length (parts); i++) {
    g_autofree char *place = g_strdup_printf ("%s.%s[%u]", where, list, i);

    if (!read_parts (tokenizer, json_array_get_element (parts, i), place, list, func, error))
      return FALSE;
  }
  return TRUE;
}

/* --- normalizer and decoder --- */

static gboolean
refuse_normalizer (MllamaTokenizer *tokenizer, JsonObject *part, const char *type, const char *where, GError **error)
{
  return refuse (error, where, type, "only null is");
}

static gboolean
read_decoder (MllamaTokenizer *tokenizer, JsonObject *part, const char *type, const char *where, GError **error)
{
  return strcmp (type, "ByteLevel") == 0 || refuse (error, where, type, "\"ByteLevel\" is");
}

/* --- pre_tokenizer --- */

/* The patterns match all of any text, so that what lies between matches is empty: isolating matches, and removing what
 * is none (invert), come to the same. */
static gboolean
check_behavior (JsonObject *part, const char *where, GError **error)
{
  const char *behavior = "";
  gboolean invert = FALSE;

  if (!mllama_json_get_string (part, "behavior", &behavior, MLLAMA_TOKENIZER_JSON, error) ||
      !mllama_json_get_boolean (part, "invert", &invert, MLLAMA_TOKENIZER_JSON, error))
    return FALSE;
  if (strcmp (behavior, "Isolated") == 0 || (strcmp (behavior, "Removed") == 0 && invert))
    return TRUE;
  return mllama_tokenizer_fail (error, MLLAMA_ERROR_UNSUPPORTED,
                                "%s has behavior \"%s\"%s, which is not implemented; \"Isolated\" is", where, behavior,
                                invert ? ", inverted" : "");
}

static gboolean
read_split (MllamaTokenizer *tokenizer, JsonObject *part, const char *where, GError **error)
{
  JsonObject *pattern = NULL;
  const char *regex = NULL;

  if (tokenizer->pretokenizer.split != MLLAMA_SPLIT_NONE)
    return refuse (error, where, "a second Split", "one is");
  if (!mllama_json_get_object (part, "pattern", &pattern, MLLAMA_TOKENIZER_JSON, error) ||
      (pattern && !mllama_json_get_string (pattern, "Regex", &regex, MLLAMA_TOKENIZER_JSON, error)))
    return FALSE;
  if (regex && strcmp (regex, MLLAMA_SPLIT_LLAMA3_PATTERN) == 0)
    tokenizer->pretokenizer.split = MLLAMA_SPLIT_LLAMA3;
  else if (regex && strcmp (regex, MLLAMA_SPLIT_GPT2_PATTERN) == 0)
    tokenizer->pretokenizer.split = MLLAMA_SPLIT_GPT2;
  else
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_UNSUPPORTED,
                                  "%s splits by the pattern %.512s, which is not implemented; those of Llama 3 and "
                                  "GPT-2 are, as expressions spelled as their files spell them",
                                  where, regex ? regex : "of a plain string");
  return check_behavior (part, where, error);
}

static gboolean
read_byte_level (MllamaTokenizer *tokenizer, JsonObject *part, GError **error)
{
  MllamaPretokenizer *pretokenizer = &tokenizer->pretokenizer;
  gboolean use_regex = TRUE;

  pretokenizer->is_byte_level = TRUE;
  pretokenizer->add_prefix_space = TRUE;
  if (!mllama_json_get_boolean (part, "use_regex", &use_regex, MLLAMA_TOKENIZER_JSON, error) ||
      !mllama_json_get_boolean (part, "add_prefix_space", &pretokenizer->add_prefix_space, MLLAMA_TOKENIZER_JSON,
                                error))
    return FALSE;
  pretokenizer->byte_level_split = use_regex ? MLLAMA_SPLIT_GPT2 : MLLAMA_SPLIT_NONE;
  return TRUE;
}

static gboolean
read_pre_tokenizer (MllamaTokenizer *tokenizer, JsonObject *part, const char *type, const char *where, GError **error)
{
  if (tokenizer->pretokenizer.is_byte_level)
    return refuse (error, where, type, "nothing may follow ByteLevel");
  if (strcmp (type, "Split") == 0)
    return read_split (tokenizer, part, where, error);
  if (strcmp (type, "ByteLevel") == 0)
    return read_byte_level (tokenizer, part, error);
  return refuse (error, where, type, "Split and ByteLevel are");
}

gboolean
mllama_tokenizer_read_components (MllamaTokenizer *tokenizer, JsonObject *root, GError **error)
{
  if (!read_parts (tokenizer, json_object_get_member (root, "normalizer"), "normalizer", "normalizers",
                   refuse_normalizer, error) ||
      !read_parts (tokenizer, json_object_get_member (root, "pre_tokenizer"), "pre_tokenizer", "pretokenizers",
                   read_pre_tokenizer, error))
    return FALSE;
  if (!tokenizer->pretokenizer.is_byte_level)
    return refuse (error, "pre_tokenizer", "without ByteLevel", "it must end in one");
  if (!mllama_json_has (root, "decoder"))
    return refuse (error, "decoder", "null", "\"ByteLevel\" is");
  return read_parts (tokenizer, json_object_get_member (root, "decoder"), "decoder", "decoders", read_decoder, error);
}

/* --- post_processor --- */

/* Appends the ids that special_tokens gives for a name. */
static gboolean
read_template_token (MllamaTokenizer *tokenizer, JsonObject *part, const char *name, const char *where, GArray *ids,
                     GError **error)
{
  JsonObject *tokens = NULL, *token = NULL;
  g_autofree guint32 *values = NULL;
  guint n_values = 0;

  if (!mllama_json_get_object (part, "special_tokens", &tokens, MLLAMA_TOKENIZER_JSON, error) ||
      (tokens && !mllama_json_get_object (tokens, name, &token, MLLAMA_TOKENIZER_JSON, error)) ||
      (token && !mllama_json_get_uints (token, "ids", 0, MLLAMA_MAX_TOKEN_IDS - 1, FALSE, &values, &n_values,
                                        MLLAMA_TOKENIZER_JSON, error)))
    return FALSE;
  if (!values)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED, "%s.special_tokens has no ids for \"%.64s\"", where,
                                  name);
  for (guint i = 0; i < n_values; i++)
    if (!mllama_vocabulary_get (&tokenizer->vocabulary, values[i]))
      return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED,
                                    "%s puts in \"%.64s\" as id %u, which neither model.vocab nor added_tokens has",
                                    where, name, values[i]);
  g_array_append_vals (ids, values, n_values);
  return TRUE;
}

/* One entry of the template: {"SpecialToken": {"id": NAME}}, or {"Sequence": {"id": "A"}}, the text. */
static gboolean
read_template_piece (JsonNode *node, const char *where, const char **token, const char **sequence, GError **error)
{
  JsonObject *piece = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  JsonObject *special = NULL, *text = NULL;

  *token = *sequence = NULL;
  if (piece && (!mllama_json_get_object (piece, "SpecialToken", &special, MLLAMA_TOKENIZER_JSON, error) ||
                !mllama_json_get_object (piece, "Sequence", &text, MLLAMA_TOKENIZER_JSON, error) ||
                (special && !mllama_json_get_string (special, "id", token, MLLAMA_TOKENIZER_JSON, error)) ||
                (text && !mllama_json_get_string (text, "id", sequence, MLLAMA_TOKENIZER_JSON, error))))
    return FALSE;
  if (!*token == !*sequence)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED,
                                  "an entry of %s.single is neither a SpecialToken nor a Sequence", where);
  return TRUE;
}

/* What a template of a Sequence puts around the text goes around what earlier ones put there. */
static gboolean
read_template (MllamaTokenizer *tokenizer, JsonObject *part, const char *where, GError **error)
{
  g_autoptr (GArray) prefix = g_array_new (FALSE, FALSE, sizeof (guint32));
  JsonArray *single = NULL;
  gboolean has_text = FALSE;

  if (!mllama_json_get_array (part, "single", &single, MLLAMA_TOKENIZER_JSON, error))
    return FALSE;
  for (guint i = 0; single && i < json_array_get_length (single); i++) {
    const char *token, *sequence;

    if (!read_template_piece (json_array_get_element (single, i), where, &token, &sequence, error))
      return FALSE;
    if (sequence && (has_text || strcmp (sequence, "A") != 0))
      return refuse (error, where, "a template that does not hold the text once, as A", "templates that do are");
    has_text |= sequence != NULL;
    if (token && !read_template_token (tokenizer, part, token, where, has_text ? tokenizer->suffix : prefix, error))
      return FALSE;
  }
  if (!has_text)
    return mllama_tokenizer_fail (error, MLLAMA_ERROR_MALFORMED, "%s.single does not hold the text, Sequence A", where);
  g_array_prepend_vals (tokenizer->prefix, prefix->data, prefix->len);
  return TRUE;
}

/* ByteLevel only moves offsets here, which we have none of. */
static gboolean
read_post_processor (MllamaTokenizer *tokenizer, JsonObject *part, const char *type, const char *where, GError **error)
{
  if (strcmp (type, "ByteLevel") == 0)
    return TRUE;
  if (strcmp (type, "TemplateProcessing") == 0)
    return read_template (tokenizer, part, where, error);
  return refuse (error, where, type, "ByteLevel and TemplateProcessing are");
}

gboolean
mllama_tokenizer_read_post_processor (MllamaTokenizer *tokenizer, JsonObject *root, GError **error)
{
  return read_parts (tokenizer, json_object_get_member (root, "post_processor"), "post_processor", "processors",
                     read_post_processor, error);
}
