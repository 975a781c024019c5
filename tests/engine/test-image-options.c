/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MllamaImageProcessor's options, from preprocessor_config.json and processor_config.json. */
#include "test-image-data.h"

#include <locale.h>

#define SIZE "\"size\": {\"height\": 28, \"width\": 28}"
#define MEAN "\"image_mean\": [0.1, 0.2, 0.3]"
#define STD  "\"image_std\": [0.4, 0.5, 0.6]"

static MllamaImageOptions
read_valid (const char *json)
{
  MllamaImageOptions options;
  g_autoptr (GError) error = NULL;

  mllama_image_options_init_from_data (&options, json, strlen (json), &error);
  g_assert_no_error (error);
  return options;
}

static void
expect_error (const char *json, MllamaError code, const char *text)
{
  MllamaImageOptions options, before;
  g_autoptr (GError) error = NULL;

  memset (&options, 0x55, sizeof options);
  before = options;
  g_assert_false (mllama_image_options_init_from_data (&options, json, strlen (json), &error));
  assert_error (error, code, text);
  g_assert_cmpmem (&options, sizeof options, &before, sizeof before);
}

static const char full_file[] =
    "{\"do_convert_rgb\": false, \"do_normalize\": true, \"do_pad\": true, \"do_rescale\": false, \"do_resize\": true, "
    "\"image_mean\": [0.1, 0.2, 3], \"image_std\": [0.4, 0.5, 0.6], \"max_image_tiles\": 6, \"resample\": 3, "
    "\"rescale_factor\": 0.5, \"size\": {\"height\": 30, \"width\": 30}, \"image_processor_type\": "
    "\"MllamaImageProcessor\", \"something_else\": [1]}";

static void
check_full_file (const MllamaImageOptions *options)
{
  g_assert_false (options->do_convert_rgb);
  g_assert_true (options->do_normalize);
  g_assert_true (options->do_pad);
  g_assert_false (options->do_rescale);
  g_assert_true (options->do_resize);
  g_assert_cmpfloat (options->image_mean[0], ==, 0.1);
  g_assert_cmpfloat (options->image_mean[2], ==, 3);
  g_assert_cmpfloat (options->image_std[1], ==, 0.5);
  g_assert_cmpuint (options->max_image_tiles, ==, 6);
  g_assert_cmpuint (options->resample, ==, MLLAMA_RESAMPLE_BICUBIC);
  g_assert_cmpfloat (options->rescale_factor, ==, 0.5);
  g_assert_cmpuint (options->size, ==, 30);
  g_assert_cmpuint (options->pass_order, ==, MLLAMA_PASS_ORDER_HORIZONTAL_FIRST);
}

static void
reads_every_field (void)
{
  MllamaImageOptions options = read_valid (full_file);

  check_full_file (&options);
}

static void
reads_the_member_of_processor_config (void)
{
  g_autofree char *json =
      g_strdup_printf ("{\"processor_class\": \"MllamaProcessor\", \"image_processor\": %s}", full_file);
  MllamaImageOptions options = read_valid (json);

  check_full_file (&options);
}

static void
defaults_what_the_class_defaults_rightly (void)
{
  MllamaImageOptions options = read_valid ("{" SIZE ", " MEAN ", " STD ", \"do_pad\": null}");

  g_assert_true (options.do_convert_rgb && options.do_resize && options.do_rescale);
  g_assert_true (options.do_normalize && options.do_pad);
  g_assert_cmpuint (options.resample, ==, MLLAMA_RESAMPLE_BILINEAR);
  g_assert_cmpfloat (options.rescale_factor, ==, 1.0 / 255);
  g_assert_cmpuint (options.max_image_tiles, ==, 4);
}

static void
takes_single_numbers (void)
{
  MllamaImageOptions options = read_valid ("{\"size\": 28, \"image_mean\": 0.5, \"image_std\": 2}");

  g_assert_cmpuint (options.size, ==, 28);
  for (guint c = 0; c < 3; c++) {
    g_assert_cmpfloat (options.image_mean[c], ==, 0.5);
    g_assert_cmpfloat (options.image_std[c], ==, 2);
  }
}

static void
needs_no_mean_without_normalization (void)
{
  g_assert_false (read_valid ("{" SIZE ", \"do_normalize\": false}").do_normalize);
}

static void
refuses_to_guess_size_mean_and_std (void)
{
  expect_error ("{" MEAN ", " STD "}", MLLAMA_ERROR_MALFORMED, "preprocessor_config.json: size is nothing");
  expect_error ("{" SIZE ", " STD "}", MLLAMA_ERROR_MALFORMED, "image_mean is nothing");
  expect_error ("{" SIZE ", " MEAN "}", MLLAMA_ERROR_MALFORMED, "image_std is nothing");
  expect_error ("{\"image_processor\": {" MEAN ", " STD "}}", MLLAMA_ERROR_MALFORMED,
                "processor_config.json: image_processor: size");
}

static void
rejects_sizes_that_are_not_square_tiles (void)
{
  expect_error ("{" MEAN ", " STD ", \"size\": {\"height\": 28, \"width\": 30}}", MLLAMA_ERROR_MALFORMED,
                "height is 28 and width 30");
  expect_error ("{" MEAN ", " STD ", \"size\": {\"shortest_edge\": 28}}", MLLAMA_ERROR_MALFORMED, "height is nothing");
  expect_error ("{" MEAN ", " STD ", \"size\": {\"height\": 28}}", MLLAMA_ERROR_MALFORMED, "width is nothing");
  expect_error ("{" MEAN ", " STD ", \"size\": {\"height\": 0, \"width\": 0}}", MLLAMA_ERROR_MALFORMED, "height is 0");
  expect_error ("{" MEAN ", " STD ", \"size\": \"28\"}", MLLAMA_ERROR_MALFORMED, "size is \"28\"");
  expect_error ("{" MEAN ", " STD ", \"size\": [28, 28]}", MLLAMA_ERROR_MALFORMED, "a list of 2");
  expect_error ("{" MEAN ", " STD ", \"size\": -1}", MLLAMA_ERROR_MALFORMED, "size is -1");
}

