/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <locale.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "test-util.h"

static JsonParser *
parse (const char *text, GError **error)
{
  return mllama_json_parse (text, strlen (text), "x.json", error);
}

static JsonParser *
parse_well (const char *text)
{
  GError *error = NULL;
  JsonParser *parser = parse (text, &error);

  g_assert_no_error (error);
  return parser;
}

static JsonObject *
get_root (JsonParser *parser)
{
  return json_node_get_object (json_parser_get_root (parser));
}

static void
test_accepts_all_of_the_grammar (void)
{
  static const char *const texts[] = {
      "{}",
      " \t\r\n{ } \n",
      "{\"a\":[]}",
      "{\"a\":[[],{},[1,2]]}",
      "{\"\":0}",
      "{\"a\":-0,\"b\":0,\"c\":0.5,\"d\":-1.25e-3,\"e\":1E+2,\"f\":1e2}",
      "{\"a\":true,\"b\":false,\"c\":null}",
      "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00\"}",
      "{\"\xc3\xa9\":\"\xf0\x9f\x98\x80\x7f\"}",
      "{\"a\":{\"a\":1},\"b\":{\"a\":1}}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    g_autoptr (JsonParser) parser = parse_well (texts[i]);
    g_assert_nonnull (parser);
  }
}

static const struct {
  const char *text, *words;
} malformed[] = {
    {"", "line 1, column 1|ends in the middle"},
    {"  \n ", "line 2, column 2|ends in the middle"},
    {"[]", "an object|a list of 0"},
    {"3", "an object|not 3"},
    {"null", "an object|null"},
    {"{", "ends in the middle"},
    {"{\"a\"", "ends in the middle"},
    {"{\"a\":", "ends in the middle"},
    {"{\"a\":1", "ends in the middle"},
    {"{\"a\":1,", "ends in the middle"},
    {"{\"a\":1,}", "column 8|name of a member"},
    {"{\"a\":[1,]}", "value is expected"},
    {"{\"a\":[,1]}", "value is expected"},
    {"{,}", "name of a member"},
    {"{a:1}", "name of a member"},
    {"{'a':1}", "name of a member"},
    {"{\"a\" 1}", "':' is expected"},
    {"{\"a\":1 \"b\":2}", "',' or '}'"},
    {"{\"a\":[1 2]}", "',' or ']'"},
    {"{\"a\":[1}", "',' or ']'"},
    {"{\"a\":{]}", "name of a member"},
    {"{\"a\":1}}", "nothing may follow"},
    {"{} {}", "nothing may follow"},
    {"{}x", "nothing may follow"},
    {"/* c */{}", "value is expected"},
    {"var a = {}", "value is expected"},
    {"\xef\xbb\xbf{}", "value is expected"},
    {"{\"a\":\n\n  tru}", "line 3, column 3"},
    {"{\"a\":NaN}", "value is expected"},
    {"{\"a\":Infinity}", "value is expected"},
    {"{\"a\":-Infinity}", "needs digits"},
    {"{\"a\":-}", "needs digits"},
    {"{\"a\":+1}", "value is expected"},
    {"{\"a\":01}", "',' or '}'"},
    {"{\"a\":1.}", "after its point"},
    {"{\"a\":.5}", "value is expected"},
    {"{\"a\":1e}", "exponent"},
    {"{\"a\":1e+}", "exponent"},
    {"{\"a\":0x10}", "',' or '}'"},
    {"{\"a\":1e999}", "too large for a double"},
    {"{\"a\":-1e999}", "too large for a double"},
    {"{\"a\":\"b}", "ends in the middle"},
    {"{\"a\":\"\\", "ends in the middle"},
    {"{\"a\":\"\\x\"}", "no such escape"},
    {"{\"a\":\"\n\"}", "control characters"},
    {"{\"a\":\"\\u12\"}", "four hexadecimal"},
    {"{\"a\":\"\\u0000\"}", "u0000"},
    {"{\"a\":\"\\ud800\"}", "half of a surrogate pair"},
    {"{\"a\":\"\\ud800\\u0041\"}", "half of a surrogate pair"},
    {"{\"a\":\"\\udc00\"}", "half of a surrogate pair"},
    {"{\"a\":\"\xff\"}", "not valid UTF-8"},
    {"{\"a\":\"\xc3\"}", "not valid UTF-8"},
    {"{\"a\":\"\xed\xa0\x80\"}", "not valid UTF-8"},
    {"{\"a\":1,\"a\":1}", "\"a\" appears twice"},
    {"{\"a\":1,\"b\":2,\"\\u0061\":1}", "\"a\" appears twice"},
    {"{\"x\":{\"a\":{},\"a\":{}}}", "\"a\" appears twice"},
};

