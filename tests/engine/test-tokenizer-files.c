/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the readers of tokenizer.json and tokenizer.model take, and what they refuse. */
#include <glib/gstdio.h>

#include "tokenizer/golden.h"

/* Three tokens, and one merge; each test exchanges a part of it. */
static const char base[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
    "\"added_tokens\":[{\"id\":3,\"content\":\"<x>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
    "\"normalized\":false,\"special\":true}],"
    "\"normalizer\":null,"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
    "\"post_processor\":null,"
    "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},"
    "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
    "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,"
    "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[[\"a\",\"b\"]]}}";

#define PRE_TOKENIZER                                                                                                  \
  "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}"
#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":false}"
#define LLAMA3                                                                                                         \
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|"                                \
  " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| ?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!\\\\S)|\\\\s+"
#define SPLIT(regex, behavior, invert)                                                                                 \
  "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"" behavior "\",\"invert\":" invert "}"
#define SEQUENCE(parts) "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" parts "]}"
#define TEMPLATE(single, tokens)                                                                                       \
  "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[" single "],\"pair\":[],"                           \
  "\"special_tokens\":{" tokens "}}"
#define TOKEN "{\"SpecialToken\":{\"id\":\"<x>\",\"type_id\":0}}"
#define TEXT  "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}"
#define IDS   "\"<x>\":{\"id\":\"<x>\",\"ids\":[3],\"tokens\":[\"<x>\"]}"
#define NONE  "\"post_processor\":null"

typedef struct {
  const char *part, *instead;
  int code;
  const char *word; /* of the message */
} Fault;

static char *
exchange (const char *part, const char *instead)
{
  const char *found = strstr (base, part);

  g_assert_nonnull (found);
  return g_strdup_printf ("%.*s%s%s", (int) (found - base), base, instead, found + strlen (part));
}

static MllamaTokenizer *
load (const char *part, const char *instead, GError **error)
{
  g_autofree char *json = exchange (part, instead);

  return mllama_tokenizer_new_from_json (json, strlen (json), error);
}

static void
assert_faults (const Fault *faults, gsize n)
{
  for (gsize i = 0; i < n; i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (MllamaTokenizer) tokenizer = load (faults[i].part, faults[i].instead, &error);

    g_test_message ("%s", faults[i].instead);
    g_assert_null (tokenizer);
    g_assert_error (error, MLLAMA_ERROR, faults[i].code);
    if (!strstr (error->message, faults[i].word) || !g_str_has_prefix (error->message, "tokenizer.json"))
      g_error ("the message does not say \"%s\": %s", faults[i].word, error->message);
  }
}

