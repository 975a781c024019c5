/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Steady work. Every figure is run once more than it counts, and the first time does not count. */
#include "mllama-bench.h"

#define PROMPT_TOKENS  64
#define CONTEXT_TOKENS 128
#define NEW_TOKENS     128
#define CAPTION_PROMPT 32
#define CAPTION_NEW    40
#define CAPTION_ROUNDS 2

static gboolean
time_vision (Bench *bench, const MllamaAspectRatio *ratio, GError **error)
{
  g_autofree double *ms = g_new (double, bench->n_runs);
  g_autofree char *name = g_strdup_printf ("vision_%u_tiles", ratio->n_rows * ratio->n_columns);

  for (guint run = 0; run <= bench->n_runs; run++) {
    g_autoptr (MllamaStates) states = bench_encode_new_picture (bench, ratio, error);
    if (!states)
      return FALSE;
    if (run > 0)
      ms[run - 1] = mllama_states_get_encode_ns (states) / 1e6;
  }
  bench_report (bench, name, "ms", ms, bench->n_runs);
  return TRUE;
}

static gboolean
time_first_token (Bench *bench, const MllamaAspectRatio *ratio, GError **error)
{
  g_autofree double *ms = g_new (double, bench->n_runs);

  for (guint run = 0; run <= bench->n_runs; run++) {
    MllamaImage image;
    g_autofree G_GNUC_UNUSED guint8 *pixels = ratio ? bench_make_picture (bench, ratio, &image) : NULL;
    MllamaPrompt *prompt = bench_make_prompt (bench, PROMPT_TOKENS, ratio != NULL, error);
    gint64 start = g_get_monotonic_time ();
    g_autoptr (MllamaStates) states = ratio && prompt ? bench_encode (bench, &image, error) : NULL;
    g_autoptr (Answer) answer = answer_new (prompt, states, 1);

    if (!answer || (ratio && !states) || !answer_run (answer, bench, error))
      return FALSE;
    if (run > 0)
      ms[run - 1] = (answer_get_first_us (answer) - start) / 1e3;
  }
  bench_report (bench, "first_token", "ms", ms, bench->n_runs);
  return TRUE;
}

/* --- several answers at once --- */

static gboolean
run_together (Bench *bench, Answer *const *answers, guint n, GError **error)
{
  gboolean is_done = TRUE;

  for (guint i = 0; i < n; i++)
    if (!answers[i] || !answer_start (answers[i], bench, error))
      return FALSE;
  for (guint i = 0; i < n; i++)
    is_done = answer_wait (answers[i], is_done ? error : NULL) && is_done;
  return is_done;
}

static void
free_answers (Answer **answers, guint n)
{
  for (guint i = 0; i < n; i++)
    g_clear_pointer (&answers[i], answer_free);
}

/* All answers together over the time in which all are under way; of one: (n - 1) / (last - first). */
static double
compute_speed (Answer *const *answers, guint n_rows)
{
  gint64 start = 0, end = G_MAXINT64;
  guint n_tokens = 0;

  for (guint i = 0; i < n_rows; i++) {
    start = MAX (start, answer_get_first_us (answers[i]));
    end = MIN (end, answer_get_last_us (answers[i]));
  }
  for (guint i = 0; i < n_rows; i++)
    for (guint k = 0; k < answers[i]->times->len; k++) {
      gint64 time = g_array_index (answers[i]->times, gint64, k);
      n_tokens += time > start && time <= end;
    }
  return end > start ? n_tokens / ((end - start) / 1e6) : 0;
}

static gboolean
check_alone (Bench *bench, const char *name, Answer *const *answers, guint n, GError **error)
{
  gboolean are_same = TRUE;

  for (guint i = 0; i < n; i++) {
    gboolean is_same;
    if (!answer_compare_alone (answers[i], bench, &is_same, error))
      return FALSE;
    are_same &= is_same;
  }
  bench_check (bench, name, are_same);
  return TRUE;
}

static gboolean
run_decode (Bench *bench, MllamaStates *const *states, guint n_rows, Answer **answers, GError **error)
{
  free_answers (answers, n_rows);
  for (guint i = 0; i < n_rows; i++)
    answers[i] =
        answer_new (bench_make_prompt (bench, CONTEXT_TOKENS, states[i] != NULL, error), states[i], NEW_TOKENS);
  return run_together (bench, answers, n_rows, error);
}

