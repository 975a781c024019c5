/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "mllama-bench.h"

Answer *
answer_new (MllamaPrompt *prompt, MllamaStates *states, guint n_new)
{
  Answer *answer;

  if (!prompt)
    return NULL;
  answer = g_new0 (Answer, 1);
  answer->prompt = prompt;
  answer->states = states ? mllama_states_ref (states) : NULL;
  answer->n_new = n_new;
  answer->ids = g_array_sized_new (FALSE, FALSE, sizeof (guint32), n_new);
  answer->times = g_array_sized_new (FALSE, FALSE, sizeof (gint64), n_new);
  return answer;
}

void
answer_free (Answer *answer)
{
  if (!answer)
    return;
  /* Its callback writes here. */
  if (answer->generation) {
    mllama_generation_cancel (answer->generation);
    mllama_generation_wait (answer->generation);
    mllama_generation_unref (answer->generation);
  }
  mllama_prompt_unref (answer->prompt);
  g_clear_pointer (&answer->states, mllama_states_unref);
  g_array_unref (answer->ids);
  g_array_unref (answer->times);
  g_free (answer);
}

static void
note_token (MllamaGeneration *generation, const MllamaToken *token, gpointer user_data)
{
  Answer *answer = user_data;
  gint64 now = g_get_monotonic_time ();

  g_array_append_val (answer->ids, token->id);
  g_array_append_val (answer->times, now);
}

static MllamaGeneration *
start (Answer *answer, Bench *bench, MllamaTokenFunc on_token, GError **error)
{
  MllamaGenerationSettings settings = {
      .max_tokens = answer->n_new, .ignore_eos = TRUE, .on_token = on_token, .user_data = answer};

  return mllama_model_generate_async (bench->model, answer->prompt, &answer->states, answer->states ? 1 : 0, &settings,
                                      error);
}

gboolean
answer_start (Answer *answer, Bench *bench, GError **error)
{
  answer->generation = start (answer, bench, note_token, error);
  return answer->generation != NULL;
}

gboolean
answer_wait (Answer *answer, GError **error)
{
  const MllamaResult *result = mllama_generation_wait (answer->generation);

  if (result->error) {
    g_propagate_error (error, g_error_copy (result->error));
    return FALSE;
  }
  if (result->n_ids == answer->n_new && answer->ids->len == answer->n_new &&
      memcmp (answer->ids->data, result->ids, result->n_ids * sizeof (guint32)) == 0)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
               "the callback was given %u ids, and the answer has %u; expected the same %u", answer->ids->len,
               result->n_ids, answer->n_new);
  return FALSE;
}

gboolean
answer_run (Answer *answer, Bench *bench, GError **error)
{
  return answer_start (answer, bench, error) && answer_wait (answer, error);
}

gint64
answer_get_first_us (const Answer *answer)
{
  return g_array_index (answer->times, gint64, 0);
}

gint64
answer_get_last_us (const Answer *answer)
{
  return g_array_index (answer->times, gint64, answer->times->len - 1);
}

gboolean
answer_compare_alone (Answer *answer, Bench *bench, gboolean *is_same, GError **error)
{
  g_autoptr (MllamaGeneration) alone = start (answer, bench, NULL, error);
  const MllamaResult *result, *expected;

  if (!alone)
    return FALSE;
  result = mllama_generation_get_result (answer->generation);
  expected = mllama_generation_wait (alone);
  if (expected->error) {
    g_propagate_error (error, g_error_copy (expected->error));
    return FALSE;
  }
  *is_same = result->n_ids == expected->n_ids &&
             memcmp (result->ids, expected->ids, result->n_ids * sizeof *result->ids) == 0 &&
             memcmp (result->logprobs, expected->logprobs, result->n_ids * sizeof *result->logprobs) == 0;
  return TRUE;
}
