/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Times the CPU backend's operations in the order a model calls them: one encode of a small tower, and steps of a
 * small decoder. Not a test. Prints medians of the elapsed time, and processor time beside them. */
#include "oracle-device.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#define N_REPEATS 5

/* The tower of the issue: four tiles of 560 pixels, patches of 14. */
#define TOWER_D      160
#define TOWER_F      640
#define TOWER_LAYERS 3
#define TILE_ROWS    1601
#define N_TILES      4

/* The decoder: 10 layers, 2 of them cross. */
#define TEXT_D       256
#define TEXT_F       1024
#define SELF_LAYERS  8
#define CROSS_LAYERS 2
#define N_LOGITS     4096
#define MAX_ROWS     MLLAMA_MAX_ROWS
#define ROW_PAGES    16

static double
read_clock (clockid_t clock)
{
  struct timespec time;

  clock_gettime (clock, &time);
  return time.tv_sec + time.tv_nsec * 1e-9;
}

static MllamaWeight *
create_matrix (OracleDevice *device, gsize n_out, gsize n_in)
{
  g_autofree float *values = oracle_random (device, n_out * n_in, 1 / sqrtf (n_in));

  return oracle_matrix_new (device, n_out, n_in, values);
}

static MllamaWeight *
create_vector (OracleDevice *device, gsize n)
{
  g_autofree float *values = oracle_random (device, n, 1);

  return oracle_vector_new (device, n, values);
}

static MllamaTensor *
create_tensor (OracleDevice *device, gsize n_rows, gsize width)
{
  g_autofree float *values = oracle_random (device, n_rows * width, 1);

  return oracle_tensor_new (device, n_rows, width, values);
}