static gboolean
encode_rows (Bench *bench, const MllamaAspectRatio *ratio, MllamaStates **states, guint n_rows, GError **error)
{
  for (guint i = 0; i < n_rows && ratio; i++)
    if (!(states[i] = bench_encode_new_picture (bench, ratio, error)))
      return FALSE;
  return TRUE;
}

/* Every row has a picture and a prompt of its own. */
static gboolean
time_decode (Bench *bench, const MllamaAspectRatio *ratio, guint n_rows, GError **error)
{
  MllamaStates *states[BENCH_MAX_ROWS] = {NULL};
  Answer *answers[BENCH_MAX_ROWS] = {NULL};
  g_autofree double *speeds = g_new (double, bench->n_runs + 1);
  g_autofree char *name = g_strdup_printf ("decode_%u", n_rows);
  g_autofree char *check = g_strdup_printf ("decode_%u_as_alone", n_rows);
  gboolean is_done = encode_rows (bench, ratio, states, n_rows, error);

  for (guint run = 0; run <= bench->n_runs && is_done; run++) {
    is_done = run_decode (bench, states, n_rows, answers, error);
    speeds[run] = is_done ? compute_speed (answers, n_rows) : 0;
  }
  if (is_done)
    bench_report (bench, name, "tok/s", speeds + 1, bench->n_runs);
  is_done = is_done && check_alone (bench, check, answers, n_rows, error);
  free_answers (answers, n_rows);
  for (guint i = 0; i < n_rows; i++)
    g_clear_pointer (&states[i], mllama_states_unref);
  return is_done;
}

/* --- several prompts on one frame --- */

static gboolean
time_prompts (Bench *bench, const MllamaAspectRatio *ratio, guint n_prompts, double *ms, GError **error)
{
  Answer *answers[BENCH_MAX_ROWS] = {NULL};
  MllamaPrompt *prompts[BENCH_MAX_ROWS];
  MllamaImage image;
  g_autofree G_GNUC_UNUSED guint8 *pixels = bench_make_picture (bench, ratio, &image);
  g_autoptr (MllamaStates) states = NULL;
  gint64 start;
  gboolean is_done;

  for (guint i = 0; i < n_prompts; i++)
    prompts[i] = bench_make_prompt (bench, CAPTION_PROMPT, TRUE, error);
  start = g_get_monotonic_time ();
  states = bench_encode (bench, &image, error);
  for (guint i = 0; i < n_prompts; i++)
    answers[i] = answer_new (prompts[i], states, CAPTION_NEW);
  is_done = states && run_together (bench, answers, n_prompts, error);
  *ms = (g_get_monotonic_time () - start) / 1e3;
  free_answers (answers, n_prompts);
  return is_done;
}

static guint64
count_encodes (Bench *bench)
{
  MllamaStatistics statistics;

  mllama_model_get_statistics (bench->model, &statistics);
  return statistics.n_encodes;
}

static gboolean
compare_prompts (Bench *bench, const MllamaAspectRatio *ratio, GError **error)
{
  static const guint counts[] = {1, 4, 8};
  g_autofree double *four = g_new (double, bench->n_runs + 1), *eight = g_new (double, bench->n_runs + 1);
  guint64 n_encodes = count_encodes (bench);

  for (guint run = 0; run <= bench->n_runs; run++) {
    double ms[G_N_ELEMENTS (counts)];
    for (guint i = 0; i < G_N_ELEMENTS (counts); i++)
      if (!time_prompts (bench, ratio, counts[i], &ms[i], error))
        return FALSE;
    four[run] = ms[1] / ms[0];
    eight[run] = ms[2] / ms[0];
  }
  bench_report (bench, "prompts_4_over_1", "x", four + 1, bench->n_runs);
  bench_report (bench, "prompts_8_over_1", "x", eight + 1, bench->n_runs);
  bench_check (bench, "one_encode_a_frame", count_encodes (bench) - n_encodes == 3 * (bench->n_runs + 1));
  return TRUE;
}

/* --- streams --- */

/* One stream: frames of its own, one after the other. */
typedef struct {
  Bench *bench;
  MllamaImage images[CAPTION_ROUNDS];
  guint8 *pixels[CAPTION_ROUNDS];
  MllamaPrompt *prompts[CAPTION_ROUNDS];
  Answer *last;
  GError *error;
} Stream;

