/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MllamaConfig, MllamaVisionConfig and MllamaTextConfig of the model documentation. */
#include <string.h>

#include "test-util.h"

static MllamaConfig *
parse (const char *json, GError **error)
{
  return mllama_config_new_from_data (json, strlen (json), error);
}

static MllamaConfig *
parse_well (const char *json)
{
  GError *error = NULL;
  MllamaConfig *config = parse (json, &error);

  g_assert_no_error (error);
  return config;
}

/* The small config with one member changed. */
static MllamaConfig *
parse_changed (const char *path, const char *value, GError **error)
{
  g_autofree char *base = test_config_json (), *json = test_json_set (base, path, value);

  return parse (json, error);
}

static MllamaConfig *
parse_changed_well (const char *path, const char *value)
{
  GError *error = NULL;
  MllamaConfig *config = parse_changed (path, value, &error);

  g_assert_no_error (error);
  return config;
}

static void
assert_is_11b (const MllamaConfig *config)
{
  static const guint taps[] = {3, 7, 15, 23, 30}, cross[] = {3, 8, 13, 18, 23, 28, 33, 38};
  static const guint8 ratios[][2] = {{1, 1}, {1, 2}, {1, 3}, {1, 4}, {2, 1}, {2, 2}, {3, 1}, {4, 1}};
  const MllamaVisionConfig *v = &config->vision;
  const MllamaTextConfig *t = &config->text;

  g_assert_true (config->has_vision);
  g_assert_cmpuint (config->image_token_id, ==, 128256);
  g_assert_true (v->hidden_size == 1280 && v->n_layers == 32 && v->n_global_layers == 8 && v->n_heads == 16);
  g_assert_true (v->n_channels == 3 && v->intermediate_size == 5120 && v->output_dim == 7680 && v->patch_size == 14);
  g_assert_true (v->norm_eps == 1e-5 && v->max_n_tiles == 4 && v->n_taps == 5 && v->n_aspect_ratios == 8);
  g_assert_cmpmem (v->taps, v->n_taps * sizeof (guint), taps, sizeof taps);
  for (guint i = 0; i < 8; i++)
    g_assert_true (v->aspect_ratios[i].n_rows == ratios[i][0] && v->aspect_ratios[i].n_columns == ratios[i][1]);
  g_assert_true (t->vocab_size == 128256 && t->hidden_size == 4096 && t->n_layers == 40 && t->n_heads == 32);
  g_assert_true (t->n_kv_heads == 8 && t->head_width == 128 && t->intermediate_size == 14336);
  g_assert_true (t->rms_norm_eps == 1e-5 && t->max_positions == 131072 && !t->tied_embeddings);
  g_assert_cmpmem (t->cross_layers, t->n_cross_layers * sizeof (guint), cross, sizeof cross);
  g_assert_true (t->bos_id == 128000 && t->pad_id == 128004 && t->rope.theta == 500000);
}

static void
assert_is_11b_instruct (const MllamaConfig *config)
{
  static const guint32 eos[] = {128001, 128008, 128009};
  const MllamaRopeConfig *rope = &config->text.rope;

  assert_is_11b (config);
  g_assert_cmpuint (config->vision.image_size, ==, 560);
  g_assert_cmpuint (mllama_vision_config_get_n_patches (&config->vision), ==, 1601);
  g_assert_cmpmem (config->text.eos_ids, config->text.n_eos_ids * sizeof *eos, eos, sizeof eos);
  g_assert_true (rope->scaled && rope->factor == 8 && rope->low_freq_factor == 1 && rope->high_freq_factor == 4);
  g_assert_cmpuint (rope->original_max_positions, ==, 8192);
}

static void
test_reads_both_generations_of_the_file_alike (void)
{
  static const char *const names[] = {"hub-4.45.json", "class-5.json"};

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree char *path = g_build_filename (g_getenv ("MLLAMA_TEST_SOURCE_DIR"), "engine", "config", names[i], NULL);
    GError *error = NULL;
    g_autoptr (MllamaConfig) config = mllama_config_new_from_file (path, &error);

    g_assert_no_error (error);
    assert_is_11b_instruct (config);
  }
}

