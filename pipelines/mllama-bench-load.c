/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What comes before steady work: loading, the first caption, and what one stream holds of the device's memory. */
#include "mllama-bench.h"

#define CAPTION_PROMPT 32
#define CAPTION_NEW    40
#define STREAM_PROMPT  1000
#define STREAM_NEW     24

static gboolean
open_model (Bench *bench, const BenchOptions *options, GError **error)
{
  MllamaModelSettings settings = {.device = MLLAMA_DEVICE_AUTO};

  if (g_strcmp0 (options->device, "cpu") == 0)
    settings.device = MLLAMA_DEVICE_CPU;
  else if (g_strcmp0 (options->device, "cuda") == 0)
    settings.device = MLLAMA_DEVICE_CUDA;
  if (g_strcmp0 (options->dtype, "f32") == 0)
    settings.dtype = MLLAMA_DTYPE_F32;
  else if (g_strcmp0 (options->dtype, "bf16") == 0)
    settings.dtype = MLLAMA_DTYPE_BF16;
  g_clear_pointer (&bench->model, mllama_model_unref);
  bench->model = mllama_model_open (options->model, &settings, error);
  return bench->model && mllama_model_load (bench->model, NULL, error);
}

/* A picture, a prompt and an answer, from the call to the last token. */
static gboolean
time_caption (Bench *bench, guint n_prompt, guint n_new, double *ms, GError **error)
{
  const MllamaAspectRatio *ratio = bench_find_largest_ratio (bench);
  MllamaImage image;
  g_autofree G_GNUC_UNUSED guint8 *pixels = ratio ? bench_make_picture (bench, ratio, &image) : NULL;
  MllamaPrompt *prompt = bench_make_prompt (bench, n_prompt, ratio != NULL, error);
  gint64 start = g_get_monotonic_time ();
  g_autoptr (MllamaStates) states = ratio && prompt ? bench_encode (bench, &image, error) : NULL;
  g_autoptr (Answer) answer = answer_new (prompt, states, n_new);

  if (!answer || (ratio && !states) || !answer_run (answer, bench, error))
    return FALSE;
  *ms = (g_get_monotonic_time () - start) / 1e3;
  return TRUE;
}

/* Everything included: all that is not free of a device that nobody else uses. */
static gboolean
measure_memory (Bench *bench, GError **error)
{
  MllamaStatistics statistics;
  double ms, gib;

  if (!time_caption (bench, STREAM_PROMPT, STREAM_NEW, &ms, error))
    return FALSE;
  mllama_model_get_statistics (bench->model, &statistics);
  if (mllama_model_get_device (bench->model) != MLLAMA_DEVICE_CUDA || statistics.device_free_bytes == G_MAXSIZE)
    return TRUE;
  gib = (statistics.device_total_bytes - statistics.device_free_bytes) / (double) (1 << 30);
  bench_report (bench, "memory_one_stream", "GiB", &gib, 1);
  return TRUE;
}

/* Of several loads the first may find the files out of the page cache, and starts the driver: it is not counted. */
gboolean
bench_load (Bench *bench, const BenchOptions *options, GError **error)
{
  guint n_loads = options->n_loads > 1 ? options->n_loads + 1 : 1, n = 0;
  g_autofree double *seconds = g_new (double, n_loads), *speeds = g_new (double, n_loads);
  g_autofree double *ratios = g_new (double, n_loads);
  MllamaStatistics statistics = {0};

  for (guint i = 0; i < n_loads; i++) {
    double first_ms, second_ms, mb;

    if (!open_model (bench, options, error) || !time_caption (bench, CAPTION_PROMPT, CAPTION_NEW, &first_ms, error) ||
        !time_caption (bench, CAPTION_PROMPT, CAPTION_NEW, &second_ms, error))
      return FALSE;
    ratios[i] = first_ms / second_ms;
    mllama_model_get_statistics (bench->model, &statistics);
    mb = statistics.weight_bytes / 1e6;
    if (i == 0)
      bench_report (bench, "weights", "MB", &mb, 1);
    if (i == 0 && n_loads > 1)
      continue;
    seconds[n] = statistics.load_ns / 1e9;
    speeds[n++] = statistics.weight_bytes / (double) statistics.load_ns;
  }
  bench_report (bench, "load", "s", seconds, n);
  bench_report (bench, "load_speed", "GB/s", speeds, n);
  bench_report (bench, "first_caption_over_second", "x", ratios, n_loads);
  return measure_memory (bench, error);
}
