/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* checkcuda: every operation of the CUDA backend against its oracle, as lines of TAP. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
  const char *name;
  const CheckEntry *entries;
} subjects[] = {
    {"products", checks_of_products}, {"tower", checks_of_tower}, {"tower_attention", checks_of_tower_attention},
    {"decoder", checks_of_decoder},   {"rows", checks_of_rows},   {"attention", checks_of_attention},
    {"frames", checks_of_frames},     {"draw", checks_of_draw},   {"invariance", checks_of_invariance},
};

static gboolean list_only, edge_only, no_speed, on_cpu;
static int sparse;
static char *filter, *json_path;

static const GOptionEntry options[] = {
    {"list", 0, 0, G_OPTION_ARG_NONE, &list_only, "Print the names of all checks", NULL},
    {"filter", 0, 0, G_OPTION_ARG_STRING, &filter, "Only what has TEXT in its name, or begins with it: ^TEXT", "TEXT"},
    {"json", 0, 0, G_OPTION_ARG_FILENAME, &json_path, "Write results to FILE", "FILE"},
    {"edge-only", 0, 0, G_OPTION_ARG_NONE, &edge_only, "Leave out planted faults and real shapes", NULL},
    {"no-speed", 0, 0, G_OPTION_ARG_NONE, &no_speed, "Leave out real shapes", NULL},
    {"sparse", 0, 0, G_OPTION_ARG_INT, &sparse, "Only every Nth case of a check, once: under a sanitizer", "N"},
    {"cpu", 0, 0, G_OPTION_ARG_NONE, &on_cpu, "Check the CPU backend: the checks themselves, without a GPU", NULL},
    {NULL},
};

gboolean
check_report_wants (const CheckReport *report, const char *name)
{
  const char *wanted = report->filter;

  if (wanted && *wanted == '^')
    return g_str_has_prefix (name, wanted + 1);
  return !wanted || strstr (name, wanted);
}

void
check_report_test (CheckReport *report, const char *name, gboolean is_ok, const char *comment)
{
  report->n_tests++;
  report->n_failed += !is_ok;
  g_print ("%s %u %s%s%s\n", is_ok ? "ok" : "not ok", report->n_tests, name, *comment ? " # " : "", comment);
  g_string_append_printf (report->checks, "%s\n  {\"name\": \"%s\", \"passed\": %d, \"failed\": %d, \"skipped\": 0}",
                          report->checks->len ? "," : "", name, is_ok, !is_ok);
}

static void
run_check (CheckReport *report, const char *name, const CheckEntry *entry, MllamaDtype dtype)
{
  Check check = {.name = name, .device = report->device, .dtype = dtype, .sparse = report->sparse};
  gint64 started = g_get_monotonic_time ();
  g_autofree char *comment = NULL;

  check_run (&check, entry->run);
  comment = g_strdup_printf ("largest error %.3f of its bound, %.1f s", check.factor,
                             (g_get_monotonic_time () - started) * 1e-6);
  check_report_test (report, name, !check.failure, comment);
  if (check.failure)
    g_print ("# %s: %s\n", name, check.failure);
  g_free (check.failure);
}

static void
run_entries (CheckReport *report)
{
  static const MllamaDtype dtypes[] = {MLLAMA_DTYPE_F32, MLLAMA_DTYPE_BF16};

  for (guint s = 0; s < G_N_ELEMENTS (subjects); s++)
    for (const CheckEntry *entry = subjects[s].entries; entry->name; entry++)
      for (guint d = 0; d < G_N_ELEMENTS (dtypes); d++) {
        g_autofree char *name = g_strdup_printf ("%s/%s/%s", subjects[s].name, entry->name, d ? "bf16" : "f32");

        if (!check_report_wants (report, name))
          continue;
        if (list_only)
          g_print ("%s\n", name);
        else
          run_check (report, name, entry, dtypes[d]);
      }
}

static gboolean
write_json (const CheckReport *report)
{
  g_autofree char *text = g_strdup_printf ("{\"checks\": [%s],\n\"faults\": [%s],\n\"speed\": [%s]}\n",
                                           report->checks->str, report->faults->str, report->speed->str);
  g_autoptr (GError) error = NULL;

  if (!json_path || g_file_set_contents (json_path, text, -1, &error))
    return TRUE;
  g_printerr ("%s\n", error->message);
  return FALSE;
}

/* Says in one line what every check would die of. */
static gboolean
find_device (const CheckReport *report)
{
  MllamaConfig config = {.text = {.n_heads = 2, .n_kv_heads = 1, .head_width = 8, .hidden_size = 16, .vocab_size = 64}};
  MllamaBackendSettings settings = {.cuda_device = -1, .dtype = MLLAMA_DTYPE_F32};
  g_autoptr (GError) error = NULL;
  MllamaBackend *be;

  config.text.rope.theta = 10000;
  be = mllama_backend_new (report->device, &config, &settings, &error);
  if (be)
    be->ops->free (be);
  else
    g_print ("Bail out! %s\n", error->message);
  return be != NULL;
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("- checks the CUDA backend");
  CheckReport report = {0};
  GError *error = NULL;
  gboolean is_written;

  setvbuf (stdout, NULL, _IOLBF, 0);
  g_option_context_add_main_entries (context, options, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error)) {
    g_printerr ("%s\n", error->message);
    return 2;
  }
  report = (CheckReport){.filter = filter,
                         .device = on_cpu ? MLLAMA_DEVICE_CPU : MLLAMA_DEVICE_CUDA,
                         .sparse = MAX (sparse, 0),
                         .checks = g_string_new (NULL),
                         .faults = g_string_new (NULL),
                         .speed = g_string_new (NULL)};
  if (!list_only && !find_device (&report))
    return EXIT_FAILURE;
  run_entries (&report);
  if (list_only)
    return EXIT_SUCCESS;
  if (!edge_only)
    check_run_faults (&report);
  if (!edge_only && !no_speed && (!on_cpu || filter))
    check_run_speed (&report);
  g_print ("1..%u\n", report.n_tests);
  is_written = write_json (&report);
  return report.n_failed == 0 && is_written ? EXIT_SUCCESS : EXIT_FAILURE;
}
