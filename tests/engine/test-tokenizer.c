/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tokenizers of our own against the `tokenizers` library: see tokenizer/make-goldens.py. */
#include "tokenizer/golden.h"

static const char *const names[] = {"llama3", "gpt2", "partial"};

typedef struct {
  JsonParser *parser;
  JsonArray *texts, *broken;
} Goldens;

static void
load (Goldens *goldens)
{
  JsonObject *root;

  goldens->parser = golden_parse ("strings.json");
  root = golden_root (goldens->parser);
  goldens->texts = json_object_get_array_member (root, "texts");
  goldens->broken = json_object_get_array_member (root, "broken");
  g_assert_cmpuint (json_array_get_length (goldens->texts), >, 500);
}

static JsonObject *
get_part (Goldens *goldens, const char *name)
{
  return json_object_get_object_member (golden_root (goldens->parser), name);
}

static GString *
get_text (Goldens *goldens, guint i)
{
  return golden_text (json_array_get_string_element (goldens->texts, i));
}

static void
assert_encodes (MllamaTokenizer *tokenizer, const char *text, gsize length, MllamaTokenizeFlags flags,
                JsonArray *expected)
{
  g_autoptr (GArray) ids = golden_encode (tokenizer, text, length, flags), wanted = golden_ids (expected);

  golden_assert_ids ((const guint32 *) ids->data, ids->len, wanted, text);
}

static void
encodes_as_the_library (void)
{
  Goldens goldens;

  load (&goldens);
  for (guint k = 0; k < G_N_ELEMENTS (names); k++) {
    g_autoptr (MllamaTokenizer) tokenizer = golden_load_tokenizer (names[k]);
    JsonArray *ids = json_object_get_array_member (get_part (&goldens, names[k]), "ids");

    g_assert_cmpuint (json_array_get_length (ids), ==, json_array_get_length (goldens.texts));
    for (guint i = 0; i < json_array_get_length (ids); i++) {
      GString *text = get_text (&goldens, i);

      assert_encodes (tokenizer, text->str, text->len, MLLAMA_TOKENIZE_SPECIAL, json_array_get_array_element (ids, i));
      g_string_free (text, TRUE);
    }
  }
  g_object_unref (goldens.parser);
}

static void
leaves_special_spellings_alone_unless_asked (void)
{
  Goldens goldens;

  load (&goldens);
  for (guint k = 0; k < G_N_ELEMENTS (names); k++) {
    g_autoptr (MllamaTokenizer) tokenizer = golden_load_tokenizer (names[k]);
    JsonObject *part = get_part (&goldens, names[k]), *plain = json_object_get_object_member (part, "plain");
    JsonArray *special = json_object_get_array_member (part, "ids");

    g_assert_cmpuint (json_object_get_size (plain), >, 0);
    for (guint i = 0; i < json_array_get_length (goldens.texts); i++) {
      GString *text = get_text (&goldens, i);
      g_autofree char *member = g_strdup_printf ("%u", i);
      JsonArray *expected = json_object_has_member (plain, member) ? json_object_get_array_member (plain, member)
                                                                   : json_array_get_array_element (special, i);

      assert_encodes (tokenizer, text->str, text->len, MLLAMA_TOKENIZE_PLAIN, expected);
      g_string_free (text, TRUE);
    }
  }
  g_object_unref (goldens.parser);
}

static void
applies_the_post_processor_on_request (void)
{
  Goldens goldens;

  load (&goldens);
  for (guint k = 0; k < G_N_ELEMENTS (names); k++) {
    g_autoptr (MllamaTokenizer) tokenizer = golden_load_tokenizer (names[k]);
    const char *text = json_array_get_string_element (goldens.texts, 1);

    assert_encodes (tokenizer, text, strlen (text), MLLAMA_TOKENIZE_SPECIAL | MLLAMA_TOKENIZE_ADD,
                    json_object_get_array_member (get_part (&goldens, names[k]), "added"));
  }
  g_object_unref (goldens.parser);
}

static char *
read_hex (const char *hex, gsize *length)
{
  char *bytes = g_malloc (strlen (hex) / 2 + 1);

  *length = strlen (hex) / 2;
  for (gsize i = 0; i < *length; i++)
    bytes[i] = g_ascii_xdigit_value (hex[2 * i]) << 4 | g_ascii_xdigit_value (hex[2 * i + 1]);
  return bytes;
}

