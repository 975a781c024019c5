/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MllamaModel, MllamaForConditionalGeneration: sharing, life, scheduling, limits. What the numbers are is the golden
 * suite's business; here a checkpoint is only something that runs. */
#include <math.h>
#include <string.h>

#include <mllama/mllama.h>

#define N_NEW 12

static char *
find_checkpoint (void)
{
  return g_build_filename (g_getenv ("MLLAMA_TEST_SOURCE_DIR"), "golden", "checkpoints", "hub", NULL);
}

static MllamaModel *
open_model_with (const MllamaModelSettings *settings)
{
  g_autofree char *path = find_checkpoint ();
  GError *error = NULL;
  MllamaModel *model = mllama_model_open (path, settings, &error);

  g_assert_no_error (error);
  g_assert_true (mllama_model_load (model, NULL, &error));
  g_assert_no_error (error);
  return model;
}

static MllamaModel *
open_model (void)
{
  return open_model_with (NULL);
}

static MllamaStates *
encode (MllamaModel *model, guint seed, MllamaSemantics semantics)
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

static MllamaPrompt *
create_prompt (MllamaModel *model, const char *text, guint n_images)
{
  GError *error = NULL;
  MllamaPrompt *prompt = mllama_prompt_new_question (model, text, -1, n_images, &error);

  g_assert_no_error (error);
  return prompt;
}

/* n ordinary ids, the first of them an image mark if there is to be one. */
static MllamaPrompt *
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

static MllamaGeneration *
start (MllamaModel *model, MllamaPrompt *prompt, MllamaStates *states, const MllamaGenerationSettings *settings)
{
  GError *error = NULL;
  MllamaGeneration *answer = mllama_model_generate_async (model, prompt, &states, states ? 1 : 0, settings, &error);

  g_assert_no_error (error);
  return answer;
}

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
  g_autoptr (MllamaStates) states = encode (model, 1, MLLAMA_SEMANTICS_META);
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

/* --- answers --- */

typedef struct {
  GString *text;
  GArray *ids;
  guint n_done, n_freed;
  gint cancel_at; /* index of the token to cancel at; -1: never */
  MllamaModel *model_to_drop;
  MllamaGeneration *answer_to_drop;
  GMutex lock;
  GCond done;
} Watch;

static void
on_token (MllamaGeneration *answer, const MllamaToken *token, gpointer data)
{
  Watch *watch = data;

  g_assert_cmpuint (watch->n_done, ==, 0);
  g_assert_cmpuint (token->index, ==, watch->ids->len);
  g_assert_true (g_utf8_validate (token->text, -1, NULL));
  g_assert_true (isfinite (token->logprob));
  g_string_append (watch->text, token->text);
  g_array_append_val (watch->ids, token->id);
  if ((gint) token->index == watch->cancel_at)
    mllama_generation_cancel (answer);
}

static void
on_done (MllamaGeneration *answer, gpointer data)
{
  Watch *watch = data;

  g_assert_nonnull (mllama_generation_get_result (answer));
  g_clear_pointer (&watch->model_to_drop, mllama_model_unref);
  g_clear_pointer (&watch->answer_to_drop, mllama_generation_unref);
  g_mutex_lock (&watch->lock);
  watch->n_done++;
  g_cond_broadcast (&watch->done);
  g_mutex_unlock (&watch->lock);
}

static void
on_free (gpointer data)
{
  Watch *watch = data;

  g_mutex_lock (&watch->lock);
  watch->n_freed++;
  g_cond_broadcast (&watch->done);
  g_mutex_unlock (&watch->lock);
}

static void
watch_init (Watch *watch)
{
  *watch = (Watch){.text = g_string_new (NULL), .ids = g_array_new (FALSE, FALSE, sizeof (guint32)), .cancel_at = -1};
}

static void
watch_clear (Watch *watch)
{
  g_string_free (watch->text, TRUE);
  g_array_unref (watch->ids);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Watch, watch_clear)

static void
wait_for (Watch *watch, const guint *counter)
{
  g_mutex_lock (&watch->lock);
  while (*counter == 0)
    g_cond_wait (&watch->done, &watch->lock);
  g_mutex_unlock (&watch->lock);
}

