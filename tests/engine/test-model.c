/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MllamaModel: sharing, life, limits. What the numbers are is the golden suite's business; here a checkpoint is only
 * something that runs. */
#include <math.h>
#include <string.h>

#include "model-private.h"
#include "test-running-model.h"

/* --- models --- */

static void
shares_one_model_for_one_checkpoint (void)
{
  g_autofree char *path = find_checkpoint ();
  g_autofree char *dotted = g_build_filename (path, ".", NULL);
  MllamaModelSettings text_only = {.text_only = TRUE};
  g_autoptr (MllamaModel) first = mllama_model_open (path, NULL, NULL);
  g_autoptr (MllamaModel) second = mllama_model_open (dotted, NULL, NULL);
  g_autoptr (MllamaModel) other = mllama_model_open (path, &text_only, NULL);

  g_assert_nonnull (first);
  g_assert_true (first == second);
  g_assert_nonnull (other);
  g_assert_true (first != other);
  g_assert_cmpint (mllama_model_get_device (first), ==, MLLAMA_DEVICE_CPU);
  g_assert_cmpint (mllama_model_get_dtype (first), ==, MLLAMA_DTYPE_F32);
}

static gboolean
is_unwell (MllamaBackend *be)
{
  return FALSE;
}

static void
opens_anew_what_has_failed (void)
{
  g_autofree char *path = find_checkpoint ();
  MllamaModelSettings text_only = {.text_only = TRUE};
  MllamaModel *failed = mllama_model_open (path, &text_only, NULL), *again;
  MllamaBackend *backend;
  MllamaBackendOps ops;

  g_assert_true (mllama_model_load (failed, NULL, NULL));
  backend = mllama_scheduler_get_runtime (mllama_model_get_scheduler (failed, NULL))->backend;
  ops = *backend->ops;
  ops.is_well = is_unwell;
  backend->ops = &ops;
  again = mllama_model_open (path, &text_only, NULL);
  g_assert_true (again != failed);
  mllama_model_unref (failed);
  g_assert_true (mllama_model_open (path, &text_only, NULL) == again);
  mllama_model_unref (again);
  mllama_model_unref (again);
}

