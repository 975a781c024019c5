/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Batch invariance: the bits of an answer are the same alone and in company, in any order, in any bucket, recorded or
 * not, and however its prompt was cut; the bits of a picture's rows are the same beside other pictures'. */
#include "mini-model.h"

#include <string.h>

/* --- answers --- */

enum {
  N_ANSWERS = 33, /* one and 32 others */
  N_STEPS = 4,    /* draws of each, the first from its prompt */
  MAX_PROMPT = 200,
  PAGES_A_ROW = 4,
  NEEDED_RUN = 13 /* all answers, recorded */
};

typedef struct {
  guint n_prompt, n_keys; /* 0: sees no picture */
  guint32 prompt[MAX_PROMPT];
  MllamaSampling sampling;
  /* Of the reference: alone, and at once. */
  gboolean is_known;
  guint32 ids[N_STEPS];
  float *logits; /* [N_STEPS][Z] */
} Answer;

typedef struct {
  Check *check;
  MiniDecoder *model;
  Answer *answers; /* [N_ANSWERS] */
} Answers;

/* How a run goes about it. */
typedef struct {
  guint order[N_ANSWERS], n; /* rows of the pass -> answers */
  guint chunk;               /* tokens of a prompt in one pass, at most */
  gboolean may_record, is_reference;
  guint n_prefilled[N_ANSWERS], n_drawn[N_ANSWERS]; /* of rows */
  CheckPass *few, *many;
} Schedule;

static const guint32 stop_ids[] = {1, 5};

static void
create_answers (Answers *a)
{
  static const double temperatures[] = {0, 0.8, 1.2};
  static const guint lengths[] = {1, 5, 17, 33, 64, 65, 130, 200};
  GRand *rand = a->model->device->rand;

  a->answers = g_new0 (Answer, N_ANSWERS);
  for (guint i = 0; i < N_ANSWERS; i++) {
    Answer *answer = &a->answers[i];

    answer->n_prompt = lengths[i * 3 % G_N_ELEMENTS (lengths)];
    answer->n_keys = i % 4 == 1 ? 0 : 1 + i * 9;
    for (guint k = 0; k < answer->n_prompt; k++)
      answer->prompt[k] = g_rand_int_range (rand, 0, a->model->size.n_logits);
    answer->sampling = (MllamaSampling){.temperature = temperatures[i % 3],
                                        .top_k = i % 2 ? 7 : 0,
                                        .top_p = i % 5 ? 1 : 0.9,
                                        .seed = i,
                                        .repetition_penalty = i % 4 ? 1 : 1.2,
                                        .stop_ids = stop_ids,
                                        .n_stop_ids = i % 3 ? 0 : G_N_ELEMENTS (stop_ids)};
    answer->logits = g_new0 (float, N_STEPS * a->model->size.n_logits);
  }
}

static void
clear_answers (Answers *a)
{
  for (guint i = 0; i < N_ANSWERS; i++)
    g_free (a->answers[i].logits);
  g_free (a->answers);
  mini_decoder_free (a->model);
}

static gboolean
is_long (const Answer *answer)
{
  return answer->n_prompt > MLLAMA_MAX_ROWS;
}

/* n tokens of a row; what they see depends on the position, as if the picture came after the first tokens. */
static void
add_tokens (Answers *a, Schedule *s, CheckPass *p, guint row, guint position, guint n)
{
  const Answer *answer = &a->answers[s->order[row]];
  guint first = p->pass.n_tokens;

  check_pass_add (p, row, position, n);
  for (guint i = 0; i < n; i++) {
    guint at = position + i, t = first + i;
    gboolean is_blind = answer->n_keys == 0 || (at < 2 && answer->n_prompt > 2);

    p->ids[t] = at < answer->n_prompt ? answer->prompt[at] : MLLAMA_ID_DRAWN;
    p->sees_image[t] = !is_blind;
    if (is_blind)
      continue;
    p->first_span[t] = check_pass_add_span (p, a->model->slab, 0, (answer->n_keys + 1) / 2, 0);
    check_pass_add_span (p, a->model->slab, answer->n_keys / 3, answer->n_keys, 1.5f);
    p->n_spans[t] = 2;
    if (answer->n_keys / 3 + answer->n_keys > MINI_N_KEYS)
      p->n_spans[t] = 1;
  }
}

