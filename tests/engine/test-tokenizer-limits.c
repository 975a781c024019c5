/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Texts that make a slow tokenizer take hours, and the pieces that the patterns cut. */
#include "pretokenizer.h"
#include "tokenizer-utf8.h"
#include "tokenizer/golden.h"

/* Twice what a slow machine needs; anything quadratic would take days. */
#define MAX_SECONDS 120

static char *
repeat (const char *unit, gsize n)
{
  GString *text = g_string_sized_new (n * strlen (unit));

  for (gsize i = 0; i < n; i++)
    g_string_append (text, unit);
  return g_string_free (text, FALSE);
}

/* All bytes, and runs of two to 128 spaces, as Llama's vocabulary has them. */
static MllamaTokenizer *
new_spaces_tokenizer (void)
{
  g_autoptr (GError) error = NULL;
  GString *ranks = g_string_new (NULL);
  MllamaTokenizer *tokenizer;

  for (guint i = 0; i < 256 + 127; i++) {
    guchar byte = i;
    g_autofree char *run = repeat (" ", i < 256 ? 0 : i - 254);
    g_autofree char *line = i < 256 ? g_base64_encode (&byte, 1) : g_base64_encode ((guchar *) run, i - 254);

    g_string_append_printf (ranks, "%s %u\n", line, i);
  }
  tokenizer = mllama_tokenizer_new_from_tiktoken (ranks->str, ranks->len, &error);
  g_assert_no_error (error);
  g_string_free (ranks, TRUE);
  return tokenizer;
}

/* The text comes back, in good time. Returns the number of its tokens. */
static guint
assert_round_trip (MllamaTokenizer *tokenizer, const char *text)
{
  gint64 start = g_get_monotonic_time ();
  g_autoptr (GArray) ids = golden_encode (tokenizer, text, -1, MLLAMA_TOKENIZE_SPECIAL);
  double seconds = (g_get_monotonic_time () - start) / 1e6;
  g_autofree char *decoded = NULL;
  gsize length;

  g_test_message ("%" G_GSIZE_FORMAT " bytes, %u ids, %.2f s", strlen (text), ids->len, seconds);
  g_assert_cmpfloat (seconds, <, MAX_SECONDS);
  decoded = mllama_tokenizer_decode (tokenizer, (const guint32 *) ids->data, ids->len, FALSE, &length);
  g_assert_cmpuint (length, ==, strlen (text));
  g_assert_cmpint (memcmp (decoded, text, length), ==, 0);
  return ids->len;
}

static void
encodes_a_word_of_100000_letters (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (1);
  g_autoptr (MllamaTokenizer) tokenizer = golden_load_tokenizer ("llama3");
  g_autofree char *word = repeat ("the", 33334), *letters = repeat ("a", 100000);

  assert_round_trip (tokenizer, word);
  for (gsize i = 0; letters[i]; i++)
    letters[i] = g_rand_int_range (random, 'a', 'z' + 1);
  assert_round_trip (tokenizer, letters);
}

static void
encodes_10_million_spaces (void)
{
  g_autoptr (MllamaTokenizer) tokenizer = new_spaces_tokenizer ();
  g_autofree char *spaces = repeat (" ", 10 * 1000 * 1000);

  g_assert_cmpuint (assert_round_trip (tokenizer, spaces), ==, 10 * 1000 * 1000 / 128);
}

static void
encodes_a_million_of_anything (void)
{
  static const char *const units[] = {" x", "\n ", " \n", "<", "<|", "<|eot_id|>", "'", "\xf0\x9f\x8e\xa5", "1", "!\n"};
  g_autoptr (MllamaTokenizer) tokenizer = golden_load_tokenizer ("llama3");

  for (guint i = 0; i < G_N_ELEMENTS (units); i++) {
    g_autofree char *text = repeat (units[i], 1000 * 1000);

    assert_round_trip (tokenizer, text);
  }
}

/* Pieces of the text, with | between them. */
static char *
cut (MllamaSplit split, const char *text)
{
  GString *pieces = g_string_new (NULL);
  gsize length = strlen (text);

  while (length > 0) {
    gsize n = mllama_split_next (split, text, length);

    g_assert_cmpuint (n, >, 0);
    g_assert_cmpuint (n, <=, length);
    g_string_append_len (pieces, text, n);
    text += n;
    length -= n;
    if (length > 0)
      g_string_append_c (pieces, '|');
  }
  return g_string_free (pieces, FALSE);
}

