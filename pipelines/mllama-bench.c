/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mllama-bench: times the engine alone, through its public API: tower per tile count, time to the first token, decode
 * at several batch sizes, memory. Pictures and prompts are random and differ from run to run and from row to row. */
#include <locale.h>
#include <stdlib.h>

#include <json-glib/json-glib.h>
#include <mllama/mllama.h>

#define PROMPT_TOKENS  64
#define CONTEXT_TOKENS 128
#define NEW_TOKENS     128
#define MAX_BATCH      64

typedef struct {
  char *model, *device, *semantics;
  gint n_runs;
  gboolean as_json;
} Options;

typedef struct {
  MllamaModel *model;
  MllamaSemantics semantics;
  GRand *rand;
  guint n_runs;
  gboolean as_json;
  JsonBuilder *json;
} Bench;

static int
compare_doubles (gconstpointer a, gconstpointer b)
{
  double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

/* One line of the table, and one member of the object: median and spread of values, which are sorted. */
static void
report (Bench *bench, const char *name, const char *unit, double *values, guint n_values)
{
  double median;

  qsort (values, n_values, sizeof (double), compare_doubles);
  median = n_values % 2 ? values[n_values / 2] : (values[n_values / 2 - 1] + values[n_values / 2]) / 2;
  if (!bench->as_json)
    g_print ("%-28s %10.2f %-6s (%.2f to %.2f, %u runs)\n", name, median, unit, values[0], values[n_values - 1],
             n_values);
  json_builder_set_member_name (bench->json, name);
  json_builder_begin_object (bench->json);
  json_builder_set_member_name (bench->json, "unit");
  json_builder_add_string_value (bench->json, unit);
  json_builder_set_member_name (bench->json, "median");
  json_builder_add_double_value (bench->json, median);
  json_builder_set_member_name (bench->json, "min");
  json_builder_add_double_value (bench->json, values[0]);
  json_builder_set_member_name (bench->json, "max");
  json_builder_add_double_value (bench->json, values[n_values - 1]);
  json_builder_end_object (bench->json);
}

/* A picture of n_rows x n_columns tiles, all of it noise. */
static MllamaStates *
encode_noise (Bench *bench, const MllamaAspectRatio *ratio, GError **error)
{
  guint size = mllama_model_get_config (bench->model)->vision.image_size;
  MllamaImage image = {.format = MLLAMA_FORMAT_RGB, .width = ratio->n_columns * size, .height = ratio->n_rows * size};
  gsize n_bytes = (gsize) image.width * image.height * 3;
  g_autofree guint8 *pixels = g_malloc (n_bytes);

  for (gsize i = 0; i < n_bytes; i++)
    pixels[i] = g_rand_int (bench->rand);
  image.planes[0] = pixels;
  image.strides[0] = (gsize) image.width * 3;
  return mllama_model_encode (bench->model, &image, bench->semantics, 0, NULL, error);
}

/* A prompt of n_tokens random ids behind one image mark, or without one. */
static MllamaPrompt *
create_prompt (Bench *bench, guint n_tokens, gboolean has_image, GError **error)
{
  const MllamaConfig *config = mllama_model_get_config (bench->model);
  g_autofree guint32 *ids = g_new (guint32, n_tokens);

  for (guint i = 0; i < n_tokens; i++) {
    do
      ids[i] = g_rand_int_range (bench->rand, 0, config->text.vocab_size);
    while (ids[i] == config->image_token_id);
  }
  if (has_image)
    ids[0] = config->image_token_id;
  return mllama_prompt_new_from_ids (bench->model, ids, n_tokens, error);
}

static gboolean
time_vision (Bench *bench, const MllamaAspectRatio *ratio, GError **error)
{
  g_autofree double *ms = g_new (double, bench->n_runs);
  g_autofree char *name = g_strdup_printf ("vision_%ux%u_tiles", ratio->n_rows, ratio->n_columns);

  for (guint run = 0; run <= bench->n_runs; run++) {
    g_autoptr (MllamaStates) states = encode_noise (bench, ratio, error);
    if (!states)
      return FALSE;
    if (run > 0)
      ms[run - 1] = mllama_states_get_encode_ns (states) / 1e6;
  }
  report (bench, name, "ms", ms, bench->n_runs);
  return TRUE;
}

static gboolean
time_first_token (Bench *bench, const MllamaAspectRatio *ratio, GError **error)
{
  MllamaGenerationSettings settings = {.max_tokens = 1};
  g_autofree double *ms = g_new (double, bench->n_runs);

  for (guint run = 0; run <= bench->n_runs; run++) {
    gint64 start = g_get_monotonic_time ();
    g_autoptr (MllamaStates) states = ratio ? encode_noise (bench, ratio, error) : NULL;
    g_autoptr (MllamaPrompt) prompt = create_prompt (bench, PROMPT_TOKENS, ratio != NULL, error);
    g_autoptr (MllamaGeneration) answer = NULL;

    if (!prompt || (ratio && !states))
      return FALSE;
    answer = mllama_model_generate (bench->model, prompt, &states, ratio ? 1 : 0, &settings, error);
    if (!answer)
      return FALSE;
    if (run > 0)
      ms[run - 1] = (g_get_monotonic_time () - start) / 1e3;
  }
  report (bench, "first_token", "ms", ms, bench->n_runs);
  return TRUE;
}

/* The middle of a decode: the longest answer of the batch, from its first token to its last. */
static gboolean
run_batch (Bench *bench, MllamaStates *const *states, guint n_states, guint n_rows, double *tokens_per_second,
           GError **error)
{
  MllamaGenerationSettings settings = {.max_tokens = NEW_TOKENS, .ignore_eos = TRUE};
  MllamaGeneration *answers[MAX_BATCH] = {NULL};
  guint64 longest = 0;
  gboolean is_done = TRUE;

  for (guint i = 0; i < n_rows && is_done; i++) {
    g_autoptr (MllamaPrompt) prompt = create_prompt (bench, CONTEXT_TOKENS, n_states > 0, error);
    if (prompt)
      answers[i] = mllama_model_generate_async (bench->model, prompt, states, n_states, &settings, error);
    is_done = answers[i] != NULL;
  }
  for (guint i = 0; i < n_rows && answers[i]; i++) {
    const MllamaResult *result = mllama_generation_wait (answers[i]);
    longest = MAX (longest, result->decode_ns);
    if (result->finish_reason == MLLAMA_FINISH_ERROR && is_done) {
      g_propagate_error (error, g_error_copy (result->error));
      is_done = FALSE;
    }
  }
  for (guint i = 0; i < n_rows; i++)
    mllama_generation_unref (answers[i]);
  *tokens_per_second = n_rows * (NEW_TOKENS - 1) / (longest / 1e9);
  return is_done;
}

static gboolean
time_decode (Bench *bench, const MllamaAspectRatio *ratio, guint n_rows, GError **error)
{
  g_autoptr (MllamaStates) states = ratio ? encode_noise (bench, ratio, error) : NULL;
  g_autofree double *speeds = g_new (double, bench->n_runs);
  g_autofree char *name = g_strdup_printf ("decode_batch_%u", n_rows);

  if (ratio && !states)
    return FALSE;
  for (guint run = 0; run <= bench->n_runs; run++)
    if (!run_batch (bench, &states, ratio ? 1 : 0, n_rows, &speeds[run > 0 ? run - 1 : 0], error))
      return FALSE;
  report (bench, name, "tok/s", speeds, bench->n_runs);
  return TRUE;
}

static void
report_memory (Bench *bench)
{
  MllamaStatistics statistics;
  double mb, seconds;

  mllama_model_get_statistics (bench->model, &statistics);
  mb = statistics.weight_bytes / 1e6;
  seconds = statistics.load_ns / 1e9;
  report (bench, "weights", "MB", &mb, 1);
  report (bench, "load", "s", &seconds, 1);
}

static gboolean
run_bench (Bench *bench, GError **error)
{
  static const guint batches[] = {1, 8, 32};
  const MllamaVisionConfig *vision = &mllama_model_get_config (bench->model)->vision;
  const MllamaAspectRatio *largest = NULL;

  report_memory (bench);
  for (guint i = 0; i < vision->n_aspect_ratios; i++) {
    const MllamaAspectRatio *ratio = &vision->aspect_ratios[i];
    if (!time_vision (bench, ratio, error))
      return FALSE;
    if (!largest || ratio->n_rows * ratio->n_columns >= largest->n_rows * largest->n_columns)
      largest = ratio;
  }
  if (!time_first_token (bench, largest, error))
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (batches); i++)
    if (!time_decode (bench, largest, batches[i], error))
      return FALSE;
  return TRUE;
}