static void
refuses_components_by_name (void)
{
  static const Fault faults[] = {
      {"\"normalizer\":null", "\"normalizer\":{\"type\":\"NFC\"}", MLLAMA_ERROR_UNSUPPORTED, "normalizer is NFC"},
      {"\"normalizer\":null",
       "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"_\"}]}",
       MLLAMA_ERROR_UNSUPPORTED, "normalizers[0] is Prepend"},
      {PRE_TOKENIZER, "\"pre_tokenizer\":{\"type\":\"Metaspace\"}", MLLAMA_ERROR_UNSUPPORTED, "Metaspace"},
      {PRE_TOKENIZER, "\"pre_tokenizer\":null", MLLAMA_ERROR_UNSUPPORTED, "pre_tokenizer"},
      {PRE_TOKENIZER, SEQUENCE (SPLIT (LLAMA3, "Isolated", "false")), MLLAMA_ERROR_UNSUPPORTED, "without ByteLevel"},
      {PRE_TOKENIZER, SEQUENCE ("{\"type\":\"Digits\",\"individual_digits\":true}," BYTE_LEVEL),
       MLLAMA_ERROR_UNSUPPORTED, "pretokenizers[0] is Digits"},
      {PRE_TOKENIZER, SEQUENCE (BYTE_LEVEL "," BYTE_LEVEL), MLLAMA_ERROR_UNSUPPORTED, "pretokenizers[1]"},
      {PRE_TOKENIZER, SEQUENCE (SPLIT ("\\\\p{N}", "Isolated", "false") "," BYTE_LEVEL), MLLAMA_ERROR_UNSUPPORTED,
       "pattern \\p{N}"},
      {PRE_TOKENIZER, SEQUENCE (SPLIT (LLAMA3 "x", "Isolated", "false") "," BYTE_LEVEL), MLLAMA_ERROR_UNSUPPORTED,
       "pattern"},
      {PRE_TOKENIZER, SEQUENCE (SPLIT (LLAMA3, "Removed", "false") "," BYTE_LEVEL), MLLAMA_ERROR_UNSUPPORTED,
       "Removed"},
      {PRE_TOKENIZER, SEQUENCE (SPLIT (LLAMA3, "MergedWithNext", "false") "," BYTE_LEVEL), MLLAMA_ERROR_UNSUPPORTED,
       "MergedWithNext"},
      {PRE_TOKENIZER,
       SEQUENCE (SPLIT (LLAMA3, "Isolated", "false") "," SPLIT (GPT2, "Isolated", "false") "," BYTE_LEVEL),
       MLLAMA_ERROR_UNSUPPORTED, "second Split"},
      {PRE_TOKENIZER,
       SEQUENCE ("{\"type\":\"Split\",\"pattern\":{\"String\":\" "
                 "\"},\"behavior\":\"Isolated\",\"invert\":false}," BYTE_LEVEL),
       MLLAMA_ERROR_UNSUPPORTED, "plain string"},
      {NONE, "\"post_processor\":{\"type\":\"RobertaProcessing\"}", MLLAMA_ERROR_UNSUPPORTED, "RobertaProcessing"},
      {NONE, TEMPLATE ("{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}", IDS), MLLAMA_ERROR_UNSUPPORTED, "once"},
      {NONE, TEMPLATE (TEXT "," TEXT, IDS), MLLAMA_ERROR_UNSUPPORTED, "once"},
      {"\"decoder\":{\"type\":\"ByteLevel\"", "\"decoder\":{\"type\":\"WordPiece\"", MLLAMA_ERROR_UNSUPPORTED,
       "decoder is WordPiece"},
      {"\"decoder\":", "\"decoder\":null,\"other\":", MLLAMA_ERROR_UNSUPPORTED, "decoder is null"},
      {"\"type\":\"BPE\"", "\"type\":\"Unigram\"", MLLAMA_ERROR_UNSUPPORTED, "Unigram"},
      {"\"dropout\":null", "\"dropout\":0.1", MLLAMA_ERROR_UNSUPPORTED, "dropout"},
      {"\"byte_fallback\":false", "\"byte_fallback\":true", MLLAMA_ERROR_UNSUPPORTED, "byte_fallback"},
      {"\"end_of_word_suffix\":null", "\"end_of_word_suffix\":\"</w>\"", MLLAMA_ERROR_UNSUPPORTED, "</w>"},
      {"\"continuing_subword_prefix\":null", "\"continuing_subword_prefix\":\"##\"", MLLAMA_ERROR_UNSUPPORTED, "##"},
      {"\"lstrip\":false", "\"lstrip\":true", MLLAMA_ERROR_UNSUPPORTED, "lstrip of the added token \"<x>\""},
      {"\"rstrip\":false", "\"rstrip\":true", MLLAMA_ERROR_UNSUPPORTED, "rstrip"},
      {"\"single_word\":false", "\"single_word\":true", MLLAMA_ERROR_UNSUPPORTED, "single_word"},
      {"\"version\":\"1.0\"", "\"version\":\"2.0\"", MLLAMA_ERROR_UNSUPPORTED, "2.0"},
  };

  assert_faults (faults, G_N_ELEMENTS (faults));
}