static void
add_output (Answers *a, Schedule *s, CheckPass *p, guint row)
{
  const Answer *answer = &a->answers[s->order[row]];
  guint i = p->pass.n_outputs++;
  MllamaSampling *sampling = &p->sampling[i];

  p->outputs[i] = p->pass.n_tokens - 1;
  *sampling = answer->sampling;
  sampling->slot = p->row_table[row].slot;
  sampling->position = answer->n_prompt + s->n_drawn[row];
  if (s->n_drawn[row] == 0) {
    sampling->prompt = answer->prompt;
    sampling->n_prompt = answer->n_prompt;
  }
  p->pass.sampling = p->sampling;
}

static void
keep_or_compare (Answers *a, const Schedule *s, guint row, const float *logits, const MllamaSample *sample)
{
  Answer *answer = &a->answers[s->order[row]];
  guint step = s->n_drawn[row], n = a->model->size.n_logits;
  guint32 id = sample->is_done ? MLLAMA_ID_DRAWN : sample->id;

  if (s->is_reference) {
    answer->ids[step] = id;
    memcpy (answer->logits + (gsize) step * n, logits, n * sizeof (float));
    answer->is_known = TRUE;
    return;
  }
  if (!answer->is_known)
    return;
  if (id != answer->ids[step])
    check_fail (a->check, "answer %u, step %u: id %u, alone %u (%u rows, chunks of %u%s)", s->order[row], step, id,
                answer->ids[step], s->n, s->chunk, s->may_record ? ", recorded" : "");
  if (!sample->is_done) /* what a slot that is done computes is nobody's business */
    check_bits (a->check, logits, answer->logits + (gsize) step * n, n, "answer %u, step %u (%u rows, chunks of %u%s)",
                s->order[row], step, s->n, s->chunk, s->may_record ? ", recorded" : "");
}

/* rows [n_outputs]: whose outputs they are. */
static void
run (Answers *a, Schedule *s, CheckPass *p, const guint *rows)
{
  MllamaSample samples[MLLAMA_MAX_ROWS];
  g_autofree float *logits = NULL;

  /* Passes that are recorded have the same operations: all of them draw. */
  p->pass.may_record = s->may_record && p->pass.sampling;
  logits = mini_decoder_run (a->model, p, samples);
  for (guint i = 0; i < p->pass.n_outputs; i++) {
    keep_or_compare (a, s, rows[i], logits + (gsize) i * a->model->size.n_logits, &samples[i]);
    s->n_drawn[rows[i]]++;
  }
}

static void
start_pass (CheckPass *p)
{
  check_pass_clear (p);
  p->pass.sampling = NULL;
}

/* Prompts of one kind, a chunk of each row after the other, as many as a pass holds; until nothing is left. */
static gboolean
prefill_some (Answers *a, Schedule *s, CheckPass *p, gboolean with_long, guint *first)
{
  guint rows[MLLAMA_MAX_ROWS];

  start_pass (p);
  for (guint i = 0; i < s->n; i++) {
    guint row = (*first + i) % s->n, done = s->n_prefilled[row], n;
    const Answer *answer = &a->answers[s->order[row]];

    n = MIN (MIN (answer->n_prompt - done, s->chunk), p->n_max - p->pass.n_tokens);
    if (is_long (answer) != with_long || n == 0)
      continue;
    add_tokens (a, s, p, row, done, n);
    s->n_prefilled[row] += n;
    if (s->n_prefilled[row] == answer->n_prompt) {
      rows[p->pass.n_outputs] = row;
      add_output (a, s, p, row);
    }
  }
  (*first)++;
  if (p->pass.n_tokens == 0)
    return FALSE;
  run (a, s, p, rows);
  return TRUE;
}

static void
decode (Answers *a, Schedule *s, CheckPass *p)
{
  guint rows[MLLAMA_MAX_ROWS];

  start_pass (p);
  for (guint row = 0; row < s->n; row++) {
    const Answer *answer = &a->answers[s->order[row]];

    rows[p->pass.n_outputs] = row;
    add_tokens (a, s, p, row, answer->n_prompt + s->n_drawn[row] - 1, 1);
    add_output (a, s, p, row);
  }
  run (a, s, p, rows);
}

static void
run_schedule (Answers *a, Schedule *s)
{
  guint first = 0;

  s->few = check_pass_new (MLLAMA_PASS_FEW, MLLAMA_MAX_ROWS, s->n, PAGES_A_ROW, a->model->kv);
  s->many = check_pass_new (MLLAMA_PASS_MANY, MINI_MAX_TOKENS, s->n, PAGES_A_ROW, a->model->kv);
  while (prefill_some (a, s, s->few, FALSE, &first))
    ;
  while (prefill_some (a, s, s->many, TRUE, &first))
    ;
  for (guint step = 1; step < N_STEPS; step++)
    decode (a, s, s->few);
  check_pass_free (s->few);
  check_pass_free (s->many);
}