static void
reads_broken_utf8_as_python_does (void)
{
  Goldens goldens;

  load (&goldens);
  for (guint k = 0; k < G_N_ELEMENTS (names); k++) {
    g_autoptr (MllamaTokenizer) tokenizer = golden_load_tokenizer (names[k]);
    JsonArray *ids = json_object_get_array_member (get_part (&goldens, names[k]), "broken");

    for (guint i = 0; i < json_array_get_length (goldens.broken); i++) {
      gsize length;
      g_autofree char *bytes = read_hex (json_array_get_string_element (goldens.broken, i), &length);

      assert_encodes (tokenizer, bytes, length, MLLAMA_TOKENIZE_SPECIAL, json_array_get_array_element (ids, i));
    }
  }
  g_object_unref (goldens.parser);
}

static void
assert_decodes (MllamaTokenizer *tokenizer, const GArray *ids, gboolean skip_special, const char *expected)
{
  GString *wanted = golden_text (expected);
  gsize length;
  g_autofree char *text =
      mllama_tokenizer_decode (tokenizer, (const guint32 *) ids->data, ids->len, skip_special, &length);

  g_assert_cmpmem (text, length, wanted->str, wanted->len);
  g_string_free (wanted, TRUE);
}

static void
decodes_as_the_library (void)
{
  Goldens goldens;

  load (&goldens);
  for (guint k = 0; k < G_N_ELEMENTS (names); k++) {
    g_autoptr (MllamaTokenizer) tokenizer = golden_load_tokenizer (names[k]);
    JsonObject *part = get_part (&goldens, names[k]);
    JsonArray *sequences = json_object_get_array_member (part, "sequences");

    for (guint i = 0; i < json_array_get_length (sequences); i++) {
      g_autoptr (GArray) ids = golden_ids (json_array_get_array_element (sequences, i));

      assert_decodes (tokenizer, ids, FALSE,
                      json_array_get_string_element (json_object_get_array_member (part, "decoded"), i));
      assert_decodes (tokenizer, ids, TRUE,
                      json_array_get_string_element (json_object_get_array_member (part, "skipped"), i));
    }
  }
  g_object_unref (goldens.parser);
}

/* Every text comes back, but for the space that one of them puts in front. */
static void
decodes_what_it_encodes (void)
{
  g_autoptr (MllamaTokenizer) tokenizer = golden_load_tokenizer ("llama3");
  Goldens goldens;

  load (&goldens);
  for (guint i = 0; i < json_array_get_length (goldens.texts); i++) {
    GString *text = get_text (&goldens, i);
    g_autoptr (GArray) ids = golden_encode (tokenizer, text->str, text->len, MLLAMA_TOKENIZE_SPECIAL);

    assert_decodes (tokenizer, ids, FALSE, json_array_get_string_element (goldens.texts, i));
    g_string_free (text, TRUE);
  }
  g_object_unref (goldens.parser);
}

/* Whatever the ids, the pushes are valid UTF-8 each, and together with the end they are the whole text. */
static void
streams_what_it_decodes (void)
{
  for (guint k = 0; k < G_N_ELEMENTS (names); k++) {
    g_autoptr (MllamaTokenizer) tokenizer = golden_load_tokenizer (names[k]);
    g_autoptr (GRand) random = g_rand_new_with_seed (k);

    for (guint round = 0; round < 2000; round++) {
      gboolean skip_special = round % 2;
      g_autoptr (MllamaTokenDecoder) decoder = mllama_token_decoder_new (tokenizer, skip_special);
      g_autoptr (GString) streamed = g_string_new (NULL);
      g_autofree char *whole = NULL;
      guint32 ids[12];
      gsize length;

      for (guint i = 0; i < G_N_ELEMENTS (ids); i++) {
        gsize before = streamed->len;

        /* Low ids are single bytes: most of them no character by themselves. */
        ids[i] = g_rand_int_range (random, 0, round % 3 ? 270 : mllama_tokenizer_get_n_ids (tokenizer) + 5);
        mllama_token_decoder_push (decoder, ids[i], streamed);
        for (gsize j = before; j < streamed->len; j += strlen (streamed->str + j) + 1)
          g_assert_true (g_utf8_validate (streamed->str + j, -1, NULL));
      }
      mllama_token_decoder_finish (decoder, streamed);
      whole = mllama_tokenizer_decode (tokenizer, ids, G_N_ELEMENTS (ids), skip_special, &length);
      g_assert_cmpmem (streamed->str, streamed->len, whole, length);
    }
  }
}

