/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "safetensors.h"
#include "test-source.h"
#include "test-util.h"

#define SINGLE "model.safetensors"

#define X(members) "{\"x\":{" members "}}"

static const struct {
  const char *header;
  gint64 length; /* -1: the header's */
  gsize n_bytes;
  const char *words;
  MllamaError code;
} refused[] = {
    {"{}", 3, 0, "a header of 3 bytes", MLLAMA_ERROR_MALFORMED},
    {"{}", G_MAXINT64, 9, "a header of|cut short", MLLAMA_ERROR_MALFORMED},
    {"{}", 100000001, 9, "a header of 100000001", MLLAMA_ERROR_MALFORMED},
    {"{}", 0, 0, "ends in the middle", MLLAMA_ERROR_MALFORMED},
    {"{}", -1, 1, "has 11 bytes|describes 10", MLLAMA_ERROR_MALFORMED},
    {"[]", -1, 0, "an object", MLLAMA_ERROR_MALFORMED},
    {"{\"x\":", -1, 0, "ends in the middle", MLLAMA_ERROR_MALFORMED},
    {"{\"x\":5}", -1, 0, "tensor x is 5|an object", MLLAMA_ERROR_MALFORMED},
    {X (""), -1, 0, "tensor x: dtype is missing", MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F31\""), -1, 0, "dtype is F31|BF16", MLLAMA_ERROR_UNSUPPORTED},
    {X ("\"dtype\":7"), -1, 0, "dtype is 7|a string", MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\""), -1, 0, "shape has 0 entries", MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":3"), -1, 0, "shape is 3|a list", MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1]"), -1, 0, "shape has 9 entries|0 to 8",
     MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[-1]"), -1, 0, "shape[0] is -1", MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[1.0]"), -1, 0, "shape[0] is 1", MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[18446744073709551616]"), -1, 0, "shape[0] is 1", MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[4294967296,4294967296]"), -1, 0, "4294967296|larger than any",
     MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[4611686018427387904]"), -1, 0, "larger than any", MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[1]"), -1, 4, "data_offsets has 0 entries", MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]"), -1, 4, "data_offsets has 1", MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]"), -1, 4, "data_offsets has 3",
     MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]"), -1, 4, "are 4 and 0|4 bytes",
     MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,5]"), -1, 5, "are 0 and 5|4 bytes",
     MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]"), -1, 4, "data_offsets[0] is -4",
     MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]"), -1, 8, "holes", MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9223372036854775803,9223372036854775807]"), -1, 4, "holes",
     MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]"), -1, 4, "download it again", MLLAMA_ERROR_MALFORMED},
    {X ("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"), -1, 8, "download it again", MLLAMA_ERROR_MALFORMED},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"y\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}",
     -1, 6, "tensor y starts at|overlap", MLLAMA_ERROR_MALFORMED},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"y\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
     -1, 4, "overlap", MLLAMA_ERROR_MALFORMED},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
     -1, 8, "\"x\" appears twice", MLLAMA_ERROR_MALFORMED},
    {"{\"model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"language_model.model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
     -1, 8, "repeats|language_model.norm.weight", MLLAMA_ERROR_MALFORMED},
    {"{\"lm_head.weight\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]}}", -1, 4,
     "tensor lm_head.weight has dtype I8|quantized", MLLAMA_ERROR_UNSUPPORTED},
    {"{\"vision_tower.class_embedding\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", -1, 4, "MLX layout",
     MLLAMA_ERROR_UNSUPPORTED},
    {"{\"text_model.layers.0.x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", -1, 4,
     "Meta's original layout", MLLAMA_ERROR_UNSUPPORTED},
};

static void
test_rejects_malformed_headers (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (refused); i++) {
    char *directory = test_directory_new ();

    g_test_message ("header %u", i);
    test_write_safetensors (directory, SINGLE, refused[i].header, refused[i].length, refused[i].n_bytes);
    assert_refused (directory, refused[i].code, refused[i].words);
    test_directory_free (directory);
  }
}

static void
test_rejects_files_of_every_shorter_length (void)
{
  static const char header[] = X ("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]");
  char *directory = test_directory_new ();
  g_autofree char *path = g_build_filename (directory, SINGLE, NULL), *bytes = NULL;
  gsize length;

  test_write_safetensors (directory, SINGLE, header, -1, 8);
  mllama_source_free (open_well (directory));
  g_assert_true (g_file_get_contents (path, &bytes, &length, NULL));
  for (gsize n = 0; n < length; n++) {
    GError *error = NULL;

    test_write_file (directory, SINGLE, bytes, n);
    g_assert_null (mllama_safetensors_open (directory, &error));
    test_assert_error (error, MLLAMA_ERROR_MALFORMED, SINGLE);
  }
  test_directory_free (directory);
}

static void
test_accepts_what_the_format_allows (void)
{
  /* no order of names, empty tensors, scalars, spaces after the header, metadata, offsets that are not aligned, and
   * tensors of other types beside the model */
  static const char header[] =
      "{\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[3,11]},\"__metadata__\":{\"a\":\"b\"},"
      "\"a\":{\"dtype\":\"I8\",\"shape\":[3],\"data_offsets\":[0,3]},"
      "\"c\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[11,13]},"
      "\"d\":{\"dtype\":\"F16\",\"shape\":[0,5],\"data_offsets\":[3,3]},"
      "\"e\":{\"dtype\":\"F16\",\"shape\":[5,0],\"data_offsets\":[13,13]}}    ";
  char *directory = test_directory_new ();
  g_autoptr (MllamaSource) source = NULL;
  float values[2] = {1, 1};
  GError *error = NULL;
  guint n;

  test_write_safetensors (directory, SINGLE, header, -1, 13);
  source = open_well (directory);
  mllama_source_list (source, &n);
  g_assert_cmpuint (n, ==, 4);
  g_assert_null (mllama_source_find (source, "a"));
  g_assert_cmpuint (find_well (source, "c")->n_elements, ==, 1);
  g_assert_cmpuint (find_well (source, "d")->n_elements, ==, 0);
  g_assert_true (mllama_source_read_f32 (source, find_well (source, "b"), 0, 2, values, &error));
  g_assert_true (values[0] == 0 && values[1] == 0);
  g_assert_true (mllama_source_read_f32 (source, find_well (source, "d"), 0, 0, values, &error));
  test_directory_free (directory);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/safetensors/rejects_malformed_headers", test_rejects_malformed_headers);
  g_test_add_func ("/safetensors/rejects_files_of_every_shorter_length", test_rejects_files_of_every_shorter_length);
  g_test_add_func ("/safetensors/accepts_what_the_format_allows", test_accepts_what_the_format_allows);
  return g_test_run ();
}