static MllamaGenerationSettings
watched (Watch *watch, gint max_tokens)
{
  return (MllamaGenerationSettings){.max_tokens = max_tokens,
                                    .ignore_eos = TRUE,
                                    .on_token = on_token,
                                    .on_done = on_done,
                                    .user_data = watch,
                                    .user_data_free = on_free};
}

static void
reports_every_token_and_then_the_end (void)
{
  g_autoptr (MllamaModel) model = open_model ();
  g_autoptr (MllamaStates) states = encode (model, 1, MLLAMA_SEMANTICS_META);
  g_autoptr (MllamaPrompt) prompt = create_prompt (model, "What is this?", 1);
  g_auto (Watch) watch;
  watch_init (&watch);
  MllamaGenerationSettings settings = watched (&watch, N_NEW);
  MllamaGeneration *answer = start (model, prompt, states, &settings);
  const MllamaResult *result = mllama_generation_wait (answer);

  wait_for (&watch, &watch.n_done);
  g_assert_cmpint (result->finish_reason, ==, MLLAMA_FINISH_LENGTH);
  g_assert_cmpuint (result->n_ids, ==, N_NEW);
  g_assert_cmpmem (result->ids, N_NEW * 4, watch.ids->data, watch.ids->len * 4);
  g_assert_cmpstr (result->text, ==, watch.text->str);
  mllama_generation_unref (answer);
  wait_for (&watch, &watch.n_freed);
  g_assert_cmpuint (watch.n_done, ==, 1);
  g_assert_cmpuint (watch.n_freed, ==, 1);
}

static void
cancels_at_the_next_step (void)
{
  g_autoptr (MllamaModel) model = open_model ();
  g_autoptr (MllamaPrompt) prompt = create_prompt (model, "Go on", 0);
  g_auto (Watch) watch;
  watch_init (&watch);
  watch.cancel_at = 3;
  MllamaGenerationSettings settings = watched (&watch, 200);
  g_autoptr (MllamaGeneration) answer = start (model, prompt, NULL, &settings);
  const MllamaResult *result = mllama_generation_wait (answer);

  wait_for (&watch, &watch.n_done);
  g_assert_cmpint (result->finish_reason, ==, MLLAMA_FINISH_CANCELLED);
  g_assert_cmpuint (result->n_ids, ==, 4);
}

static void
survives_dropping_the_last_references_in_a_callback (void)
{
  MllamaModel *model = open_model ();
  MllamaPrompt *prompt = create_prompt (model, "Bye", 0);
  g_auto (Watch) watch;
  watch_init (&watch);
  MllamaGenerationSettings settings = watched (&watch, 2);

  watch.model_to_drop = model;
  watch.answer_to_drop = start (model, prompt, NULL, &settings);
  mllama_prompt_unref (prompt);
  wait_for (&watch, &watch.n_freed);
}

static void
gives_nothing_for_no_tokens (void)
{
  g_autoptr (MllamaModel) model = open_model ();
  g_autoptr (MllamaPrompt) prompt = create_prompt (model, "", 0);
  MllamaGenerationSettings settings = {.max_tokens = MLLAMA_MAX_TOKENS_NONE};
  g_autoptr (MllamaGeneration) answer = start (model, prompt, NULL, &settings);
  const MllamaResult *result = mllama_generation_wait (answer);

  g_assert_cmpint (result->finish_reason, ==, MLLAMA_FINISH_LENGTH);
  g_assert_cmpuint (result->n_ids, ==, 0);
  g_assert_cmpstr (result->text, ==, "");
}

static void
stops_at_a_stop_id (void)
{
  g_autoptr (MllamaModel) model = open_model ();
  g_autoptr (MllamaPrompt) prompt = create_prompt (model, "Stop", 0);
  MllamaGenerationSettings settings = {.max_tokens = N_NEW, .ignore_eos = TRUE};
  g_autoptr (MllamaGeneration) whole = start (model, prompt, NULL, &settings);
  const MllamaResult *result = mllama_generation_wait (whole);
  guint32 stop = result->ids[5];
  guint first = 0;

  while (result->ids[first] != stop)
    first++;
  settings.stop_ids = &stop;
  settings.n_stop_ids = 1;
  g_autoptr (MllamaGeneration) part = start (model, prompt, NULL, &settings);
  const MllamaResult *stopped = mllama_generation_wait (part);
  g_autofree char *text =
      mllama_tokenizer_decode (mllama_model_get_tokenizer (model), result->ids, first + 1, TRUE, NULL);
  g_assert_cmpint (stopped->finish_reason, ==, MLLAMA_FINISH_STOP);
  g_assert_cmpuint (stopped->n_ids, ==, first + 1);
  g_assert_cmpstr (stopped->text, ==, text);
}

