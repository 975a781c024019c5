/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MllamaForConditionalGeneration, MllamaModel, MllamaVisionModel, MllamaTextModel, MllamaForCausalLM,
 * MllamaImageProcessor and MllamaProcessor against what transformers computes, on each checkpoint of a golden folder.
 * MLLAMA_GOLDEN_DIR names another folder than the one beside this file, MLLAMA_GOLDEN_DEVICE=cuda the GPU. */
#include "check.h"

#include <math.h>
#include <string.h>

typedef struct {
  Golden *golden;
  JsonObject *record; /* a case or a fault; NULL if the test is about the checkpoint */
} Subject;

static JsonArray *
get_cases (Golden *golden)
{
  return json_object_get_array_member (golden->record, "cases");
}

static gboolean
has_pictures (JsonObject *record)
{
  return json_array_get_length (json_object_get_array_member (record, "pictures")) > 0;
}

/* The first case of that semantics with a picture, or NULL. */
static JsonObject *
find_case_with_a_picture (Golden *golden, MllamaSemantics semantics)
{
  for (guint i = 0; i < json_array_get_length (get_cases (golden)); i++) {
    JsonObject *record = json_array_get_object_element (get_cases (golden), i);
    if (has_pictures (record) && golden_get_semantics (record) == semantics)
      return record;
  }
  return NULL;
}

/* --- cases --- */

static void
test_case (gconstpointer data)
{
  const Subject *subject = data;

  check_case (subject->golden, subject->record);
}

/* --- pictures --- */

static MllamaPixels *
process_picture (Golden *golden, JsonObject *record)
{
  MllamaModel *model = golden_get_model (golden);
  const MllamaVisionConfig *config = &mllama_model_get_config (model)->vision;
  g_autoptr (GoldenPicture) picture = golden_picture_new (golden, record);
  MllamaImage image = golden_picture_view (picture, record);
  g_autoptr (GError) error = NULL;
  MllamaPixels *pixels = mllama_pixels_new (&image, mllama_model_get_image_options (model), config->aspect_ratios,
                                            config->n_aspect_ratios, 0, &error);

  if (!pixels)
    g_error ("%s: %s", golden->name, error->message);
  return pixels;
}

static void
check_pixels (Golden *golden, JsonObject *record)
{
  g_autoptr (MllamaPixels) pixels = process_picture (golden, record);
  gsize n_bytes = (gsize) pixels->n_tiles * 3 * pixels->size * pixels->size * sizeof (float);
  g_autofree char *sum = g_compute_checksum_for_data (G_CHECKSUM_SHA256, (const guchar *) pixels->values, n_bytes);

  g_assert_cmpuint (pixels->aspect_ratio_id, ==, json_object_get_int_member (record, "aspect_ratio_id"));
  g_assert_cmpuint (pixels->n_tiles, ==, json_object_get_int_member (record, "n_tiles"));
  g_assert_cmpstr (sum, ==, json_object_get_string_member (record, "pixels_sha256"));
}

/* Pixels do not depend on the semantics. */
static void
test_pixels (gconstpointer data)
{
  const Subject *subject = data;

  for (guint i = 0; i < json_array_get_length (get_cases (subject->golden)); i++) {
    JsonObject *record = json_array_get_object_element (get_cases (subject->golden), i);
    JsonArray *pictures = json_object_get_array_member (record, "pictures");
    for (guint j = 0; j < json_array_get_length (pictures); j++)
      check_pixels (subject->golden, json_array_get_object_element (pictures, j));
  }
}

static void
test_tower (gconstpointer data)
{
  const Subject *subject = data;
  JsonArray *towers = json_object_get_array_member (subject->golden->record, "towers");
  MllamaModel *model = golden_get_model (subject->golden);

  for (guint i = 0; i < 2 * json_array_get_length (towers); i++) {
    MllamaSemantics semantics = i % 2 ? MLLAMA_SEMANTICS_META : MLLAMA_SEMANTICS_TRANSFORMERS;
    const char *name = i % 2 ? "meta" : "transformers";
    g_autoptr (MllamaPixels) pixels = process_picture (subject->golden, json_array_get_object_element (towers, i / 2));
    const GoldenTensor *expected = golden_find_tensor (subject->golden, "%s/tower/%u", name, i / 2);
    g_autoptr (GError) error = NULL;
    g_autofree float *features = mllama_model_get_vision_features (model, pixels, semantics, &error);

    g_assert_no_error (error);
    check_values (name, features, expected->values, expected->n_values, TOLERANCE, 1);
  }
}