static void
test_defaults_are_those_of_the_classes (void)
{
  g_autoptr (MllamaConfig) bare = parse_well ("{\"model_type\": \"mllama\"}");
  g_autoptr (MllamaConfig) empty =
      parse_well ("{\"model_type\": \"mllama\", \"vision_config\": {}, \"text_config\": {}}");
  const MllamaConfig *configs[] = {bare, empty};

  for (guint i = 0; i < G_N_ELEMENTS (configs); i++) {
    assert_is_11b (configs[i]);
    g_assert_cmpuint (configs[i]->vision.image_size, ==, 448);
    g_assert_cmpuint (mllama_vision_config_get_n_patches (&configs[i]->vision), ==, 1025);
    g_assert_false (configs[i]->text.rope.scaled);
    g_assert_true (configs[i]->text.n_eos_ids == 1 && configs[i]->text.eos_ids[0] == 128001);
  }
}

static void
test_null_members_are_defaults (void)
{
  static const char *const members[] = {"vision_config.intermediate_layers_indices", "vision_config.norm_eps",
                                        "vision_config.supported_aspect_ratios", "text_config.rope_scaling",
                                        "text_config.hidden_act"};

  for (guint i = 0; i < G_N_ELEMENTS (members); i++) {
    GError *error = NULL;
    g_autoptr (MllamaConfig) config = parse_changed (members[i], "null", &error);

    if (i == 0) /* the default taps are for 32 layers */
      test_assert_error (error, MLLAMA_ERROR_MALFORMED, "intermediate_layers_indices|layer 3|num_hidden_layers is 2");
    else
      g_assert_no_error (error);
    if (config)
      g_assert_cmpuint (config->vision.n_aspect_ratios, ==, 8);
  }
}

static void
test_heads_of_the_tower_have_two_names (void)
{
  g_autofree char *base = test_config_json (), *without = test_json_set (base, "vision_config.attention_heads", NULL);
  g_autofree char *argument = test_json_set (without, "vision_config.num_attention_heads", "4");
  g_autofree char *both = test_json_set (argument, "vision_config.attention_heads", "8");
  g_autoptr (MllamaConfig) one = parse_well (argument), two = parse_well (both);

  g_assert_cmpuint (one->vision.n_heads, ==, 4);
  g_assert_cmpuint (two->vision.n_heads, ==, 8);
}

static void
test_image_token_has_two_names (void)
{
  g_autofree char *base = test_config_json (), *without = test_json_set (base, "image_token_index", NULL);
  g_autofree char *alias = test_json_set (without, "image_token_id", "261");
  g_autofree char *both = test_json_set (alias, "image_token_index", "260");
  g_autoptr (MllamaConfig) config = parse_well (alias);
  GError *error = NULL;

  g_assert_cmpuint (config->image_token_id, ==, 261);
  g_assert_null (parse (both, &error));
  test_assert_error (error, MLLAMA_ERROR_MALFORMED, "image_token_index is 260|image_token_id|261");
}

static void
test_end_of_sequence_is_one_id_a_list_or_none (void)
{
  g_autoptr (MllamaConfig) one = parse_changed_well ("text_config.eos_token_id", "7");
  g_autoptr (MllamaConfig) list = parse_changed_well ("text_config.eos_token_id", "[9, 8]");
  g_autoptr (MllamaConfig) null = parse_changed_well ("text_config.eos_token_id", "null");
  g_autoptr (MllamaConfig) absent = parse_changed_well ("text_config.eos_token_id", NULL);
  g_autoptr (MllamaConfig) pad = parse_changed_well ("text_config.pad_token_id", "-1");
  g_autoptr (MllamaConfig) bos = parse_changed_well ("text_config.bos_token_id", "null");

  g_assert_true (one->text.n_eos_ids == 1 && one->text.eos_ids[0] == 7);
  g_assert_true (list->text.n_eos_ids == 2 && list->text.eos_ids[0] == 9 && list->text.eos_ids[1] == 8);
  g_assert_cmpuint (null->text.n_eos_ids, ==, 0);
  g_assert_cmpuint (absent->text.n_eos_ids, ==, 0); /* the default, 128001, is not in this vocabulary */
  g_assert_cmpint (pad->text.pad_id, ==, -1);
  g_assert_cmpint (bos->text.bos_id, ==, -1);
}