static void
run_alone (Answers *a, guint answer)
{
  Schedule s = {.n = 1, .chunk = MAX_PROMPT, .is_reference = TRUE};

  s.order[0] = answer;
  run_schedule (a, &s);
}

/* Every n-th of the answers, beginning somewhere, forwards or backwards. */
static void
run_together (Answers *a, guint n, guint chunk, guint first, gboolean may_record)
{
  Schedule s = {.n = n, .chunk = chunk, .may_record = may_record};

  for (guint i = 0; i < n; i++)
    s.order[i] = (first + (first % 2 ? N_ANSWERS - 1 : 1) * i) % N_ANSWERS;
  run_schedule (a, &s);
}

static void
check_answers (Check *check, const MiniSize *size)
{
  static const guint counts[] = {1, 2, 3, 8, 33, 33, 8, 2, 1}, chunks[] = {200, 1, 64, 7, 65, 33, 16, 100, 13};
  Answers a = {check};

  /* In f32 the width makes no difference to which kernels run. */
  if (check_is_sparse (check) && check->dtype == MLLAMA_DTYPE_F32 && size->d > 100)
    return;
  a.model = mini_decoder_new (check, size, N_ANSWERS * PAGES_A_ROW);
  create_answers (&a);
  for (guint i = 0; i < N_ANSWERS; i++)
    if (check_wants_case (check, FALSE))
      run_alone (&a, i);
  for (guint i = 0; i < 2 * G_N_ELEMENTS (counts); i++)
    if (check_wants_case (check, i == NEEDED_RUN))
      run_together (&a, counts[i % G_N_ELEMENTS (counts)], chunks[i % G_N_ELEMENTS (chunks)], i * 7,
                    i >= G_N_ELEMENTS (counts));
  clear_answers (&a);
}

static void
check_odd (Check *check)
{
  check_answers (check, &(MiniSize){6, 2, 20, 50, 100, 77});
}

static void
check_wide (Check *check)
{
  check_answers (check, &(MiniSize){8, 2, 64, 512, 1408, 1000});
}

static void
check_widest_heads (Check *check)
{
  check_answers (check, &(MiniSize){8, 1, 128, 256, 704, 260});
}

/* --- pictures --- */

static void
check_pictures_of (Check *check, const MiniTowerSize *size)
{
  static const guint pictures[][3] = {{0}, {1}, {2}, {0, 1}, {1, 0}, {2, 0, 1}, {1, 2, 0}};
  static const guint n_tiles[] = {1, 4, 2}, counts[] = {1, 1, 1, 2, 2, 3, 3};
  MiniTower *m = mini_tower_new (check, size);
  guint n = check_is_sparse (check) ? 4 : G_N_ELEMENTS (counts);
  float *alone[3];

  for (guint i = 0; i < n; i++) {
    guint tiles[3], row = 0;
    float *found;

    for (guint k = 0; k < counts[i]; k++)
      tiles[k] = n_tiles[pictures[i][k]];
    found = mini_tower_run (m, pictures[i], tiles, counts[i]);
    if (i < 3) {
      alone[i] = found;
      continue;
    }
    for (guint k = 0; k < counts[i]; k++) {
      guint n_rows = tiles[k] * m->n_patches + 1;
      check_bits (check, found + (gsize) row * size->n_out, alone[pictures[i][k]], (gsize) n_rows * size->n_out,
                  "%u wide, picture %u as number %u of %u", size->d, pictures[i][k], k, counts[i]);
      row += n_rows;
    }
    g_free (found);
  }
  for (guint i = 0; i < 3; i++)
    g_free (alone[i]);
  mini_tower_free (m);
}

static void
check_pictures (Check *check)
{
  static const MiniTowerSize sizes[] = {{72, 3, 100, 28, 4, 50}, {160, 2, 320, 112, 14, 128}, {64, 1, 256, 126, 9, 65}};

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    if (check_wants_case (check, FALSE))
      check_pictures_of (check, &sizes[i]);
}

const CheckEntry checks_of_invariance[] = {
    {"answers_of_odd_widths", check_odd},
    {"answers_of_wide_rows", check_wide},
    {"answers_of_wide_heads", check_widest_heads},
    {"pictures", check_pictures},
    {NULL, NULL},
};