static void
holds_back_an_unfinished_character (void)
{
  g_autoptr (MllamaTokenizer) tokenizer = golden_load_tokenizer ("llama3");
  g_autoptr (GString) text = g_string_new (NULL);
  g_autoptr (MllamaTokenDecoder) decoder = mllama_token_decoder_new (tokenizer, TRUE);
  static const char *const parts[] = {"\xf0", "\x9f", "\x8e", "\xa5"}; /* U+1F3A5 */

  for (guint i = 0; i < 3; i++) {
    mllama_token_decoder_push (decoder, mllama_tokenizer_get_id (tokenizer, parts[i]), text);
    g_assert_cmpstr (text->str, ==, "");
  }
  mllama_token_decoder_push (decoder, mllama_tokenizer_get_id (tokenizer, parts[3]), text);
  g_assert_cmpstr (text->str, ==, "\xf0\x9f\x8e\xa5");
  mllama_token_decoder_push (decoder, mllama_tokenizer_get_id (tokenizer, parts[0]), text);
  mllama_token_decoder_push (decoder, mllama_tokenizer_get_id (tokenizer, "a"), text);
  mllama_token_decoder_push (decoder, mllama_tokenizer_get_id (tokenizer, parts[0]), text);
  mllama_token_decoder_push (decoder, mllama_tokenizer_get_id (tokenizer, parts[1]), text);
  g_assert_cmpstr (text->str, ==, "\xf0\x9f\x8e\xa5\uFFFDa");
  mllama_token_decoder_finish (decoder, text);
  g_assert_cmpstr (text->str, ==, "\xf0\x9f\x8e\xa5\uFFFDa\uFFFD");
}

static void
assert_literal (MllamaTokenizer *tokenizer, const char *text, gsize start, gsize end, const guint32 *found,
                gsize n_found)
{
  g_autoptr (GArray) ids = g_array_new (FALSE, FALSE, sizeof (guint32)), special = g_array_new (FALSE, FALSE, 4);
  g_autofree char *whole = NULL;
  MllamaTextRange literal = {start, end};

  mllama_tokenizer_encode (tokenizer, text, -1, MLLAMA_TOKENIZE_SPECIAL, &literal, 1, ids);
  for (guint i = 0; i < ids->len; i++)
    if (mllama_tokenizer_is_special (tokenizer, g_array_index (ids, guint32, i)))
      g_array_append_val (special, g_array_index (ids, guint32, i));
  g_assert_cmpmem (special->data, special->len * sizeof (guint32), found, n_found * sizeof (guint32));
  whole = mllama_tokenizer_decode (tokenizer, (const guint32 *) ids->data, ids->len, FALSE, NULL);
  g_assert_cmpstr (whole, ==, text);
}

static void
finds_no_special_token_that_touches_a_literal_range (void)
{
  g_autoptr (MllamaTokenizer) tokenizer = golden_load_tokenizer ("llama3");
  guint32 eot = mllama_tokenizer_get_id (tokenizer, "<|eot_id|>");
  guint32 image = mllama_tokenizer_get_id (tokenizer, "<|image|>");
  const guint32 both[] = {image, eot};
  const char *text = "<|image|>a<|eot_id|>"; /* bytes 0-9, 9-10, 10-20 */

  assert_literal (tokenizer, text, 9, 10, both, 2);
  assert_literal (tokenizer, text, 8, 9, &eot, 1);
  assert_literal (tokenizer, text, 0, 1, &eot, 1);
  assert_literal (tokenizer, text, 9, 11, &image, 1);
  assert_literal (tokenizer, text, 19, 20, &image, 1);
  assert_literal (tokenizer, text, 0, 20, NULL, 0);
  assert_literal (tokenizer, text, 20, 20, both, 2);
  assert_literal (tokenizer, text, 15, 15, &image, 1);
}

