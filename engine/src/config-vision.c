/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config-private.h"

static const guint default_taps[] = {3, 7, 15, 23, 30};

/* Code defaults of MllamaVisionConfig. */
static void
init_defaults (MllamaVisionConfig *vision)
{
  vision->hidden_size = 1280;
  vision->n_layers = 32;
  vision->n_global_layers = 8;
  vision->n_heads = 16;
  vision->n_channels = 3;
  vision->intermediate_size = 5120;
  vision->output_dim = 7680;
  vision->image_size = 448;
  vision->patch_size = 14;
  vision->norm_eps = 1e-5;
  vision->max_n_tiles = 4;
}

static gboolean
read_sizes (MllamaVisionConfig *vision, JsonObject *o, const char *origin, GError **error)
{
  /* attention_heads is the name on disk; num_attention_heads is the argument of version 4's class. */
  return mllama_json_get_uint (o, "hidden_size", 1, MLLAMA_MAX_WIDTH, &vision->hidden_size, origin, error) &&
         mllama_json_get_uint (o, "num_hidden_layers", 1, MLLAMA_MAX_LAYERS, &vision->n_layers, origin, error) &&
         mllama_json_get_uint (o, "num_global_layers", 0, MLLAMA_MAX_LAYERS, &vision->n_global_layers, origin, error) &&
         mllama_json_get_uint (o, "num_attention_heads", 1, MLLAMA_MAX_WIDTH, &vision->n_heads, origin, error) &&
         mllama_json_get_uint (o, "attention_heads", 1, MLLAMA_MAX_WIDTH, &vision->n_heads, origin, error) &&
         mllama_json_get_uint (o, "num_channels", 1, MLLAMA_MAX_WIDTH, &vision->n_channels, origin, error) &&
         mllama_json_get_uint (o, "intermediate_size", 1, MLLAMA_MAX_INTERMEDIATE, &vision->intermediate_size, origin,
                               error) &&
         mllama_json_get_uint (o, "vision_output_dim", 1, MLLAMA_MAX_WIDTH * (MLLAMA_MAX_TAPS + 1), &vision->output_dim,
                               origin, error) &&
         mllama_json_get_double (o, "norm_eps", 1e-20, 1, &vision->norm_eps, origin, error) &&
         mllama_json_get_uint (o, "max_num_tiles", 1, MLLAMA_MAX_TILES, &vision->max_n_tiles, origin, error);
}

static gboolean
read_side (JsonObject *o, const char *member, guint *side, const char *origin, GError **error)
{
  JsonNode *node = json_object_get_member (o, member);

  if (node && JSON_NODE_HOLDS_ARRAY (node)) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
                 "%s: %s is a list; only a single number, the side of a square, is implemented", origin, member);
    return FALSE;
  }
  return mllama_json_get_uint (o, member, 1, MLLAMA_MAX_IMAGE_SIZE, side, origin, error);
}

/* A tile whose side is no multiple of the patch is legal: the rest is not seen, as in a convolution without padding. */
static gboolean
read_tile (MllamaVisionConfig *vision, JsonObject *o, const char *origin, GError **error)
{
  if (!read_side (o, "image_size", &vision->image_size, origin, error) ||
      !read_side (o, "patch_size", &vision->patch_size, origin, error))
    return FALSE;
  if (vision->patch_size > vision->image_size) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED, "%s: patch_size %u is larger than image_size %u", origin,
                 vision->patch_size, vision->image_size);
    return FALSE;
  }
  if (vision->n_channels != 3) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED, "%s: num_channels is %u; only 3 is implemented", origin,
                 vision->n_channels);
    return FALSE;
  }
  return TRUE;
}

/* transformers picks the states by this list, so that features follow its order and a layer may be named twice. */
static gboolean
read_taps (MllamaVisionConfig *vision, JsonObject *o, const char *origin, GError **error)
{
  const char *member = "intermediate_layers_indices";
  g_autofree guint32 *taps = g_memdup2 (default_taps, sizeof default_taps);

  vision->n_taps = G_N_ELEMENTS (default_taps);
  if (!mllama_json_get_uints (o, member, 0, G_MAXINT, FALSE, &taps, &vision->n_taps, origin, error))
    return FALSE;
  if (vision->n_taps == 0 || vision->n_taps > MLLAMA_MAX_TAPS) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED, "%s: %s has %u entries; 1 to %u are expected", origin,
                 member, vision->n_taps, MLLAMA_MAX_TAPS);
    return FALSE;
  }
  for (guint i = 0; i < vision->n_taps; i++) {
    if (taps[i] >= vision->n_layers) {
      g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                   "%s: %s names layer %u; num_hidden_layers is %u, so 0 to %u are expected", origin, member, taps[i],
                   vision->n_layers, vision->n_layers - 1);
      return FALSE;
    }
    vision->taps[i] = taps[i];
  }
  return TRUE;
}