static void
refuses_damaged_files (void)
{
  static const Fault faults[] = {
      {"\"b\":1", "\"b\":0", MLLAMA_ERROR_MALFORMED, "two tokens of model.vocab have id 0"},
      {"\"b\":1", "\"b\":-1", MLLAMA_ERROR_MALFORMED, "\"b\""},
      {"\"b\":1", "\"b\":4194304", MLLAMA_ERROR_MALFORMED, "4194304"},
      {"\"b\":1", "\"b\":1e300", MLLAMA_ERROR_MALFORMED, "\"b\""},
      {"\"b\":1", "\"b\":\"1\"", MLLAMA_ERROR_MALFORMED, "\"b\""},
      {"\"b\":1", "\"b\":1,\"b\":4", MLLAMA_ERROR_MALFORMED, "b"},
      {"\"b\":1", "\"b\":1,\"\":4", MLLAMA_ERROR_MALFORMED, "id 4"},
      {"\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}", "\"vocab\":{}", MLLAMA_ERROR_MALFORMED, "vocab"},
      {"\"vocab\":", "\"vocabulary\":", MLLAMA_ERROR_MALFORMED, "vocab"},
      {"\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}", "\"vocab\":[\"a\"]", MLLAMA_ERROR_MALFORMED, "vocab"},
      {"\"merges\":", "\"mergers\":", MLLAMA_ERROR_MALFORMED, "merges"},
      {"[\"a\",\"b\"]", "[\"a\",\"c\"]", MLLAMA_ERROR_MALFORMED, "merges[0]"},
      {"[\"a\",\"b\"]", "[\"c\",\"b\"]", MLLAMA_ERROR_MALFORMED, "the first"},
      {"[\"a\",\"b\"]", "[\"b\",\"a\"]", MLLAMA_ERROR_MALFORMED, "both together"},
      {"[\"a\",\"b\"]", "[\"a\",\"b\"],[\"a\",\"b\"]", MLLAMA_ERROR_MALFORMED, "merges[1] repeats"},
      {"[\"a\",\"b\"]", "[\"a\",\"b\",\"c\"]", MLLAMA_ERROR_MALFORMED, "a list of 3"},
      {"[\"a\",\"b\"]", "[\"a\",1]", MLLAMA_ERROR_MALFORMED, "merges[0]"},
      {"[\"a\",\"b\"]", "\"ab\"", MLLAMA_ERROR_MALFORMED, "\"ab\""},
      {"[\"a\",\"b\"]", "\"a b c\"", MLLAMA_ERROR_MALFORMED, "\"a b c\""},
      {"[\"a\",\"b\"]", "7", MLLAMA_ERROR_MALFORMED, "merges[0] is 7"},
      {"[[\"a\",\"b\"]]", "null", MLLAMA_ERROR_MALFORMED, "merges is missing"},
      {"\"unk_token\":null", "\"unk_token\":\"<u>\"", MLLAMA_ERROR_MALFORMED, "<u>"},
      {"\"id\":3", "\"id\":2", MLLAMA_ERROR_MALFORMED, "that of \"ab\""},
      {"\"content\":\"<x>\"", "\"content\":\"ab\"", MLLAMA_ERROR_MALFORMED, "id 2 in model.vocab"},
      {"\"content\":\"<x>\"", "\"content\":\"\"", MLLAMA_ERROR_MALFORMED, "added_tokens[0]"},
      {"\"content\":\"<x>\",", "", MLLAMA_ERROR_MALFORMED, "added_tokens[0]"},
      {"\"id\":3,", "", MLLAMA_ERROR_MALFORMED, "added_tokens[0]"},
      {"\"id\":3", "\"id\":4294967295", MLLAMA_ERROR_MALFORMED, "4294967295"},
      {"\"added_tokens\":[", "\"added_tokens\":[{\"id\":3,\"content\":\"<y>\"},", MLLAMA_ERROR_MALFORMED, "one id, 3"},
      {"\"added_tokens\":[", "\"added_tokens\":[{\"id\":4,\"content\":\"<x>\",\"special\":true},",
       MLLAMA_ERROR_MALFORMED, "added twice"},
      {"\"added_tokens\":[", "\"added_tokens\":[3,", MLLAMA_ERROR_MALFORMED, "added_tokens[0] is not"},
      {"\"special\":true", "\"special\":1", MLLAMA_ERROR_MALFORMED, "special"},
      {NONE, TEMPLATE (TOKEN, IDS), MLLAMA_ERROR_MALFORMED, "Sequence A"},
      {NONE, TEMPLATE (TOKEN "," TEXT, ""), MLLAMA_ERROR_MALFORMED, "no ids for \"<x>\""},
      {NONE, TEMPLATE (TOKEN "," TEXT, "\"<x>\":{\"ids\":[9]}"), MLLAMA_ERROR_MALFORMED, "id 9"},
      {NONE, TEMPLATE ("{}," TEXT, IDS), MLLAMA_ERROR_MALFORMED, "neither"},
      {NONE, "\"post_processor\":7", MLLAMA_ERROR_MALFORMED, "post_processor"},
      {NONE, "\"post_processor\":{\"type\":\"Sequence\"}", MLLAMA_ERROR_MALFORMED, "processors is missing"},
      {"\"normalizer\":null", "\"normalizer\":{}", MLLAMA_ERROR_MALFORMED, "normalizer"},
      {"\"model\":", "\"models\":", MLLAMA_ERROR_MALFORMED, "model is missing"},
      {"\"model\":{", "\"model\":[{", MLLAMA_ERROR_MALFORMED, "line 1"},
  };

  assert_faults (faults, G_N_ELEMENTS (faults));
}