static void
names_the_missing_cuda_module (void)
{
  g_autofree char *path = find_checkpoint ();
  MllamaModelSettings settings = {.device = MLLAMA_DEVICE_CUDA};
  g_autoptr (GError) error = NULL;
  g_autoptr (MllamaModel) model = NULL;

  g_setenv ("MLLAMA_MODULE_PATH", "/nonexistent", TRUE);
  model = mllama_model_open (path, &settings, &error);
  g_assert_no_error (error);
  g_assert_false (mllama_model_load (model, NULL, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND);
  g_assert_nonnull (strstr (error->message, "libmllama-cuda.so"));
  g_assert_nonnull (strstr (error->message, "device=cpu"));
  g_unsetenv ("MLLAMA_MODULE_PATH");
}

static void
refuses_bf16_on_the_cpu (void)
{
  g_autofree char *path = find_checkpoint ();
  MllamaModelSettings settings = {.device = MLLAMA_DEVICE_CPU, .dtype = MLLAMA_DTYPE_BF16};
  g_autoptr (GError) error = NULL;

  g_assert_null (mllama_model_open (path, &settings, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED);
}

static void
refuses_work_before_the_weights_are_there (void)
{
  g_autofree char *path = find_checkpoint ();
  MllamaModelSettings settings = {.kv_bytes = 12345678, .device = MLLAMA_DEVICE_CPU, .text_only = TRUE};
  g_autoptr (MllamaModel) model = mllama_model_open (path, &settings, NULL);
  g_autoptr (MllamaPrompt) prompt = create_prompt (model, "Hello", 0);
  g_autoptr (GError) error = NULL;

  g_assert_null (mllama_model_generate (model, prompt, NULL, 0, NULL, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID);
}

static void
stops_loading_when_cancelled_and_loads_later (void)
{
  g_autofree char *path = find_checkpoint ();
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (MllamaModel) model = mllama_model_open (path, NULL, NULL);
  g_autoptr (GError) error = NULL;

  g_cancellable_cancel (cancellable);
  g_assert_false (mllama_model_load (model, cancellable, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_CANCELLED);
  g_assert_false (mllama_model_is_loaded (model));
  g_clear_error (&error);
  g_assert_true (mllama_model_load (model, NULL, &error));
  g_assert_true (mllama_model_is_loaded (model));
}

static void
keeps_states_usable_after_the_owner_is_gone (void)
{
  MllamaModel *model = open_model ();
  g_autoptr (MllamaStates) states = encode_noise (model, 1, MLLAMA_SEMANTICS_META);
  MllamaModel *again;

  mllama_model_unref (model);
  again = open_model ();
  g_assert_true (again == model);
  g_autoptr (MllamaPrompt) prompt = create_prompt (again, "What?", 1);
  g_autoptr (MllamaGeneration) answer = mllama_model_generate (again, prompt, &states, 1, NULL, NULL);
  g_assert_nonnull (answer);
  mllama_model_unref (again);
}

/* Text-only: the tower is neither needed nor loaded. */
static void
answers_text_without_the_tower (void)
{
  MllamaModelSettings settings = {.text_only = TRUE};
  g_autoptr (MllamaModel) text_model = open_model_with (&settings), full_model = open_model ();
  g_autoptr (MllamaPrompt) prompt = create_prompt (text_model, "Hello", 0),
                           same = create_prompt (full_model, "Hello", 0);
  MllamaGenerationSettings length = {.max_tokens = N_NEW, .ignore_eos = TRUE};
  g_autoptr (MllamaGeneration) a = start (text_model, prompt, NULL, &length),
                               b = start (full_model, same, NULL, &length);
  const MllamaResult *ra = mllama_generation_wait (a), *rb = mllama_generation_wait (b);
  MllamaStatistics small, large;
  guint8 pixel[3] = {0};
  MllamaImage image = {.width = 1, .height = 1, .planes = {pixel}, .strides = {3}};
  g_autoptr (GError) error = NULL;

  g_assert_cmpmem (ra->ids, ra->n_ids * 4, rb->ids, rb->n_ids * 4);
  g_assert_cmpmem (ra->logprobs, ra->n_ids * 8, rb->logprobs, rb->n_ids * 8);
  mllama_model_get_statistics (text_model, &small);
  mllama_model_get_statistics (full_model, &large);
  g_assert_cmpuint (small.weight_bytes, <, large.weight_bytes);
  g_assert_null (mllama_model_encode (text_model, &image, MLLAMA_SEMANTICS_META, 0, NULL, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED);
}

/* --- limits --- */

static void
assert_refused (MllamaModel *model, MllamaPrompt *prompt, MllamaStates *const *states, guint n_states,
                const MllamaGenerationSettings *settings, int code, const char *says)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (mllama_model_generate_async (model, prompt, states, n_states, settings, &error));
  g_assert_error (error, MLLAMA_ERROR, code);
  g_assert_nonnull (strstr (error->message, says));
}

static void
refuses_what_does_not_fit_together (void)
{
  MllamaModelSettings settings = {.text_only = TRUE};
  g_autoptr (MllamaModel) model = open_model (), other = open_model_with (&settings);
  g_autoptr (MllamaPrompt) prompt = create_prompt (model, "One", 1), two = create_prompt (model, "Two", 2),
                           foreign = create_prompt (other, "Other", 0);
  g_autoptr (MllamaStates) meta = encode_noise (model, 1, MLLAMA_SEMANTICS_META),
                           leak = encode_noise (model, 1, MLLAMA_SEMANTICS_TRANSFORMERS);
  MllamaStates *mixed[] = {meta, leak};
  MllamaGenerationSettings bad[] = {
      {.temperature = -1}, {.top_p = 1.5}, {.repetition_penalty = NAN}, {.max_tokens = -2}};

  assert_refused (model, prompt, NULL, 0, NULL, MLLAMA_ERROR_INVALID, "1 image marks, and 0 pictures");
  assert_refused (model, prompt, mixed, 2, NULL, MLLAMA_ERROR_INVALID, "1 image marks, and 2 pictures");
  assert_refused (model, two, mixed, 2, NULL, MLLAMA_ERROR_WRONG_MODEL, "different semantics");
  assert_refused (model, foreign, NULL, 0, NULL, MLLAMA_ERROR_WRONG_MODEL, "another model");
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    assert_refused (model, prompt, &meta, 1, &bad[i], MLLAMA_ERROR_INVALID, "generation setting");
}

static void
refuses_a_prompt_longer_than_the_context (void)
{
  g_autoptr (MllamaModel) model = open_model ();
  guint context = mllama_model_get_config (model)->text.max_positions;
  g_autoptr (MllamaPrompt) too_long = create_long_prompt (model, context, FALSE),
                           fits = create_long_prompt (model, context - 3, FALSE);
  MllamaGenerationSettings settings = {.ignore_eos = TRUE};

  assert_refused (model, too_long, NULL, 0, NULL, MLLAMA_ERROR_TOO_LONG, "shorten the prompt");
  if (context <= 8192) {
    g_autoptr (MllamaGeneration) answer = start (model, fits, NULL, &settings);
    const MllamaResult *result = mllama_generation_wait (answer);
    g_assert_cmpint (result->finish_reason, ==, MLLAMA_FINISH_LENGTH);
    g_assert_cmpuint (result->n_ids, ==, 3);
  }
}

/* Memory for one answer at a time: the others wait for it, and one that never fits is told so. */
static void
waits_for_memory_and_says_when_there_is_never_enough (void)
{
  MllamaModelSettings small = {.kv_bytes = 1};
  g_autoptr (MllamaModel) model = open_model_with (&small);
  g_autoptr (MllamaPrompt) prompt = create_long_prompt (model, 20, FALSE),
                           large = create_long_prompt (model, 80, FALSE);
  MllamaGenerationSettings settings = {.max_tokens = N_NEW, .ignore_eos = TRUE};
  MllamaGeneration *answers[5];

  for (guint i = 0; i < 5; i++)
    answers[i] = start (model, prompt, NULL, &settings);
  assert_refused (model, large, NULL, 0, &settings, MLLAMA_ERROR_TOO_LONG, "kv_bytes");
  for (guint i = 0; i < 5; i++) {
    assert_same_result (mllama_generation_wait (answers[0]), mllama_generation_wait (answers[i]));
    g_assert_cmpuint (mllama_generation_wait (answers[i])->n_ids, ==, N_NEW);
  }
  for (guint i = 0; i < 5; i++)
    mllama_generation_unref (answers[i]);
}

static void
counts_states_against_their_cap (void)
{
  MllamaModelSettings small = {.states_bytes = 1};
  g_autoptr (MllamaModel) model = open_model_with (&small);
  guint8 pixel[3] = {0};
  MllamaImage image = {.width = 1, .height = 1, .planes = {pixel}, .strides = {3}};
  g_autoptr (GError) error = NULL;

  g_assert_null (mllama_model_encode (model, &image, MLLAMA_SEMANTICS_META, 0, NULL, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY);
  g_assert_nonnull (strstr (error->message, "states_bytes"));
}

static void
cancels_an_encode (void)
{
  g_autoptr (MllamaModel) model = open_model ();
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  guint8 pixel[3] = {0};
  MllamaImage image = {.width = 1, .height = 1, .planes = {pixel}, .strides = {3}};
  g_autoptr (GError) error = NULL;

  g_cancellable_cancel (cancellable);
  g_assert_null (mllama_model_encode (model, &image, MLLAMA_SEMANTICS_META, 0, cancellable, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_CANCELLED);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/model/shares_one_model_for_one_checkpoint", shares_one_model_for_one_checkpoint);
  g_test_add_func ("/model/opens_anew_what_has_failed", opens_anew_what_has_failed);
  g_test_add_func ("/model/names_the_missing_cuda_module", names_the_missing_cuda_module);
  g_test_add_func ("/model/refuses_bf16_on_the_cpu", refuses_bf16_on_the_cpu);
  g_test_add_func ("/model/refuses_work_before_the_weights_are_there", refuses_work_before_the_weights_are_there);
  g_test_add_func ("/model/stops_loading_when_cancelled_and_loads_later", stops_loading_when_cancelled_and_loads_later);
  g_test_add_func ("/model/keeps_states_usable_after_the_owner_is_gone", keeps_states_usable_after_the_owner_is_gone);
  g_test_add_func ("/model/answers_text_without_the_tower", answers_text_without_the_tower);
  g_test_add_func ("/limits/refuses_what_does_not_fit_together", refuses_what_does_not_fit_together);
  g_test_add_func ("/limits/refuses_a_prompt_longer_than_the_context", refuses_a_prompt_longer_than_the_context);
  g_test_add_func ("/limits/waits_for_memory_and_says_when_there_is_never_enough",
                   waits_for_memory_and_says_when_there_is_never_enough);
  g_test_add_func ("/limits/counts_states_against_their_cap", counts_states_against_their_cap);
  g_test_add_func ("/limits/cancels_an_encode", cancels_an_encode);
  return g_test_run ();
}