static void
test_rope_has_several_spellings (void)
{
  static const char llama3[] = "{\"type\": \"llama3\", \"factor\": 2, \"low_freq_factor\": 1, \"high_freq_factor\": 4,"
                               " \"original_max_position_embeddings\": 99}";
  g_autoptr (MllamaConfig) alias = parse_changed_well ("text_config.rope_scaling", llama3);
  g_autoptr (MllamaConfig) plain = parse_changed_well ("text_config.rope_scaling", "{\"rope_type\": \"default\"}");
  g_autoptr (MllamaConfig) absent = parse_changed_well ("text_config.rope_scaling", NULL);
  g_autofree char *base = test_config_json (), *without = test_json_set (base, "text_config.rope_scaling", NULL);
  g_autofree char *new_way =
      test_json_set (without, "text_config.rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": 12345.0}");
  g_autoptr (MllamaConfig) parameters = parse_well (new_way);

  g_assert_true (alias->text.rope.scaled && alias->text.rope.factor == 2);
  g_assert_cmpuint (alias->text.rope.original_max_positions, ==, 99);
  g_assert_false (plain->text.rope.scaled);
  g_assert_false (absent->text.rope.scaled);
  g_assert_true (!parameters->text.rope.scaled && parameters->text.rope.theta == 12345);
}

static void
test_scaled_rope_falls_back_on_the_context_length (void)
{
  g_autoptr (MllamaConfig) config =
      parse_changed_well ("text_config.rope_scaling.original_max_position_embeddings", NULL);

  g_assert_cmpuint (config->text.rope.original_max_positions, ==, 512);
}

static void
test_taps_keep_their_order_and_may_repeat (void)
{
  g_autofree char *base = test_config_json ();
  g_autofree char *wider = test_json_set (base, "vision_config.vision_output_dim", "64");
  g_autofree char *json = test_json_set (wider, "vision_config.intermediate_layers_indices", "[1, 0, 1]");
  g_autoptr (MllamaConfig) config = parse_well (json);

  g_assert_cmpmem (config->vision.taps, config->vision.n_taps * sizeof (guint), ((guint[]){1, 0, 1}), 12);
}

static void
test_cross_layers_come_out_ascending (void)
{
  g_autoptr (MllamaConfig) config = parse_changed_well ("text_config.cross_attention_layers", "[3, 0, 2]");
  g_autoptr (MllamaConfig) absent = parse_changed_well ("text_config.cross_attention_layers", NULL);

  g_assert_cmpmem (config->text.cross_layers, config->text.n_cross_layers * 4, ((guint[]){0, 2, 3}), 12);
  g_assert_true (absent->text.n_cross_layers == 1 && absent->text.cross_layers[0] == 3);
}

static void
test_arrangements_default_to_all_that_fit (void)
{
  static const struct {
    const char *max_n_tiles;
    guint n;
  } cases[] = {{"1", 1}, {"2", 3}, {"4", 8}, {"6", 14}, {"64", 280}};

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (MllamaConfig) config = parse_changed_well ("vision_config.max_num_tiles", cases[i].max_n_tiles);
    const MllamaAspectRatio *last = &config->vision.aspect_ratios[cases[i].n - 1];

    g_assert_cmpuint (config->vision.n_aspect_ratios, ==, cases[i].n);
    g_assert_true (last->n_rows == config->vision.max_n_tiles && last->n_columns == 1);
  }
}

static void
test_arrangements_may_be_listed (void)
{
  g_autoptr (MllamaConfig) config =
      parse_changed_well ("vision_config.supported_aspect_ratios", "[[2, 2], [1, 1], [1, 3]]");

  g_assert_cmpuint (config->vision.n_aspect_ratios, ==, 3);
  g_assert_true (config->vision.aspect_ratios[2].n_rows == 1 && config->vision.aspect_ratios[2].n_columns == 3);
}

static void
test_a_tile_need_not_be_a_multiple_of_the_patch (void)
{
  g_autoptr (MllamaConfig) config = parse_changed_well ("vision_config.image_size", "41");

  g_assert_cmpuint (mllama_vision_config_get_n_patches (&config->vision), ==, 5);
}