static void
rejects_colors_that_are_not_three_numbers (void)
{
  expect_error ("{" SIZE ", " STD ", \"image_mean\": [0.1, 0.2]}", MLLAMA_ERROR_MALFORMED, "a list of 2");
  expect_error ("{" SIZE ", " STD ", \"image_mean\": [0.1, \"a\", 0.2]}", MLLAMA_ERROR_MALFORMED, "image_mean[1]");
  expect_error ("{" SIZE ", " STD ", \"image_mean\": {}}", MLLAMA_ERROR_MALFORMED, "image_mean is an object");
  expect_error ("{" SIZE ", " MEAN ", \"image_std\": [1, 0, 1]}", MLLAMA_ERROR_MALFORMED, "image_std[1]");
  expect_error ("{" SIZE ", " MEAN ", \"image_std\": true}", MLLAMA_ERROR_MALFORMED, "image_std is true");
}

static void
rejects_options_out_of_range (void)
{
  expect_error ("{" SIZE ", " MEAN ", " STD ", \"max_image_tiles\": 0}", MLLAMA_ERROR_MALFORMED,
                "max_image_tiles is 0");
  expect_error ("{" SIZE ", " MEAN ", " STD ", \"max_image_tiles\": -3}", MLLAMA_ERROR_MALFORMED, "is -3");
  expect_error ("{" SIZE ", " MEAN ", " STD ", \"resample\": 6}", MLLAMA_ERROR_MALFORMED, "resample is 6");
  expect_error ("{" SIZE ", " MEAN ", " STD ", \"resample\": \"bilinear\"}", MLLAMA_ERROR_MALFORMED, "\"bilinear\"");
  expect_error ("{" SIZE ", " MEAN ", " STD ", \"rescale_factor\": \"1\"}", MLLAMA_ERROR_MALFORMED, "rescale_factor");
  expect_error ("{" SIZE ", " MEAN ", " STD ", \"rescale_factor\": 1e300}", MLLAMA_ERROR_MALFORMED, "infinite");
  expect_error ("{" SIZE ", " MEAN ", " STD ", \"do_normalize\": 1}", MLLAMA_ERROR_MALFORMED, "do_normalize is 1");
}

static void
rejects_modes_that_the_tiles_rule_out (void)
{
  expect_error ("{" SIZE ", " MEAN ", " STD ", \"do_resize\": false}", MLLAMA_ERROR_MALFORMED, "do_resize is false");
  expect_error ("{" SIZE ", " MEAN ", " STD ", \"do_pad\": false}", MLLAMA_ERROR_MALFORMED, "do_pad is false");
  expect_error ("{" SIZE ", " MEAN ", " STD ", \"image_processor_type\": \"CLIPImageProcessor\"}",
                MLLAMA_ERROR_UNSUPPORTED, "\"CLIPImageProcessor\"");
}

static void
rejects_text_that_is_no_object (void)
{
  expect_error ("", MLLAMA_ERROR_MALFORMED, "preprocessor_config.json");
  expect_error ("[]", MLLAMA_ERROR_MALFORMED, "preprocessor_config.json");
  expect_error ("{\"image_processor\": 3}", MLLAMA_ERROR_MALFORMED, "image_processor is 3");
}

static void
reads_the_same_numbers_in_a_locale_with_decimal_commas (void)
{
  MllamaImageOptions options;

  if (!setlocale (LC_ALL, "de_DE.UTF-8")) {
    g_test_skip ("there is no locale de_DE.UTF-8");
    return;
  }
  options = read_valid (full_file);
  setlocale (LC_ALL, "C");
  check_full_file (&options);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/image-options/reads_every_field", reads_every_field);
  g_test_add_func ("/image-options/reads_the_member_of_processor_config", reads_the_member_of_processor_config);
  g_test_add_func ("/image-options/defaults_what_the_class_defaults_rightly", defaults_what_the_class_defaults_rightly);
  g_test_add_func ("/image-options/takes_single_numbers", takes_single_numbers);
  g_test_add_func ("/image-options/needs_no_mean_without_normalization", needs_no_mean_without_normalization);
  g_test_add_func ("/image-options/refuses_to_guess_size_mean_and_std", refuses_to_guess_size_mean_and_std);
  g_test_add_func ("/image-options/rejects_sizes_that_are_not_square_tiles", rejects_sizes_that_are_not_square_tiles);
  g_test_add_func ("/image-options/rejects_colors_that_are_not_three_numbers",
                   rejects_colors_that_are_not_three_numbers);
  g_test_add_func ("/image-options/rejects_options_out_of_range", rejects_options_out_of_range);
  g_test_add_func ("/image-options/rejects_modes_that_the_tiles_rule_out", rejects_modes_that_the_tiles_rule_out);
  g_test_add_func ("/image-options/rejects_text_that_is_no_object", rejects_text_that_is_no_object);
  g_test_add_func ("/image-options/reads_the_same_numbers_in_a_locale_with_decimal_commas",
                   reads_the_same_numbers_in_a_locale_with_decimal_commas);
  return g_test_run ();
}