static void
test_rejects_what_is_not_json_and_says_where (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (malformed); i++) {
    GError *error = NULL;

    g_test_message ("text %u", i);
    g_assert_null (parse (malformed[i].text, &error));
    test_assert_error (error, MLLAMA_ERROR_MALFORMED, malformed[i].words);
  }
}

static void
test_rejects_an_embedded_nul (void)
{
  GError *error = NULL;

  g_assert_null (mllama_json_parse ("{\"a\":\"x\0y\"}", 11, "x.json", &error));
  test_assert_error (error, MLLAMA_ERROR_MALFORMED, "column 8|NUL");
}

static void
test_rejects_a_hundred_thousand_nested_brackets (void)
{
  static const char *const openers[] = {"[", "{\"a\":"};

  for (guint k = 0; k < G_N_ELEMENTS (openers); k++) {
    g_autoptr (GString) text = g_string_new ("{\"a\":");
    GError *error = NULL;

    for (guint i = 0; i < 100000; i++)
      g_string_append (text, openers[k]);
    g_assert_null (parse (text->str, &error));
    test_assert_error (error, MLLAMA_ERROR_MALFORMED, "nested deeper than 64");
  }
}

static void
test_accepts_the_deepest_level_and_no_more (void)
{
  for (guint extra = 0; extra < 2; extra++) {
    guint n = MLLAMA_JSON_MAX_DEPTH - 1 + extra;
    g_autofree char *open = g_strnfill (n, '['), *close = g_strnfill (n, ']');
    g_autofree char *text = g_strdup_printf ("{\"a\":%s%s}", open, close);
    GError *error = NULL;
    g_autoptr (JsonParser) parser = parse (text, &error);

    g_assert_true ((parser != NULL) == !extra);
    if (extra)
      test_assert_error (error, MLLAMA_ERROR_MALFORMED, "nested deeper");
  }
}

static void
test_keeps_integers_apart_from_those_beyond_64_bits (void)
{
  g_autoptr (JsonParser) parser = parse_well ("{\"max\":9223372036854775807,\"min\":-9223372036854775808,"
                                              "\"big\":9223372036854775808,\"huge\":1000000000000000019884624838656,"
                                              "\"low\":-99999999999999999999}");
  JsonObject *root = get_root (parser);
  guint value = 7;
  GError *error = NULL;

  g_assert_cmpint (json_object_get_int_member (root, "max"), ==, G_MAXINT64);
  g_assert_cmpint (json_object_get_int_member (root, "min"), ==, G_MININT64);
  g_assert_cmpfloat (json_object_get_double_member (root, "big"), ==, 9223372036854775808.0);
  g_assert_cmpfloat (json_object_get_double_member (root, "huge"), ==, 1e30);
  g_assert_false (mllama_json_get_uint (root, "low", 0, 100, &value, "x.json", &error));
  test_assert_error (error, MLLAMA_ERROR_MALFORMED, "x.json|low is -1e+20|from 0 to 100");
  g_assert_cmpuint (value, ==, 7);
}

static const char getter_text[] = "{\"int\":5,\"real\":2.5,\"yes\":true,\"text\":\"t\",\"object\":{\"k\":1},"
                                  "\"list\":[3,1,2],\"mixed\":[1,\"x\"],\"null\":null}";