static void
test_a_bare_text_model_has_no_vision (void)
{
  static const char bare[] = "{\"architectures\": [\"MllamaForCausalLM\"], \"model_type\": \"mllama_text_model\","
                             " \"hidden_size\": 64, \"num_attention_heads\": 4, \"num_key_value_heads\": 4,"
                             " \"num_hidden_layers\": 4, \"cross_attention_layers\": []}";
  g_autofree char *base = test_config_json ();
  g_autofree char *cut = test_json_set (base, "architectures", "[\"MllamaForCausalLM\"]");
  g_autoptr (MllamaConfig) at_the_top = parse_well (bare), below = parse_well (cut);

  g_assert_true (!at_the_top->has_vision && at_the_top->text.hidden_size == 64);
  g_assert_cmpuint (at_the_top->vision.hidden_size, ==, 0);
  g_assert_cmpuint (at_the_top->text.n_cross_layers, ==, 0);
  g_assert_true (!below->has_vision && below->text.hidden_size == 32);
}

static void
test_head_dim_may_be_given_if_it_agrees (void)
{
  g_autoptr (MllamaConfig) config = parse_changed_well ("text_config.head_dim", "8");

  g_assert_cmpuint (config->text.head_width, ==, 8);
}

static const struct {
  const char *path, *value, *words;
  MllamaError code;
} refused[] = {
    /* not implemented, by name */
    {"model_type", "\"llama\"", "model_type is \"llama\"|mllama", MLLAMA_ERROR_UNSUPPORTED},
    {"text_config.model_type", "\"llama\"", "text_config: model_type is \"llama\"", MLLAMA_ERROR_UNSUPPORTED},
    {"vision_config.model_type", "\"siglip\"", "vision_config: model_type", MLLAMA_ERROR_UNSUPPORTED},
    {"vision_config.hidden_act", "\"gelu_pytorch_tanh\"", "hidden_act is \"gelu_pytorch_tanh\"|\"gelu\"",
     MLLAMA_ERROR_UNSUPPORTED},
    {"text_config.hidden_act", "\"gelu\"", "text_config: hidden_act is \"gelu\"|\"silu\"", MLLAMA_ERROR_UNSUPPORTED},
    {"text_config.rope_scaling.rope_type", "\"yarn\"", "rope_type is \"yarn\"|llama3", MLLAMA_ERROR_UNSUPPORTED},
    {"text_config.rope_scaling.partial_rotary_factor", "0.5", "partial_rotary_factor is 0.5", MLLAMA_ERROR_UNSUPPORTED},
    {"text_config.partial_rotary_factor", "0.5", "partial_rotary_factor is 0.5", MLLAMA_ERROR_UNSUPPORTED},
    {"text_config.attention_bias", "true", "attention_bias is true", MLLAMA_ERROR_UNSUPPORTED},
    {"text_config.mlp_bias", "true", "mlp_bias is true", MLLAMA_ERROR_UNSUPPORTED},
    {"vision_config.attention_bias", "true", "attention_bias is true", MLLAMA_ERROR_UNSUPPORTED},
    {"quantization_config", "{\"quant_method\": \"bitsandbytes\"}", "quantization_config", MLLAMA_ERROR_UNSUPPORTED},
    {"text_config.quantization_config", "{}", "quantization_config", MLLAMA_ERROR_UNSUPPORTED},
    {"compression_config", "{}", "compression_config", MLLAMA_ERROR_UNSUPPORTED},
    {"vision_config.image_size", "[28, 28]", "image_size is a list", MLLAMA_ERROR_UNSUPPORTED},
    {"vision_config.patch_size", "[14, 14]", "patch_size is a list", MLLAMA_ERROR_UNSUPPORTED},
    {"vision_config.num_channels", "1", "num_channels is 1|only 3", MLLAMA_ERROR_UNSUPPORTED},
    {"text_config.cross_attention_layers", "[0, 1, 2, 3]", "all 4 layers", MLLAMA_ERROR_UNSUPPORTED},
    /* one number against another */
    {"vision_config.vision_output_dim", "64", "vision_output_dim is 64|16|1 + 2|48", MLLAMA_ERROR_MALFORMED},
    {"vision_config.attention_heads", "3", "attention_heads 3|16", MLLAMA_ERROR_MALFORMED},
    {"text_config.num_attention_heads", "5", "num_attention_heads 5|32", MLLAMA_ERROR_MALFORMED},
    {"text_config.num_key_value_heads", "3", "num_key_value_heads 3|4", MLLAMA_ERROR_MALFORMED},
    {"text_config.num_attention_heads", "32", "heads are 1 wide|even", MLLAMA_ERROR_MALFORMED},
    {"text_config.head_dim", "16", "16 wide|8", MLLAMA_ERROR_MALFORMED},
    {"vision_config.patch_size", "29", "patch_size 29|image_size 28", MLLAMA_ERROR_MALFORMED},
    {"vision_config.intermediate_layers_indices", "[0, 2]", "layer 2|num_hidden_layers is 2|0 to 1",
     MLLAMA_ERROR_MALFORMED},
    {"vision_config.intermediate_layers_indices", "[]", "0 entries", MLLAMA_ERROR_MALFORMED},
    {"vision_config.intermediate_layers_indices", "[-1, 0]", "intermediate_layers_indices[0] is -1",
     MLLAMA_ERROR_MALFORMED},
    {"text_config.cross_attention_layers", "[1, 4]", "names layer 4|0 to 3", MLLAMA_ERROR_MALFORMED},
    {"text_config.cross_attention_layers", "[1, 3, 1]", "repeats layer 1", MLLAMA_ERROR_MALFORMED},
    {"text_config.cross_attention_layers", "[]", "cross_attention_layers is empty", MLLAMA_ERROR_MALFORMED},
    {"vision_config.supported_aspect_ratios", "[]", "0 entries", MLLAMA_ERROR_MALFORMED},
    {"vision_config.supported_aspect_ratios", "[[1, 1], [2, 3]]", "supported_aspect_ratios[1] is [2,3]|4",
     MLLAMA_ERROR_MALFORMED},
    {"vision_config.supported_aspect_ratios", "[[0, 1]]", "supported_aspect_ratios[0]", MLLAMA_ERROR_MALFORMED},
    {"vision_config.supported_aspect_ratios", "[[1]]", "supported_aspect_ratios[0] is [1]", MLLAMA_ERROR_MALFORMED},
    {"vision_config.supported_aspect_ratios", "[[1, 1, 1]]", "supported_aspect_ratios[0]", MLLAMA_ERROR_MALFORMED},
    {"vision_config.supported_aspect_ratios", "[[1, 4294967297]]", "supported_aspect_ratios[0]",
     MLLAMA_ERROR_MALFORMED},
    {"vision_config.supported_aspect_ratios", "[[1, 2], [1, 2]]", "supported_aspect_ratios[1] repeats [1, 2]",
     MLLAMA_ERROR_MALFORMED},
    {"text_config.rope_scaling.high_freq_factor", "1", "high_freq_factor 1|low_freq_factor 1", MLLAMA_ERROR_MALFORMED},
    {"text_config.rope_scaling.factor", NULL, "rope_scaling: factor is missing|llama3", MLLAMA_ERROR_MALFORMED},
    {"model_type", NULL, "no model_type", MLLAMA_ERROR_MALFORMED},
    /* ranges */
    {"text_config.vocab_size", "0", "vocab_size is 0|from 1 to", MLLAMA_ERROR_MALFORMED},
    {"text_config.vocab_size", "4294967296", "vocab_size is 4294967296", MLLAMA_ERROR_MALFORMED},
    {"text_config.hidden_size", "-1", "hidden_size is -1", MLLAMA_ERROR_MALFORMED},
    {"text_config.hidden_size", "1e4", "hidden_size is 10000|an integer", MLLAMA_ERROR_MALFORMED},
    {"text_config.num_hidden_layers", "0", "num_hidden_layers is 0", MLLAMA_ERROR_MALFORMED},
    {"text_config.num_hidden_layers", "1000000", "num_hidden_layers is 1000000", MLLAMA_ERROR_MALFORMED},
    {"text_config.rms_norm_eps", "0", "rms_norm_eps is 0", MLLAMA_ERROR_MALFORMED},
    {"text_config.rope_theta", "0", "rope_theta is 0", MLLAMA_ERROR_MALFORMED},
    {"text_config.rope_scaling.factor", "0.5", "factor is 0.5|from 1", MLLAMA_ERROR_MALFORMED},
    {"text_config.max_position_embeddings", "0", "max_position_embeddings is 0", MLLAMA_ERROR_MALFORMED},
    {"text_config.eos_token_id", "-2", "eos_token_id is -2", MLLAMA_ERROR_MALFORMED},
    {"text_config.eos_token_id", "[1, \"a\"]", "eos_token_id[1] is \"a\"", MLLAMA_ERROR_MALFORMED},
    {"text_config.pad_token_id", "-2", "pad_token_id is -2", MLLAMA_ERROR_MALFORMED},
    {"vision_config.max_num_tiles", "65", "max_num_tiles is 65|from 1 to 64", MLLAMA_ERROR_MALFORMED},
    {"vision_config.image_size", "8193", "image_size is 8193", MLLAMA_ERROR_MALFORMED},
    {"vision_config.patch_size", "0", "patch_size is 0", MLLAMA_ERROR_MALFORMED},
    {"vision_config.num_global_layers", "-1", "num_global_layers is -1", MLLAMA_ERROR_MALFORMED},
    {"image_token_index", "-1", "image_token_index is -1", MLLAMA_ERROR_MALFORMED},
};

