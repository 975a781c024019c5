/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "checkpoint.h"
#include "checkpoint-tensors.h"
#include "test-util.h"

#define HEAD      "lm_head.weight"
#define EMBEDDING "language_model.embed_tokens.weight"

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
assert_refused (const char *directory, MllamaError code, const char *words)
{
  GError *error = NULL;

  g_assert_null (mllama_checkpoint_open (directory, FALSE, &error));
  test_assert_error (error, code, words);
}

static void
remove_file (const char *directory, const char *name)
{
  g_autofree char *path = g_build_filename (directory, name, NULL);

  g_assert_cmpint (g_unlink (path), ==, 0);
}

static void
write_weights (TestTensors *tensors, const char *directory)
{
  test_tensors_write (tensors, 0, test_tensors_get_n (tensors), test_spell_hub, directory, "model.safetensors");
}

/* The weights again, with one of other rows and columns; rows 0: without it. */
static void
change_tensor (const char *directory, const char *name, guint n_dims, gsize rows, gsize columns)
{
  TestTensors *tensors = test_checkpoint_tensors (directory);

  if (rows)
    test_tensors_add (tensors, name, MLLAMA_TENSOR_F32, n_dims, (gsize[]){rows, columns}, NULL);
  else
    test_tensors_remove (tensors, name);
  write_weights (tensors, directory);
  test_tensors_free (tensors);
}

/* --- opening --- */

static void
test_opens_a_checkpoint (void)
{
  char *directory = test_checkpoint_new ();
  g_autoptr (MllamaCheckpoint) checkpoint = open_well (directory, FALSE);

  g_assert_cmpstr (checkpoint->path, ==, directory);
  g_assert_true (checkpoint->has_image_options && !checkpoint->has_chat_template);
  g_assert_cmpuint (checkpoint->image_options.size, ==, 28);
  g_assert_true (checkpoint->n_eos_ids == 2 && checkpoint->eos_ids[1] == TEST_EOT);
  g_assert_true (checkpoint->bos_id == TEST_BOS && checkpoint->pad_id == TEST_PAD);
  g_assert_cmpint (mllama_tokenizer_get_id (checkpoint->tokenizer, "<|image|>"), ==, TEST_IMAGE);
  g_assert_cmpuint (mllama_source_find (checkpoint->source, EMBEDDING)->shape[0], ==, TEST_EMBEDDINGS);
  test_directory_free (directory);
}

/* Files as transformers writes them: names and config old and new, shards, bf16 and f16, a bare text model. */
static void
test_opens_checkpoints_that_transformers_made (void)
{
  g_autofree char *folder = g_build_filename (g_getenv ("MLLAMA_TEST_SOURCE_DIR"), "golden", "checkpoints", NULL);
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  const char *name;
  guint n = 0;

  while (dir && (name = g_dir_read_name (dir))) {
    g_autofree char *path = g_build_filename (folder, name, NULL);

    if (g_file_test (path, G_FILE_TEST_IS_DIR)) {
      g_test_message ("%s", name);
      assert_opens (path);
      n++;
    }
  }
  g_assert_cmpuint (n, >, 0);
}

static void
test_opens_every_spelling_and_dtype (void)
{
  static const TestSpelling spellings[] = {test_spell_hub, test_spell_class};
  static const MllamaTensorDtype dtypes[] = {MLLAMA_TENSOR_F32, MLLAMA_TENSOR_F16, MLLAMA_TENSOR_BF16};
  char *directory = test_checkpoint_new ();
  g_autofree char *path = g_build_filename (directory, "config.json", NULL);
  g_autoptr (MllamaConfig) config = mllama_config_new_from_file (path, NULL);

  remove_file (directory, "model.safetensors");
  for (guint i = 0; i < G_N_ELEMENTS (spellings); i++)
    for (guint k = 0; k < G_N_ELEMENTS (dtypes); k++) {
      TestTensors *tensors = test_tensors_new_for_config (config, TRUE, dtypes[k]);

      test_tensors_write_shards (tensors, 3, spellings[i], directory);
      assert_opens (directory);
      test_tensors_free (tensors);
    }
  test_directory_free (directory);
}