static void
test_getters_read_what_is_there (void)
{
  g_autoptr (JsonParser) parser = parse_well (getter_text);
  JsonObject *root = get_root (parser), *object = NULL;
  g_autofree guint32 *list = NULL;
  JsonArray *array = NULL;
  const char *text = NULL;
  gboolean yes = FALSE;
  double real = 0, whole = 0;
  guint n = 0, value = 0;

  g_assert_true (mllama_json_get_uint (root, "int", 5, 5, &value, "x", NULL) && value == 5);
  g_assert_true (mllama_json_get_double (root, "real", 2.5, 2.5, &real, "x", NULL) && real == 2.5);
  g_assert_true (mllama_json_get_double (root, "int", 0, 9, &whole, "x", NULL) && whole == 5);
  g_assert_true (mllama_json_get_boolean (root, "yes", &yes, "x", NULL) && yes);
  g_assert_true (mllama_json_get_string (root, "text", &text, "x", NULL));
  g_assert_cmpstr (text, ==, "t");
  g_assert_true (mllama_json_get_object (root, "object", &object, "x", NULL) && object);
  g_assert_true (mllama_json_get_array (root, "list", &array, "x", NULL) && json_array_get_length (array) == 3);
  g_assert_true (mllama_json_get_uints (root, "list", 1, 3, FALSE, &list, &n, "x", NULL));
  g_assert_cmpmem (list, n * sizeof *list, ((guint32[]){3, 1, 2}), 12);
  g_assert_true (mllama_json_get_uints (root, "int", 1, 9, TRUE, &list, &n, "x", NULL));
  g_assert_true (n == 1 && list[0] == 5);
}

static void
test_getters_leave_the_default_of_missing_and_null (void)
{
  g_autoptr (JsonParser) parser = parse_well (getter_text);
  static const char *const members[] = {"missing", "null"};

  for (guint i = 0; i < 2; i++) {
    guint value = 7, n = 9;
    double real = 7;
    guint32 *list = NULL;

    g_assert_false (mllama_json_has (get_root (parser), members[i]));
    g_assert_true (mllama_json_get_uint (get_root (parser), members[i], 0, 1, &value, "x", NULL));
    g_assert_true (mllama_json_get_double (get_root (parser), members[i], 0, 1, &real, "x", NULL));
    g_assert_true (mllama_json_get_uints (get_root (parser), members[i], 0, 1, TRUE, &list, &n, "x", NULL));
    g_assert_true (value == 7 && real == 7 && n == 9 && !list);
  }
}