/* --- prompts together --- */

/* All cases of the checkpoint, both semantics. */
static GPtrArray *
create_runs (Golden *golden)
{
  GPtrArray *runs = g_ptr_array_new_with_free_func ((GDestroyNotify) run_free);

  for (guint i = 0; i < json_array_get_length (get_cases (golden)); i++)
    g_ptr_array_add (runs, run_new (golden, json_array_get_object_element (get_cases (golden), i), NULL));
  return runs;
}

static void
check_same_result (const MllamaResult *result, const MllamaResult *expected)
{
  g_assert_cmpmem (result->ids, result->n_ids * sizeof *result->ids, expected->ids,
                   expected->n_ids * sizeof *expected->ids);
  g_assert_cmpmem (result->logprobs, result->n_ids * sizeof *result->logprobs, expected->logprobs,
                   expected->n_ids * sizeof *expected->logprobs);
  g_assert_cmpstr (result->text, ==, expected->text);
  g_assert_cmpint (result->finish_reason, ==, expected->finish_reason);
}

static void
test_batch (gconstpointer data)
{
  const Subject *subject = data;
  g_autoptr (GPtrArray) runs = create_runs (subject->golden);
  g_autoptr (GPtrArray) alone = g_ptr_array_new_with_free_func ((GDestroyNotify) mllama_generation_unref);
  g_autoptr (GPtrArray) together = g_ptr_array_new_with_free_func ((GDestroyNotify) mllama_generation_unref);

  for (guint i = 0; i < runs->len; i++)
    g_ptr_array_add (alone, run_generate (g_ptr_array_index (runs, i)));
  for (guint i = 0; i < runs->len; i++)
    g_ptr_array_add (together, run_generate_async (g_ptr_array_index (runs, i)));
  for (guint i = 0; i < runs->len; i++)
    check_same_result (mllama_generation_wait (g_ptr_array_index (together, i)),
                       mllama_generation_get_result (g_ptr_array_index (alone, i)));
}

static guint64
count_encodes (MllamaModel *model)
{
  MllamaStatistics statistics;

  mllama_model_get_statistics (model, &statistics);
  return statistics.n_encodes;
}

/* The prompts of all cases that show as many pictures as the first, over its states. */
static void
test_reuse (gconstpointer data)
{
  const Subject *subject = data;
  Golden *golden = subject->golden;
  JsonObject *first = find_case_with_a_picture (golden, MLLAMA_SEMANTICS_META);
  g_autoptr (Run) run = run_new (golden, first, NULL);
  guint64 n_encodes = count_encodes (run->model);
  guint n_prompts = 0;

  g_assert_cmpuint (n_encodes, >=, run->n_states);
  for (guint i = 0; i < json_array_get_length (get_cases (golden)); i++) {
    JsonObject *record = json_array_get_object_element (get_cases (golden), i);
    g_autoptr (MllamaPrompt) prompt = run_create_prompt (golden, record);
    g_autoptr (MllamaGeneration) answer = NULL;
    if (mllama_prompt_get_n_images (prompt) != run->n_states)
      continue;
    answer = mllama_model_generate (run->model, prompt, run->states, run->n_states, &run->settings, NULL);
    g_assert_nonnull (answer);
    if (record == first)
      check_answer (json_object_get_object_member (record, "answer"), mllama_generation_get_result (answer));
    n_prompts++;
  }
  g_assert_cmpuint (n_prompts, >, 1);
  g_assert_cmpuint (count_encodes (run->model), ==, n_encodes);
}

static void
test_logits_to_keep (gconstpointer data)
{
  const Subject *subject = data;
  g_autoptr (Run) run = run_new (subject->golden, json_array_get_object_element (get_cases (subject->golden), 0), NULL);
  MllamaForwardSettings some = {.logits_to_keep = 3};
  g_autoptr (MllamaForwardResult) all = run_forward (run, NULL), kept = run_forward (run, &some);
  gsize n_values = 3 * (gsize) all->vocab_size;

  g_assert_cmpuint (all->n_logits, ==, all->n_tokens);
  g_assert_cmpuint (kept->n_logits, ==, 3);
  g_assert_cmpuint (kept->n_tokens, ==, all->n_tokens);
  g_assert_cmpmem (kept->logits, n_values * sizeof (float),
                   all->logits + (gsize) all->n_logits * all->vocab_size - n_values, n_values * sizeof (float));
}

/* --- text without the tower --- */

