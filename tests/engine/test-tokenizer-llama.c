/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The real Llama 3.2-Vision tokenizer, which its licence keeps out of this project: MLLAMA_TOKENIZER_DIR names a folder
 * with tokenizer.json (or .json.xz), tokenizer.model, and golden.json: [{"text": …, "ids": […]}, …]. */
#include <glib/gstdio.h>

#include "prompt-private.h"
#include "tokenizer/golden.h"

static MllamaTokenizer *from_json, *from_ranks;

static char *
read_member (const char *name, gsize *length)
{
  g_autofree char *path = g_build_filename (g_getenv ("MLLAMA_TOKENIZER_DIR"), name, NULL);
  char *text = NULL;

  g_file_get_contents (path, &text, length, NULL);
  return text;
}

/* The text of DIR/tokenizer.json.xz, or NULL. */
static char *
unpack_json (gsize *length)
{
  g_autofree char *path = g_build_filename (g_getenv ("MLLAMA_TOKENIZER_DIR"), "tokenizer.json.xz", NULL);
  g_autoptr (GSubprocess) xz = NULL;
  g_autoptr (GBytes) text = NULL;

  xz = g_subprocess_new (G_SUBPROCESS_FLAGS_STDOUT_PIPE, NULL, "xz", "-dc", path, NULL);
  if (!xz || !g_subprocess_communicate (xz, NULL, NULL, &text, NULL, NULL) || !g_subprocess_get_successful (xz))
    return NULL;
  return g_bytes_unref_to_data (g_steal_pointer (&text), length);
}

/* Loads both forms; FALSE, and the test is skipped, without the folder or xz. */
static gboolean
load (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *json = NULL, *ranks = NULL;
  gsize n_json, n_ranks;

  if (from_json)
    return TRUE;
  if (!g_getenv ("MLLAMA_TOKENIZER_DIR")) {
    g_test_skip ("MLLAMA_TOKENIZER_DIR is not set");
    return FALSE;
  }
  json = read_member ("tokenizer.json", &n_json);
  if (!json)
    json = unpack_json (&n_json);
  ranks = read_member ("tokenizer.model", &n_ranks);
  if (!json || !ranks) {
    g_test_skip ("MLLAMA_TOKENIZER_DIR lacks tokenizer.json or tokenizer.model, or xz is missing");
    return FALSE;
  }
  from_json = mllama_tokenizer_new_from_json (json, n_json, &error);
  g_assert_no_error (error);
  from_ranks = mllama_tokenizer_new_from_tiktoken (ranks, n_ranks, &error);
  g_assert_no_error (error);
  return TRUE;
}

/* golden.json is a list, and may spell NUL: an object, and U+F8FF. */
static JsonParser *
parse_goldens (void)
{
  g_autoptr (GError) error = NULL;
  gsize length;
  g_autofree char *text = read_member ("golden.json", &length);
  GString *object = g_string_new (text);
  JsonParser *parser;

  g_assert_nonnull (text);
  g_string_replace (object, "\\u0000", "\\uf8ff", 0);
  g_string_prepend (object, "{\"golden\":");
  g_string_append_c (object, '}');
  parser = mllama_json_parse (object->str, object->len, "golden.json", &error);
  g_assert_no_error (error);
  g_string_free (object, TRUE);
  return parser;
}

static void
assert_golden (MllamaTokenizer *tokenizer, JsonObject *golden)
{
  GString *text = golden_text (json_object_get_string_member (golden, "text"));
  g_autoptr (GArray) expected = golden_ids (json_object_get_array_member (golden, "ids"));
  g_autoptr (GArray) ids = golden_encode (tokenizer, text->str, text->len, MLLAMA_TOKENIZE_SPECIAL);
  g_autofree char *decoded = NULL;
  gsize length;

  golden_assert_ids ((const guint32 *) ids->data, ids->len, expected, text->str);
  decoded = mllama_tokenizer_decode (tokenizer, (const guint32 *) ids->data, ids->len, FALSE, &length);
  g_assert_cmpmem (decoded, length, text->str, text->len);
  g_string_free (text, TRUE);
}

static void
encodes_as_recorded (void)
{
  JsonParser *parser;
  JsonArray *goldens;

  if (!load ())
    return;
  parser = parse_goldens ();
  goldens = json_object_get_array_member (golden_root (parser), "golden");
  g_assert_cmpuint (json_array_get_length (goldens), >, 0);
  for (guint i = 0; i < json_array_get_length (goldens); i++) {
    assert_golden (from_json, json_array_get_object_element (goldens, i));
    assert_golden (from_ranks, json_array_get_object_element (goldens, i));
  }
  g_object_unref (parser);
}