static void
assert_ids (MllamaTokenizer *tokenizer, const char *text, MllamaTokenizeFlags flags, const char *expected)
{
  g_autoptr (GArray) ids = golden_encode (tokenizer, text, -1, flags);
  g_autofree char *found = golden_print_ids ((const guint32 *) ids->data, ids->len);

  g_assert_cmpstr (found, ==, expected);
}

static void
takes_what_comes_to_the_same (void)
{
  static const struct {
    const char *part, *instead;
  } cases[] = {
      {"", ""},
      {"\"type\":\"BPE\",", ""},
      {"[\"a\",\"b\"]", "\"a b\""},
      {"\"dropout\":null", "\"dropout\":0.0"},
      {"\"end_of_word_suffix\":null", "\"end_of_word_suffix\":\"\""},
      {"\"normalizer\":null", "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[]}"},
      {"\"truncation\":null", "\"truncation\":{\"max_length\":1}"},
      {"\"post_processor\":null", "\"post_processor\":" BYTE_LEVEL},
      {PRE_TOKENIZER, SEQUENCE (SPLIT (GPT2, "Isolated", "false") "," BYTE_LEVEL)},
      {PRE_TOKENIZER, SEQUENCE (SPLIT (GPT2, "Isolated", "true") "," BYTE_LEVEL)},
      {PRE_TOKENIZER, SEQUENCE (SPLIT (LLAMA3, "Removed", "true") "," BYTE_LEVEL)},
      {PRE_TOKENIZER, "\"pre_tokenizer\":" BYTE_LEVEL},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (MllamaTokenizer) tokenizer = load (cases[i].part, cases[i].instead, &error);

    g_test_message ("%s", cases[i].instead);
    g_assert_no_error (error);
    assert_ids (tokenizer, "abba<x>ab", MLLAMA_TOKENIZE_SPECIAL, "[2, 1, 0, 3, 2]");
  }
}