static void
encodes_between_several_literal_ranges (void)
{
  g_autoptr (MllamaTokenizer) tokenizer = golden_load_tokenizer ("llama3");
  g_autoptr (GArray) ids = g_array_new (FALSE, FALSE, sizeof (guint32));
  guint32 eot = mllama_tokenizer_get_id (tokenizer, "<|eot_id|>");
  const MllamaTextRange literal[] = {{0, 10}, {20, 30}, {40, 50}};
  guint n_found = 0;

  mllama_tokenizer_encode (tokenizer, "<|eot_id|><|eot_id|><|eot_id|><|eot_id|><|eot_id|>", -1, MLLAMA_TOKENIZE_SPECIAL,
                           literal, G_N_ELEMENTS (literal), ids);
  for (guint i = 0; i < ids->len; i++)
    n_found += g_array_index (ids, guint32, i) == eot;
  g_assert_cmpuint (n_found, ==, 2);
}

static void
finds_ids_and_spellings (void)
{
  g_autoptr (MllamaTokenizer) tokenizer = golden_load_tokenizer ("llama3");
  gint64 eot = mllama_tokenizer_get_id (tokenizer, "<|eot_id|>"), dog = mllama_tokenizer_get_id (tokenizer, " dog");
  gsize length;

  g_assert_cmpint (eot, >, 0);
  g_assert_cmpstr (mllama_tokenizer_get_spelling (tokenizer, eot, &length), ==, "<|eot_id|>");
  g_assert_cmpuint (length, ==, 10);
  g_assert_true (mllama_tokenizer_is_special (tokenizer, eot));
  g_assert_cmpint (dog, >, 0);
  g_assert_cmpstr (mllama_tokenizer_get_spelling (tokenizer, dog, NULL), ==, " dog");
  g_assert_false (mllama_tokenizer_is_special (tokenizer, dog));
  g_assert_cmpint (mllama_tokenizer_get_id (tokenizer, "[location]"), >, eot);
  g_assert_false (mllama_tokenizer_is_special (tokenizer, mllama_tokenizer_get_id (tokenizer, "[location]")));
  g_assert_cmpint (mllama_tokenizer_get_id (tokenizer, "no such token"), ==, -1);
  g_assert_cmpint (mllama_tokenizer_get_id (tokenizer, ""), ==, -1);
  g_assert_null (mllama_tokenizer_get_spelling (tokenizer, mllama_tokenizer_get_n_ids (tokenizer), &length));
  g_assert_null (mllama_tokenizer_get_spelling (tokenizer, G_MAXUINT32, NULL));
  g_assert_nonnull (mllama_tokenizer_get_spelling (tokenizer, mllama_tokenizer_get_n_ids (tokenizer) - 1, NULL));
}

static void
spells_nul_in_full (void)
{
  g_autoptr (MllamaTokenizer) tokenizer = golden_load_tokenizer ("llama3");
  g_autoptr (GArray) ids = golden_encode (tokenizer, "a\0b", 3, MLLAMA_TOKENIZE_PLAIN);
  gsize length;
  g_autofree char *text = mllama_tokenizer_decode (tokenizer, (const guint32 *) ids->data, ids->len, FALSE, &length);

  g_assert_cmpmem (text, length, "a\0b", 3);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/tokenizer/encodes_as_the_library", encodes_as_the_library);
  g_test_add_func ("/tokenizer/leaves_special_spellings_alone_unless_asked",
                   leaves_special_spellings_alone_unless_asked);
  g_test_add_func ("/tokenizer/applies_the_post_processor_on_request", applies_the_post_processor_on_request);
  g_test_add_func ("/tokenizer/reads_broken_utf8_as_python_does", reads_broken_utf8_as_python_does);
  g_test_add_func ("/tokenizer/decodes_as_the_library", decodes_as_the_library);
  g_test_add_func ("/tokenizer/decodes_what_it_encodes", decodes_what_it_encodes);
  g_test_add_func ("/tokenizer/streams_what_it_decodes", streams_what_it_decodes);
  g_test_add_func ("/tokenizer/holds_back_an_unfinished_character", holds_back_an_unfinished_character);
  g_test_add_func ("/tokenizer/finds_no_special_token_that_touches_a_literal_range",
                   finds_no_special_token_that_touches_a_literal_range);
  g_test_add_func ("/tokenizer/encodes_between_several_literal_ranges", encodes_between_several_literal_ranges);
  g_test_add_func ("/tokenizer/finds_ids_and_spellings", finds_ids_and_spellings);
  g_test_add_func ("/tokenizer/spells_nul_in_full", spells_nul_in_full);
  return g_test_run ();
}
