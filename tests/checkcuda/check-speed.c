/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ceilings.h"
#include "speed.h"

#include <stdlib.h>

#define N_REPEATS 9

static int
compare (const void *a, const void *b)
{
  double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

typedef struct {
  CheckRun call;
  gpointer data;
  guint n;
} Calls;

static void
call_all (gpointer data)
{
  const Calls *calls = data;

  for (guint i = 0; i < calls->n; i++)
    calls->call (calls->data);
}

static void
wait_for_all (OracleDevice *device)
{
  GError *error = NULL;

  device->ops->wait (device->be, &error);
  g_assert_no_error (error);
}

static double
measure_once (OracleDevice *device, const CheckPass *pass, Calls *calls)
{
  gint64 started;

  wait_for_all (device);
  started = g_get_monotonic_time ();
  if (pass)
    check_pass_run (device, pass, call_all, calls);
  else
    call_all (calls);
  wait_for_all (device);
  return (g_get_monotonic_time () - started) * 1e-6 / calls->n;
}

double
speed_measure (OracleDevice *device, const CheckPass *pass, guint n, CheckRun call, gpointer data)
{
  Calls calls = {call, data, n};
  double times[N_REPEATS];

  measure_once (device, pass, &calls);
  for (guint i = 0; i < N_REPEATS; i++)
    times[i] = measure_once (device, pass, &calls);
  qsort (times, N_REPEATS, sizeof (double), compare);
  return times[N_REPEATS / 2];
}

void
speed_run (const Speed *speed, const char *name, CheckRun run, gpointer data)
{
  g_autofree char *full = g_strconcat ("speed/", name, NULL);

  if (check_report_wants (speed->report, full) && !check_survives (run, data))
    check_report_test (speed->report, full, FALSE, "an assertion failed");
}

void
speed_report (const Speed *speed, Check *check, const SpeedCost *cost, double seconds)
{
  double at_read = cost->bytes / speed->read_rate, at_product = cost->flops / speed->product_rate;
  gboolean is_read = at_read > at_product;
  double rate = (is_read ? cost->bytes : cost->flops) / seconds, share = MAX (at_read, at_product) / seconds;
  g_autofree char *name = g_strdup_printf ("speed/%s", cost->name);
  g_autofree char *comment =
      g_strdup_printf ("largest error %.3f of its bound; %.1f us, %.3f %s, %.0f %% of the ceiling", check->factor,
                       seconds * 1e6, rate * 1e-12, is_read ? "TB/s" : "TFLOP/s", 100 * share);

  check_report_test (speed->report, name, !check->failure, comment);
  if (check->failure)
    g_print ("# %s: %s\n", name, check->failure);
  g_clear_pointer (&check->failure, g_free);
  g_string_append_printf (speed->report->speed,
                          "%s\n  {\"name\": \"%s\", \"us\": %.2f, \"%s\": %.4g, \"share\": %.3f, \"ceiling\": \"%s\"}",
                          speed->report->speed->len ? "," : "", cost->name, seconds * 1e6, is_read ? "TBps" : "TFLOPs",
                          rate * 1e-12, share, is_read ? "read" : "product");
}

static void
report_ceiling (CheckReport *report, const char *name, const char *unit, double rate)
{
  g_print ("# ceiling of %s: %.3f %s\n", name, rate * 1e-12, unit);
  g_string_append_printf (report->speed, "%s\n  {\"name\": \"ceiling/%s\", \"%s\": %.4g}",
                          report->speed->len ? "," : "", name, unit, rate * 1e-12);
}

void
check_run_speed (CheckReport *report)
{
  Speed speed = {report, 1e12, 1e14};

  if (report->filter && !g_str_has_prefix (report->filter, "speed/"))
    return;
  if (report->device == MLLAMA_DEVICE_CUDA) {
    report_ceiling (report, "copy", "TBps", ceilings_measure_copy ());
    speed.read_rate = ceilings_measure_read ();
    speed.product_rate = ceilings_measure_product ();
  }
  report_ceiling (report, "read", "TBps", speed.read_rate);
  report_ceiling (report, "product", "TFLOPs", speed.product_rate);
  speed_run_products (&speed);
  speed_run_attention (&speed);
}