static gboolean
open_model (Bench *bench, const Options *options, GError **error)
{
  MllamaModelSettings settings = {.device = MLLAMA_DEVICE_AUTO};

  if (g_strcmp0 (options->device, "cpu") == 0)
    settings.device = MLLAMA_DEVICE_CPU;
  else if (g_strcmp0 (options->device, "cuda") == 0)
    settings.device = MLLAMA_DEVICE_CUDA;
  if (g_strcmp0 (options->semantics, "transformers") == 0)
    bench->semantics = MLLAMA_SEMANTICS_TRANSFORMERS;
  bench->model = mllama_model_open (options->model, &settings, error);
  return bench->model && mllama_model_load (bench->model, NULL, error);
}

static void
print_json (Bench *bench)
{
  g_autoptr (JsonNode) root = NULL;
  g_autofree char *text = NULL;

  json_builder_end_object (bench->json);
  root = json_builder_get_root (bench->json);
  if (bench->as_json) {
    text = json_to_string (root, TRUE);
    g_print ("%s\n", text);
  }
}

static gboolean
parse_options (Options *options, int *argc, char ***argv, GError **error)
{
  const GOptionEntry entries[] = {
      {"model", 'm', 0, G_OPTION_ARG_STRING, &options->model, "checkpoint: directory or Hugging Face id", "DIR"},
      {"device", 'd', 0, G_OPTION_ARG_STRING, &options->device, "auto, cpu or cuda", "DEVICE"},
      {"semantics", 0, 0, G_OPTION_ARG_STRING, &options->semantics, "meta or transformers", "NAME"},
      {"runs", 'n', 0, G_OPTION_ARG_INT, &options->n_runs, "timed runs of each figure, after one more (9)", "N"},
      {"json", 0, 0, G_OPTION_ARG_NONE, &options->as_json, "one JSON object instead of a table", NULL},
      {NULL},
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("- time the engine alone");

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (!options->model || options->n_runs < 1)
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "%s",
                 options->model ? "--runs takes 1 or more" : "--model is needed: a checkpoint's directory or id");
  return options->model && options->n_runs >= 1;
}

int
main (int argc, char **argv)
{
  Options options = {.n_runs = 9};
  Bench bench = {0};
  g_autoptr (GError) error = NULL;
  gboolean is_done;

  setlocale (LC_ALL, "");
  if (!parse_options (&options, &argc, &argv, &error)) {
    g_printerr ("mllama-bench: %s\n", error->message);
    return 2;
  }
  bench.rand = g_rand_new_with_seed (1);
  bench.n_runs = options.n_runs;
  bench.as_json = options.as_json;
  bench.json = json_builder_new ();
  json_builder_begin_object (bench.json);
  is_done = open_model (&bench, &options, &error) && run_bench (&bench, &error);
  if (is_done)
    print_json (&bench);
  else
    g_printerr ("mllama-bench: %s\n", error->message);
  g_clear_pointer (&bench.model, mllama_model_unref);
  g_rand_free (bench.rand);
  g_object_unref (bench.json);
  return is_done ? 0 : 1;
}
