/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MllamaForConditionalGeneration.generate: callbacks, cancel, and answers that share steps and pictures. */
#include <math.h>
#include <string.h>

#include "backend.h"
#include "test-running-model.h"
#include "test-util.h"

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
  MllamaModel *model;
  MllamaGeneration *dropped;

  g_assert_nonnull (mllama_generation_get_result (answer));
  g_mutex_lock (&watch->lock);
  watch->n_done++;
  model = g_steal_pointer (&watch->model_to_drop);
  dropped = g_steal_pointer (&watch->answer_to_drop);
  g_cond_broadcast (&watch->done);
  g_mutex_unlock (&watch->lock);
  mllama_model_unref (model);
  mllama_generation_unref (dropped);
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
  g_autoptr (MllamaStates) states = encode_noise (model, 1, MLLAMA_SEMANTICS_META);
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
  /* The scheduler may hold the last reference: the watch has to last until it lets go. */
  g_clear_pointer (&answer, mllama_generation_unref);
  wait_for (&watch, &watch.n_freed);
}

static void
survives_dropping_the_last_references_in_a_callback (void)
{
  MllamaModel *model = open_model ();
  MllamaPrompt *prompt = create_prompt (model, "Bye", 0);
  g_auto (Watch) watch;
  watch_init (&watch);
  MllamaGenerationSettings settings = watched (&watch, 2);

  /* The lock keeps the callback from looking for the answer before it is there. */
  g_mutex_lock (&watch.lock);
  watch.model_to_drop = model;
  watch.answer_to_drop = start (model, prompt, NULL, &settings);
  g_mutex_unlock (&watch.lock);
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

/* Text is a C string; what follows a NUL must not be lost. Hot sampling from 256 bytes soon draws it. */
static void
leaves_nuls_out_of_the_text (void)
{
  char *directory = test_checkpoint_new ();
  g_autoptr (MllamaModel) model = mllama_model_open (directory, NULL, NULL);
  MllamaTokenizer *tokenizer = mllama_model_get_tokenizer (model);
  const guint32 ids[] = {TEST_BOS, 'a'};
  gboolean has_nul = FALSE;

  g_assert_true (mllama_model_load (model, NULL, NULL));
  g_autoptr (MllamaPrompt) prompt = mllama_prompt_new_from_ids (model, ids, G_N_ELEMENTS (ids), NULL);
  for (guint seed = 0; seed < 50 && !has_nul; seed++) {
    const MllamaGenerationSettings settings = {.max_tokens = 60, .temperature = 20, .seed = seed, .ignore_eos = TRUE};
    g_autoptr (MllamaGeneration) answer = start (model, prompt, NULL, &settings);
    const MllamaResult *result = mllama_generation_wait (answer);
    gsize length;
    g_autofree char *text = mllama_tokenizer_decode (tokenizer, result->ids, result->n_ids, TRUE, &length);
    GString *expected = g_string_new (NULL);

    for (gsize i = 0; i < length; i++)
      if (text[i] != '\0')
        g_string_append_c (expected, text[i]);
    has_nul = expected->len < length;
    g_assert_cmpstr (result->text, ==, expected->str);
    g_string_free (expected, TRUE);
  }
  g_assert_true (has_nul);
  g_clear_pointer (&prompt, mllama_prompt_unref);
  g_clear_pointer (&model, mllama_model_unref);
  test_directory_free (directory);
}

/* --- scheduling --- */

/* Bits of an answer alone = among n - 1 others, wherever it stands among them; with pictures, without, sampled. */
static void
does_not_depend_on_companions (void)
{
  static const guint counts[] = {2, 7, 32, 100};
  g_autoptr (MllamaModel) model = open_model ();
  MllamaStates *states[2] = {encode_noise (model, 1, MLLAMA_SEMANTICS_META),
                             encode_noise (model, 2, MLLAMA_SEMANTICS_TRANSFORMERS)};
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

/* Keeps the model's thread waiting until the test lets go. */
static void
wait_at_gate (MllamaGeneration *answer, const MllamaToken *token, gpointer data)
{
  g_mutex_lock (data);
  g_mutex_unlock (data);
}

static void
runs_answers_in_common_steps (void)
{
  g_autoptr (MllamaModel) model = open_model ();
  g_autoptr (MllamaPrompt) prompt = create_prompt (model, "Together", 0);
  GMutex gate = {0};
  MllamaGenerationSettings settings = {.max_tokens = 100, .ignore_eos = TRUE},
                           gated = {.max_tokens = 1, .on_token = wait_at_gate, .user_data = &gate};
  MllamaGeneration *answers[9];
  MllamaStatistics before, after;
  gsize n_ids;

  mllama_model_get_statistics (model, &before);
  g_mutex_lock (&gate);
  answers[8] = start (model, prompt, NULL, &gated);
  for (guint i = 0; i < 8; i++)
    answers[i] = start (model, prompt, NULL, &settings);
  g_mutex_unlock (&gate);
  for (guint i = 0; i < 9; i++) {
    mllama_generation_wait (answers[i]);
    mllama_generation_unref (answers[i]);
  }
  mllama_model_get_statistics (model, &after);
  g_assert_cmpuint (after.n_decode_rows - before.n_decode_rows, ==, 8 * 99);
  /* The prompts go in together, MLLAMA_MAX_ROWS tokens a turn: the last answer starts so many steps after the first. */
  mllama_prompt_get_ids (prompt, &n_ids);
  g_assert_cmpuint (after.n_decode_steps - before.n_decode_steps, >=, 99);
  g_assert_cmpuint (after.n_decode_steps - before.n_decode_steps, <=, 99 + 8 * n_ids / MLLAMA_MAX_ROWS);
  g_assert_cmpuint (after.n_generations - before.n_generations, ==, 9);
}

static void
encodes_once_for_several_prompts (void)
{
  g_autoptr (MllamaModel) model = open_model ();
  MllamaStatistics before, after;
  mllama_model_get_statistics (model, &before);
  g_autoptr (MllamaStates) states = encode_noise (model, 1, MLLAMA_SEMANTICS_META);

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
  g_autoptr (MllamaStates) states = encode_noise (model, 3, MLLAMA_SEMANTICS_META);
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

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/generation/reports_every_token_and_then_the_end", reports_every_token_and_then_the_end);
  g_test_add_func ("/generation/cancels_at_the_next_step", cancels_at_the_next_step);
  g_test_add_func ("/generation/survives_dropping_the_last_references_in_a_callback",
                   survives_dropping_the_last_references_in_a_callback);
  g_test_add_func ("/generation/gives_nothing_for_no_tokens", gives_nothing_for_no_tokens);
  g_test_add_func ("/generation/stops_at_a_stop_id", stops_at_a_stop_id);
  g_test_add_func ("/generation/leaves_nuls_out_of_the_text", leaves_nuls_out_of_the_text);
  g_test_add_func ("/scheduler/does_not_depend_on_companions", does_not_depend_on_companions);
  g_test_add_func ("/scheduler/runs_answers_in_common_steps", runs_answers_in_common_steps);
  g_test_add_func ("/scheduler/encodes_once_for_several_prompts", encodes_once_for_several_prompts);
  g_test_add_func ("/scheduler/prefills_long_prompts_in_passes", prefills_long_prompts_in_passes);
  return g_test_run ();
}
