/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "safetensors.h"
#include "tensor-names.h"
#include "test-source.h"
#include "test-util.h"

#define SINGLE "model.safetensors"
#define INDEX  "model.safetensors.index.json"

/* Two tensors of different dtype and shape. */
static TestTensors *
make_two (void)
{
  TestTensors *tensors = test_tensors_new ();
  static const float values[] = {0, 1, -2, 0.5, 1024, -0.0f};

  test_tensors_add (tensors, "vision_model.class_embedding", MLLAMA_TENSOR_BF16, 1, (gsize[]){3}, values);
  test_tensors_add (tensors, "language_model.norm.weight", MLLAMA_TENSOR_F32, 2, (gsize[]){3, 2}, values);
  return tensors;
}

static char *
make_directory (void)
{
  char *directory = test_directory_new ();
  TestTensors *tensors = make_two ();

  test_tensors_write (tensors, 0, 2, test_spell_hub, directory, SINGLE);
  test_tensors_free (tensors);
  return directory;
}

/* --- reading --- */

static void
test_finds_and_lists_tensors (void)
{
  char *directory = make_directory ();
  g_autoptr (MllamaSource) source = open_well (directory);
  const MllamaTensorInfo *tensor = find_well (source, "language_model.norm.weight");
  g_autofree char *shape = mllama_tensor_shape_to_string (tensor->shape, tensor->n_dims);
  guint n;

  g_assert_true (tensor->dtype == MLLAMA_TENSOR_F32 && tensor->n_elements == 6 && tensor->n_bytes == 24);
  g_assert_cmpstr (shape, ==, "[3, 2]");
  g_assert_nonnull (mllama_source_list (source, &n));
  g_assert_cmpuint (n, ==, 2);
  g_assert_null (mllama_source_find (source, "language_model.model.norm.weight"));
  test_directory_free (directory);
}

static void
test_reads_bytes_from_anywhere_in_a_tensor (void)
{
  char *directory = make_directory ();
  g_autoptr (MllamaSource) source = open_well (directory);
  const MllamaTensorInfo *tensor = find_well (source, "language_model.norm.weight");
  guint8 bytes[24];
  float value;
  GError *error = NULL;

  g_assert_true (mllama_source_read (source, tensor, 0, 24, bytes, &error));
  g_assert_true (mllama_source_read (source, tensor, 16, 4, &value, &error));
  g_assert_cmpfloat (value, ==, 1024);
  g_assert_true (mllama_source_read (source, tensor, 24, 0, bytes, &error));
  test_directory_free (directory);
}

/* All 65536 patterns of each 16-bit format, against a conversion by arithmetic. */
static float
convert_slowly (guint pattern, guint n_exponent_bits)
{
  guint n_fraction_bits = 15 - n_exponent_bits, bias = (1u << (n_exponent_bits - 1)) - 1;
  guint exponent = pattern >> n_fraction_bits & ((1u << n_exponent_bits) - 1);
  guint fraction = pattern & ((1u << n_fraction_bits) - 1);
  double sign = pattern & 0x8000 ? -1 : 1;

  if (exponent == (1u << n_exponent_bits) - 1)
    return fraction ? NAN : sign * INFINITY;
  if (exponent == 0)
    return sign * ldexp (fraction, 1 - (int) bias - (int) n_fraction_bits);
  return sign * ldexp (fraction + (1u << n_fraction_bits), (int) exponent - (int) bias - (int) n_fraction_bits);
}