static void
test_text_alone (gconstpointer data)
{
  const Subject *subject = data;
  Golden *golden = subject->golden;
  MllamaModelSettings settings = golden_get_settings ();
  g_autoptr (MllamaModel) model = NULL;

  settings.text_only = TRUE;
  model = mllama_model_open (mllama_model_get_path (golden_get_model (golden)), &settings, NULL);
  g_assert_true (mllama_model_load (model, NULL, NULL));
  for (guint i = 0; i < json_array_get_length (get_cases (golden)); i++) {
    JsonObject *record = json_array_get_object_element (get_cases (golden), i);
    g_autoptr (Run) run = NULL;
    g_autoptr (MllamaGeneration) answer = NULL;
    if (has_pictures (record))
      continue;
    run = run_new (golden, record, model);
    answer = run_generate (run);
    check_answer (json_object_get_object_member (record, "answer"), mllama_generation_get_result (answer));
  }
}

/* --- refusals --- */

static void
check_refusal (Run *run, MllamaStates *const *states, guint n_states, MllamaError expected)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) forward_error = NULL;

  g_assert_null (mllama_model_generate_async (run->model, run->prompt, states, n_states, NULL, &error));
  g_assert_error (error, MLLAMA_ERROR, (gint) expected);
  g_assert_null (mllama_model_forward (run->model, run->prompt, states, n_states, NULL, &forward_error));
  g_assert_error (forward_error, MLLAMA_ERROR, (gint) expected);
}

/* A prompt with two marks, one picture read in each semantics. */
static void
test_mixed_semantics (gconstpointer data)
{
  const Subject *subject = data;
  Golden *golden = subject->golden;
  g_autoptr (Run) meta = run_new (golden, find_case_with_a_picture (golden, MLLAMA_SEMANTICS_META), NULL);
  g_autoptr (Run) other = run_new (golden, find_case_with_a_picture (golden, MLLAMA_SEMANTICS_TRANSFORMERS), NULL);
  guint32 mark = mllama_model_get_config (meta->model)->image_token_id;
  guint32 ids[] = {mark, mark, 1};
  MllamaStates *both[] = {meta->states[0], other->states[0]};

  g_clear_pointer (&meta->prompt, mllama_prompt_unref);
  meta->prompt = mllama_prompt_new_from_ids (meta->model, ids, G_N_ELEMENTS (ids), NULL);
  g_assert_nonnull (meta->prompt);
  check_refusal (meta, both, 2, MLLAMA_ERROR_WRONG_MODEL);
}

static void
test_number_of_states (gconstpointer data)
{
  const Subject *subject = data;
  g_autoptr (Run) run =
      run_new (subject->golden, find_case_with_a_picture (subject->golden, MLLAMA_SEMANTICS_META), NULL);

  check_refusal (run, NULL, 0, MLLAMA_ERROR_INVALID);
}

/* States of the same checkpoint, loaded with other settings, are another model's. */
static void
test_states_of_another_model (gconstpointer data)
{
  const Subject *subject = data;
  Golden *golden = subject->golden;
  JsonObject *record = find_case_with_a_picture (golden, MLLAMA_SEMANTICS_META);
  MllamaModelSettings settings = golden_get_settings ();
  g_autoptr (MllamaModel) other = NULL;
  g_autoptr (Run) run = run_new (golden, record, NULL);

  settings.text_only = TRUE;
  other = mllama_model_open (mllama_model_get_path (golden_get_model (golden)), &settings, NULL);
  g_assert_true (mllama_model_load (other, NULL, NULL));
  g_clear_pointer (&run->prompt, mllama_prompt_unref);
  run->prompt = run_create_prompt (golden, record);
  run->model = other;
  check_refusal (run, run->states, run->n_states, MLLAMA_ERROR_WRONG_MODEL);
}

/* --- planted faults --- */