/* --- scheduling --- */

static void
assert_same_result (const MllamaResult *a, const MllamaResult *b)
{
  g_assert_cmpmem (a->ids, a->n_ids * sizeof *a->ids, b->ids, b->n_ids * sizeof *b->ids);
  g_assert_cmpmem (a->logprobs, a->n_ids * sizeof *a->logprobs, b->logprobs, b->n_ids * sizeof *b->logprobs);
}

/* Bits of an answer alone = among n - 1 others, wherever it stands among them; with pictures, without, sampled. */
static void
does_not_depend_on_companions (void)
{
  static const guint counts[] = {2, 7, 32, 100};
  g_autoptr (MllamaModel) model = open_model ();
  MllamaStates *states[2] = {encode (model, 1, MLLAMA_SEMANTICS_META),
                             encode (model, 2, MLLAMA_SEMANTICS_TRANSFORMERS)};
  MllamaGeneration *alone[100], *together[100];
  MllamaPrompt *prompts[100];
  MllamaGenerationSettings settings[100];

  for (guint i = 0; i < 100; i++) {
    prompts[i] = create_long_prompt (model, 3 + (i * 37) % 90, i % 3 > 0);
    settings[i] = (MllamaGenerationSettings){
        .max_tokens = 1 + i % N_NEW, .ignore_eos = TRUE, .temperature = i % 2 ? 0.8 : 0, .top_k = i % 5, .seed = i};
    alone[i] = start (model, prompts[i], i % 3 > 0 ? states[i % 3 - 1] : NULL, &settings[i]);
    mllama_generation_wait (alone[i]);
  }
  for (guint c = 0; c < G_N_ELEMENTS (counts); c++) {
    for (guint i = counts[c]; i > 0; i--)
      together[i - 1] =
          start (model, prompts[i - 1], (i - 1) % 3 > 0 ? states[(i - 1) % 3 - 1] : NULL, &settings[i - 1]);
    for (guint i = 0; i < counts[c]; i++) {
      assert_same_result (mllama_generation_wait (alone[i]), mllama_generation_wait (together[i]));
      mllama_generation_unref (together[i]);
    }
  }
  for (guint i = 0; i < 100; i++) {
    mllama_generation_unref (alone[i]);
    mllama_prompt_unref (prompts[i]);
  }
  mllama_states_unref (states[0]);
  mllama_states_unref (states[1]);
}

static void
runs_answers_in_common_steps (void)
{
  g_autoptr (MllamaModel) model = open_model ();
  g_autoptr (MllamaPrompt) prompt = create_prompt (model, "Together", 0);
  MllamaGenerationSettings settings = {.max_tokens = 100, .ignore_eos = TRUE};
  MllamaGeneration *answers[8];
  MllamaStatistics before, after;

  mllama_model_get_statistics (model, &before);
  for (guint i = 0; i < 8; i++)
    answers[i] = start (model, prompt, NULL, &settings);
  for (guint i = 0; i < 8; i++) {
    mllama_generation_wait (answers[i]);
    mllama_generation_unref (answers[i]);
  }
  mllama_model_get_statistics (model, &after);
  g_assert_cmpuint (after.n_decode_rows - before.n_decode_rows, ==, 8 * 99);
  g_assert_cmpuint (after.n_decode_steps - before.n_decode_steps, <, 2 * 99);
  g_assert_cmpuint (after.n_generations - before.n_generations, ==, 8);
}

