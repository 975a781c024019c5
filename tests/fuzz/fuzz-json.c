/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as JSON. What the guard lets through, json-glib must read without trouble. */
#include <string.h>

#include <mllama/error.h>

#include "json-scan.h"
#include "json.h"

int LLVMFuzzerTestOneInput (const guint8 *data, size_t size);

static void
read_member (JsonObject *object, const char *name, JsonNode *node)
{
  g_autofree char *found = mllama_json_describe (node);
  g_autofree guint32 *list = NULL;
  JsonObject *inner = NULL;
  JsonArray *array = NULL;
  const char *text = NULL;
  gboolean yes = FALSE;
  double real = 0.5;
  guint n = 7;

  g_assert_true (g_utf8_validate (found, -1, NULL));
  mllama_json_get_uint (object, name, 5, 9, &n, "fuzz", NULL);
  g_assert_true (n >= 5 && n <= 9);
  mllama_json_get_double (object, name, 0.25, 0.75, &real, "fuzz", NULL);
  g_assert_true (real >= 0.25 && real <= 0.75);
  mllama_json_get_boolean (object, name, &yes, "fuzz", NULL);
  mllama_json_get_string (object, name, &text, "fuzz", NULL);
  mllama_json_get_array (object, name, &array, "fuzz", NULL);
  mllama_json_get_uints (object, name, 0, 9, TRUE, &list, &n, "fuzz", NULL);
  mllama_json_get_object (object, name, &inner, "fuzz", NULL);
}

int
LLVMFuzzerTestOneInput (const guint8 *data, size_t size)
{
  const char *text = size ? (const char *) data : "";
  g_autoptr (GArray) big_integers = g_array_new (FALSE, FALSE, sizeof (gsize));
  gboolean is_json = mllama_json_scan (text, size, big_integers, "fuzz", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonParser) parser = mllama_json_parse (text, size, "fuzz", &error);
  JsonObjectIter iter;
  const char *name;
  JsonNode *node;

  g_assert_true (parser || error);
  if (is_json && !parser)
    g_assert_true (strstr (error->message, "appears twice") || strstr (error->message, "an object"));
  g_assert_true (is_json || !parser);
  if (!parser)
    return 0;
  json_object_iter_init (&iter, json_node_get_object (json_parser_get_root (parser)));
  while (json_object_iter_next (&iter, &name, &node))
    read_member (json_node_get_object (json_parser_get_root (parser)), name, node);
  return 0;
}