static void
test_converts_every_pattern_of_16_bits (void)
{
  static const struct {
    const char *dtype;
    guint n_exponent_bits;
  } cases[] = {{"BF16", 8}, {"F16", 5}};

  for (guint k = 0; k < G_N_ELEMENTS (cases); k++) {
    char *directory = test_directory_new ();
    g_autofree char *header =
        g_strdup_printf ("{\"x\":{\"dtype\":\"%s\",\"shape\":[65536],\"data_offsets\":[0,131072]}}", cases[k].dtype);
    g_autofree float *values = g_new (float, 65536);
    g_autofree char *path = g_build_filename (directory, SINGLE, NULL), *bytes = NULL;
    g_autoptr (MllamaSource) source = NULL;
    GError *error = NULL;
    gsize length;

    test_write_safetensors (directory, SINGLE, header, -1, 131072);
    g_assert_true (g_file_get_contents (path, &bytes, &length, NULL));
    for (guint i = 0; i < 65536; i++)
      memcpy (bytes + length - 131072 + 2 * i, &(guint16){i}, 2);
    test_write_file (directory, SINGLE, bytes, length);
    source = open_well (directory);
    /* in two odd pieces: neither starts nor ends with the chunks of the conversion */
    g_assert_true (mllama_source_read_f32 (source, find_well (source, "x"), 0, 40001, values, &error));
    g_assert_true (
        mllama_source_read_f32 (source, find_well (source, "x"), 40001, 65536 - 40001, values + 40001, &error));
    for (guint i = 0; i < 65536; i++) {
      float expected = convert_slowly (i, cases[k].n_exponent_bits);
      if (isnan (expected))
        g_assert_true (isnan (values[i]));
      else
        g_assert_true (values[i] == expected && signbit (values[i]) == signbit (expected));
    }
    test_directory_free (directory);
  }
}

static void
test_reads_f32_as_it_is (void)
{
  char *directory = make_directory ();
  g_autoptr (MllamaSource) source = open_well (directory);
  float values[5];
  GError *error = NULL;

  g_assert_true (
      mllama_source_read_f32 (source, find_well (source, "language_model.norm.weight"), 1, 5, values, &error));
  g_assert_true (values[0] == 1 && values[3] == 1024 && values[4] == 0 && signbit (values[4]));
  test_directory_free (directory);
}

