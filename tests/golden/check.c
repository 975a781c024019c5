/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "check.h"

#include <math.h>
#include <string.h>

#define MIN_GAP 1e-3 /* ids count up to the first step whose two best scores lie closer */

void
check_values (const char *what, const float *values, const float *expected, gsize n, double tolerance, double weight)
{
  double worst = 0;
  gsize place = 0;

  for (gsize i = 0; i < n; i++) {
    double difference = fabs ((double) values[i] - expected[i]) / (1 + weight * fabs (expected[i]));
    if (difference <= worst)
      continue;
    worst = isnan (difference) ? G_MAXDOUBLE : difference;
    place = i;
  }
  g_test_message ("%s: %" G_GSIZE_FORMAT " values, largest difference %.2e", what, n, worst);
  if (worst <= tolerance)
    return;
  g_test_message ("%s: value %" G_GSIZE_FORMAT " is %g, expected %g", what, place, values[place], expected[place]);
  g_test_fail ();
}

gboolean
are_ids_equal (const guint32 *ids, gsize n_ids, const GArray *expected)
{
  return n_ids == expected->len && (n_ids == 0 || memcmp (ids, expected->data, n_ids * sizeof *ids) == 0);
}

static char *
spell_ids (const guint32 *ids, gsize n_ids)
{
  GString *text = g_string_new (NULL);

  for (gsize i = 0; i < n_ids; i++)
    g_string_append_printf (text, " %u", ids[i]);
  return g_string_free (text, FALSE);
}

void
check_ids (const char *what, const guint32 *ids, gsize n_ids, const GArray *expected)
{
  g_autofree char *found = NULL, *wanted = NULL;

  if (are_ids_equal (ids, n_ids, expected))
    return;
  found = spell_ids (ids, n_ids);
  wanted = spell_ids ((const guint32 *) expected->data, expected->len);
  g_test_message ("%s: ids are%s, expected%s", what, found, wanted);
  g_test_fail ();
}

/* --- a case --- */

static const GoldenTensor *
find_case_tensor (const Run *run, const char *name)
{
  return golden_find_tensor (run->golden, "%s/%s/%s", json_object_get_string_member (run->record, "semantics"),
                             json_object_get_string_member (run->record, "name"), name);
}

static void
check_prompt (Run *run)
{
  g_autoptr (MllamaPrompt) prompt = run_create_prompt (run->golden, run->record);
  g_autoptr (GArray) expected = golden_read_ids (run->record, "ids");
  gsize n_ids;
  const guint32 *ids = mllama_prompt_get_ids (prompt, &n_ids);

  check_ids ("prompt", ids, n_ids, expected);
}

/* Log-probabilities of the probes after the last tokens of the prompt, and of each of its tokens. */
static void
check_logprobs (Run *run, const MllamaForwardResult *result)
{
  g_autoptr (GArray) probe_ids = golden_read_ids (run->golden->record, "probe_ids");
  g_autoptr (GArray) ids = golden_read_ids (run->record, "ids");
  const GoldenTensor *probes = find_case_tensor (run, "probes"), *next = find_case_tensor (run, "next");
  guint first = result->n_tokens - probes->dims[0];
  g_autofree float *found = g_new (float, probes->n_values + next->n_values);
  g_autofree double *row = g_new (double, probe_ids->len);
  g_autoptr (GArray) id = g_array_sized_new (FALSE, FALSE, sizeof (guint32), 1);

  for (guint t = 0; t < probes->dims[0]; t++) {
    run_read_probes (result, first + t, probe_ids, row);
    for (guint i = 0; i < probe_ids->len; i++)
      found[t * probe_ids->len + i] = row[i];
  }
  check_values ("probes", found, probes->values, probes->n_values, TOLERANCE, 0);
  g_array_set_size (id, 1);
  for (guint t = 0; t + 1 < result->n_tokens; t++) {
    g_array_index (id, guint32, 0) = g_array_index (ids, guint32, t + 1);
    run_read_probes (result, t, id, row);
    found[t] = row[0];
  }
  check_values ("tokens of the prompt", found, next->values, next->n_values, TOLERANCE, 0);
}

