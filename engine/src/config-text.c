/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config-private.h"

#include <stdlib.h>

static const guint default_cross_layers[] = {3, 8, 13, 18, 23, 28, 33, 38};

/* Code defaults of MllamaTextConfig. */
static void
init_defaults (MllamaTextConfig *text)
{
  text->vocab_size = 128256;
  text->hidden_size = 4096;
  text->n_layers = 40;
  text->n_heads = 32;
  text->n_kv_heads = 8;
  text->intermediate_size = 14336;
  text->rms_norm_eps = 1e-5;
  text->max_positions = 131072;
}

static gboolean
read_sizes (MllamaTextConfig *text, JsonObject *o, const char *origin, GError **error)
{
  return mllama_json_get_uint (o, "vocab_size", 1, MLLAMA_MAX_VOCABULARY, &text->vocab_size, origin, error) &&
         mllama_json_get_uint (o, "hidden_size", 1, MLLAMA_MAX_WIDTH, &text->hidden_size, origin, error) &&
         mllama_json_get_uint (o, "num_hidden_layers", 1, MLLAMA_MAX_LAYERS, &text->n_layers, origin, error) &&
         mllama_json_get_uint (o, "num_attention_heads", 1, MLLAMA_MAX_WIDTH, &text->n_heads, origin, error) &&
         mllama_json_get_uint (o, "num_key_value_heads", 1, MLLAMA_MAX_WIDTH, &text->n_kv_heads, origin, error) &&
         mllama_json_get_uint (o, "intermediate_size", 1, MLLAMA_MAX_INTERMEDIATE, &text->intermediate_size, origin,
                               error) &&
         mllama_json_get_double (o, "rms_norm_eps", 1e-20, 1, &text->rms_norm_eps, origin, error) &&
         mllama_json_get_uint (o, "max_position_embeddings", 1, MLLAMA_MAX_POSITIONS, &text->max_positions, origin,
                               error) &&
         mllama_json_get_boolean (o, "tie_word_embeddings", &text->tied_embeddings, origin, error);
}

/* transformers takes hidden_size / num_attention_heads for the weights, and head_dim for the rotary table alone. */
static gboolean
check_head_width (MllamaTextConfig *text, JsonObject *o, const char *origin, GError **error)
{
  guint found;

  if (!mllama_config_check_heads (text->hidden_size, text->n_heads, "num_attention_heads", origin, error))
    return FALSE;
  if (text->n_heads % text->n_kv_heads != 0) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: num_key_value_heads %u does not divide num_attention_heads %u", origin, text->n_kv_heads,
                 text->n_heads);
    return FALSE;
  }
  text->head_width = found = text->hidden_size / text->n_heads;
  if (!mllama_json_get_uint (o, "head_dim", 1, MLLAMA_MAX_WIDTH, &found, origin, error))
    return FALSE;
  if (found != text->head_width || found % 2 != 0) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: heads are %u wide; hidden_size over num_attention_heads, %u, and an even number is expected",
                 origin, found, text->head_width);
    return FALSE;
  }
  return TRUE;
}

/* --- cross-attention layers --- */

static int
compare_layers (gconstpointer a, gconstpointer b)
{
  guint32 x = *(const guint32 *) a, y = *(const guint32 *) b;

  return (x > y) - (x < y);
}

static gboolean
fail_cross_layers (const char *origin, const char *what, guint layer, guint n_layers, GError **error)
{
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
               "%s: cross_attention_layers %s layer %u; num_hidden_layers is %u, and different layers from 0 to %u "
               "are expected",
               origin, what, layer, n_layers, n_layers - 1);
  return FALSE;
}

/* The default list is for 40 layers; a shallower model has those of them that exist. */
static void
set_default_cross_layers (MllamaTextConfig *text)
{
  text->cross_layers = g_memdup2 (default_cross_layers, sizeof default_cross_layers);
  for (guint i = 0; i < G_N_ELEMENTS (default_cross_layers) && default_cross_layers[i] < text->n_layers; i++)
    text->n_cross_layers = i + 1;
}