static gpointer
run_stream (gpointer data)
{
  Stream *stream = data;

  for (guint i = 0; i < CAPTION_ROUNDS && !stream->error; i++) {
    g_autoptr (MllamaStates) states = bench_encode (stream->bench, &stream->images[i], &stream->error);
    if (!states)
      break;
    g_clear_pointer (&stream->last, answer_free);
    stream->last = answer_new (g_steal_pointer (&stream->prompts[i]), states, CAPTION_NEW);
    answer_run (stream->last, stream->bench, &stream->error);
  }
  return NULL;
}

static gboolean
stream_init (Stream *stream, Bench *bench, const MllamaAspectRatio *ratio, GError **error)
{
  stream->bench = bench;
  for (guint i = 0; i < CAPTION_ROUNDS; i++) {
    stream->pixels[i] = bench_make_picture (bench, ratio, &stream->images[i]);
    if (!(stream->prompts[i] = bench_make_prompt (bench, CAPTION_PROMPT, TRUE, error)))
      return FALSE;
  }
  return TRUE;
}

static void
stream_clear (Stream *stream)
{
  for (guint i = 0; i < CAPTION_ROUNDS; i++) {
    g_free (stream->pixels[i]);
    g_clear_pointer (&stream->prompts[i], mllama_prompt_unref);
  }
  g_clear_pointer (&stream->last, answer_free);
  g_clear_error (&stream->error);
}

static gboolean
run_streams (Stream *streams, guint n_streams, double *captions_per_second, GError **error)
{
  GThread *threads[BENCH_MAX_ROWS];
  gint64 start = g_get_monotonic_time ();
  gboolean is_done = TRUE;

  for (guint i = 0; i < n_streams; i++)
    threads[i] = g_thread_new ("stream", run_stream, &streams[i]);
  for (guint i = 0; i < n_streams; i++)
    g_thread_join (threads[i]);
  *captions_per_second = n_streams * CAPTION_ROUNDS / ((g_get_monotonic_time () - start) / 1e6);
  for (guint i = 0; i < n_streams && is_done; i++)
    if (streams[i].error) {
      g_propagate_error (error, g_steal_pointer (&streams[i].error));
      is_done = FALSE;
    }
  return is_done;
}

static gboolean
check_streams (Bench *bench, const Stream *streams, guint n_streams, GError **error)
{
  Answer *answers[BENCH_MAX_ROWS];

  for (guint i = 0; i < n_streams; i++)
    answers[i] = streams[i].last;
  return check_alone (bench, "captions_as_alone", answers, n_streams, error);
}

static gboolean
time_streams (Bench *bench, const MllamaAspectRatio *ratio, guint n_streams, GError **error)
{
  g_autofree double *speeds = g_new (double, bench->n_runs + 1);
  g_autofree char *name = g_strdup_printf ("captions_%u_streams", n_streams);
  gboolean is_done = TRUE;

  for (guint run = 0; run <= bench->n_runs && is_done; run++) {
    Stream streams[BENCH_MAX_ROWS] = {{NULL}};
    for (guint i = 0; i < n_streams && is_done; i++)
      is_done = stream_init (&streams[i], bench, ratio, error);
    is_done = is_done && run_streams (streams, n_streams, &speeds[run], error) &&
              (run < bench->n_runs || check_streams (bench, streams, n_streams, error));
    for (guint i = 0; i < n_streams; i++)
      stream_clear (&streams[i]);
  }
  if (is_done)
    bench_report (bench, name, "1/s", speeds + 1, bench->n_runs);
  return is_done;
}

gboolean
bench_measure (Bench *bench, GError **error)
{
  static const guint batches[] = {1, 8, 32};
  const MllamaAspectRatio *ratio, *largest = bench_find_largest_ratio (bench);

  for (guint n = 1; largest && n <= mllama_model_get_config (bench->model)->vision.max_n_tiles; n++)
    if ((ratio = bench_find_ratio (bench, n)) && !time_vision (bench, ratio, error))
      return FALSE;
  if (!time_first_token (bench, largest, error))
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (batches); i++)
    if (!time_decode (bench, largest, batches[i], error))
      return FALSE;
  return !largest || (compare_prompts (bench, largest, error) && time_streams (bench, largest, 32, error));
}