static void
reads_both_files_to_the_same_ids (void)
{
  JsonParser *parser;
  JsonArray *texts;

  if (!load ())
    return;
  parser = golden_parse ("strings.json");
  texts = json_object_get_array_member (golden_root (parser), "texts");
  for (guint i = 0; i < json_array_get_length (texts); i++) {
    GString *text = golden_text (json_array_get_string_element (texts, i));
    g_autoptr (GArray) a = golden_encode (from_json, text->str, text->len, MLLAMA_TOKENIZE_SPECIAL);
    g_autoptr (GArray) b = golden_encode (from_ranks, text->str, text->len, MLLAMA_TOKENIZE_SPECIAL);
    g_autofree char *decoded = NULL;
    gsize length;

    golden_assert_ids ((const guint32 *) b->data, b->len, a, text->str);
    decoded = mllama_tokenizer_decode (from_json, (const guint32 *) a->data, a->len, FALSE, &length);
    g_assert_cmpmem (decoded, length, text->str, text->len);
    g_string_free (text, TRUE);
  }
  g_assert_cmpuint (mllama_tokenizer_get_n_ids (from_json), ==, mllama_tokenizer_get_n_ids (from_ranks));
  for (guint32 id = 0; id < mllama_tokenizer_get_n_ids (from_json); id++) {
    gsize n_a, n_b;
    const char *a = mllama_tokenizer_get_spelling (from_json, id, &n_a);
    const char *b = mllama_tokenizer_get_spelling (from_ranks, id, &n_b);

    g_assert_cmpmem (a, n_a, b, n_b);
  }
  g_object_unref (parser);
}

/* The two conversations of spec 1.5. */
static void
lays_out_chats_as_upstream_records (void)
{
  static const guint32 one[] = {128000, 128006, 882,   128007, 271,    128256, 75885,  420, 2217,
                                304,    1403,   23719, 128009, 128006, 78191,  128007, 271};
  static const guint32 two[] = {128000, 128006, 882, 128007, 271, 75885, 420,    2217,   304,   1403,   23719, 128256,
                                3475,   11914,  262, 128256, 564, 198,   128009, 128006, 78191, 128007, 271};
  static const MllamaMessagePart parts[] = {
      {"Describe this image in two sentences", 36}, {NULL, 0}, {" Test sentence   ", 17}, {NULL, 0}, {"ok\n", 3},
  };
  const MllamaMessage message = {"user", parts, G_N_ELEMENTS (parts)};
  MllamaConfig config = {.has_vision = TRUE, .image_token_id = 128256};
  MllamaPromptMaker maker = {.config = &config, .bos_id = 128000, .n_embeddings = 128264};
  g_autoptr (GError) error = NULL;
  const guint32 *ids;
  gsize n_ids;

  if (!load ())
    return;
  for (guint i = 0; i < 2; i++) {
    MllamaPrompt *prompt;

    maker.tokenizer = i == 0 ? from_json : from_ranks;
    prompt = mllama_prompt_make_question (&maker, parts[0].text, -1, 1, &error);
    g_assert_no_error (error);
    ids = mllama_prompt_get_ids (prompt, &n_ids);
    g_assert_cmpmem (ids, n_ids * sizeof *ids, one, sizeof one);
    mllama_prompt_unref (prompt);
    prompt = mllama_prompt_make_chat (&maker, &message, 1, &error);
    g_assert_no_error (error);
    ids = mllama_prompt_get_ids (prompt, &n_ids);
    g_assert_cmpmem (ids, n_ids * sizeof *ids, two, sizeof two);
    mllama_prompt_unref (prompt);
  }
}

int
main (int argc, char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/tokenizer-llama/encodes_as_recorded", encodes_as_recorded);
  g_test_add_func ("/tokenizer-llama/reads_both_files_to_the_same_ids", reads_both_files_to_the_same_ids);
  g_test_add_func ("/tokenizer-llama/lays_out_chats_as_upstream_records", lays_out_chats_as_upstream_records);
  status = g_test_run ();
  mllama_tokenizer_unref (from_json);
  mllama_tokenizer_unref (from_ranks);
  return status;
}
