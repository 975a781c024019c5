/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "check.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

/* A number of both formats that nothing computes. */
#define GUARD (-12352.f)

OracleDevice *
check_open (const Check *check, const CheckModel *model)
{
  MllamaConfig config = {0};
  MllamaTextConfig *text = &config.text;
  MllamaVisionConfig *vision = &config.vision;
  OracleDevice *device;

  text->n_heads = model->n_heads ? model->n_heads : 2;
  text->n_kv_heads = model->n_kv_heads ? model->n_kv_heads : 1;
  text->head_width = model->head_width ? model->head_width : 8;
  text->hidden_size = text->n_heads * text->head_width;
  text->intermediate_size = 2 * text->hidden_size;
  text->vocab_size = model->n_ids ? model->n_ids : 64;
  text->n_layers = 4;
  text->max_positions = 131072;
  text->rms_norm_eps = 1e-5;
  text->rope.theta = 10000;
  if (model->has_still_rope) {
    /* Every wavelength is beyond the range that is left alone. */
    text->rope.scaled = TRUE;
    text->rope.factor = 1e30;
    text->rope.low_freq_factor = 1;
    text->rope.high_freq_factor = 2;
    text->rope.original_max_positions = 1;
  }
  config.has_vision = model->tower_width > 0;
  vision->hidden_size = model->tower_width;
  vision->n_heads = model->tower_heads;
  vision->intermediate_size = 2 * model->tower_width;
  vision->image_size = model->image_size ? model->image_size : 28;
  vision->patch_size = model->patch_size ? model->patch_size : 14;
  vision->n_channels = 3;
  vision->norm_eps = 1e-5;
  vision->max_n_tiles = 4;
  if (check->device != MLLAMA_DEVICE_CPU)
    return oracle_device_open (&config, check->device, check->dtype);
  /* It rounds nothing, and stays within the bounds of those who do. */
  device = oracle_device_open (&config, MLLAMA_DEVICE_CPU, MLLAMA_DTYPE_F32);
  device->is_bf16 = check->dtype == MLLAMA_DTYPE_BF16;
  return device;
}

static void
fail_at (Check *check, const char *format, va_list args, const char *what)
{
  g_autofree char *where = NULL;

  if (check->failure)
    return;
  where = g_strdup_vprintf (format, args);
  check->failure = g_strconcat (where, what, NULL);
}

void
check_fail (Check *check, const char *format, ...)
{
  va_list args;

  check->factor = INFINITY;
  va_start (args, format);
  fail_at (check, format, args, "");
  va_end (args);
}

void
check_numbers (Check *check, const float *found, const OracleNumber *expected, gsize n, const char *format, ...)
{
  gsize worst;
  double factor = oracle_compare (found, expected, n, &worst);
  g_autofree char *what = NULL;
  va_list args;

  check->factor = MAX (check->factor, factor);
  if (factor <= 1)
    return;
  what = g_strdup_printf (": number %" G_GSIZE_FORMAT " is %.9g, expected %.9g within %.3g", worst, found[worst],
                          expected[worst].value, expected[worst].error);
  va_start (args, format);
  fail_at (check, format, args, what);
  va_end (args);
}

void
check_bits (Check *check, const float *found, const float *expected, gsize n, const char *format, ...)
{
  g_autofree char *what = NULL;
  va_list args;
  gsize i = 0;

  while (i < n && memcmp (&found[i], &expected[i], sizeof (float)) == 0)
    i++;
  if (i == n)
    return;
  check->factor = INFINITY;
  what = g_strdup_printf (": number %" G_GSIZE_FORMAT " is %.9g, and not %.9g to the bit", i, found[i], expected[i]);
  va_start (args, format);
  fail_at (check, format, args, what);
  va_end (args);
}

void
check_round (const Check *check, OracleNumber *y, gsize n)
{
  if (check->dtype == MLLAMA_DTYPE_BF16)
    oracle_round_bf16 (y, n);
}

/* What is rounded before a factor comes to it: up to two half units of the product. */
void
check_round_rms (const Check *check, OracleNumber *y, gsize n)
{
  for (guint i = 0; i < 3; i++)
    check_round (check, y, n);
}

double
check_get_weight_rounding (const Check *check)
{
  return check->dtype == MLLAMA_DTYPE_BF16 ? 0x1p-8 : 0;
}

void
check_preset (OracleDevice *device, MllamaTensor *y, gsize n_rows, gsize width, const float *before)
{
  gsize n = n_rows * width, n_all = (n_rows + ORACLE_GUARD_ROWS) * width;
  g_autofree float *all = g_new (float, n_all);
  GError *error = NULL;

  for (gsize i = 0; i < n_all; i++)
    all[i] = i >= n ? GUARD : before ? before[i] : NAN;
  device->ops->tensor_write (device->be, y, 0, n_rows + ORACLE_GUARD_ROWS, all, &error);
  g_assert_no_error (error);
}

void
check_guard (Check *check, OracleDevice *device, const MllamaTensor *y, gsize n_rows, gsize width, const char *what)
{
  g_autofree float *rows = g_new (float, ORACLE_GUARD_ROWS *width);
  GError *error = NULL;

  device->ops->tensor_read (device->be, y, n_rows, ORACLE_GUARD_ROWS, rows, &error);
  g_assert_no_error (error);
  for (gsize i = 0; i < ORACLE_GUARD_ROWS * width; i++)
    if (rows[i] != GUARD) {
      check_fail (check, "%s: column %" G_GSIZE_FORMAT " of row %" G_GSIZE_FORMAT ", past the last, was written to",
                  what, i % width, n_rows + i / width);
      return;
    }
}

float *
check_run_twice (Check *check, OracleDevice *device, MllamaTensor *y, gsize n_rows, gsize width, const float *before,
                 CheckRun run, gpointer data, const char *what)
{
  guint n = check_is_sparse (check) ? 1 : 2;
  float *found[2];

  for (guint i = 0; i < n; i++) {
    check_preset (device, y, n_rows, width, before);
    run (data);
    found[i] = oracle_tensor_read (device, y, n_rows, width);
    check_guard (check, device, y, n_rows, width, what);
  }
  if (n > 1) {
    check_bits (check, found[1], found[0], n_rows * width, "%s, run again", what);
    g_free (found[1]);
  }
  return found[0];
}

float *
check_make_rows (OracleDevice *device, guint n, guint d)
{
  float *x = oracle_random (device, (gsize) n * d, 2);

  for (gsize i = 0; i < (gsize) n * d; i++)
    x[i] *= i / d % 3 == 1 ? 0x1p-9 : 1;
  return x;
}

/* --- assertions --- */

static sigjmp_buf before_run;

/* Called by abort (), in the thread that failed. */
static void
leave_run (int number)
{
  siglongjmp (before_run, 1);
}

gboolean
check_survives (CheckRun run, gpointer data)
{
  void (*previous) (int) = signal (SIGABRT, leave_run);
  gboolean is_first = sigsetjmp (before_run, 1) == 0;

  if (is_first)
    run (data);
  signal (SIGABRT, previous);
  return is_first;
}

typedef struct {
  Check *check;
  CheckFunc run;
} Guarded;

static void
run_guarded (gpointer data)
{
  const Guarded *guarded = data;

  guarded->run (guarded->check);
}

void
check_run (Check *check, CheckFunc run)
{
  Guarded guarded = {check, run};

  check->is_broken = !check_survives (run_guarded, &guarded);
  if (check->is_broken)
    check_fail (check, "an assertion failed");
}