static void
cuts_as_the_patterns (void)
{
  static const struct {
    MllamaSplit split;
    const char *text, *pieces;
  } cases[] = {
      {MLLAMA_SPLIT_LLAMA3, "don'T I'LLx", "don|'T| I|'LL|x"},
      {MLLAMA_SPLIT_LLAMA3, "'\u017fx", "'\u017f|x"},
      {MLLAMA_SPLIT_LLAMA3, "12345 6", "123|45| |6"},
      {MLLAMA_SPLIT_LLAMA3, "a   b", "a|  | b"},
      {MLLAMA_SPLIT_LLAMA3, " \n \n x", " \n \n| x"},
      {MLLAMA_SPLIT_LLAMA3, "x \n", "x| \n"},
      {MLLAMA_SPLIT_LLAMA3, "?!\n\nx", "?!\n\n|x"},
      {MLLAMA_SPLIT_LLAMA3, "\tx\t\ty", "\tx|\t|\ty"},
      {MLLAMA_SPLIT_LLAMA3, "\"x", "\"x"},
      {MLLAMA_SPLIT_LLAMA3, "\"\"x", "\"\"|x"},
      {MLLAMA_SPLIT_LLAMA3, "a\u180eb", "a|\u180eb"},
      {MLLAMA_SPLIT_LLAMA3, " \u180e!", " \u180e!"},
      {MLLAMA_SPLIT_LLAMA3, "x\ny\rz", "x|\n|y|\r|z"},
      {MLLAMA_SPLIT_LLAMA3, "a\u3000\u3000b", "a|\u3000|\u3000b"},
      {MLLAMA_SPLIT_LLAMA3, "a\u0301", "a|\u0301"},
      {MLLAMA_SPLIT_GPT2, "don'T I'll", "don|'|T| I|'ll"},
      {MLLAMA_SPLIT_GPT2, "12345 6", "12345| 6"},
      {MLLAMA_SPLIT_GPT2, " \n \n x", " \n \n| x"},
      {MLLAMA_SPLIT_GPT2, "\tx ", "\t|x| "},
      {MLLAMA_SPLIT_GPT2, "?!\n\nx", "?!|\n|\n|x"},
      {MLLAMA_SPLIT_NONE, "a b", "a b"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *pieces = cut (cases[i].split, cases[i].text);

    g_assert_cmpstr (pieces, ==, cases[i].pieces);
  }
}

static void
replaces_each_part_of_a_broken_character_once (void)
{
  static const struct {
    const char *bytes, *valid;
    gsize n_left;
  } cases[] = {
      {"a\x80z", "a\uFFFDz", 0},
      {"\xc0\xaf", "\uFFFD\uFFFD", 0},
      {"\xe0\x80\x80", "\uFFFD\uFFFD\uFFFD", 0},
      {"\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD", 0},
      {"\xf4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD", 0},
      {"\xf0\x9f\x8ez", "\uFFFDz", 0},
      {"\xe2\x82"
       "A\xe2\x82\xac",
       "\uFFFDA\u20ac", 0},
      {"\xff\xfe", "\uFFFD\uFFFD", 0},
      {"z\xf0\x9f\x8e", "z", 3},
      {"z\xe2", "z", 1},
      {"\xf4\x8f\xbf\xbf", "\U0010ffff", 0},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GString) valid = g_string_new (NULL);

    g_assert_cmpuint (mllama_utf8_append (valid, cases[i].bytes, strlen (cases[i].bytes)), ==, cases[i].n_left);
    g_assert_cmpstr (valid->str, ==, cases[i].valid);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/tokenizer-limits/cuts_as_the_patterns", cuts_as_the_patterns);
  g_test_add_func ("/tokenizer-limits/replaces_each_part_of_a_broken_character_once",
                   replaces_each_part_of_a_broken_character_once);
  g_test_add_func ("/tokenizer-limits/encodes_a_word_of_100000_letters", encodes_a_word_of_100000_letters);
  g_test_add_func ("/tokenizer-limits/encodes_10_million_spaces", encodes_10_million_spaces);
  g_test_add_func ("/tokenizer-limits/encodes_a_million_of_anything", encodes_a_million_of_anything);
  return g_test_run ();
}
