/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-invariance MODEL DEVICE DTYPE: an answer has the same ids, and the same bits of log-probabilities, alone and in
 * any company. */
#include <string.h>

#include "subject.h"

#define N_SUBJECTS 33

typedef struct {
  Subject *subjects[N_SUBJECTS];
  MllamaGeneration *alone[N_SUBJECTS];
} Fixture;

static gboolean
is_same (const MllamaResult *a, const MllamaResult *b)
{
  return a->finish_reason == b->finish_reason && a->n_ids == b->n_ids && a->n_ids > 0 &&
         memcmp (a->ids, b->ids, a->n_ids * sizeof *a->ids) == 0 &&
         memcmp (a->logprobs, b->logprobs, a->n_ids * sizeof *a->logprobs) == 0;
}

/* Starts the subjects in that order, pause_us apart, and compares each with what it was alone. */
static void
check_company (Fixture *fixture, const char *name, const guint *order, guint n, guint pause_us)
{
  MllamaGeneration *answers[N_SUBJECTS];
  guint n_different = 0;

  for (guint i = 0; i < n; i++) {
    answers[i] = subject_start (fixture->subjects[order[i]]);
    if (pause_us > 0)
      g_usleep (pause_us);
  }
  for (guint i = 0; i < n; i++) {
    const MllamaResult *alone = mllama_generation_get_result (fixture->alone[order[i]]);
    const MllamaResult *result = mllama_generation_wait (answers[i]);
    if (!is_same (result, alone)) {
      g_print ("# subject %u is another one: %s, %u of %u ids, first %u and %u\n", order[i],
               result->error ? result->error->message : "", result->n_ids, alone->n_ids,
               result->n_ids > 0 ? result->ids[0] : 0, alone->n_ids > 0 ? alone->ids[0] : 0);
      n_different++;
    }
    mllama_generation_unref (answers[i]);
  }
  subject_report (n_different == 0, "%s", name);
}

static gpointer
encode (gpointer data)
{
  subject_encode (data);
  return NULL;
}

/* All pictures at once, so that some go through the tower together. */
static void
encode_together (Fixture *fixture)
{
  GThread *threads[N_SUBJECTS];

  for (guint i = 0; i < N_SUBJECTS; i++)
    threads[i] = g_thread_new ("encode", encode, fixture->subjects[i]);
  for (guint i = 0; i < N_SUBJECTS; i++)
    g_thread_join (threads[i]);
}

static void
check_all (Fixture *fixture)
{
  guint forwards[N_SUBJECTS], backwards[N_SUBJECTS];

  for (guint i = 0; i < N_SUBJECTS; i++) {
    forwards[i] = i;
    backwards[i] = N_SUBJECTS - 1 - i;
  }
  for (guint i = 0; i < N_SUBJECTS; i += 8)
    check_company (fixture, "alone_again", forwards + i, 1, 0);
  for (guint i = 0; i + 3 <= N_SUBJECTS; i += 3)
    check_company (fixture, "among_2_others", forwards + i, 3, 0);
  for (guint i = 0; i + 8 <= N_SUBJECTS; i += 8)
    check_company (fixture, "among_7_others", forwards + i, 8, 0);
  check_company (fixture, "among_32_others", forwards, N_SUBJECTS, 0);
  check_company (fixture, "among_32_others_the_other_way_round", backwards, N_SUBJECTS, 0);
  check_company (fixture, "among_others_that_come_and_go", forwards, N_SUBJECTS, 3000);
  encode_together (fixture);
  check_company (fixture, "of_pictures_encoded_together", forwards, N_SUBJECTS, 0);
}

int
main (int argc, char **argv)
{
  g_autoptr (MllamaModel) model = NULL;
  Fixture fixture;

  if (argc != 4) {
    g_printerr ("test-invariance MODEL DEVICE DTYPE\n");
    return 2;
  }
  model = subject_open_model (argv[1], argv[2], argv[3]);
  for (guint i = 0; i < N_SUBJECTS; i++) {
    fixture.subjects[i] = subject_new (model, i);
    subject_encode (fixture.subjects[i]);
    fixture.alone[i] = subject_start (fixture.subjects[i]);
    mllama_generation_wait (fixture.alone[i]);
  }
  check_all (&fixture);
  for (guint i = 0; i < N_SUBJECTS; i++) {
    mllama_generation_unref (fixture.alone[i]);
    subject_free (fixture.subjects[i]);
  }
  return subject_finish ();
}
