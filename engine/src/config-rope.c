/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* rope_scaling and rope_theta of transformers 4, and rope_parameters of 5, which holds both. */
#include "config-private.h"

#define DEFAULT_THETA 500000.0
#define MAX_THETA     1e15
#define MAX_FACTOR    1e6

/* The rotary part of the heads is all of them: a smaller part is another model. */
static gboolean
check_whole_heads (JsonObject *o, const char *origin, GError **error)
{
  g_autofree char *found = NULL;
  double part = 1;

  if (!mllama_json_get_double (o, "partial_rotary_factor", 0, 1, &part, origin, error))
    return FALSE;
  if (part == 1)
    return TRUE;
  found = mllama_json_describe (json_object_get_member (o, "partial_rotary_factor"));
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
               "%s: partial_rotary_factor is %s; only 1, rotating whole heads, is implemented", origin, found);
  return FALSE;
}

static gboolean
read_required (JsonObject *o, const char *member, double min, double *value, const char *origin, GError **error)
{
  if (mllama_json_has (o, member))
    return mllama_json_get_double (o, member, min, MAX_FACTOR, value, origin, error);
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED, "%s: %s is missing; rope_type \"llama3\" needs it", origin,
               member);
  return FALSE;
}

static gboolean
read_llama3 (MllamaRopeConfig *rope, JsonObject *o, guint max_positions, const char *origin, GError **error)
{
  rope->scaled = TRUE;
  /* transformers falls back on max_position_embeddings. */
  rope->original_max_positions = max_positions;
  if (!read_required (o, "factor", 1, &rope->factor, origin, error) ||
      !read_required (o, "low_freq_factor", 1e-6, &rope->low_freq_factor, origin, error) ||
      !read_required (o, "high_freq_factor", 1e-6, &rope->high_freq_factor, origin, error) ||
      !mllama_json_get_uint (o, "original_max_position_embeddings", 1, MLLAMA_MAX_POSITIONS,
                             &rope->original_max_positions, origin, error))
    return FALSE;
  if (rope->high_freq_factor <= rope->low_freq_factor) {
    g_autofree char *low = mllama_json_describe (json_object_get_member (o, "low_freq_factor"));
    g_autofree char *high = mllama_json_describe (json_object_get_member (o, "high_freq_factor"));

    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: high_freq_factor %s is expected to be larger than low_freq_factor %s", origin, high, low);
    return FALSE;
  }
  return TRUE;
}

static gboolean
read_parameters (MllamaRopeConfig *rope, JsonObject *o, guint max_positions, const char *origin, GError **error)
{
  const char *type = "default";

  /* "type" is the older name; rope_type wins where both stand. */
  if (!mllama_json_get_string (o, "type", &type, origin, error) ||
      !mllama_json_get_string (o, "rope_type", &type, origin, error) ||
      !mllama_json_get_double (o, "rope_theta", 1, MAX_THETA, &rope->theta, origin, error) ||
      !check_whole_heads (o, origin, error))
    return FALSE;
  if (g_str_equal (type, "llama3"))
    return read_llama3 (rope, o, max_positions, origin, error);
  if (g_str_equal (type, "default"))
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
               "%s: rope_type is \"%s\"; only \"default\" and \"llama3\" are implemented", origin, type);
  return FALSE;
}

gboolean
mllama_rope_config_read (MllamaRopeConfig *rope, JsonObject *text_config, guint max_positions, const char *origin,
                         GError **error)
{
  JsonObject *parameters = NULL, *scaling = NULL;
  g_autofree char *inner = NULL;

  rope->theta = DEFAULT_THETA;
  if (!mllama_json_get_double (text_config, "rope_theta", 1, MAX_THETA, &rope->theta, origin, error) ||
      !check_whole_heads (text_config, origin, error) ||
      !mllama_json_get_object (text_config, "rope_parameters", &parameters, origin, error) ||
      !mllama_json_get_object (text_config, "rope_scaling", &scaling, origin, error))
    return FALSE;
  /* transformers 5 prefers rope_scaling, unless it is empty. */
  if (scaling && json_object_get_size (scaling) > 0)
    parameters = scaling;
  if (!parameters)
    return TRUE;
  inner = g_strdup_printf ("%s: %s", origin, parameters == scaling ? "rope_scaling" : "rope_parameters");
  return read_parameters (rope, parameters, max_positions, inner, error);
}