static void
test_refuses_what_it_cannot_compute (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (refused); i++) {
    GError *error = NULL;

    g_test_message ("%s = %s", refused[i].path, refused[i].value);
    g_assert_null (parse_changed (refused[i].path, refused[i].value, &error));
    test_assert_error (error, refused[i].code, refused[i].words);
  }
}

/* Every member that is read. */
static const char *const number_members[] = {"image_token_index",
                                             "image_token_id",
                                             "text_config.vocab_size",
                                             "text_config.hidden_size",
                                             "text_config.num_hidden_layers",
                                             "text_config.num_attention_heads",
                                             "text_config.num_key_value_heads",
                                             "text_config.intermediate_size",
                                             "text_config.max_position_embeddings",
                                             "text_config.rms_norm_eps",
                                             "text_config.rope_theta",
                                             "text_config.head_dim",
                                             "text_config.bos_token_id",
                                             "text_config.pad_token_id",
                                             "text_config.eos_token_id",
                                             "text_config.partial_rotary_factor",
                                             "text_config.rope_scaling.factor",
                                             "text_config.rope_scaling.low_freq_factor",
                                             "text_config.rope_scaling.high_freq_factor",
                                             "text_config.rope_scaling.original_max_position_embeddings",
                                             "text_config.rope_scaling.rope_theta",
                                             "vision_config.hidden_size",
                                             "vision_config.num_hidden_layers",
                                             "vision_config.num_global_layers",
                                             "vision_config.attention_heads",
                                             "vision_config.num_attention_heads",
                                             "vision_config.num_channels",
                                             "vision_config.intermediate_size",
                                             "vision_config.vision_output_dim",
                                             "vision_config.image_size",
                                             "vision_config.patch_size",
                                             "vision_config.norm_eps",
                                             "vision_config.max_num_tiles"};
