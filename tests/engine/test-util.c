/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "test-util.h"

#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <string.h>

char *
test_directory_new (void)
{
  GError *error = NULL;
  char *directory = g_dir_make_tmp ("mllama-XXXXXX", &error);

  g_assert_no_error (error);
  return directory;
}

static void
remove_tree (const char *path)
{
  GDir *dir = g_file_test (path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open (path, 0, NULL);
  const char *name;

  while (dir && (name = g_dir_read_name (dir))) {
    g_autofree char *inner = g_build_filename (path, name, NULL);
    remove_tree (inner);
  }
  if (dir)
    g_dir_close (dir);
  g_remove (path);
}

void
test_directory_free (char *directory)
{
  remove_tree (directory);
  g_free (directory);
}

void
test_write_file (const char *directory, const char *name, const void *bytes, gssize length)
{
  g_autofree char *path = g_build_filename (directory, name, NULL);
  GError *error = NULL;

  /* Without the flag of consistency nothing waits for the disk, and an older file is not cut to length. */
  g_unlink (path);
  g_file_set_contents_full (path, bytes, length, G_FILE_SET_CONTENTS_NONE, 0666, &error);
  g_assert_no_error (error);
}

char *
test_read_file (const char *directory, const char *name)
{
  g_autofree char *path = g_build_filename (directory, name, NULL);
  GError *error = NULL;
  char *text = NULL;

  g_file_get_contents (path, &text, NULL, &error);
  g_assert_no_error (error);
  return text;
}

char *
test_json_set (const char *json, const char *path, const char *value)
{
  g_autoptr (JsonNode) root = json_from_string (json, NULL);
  g_auto (GStrv) steps = g_strsplit (path, ".", -1);
  JsonObject *object = json_node_get_object (root);
  guint last = g_strv_length (steps) - 1;

  for (guint i = 0; i < last; i++) {
    if (!json_object_has_member (object, steps[i]))
      json_object_set_object_member (object, steps[i], json_object_new ());
    object = json_object_get_object_member (object, steps[i]);
  }
  if (value)
    json_object_set_member (object, steps[last], json_from_string (value, NULL));
  else
    json_object_remove_member (object, steps[last]);
  return json_to_string (root, TRUE);
}

void
test_assert_error (GError *error, MllamaError code, const char *words)
{
  g_auto (GStrv) list = g_strsplit (words, "|", -1);

  g_assert_error (error, MLLAMA_ERROR, (gint) code);
  for (char **word = list; *word; word++)
    if (!strstr (error->message, *word)) {
      g_test_message ("\"%s\" is not in: %s", *word, error->message);
      g_test_fail ();
    }
  g_error_free (error);
}

/* --- checkpoints --- */

char *
test_config_json (void)
{
  return g_strdup (
      "{\"model_type\": \"mllama\", \"architectures\": [\"MllamaForConditionalGeneration\"],"
      " \"image_token_index\": 262, \"torch_dtype\": \"float32\","
      " \"vision_config\": {\"model_type\": \"mllama_vision_model\", \"hidden_size\": 16, \"hidden_act\": \"gelu\","
      "  \"num_hidden_layers\": 2, \"num_global_layers\": 1, \"attention_heads\": 2, \"intermediate_size\": 24,"
      "  \"vision_output_dim\": 48, \"image_size\": 28, \"patch_size\": 14, \"norm_eps\": 1e-05, \"max_num_tiles\": 4,"
      "  \"intermediate_layers_indices\": [1, 0], \"num_channels\": 3},"
      " \"text_config\": {\"model_type\": \"mllama_text_model\", \"vocab_size\": 262, \"hidden_size\": 32,"
      "  \"hidden_act\": \"silu\", \"num_hidden_layers\": 4, \"num_attention_heads\": 4, \"num_key_value_heads\": 2,"
      "  \"intermediate_size\": 40, \"rope_theta\": 500000.0, \"rope_scaling\": {\"rope_type\": \"llama3\","
      "  \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0,"
      "  \"original_max_position_embeddings\": 64}, \"rms_norm_eps\": 1e-05, \"max_position_embeddings\": 512,"
      "  \"tie_word_embeddings\": false, \"cross_attention_layers\": [1, 3], \"bos_token_id\": 256,"
      "  \"eos_token_id\": [257, 261], \"pad_token_id\": 258}}");
}

/* The visible alphabet of byte-level BPE: printable Latin-1 is itself, other bytes are U+0100 and up, in order. */
static void
append_alphabet (GString *json)
{
  gunichar other = 0x100;

  for (guint byte = 0; byte < 256; byte++) {
    gboolean is_visible = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
    char spelling[8] = "";

    spelling[g_unichar_to_utf8 (is_visible ? byte : other++, spelling)] = '\0';
    g_string_append_printf (json, "%s\"%s%s\": %u", byte ? ", " : "", byte == '"' || byte == '\\' ? "\\" : "", spelling,
                            byte);
  }
}

char *
test_tokenizer_json (void)
{
  static const char *const special[] = {
      "begin_of_text", "end_of_text", "finetune_right_pad_id", "start_header_id", "end_header_id", "eot_id", "image"};
  GString *json = g_string_new ("{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [");

  for (guint i = 0; i < G_N_ELEMENTS (special); i++)
    g_string_append_printf (json,
                            "%s{\"id\": %u, \"content\": \"<|%s|>\", \"single_word\": false, \"lstrip\": false,"
                            " \"rstrip\": false, \"normalized\": false, \"special\": true}",
                            i ? ", " : "", TEST_BOS + i, special[i]);
  g_string_append (
      json, "], \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": "
            "\"Split\", \"pattern\": {\"Regex\": \"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?"
            "\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|"
            "\\\\s+\"}, \"behavior\": \"Isolated\", \"invert\": false}, {\"type\": \"ByteLevel\", "
            "\"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": false}]}, \"post_processor\": "
            "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": false, \"use_regex\": true},"
            " \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, "
            "\"use_regex\": true}, \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
            "\"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": true, \"merges\": [], \"vocab\": {");
  append_alphabet (json);
  return g_string_free (g_string_append (json, "}}}"), FALSE);
}