static gboolean
read_cross_layers (MllamaTextConfig *text, JsonObject *o, const char *origin, GError **error)
{
  guint n;

  if (!mllama_json_has (o, "cross_attention_layers")) {
    set_default_cross_layers (text);
    return TRUE;
  }
  if (!mllama_json_get_uints (o, "cross_attention_layers", 0, G_MAXINT, FALSE, &text->cross_layers,
                              &text->n_cross_layers, origin, error))
    return FALSE;
  n = text->n_cross_layers;
  if (n > 0)
    qsort (text->cross_layers, n, sizeof *text->cross_layers, compare_layers);
  for (guint i = 0; i < n; i++) {
    if (text->cross_layers[i] >= text->n_layers)
      return fail_cross_layers (origin, "names", text->cross_layers[i], text->n_layers, error);
    if (i > 0 && text->cross_layers[i] == text->cross_layers[i - 1])
      return fail_cross_layers (origin, "repeats", text->cross_layers[i], text->n_layers, error);
  }
  return TRUE;
}

static gboolean
check_self_layers (const MllamaTextConfig *text, const char *origin, GError **error)
{
  if (text->n_cross_layers < text->n_layers)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
               "%s: cross_attention_layers names all %u layers; at least one self-attention layer is needed", origin,
               text->n_layers);
  return FALSE;
}

/* --- special ids --- */

/* An id, or none: null and -1. */
static gboolean
read_optional_id (JsonObject *o, const char *member, gint64 *id, const char *origin, GError **error)
{
  JsonNode *node = json_object_get_member (o, member);
  guint value;

  if (!node)
    return TRUE;
  if (JSON_NODE_HOLDS_NULL (node) ||
      (json_node_get_value_type (node) == G_TYPE_INT64 && json_node_get_int (node) == -1)) {
    *id = -1;
    return TRUE;
  }
  if (!mllama_json_get_uint (o, member, 0, MLLAMA_MAX_VOCABULARY - 1, &value, origin, error))
    return FALSE;
  *id = value;
  return TRUE;
}

/* A missing member is the class's default, in vocabularies that have it; null is none at all. */
static gboolean
read_special_ids (MllamaTextConfig *text, JsonObject *o, const char *origin, GError **error)
{
  const guint32 bos = 128000, eos = 128001, pad = 128004;

  text->bos_id = bos < text->vocab_size ? (gint64) bos : -1;
  text->pad_id = pad < text->vocab_size ? (gint64) pad : -1;
  if (!json_object_has_member (o, "eos_token_id") && eos < text->vocab_size) {
    text->eos_ids = g_memdup2 (&eos, sizeof eos);
    text->n_eos_ids = 1;
  }
  return read_optional_id (o, "bos_token_id", &text->bos_id, origin, error) &&
         read_optional_id (o, "pad_token_id", &text->pad_id, origin, error) &&
         mllama_json_get_uints (o, "eos_token_id", 0, MLLAMA_MAX_VOCABULARY - 1, TRUE, &text->eos_ids, &text->n_eos_ids,
                                origin, error);
}

gboolean
mllama_text_config_read (MllamaTextConfig *text, JsonObject *object, const char *origin, GError **error)
{
  init_defaults (text);
  return mllama_config_require_string (object, "model_type", "mllama_text_model", origin, error) &&
         mllama_config_require_string (object, "hidden_act", "silu", origin, error) &&
         mllama_config_require_off (object, "attention_bias", origin, error) &&
         mllama_config_require_off (object, "mlp_bias", origin, error) &&
         mllama_config_require_off (object, "quantization_config", origin, error) &&
         read_sizes (text, object, origin, error) && check_head_width (text, object, origin, error) &&
         mllama_rope_config_read (&text->rope, object, text->max_positions, origin, error) &&
         read_cross_layers (text, object, origin, error) && check_self_layers (text, origin, error) &&
         read_special_ids (text, object, origin, error);
}