static void
encodes_once_for_several_prompts (void)
{
  g_autoptr (MllamaModel) model = open_model ();
  MllamaStatistics before, after;
  mllama_model_get_statistics (model, &before);
  g_autoptr (MllamaStates) states = encode (model, 1, MLLAMA_SEMANTICS_META);

  for (guint i = 0; i < 4; i++) {
    g_autofree char *text = g_strdup_printf ("Question %u", i);
    g_autoptr (MllamaPrompt) prompt = create_prompt (model, text, 1);
    g_autoptr (MllamaGeneration) answer = mllama_model_generate (model, prompt, &states, 1, NULL, NULL);
    g_assert_nonnull (answer);
  }
  mllama_model_get_statistics (model, &after);
  g_assert_cmpuint (after.n_encodes - before.n_encodes, ==, 1);
  g_assert_cmpuint (after.states_bytes, ==, mllama_states_get_n_bytes (states));
  g_assert_cmpuint (after.kv_bytes, ==, 0);
}

/* A prompt of several prefill passes gives the logits of one forward pass. */
static void
prefills_long_prompts_in_passes (void)
{
  g_autoptr (MllamaModel) model = open_model ();
  g_autoptr (MllamaStates) states = encode (model, 3, MLLAMA_SEMANTICS_META);
  g_autoptr (MllamaPrompt) prompt = create_long_prompt (model, 700, TRUE);
  MllamaGenerationSettings settings = {.max_tokens = 1, .ignore_eos = TRUE};
  g_autoptr (MllamaGeneration) answer = start (model, prompt, states, &settings);
  const MllamaResult *result = mllama_generation_wait (answer);
  MllamaForwardSettings last = {.logits_to_keep = 1};
  g_autoptr (MllamaForwardResult) forward = mllama_model_forward (model, prompt, &states, 1, &last, NULL);
  double sum = 0;

  g_assert_nonnull (forward);
  g_assert_cmpuint (forward->n_logits, ==, 1);
  for (guint i = 0; i < forward->vocab_size; i++)
    sum += exp ((double) forward->logits[i] - forward->logits[result->ids[0]]);
  g_assert_cmpfloat_with_epsilon (-log (sum), result->logprobs[0], 1e-5);
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
  g_autoptr (MllamaStates) meta = encode (model, 1, MLLAMA_SEMANTICS_META),
                           leak = encode (model, 1, MLLAMA_SEMANTICS_TRANSFORMERS);
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
  g_test_add_func ("/model/names_the_missing_cuda_module", names_the_missing_cuda_module);
  g_test_add_func ("/model/refuses_bf16_on_the_cpu", refuses_bf16_on_the_cpu);
  g_test_add_func ("/model/refuses_work_before_the_weights_are_there", refuses_work_before_the_weights_are_there);
  g_test_add_func ("/model/stops_loading_when_cancelled_and_loads_later", stops_loading_when_cancelled_and_loads_later);
  g_test_add_func ("/model/keeps_states_usable_after_the_owner_is_gone", keeps_states_usable_after_the_owner_is_gone);
  g_test_add_func ("/model/answers_text_without_the_tower", answers_text_without_the_tower);
  g_test_add_func ("/generation/reports_every_token_and_then_the_end", reports_every_token_and_then_the_end);
  g_test_add_func ("/generation/cancels_at_the_next_step", cancels_at_the_next_step);
  g_test_add_func ("/generation/survives_dropping_the_last_references_in_a_callback",
                   survives_dropping_the_last_references_in_a_callback);
  g_test_add_func ("/generation/gives_nothing_for_no_tokens", gives_nothing_for_no_tokens);
  g_test_add_func ("/generation/stops_at_a_stop_id", stops_at_a_stop_id);
  g_test_add_func ("/scheduler/does_not_depend_on_companions", does_not_depend_on_companions);
  g_test_add_func ("/scheduler/runs_answers_in_common_steps", runs_answers_in_common_steps);
  g_test_add_func ("/scheduler/encodes_once_for_several_prompts", encodes_once_for_several_prompts);
  g_test_add_func ("/scheduler/prefills_long_prompts_in_passes", prefills_long_prompts_in_passes);
  g_test_add_func ("/limits/refuses_what_does_not_fit_together", refuses_what_does_not_fit_together);
  g_test_add_func ("/limits/refuses_a_prompt_longer_than_the_context", refuses_a_prompt_longer_than_the_context);
  g_test_add_func ("/limits/waits_for_memory_and_says_when_there_is_never_enough",
                   waits_for_memory_and_says_when_there_is_never_enough);
  g_test_add_func ("/limits/counts_states_against_their_cap", counts_states_against_their_cap);
  g_test_add_func ("/limits/cancels_an_encode", cancels_an_encode);
  return g_test_run ();
}