static int
compare_times (const void *a, const void *b)
{
  double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

/* Median of the elapsed seconds of one of n calls; cpu gets its processor time. */
static double
measure (void (*step) (gpointer), gpointer data, guint n, double *cpu)
{
  double times[N_REPEATS], started;

  step (data);
  *cpu = read_clock (CLOCK_PROCESS_CPUTIME_ID);
  for (guint i = 0; i < N_REPEATS; i++) {
    started = read_clock (CLOCK_MONOTONIC);
    for (guint k = 0; k < n; k++)
      step (data);
    times[i] = (read_clock (CLOCK_MONOTONIC) - started) / n;
  }
  *cpu = (read_clock (CLOCK_PROCESS_CPUTIME_ID) - *cpu) / N_REPEATS / n;
  qsort (times, N_REPEATS, sizeof (double), compare_times);
  return times[N_REPEATS / 2];
}

typedef struct {
  OracleDevice *device;
  guint n_heads;
  MllamaWeight *norm, *qkv, *o, *fc1, *fc1_bias, *fc2;
  MllamaTensor *x, *states, *a, *hidden;
  MllamaTowerLayout layout;
} Tower;

static void
run_tower_attention (gpointer data)
{
  Tower *t = data;

  t->device->ops->tower_attention (t->device->be, t->a, t->states, t->n_heads, &t->layout);
}

static void
run_tower (gpointer data)
{
  Tower *t = data;
  MllamaBackend *be = t->device->be;
  const MllamaBackendOps *ops = t->device->ops;
  guint n = t->layout.n_rows;

  for (guint i = 0; i < TOWER_LAYERS; i++) {
    ops->layer_norm_linear (be, t->states, t->x, n, t->norm, t->norm, 1e-5f, t->qkv, NULL, FALSE);
    run_tower_attention (t);
    ops->linear_residual (be, t->x, t->a, n, t->o, NULL, 0.5f);
    ops->layer_norm_linear (be, t->hidden, t->x, n, t->norm, t->norm, 1e-5f, t->fc1, t->fc1_bias, TRUE);
    ops->linear_residual (be, t->x, t->hidden, n, t->fc2, t->norm, 0.5f);
  }
}

static void
bench_tower (guint n_heads)
{
  g_autoptr (OracleDevice) device = oracle_device_new_with_tower (TOWER_D, n_heads, 560, 14);
  guint n_rows = N_TILES * (TILE_ROWS + 1);
  g_autofree float *bias = g_new0 (float, n_rows);
  MllamaSequence sequence = {0, N_TILES * TILE_ROWS, n_rows};
  Tower tower = {device,
                 n_heads,
                 create_vector (device, TOWER_D),
                 create_matrix (device, 3 * TOWER_D, TOWER_D),
                 create_matrix (device, TOWER_D, TOWER_D),
                 create_matrix (device, TOWER_F, TOWER_D),
                 create_vector (device, TOWER_F),
                 create_matrix (device, TOWER_D, TOWER_F),
                 create_tensor (device, n_rows, TOWER_D),
                 create_tensor (device, n_rows, 3 * TOWER_D),
                 create_tensor (device, n_rows, TOWER_D),
                 create_tensor (device, n_rows, TOWER_F),
                 {n_rows, 1, &sequence, bias}};
  double cpu, time = measure (run_tower_attention, &tower, 1, &cpu);

  g_print ("tower, %2u heads: attention of a layer %6.0f ms (cpu %6.0f ms), ", n_heads, time * 1e3, cpu * 1e3);
  time = measure (run_tower, &tower, 1, &cpu);
  g_print ("%u layers %6.0f ms (cpu %6.0f ms)\n", TOWER_LAYERS, time * 1e3, cpu * 1e3);
}

typedef struct {
  OracleDevice *device;
  MllamaWeight *embedding, *norm, *head_norm;
  MllamaWeight *qkv[SELF_LAYERS + CROSS_LAYERS], *o[SELF_LAYERS + CROSS_LAYERS], *gate_up[SELF_LAYERS + CROSS_LAYERS],
      *down[SELF_LAYERS + CROSS_LAYERS], *head;
  MllamaTensor *x, *q, *a, *hidden, *normed, *logits;
  MllamaPass pass;
  MllamaSampling sampling[MAX_ROWS];
  MllamaSample samples[MAX_ROWS];
  guint32 outputs[MAX_ROWS];
} Decoder;

static void
run_decoder (gpointer data)
{
  Decoder *d = data;
  MllamaBackend *be = d->device->be;
  const MllamaBackendOps *ops = d->device->ops;
  const MllamaPass *pass = &d->pass;

  ops->pass_begin (be, pass);
  ops->embed_tokens (be, d->x, d->embedding, pass);
  for (guint i = 0; i < SELF_LAYERS + CROSS_LAYERS; i++) {
    if (i < SELF_LAYERS) {
      ops->norm_qkv_rope (be, d->q, d->x, d->norm, 1e-5f, d->qkv[i], i, pass);
      ops->self_attention (be, d->a, d->q, i, pass);
    } else {
      ops->norm_q_heads (be, d->q, d->x, d->norm, 1e-5f, d->qkv[i], d->head_norm, pass);
      ops->cross_attention (be, d->a, d->q, i - SELF_LAYERS, pass);
    }
    ops->linear_residual_tokens (be, d->x, d->a, d->o[i], 0.1f, FALSE, pass);
    ops->norm_swiglu (be, d->hidden, d->x, d->norm, 1e-5f, d->gate_up[i], pass);
    ops->linear_residual_tokens (be, d->x, d->hidden, d->down[i], 0.1f, FALSE, pass);
  }
  ops->norm_outputs (be, d->normed, d->x, d->norm, 1e-5f, pass);
  ops->logits (be, d->logits, d->normed, d->head, pass);
  ops->draw (be, d->logits, pass);
  ops->pass_end (be);
  ops->samples_read (be, d->samples, NULL);
}

static void
create_decoder (Decoder *d, guint max_tokens)
{
  OracleDevice *device = d->device;
  guint c = device->config.text.head_width, kv_width = device->config.text.n_kv_heads * c;

  d->embedding = create_matrix (device, N_LOGITS, TEXT_D);
  d->norm = create_vector (device, TEXT_D);
  d->head_norm = create_vector (device, c);
  for (guint i = 0; i < SELF_LAYERS + CROSS_LAYERS; i++) {
    d->qkv[i] = create_matrix (device, i < SELF_LAYERS ? TEXT_D + 2 * kv_width : TEXT_D, TEXT_D);
    d->o[i] = create_matrix (device, TEXT_D, TEXT_D);
    d->gate_up[i] = create_matrix (device, 2 * TEXT_F, TEXT_D);
    d->down[i] = create_matrix (device, TEXT_D, TEXT_F);
  }
  d->head = create_matrix (device, N_LOGITS, TEXT_D);
  d->x = create_tensor (device, max_tokens, TEXT_D);
  d->q = create_tensor (device, max_tokens, TEXT_D);
  d->a = create_tensor (device, max_tokens, TEXT_D);
  d->hidden = create_tensor (device, max_tokens, TEXT_F);
  d->normed = create_tensor (device, MAX_ROWS, TEXT_D);
  d->logits = create_tensor (device, MAX_ROWS, N_LOGITS);
}

/* n_rows rows of n_tokens tokens each, from position on; all see the same n_keys keys. */
static void
bench_decoder (Decoder *d, MllamaPassKind kind, guint n_rows, guint n_tokens, guint position, const MllamaSlab *slab,
               guint n_keys)
{
  guint n = n_rows * n_tokens;
  g_autofree guint32 *ids = g_new0 (guint32, n), *positions = g_new0 (guint32, n), *rows = g_new0 (guint32, n),
                     *first_span = g_new0 (guint32, n), *n_spans = g_new0 (guint32, n),
                     *pages = g_new0 (guint32, MAX_ROWS * ROW_PAGES);
  g_autofree guint8 *sees_image = g_new0 (guint8, n);
  MllamaRow row_table[MAX_ROWS];
  MllamaKeySpan span = {slab, 0, n_keys, 0};
  double time, cpu;

  for (guint t = 0; t < n; t++) {
    ids[t] = t * 7 % N_LOGITS;
    rows[t] = t / n_tokens;
    positions[t] = position + t % n_tokens;
    n_spans[t] = slab != NULL;
    sees_image[t] = 1;
  }
  for (guint i = 0; i < MAX_ROWS * ROW_PAGES; i++)
    pages[i] = i;
  for (guint i = 0; i < MAX_ROWS; i++) {
    row_table[i] = (MllamaRow){i, pages + i * ROW_PAGES};
    d->outputs[i] = i * n_tokens + n_tokens - 1;
    d->sampling[i] = (MllamaSampling){.top_p = 1, .repetition_penalty = 1, .slot = i};
  }
  d->pass = (MllamaPass){.kind = kind,
                         .n_tokens = n,
                         .ids = ids,
                         .positions = positions,
                         .rows = rows,
                         .first_span = first_span,
                         .n_spans = n_spans,
                         .sees_image = sees_image,
                         .n_rows = n_rows,
                         .n_spans_total = 1,
                         .row_table = row_table,
                         .spans = &span,
                         .n_outputs = n_rows,
                         .outputs = d->outputs,
                         .sampling = d->sampling,
                         .kv = d->pass.kv};
  time = measure (run_decoder, d, n_tokens == 1 ? 20 : 2, &cpu);
  g_print ("%s of %2u x %3u tokens at position %3u, %4u cross keys: %7.2f ms (cpu %7.2f ms), %6.0f tokens/s\n",
           n_tokens == 1 ? "decode " : "prefill", n_rows, n_tokens, position, n_keys, time * 1e3, cpu * 1e3, n / time);
}

int
main (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new (8, 4, TEXT_D / 8);
  Decoder *d = g_new0 (Decoder, 1);
  g_autofree float *zeros = g_new0 (float, TEXT_D * 4);
  MllamaSlab *slab = device->ops->slab_new (device->be, CROSS_LAYERS, N_TILES * TILE_ROWS, NULL);
  MllamaTensor *states = create_tensor (device, N_TILES * TILE_ROWS, TEXT_D);

  d->device = device;
  create_decoder (d, 512);
  d->pass.kv = device->ops->kv_new (device->be, SELF_LAYERS, MAX_ROWS * ROW_PAGES, NULL);
  for (guint i = 0; i < CROSS_LAYERS; i++)
    device->ops->cross_keys_values (device->be, slab, i, states, 0, d->o[0], d->head_norm, 1e-5f);
  bench_decoder (d, MLLAMA_PASS_FEW, 1, 30, 0, NULL, 0);
  bench_decoder (d, MLLAMA_PASS_FEW, 1, 64, 0, NULL, 0);
  bench_decoder (d, MLLAMA_PASS_MANY, 1, 256, 0, NULL, 0);
  bench_decoder (d, MLLAMA_PASS_FEW, 1, 30, 0, slab, N_TILES * TILE_ROWS);
  bench_decoder (d, MLLAMA_PASS_FEW, 1, 1, 64, NULL, 0);
  bench_decoder (d, MLLAMA_PASS_FEW, 1, 1, 64, slab, TILE_ROWS);
  bench_decoder (d, MLLAMA_PASS_FEW, 1, 1, 64, slab, N_TILES * TILE_ROWS);
  bench_decoder (d, MLLAMA_PASS_FEW, 1, 1, 1000, NULL, 0);
  bench_decoder (d, MLLAMA_PASS_FEW, 8, 1, 64, slab, TILE_ROWS);
  bench_decoder (d, MLLAMA_PASS_FEW, 64, 1, 64, slab, TILE_ROWS);
  device->ops->kv_free (device->be, d->pass.kv);
  device->ops->slab_free (device->be, slab);
  g_free (d);
  for (guint n_heads = 2; n_heads <= 10; n_heads += n_heads == 2 ? 3 : 5)
    bench_tower (n_heads);
  return 0;
}
