/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "json.h"

#include <mllama/error.h>

char *
mllama_json_describe (JsonNode *node)
{
  g_autofree char *text = NULL;

  if (!node)
    return g_strdup ("nothing");
  if (JSON_NODE_HOLDS_OBJECT (node))
    return g_strdup ("an object");
  if (JSON_NODE_HOLDS_ARRAY (node))
    return g_strdup_printf ("a list of %u", json_array_get_length (json_node_get_array (node)));
  if (json_node_get_value_type (node) == G_TYPE_DOUBLE) {
    char number[G_ASCII_DTOSTR_BUF_SIZE];

    return g_strdup (g_ascii_dtostr (number, sizeof number, json_node_get_double (node)));
  }
  text = json_to_string (node, FALSE);
  if (g_utf8_strlen (text, -1) > 60) {
    g_autofree char *start = g_utf8_substring (text, 0, 57);

    return g_strconcat (start, "...", NULL);
  }
  return g_steal_pointer (&text);
}

static gboolean
fail (JsonNode *node, const char *member, const char *expected, const char *origin, GError **error)
{
  g_autofree char *found = mllama_json_describe (node);

  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED, "%s: %s is %s; %s is expected", origin, member, found,
               expected);
  return FALSE;
}

/* NULL if the member is missing or null. */
static JsonNode *
look_up (JsonObject *object, const char *member)
{
  JsonNode *node = json_object_get_member (object, member);

  return node && !JSON_NODE_HOLDS_NULL (node) ? node : NULL;
}

static gboolean
holds (JsonNode *node, GType type)
{
  return JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == type;
}

gboolean
mllama_json_has (JsonObject *object, const char *member)
{
  return look_up (object, member) != NULL;
}

static gboolean
read_uint (JsonNode *node, const char *member, guint min, guint max, guint *value, const char *origin, GError **error)
{
  gint64 number = holds (node, G_TYPE_INT64) ? json_node_get_int (node) : -1;

  if (number < min || number > max) {
    g_autofree char *expected = g_strdup_printf ("an integer from %u to %u", min, max);

    return fail (node, member, expected, origin, error);
  }
  *value = number;
  return TRUE;
}

gboolean
mllama_json_get_uint (JsonObject *object, const char *member, guint min, guint max, guint *value, const char *origin,
                      GError **error)
{
  JsonNode *node = look_up (object, member);

  return !node || read_uint (node, member, min, max, value, origin, error);
}

gboolean
mllama_json_get_double (JsonObject *object, const char *member, double min, double max, double *value,
                        const char *origin, GError **error)
{
  JsonNode *node = look_up (object, member);
  double number = 0;

  if (!node)
    return TRUE;
  if (holds (node, G_TYPE_DOUBLE) || holds (node, G_TYPE_INT64))
    number = json_node_get_double (node);
  else
    return fail (node, member, "a number", origin, error);
  if (!(number >= min && number <= max)) {
    char low[G_ASCII_DTOSTR_BUF_SIZE], high[G_ASCII_DTOSTR_BUF_SIZE];
    g_autofree char *expected = g_strdup_printf ("a number from %s to %s", g_ascii_formatd (low, sizeof low, "%g", min),
                                                 g_ascii_formatd (high, sizeof high, "%g", max));

    return fail (node, member, expected, origin, error);
  }
  *value = number;
  return TRUE;
}

gboolean
mllama_json_get_boolean (JsonObject *object, const char *member, gboolean *value, const char *origin, GError **error)
{
  JsonNode *node = look_up (object, member);

  if (!node)
    return TRUE;
  if (!holds (node, G_TYPE_BOOLEAN))
    return fail (node, member, "true or false", origin, error);
  *value = json_node_get_boolean (node);
  return TRUE;
}

gboolean
mllama_json_get_string (JsonObject *object, const char *member, const char **value, const char *origin, GError **error)
{
  JsonNode *node = look_up (object, member);

  if (!node)
    return TRUE;
  if (!holds (node, G_TYPE_STRING))
    return fail (node, member, "a string", origin, error);
  *value = json_node_get_string (node);
  return TRUE;
}

gboolean
mllama_json_get_object (JsonObject *object, const char *member, JsonObject **value, const char *origin, GError **error)
{
  JsonNode *node = look_up (object, member);

  if (!node)
    return TRUE;
  if (!JSON_NODE_HOLDS_OBJECT (node))
    return fail (node, member, "an object", origin, error);
  *value = json_node_get_object (node);
  return TRUE;
}

gboolean
mllama_json_get_array (JsonObject *object, const char *member, JsonArray **value, const char *origin, GError **error)
{
  JsonNode *node = look_up (object, member);

  if (!node)
    return TRUE;
  if (!JSON_NODE_HOLDS_ARRAY (node))
    return fail (node, member, "a list", origin, error);
  *value = json_node_get_array (node);
  return TRUE;
}

gboolean
mllama_json_get_uints (JsonObject *object, const char *member, guint min, guint max, gboolean or_single,
                       guint32 **values, guint *n_values, const char *origin, GError **error)
{
  JsonNode *node = look_up (object, member);
  g_autofree guint32 *list = NULL;
  JsonArray *array;
  guint n = 1;

  if (!node)
    return TRUE;
  array = JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;
  if (!array && !or_single)
    return fail (node, member, "a list of integers", origin, error);
  if (array)
    n = json_array_get_length (array);
  list = g_new (guint32, n);
  for (guint i = 0; i < n; i++) {
    g_autofree char *entry = array ? g_strdup_printf ("%s[%u]", member, i) : g_strdup (member);

    if (!read_uint (array ? json_array_get_element (array, i) : node, entry, min, max, &list[i], origin, error))
      return FALSE;
  }
  g_free (*values);
  *values = g_steal_pointer (&list);
  *n_values = n;
  return TRUE;
}