TestTensors *
test_checkpoint_tensors (const char *directory)
{
  g_autofree char *path = g_build_filename (directory, "config.json", NULL);
  GError *error = NULL;
  g_autoptr (MllamaConfig) config = mllama_config_new_from_file (path, &error);

  g_assert_no_error (error);
  return test_tensors_new_for_config (config, config->has_vision, MLLAMA_TENSOR_F32);
}

char *
test_checkpoint_new (void)
{
  char *directory = test_directory_new ();
  g_autofree char *config = test_config_json (), *tokenizer = test_tokenizer_json ();
  TestTensors *tensors;

  test_write_file (directory, "config.json", config, -1);
  test_write_file (directory, "tokenizer.json", tokenizer, -1);
  test_write_file (directory, "generation_config.json",
                   "{\"bos_token_id\": 256, \"eos_token_id\": [257, 261], \"pad_token_id\": 258}", -1);
  test_write_file (directory, "preprocessor_config.json",
                   "{\"image_processor_type\": \"MllamaImageProcessor\", \"do_convert_rgb\": true, \"do_resize\": true,"
                   " \"do_rescale\": true, \"do_normalize\": true, \"do_pad\": true, \"resample\": 2,"
                   " \"rescale_factor\": 0.00392156862745098, \"image_mean\": [0.48145466, 0.4578275, 0.40821073],"
                   " \"image_std\": [0.26862954, 0.26130258, 0.27577711], \"size\": {\"height\": 28, \"width\": 28},"
                   " \"max_image_tiles\": 4}",
                   -1);
  tensors = test_checkpoint_tensors (directory);
  test_tensors_write (tensors, 0, test_tensors_get_n (tensors), test_spell_hub, directory, "model.safetensors");
  test_tensors_free (tensors);
  return directory;
}

void
test_checkpoint_set (const char *directory, const char *file, const char *path, const char *value)
{
  g_autofree char *old = test_read_file (directory, file);
  g_autofree char *json = test_json_set (old, path, value);

  test_write_file (directory, file, json, -1);
}
