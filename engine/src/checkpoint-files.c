/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint-private.h"

#include "json.h"

#define GENERATION_CONFIG   "generation_config.json"
#define PREPROCESSOR_CONFIG "preprocessor_config.json"
#define PROCESSOR_CONFIG    "processor_config.json"

/* FALSE with an error if the file is there and cannot be read; *text stays NULL if it is not there. */
static gboolean
read_optional (const MllamaCheckpoint *checkpoint, const char *name, char **text, gsize *length, GError **error)
{
  g_autofree char *path = g_build_filename (checkpoint->path, name, NULL);
  GError *inner = NULL;

  if (mllama_read_file (path, MLLAMA_JSON_MAX_BYTES, text, length, &inner))
    return TRUE;
  if (g_error_matches (inner, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND)) {
    g_error_free (inner);
    return TRUE;
  }
  g_propagate_error (error, inner);
  return FALSE;
}

/* Likewise: *parser stays NULL if the file is not there. */
static gboolean
parse_optional (const MllamaCheckpoint *checkpoint, const char *name, JsonParser **parser, GError **error)
{
  g_autofree char *text = NULL;
  gsize length;

  if (!read_optional (checkpoint, name, &text, &length, error))
    return FALSE;
  if (text)
    *parser = mllama_json_parse (text, length, name, error);
  return !text || *parser;
}

static JsonObject *
get_root (JsonParser *parser)
{
  return json_node_get_object (json_parser_get_root (parser));
}

/* --- generation_config.json --- */

static gboolean
read_id (JsonObject *object, const char *member, gint64 *id, GError **error)
{
  guint value;

  if (!mllama_json_has (object, member))
    return TRUE;
  if (!mllama_json_get_uint (object, member, 0, G_MAXINT32, &value, GENERATION_CONFIG, error))
    return FALSE;
  *id = value;
  return TRUE;
}

gboolean
mllama_checkpoint_read_generation_config (MllamaCheckpoint *checkpoint, GError **error)
{
  const MllamaTextConfig *text = &checkpoint->config->text;
  g_autoptr (JsonParser) parser = NULL;
  JsonObject *root;

  checkpoint->eos_ids = g_memdup2 (text->eos_ids, text->n_eos_ids * sizeof *text->eos_ids);
  checkpoint->n_eos_ids = text->n_eos_ids;
  checkpoint->bos_id = text->bos_id;
  checkpoint->pad_id = text->pad_id;
  if (!parse_optional (checkpoint, GENERATION_CONFIG, &parser, error))
    return FALSE;
  if (!parser)
    return TRUE;
  root = get_root (parser);
  return mllama_json_get_uints (root, "eos_token_id", 0, G_MAXINT32, TRUE, &checkpoint->eos_ids, &checkpoint->n_eos_ids,
                                GENERATION_CONFIG, error) &&
         read_id (root, "bos_token_id", &checkpoint->bos_id, error) &&
         read_id (root, "pad_token_id", &checkpoint->pad_id, error);
}

/* --- image processor --- */

static gboolean
check_image_options (const MllamaCheckpoint *checkpoint, const char *name, GError **error)
{
  const MllamaImageOptions *options = &checkpoint->image_options;
  const MllamaVisionConfig *vision = &checkpoint->config->vision;

  if (options->size != vision->image_size) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: size is %u, and image_size in config.json is %u; tiles must have the size that the model expects",
                 name, options->size, vision->image_size);
    return FALSE;
  }
  if (options->max_image_tiles > vision->max_n_tiles) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: max_image_tiles is %u, and max_num_tiles in config.json is %u; at most that many are expected",
                 name, options->max_image_tiles, vision->max_n_tiles);
    return FALSE;
  }
  return TRUE;
}

/* The text of the file that describes the image processor, and its name. */
static gboolean
find_image_options (const MllamaCheckpoint *checkpoint, char **text, gsize *length, const char **name, GError **error)
{
  g_autofree char *processor = NULL;
  g_autoptr (JsonParser) parser = NULL;

  if (!read_optional (checkpoint, PROCESSOR_CONFIG, &processor, length, error))
    return FALSE;
  if (processor) {
    parser = mllama_json_parse (processor, *length, PROCESSOR_CONFIG, error);
    if (!parser)
      return FALSE;
    if (mllama_json_has (get_root (parser), "image_processor")) {
      *text = g_steal_pointer (&processor);
      *name = PROCESSOR_CONFIG;
      return TRUE;
    }
  }
  *name = PREPROCESSOR_CONFIG;
  return read_optional (checkpoint, PREPROCESSOR_CONFIG, text, length, error);
}

gboolean
mllama_checkpoint_read_image_options (MllamaCheckpoint *checkpoint, GError **error)
{
  g_autofree char *text = NULL;
  const char *name;
  gsize length;

  if (!find_image_options (checkpoint, &text, &length, &name, error))
    return FALSE;
  if (!text) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND,
                 "%s: neither " PREPROCESSOR_CONFIG " nor an image_processor in " PROCESSOR_CONFIG
                 " is there; it says how pictures are scaled, and no default would be right: download it, or use the "
                 "checkpoint for text only",
                 checkpoint->path);
    return FALSE;
  }
  if (!mllama_image_options_init_from_data (&checkpoint->image_options, text, length, error)) {
    g_prefix_error (error, "%s: ", name);
    return FALSE;
  }
  checkpoint->has_image_options = TRUE;
  return check_image_options (checkpoint, name, error);
}

/* --- chat template --- */

/* A template, or a list of named ones, among which "default" is the one that is used unasked. */
static gboolean
holds_template (JsonNode *node)
{
  JsonArray *list;

  if (!node)
    return FALSE;
  if (json_node_get_value_type (node) == G_TYPE_STRING)
    return *json_node_get_string (node) != '\0';
  list = JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;
  for (guint i = 0; list && i < json_array_get_length (list); i++) {
    JsonNode *entry = json_array_get_element (list, i);
    JsonNode *name =
        JSON_NODE_HOLDS_OBJECT (entry) ? json_object_get_member (json_node_get_object (entry), "name") : NULL;

    if (name && json_node_get_value_type (name) == G_TYPE_STRING &&
        g_str_equal (json_node_get_string (name), "default"))
      return TRUE;
  }
  return FALSE;
}

gboolean
mllama_checkpoint_read_chat_template (MllamaCheckpoint *checkpoint, GError **error)
{
  static const char *const files[] = {"chat_template.json", PROCESSOR_CONFIG, "tokenizer_config.json"};
  g_autofree char *jinja = NULL;
  gsize length = 0;

  if (!read_optional (checkpoint, "chat_template.jinja", &jinja, &length, error))
    return FALSE;
  checkpoint->has_chat_template = length > 0;
  for (guint i = 0; i < G_N_ELEMENTS (files) && !checkpoint->has_chat_template; i++) {
    g_autoptr (JsonParser) parser = NULL;

    if (!parse_optional (checkpoint, files[i], &parser, error))
      return FALSE;
    if (parser)
      checkpoint->has_chat_template = holds_template (json_object_get_member (get_root (parser), "chat_template"));
  }
  return TRUE;
}