static void
test_getters_name_member_found_and_expected (void)
{
  g_autoptr (JsonParser) parser = parse_well (getter_text);
  JsonObject *root = get_root (parser), *object;
  GError *error = NULL;
  guint32 *list = NULL;
  JsonArray *array;
  const char *text;
  gboolean yes;
  double real;
  guint value;

  g_assert_false (mllama_json_get_uint (root, "real", 0, 9, &value, "f.json", &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_MALFORMED, "f.json: real is 2.5|an integer from 0 to 9");
  g_assert_false (mllama_json_get_uint (root, "int", 6, 9, &value, "f.json", &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_MALFORMED, "int is 5|from 6 to 9");
  g_assert_false (mllama_json_get_double (root, "text", 0, 9, &real, "f.json", &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_MALFORMED, "text is \"t\"|a number");
  g_assert_false (mllama_json_get_double (root, "real", 3, 4.5, &real, "f.json", &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_MALFORMED, "real is 2.5|from 3 to 4.5");
  g_assert_false (mllama_json_get_boolean (root, "int", &yes, "f.json", &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_MALFORMED, "int is 5|true or false");
  g_assert_false (mllama_json_get_string (root, "list", &text, "f.json", &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_MALFORMED, "list is a list of 3|a string");
  g_assert_false (mllama_json_get_object (root, "yes", &object, "f.json", &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_MALFORMED, "yes is true|an object");
  g_assert_false (mllama_json_get_array (root, "object", &array, "f.json", &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_MALFORMED, "object is an object|a list");
  g_assert_false (mllama_json_get_uints (root, "mixed", 0, 9, FALSE, &list, &value, "f.json", &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_MALFORMED, "mixed[1] is \"x\"|an integer");
  g_assert_false (mllama_json_get_uints (root, "int", 0, 9, FALSE, &list, &value, "f.json", &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_MALFORMED, "int is 5|a list of integers");
}

static void
test_numbers_do_not_depend_on_the_locale (void)
{
  static const char *const commas[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "nl_NL.UTF-8", "ru_RU.UTF-8"};
  gboolean found = FALSE;
  double value = 0;
  GError *error = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (commas) && !found; i++)
    found = setlocale (LC_NUMERIC, commas[i]) && g_str_equal (localeconv ()->decimal_point, ",");
  if (!found) {
    g_test_skip ("no locale with a decimal comma is installed (locale-gen de_DE.UTF-8)");
    return;
  }
  {
    g_autoptr (JsonParser) parser = parse_well ("{\"a\":0.00392156862745098,\"b\":1.5e3,\"c\":[1,5]}");

    g_assert_true (mllama_json_get_double (get_root (parser), "a", 0, 1, &value, "x", NULL));
    g_assert_cmpfloat (value, ==, 1.0 / 255);
    g_assert_true (mllama_json_get_double (get_root (parser), "b", 0, 1e9, &value, "x", NULL));
    g_assert_cmpfloat (value, ==, 1500);
    g_assert_false (mllama_json_get_double (get_root (parser), "b", 0.25, 0.5, &value, "x", &error));
    test_assert_error (error, MLLAMA_ERROR_MALFORMED, "1500|from 0.25 to 0.5");
  }
  setlocale (LC_NUMERIC, "C");
}

static void
test_reads_whole_files (void)
{
  char *directory = test_directory_new ();
  g_autofree char *path = g_build_filename (directory, "file", NULL), *text = NULL, *empty = NULL;
  gsize length;
  GError *error = NULL;

  test_write_file (directory, "file", "a\0b", 3);
  g_assert_true (mllama_read_file (path, 3, &text, &length, &error));
  g_assert_cmpmem (text, length + 1, "a\0b", 4);
  test_write_file (directory, "file", "", 0);
  g_assert_true (mllama_read_file (path, 3, &empty, &length, &error));
  g_assert_cmpuint (length, ==, 0);
  test_directory_free (directory);
}

static void
test_says_why_a_file_cannot_be_read (void)
{
  char *directory = test_directory_new ();
  g_autofree char *path = g_build_filename (directory, "file", NULL), *inner = g_build_filename (path, "x", NULL);
  g_autofree char *fifo = g_build_filename (directory, "fifo", NULL);
  char *text = NULL;
  gsize length;
  GError *error = NULL;

  g_assert_false (mllama_read_file (path, 9, &text, &length, &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_NOT_FOUND, path);
  test_write_file (directory, "file", "0123456789", -1);
  g_assert_false (mllama_read_file (path, 9, &text, &length, &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_MALFORMED, "10 bytes|at most 9");
  g_assert_false (mllama_read_file (inner, 9, &text, &length, &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_NOT_FOUND, inner);
  g_assert_false (mllama_read_file (directory, 9, &text, &length, &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_UNREADABLE, "a directory");
  g_assert_cmpint (mkfifo (fifo, 0600), ==, 0);
  g_assert_false (mllama_read_file (fifo, 9, &text, &length, &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_UNREADABLE, "regular file");
  if (geteuid () != 0) {
    g_assert_cmpint (chmod (path, 0), ==, 0);
    g_assert_false (mllama_read_file (path, 99, &text, &length, &error));
    test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_UNREADABLE, "Permission");
  }
  test_directory_free (directory);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/json/accepts_all_of_the_grammar", test_accepts_all_of_the_grammar);
  g_test_add_func ("/json/rejects_what_is_not_json_and_says_where", test_rejects_what_is_not_json_and_says_where);
  g_test_add_func ("/json/rejects_an_embedded_nul", test_rejects_an_embedded_nul);
  g_test_add_func ("/json/rejects_a_hundred_thousand_nested_brackets", test_rejects_a_hundred_thousand_nested_brackets);
  g_test_add_func ("/json/accepts_the_deepest_level_and_no_more", test_accepts_the_deepest_level_and_no_more);
  g_test_add_func ("/json/keeps_integers_apart_from_those_beyond_64_bits",
                   test_keeps_integers_apart_from_those_beyond_64_bits);
  g_test_add_func ("/json/getters_read_what_is_there", test_getters_read_what_is_there);
  g_test_add_func ("/json/getters_leave_the_default_of_missing_and_null",
                   test_getters_leave_the_default_of_missing_and_null);
  g_test_add_func ("/json/getters_name_member_found_and_expected", test_getters_name_member_found_and_expected);
  g_test_add_func ("/json/numbers_do_not_depend_on_the_locale", test_numbers_do_not_depend_on_the_locale);
  g_test_add_func ("/json/reads_whole_files", test_reads_whole_files);
  g_test_add_func ("/json/says_why_a_file_cannot_be_read", test_says_why_a_file_cannot_be_read);
  return g_test_run ();
}
