/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config-private.h"

#include <string.h>

#define DEFAULT_IMAGE_TOKEN 128256

gboolean
mllama_config_require_string (JsonObject *object, const char *member, const char *required, const char *origin,
                              GError **error)
{
  const char *found = required;

  if (!mllama_json_get_string (object, member, &found, origin, error))
    return FALSE;
  if (g_str_equal (found, required))
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED, "%s: %s is \"%s\"; only \"%s\" is implemented", origin,
               member, found, required);
  return FALSE;
}

gboolean
mllama_config_require_off (JsonObject *object, const char *member, const char *origin, GError **error)
{
  JsonNode *node = json_object_get_member (object, member);
  g_autofree char *found = NULL;

  if (!mllama_json_has (object, member) ||
      (json_node_get_value_type (node) == G_TYPE_BOOLEAN && !json_node_get_boolean (node)))
    return TRUE;
  found = mllama_json_describe (node);
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
               "%s: %s is %s; it is not implemented, use a checkpoint without it", origin, member, found);
  return FALSE;
}

gboolean
mllama_config_check_heads (guint width, guint n_heads, const char *heads, const char *origin, GError **error)
{
  if (width % n_heads != 0) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED, "%s: %s %u does not divide hidden_size %u", origin, heads,
                 n_heads, width);
    return FALSE;
  }
  if (width / n_heads > MLLAMA_MAX_HEAD_WIDTH) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
                 "%s: hidden_size %u over %s %u makes heads of %u; at most %u is implemented", origin, width, heads,
                 n_heads, width / n_heads, MLLAMA_MAX_HEAD_WIDTH);
    return FALSE;
  }
  return TRUE;
}

/* Whether architectures names a class of the text model alone. */
static gboolean
names_text_class (JsonObject *root, gboolean *is_text, const char *origin, GError **error)
{
  JsonArray *classes = NULL;

  *is_text = FALSE;
  if (!mllama_json_get_array (root, "architectures", &classes, origin, error))
    return FALSE;
  for (guint i = 0; classes && i < json_array_get_length (classes); i++) {
    JsonNode *node = json_array_get_element (classes, i);
    const char *name = json_node_get_value_type (node) == G_TYPE_STRING ? json_node_get_string (node) : NULL;

    if (g_strcmp0 (name, "MllamaForCausalLM") == 0 || g_strcmp0 (name, "MllamaTextModel") == 0)
      *is_text = TRUE;
  }
  return TRUE;
}

/* A bare text model has its fields at the top, or, cut out of a full model, still under text_config. */
static gboolean
read_kind (JsonObject *root, gboolean *has_vision, JsonObject **text, const char *origin, GError **error)
{
  gboolean is_text;
  const char *type = NULL;

  if (!names_text_class (root, &is_text, origin, error) ||
      !mllama_json_get_string (root, "model_type", &type, origin, error))
    return FALSE;
  if (type && !g_str_equal (type, "mllama") && !g_str_equal (type, "mllama_text_model")) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
                 "%s: model_type is \"%s\"; only \"mllama\" (Llama 3.2-Vision) and \"mllama_text_model\" are "
                 "implemented",
                 origin, type);
    return FALSE;
  }
  if (!type && !is_text) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: there is no model_type; \"mllama\" or \"mllama_text_model\" is expected", origin);
    return FALSE;
  }
  *has_vision = !is_text && g_str_equal (type, "mllama");
  *text = root;
  if (!mllama_json_get_object (root, "text_config", text, origin, error))
    return FALSE;
  return TRUE;
}

static gboolean
read_image_token (MllamaConfig *config, JsonObject *root, const char *origin, GError **error)
{
  guint index = DEFAULT_IMAGE_TOKEN, alias;

  if (!mllama_json_get_uint (root, "image_token_index", 0, MLLAMA_MAX_VOCABULARY - 1, &index, origin, error))
    return FALSE;
  alias = index;
  if (!mllama_json_get_uint (root, "image_token_id", 0, MLLAMA_MAX_VOCABULARY - 1, &alias, origin, error))
    return FALSE;
  if (mllama_json_has (root, "image_token_index") && alias != index) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: image_token_index is %u, and image_token_id, its other spelling, is %u", origin, index, alias);
    return FALSE;
  }
  config->image_token_id = alias;
  return TRUE;
}

/* vision_config, or the class's defaults if the file has none. */
static gboolean
read_vision (MllamaConfig *config, JsonObject *root, const char *origin, GError **error)
{
  g_autofree char *inner = g_strconcat (origin, ": vision_config", NULL);
  g_autoptr (JsonObject) defaults = json_object_new ();
  JsonObject *vision = defaults;

  return mllama_json_get_object (root, "vision_config", &vision, origin, error) &&
         mllama_vision_config_read (&config->vision, vision, inner, error);
}

static gboolean
read_text (MllamaConfig *config, JsonObject *root, JsonObject *text, const char *origin, GError **error)
{
  g_autofree char *inner = text == root ? g_strdup (origin) : g_strconcat (origin, ": text_config", NULL);
  g_autoptr (JsonObject) defaults = json_object_new ();

  if (text == root && config->has_vision)
    text = defaults; /* a full model without text_config: the class's defaults */
  return mllama_text_config_read (&config->text, text, inner, error);
}

/* An encoder without a cross layer to read it would be a mistake in one of the two. */
static gboolean
check_vision_is_read (const MllamaConfig *config, const char *origin, GError **error)
{
  if (!config->has_vision || config->text.n_cross_layers > 0)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
               "%s: cross_attention_layers is empty; a model with a vision tower needs at least one such layer",
               origin);
  return FALSE;
}

static MllamaConfig *
parse_config (const char *json, gsize length, const char *origin, GError **error)
{
  g_autoptr (JsonParser) parser = mllama_json_parse (json, length, origin, error);
  g_autoptr (MllamaConfig) config = NULL;
  JsonObject *root, *text;

  if (!parser)
    return NULL;
  config = g_new0 (MllamaConfig, 1);
  root = json_node_get_object (json_parser_get_root (parser));
  if (!read_kind (root, &config->has_vision, &text, origin, error) ||
      !mllama_config_require_off (root, "quantization_config", origin, error) ||
      !mllama_config_require_off (root, "compression_config", origin, error) ||
      !read_image_token (config, root, origin, error) || !read_text (config, root, text, origin, error))
    return NULL;
  if (config->has_vision && !read_vision (config, root, origin, error))
    return NULL;
  if (!check_vision_is_read (config, origin, error))
    return NULL;
  return g_steal_pointer (&config);
}

MllamaConfig *
mllama_config_new_from_data (const char *json, gsize length, GError **error)
{
  return parse_config (json, length, "config.json", error);
}

MllamaConfig *
mllama_config_new_from_file (const char *path, GError **error)
{
  g_autofree char *json = NULL;
  gsize length;

  if (!mllama_read_file (path, MLLAMA_JSON_MAX_BYTES, &json, &length, error))
    return NULL;
  return parse_config (json, length, path, error);
}

void
mllama_config_free (MllamaConfig *config)
{
  if (!config)
    return;
  g_free (config->text.cross_layers);
  g_free (config->text.eos_ids);
  g_free (config);
}

guint
mllama_vision_config_get_n_patches (const MllamaVisionConfig *config)
{
  guint side = config->image_size / config->patch_size;

  return side * side + 1;
}
