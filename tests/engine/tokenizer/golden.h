/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The small tokenizers of this folder, and the goldens that make-goldens.py recorded with them. */
#pragma once

#include <mllama/mllama.h>
#include <string.h>

#include "json.h"

static inline char *
golden_read (const char *name, gsize *length)
{
  g_autofree char *path = g_build_filename (g_getenv ("MLLAMA_TEST_SOURCE_DIR"), "engine", "tokenizer", name, NULL);
  g_autoptr (GError) error = NULL;
  char *text;

  g_file_get_contents (path, &text, length, &error);
  g_assert_no_error (error);
  return text;
}

static inline MllamaTokenizer *
golden_load_tokenizer (const char *name)
{
  g_autofree char *file = g_strconcat (name, ".json", NULL);
  g_autoptr (GError) error = NULL;
  gsize length;
  g_autofree char *text = golden_read (file, &length);
  MllamaTokenizer *tokenizer = mllama_tokenizer_new_from_json (text, length, &error);

  g_assert_no_error (error);
  return tokenizer;
}

static inline JsonParser *
golden_parse (const char *name)
{
  g_autoptr (GError) error = NULL;
  gsize length;
  g_autofree char *text = golden_read (name, &length);
  JsonParser *parser = mllama_json_parse (text, length, name, &error);

  g_assert_no_error (error);
  return parser;
}

static inline JsonObject *
golden_root (JsonParser *parser)
{
  return json_node_get_object (json_parser_get_root (parser));
}

/* The text as it was: U+F8FF stands for NUL. */
static inline GString *
golden_text (const char *spelled)
{
  g_auto (GStrv) parts = g_strsplit (spelled, "\357\243\277", -1);
  GString *text = g_string_new (parts[0]);

  for (guint i = 1; parts[0] && parts[i]; i++) {
    g_string_append_c (text, '\0');
    g_string_append (text, parts[i]);
  }
  return text;
}

static inline GArray *
golden_ids (JsonArray *list)
{
  GArray *ids = g_array_new (FALSE, FALSE, sizeof (guint32));

  for (guint i = 0; i < json_array_get_length (list); i++) {
    guint32 id = json_array_get_int_element (list, i);

    g_array_append_val (ids, id);
  }
  return ids;
}

static inline GArray *
golden_encode (MllamaTokenizer *tokenizer, const char *text, gssize length, MllamaTokenizeFlags flags)
{
  GArray *ids = g_array_new (FALSE, FALSE, sizeof (guint32));

  mllama_tokenizer_encode (tokenizer, text, length, flags, NULL, 0, ids);
  return ids;
}

static inline char *
golden_print_ids (const guint32 *ids, gsize n)
{
  GString *text = g_string_new ("[");

  for (gsize i = 0; i < n; i++)
    g_string_append_printf (text, "%s%u", i ? ", " : "", ids[i]);
  return g_string_free (g_string_append_c (text, ']'), FALSE);
}

/* Equal ids, or a failure that shows both, and what they were for. */
static inline void
golden_assert_ids (const guint32 *ids, gsize n_ids, const GArray *expected, const char *what)
{
  g_autofree char *found = golden_print_ids (ids, n_ids);
  g_autofree char *wanted = golden_print_ids ((const guint32 *) expected->data, expected->len);

  if (strcmp (found, wanted) != 0)
    g_error ("%s: ids are %s, expected %s", what, found, wanted);
}