static void
test_a_file_cut_short_after_opening_is_an_error (void)
{
  char *directory = make_directory ();
  g_autofree char *path = g_build_filename (directory, SINGLE, NULL);
  g_autoptr (MllamaSource) source = open_well (directory);
  const MllamaTensorInfo *tensor = find_well (source, "language_model.norm.weight");
  float values[6];
  GError *error = NULL;

  g_assert_cmpint (truncate (path, tensor->offset + 10), ==, 0);
  g_assert_true (mllama_source_read (source, tensor, 0, 10, values, &error));
  g_assert_false (mllama_source_read_f32 (source, tensor, 0, 6, values, &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_MALFORMED, "cut short|bytes when it was opened");
  g_assert_cmpint (truncate (path, 0), ==, 0);
  g_assert_false (mllama_source_read (source, tensor, 0, 1, values, &error));
  test_assert_error (error, MLLAMA_ERROR_MALFORMED, path);
  test_directory_free (directory);
}

/* --- names --- */

static void
test_all_spellings_lead_to_one_name (void)
{
  static const char *const pairs[][2] = {
      {"language_model.model.layers.3.mlp.up_proj.weight", "language_model.layers.3.mlp.up_proj.weight"},
      {"model.language_model.layers.3.mlp.up_proj.weight", "language_model.layers.3.mlp.up_proj.weight"},
      {"language_model.layers.3.mlp.up_proj.weight", "language_model.layers.3.mlp.up_proj.weight"},
      {"model.layers.3.mlp.up_proj.weight", "language_model.layers.3.mlp.up_proj.weight"},
      {"layers.3.mlp.up_proj.weight", "language_model.layers.3.mlp.up_proj.weight"},
      {"language_model.model.embed_tokens.weight", "language_model.embed_tokens.weight"},
      {"model.embed_tokens.weight", "language_model.embed_tokens.weight"},
      {"model.norm.weight", "language_model.norm.weight"},
      {"language_model.lm_head.weight", "lm_head.weight"},
      {"model.language_model.lm_head.weight", "lm_head.weight"},
      {"lm_head.weight", "lm_head.weight"},
      {"vision_model.class_embedding", "vision_model.class_embedding"},
      {"model.vision_model.class_embedding", "vision_model.class_embedding"},
      {"model.multi_modal_projector.bias", "multi_modal_projector.bias"},
      {"multi_modal_projector.bias", "multi_modal_projector.bias"},
      {"something.else", "something.else"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (pairs); i++) {
    g_autofree char *canonical = mllama_tensor_name_canonicalise (pairs[i][0]);

    g_assert_cmpstr (canonical, ==, pairs[i][1]);
    g_assert_true (mllama_tensor_name_is_known (canonical) == (i + 1 < G_N_ELEMENTS (pairs)));
  }
}

/* --- shards --- */

static char *
make_shards (void)
{
  char *directory = test_directory_new ();
  TestTensors *tensors = make_two ();

  test_tensors_write_shards (tensors, 2, test_spell_class, directory);
  test_tensors_free (tensors);
  return directory;
}

static void
test_reads_shards (void)
{
  char *directory = make_shards ();
  g_autoptr (MllamaSource) source = open_well (directory);
  float values[3];
  GError *error = NULL;

  g_assert_true (
      mllama_source_read_f32 (source, find_well (source, "vision_model.class_embedding"), 0, 3, values, &error));
  g_assert_true (values[0] == 0 && values[1] == 1 && values[2] == -2);
  g_assert_true (
      mllama_source_read_f32 (source, find_well (source, "language_model.norm.weight"), 3, 2, values, &error));
  g_assert_true (values[0] == 0.5 && values[1] == 1024);
  test_directory_free (directory);
}

static void
test_shards_may_be_symbolic_links (void)
{
  char *directory = make_shards (), *blobs = test_directory_new ();
  g_autofree char *shard = g_build_filename (directory, "model-00001-of-00002.safetensors", NULL);
  g_autofree char *blob = g_build_filename (blobs, "0123abcd", NULL);

  g_assert_cmpint (rename (shard, blob), ==, 0);
  g_assert_cmpint (symlink (blob, shard), ==, 0);
  mllama_source_free (open_well (directory));
  test_directory_free (directory);
  test_directory_free (blobs);
}

static void
test_rejects_shard_names_that_leave_the_directory (void)
{
  static const char *const names[] = {"\"../model.safetensors\"",
                                      "\"/etc/passwd\"",
                                      "\"a/b.safetensors\"",
                                      "\"a\\\\b.safetensors\"",
                                      "\"..\"",
                                      "\".\"",
                                      "\"\"",
                                      "5",
                                      "null",
                                      "[]"};
  char *directory = test_directory_new ();

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree char *index = g_strdup_printf ("{\"weight_map\":{\"x\":%s}}", names[i]);

    test_write_file (directory, INDEX, index, -1);
    assert_refused (directory, MLLAMA_ERROR_MALFORMED, "the file of x|same directory");
  }
  test_directory_free (directory);
}

static void
test_rejects_an_index_that_does_not_fit_its_shards (void)
{
  static const struct {
    const char *index, *words;
    MllamaError code;
  } cases[] = {
      {"{\"weight_map\":{}}", "weight_map", MLLAMA_ERROR_MALFORMED},
      {"{}", "weight_map", MLLAMA_ERROR_MALFORMED},
      {"{\"weight_map\":[]}", "weight_map", MLLAMA_ERROR_MALFORMED},
      {"{\"weight_map\":", INDEX, MLLAMA_ERROR_MALFORMED},
      {"{\"weight_map\":{\"x\":\"none.safetensors\"}}", "none.safetensors|incomplete", MLLAMA_ERROR_NOT_FOUND},
      {"{\"weight_map\":{\"x\":\"model-00001-of-00002.safetensors\"}}", "tensor x|not there", MLLAMA_ERROR_MALFORMED},
      {"{\"weight_map\":{\"vision_model.class_embedding\":\"model-00002-of-00002.safetensors\","
       "\"norm.weight\":\"model-00002-of-00002.safetensors\"}}",
       "vision_model.class_embedding|00002|not there", MLLAMA_ERROR_MALFORMED},
      /* each in the shard of the other */
      {"{\"weight_map\":{\"vision_model.class_embedding\":\"model-00002-of-00002.safetensors\","
       "\"norm.weight\":\"model-00001-of-00002.safetensors\"}}",
       "not there", MLLAMA_ERROR_MALFORMED},
  };
  char *directory = make_shards ();

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    test_write_file (directory, INDEX, cases[i].index, -1);
    assert_refused (directory, cases[i].code, cases[i].words);
  }
  test_directory_free (directory);
}

