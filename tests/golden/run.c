/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "run.h"

#include <math.h>
#include <string.h>

static void
encode_pictures (Run *run)
{
  JsonArray *pictures = json_object_get_array_member (run->record, "pictures");

  run->states = g_new0 (MllamaStates *, json_array_get_length (pictures));
  for (guint i = 0; i < json_array_get_length (pictures); i++) {
    JsonObject *record = json_array_get_object_element (pictures, i);
    g_autoptr (GoldenPicture) picture = golden_picture_new (run->golden, record);
    MllamaImage image = golden_picture_view (picture, record);
    g_autoptr (GError) error = NULL;

    run->states[i] = mllama_model_encode (run->model, &image, golden_get_semantics (run->record), 0, NULL, &error);
    if (!run->states[i])
      g_error ("%s: %s", run->golden->name, error->message);
    run->n_states++;
  }
}

Run *
run_new (Golden *golden, JsonObject *record, MllamaModel *model)
{
  Run *run = g_new0 (Run, 1);
  g_autoptr (GArray) ids = golden_read_ids (record, "ids");
  g_autoptr (GError) error = NULL;

  run->golden = golden;
  run->record = record;
  run->model = model ? model : golden_get_model (golden);
  run->prompt = mllama_prompt_new_from_ids (run->model, (const guint32 *) ids->data, ids->len, &error);
  if (!run->prompt)
    g_error ("%s: %s", golden->name, error->message);
  encode_pictures (run);
  run->stop_ids = golden_read_ids (record, "stop_ids");
  run->settings = (MllamaGenerationSettings){
      .max_tokens = json_object_get_int_member (record, "max_tokens"),
      .repetition_penalty = json_object_get_double_member (record, "repetition_penalty"),
      .ignore_eos = json_object_get_boolean_member (record, "ignore_eos"),
      .stop_ids = (const guint32 *) run->stop_ids->data,
      .n_stop_ids = run->stop_ids->len,
  };
  return run;
}

void
run_free (Run *run)
{
  if (!run)
    return;
  g_clear_pointer (&run->prompt, mllama_prompt_unref);
  for (guint i = 0; i < run->n_states; i++)
    mllama_states_unref (run->states[i]);
  g_free (run->states);
  g_array_unref (run->stop_ids);
  g_free (run);
}

MllamaPrompt *
run_create_prompt (Golden *golden, JsonObject *record)
{
  MllamaModel *model = golden_get_model (golden);
  const char *text = json_object_get_string_member (record, "text");
  const char *kind = json_object_get_string_member (record, "kind");
  guint n_pictures = json_array_get_length (json_object_get_array_member (record, "pictures"));
  g_autoptr (GError) error = NULL;
  MllamaPrompt *prompt;

  if (g_str_equal (kind, "processed"))
    prompt = mllama_prompt_new_processed (model, text, -1, &error);
  else if (g_str_equal (kind, "raw"))
    prompt = mllama_prompt_new_raw (model, text, -1, NULL, 0, &error);
  else
    prompt = mllama_prompt_new_question (model, text, -1, n_pictures, &error);
  if (!prompt)
    g_error ("%s: %s", golden->name, error->message);
  return prompt;
}

MllamaForwardResult *
run_forward (const Run *run, const MllamaForwardSettings *settings)
{
  g_autoptr (GError) error = NULL;
  MllamaForwardResult *result =
      mllama_model_forward (run->model, run->prompt, run->states, run->n_states, settings, &error);

  if (!result)
    g_error ("%s: %s", run->golden->name, error->message);
  return result;
}

MllamaGeneration *
run_generate_async (const Run *run)
{
  g_autoptr (GError) error = NULL;
  MllamaGeneration *answer =
      mllama_model_generate_async (run->model, run->prompt, run->states, run->n_states, &run->settings, &error);

  if (!answer)
    g_error ("%s: %s", run->golden->name, error->message);
  return answer;
}

MllamaGeneration *
run_generate (const Run *run)
{
  MllamaGeneration *answer = run_generate_async (run);
  const MllamaResult *result = mllama_generation_wait (answer);

  if (result->error)
    g_error ("%s: %s", run->golden->name, result->error->message);
  return answer;
}

void
run_read_probes (const MllamaForwardResult *result, guint row, const GArray *ids, double *logprobs)
{
  const float *logits = result->logits + (gsize) row * result->vocab_size;
  double largest = -G_MAXDOUBLE, sum = 0;

  for (guint i = 0; i < result->vocab_size; i++)
    largest = MAX (largest, logits[i]);
  for (guint i = 0; i < result->vocab_size; i++)
    sum += exp (logits[i] - largest);
  for (guint i = 0; i < ids->len; i++) {
    guint32 id = g_array_index (ids, guint32, i);
    logprobs[i] = id < result->vocab_size ? logits[id] - largest - log (sum) : 0;
  }
}