static void
check_forward (Run *run)
{
  g_autoptr (GArray) labels = golden_read_labels (run->record, "labels");
  const GoldenTensor *hidden = find_case_tensor (run, "hidden"), *last = find_case_tensor (run, "last");
  MllamaForwardSettings settings = {.hidden_states = hidden != NULL,
                                    .labels = labels->len > 0 ? (const gint64 *) labels->data : NULL};
  g_autoptr (MllamaForwardResult) result = run_forward (run, &settings);

  g_assert_cmpuint (result->n_logits, ==, result->n_tokens);
  g_assert_cmpuint (result->vocab_size, ==, last->n_values);
  if (result->vocab_size != last->n_values)
    return;
  check_logprobs (run, result);
  check_values ("logits", result->logits + (gsize) (result->n_tokens - 1) * result->vocab_size, last->values,
                last->n_values, TOLERANCE, 1);
  if (hidden)
    check_values ("last hidden states", result->hidden_states, hidden->values, hidden->n_values, TOLERANCE, 1);
  if (labels->len > 0)
    g_assert_cmpfloat_with_epsilon (result->loss, json_object_get_double_member (run->record, "loss"), TOLERANCE);
  else
    g_assert_true (isnan (result->loss));
}

/* What the token callback has seen. */
typedef struct {
  GString *text;
  GArray *ids;
} Stream;

static void
note_token (MllamaGeneration *generation, const MllamaToken *token, gpointer user_data)
{
  Stream *stream = user_data;

  g_assert_cmpuint (token->index, ==, stream->ids->len);
  g_string_append (stream->text, token->text);
  g_array_append_val (stream->ids, token->id);
}

/* Steps of the recorded answer that rounding cannot turn into others. */
static guint
count_certain_steps (JsonObject *answer)
{
  g_autoptr (GArray) gaps = golden_read_doubles (answer, "gaps");
  guint n = 0;

  while (n < gaps->len && g_array_index (gaps, double, n) >= MIN_GAP)
    n++;
  return n;
}

void
check_answer (JsonObject *answer, const MllamaResult *result)
{
  g_autoptr (GArray) ids = golden_read_ids (answer, "ids"), logprobs = golden_read_doubles (answer, "logprobs");
  guint n_certain = count_certain_steps (answer);

  if (n_certain < ids->len) {
    g_test_message ("a tie at step %u of %u", n_certain, ids->len);
    g_assert_cmpuint (result->n_ids, >=, n_certain);
    g_array_set_size (ids, n_certain);
    check_ids ("answer", result->ids, MIN (n_certain, result->n_ids), ids);
  } else {
    check_ids ("answer", result->ids, result->n_ids, ids);
    g_assert_cmpstr (result->text, ==, json_object_get_string_member (answer, "text"));
    g_assert_cmpstr (mllama_finish_reason_to_string (result->finish_reason), ==,
                     json_object_get_string_member (answer, "finish"));
  }
  for (guint i = 0; i < MIN (n_certain, result->n_ids); i++)
    g_assert_cmpfloat_with_epsilon (result->logprobs[i], g_array_index (logprobs, double, i), TOLERANCE);
}

static void
check_generation (Run *run)
{
  Stream stream = {g_string_new (NULL), g_array_new (FALSE, FALSE, sizeof (guint32))};
  g_autoptr (MllamaGeneration) answer = NULL;
  const MllamaResult *result;

  run->settings.on_token = note_token;
  run->settings.user_data = &stream;
  answer = run_generate (run);
  result = mllama_generation_get_result (answer);
  check_answer (json_object_get_object_member (run->record, "answer"), result);
  check_ids ("callbacks", result->ids, result->n_ids, stream.ids);
  g_assert_cmpstr (stream.text->str, ==, result->text);
  g_string_free (stream.text, TRUE);
  g_array_unref (stream.ids);
}

void
check_case (Golden *golden, JsonObject *record)
{
  g_autoptr (Run) run = run_new (golden, record, NULL);

  check_prompt (run);
  check_forward (run);
  check_generation (run);
}