static void
leaves_holes_between_ids (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (MllamaTokenizer) tokenizer = load ("\"id\":3", "\"id\":30", &error);

  g_assert_no_error (error);
  g_assert_cmpuint (mllama_tokenizer_get_n_ids (tokenizer), ==, 31);
  g_assert_null (mllama_tokenizer_get_spelling (tokenizer, 7, NULL));
  assert_ids (tokenizer, "<x>", MLLAMA_TOKENIZE_SPECIAL, "[30]");
}

/* Bytes that are no token: dropped, one unknown token each, or one for all in a row. */
static void
handles_unknown_bytes_as_asked (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (MllamaTokenizer) dropped = load ("", "", &error);
  g_autoptr (MllamaTokenizer) each = load ("\"unk_token\":null", "\"unk_token\":\"b\"", &error);
  g_autoptr (MllamaTokenizer) fused =
      load ("\"unk_token\":null,\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false",
            "\"unk_token\":\"b\",\"fuse_unk\":true", &error);

  g_assert_no_error (error);
  assert_ids (dropped, "axxb", MLLAMA_TOKENIZE_PLAIN, "[2]");
  assert_ids (each, "bxxa", MLLAMA_TOKENIZE_PLAIN, "[1, 1, 1, 0]");
  assert_ids (fused, "bxxa", MLLAMA_TOKENIZE_PLAIN, "[1, 1, 0]");
}

/* One that every byte goes around is put where the text stands, templates later in the list outside. */
static void
puts_templates_around_each_other (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (MllamaTokenizer) tokenizer = load (
      NONE,
      "\"post_processor\":{\"type\":\"Sequence\",\"processors\":["
      "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"s\",\"type_id\":0}}," TEXT
      ",{\"SpecialToken\":{\"id\":\"s\",\"type_id\":0}}],"
      "\"special_tokens\":{\"s\":{\"ids\":[0,1]}}},"
      "{\"type\":\"TemplateProcessing\",\"single\":[" TOKEN "," TEXT "," TOKEN "],\"special_tokens\":{" IDS "}}]}",
      &error);

  g_assert_no_error (error);
  assert_ids (tokenizer, "ab", MLLAMA_TOKENIZE_ADD, "[3, 0, 1, 2, 0, 1, 3]");
  assert_ids (tokenizer, "ab", MLLAMA_TOKENIZE_PLAIN, "[2]");
}

/* "ab" is special here, so that neither a merge nor ignore_merges may make it of literal text. */
static void
makes_no_special_token_of_literal_text (void)
{
  static const char *const models[] = {"\"ignore_merges\":false", "\"ignore_merges\":true"};

  for (guint i = 0; i < G_N_ELEMENTS (models); i++) {
    g_autofree char *first = exchange ("\"id\":3,\"content\":\"<x>\"", "\"id\":2,\"content\":\"ab\"");
    g_autofree char *json = NULL;
    g_autoptr (GError) error = NULL;
    g_autoptr (MllamaTokenizer) tokenizer = NULL;
    char **parts = g_strsplit (first, models[0], 2);

    json = g_strjoin (models[i], parts[0], parts[1], NULL);
    tokenizer = mllama_tokenizer_new_from_json (json, strlen (json), &error);
    g_assert_no_error (error);
    assert_ids (tokenizer, "abab", MLLAMA_TOKENIZE_SPECIAL, "[2, 2]");
    assert_ids (tokenizer, "ab", MLLAMA_TOKENIZE_PLAIN, "[0, 1]");
    g_strfreev (parts);
  }
}

