/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as a config.json. What is accepted must be safe to compute with. */
#include <mllama/mllama.h>

#include "checkpoint-tensors.h"

int LLVMFuzzerTestOneInput (const guint8 *data, size_t size);

static void
check_text (const MllamaTextConfig *text)
{
  g_assert_true (text->n_heads > 0 && text->n_kv_heads > 0 && text->n_heads % text->n_kv_heads == 0);
  g_assert_true (text->head_width * text->n_heads == text->hidden_size && text->head_width % 2 == 0);
  g_assert_true (text->n_cross_layers < text->n_layers);
  for (guint i = 0; i < text->n_cross_layers; i++) {
    g_assert_cmpuint (text->cross_layers[i], <, text->n_layers);
    g_assert_true (i == 0 || text->cross_layers[i] > text->cross_layers[i - 1]);
  }
  g_assert_true (text->rms_norm_eps > 0 && text->rope.theta >= 1);
  g_assert_true (!text->rope.scaled || text->rope.high_freq_factor > text->rope.low_freq_factor);
}

static void
check_vision (const MllamaVisionConfig *vision)
{
  g_assert_true (vision->n_heads > 0 && vision->hidden_size % vision->n_heads == 0 && vision->n_channels == 3);
  g_assert_true (vision->output_dim == vision->hidden_size * (1 + vision->n_taps));
  g_assert_true (vision->n_taps > 0 && vision->n_taps <= MLLAMA_MAX_TAPS);
  for (guint i = 0; i < vision->n_taps; i++)
    g_assert_cmpuint (vision->taps[i], <, vision->n_layers);
  g_assert_cmpuint (mllama_vision_config_get_n_patches (vision), >=, 2);
  g_assert_true (vision->n_aspect_ratios > 0 && vision->n_aspect_ratios <= MLLAMA_MAX_ASPECT_RATIOS);
  for (guint i = 0; i < vision->n_aspect_ratios; i++) {
    guint n_tiles = vision->aspect_ratios[i].n_rows * vision->aspect_ratios[i].n_columns;
    g_assert_true (n_tiles >= 1 && n_tiles <= vision->max_n_tiles);
  }
}

int
LLVMFuzzerTestOneInput (const guint8 *data, size_t size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (MllamaConfig) config = mllama_config_new_from_data (size ? (const char *) data : "", size, &error);
  g_autoptr (GArray) tensors = NULL;

  g_assert_true (config || error);
  if (!config)
    return 0;
  check_text (&config->text);
  if (config->has_vision)
    check_vision (&config->vision);
  tensors = mllama_expected_tensors_new (config, config->has_vision);
  for (guint i = 0; i < tensors->len; i++) {
    const MllamaExpectedTensor *tensor = &g_array_index (tensors, MllamaExpectedTensor, i);
    gsize n_bytes = 4;

    for (guint k = 0; k < tensor->n_dims; k++)
      g_assert_true (g_size_checked_mul (&n_bytes, n_bytes, tensor->shape[k]));
  }
  return 0;
}