/* What the reference gives with the fault in place is not what the engine gives. */
static void
test_fault (gconstpointer data)
{
  const Subject *subject = data;
  JsonObject *fault = subject->record;
  const char *kind = json_object_get_string_member (fault, "kind");
  JsonObject *record = golden_find_case (subject->golden, json_object_get_string_member (fault, "semantics"),
                                         json_object_get_string_member (fault, "case"));
  g_autoptr (GArray) faulty_ids = golden_read_ids (fault, "ids"), faulty = golden_read_doubles (fault, "probes");
  g_autoptr (Run) run = run_new (subject->golden, record, NULL);

  if (g_str_equal (kind, "ids")) {
    g_autoptr (MllamaPrompt) prompt = run_create_prompt (subject->golden, record);
    gsize n_ids;
    const guint32 *ids = mllama_prompt_get_ids (prompt, &n_ids);
    g_assert_false (are_ids_equal (ids, n_ids, faulty_ids));
  } else if (g_str_equal (kind, "answer")) {
    g_autoptr (MllamaGeneration) answer = run_generate (run);
    const MllamaResult *result = mllama_generation_get_result (answer);
    g_assert_false (are_ids_equal (result->ids, result->n_ids, faulty_ids));
  } else {
    g_autoptr (GArray) probe_ids = golden_read_ids (subject->golden->record, "probe_ids");
    g_autoptr (MllamaForwardResult) result = run_forward (run, NULL);
    g_autofree double *probes = g_new (double, probe_ids->len);
    double change = 0;
    run_read_probes (result, json_object_get_int_member (fault, "token"), probe_ids, probes);
    for (guint i = 0; i < probe_ids->len; i++)
      change = MAX (change, fabs (probes[i] - g_array_index (faulty, double, i)));
    g_test_message ("differs by %.2e, recorded as %.2e", change, json_object_get_double_member (fault, "change"));
    g_assert_cmpfloat (change, >, 2 * TOLERANCE);
  }
}

/* --- the list of tests --- */

static void add_test (GTestDataFunc function, Golden *golden, JsonObject *record, const char *format, ...)
    G_GNUC_PRINTF (4, 5);

static void
add_test (GTestDataFunc function, Golden *golden, JsonObject *record, const char *format, ...)
{
  Subject *subject = g_new (Subject, 1);
  g_autofree char *name = NULL, *path = NULL;
  va_list args;

  va_start (args, format);
  name = g_strdup_vprintf (format, args);
  va_end (args);
  path = g_strdup_printf ("/golden/%s/%s", golden->name, name);
  *subject = (Subject){golden, record};
  g_test_add_data_func_full (path, subject, function, g_free);
}

static void
add_vision_tests (Golden *golden)
{
  add_test (test_pixels, golden, NULL, "pixels_equal_those_of_the_reference");
  add_test (test_tower, golden, NULL, "features_of_the_tower_equal_those_of_the_reference");
  add_test (test_reuse, golden, NULL, "prompts_over_one_picture_never_run_the_tower_again");
  add_test (test_mixed_semantics, golden, NULL, "refuses_states_of_two_semantics_in_one_prompt");
  add_test (test_number_of_states, golden, NULL, "refuses_a_picture_too_few");
  add_test (test_states_of_another_model, golden, NULL, "refuses_states_of_another_model");
}

static void
add_tests (Golden *golden)
{
  JsonArray *faults = json_object_get_array_member (golden->record, "faults");

  for (guint i = 0; i < json_array_get_length (get_cases (golden)); i++) {
    JsonObject *record = json_array_get_object_element (get_cases (golden), i);
    add_test (test_case, golden, record, "%s/answers_%s_as_the_reference",
              json_object_get_string_member (record, "semantics"), json_object_get_string_member (record, "name"));
  }
  if (json_object_get_boolean_member (golden->record, "has_vision"))
    add_vision_tests (golden);
  add_test (test_batch, golden, NULL, "answers_in_a_batch_are_those_given_alone_bit_for_bit");
  add_test (test_logits_to_keep, golden, NULL, "keeps_only_the_logits_asked_for");
  add_test (test_text_alone, golden, NULL, "answers_text_without_the_tower");
  for (guint i = 0; i < json_array_get_length (faults); i++) {
    JsonObject *record = json_array_get_object_element (faults, i);
    add_test (test_fault, golden, record, "notices_the_fault_%s", json_object_get_string_member (record, "name"));
  }
}

int
main (int argc, char **argv)
{
  g_autofree char *root = g_strdup (g_getenv ("MLLAMA_GOLDEN_DIR"));
  g_autoptr (GPtrArray) names = NULL;
  g_autoptr (GPtrArray) goldens = g_ptr_array_new_with_free_func ((GDestroyNotify) golden_free);

  g_test_init (&argc, &argv, NULL);
  g_test_set_nonfatal_assertions ();
  if (!root)
    root = g_build_filename (g_getenv ("MLLAMA_TEST_SOURCE_DIR"), "golden", NULL);
  names = golden_list (root);
  for (guint i = 0; i < names->len; i++) {
    Golden *golden = golden_new (root, g_ptr_array_index (names, i));
    g_ptr_array_add (goldens, golden);
    add_tests (golden);
  }
  return g_test_run ();
}
