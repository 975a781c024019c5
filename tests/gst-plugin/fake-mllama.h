/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A scripted engine behind the public headers of libmllama, for timing and faults. Test programs link it in place of
 * the library. It answers "COLOUR WIDTHxHEIGHT: PROMPT", where the colour is the mean of the picture. */
#pragma once

#include <mllama/mllama.h>

G_BEGIN_DECLS

#define FAKE_NO_ERROR (-1)

/* What it does next; read when an open, load, encode or answer starts. */
typedef struct {
  guint load_ms, encode_ms, token_ms;
  gint open_error, load_error, encode_error, start_error, answer_error; /* MllamaError or FAKE_NO_ERROR */
  guint first_failing_encode, n_failing_encodes; /* count from 1; 0 failing: all from the first on */
  gboolean base_model;                           /* without a chat template */
  gboolean cuda;                                 /* says that it is on a GPU, and takes CUDA memory */
  const char *answer;                            /* in place of the text above; may be broken UTF-8 */
} FakeScript;

/* What it did. */
typedef struct {
  guint n_models;                           /* alive */
  guint n_states, n_generations, n_prompts; /* alive */
  guint n_opens, n_loads, n_encodes, n_answers, n_cancelled, n_tokens, max_running;
  guint n_cuda_images;  /* encodes of pictures in CUDA memory */
  gint64 last_token_us; /* monotonic time of the newest one */
} FakeCounts;

extern FakeScript fake_script;

/* A fresh script, and all sums of the counts zero. */
void fake_reset (void);
FakeCounts fake_get_counts (void);

G_END_DECLS
