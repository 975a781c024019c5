/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checkpoints that open and are damaged all the same: every use ends in an error, none in a crash. */
#include <math.h>
#include <unistd.h>

#include "test-util.h"

#define WEIGHTS "model.safetensors"

static void
poison (const char *directory, const char *name, guint n_dims, const gsize *shape)
{
  TestTensors *tensors = test_checkpoint_tensors (directory);
  gsize n = 1;
  g_autofree float *values = NULL;

  for (guint i = 0; i < n_dims; i++)
    n *= shape[i];
  values = g_new0 (float, n);
  values[n / 2] = NAN;
  test_tensors_add (tensors, name, MLLAMA_TENSOR_F32, n_dims, shape, values);
  test_tensors_write (tensors, 0, test_tensors_get_n (tensors), test_spell_hub, directory, WEIGHTS);
  test_tensors_free (tensors);
}

static MllamaModel *
load_model (const char *directory)
{
  g_autoptr (GError) error = NULL;
  MllamaModel *model = mllama_model_open (directory, NULL, &error);

  g_assert_no_error (error);
  /* The intact one's thread may still be dropping its last reference. */
  while (mllama_model_is_loaded (model)) {
    mllama_model_unref (model);
    g_usleep (1000);
    model = mllama_model_open (directory, NULL, &error);
    g_assert_no_error (error);
  }
  g_assert_true (mllama_model_load (model, NULL, &error));
  g_assert_no_error (error);
  return model;
}

static MllamaGeneration *
ask (MllamaModel *model, MllamaStates *states, GError **error)
{
  const guint32 ids[] = {TEST_BOS, 'a', states ? TEST_IMAGE : 'b', 'c'};
  g_autoptr (MllamaPrompt) prompt = mllama_prompt_new_from_ids (model, ids, G_N_ELEMENTS (ids), NULL);
  const MllamaGenerationSettings settings = {.max_tokens = 3, .ignore_eos = TRUE};

  return mllama_model_generate (model, prompt, &states, states ? 1 : 0, &settings, error);
}

static void
ends_an_answer_at_nan_logits (void)
{
  char *directory = test_checkpoint_new ();
  GError *error = NULL;
  g_autoptr (MllamaModel) intact = load_model (directory);
  gsize width = mllama_model_get_config (intact)->text.hidden_size;
  g_autoptr (MllamaGeneration) answer = ask (intact, NULL, &error);

  g_assert_no_error (error);
  g_clear_pointer (&intact, mllama_model_unref);
  g_clear_pointer (&answer, mllama_generation_unref);
  poison (directory, "language_model.norm.weight", 1, &width);
  g_autoptr (MllamaModel) damaged = load_model (directory);
  g_assert_null (ask (damaged, NULL, &error));
  test_assert_error (error, MLLAMA_ERROR_NOT_FINITE, "NaN|weights are damaged");
  g_clear_pointer (&damaged, mllama_model_unref);
  test_directory_free (directory);
}

/* NaN in the states of a picture reaches those who look at it, and nobody else: rows without a picture are selected,
 * not multiplied by zero. */
static void
keeps_nan_of_a_picture_from_answers_without_one (void)
{
  char *directory = test_checkpoint_new ();
  g_autoptr (MllamaModel) intact = load_model (directory);
  gsize width = mllama_model_get_config (intact)->text.hidden_size;
  guint8 pixel[3] = {10, 200, 30};
  const MllamaImage image = {.width = 1, .height = 1, .planes = {pixel}, .strides = {3}};
  GError *error = NULL;

  g_clear_pointer (&intact, mllama_model_unref);
  poison (directory, "multi_modal_projector.bias", 1, &width);
  g_autoptr (MllamaModel) model = load_model (directory);
  g_autoptr (MllamaStates) states = mllama_model_encode (model, &image, MLLAMA_SEMANTICS_META, 0, NULL, &error);
  g_assert_no_error (error);
  g_autoptr (MllamaGeneration) blind = ask (model, NULL, &error);
  g_assert_no_error (error);
  g_assert_nonnull (blind);
  g_assert_null (ask (model, states, &error));
  test_assert_error (error, MLLAMA_ERROR_NOT_FINITE, "NaN");
  g_clear_pointer (&states, mllama_states_unref);
  g_clear_pointer (&blind, mllama_generation_unref);
  g_clear_pointer (&model, mllama_model_unref);
  test_directory_free (directory);
}

static void
says_when_the_weights_are_cut_short_after_opening (void)
{
  char *directory = test_checkpoint_new ();
  g_autofree char *path = g_build_filename (directory, WEIGHTS, NULL);
  g_autoptr (MllamaModel) model = mllama_model_open (directory, NULL, NULL);
  GError *error = NULL;

  g_assert_nonnull (model);
  g_assert_cmpint (truncate (path, 5000), ==, 0);
  g_assert_false (mllama_model_load (model, NULL, &error));
  g_assert_nonnull (error);
  test_assert_error (error, error->code, WEIGHTS);
  g_assert_false (mllama_model_is_loaded (model));
  g_clear_pointer (&model, mllama_model_unref);
  test_directory_free (directory);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/damaged/ends_an_answer_at_nan_logits", ends_an_answer_at_nan_logits);
  g_test_add_func ("/damaged/keeps_nan_of_a_picture_from_answers_without_one",
                   keeps_nan_of_a_picture_from_answers_without_one);
  g_test_add_func ("/damaged/says_when_the_weights_are_cut_short_after_opening",
                   says_when_the_weights_are_cut_short_after_opening);
  return g_test_run ();
}
