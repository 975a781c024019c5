/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of mllama-bench share. Functions that can fail return FALSE or NULL, and set an error. */
#pragma once

#include <json-glib/json-glib.h>
#include <mllama/mllama.h>

G_BEGIN_DECLS

#define BENCH_MAX_ROWS 32

typedef struct {
  char *model, *device, *dtype, *semantics;
  gint n_runs, n_loads;
  gboolean as_json;
} BenchOptions;

typedef struct {
  MllamaModel *model;
  MllamaSemantics semantics;
  GRand *random;
  guint n_runs;
  gboolean as_json;
  JsonBuilder *figures, *checks; /* an open object, an open array */
  guint n_failed;                /* checks */
} Bench;

/* --- mllama-bench-report.c --- */

void bench_report_init (Bench *bench);
/* A figure: median and spread of the values, which are sorted. */
void bench_report (Bench *bench, const char *name, const char *unit, double *values, guint n_values);
/* Whether what was timed was right. */
void bench_check (Bench *bench, const char *name, gboolean is_ok);
/* Prints what --json asks for, and frees it. */
void bench_report_finish (Bench *bench, gboolean is_done);

/* --- mllama-bench-subject.c: pictures and prompts, none like another --- */

/* Noise on slopes and waves; free the planes[0]. NULL if the model takes no pictures. */
guint8 *bench_make_picture (Bench *bench, const MllamaAspectRatio *ratio, MllamaImage *image);
/* A prompt of n_tokens random ids behind one image mark, or without one. */
MllamaPrompt *bench_make_prompt (Bench *bench, guint n_tokens, gboolean has_image, GError **error);
MllamaStates *bench_encode (Bench *bench, const MllamaImage *image, GError **error);
MllamaStates *bench_encode_new_picture (Bench *bench, const MllamaAspectRatio *ratio, GError **error);
/* The first arrangement of so many tiles, or NULL. */
const MllamaAspectRatio *bench_find_ratio (Bench *bench, guint n_tiles);
/* Of the most tiles, or NULL. */
const MllamaAspectRatio *bench_find_largest_ratio (Bench *bench);

/* --- mllama-bench-answer.c --- */

/* An answer and when its tokens came, by the callback. */
typedef struct {
  MllamaPrompt *prompt;
  MllamaStates *states; /* or NULL */
  guint n_new;
  MllamaGeneration *generation;
  GArray *ids;   /* guint32 */
  GArray *times; /* gint64, microseconds */
} Answer;

/* Takes prompt, and a reference to states. NULL prompt: NULL, for the error is set. */
Answer *answer_new (MllamaPrompt *prompt, MllamaStates *states, guint n_new);
void answer_free (Answer *answer);
gboolean answer_start (Answer *answer, Bench *bench, GError **error);
/* FALSE also if callbacks and result differ. */
gboolean answer_wait (Answer *answer, GError **error);
gboolean answer_run (Answer *answer, Bench *bench, GError **error);
gint64 answer_get_first_us (const Answer *answer);
gint64 answer_get_last_us (const Answer *answer);
/* Runs the same prompt again, alone: *is_same says whether ids and bits of log-probabilities are. */
gboolean answer_compare_alone (Answer *answer, Bench *bench, gboolean *is_same, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Answer, answer_free)

/* --- mllama-bench-load.c, mllama-bench-measure.c --- */

gboolean bench_load (Bench *bench, const BenchOptions *options, GError **error);
gboolean bench_measure (Bench *bench, GError **error);

G_END_DECLS