/* Nor the cross layers that would read the tower. */
static void
test_text_only_needs_neither_tower_nor_preprocessor (void)
{
  static const char *const unneeded[] = {"vision_model.class_embedding", "multi_modal_projector.bias",
                                         "language_model.layers.1.cross_attn.q_proj.weight",
                                         "language_model.layers.3.mlp.down_proj.weight"};
  char *directory = test_checkpoint_new ();
  TestTensors *tensors = test_checkpoint_tensors (directory);
  g_autoptr (MllamaCheckpoint) checkpoint = NULL;
  GError *error = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (unneeded); i++)
    test_tensors_remove (tensors, unneeded[i]);
  write_weights (tensors, directory);
  assert_refused (directory, MLLAMA_ERROR_MALFORMED, "is missing|4 of the 100");
  remove_file (directory, "preprocessor_config.json");
  checkpoint = open_well (directory, TRUE);
  g_assert_false (checkpoint->has_image_options);
  test_tensors_remove (tensors, "language_model.layers.2.mlp.down_proj.weight");
  write_weights (tensors, directory);
  g_assert_null (mllama_checkpoint_open (directory, TRUE, &error));
  test_assert_error (error, MLLAMA_ERROR_MALFORMED, "layers.2.mlp.down_proj.weight|is missing");
  test_tensors_free (tensors);
  test_directory_free (directory);
}

/* MllamaForCausalLM saved by itself. */
static void
test_a_bare_text_model_opens_as_text_only (void)
{
  char *directory = test_checkpoint_new ();
  g_autoptr (MllamaCheckpoint) checkpoint = NULL;
  TestTensors *tensors;

  test_checkpoint_set (directory, "config.json", "architectures", "[\"MllamaForCausalLM\"]");
  tensors = test_checkpoint_tensors (directory);
  test_tensors_write (tensors, 0, test_tensors_get_n (tensors), test_spell_bare, directory, "model.safetensors");
  remove_file (directory, "preprocessor_config.json");
  checkpoint = open_well (directory, FALSE);
  g_assert_true (!checkpoint->has_image_options && !checkpoint->config->has_vision);
  test_tensors_free (tensors);
  test_directory_free (directory);
}

static void
test_says_which_file_is_missing (void)
{
  static const struct {
    const char *name, *words;
  } cases[] = {
      {"config.json", "no config.json|Hugging Face"},
      {"preprocessor_config.json", "preprocessor_config.json|text only"},
      {"model.safetensors", "model.safetensors"},
      {"tokenizer.json", "tokenizer"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    char *directory = test_checkpoint_new ();

    remove_file (directory, cases[i].name);
    assert_refused (directory, MLLAMA_ERROR_NOT_FOUND, cases[i].words);
    test_directory_free (directory);
  }
}

static void
test_says_which_file_is_broken (void)
{
  static const char *const names[] = {
      "config.json",           "preprocessor_config.json", "tokenizer.json",     "generation_config.json",
      "processor_config.json", "tokenizer_config.json",    "chat_template.json", "model.safetensors"};
  g_autoptr (GString) deep = g_string_new (NULL);

  for (guint i = 0; i < 100000; i++)
    g_string_append (deep, "{\"a\":");
  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    char *directory = test_checkpoint_new ();

    test_write_file (directory, names[i], deep->str, -1);
    assert_refused (directory, MLLAMA_ERROR_MALFORMED, names[i]);
    test_write_file (directory, names[i], "", 0);
    assert_refused (directory, MLLAMA_ERROR_MALFORMED, names[i]);
    test_directory_free (directory);
  }
}

static void
test_says_which_file_is_a_directory (void)
{
  static const char *const names[] = {"config.json",           "generation_config.json", "preprocessor_config.json",
                                      "tokenizer_config.json", "chat_template.jinja",    "model.safetensors"};

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    char *directory = test_checkpoint_new ();
    g_autofree char *path = g_build_filename (directory, names[i], NULL);

    g_unlink (path);
    g_assert_cmpint (g_mkdir (path, 0700), ==, 0);
    assert_refused (directory, MLLAMA_ERROR_UNREADABLE, names[i]);
    test_directory_free (directory);
  }
}

/* --- tensors --- */

/* As many as the released checkpoints of 11 and 90 billion parameters have. */
static void
test_counts_the_tensors_of_released_checkpoints (void)
{
  static const char large[] =
      "{\"model_type\": \"mllama\", \"text_config\": {\"hidden_size\": 8192, \"num_hidden_layers\": 100,"
      " \"num_attention_heads\": 64, \"intermediate_size\": 28672, \"cross_attention_layers\": [3, 8, 13, 18, 23, 28,"
      " 33, 38, 43, 48, 53, 58, 63, 68, 73, 78, 83, 88, 93, 98]}}";
  static const struct {
    const char *config;
    guint n_tensors;
  } cases[] = {{"{\"model_type\": \"mllama\"}", 906}, {large, 1494}};

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GError *error = NULL;
    g_autoptr (MllamaConfig) config = mllama_config_new_from_data (cases[i].config, strlen (cases[i].config), &error);
    g_autoptr (GArray) expected = NULL;

    g_assert_no_error (error);
    expected = mllama_expected_tensors_new (config, TRUE);
    g_assert_cmpuint (expected->len, ==, cases[i].n_tensors);
  }
}