/* A token that was not added as a special one is decoded as text, but its form says that no user may spell it. */
static void
makes_no_control_token_of_literal_text (void)
{
  g_autofree char *first = exchange ("\"content\":\"<x>\"", "\"content\":\"<|a|>\"");
  char **parts = g_strsplit (first, "\"special\":true", 2);
  g_autofree char *json = g_strjoin ("\"special\":false", parts[0], parts[1], NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (MllamaTokenizer) tokenizer = mllama_tokenizer_new_from_json (json, strlen (json), &error);

  g_assert_no_error (error);
  g_assert_false (mllama_tokenizer_is_special (tokenizer, 3));
  assert_ids (tokenizer, "<|a|>", MLLAMA_TOKENIZE_SPECIAL, "[3]");
  assert_ids (tokenizer, "<|a|>", MLLAMA_TOKENIZE_PLAIN, "[0]");
  g_strfreev (parts);
}

/* --- tokenizer.model --- */

/* All bytes, byte i with rank 255 - i, then "ab", "bc", "abc", "cd", then what is given. */
static GString *
new_ranks (const char *more)
{
  static const char *const tokens[] = {"ab", "bc", "abc", "cd"};
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < 256 + G_N_ELEMENTS (tokens); i++) {
    guchar byte = 255 - i;
    g_autofree char *line = i < 256 ? g_base64_encode (&byte, 1)
                                    : g_base64_encode ((const guchar *) tokens[i - 256], strlen (tokens[i - 256]));

    g_string_append_printf (text, "%s %u\n", line, i);
  }
  return g_string_append (text, more);
}

