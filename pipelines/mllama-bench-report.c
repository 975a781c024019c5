/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>

#include "mllama-bench.h"

void
bench_report_init (Bench *bench)
{
  bench->figures = json_builder_new ();
  json_builder_begin_object (bench->figures);
  bench->checks = json_builder_new ();
  json_builder_begin_array (bench->checks);
}

static int
compare_doubles (gconstpointer a, gconstpointer b)
{
  double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

static void
add_number (JsonBuilder *json, const char *name, double value)
{
  json_builder_set_member_name (json, name);
  json_builder_add_double_value (json, value);
}

void
bench_report (Bench *bench, const char *name, const char *unit, double *values, guint n_values)
{
  double median;

  qsort (values, n_values, sizeof (double), compare_doubles);
  median = n_values % 2 ? values[n_values / 2] : (values[n_values / 2 - 1] + values[n_values / 2]) / 2;
  if (!bench->as_json)
    g_print ("%-28s %10.2f %-6s (%.2f to %.2f, %u runs)\n", name, median, unit, values[0], values[n_values - 1],
             n_values);
  json_builder_set_member_name (bench->figures, name);
  json_builder_begin_object (bench->figures);
  json_builder_set_member_name (bench->figures, "unit");
  json_builder_add_string_value (bench->figures, unit);
  add_number (bench->figures, "median", median);
  add_number (bench->figures, "min", values[0]);
  add_number (bench->figures, "max", values[n_values - 1]);
  json_builder_set_member_name (bench->figures, "runs");
  json_builder_add_int_value (bench->figures, n_values);
  json_builder_end_object (bench->figures);
}

void
bench_check (Bench *bench, const char *name, gboolean is_ok)
{
  if (!bench->as_json || !is_ok)
    g_printerr ("%-28s %s\n", name, is_ok ? "ok" : "FAILED");
  bench->n_failed += !is_ok;
  json_builder_begin_object (bench->checks);
  json_builder_set_member_name (bench->checks, "name");
  json_builder_add_string_value (bench->checks, name);
  json_builder_set_member_name (bench->checks, "ok");
  json_builder_add_boolean_value (bench->checks, is_ok);
  json_builder_end_object (bench->checks);
}

void
bench_report_finish (Bench *bench, gboolean is_done)
{
  g_autoptr (JsonObject) root = json_object_new ();
  g_autoptr (JsonNode) node = json_node_new (JSON_NODE_OBJECT);
  g_autofree char *text = NULL;

  json_builder_end_object (bench->figures);
  json_builder_end_array (bench->checks);
  json_object_set_member (root, "figures", json_builder_get_root (bench->figures));
  json_object_set_member (root, "checks", json_builder_get_root (bench->checks));
  json_node_set_object (node, root);
  if (bench->as_json && is_done) {
    text = json_to_string (node, TRUE);
    g_print ("%s\n", text);
  }
  g_clear_object (&bench->figures);
  g_clear_object (&bench->checks);
}
