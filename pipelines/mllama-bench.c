/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mllama-bench: times the engine alone, through its public API: load and first caption, tower per tile count, time to
 * the first token, decode at several batch sizes, several prompts on one frame, many streams, memory. Pictures and
 * prompts are random and differ from run to run and from row to row; answers that ran together are run again alone, and
 * have to be the same. */
#include <locale.h>

#include "mllama-bench.h"

static gboolean
check_options (const BenchOptions *options, GError **error)
{
  const char *problem = NULL;

  if (!options->model)
    problem = "--model is needed: a checkpoint's directory or id";
  else if (options->n_runs < 1 || options->n_loads < 1)
    problem = "--runs and --loads take 1 or more";
  if (problem)
    g_set_error_literal (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, problem);
  return !problem;
}

static gboolean
parse_options (BenchOptions *options, int *argc, char ***argv, GError **error)
{
  const GOptionEntry entries[] = {
      {"model", 'm', 0, G_OPTION_ARG_STRING, &options->model, "checkpoint: directory or Hugging Face id", "DIR"},
      {"device", 'd', 0, G_OPTION_ARG_STRING, &options->device, "auto, cpu or cuda", "DEVICE"},
      {"dtype", 0, 0, G_OPTION_ARG_STRING, &options->dtype, "auto, f32 or bf16", "DTYPE"},
      {"semantics", 0, 0, G_OPTION_ARG_STRING, &options->semantics, "meta or transformers", "NAME"},
      {"runs", 'n', 0, G_OPTION_ARG_INT, &options->n_runs, "timed runs of each figure, after one more (9)", "N"},
      {"loads", 0, 0, G_OPTION_ARG_INT, &options->n_loads, "timed loads, after one more if there are several (1)", "N"},
      {"json", 0, 0, G_OPTION_ARG_NONE, &options->as_json, "one JSON object instead of a table", NULL},
      {NULL},
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("- time the engine alone");

  g_option_context_add_main_entries (context, entries, NULL);
  return g_option_context_parse (context, argc, argv, error) && check_options (options, error);
}

int
main (int argc, char **argv)
{
  BenchOptions options = {.n_runs = 9, .n_loads = 1};
  Bench bench = {0};
  g_autoptr (GError) error = NULL;
  gboolean is_done;

  setlocale (LC_ALL, "");
  if (!parse_options (&options, &argc, &argv, &error)) {
    g_printerr ("mllama-bench: %s\n", error->message);
    return 2;
  }
  if (g_strcmp0 (options.semantics, "transformers") == 0)
    bench.semantics = MLLAMA_SEMANTICS_TRANSFORMERS;
  bench.random = g_rand_new_with_seed (1);
  bench.n_runs = options.n_runs;
  bench.as_json = options.as_json;
  bench_report_init (&bench);
  is_done = bench_load (&bench, &options, &error) && bench_measure (&bench, &error);
  bench_report_finish (&bench, is_done);
  if (!is_done)
    g_printerr ("mllama-bench: %s\n", error->message);
  g_clear_pointer (&bench.model, mllama_model_unref);
  g_rand_free (bench.random);
  return is_done && bench.n_failed == 0 ? 0 : 1;
}