static void
test_every_tensor_is_required (void)
{
  char *directory = test_checkpoint_new ();
  g_autofree char *path = g_build_filename (directory, "config.json", NULL);
  g_autoptr (MllamaConfig) config = mllama_config_new_from_file (path, NULL);
  g_autoptr (GArray) expected = mllama_expected_tensors_new (config, TRUE);

  for (guint i = 0; i < expected->len; i++) {
    const MllamaExpectedTensor *tensor = &g_array_index (expected, MllamaExpectedTensor, i);
    g_autofree char *words = g_strconcat (tensor->name, "|is missing|1 of the 100", NULL);

    change_tensor (directory, tensor->name, 0, 0, 0);
    assert_refused (directory, MLLAMA_ERROR_MALFORMED, words);
  }
  test_directory_free (directory);
}

static void
test_every_shape_is_checked (void)
{
  char *directory = test_checkpoint_new ();
  g_autofree char *path = g_build_filename (directory, "config.json", NULL);
  g_autoptr (MllamaConfig) config = mllama_config_new_from_file (path, NULL);
  g_autoptr (GArray) expected = mllama_expected_tensors_new (config, TRUE);

  for (guint i = 0; i < expected->len; i++) {
    const MllamaExpectedTensor *tensor = &g_array_index (expected, MllamaExpectedTensor, i);
    g_autofree char *words = g_strconcat (tensor->name, "|has shape [|config.json makes it [", NULL);

    /* one more column, or element; and one more dimension */
    change_tensor (directory, tensor->name, MIN (tensor->n_dims, 2), MAX (tensor->shape[0], 1) + (tensor->n_dims == 1),
                   tensor->shape[1] + 1);
    assert_refused (directory, MLLAMA_ERROR_MALFORMED, words);
    change_tensor (directory, tensor->name, tensor->n_dims == 1 ? 2 : 1, MAX (tensor->shape[0], 1), 1);
    assert_refused (directory, MLLAMA_ERROR_MALFORMED, words);
  }
  test_directory_free (directory);
}

/* A number of rows, and what is said against it; NULL: nothing. */
typedef struct {
  gsize rows;
  const char *words;
} RowCase;

static void
check_rows (const char *name, const RowCase *cases, guint n_cases)
{
  char *directory = test_checkpoint_new ();

  for (guint i = 0; i < n_cases; i++) {
    change_tensor (directory, name, 2, cases[i].rows, 32);
    if (cases[i].words)
      assert_refused (directory, MLLAMA_ERROR_MALFORMED, cases[i].words);
    else
      assert_opens (directory);
  }
  test_directory_free (directory);
}

static void
test_the_head_may_have_any_rows_from_the_vocabulary_to_the_embedding (void)
{
  static const RowCase cases[] = {{TEST_VOCAB_SIZE - 1, HEAD "|has 261 rows|262"},
                                  {TEST_VOCAB_SIZE, NULL},
                                  {TEST_VOCAB_SIZE + 1, NULL},
                                  {TEST_EMBEDDINGS, NULL},
                                  {TEST_EMBEDDINGS + 1, HEAD "|has 271 rows|270"}};

  check_rows (HEAD, cases, G_N_ELEMENTS (cases));
}

static void
test_the_embedding_must_hold_every_id (void)
{
  static const RowCase cases[] = {{TEST_VOCAB_SIZE - 1, EMBEDDING "|has 261 rows|vocab_size is 262"},
                                  {TEST_VOCAB_SIZE, "image_token_index|262|262 rows"},
                                  {TEST_IMAGE + 1, NULL},
                                  {TEST_EMBEDDINGS + 100, NULL}};

  check_rows (EMBEDDING, cases, G_N_ELEMENTS (cases));
}