static const char *const other_members[] = {"text_config",
                                            "vision_config",
                                            "text_config.rope_scaling",
                                            "text_config.rope_parameters",
                                            "model_type",
                                            "architectures",
                                            "text_config.hidden_act",
                                            "text_config.cross_attention_layers",
                                            "text_config.rope_scaling.type",
                                            "text_config.rope_scaling.rope_type",
                                            "text_config.tie_word_embeddings",
                                            "vision_config.hidden_act",
                                            "vision_config.intermediate_layers_indices",
                                            "vision_config.supported_aspect_ratios"};

static void
test_refuses_members_of_the_wrong_type (void)
{
  static const char *const not_numbers[] = {"\"5\"", "true", "{}"};

  for (guint i = 0; i < G_N_ELEMENTS (number_members); i++)
    for (guint k = 0; k < G_N_ELEMENTS (not_numbers); k++) {
      const char *name = strrchr (number_members[i], '.');
      GError *error = NULL;

      g_test_message ("%s = %s", number_members[i], not_numbers[k]);
      g_assert_null (parse_changed (number_members[i], not_numbers[k], &error));
      test_assert_error (error, MLLAMA_ERROR_MALFORMED, name ? name + 1 : number_members[i]);
    }
  for (guint i = 0; i < G_N_ELEMENTS (other_members); i++) {
    const char *name = strrchr (other_members[i], '.');
    GError *error = NULL;

    g_test_message ("%s = 5", other_members[i]);
    g_assert_null (parse_changed (other_members[i], "5", &error));
    test_assert_error (error, MLLAMA_ERROR_MALFORMED, name ? name + 1 : other_members[i]);
  }
}

