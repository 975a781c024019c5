/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Compares what the engine gives with what is recorded. A difference fails the test, which goes on. */
#pragma once

#include "run.h"

G_BEGIN_DECLS

#define TOLERANCE 2e-4 /* of log-probabilities */

/* Fails the test unless every value is within tolerance * (1 + weight * |expected|) of the expected one. */
void check_values (const char *what, const float *values, const float *expected, gsize n, double tolerance,
                   double weight);
/* Fails the test unless the lists are the same. */
void check_ids (const char *what, const guint32 *ids, gsize n_ids, const GArray *expected);
gboolean are_ids_equal (const guint32 *ids, gsize n_ids, const GArray *expected);

/* The answer's ids, text, log-probabilities and finish reason, as far as no tie leaves them open. */
void check_answer (JsonObject *answer, const MllamaResult *result);
/* Prompt, forward pass and answer of a case. */
void check_case (Golden *golden, JsonObject *record);

G_END_DECLS