static void
reads_ranks (void)
{
  GString *text = new_ranks ("");
  g_autoptr (GError) error = NULL;
  g_autoptr (MllamaTokenizer) tokenizer = mllama_tokenizer_new_from_tiktoken (text->str, text->len, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (mllama_tokenizer_get_n_ids (tokenizer), ==, 260 + 257);
  g_assert_cmpint (mllama_tokenizer_get_id (tokenizer, "<|begin_of_text|>"), ==, 260);
  g_assert_cmpint (mllama_tokenizer_get_id (tokenizer, "<|reserved_special_token_1|>"), ==, 263);
  g_assert_cmpint (mllama_tokenizer_get_id (tokenizer, "<|finetune_right_pad_id|>"), ==, 264);
  g_assert_cmpint (mllama_tokenizer_get_id (tokenizer, "<|eot_id|>"), ==, 269);
  g_assert_cmpint (mllama_tokenizer_get_id (tokenizer, "<|reserved_special_token_2|>"), ==, 271);
  g_assert_cmpint (mllama_tokenizer_get_id (tokenizer, "<|reserved_special_token_246|>"), ==, 515);
  g_assert_cmpint (mllama_tokenizer_get_id (tokenizer, "<|image|>"), ==, 516);
  g_assert_true (mllama_tokenizer_is_special (tokenizer, 516));
  /* "ab" goes first, then "abc" before "cd"; a piece that is a token is found at once. */
  assert_ids (tokenizer, "abcd", MLLAMA_TOKENIZE_PLAIN, "[258, 155]");
  assert_ids (tokenizer, "abbc", MLLAMA_TOKENIZE_PLAIN, "[256, 257]");
  assert_ids (tokenizer, "abc", MLLAMA_TOKENIZE_PLAIN, "[258]");
  assert_ids (tokenizer, "bcd<|image|>", MLLAMA_TOKENIZE_SPECIAL | MLLAMA_TOKENIZE_ADD, "[257, 155, 516]");
  g_string_free (text, TRUE);
}

static void
refuses_damaged_ranks (void)
{
  static const struct {
    const char *more, *word;
  } faults[] = {
      {"eHl6 259\n", "line 261: an earlier line has the same rank"},
      {"YWI= 260\n", "line 261: an earlier line has the same token"},
      {"eHl6 261\n", "260 is missing"},
      {"eHl6 99999999999999999999\n", "line 261"},
      {"eHl6 4194303\n", "line 261"},
      {"eHl6 -1\n", "line 261"},
      {"eHl6\n", "line 261"},
      {"eHl6 260 1\n", "line 261"},
      {"eHl6  260\n", "line 261"},
      {"eH*6 260\n", "line 261: the base64"},
      {"eHl 260\n", "line 261: the base64"},
      {"eHl6* 260\n", "line 261: the base64"},
      {"eHl6eH 260\n", "line 261: the base64"},
      {" 260\n", "line 261: the base64"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (faults); i++) {
    GString *text = new_ranks (faults[i].more);
    g_autoptr (GError) error = NULL;

    g_assert_null (mllama_tokenizer_new_from_tiktoken (text->str, text->len, &error));
    g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED);
    if (!strstr (error->message, faults[i].word))
      g_error ("the message does not say \"%s\": %s", faults[i].word, error->message);
    g_string_free (text, TRUE);
  }
}

static void
refuses_ranks_without_every_byte (void)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (mllama_tokenizer_new_from_tiktoken ("YQ== 0\n", 7, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED);
  g_assert_nonnull (strstr (error->message, "byte 0 "));
  g_clear_error (&error);
  g_assert_null (mllama_tokenizer_new_from_tiktoken ("", 0, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED);
}

/* --- directories --- */

static void
write_file (const char *directory, const char *name, const char *text)
{
  g_autofree char *path = g_build_filename (directory, name, NULL);

  g_assert_true (g_file_set_contents (path, text, -1, NULL));
}

static void
prefers_tokenizer_json (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *directory = g_dir_make_tmp ("mllama-XXXXXX", NULL);
  g_autofree char *json = g_build_filename (directory, "tokenizer.json", NULL);
  g_autofree char *ranks = g_build_filename (directory, "tokenizer.model", NULL);
  GString *text = new_ranks ("");
  MllamaTokenizer *tokenizer;

  g_assert_null (mllama_tokenizer_new_from_directory (directory, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND);
  g_clear_error (&error);

  write_file (directory, "tokenizer.model", text->str);
  tokenizer = mllama_tokenizer_new_from_directory (directory, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (mllama_tokenizer_get_n_ids (tokenizer), ==, 517);
  mllama_tokenizer_unref (tokenizer);

  write_file (directory, "tokenizer.json", base);
  tokenizer = mllama_tokenizer_new_from_directory (directory, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (mllama_tokenizer_get_n_ids (tokenizer), ==, 4);
  mllama_tokenizer_unref (tokenizer);

  write_file (directory, "tokenizer.json", "{");
  g_assert_null (mllama_tokenizer_new_from_directory (directory, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED);
  g_assert_true (g_str_has_prefix (error->message, json));
  g_remove (json);
  g_remove (ranks);
  g_rmdir (directory);
  g_string_free (text, TRUE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/tokenizer-files/refuses_components_by_name", refuses_components_by_name);
  g_test_add_func ("/tokenizer-files/refuses_damaged_files", refuses_damaged_files);
  g_test_add_func ("/tokenizer-files/takes_what_comes_to_the_same", takes_what_comes_to_the_same);
  g_test_add_func ("/tokenizer-files/leaves_holes_between_ids", leaves_holes_between_ids);
  g_test_add_func ("/tokenizer-files/handles_unknown_bytes_as_asked", handles_unknown_bytes_as_asked);
  g_test_add_func ("/tokenizer-files/puts_templates_around_each_other", puts_templates_around_each_other);
  g_test_add_func ("/tokenizer-files/makes_no_special_token_of_literal_text", makes_no_special_token_of_literal_text);
  g_test_add_func ("/tokenizer-files/makes_no_control_token_of_literal_text", makes_no_control_token_of_literal_text);
  g_test_add_func ("/tokenizer-files/reads_ranks", reads_ranks);
  g_test_add_func ("/tokenizer-files/refuses_damaged_ranks", refuses_damaged_ranks);
  g_test_add_func ("/tokenizer-files/refuses_ranks_without_every_byte", refuses_ranks_without_every_byte);
  g_test_add_func ("/tokenizer-files/prefers_tokenizer_json", prefers_tokenizer_json);
  return g_test_run ();
}