static void
test_ignores_members_it_does_not_know (void)
{
  g_autoptr (MllamaConfig) sampling = parse_changed_well ("text_config.temperature", "0.1");
  g_autoptr (MllamaConfig) tied = parse_changed_well ("vision_config.tie_word_embeddings", "true");
  g_autoptr (MllamaConfig) off = parse_changed_well ("text_config.attention_bias", "false");

  g_assert_nonnull (sampling);
  g_assert_false (tied->text.tied_embeddings);
  g_assert_nonnull (off);
}

static void
test_errors_name_the_file (void)
{
  char *directory = test_directory_new ();
  g_autofree char *path = g_build_filename (directory, "config.json", NULL);
  GError *error = NULL;

  g_assert_null (mllama_config_new_from_file (path, &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_NOT_FOUND, path);
  test_write_file (directory, "config.json", "{\"model_type\": \"mllama\",", -1);
  g_assert_null (mllama_config_new_from_file (path, &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_MALFORMED, path);
  g_assert_null (mllama_config_new_from_file (directory, &error));
  test_assert_error (g_steal_pointer (&error), MLLAMA_ERROR_UNREADABLE, "directory");
  test_directory_free (directory);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/config/reads_both_generations_of_the_file_alike", test_reads_both_generations_of_the_file_alike);
  g_test_add_func ("/config/defaults_are_those_of_the_classes", test_defaults_are_those_of_the_classes);
  g_test_add_func ("/config/null_members_are_defaults", test_null_members_are_defaults);
  g_test_add_func ("/config/heads_of_the_tower_have_two_names", test_heads_of_the_tower_have_two_names);
  g_test_add_func ("/config/image_token_has_two_names", test_image_token_has_two_names);
  g_test_add_func ("/config/end_of_sequence_is_one_id_a_list_or_none", test_end_of_sequence_is_one_id_a_list_or_none);
  g_test_add_func ("/config/rope_has_several_spellings", test_rope_has_several_spellings);
  g_test_add_func ("/config/scaled_rope_falls_back_on_the_context_length",
                   test_scaled_rope_falls_back_on_the_context_length);
  g_test_add_func ("/config/taps_keep_their_order_and_may_repeat", test_taps_keep_their_order_and_may_repeat);
  g_test_add_func ("/config/cross_layers_come_out_ascending", test_cross_layers_come_out_ascending);
  g_test_add_func ("/config/arrangements_default_to_all_that_fit", test_arrangements_default_to_all_that_fit);
  g_test_add_func ("/config/arrangements_may_be_listed", test_arrangements_may_be_listed);
  g_test_add_func ("/config/a_tile_need_not_be_a_multiple_of_the_patch",
                   test_a_tile_need_not_be_a_multiple_of_the_patch);
  g_test_add_func ("/config/a_bare_text_model_has_no_vision", test_a_bare_text_model_has_no_vision);
  g_test_add_func ("/config/head_dim_may_be_given_if_it_agrees", test_head_dim_may_be_given_if_it_agrees);
  g_test_add_func ("/config/refuses_what_it_cannot_compute", test_refuses_what_it_cannot_compute);
  g_test_add_func ("/config/refuses_members_of_the_wrong_type", test_refuses_members_of_the_wrong_type);
  g_test_add_func ("/config/ignores_members_it_does_not_know", test_ignores_members_it_does_not_know);
  g_test_add_func ("/config/errors_name_the_file", test_errors_name_the_file);
  return g_test_run ();
}
