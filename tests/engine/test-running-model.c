/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "test-running-model.h"

char *
find_checkpoint (void)
{
  return g_build_filename (g_getenv ("MLLAMA_TEST_SOURCE_DIR"), "golden", "checkpoints", "hub", NULL);
}

MllamaModel *
open_model_with (const MllamaModelSettings *settings)
{
  g_autofree char *path = find_checkpoint ();
  GError *error = NULL;
  MllamaModel *model = mllama_model_open (path, settings, &error);

  g_assert_no_error (error);
  /* The model's thread may still be dropping the last reference of an earlier test, whose settings would stand. */
  while (settings && mllama_model_is_loaded (model)) {
    mllama_model_unref (model);
    g_usleep (1000);
    model = mllama_model_open (path, settings, &error);
    g_assert_no_error (error);
  }
  g_assert_true (mllama_model_load (model, NULL, &error));
  g_assert_no_error (error);
  return model;
}

MllamaModel *
open_model (void)
{
  return open_model_with (NULL);
}

MllamaStates *
encode_noise (MllamaModel *model, guint seed, MllamaSemantics semantics)
{
  guint8 pixels[40 * 30 * 3];
  MllamaImage image = {.format = MLLAMA_FORMAT_RGB, .width = 40, .height = 30, .planes = {pixels}, .strides = {120}};
  g_autoptr (GRand) rand = g_rand_new_with_seed (seed);
  GError *error = NULL;
  MllamaStates *states;

  for (guint i = 0; i < sizeof pixels; i++)
    pixels[i] = g_rand_int (rand);
  states = mllama_model_encode (model, &image, semantics, 0, NULL, &error);
  g_assert_no_error (error);
  return states;
}

MllamaPrompt *
create_prompt (MllamaModel *model, const char *text, guint n_images)
{
  GError *error = NULL;
  MllamaPrompt *prompt = mllama_prompt_new_question (model, text, -1, n_images, &error);

  g_assert_no_error (error);
  return prompt;
}

MllamaPrompt *
create_long_prompt (MllamaModel *model, guint n, gboolean has_image)
{
  const MllamaConfig *config = mllama_model_get_config (model);
  g_autofree guint32 *ids = g_new (guint32, n);
  GError *error = NULL;
  MllamaPrompt *prompt;

  for (guint i = 0; i < n; i++) {
    ids[i] = (i * 7 + i / 11) % config->text.vocab_size;
    if (ids[i] == config->image_token_id)
      ids[i] = 1;
  }
  if (has_image)
    ids[0] = config->image_token_id;
  prompt = mllama_prompt_new_from_ids (model, ids, n, &error);
  g_assert_no_error (error);
  return prompt;
}

MllamaGeneration *
start (MllamaModel *model, MllamaPrompt *prompt, MllamaStates *states, const MllamaGenerationSettings *settings)
{
  GError *error = NULL;
  MllamaGeneration *answer = mllama_model_generate_async (model, prompt, &states, states ? 1 : 0, settings, &error);

  g_assert_no_error (error);
  return answer;
}

void
assert_same_result (const MllamaResult *a, const MllamaResult *b)
{
  g_assert_cmpmem (a->ids, a->n_ids * sizeof *a->ids, b->ids, b->n_ids * sizeof *b->ids);
  g_assert_cmpmem (a->logprobs, a->n_ids * sizeof *a->logprobs, b->logprobs, b->n_ids * sizeof *b->logprobs);
}
