/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The small files beside config, tokenizer and weights. */
#include <glib/gstdio.h>

#include "checkpoint.h"
#include "test-util.h"

static MllamaCheckpoint *
open_well (const char *directory, gboolean text_only)
{
  GError *error = NULL;
  MllamaCheckpoint *checkpoint = mllama_checkpoint_open (directory, text_only, &error);

  g_assert_no_error (error);
  return checkpoint;
}

static void
assert_opens (const char *directory)
{
  mllama_checkpoint_free (open_well (directory, FALSE));
}

static void
remove_file (const char *directory, const char *name)
{
  g_autofree char *path = g_build_filename (directory, name, NULL);

  g_assert_cmpint (g_unlink (path), ==, 0);
}

static void
test_generation_config_comes_before_config (void)
{
  char *directory = test_checkpoint_new ();
  g_autoptr (MllamaCheckpoint) over = NULL, under = NULL, partial = NULL;

  test_write_file (directory, "generation_config.json",
                   "{\"eos_token_id\": 5, \"bos_token_id\": 6, \"pad_token_id\": 7}", -1);
  over = open_well (directory, FALSE);
  g_assert_true (over->n_eos_ids == 1 && over->eos_ids[0] == 5 && over->bos_id == 6 && over->pad_id == 7);
  test_write_file (directory, "generation_config.json", "{\"eos_token_id\": null, \"temperature\": 0.6}", -1);
  partial = open_well (directory, FALSE);
  g_assert_true (partial->n_eos_ids == 2 && partial->eos_ids[0] == TEST_EOS && partial->bos_id == TEST_BOS);
  remove_file (directory, "generation_config.json");
  under = open_well (directory, FALSE);
  g_assert_true (under->n_eos_ids == 2 && under->eos_ids[1] == TEST_EOT && under->pad_id == TEST_PAD);
  test_directory_free (directory);
}

static void
test_image_options_must_fit_the_model (void)
{
  static const struct {
    const char *path, *value, *words;
  } cases[] = {
      {"size", "{\"height\": 56, \"width\": 56}", "size is 56|image_size in config.json is 28"},
      {"max_image_tiles", "5", "max_image_tiles is 5|4"},
      {"do_pad", "false", "preprocessor_config.json|do_pad"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    char *directory = test_checkpoint_new ();
    GError *error = NULL;

    test_checkpoint_set (directory, "preprocessor_config.json", cases[i].path, cases[i].value);
    g_assert_null (mllama_checkpoint_open (directory, FALSE, &error));
    g_assert_nonnull (error);
    test_assert_error (error, error->code, cases[i].words);
    test_directory_free (directory);
  }
}

static void
test_the_image_processor_may_be_inside_processor_config (void)
{
  char *directory = test_checkpoint_new ();
  g_autofree char *options = test_read_file (directory, "preprocessor_config.json");
  g_autofree char *processor = g_strdup_printf ("{\"image_processor\": %s}", options);

  test_write_file (directory, "processor_config.json", processor, -1);
  test_write_file (directory, "preprocessor_config.json", "{}", -1); /* not looked at then */
  assert_opens (directory);
  test_write_file (directory, "processor_config.json", "{\"processor_class\": \"MllamaProcessor\"}", -1);
  test_write_file (directory, "preprocessor_config.json", options, -1);
  assert_opens (directory);
  test_directory_free (directory);
}

static void
test_finds_chat_templates_where_transformers_keeps_them (void)
{
  static const struct {
    const char *file, *text;
    gboolean found;
  } cases[] = {
      {"chat_template.jinja", "{{ bos_token }}", TRUE},
      {"chat_template.jinja", "", FALSE},
      {"chat_template.json", "{\"chat_template\": \"{{ bos_token }}\"}", TRUE},
      {"chat_template.json", "{\"chat_template\": null}", FALSE},
      {"processor_config.json", "{\"chat_template\": \"{{ bos_token }}\"}", TRUE},
      {"tokenizer_config.json", "{\"chat_template\": \"{{ bos_token }}\"}", TRUE},
      {"tokenizer_config.json", "{\"chat_template\": [{\"name\": \"default\", \"template\": \"x\"}]}", TRUE},
      {"tokenizer_config.json", "{\"chat_template\": [{\"name\": \"rag\", \"template\": \"x\"}]}", FALSE},
      {"tokenizer_config.json", "{\"model_max_length\": 1000000000000000019884624838656}", FALSE},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    char *directory = test_checkpoint_new ();
    g_autoptr (MllamaCheckpoint) checkpoint = NULL;

    g_test_message ("%s", cases[i].text);
    test_write_file (directory, cases[i].file, cases[i].text, -1);
    checkpoint = open_well (directory, FALSE);
    g_assert_cmpint (checkpoint->has_chat_template, ==, cases[i].found);
    test_directory_free (directory);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/checkpoint-files/generation_config_comes_before_config",
                   test_generation_config_comes_before_config);
  g_test_add_func ("/checkpoint-files/image_options_must_fit_the_model", test_image_options_must_fit_the_model);
  g_test_add_func ("/checkpoint-files/the_image_processor_may_be_inside_processor_config",
                   test_the_image_processor_may_be_inside_processor_config);
  g_test_add_func ("/checkpoint-files/finds_chat_templates_where_transformers_keeps_them",
                   test_finds_chat_templates_where_transformers_keeps_them);
  return g_test_run ();
}