static void
test_rejects_a_tensor_in_two_shards (void)
{
  char *directory = make_shards ();
  TestTensors *tensors = make_two ();

  test_tensors_write (tensors, 0, 2, test_spell_hub, directory, "model-00002-of-00002.safetensors");
  assert_refused (directory, MLLAMA_ERROR_MALFORMED, "class_embedding|repeats one of|00001-of");
  test_tensors_free (tensors);
  test_directory_free (directory);
}

/* --- directories --- */

static void
test_a_single_file_comes_before_an_index (void)
{
  char *directory = make_directory ();

  test_write_file (directory, INDEX, "not JSON", -1);
  mllama_source_free (open_well (directory));
  test_directory_free (directory);
}

static void
test_says_what_is_there_instead (void)
{
  char *directory = test_directory_new ();

  assert_refused (directory, MLLAMA_ERROR_NOT_FOUND, SINGLE "|" INDEX "|download");
  test_write_file (directory, "pytorch_model.bin", "x", 1);
  assert_refused (directory, MLLAMA_ERROR_NOT_FOUND, "pytorch_model.bin is there, which is not read");
  test_directory_free (directory);
}

static void
test_rejects_what_is_not_a_file (void)
{
  char *directory = test_directory_new ();
  g_autofree char *path = g_build_filename (directory, SINGLE, NULL);

  g_assert_cmpint (mkdir (path, 0700), ==, 0);
  assert_refused (directory, MLLAMA_ERROR_UNREADABLE, "regular file");
  g_assert_cmpint (rmdir (path), ==, 0);
  g_assert_cmpint (mkfifo (path, 0600), ==, 0);
  assert_refused (directory, MLLAMA_ERROR_UNREADABLE, "regular file");
  test_directory_free (directory);
}

static void
test_says_when_it_may_not_read (void)
{
  char *directory = make_directory ();
  g_autofree char *path = g_build_filename (directory, SINGLE, NULL);

  g_assert_cmpint (chmod (path, 0), ==, 0);
  if (geteuid () == 0)
    g_test_skip ("root may read everything");
  else
    assert_refused (directory, MLLAMA_ERROR_UNREADABLE, "Permission denied");
  test_directory_free (directory);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/safetensors/finds_and_lists_tensors", test_finds_and_lists_tensors);
  g_test_add_func ("/safetensors/reads_bytes_from_anywhere_in_a_tensor", test_reads_bytes_from_anywhere_in_a_tensor);
  g_test_add_func ("/safetensors/converts_every_pattern_of_16_bits", test_converts_every_pattern_of_16_bits);
  g_test_add_func ("/safetensors/reads_f32_as_it_is", test_reads_f32_as_it_is);
  g_test_add_func ("/safetensors/a_file_cut_short_after_opening_is_an_error",
                   test_a_file_cut_short_after_opening_is_an_error);
  g_test_add_func ("/safetensors/all_spellings_lead_to_one_name", test_all_spellings_lead_to_one_name);
  g_test_add_func ("/safetensors/reads_shards", test_reads_shards);
  g_test_add_func ("/safetensors/shards_may_be_symbolic_links", test_shards_may_be_symbolic_links);
  g_test_add_func ("/safetensors/rejects_shard_names_that_leave_the_directory",
                   test_rejects_shard_names_that_leave_the_directory);
  g_test_add_func ("/safetensors/rejects_an_index_that_does_not_fit_its_shards",
                   test_rejects_an_index_that_does_not_fit_its_shards);
  g_test_add_func ("/safetensors/rejects_a_tensor_in_two_shards", test_rejects_a_tensor_in_two_shards);
  g_test_add_func ("/safetensors/a_single_file_comes_before_an_index", test_a_single_file_comes_before_an_index);
  g_test_add_func ("/safetensors/says_what_is_there_instead", test_says_what_is_there_instead);
  g_test_add_func ("/safetensors/rejects_what_is_not_a_file", test_rejects_what_is_not_a_file);
  g_test_add_func ("/safetensors/says_when_it_may_not_read", test_says_when_it_may_not_read);
  return g_test_run ();
}
