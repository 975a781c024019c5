/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attention of the vision tower. */
#include "check.h"

#include <math.h>
#include <string.h>

typedef struct {
  guint n_heads, head_width, n_sequences;
  MllamaSequence sequences[4];
} TowerCase;

/* Around the sides of blocks; several sequences, gaps between them, no other rows or nothing else; every width that has
 * a fast kernel, and some that have none. One of each kernel first: those of any width, then those of bf16 alone. */
static const TowerCase tower_cases[] = {
    {2, 20, 2, {{0, 65, 70}, {70, 1, 3}}},
    {1, 96, 2, {{0, 33, 34}, {34, 66, 90}}},
    {1, 129, 4, {{0, 1, 1}, {1, 2, 2}, {3, 1, 2}, {5, 40, 41}}},
    {1, 80, 3, {{1, 130, 140}, {141, 49, 49}, {200, 0, 4}}},
    {4, 64, 3, {{0, 255, 257}, {260, 64, 65}, {330, 5, 133}}},
    {2, 128, 2, {{0, 192, 193}, {193, 100, 100}}},
    {1, 1, 1, {{0, 1, 1}}},
    {2, 8, 1, {{0, 3, 5}}},
    {3, 16, 1, {{2, 63, 63}}},
    {2, 16, 1, {{0, 64, 65}}},
    {16, 80, 2, {{0, 127, 129}, {129, 128, 128}}},
    {2, 80, 1, {{0, 401, 411}}},
    {1, 7, 1, {{0, 600, 611}}},
    {2, 36, 1, {{0, 31, 33}}},
    {3, 72, 1, {{0, 70, 71}}},
    {1, 256, 1, {{0, 20, 37}}},
    {2, 127, 1, {{0, 66, 131}}},
};

typedef struct {
  OracleDevice *device;
  MllamaTensor *a, *qkv;
  guint n_heads;
  MllamaTowerLayout layout;
} Tower;

static void
run_tower (gpointer data)
{
  const Tower *t = data;

  t->device->ops->tower_attention (t->device->be, t->a, t->qkv, t->n_heads, &t->layout);
}

/* Row i of a sequence, as the contract says it. */
static void
expect_tower (const Check *check, const TowerCase *c, const MllamaSequence *sequence, const float *qkv,
              const float *bias, guint i, guint head, OracleNumber *expected)
{
  guint width = c->n_heads * c->head_width, n_keys = i < sequence->n_real ? sequence->n_rows : sequence->n_real;
  g_autofree OracleKey *keys = g_new0 (OracleKey, n_keys + 1);
  const float *columns = qkv + head * c->head_width;

  if (check_has (check, CHECK_FAULT_PAD_KEY) && n_keys > 1)
    n_keys--;
  for (guint j = 0; j < n_keys; j++) {
    const float *row = columns + (gsize) (sequence->first + j) * 3 * width;
    keys[j] = (OracleKey){row + width, row + 2 * width, bias[sequence->first + j]};
    if (check_has (check, CHECK_FAULT_KEY_BIAS))
      keys[j].bias = 0;
  }
  oracle_attend_rounded (expected, columns + (gsize) (sequence->first + i) * 3 * width, keys, n_keys, c->head_width,
                         check_get_weight_rounding (check));
  check_round (check, expected, c->head_width);
}

/* Queries three times as large as keys: a few of the keys get most of the weight. */
static float *
make_qkv (OracleDevice *device, guint n_rows, guint width, const TowerCase *c)
{
  float *qkv = oracle_random (device, (gsize) n_rows * 3 * width, 1);
  g_autofree guint8 *is_used = g_new0 (guint8, n_rows);

  for (guint s = 0; s < c->n_sequences; s++)
    memset (is_used + c->sequences[s].first, 1, c->sequences[s].n_rows);
  for (gsize r = 0; r < n_rows; r++)
    for (gsize i = 0; i < 3 * width; i++) {
      qkv[r * 3 * width + i] *= i < width ? 4 : 1;
      if (!is_used[r]) /* rows of no sequence belong to nobody */
        qkv[r * 3 * width + i] = NAN;
    }
  return qkv;
}

static void
check_tower_case (Check *check, const TowerCase *c)
{
  const MllamaSequence *last = &c->sequences[c->n_sequences - 1];
  guint width = c->n_heads * c->head_width, n_rows = last->first + last->n_rows;
  CheckModel model = {.tower_width = width, .tower_heads = c->n_heads};
  g_autoptr (OracleDevice) device = check_open (check, &model);
  g_autofree float *qkv = make_qkv (device, n_rows, width, c), *bias = oracle_random (device, n_rows, 3), *found = NULL;
  g_autofree OracleNumber *expected = g_new (OracleNumber, c->head_width);
  Tower t = {device,
             oracle_tensor_new (device, n_rows, width, NULL),
             oracle_tensor_new (device, n_rows, 3 * width, qkv),
             c->n_heads,
             {n_rows, c->n_sequences, c->sequences, bias}};

  found = check_run_twice (check, device, t.a, n_rows, width, NULL, run_tower, &t, "tower_attention");
  for (guint s = 0; s < c->n_sequences; s++)
    for (guint i = 0; i < c->sequences[s].n_rows; i++)
      for (guint h = 0; h < c->n_heads; h++) {
        guint row = c->sequences[s].first + i;
        expect_tower (check, c, &c->sequences[s], qkv, bias, i, h, expected);
        check_numbers (check, found + (gsize) row * width + h * c->head_width, expected, c->head_width,
                       "%u heads of %u, sequence %u, row %u, head %u", c->n_heads, c->head_width, s, i, h);
      }
  for (guint r = 0; r < c->sequences[0].first; r++)
    if (!isnan (found[(gsize) r * width]))
      check_fail (check, "row %u, of no sequence, was written to", r);
}

static void
check_cases (Check *check)
{
  guint n_needed = check->dtype == MLLAMA_DTYPE_BF16 ? 6 : 3;

  for (guint i = 0; i < G_N_ELEMENTS (tower_cases) && !check_is_settled (check); i++)
    if (check_wants_case (check, i < n_needed))
      check_tower_case (check, &tower_cases[i]);
}

const CheckEntry checks_of_tower_attention[] = {{"every_row", check_cases}, {NULL, NULL}};