static gboolean
check_output_dim (const MllamaVisionConfig *vision, const char *origin, GError **error)
{
  guint expected = vision->hidden_size * (1 + vision->n_taps);

  if (vision->output_dim == expected)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
               "%s: vision_output_dim is %u; hidden_size %u times 1 + %u intermediate layers, %u, is expected", origin,
               vision->output_dim, vision->hidden_size, vision->n_taps, expected);
  return FALSE;
}

/* --- arrangements of tiles --- */

/* Spec 3.2. transformers has a default list for 4 tiles only, and refuses others; the image processor enumerates the
 * arrangements like this for any number. */
static void
enumerate_arrangements (MllamaVisionConfig *vision)
{
  vision->n_aspect_ratios = 0;
  for (guint rows = 1; rows <= vision->max_n_tiles; rows++)
    for (guint columns = 1; rows * columns <= vision->max_n_tiles; columns++)
      vision->aspect_ratios[vision->n_aspect_ratios++] = (MllamaAspectRatio){rows, columns};
}

G_STATIC_ASSERT (MLLAMA_MAX_TILES <= 64); /* whose 280 arrangements fit MLLAMA_MAX_ASPECT_RATIOS, and guint8 */

/* One entry: a list of two integers, rows and columns. */
static gboolean
read_arrangement (JsonArray *list, guint i, guint max_n_tiles, MllamaAspectRatio *ratio, const char *origin,
                  GError **error)
{
  JsonNode *entry = json_array_get_element (list, i);
  JsonArray *pair = JSON_NODE_HOLDS_ARRAY (entry) ? json_node_get_array (entry) : NULL;
  gint64 sides[2] = {0, 0};

  for (guint k = 0; pair && json_array_get_length (pair) == 2 && k < 2; k++) {
    JsonNode *side = json_array_get_element (pair, k);

    if (json_node_get_value_type (side) == G_TYPE_INT64)
      sides[k] = json_node_get_int (side);
  }
  if (sides[0] < 1 || sides[0] > max_n_tiles || sides[1] < 1 || sides[1] > max_n_tiles ||
      sides[0] * sides[1] > max_n_tiles) {
    g_autofree char *found = json_to_string (entry, FALSE);

    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: supported_aspect_ratios[%u] is %.60s; [rows, columns] of at most max_num_tiles, %u, is expected",
                 origin, i, found, max_n_tiles);
    return FALSE;
  }
  *ratio = (MllamaAspectRatio){sides[0], sides[1]};
  return TRUE;
}

static gboolean
check_is_new (const MllamaVisionConfig *vision, guint i, const char *origin, GError **error)
{
  const MllamaAspectRatio *ratios = vision->aspect_ratios;

  for (guint k = 0; k < i; k++) {
    if (ratios[k].n_rows == ratios[i].n_rows && ratios[k].n_columns == ratios[i].n_columns) {
      g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                   "%s: supported_aspect_ratios[%u] repeats [%u, %u]; each arrangement has one id", origin, i,
                   ratios[i].n_rows, ratios[i].n_columns);
      return FALSE;
    }
  }
  return TRUE;
}

static gboolean
read_arrangements (MllamaVisionConfig *vision, JsonObject *o, const char *origin, GError **error)
{
  JsonArray *list = NULL;
  guint n;

  if (!mllama_json_get_array (o, "supported_aspect_ratios", &list, origin, error))
    return FALSE;
  if (!list) {
    enumerate_arrangements (vision);
    return TRUE;
  }
  n = json_array_get_length (list);
  if (n == 0 || n > MLLAMA_MAX_ASPECT_RATIOS) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: supported_aspect_ratios has %u entries; 1 to %u are expected", origin, n,
                 MLLAMA_MAX_ASPECT_RATIOS);
    return FALSE;
  }
  for (guint i = 0; i < n; i++) {
    if (!read_arrangement (list, i, vision->max_n_tiles, &vision->aspect_ratios[i], origin, error) ||
        !check_is_new (vision, i, origin, error))
      return FALSE;
  }
  vision->n_aspect_ratios = n;
  return TRUE;
}

gboolean
mllama_vision_config_read (MllamaVisionConfig *vision, JsonObject *object, const char *origin, GError **error)
{
  init_defaults (vision);
  return mllama_config_require_string (object, "model_type", "mllama_vision_model", origin, error) &&
         mllama_config_require_string (object, "hidden_act", "gelu", origin, error) &&
         mllama_config_require_off (object, "attention_bias", origin, error) &&
         mllama_config_require_off (object, "quantization_config", origin, error) &&
         read_sizes (vision, object, origin, error) && read_tile (vision, object, origin, error) &&
         mllama_config_check_heads (vision->hidden_size, vision->n_heads, "attention_heads", origin, error) &&
         read_taps (vision, object, origin, error) && check_output_dim (vision, origin, error) &&
         read_arrangements (vision, object, origin, error);
}