static void
test_ids_outside_the_embedding_are_refused (void)
{
  static const struct {
    const char *file, *path, *value, *words;
  } cases[] = {
      {"generation_config.json", "eos_token_id", "270", "eos_token_id is 270|270 rows"},
      {"generation_config.json", "eos_token_id", "[257, 271]", "eos_token_id is 271"},
      {"generation_config.json", "bos_token_id", "999", "bos_token_id is 999"},
      {"generation_config.json", "pad_token_id", "999", "pad_token_id is 999"},
      {"config.json", "image_token_index", "270", "image_token_index|270"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    char *directory = test_checkpoint_new ();

    test_checkpoint_set (directory, cases[i].file, cases[i].path, cases[i].value);
    assert_refused (directory, MLLAMA_ERROR_MALFORMED, cases[i].words);
    test_directory_free (directory);
  }
}

static void
test_a_tokenizer_larger_than_the_embedding_is_refused (void)
{
  char *directory = test_checkpoint_new ();
  g_autofree char *old = test_read_file (directory, "tokenizer.json");
  g_auto (GStrv) parts = g_strsplit (old, "\"id\": 261", -1);
  g_autofree char *text = g_strjoinv ("\"id\": 270", parts);

  g_assert_cmpuint (g_strv_length (parts), ==, 2);
  test_write_file (directory, "tokenizer.json", text, -1);
  assert_refused (directory, MLLAMA_ERROR_MALFORMED, "tokenizer|is 270|270 rows");
  test_directory_free (directory);
}

static void
test_tied_embeddings_must_agree_with_the_files (void)
{
  char *directory = test_checkpoint_new ();

  test_checkpoint_set (directory, "config.json", "text_config.tie_word_embeddings", "true");
  assert_refused (directory, MLLAMA_ERROR_UNSUPPORTED, "tie_word_embeddings|" HEAD);
  change_tensor (directory, HEAD, 0, 0, 0);
  assert_opens (directory);
  test_checkpoint_set (directory, "config.json", "text_config.tie_word_embeddings", "false");
  change_tensor (directory, HEAD, 0, 0, 0);
  assert_refused (directory, MLLAMA_ERROR_MALFORMED, HEAD " [rows, 32] is missing");
  test_directory_free (directory);
}

static void
test_biases_of_another_model_are_refused (void)
{
  char *directory = test_checkpoint_new ();

  change_tensor (directory, "language_model.layers.0.self_attn.q_proj.bias", 1, 32, 0);
  assert_refused (directory, MLLAMA_ERROR_UNSUPPORTED, "layers.0.self_attn.q_proj.bias");
  change_tensor (directory, "language_model.layers.0.something_else.bias", 1, 32, 0);
  assert_opens (directory);
  test_directory_free (directory);
}

static void
test_the_patch_embedding_may_be_flat (void)
{
  static const char name[] = "vision_model.patch_embedding.weight";
  char *directory = test_checkpoint_new ();
  TestTensors *tensors = test_checkpoint_tensors (directory);

  change_tensor (directory, name, 2, 16, 3 * 14 * 14);
  assert_opens (directory);
  test_tensors_add (tensors, name, MLLAMA_TENSOR_F32, 4, (gsize[]){16, 14, 14, 3}, NULL);
  write_weights (tensors, directory);
  assert_refused (directory, MLLAMA_ERROR_UNSUPPORTED, "MLX");
  test_tensors_free (tensors);
  test_directory_free (directory);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/checkpoint/opens_a_checkpoint", test_opens_a_checkpoint);
  g_test_add_func ("/checkpoint/opens_checkpoints_that_transformers_made",
                   test_opens_checkpoints_that_transformers_made);
  g_test_add_func ("/checkpoint/opens_every_spelling_and_dtype", test_opens_every_spelling_and_dtype);
  g_test_add_func ("/checkpoint/text_only_needs_neither_tower_nor_preprocessor",
                   test_text_only_needs_neither_tower_nor_preprocessor);
  g_test_add_func ("/checkpoint/a_bare_text_model_opens_as_text_only", test_a_bare_text_model_opens_as_text_only);
  g_test_add_func ("/checkpoint/says_which_file_is_missing", test_says_which_file_is_missing);
  g_test_add_func ("/checkpoint/says_which_file_is_broken", test_says_which_file_is_broken);
  g_test_add_func ("/checkpoint/says_which_file_is_a_directory", test_says_which_file_is_a_directory);
  g_test_add_func ("/checkpoint/counts_the_tensors_of_released_checkpoints",
                   test_counts_the_tensors_of_released_checkpoints);
  g_test_add_func ("/checkpoint/every_tensor_is_required", test_every_tensor_is_required);
  g_test_add_func ("/checkpoint/every_shape_is_checked", test_every_shape_is_checked);
  g_test_add_func ("/checkpoint/the_head_may_have_any_rows_from_the_vocabulary_to_the_embedding",
                   test_the_head_may_have_any_rows_from_the_vocabulary_to_the_embedding);
  g_test_add_func ("/checkpoint/the_embedding_must_hold_every_id", test_the_embedding_must_hold_every_id);
  g_test_add_func ("/checkpoint/ids_outside_the_embedding_are_refused", test_ids_outside_the_embedding_are_refused);
  g_test_add_func ("/checkpoint/a_tokenizer_larger_than_the_embedding_is_refused",
                   test_a_tokenizer_larger_than_the_embedding_is_refused);
  g_test_add_func ("/checkpoint/tied_embeddings_must_agree_with_the_files",
                   test_tied_embeddings_must_agree_with_the_files);
  g_test_add_func ("/checkpoint/biases_of_another_model_are_refused", test_biases_of_another_model_are_refused);
  g_test_add_func ("/checkpoint/the_patch_embedding_may_be_flat", test_the_patch_embedding_may_be_flat);
  return g_test_run ();
}
