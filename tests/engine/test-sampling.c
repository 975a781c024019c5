/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sampling.h"

#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

#define MAX_LOGITS 64

/* --- against transformers --- */

typedef struct {
  const char *name;
  gsize n_logits;
  float logits[MAX_LOGITS];
  double probabilities[MAX_LOGITS], logprobs[MAX_LOGITS];
  guint32 history[MAX_LOGITS / 32];
  MllamaSampling sampling;
} Golden;

static void
read_golden (Golden *golden, JsonObject *object)
{
  JsonArray *logits = json_object_get_array_member (object, "logits");
  JsonArray *probabilities = json_object_get_array_member (object, "probabilities");
  JsonArray *logprobs = json_object_get_array_member (object, "logprobs");
  JsonArray *history = json_object_get_array_member (object, "history");

  *golden =
      (Golden){.name = json_object_get_string_member (object, "name"), .n_logits = json_array_get_length (logits)};
  for (guint i = 0; i < golden->n_logits; i++) {
    golden->logits[i] = g_ascii_strtod (json_array_get_string_element (logits, i), NULL);
    golden->probabilities[i] = json_array_get_double_element (probabilities, i);
    golden->logprobs[i] = json_array_get_double_element (logprobs, i);
  }
  for (guint i = 0; i < json_array_get_length (history); i++)
    mllama_history_add (golden->history, golden->n_logits, json_array_get_int_element (history, i));
  golden->sampling = (MllamaSampling){.temperature = json_object_get_double_member (object, "temperature"),
                                      .top_k = json_object_get_int_member (object, "top_k"),
                                      .top_p = json_object_get_double_member (object, "top_p"),
                                      .repetition_penalty = json_object_get_double_member (object, "penalty")};
}

/* Draws so often that each id's share is known to 4 standard deviations; what transformers drops never comes. */
static void
check_golden (const Golden *golden)
{
  enum {
    N_DRAWS = 40000
  };
  MllamaSampler *sampler = mllama_sampler_new (golden->n_logits);
  guint counts[MAX_LOGITS] = {0};
  MllamaSampling sampling = golden->sampling;

  sampling.seed = 99;
  for (guint i = 0; i < N_DRAWS; i++) {
    MllamaSample sample;

    sampling.position = i;
    sample = mllama_sampler_draw (sampler, golden->logits, &sampling, golden->history);
    g_assert_true (sample.finite);
    g_assert_cmpuint (sample.id, <, golden->n_logits);
    g_assert_cmpfloat_with_epsilon (sample.logprob, golden->logprobs[sample.id], 1e-9);
    counts[sample.id]++;
  }
  for (guint i = 0; i < golden->n_logits; i++) {
    double p = golden->probabilities[i], deviation = sqrt (p * (1 - p) / N_DRAWS);

    g_test_message ("%s: id %u comes %u times, its share is %g", golden->name, i, counts[i], p);
    if (p == 0)
      g_assert_cmpuint (counts[i], ==, 0);
    else
      g_assert_cmpfloat (fabs (counts[i] / (double) N_DRAWS - p), <=, 4.5 * deviation + 1. / N_DRAWS);
  }
  mllama_sampler_free (sampler);
}

static void
test_shares_are_those_of_transformers (void)
{
  g_autofree char *path =
      g_build_filename (g_getenv ("MLLAMA_TEST_SOURCE_DIR"), "engine", "sampling", "goldens.json", NULL);
  g_autoptr (JsonParser) parser = json_parser_new ();
  GError *error = NULL;
  JsonArray *cases;

  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  cases = json_node_get_array (json_parser_get_root (parser));
  g_assert_cmpuint (json_array_get_length (cases), >, 15);
  for (guint i = 0; i < json_array_get_length (cases); i++) {
    Golden golden;

    read_golden (&golden, json_array_get_object_element (cases, i));
    check_golden (&golden);
  }
}

/* --- single rules --- */

static MllamaSample
draw_after (const float *logits, gsize n, const MllamaSampling *sampling, const guint32 *ids, gsize n_ids)
{
  MllamaSampler *sampler = mllama_sampler_new (n);
  g_autofree guint32 *history = g_new0 (guint32, mllama_history_get_words (n));
  MllamaSample sample;

  for (gsize i = 0; i < n_ids; i++)
    mllama_history_add (history, n, ids[i]);
  sample = mllama_sampler_draw (sampler, logits, sampling, history);
  mllama_sampler_free (sampler);
  return sample;
}

static MllamaSample
draw (const float *logits, gsize n, const MllamaSampling *sampling)
{
  return draw_after (logits, n, sampling, NULL, 0);
}

static void
test_greedy_takes_the_first_of_the_largest (void)
{
  MllamaSampling sampling = {.top_p = 1, .repetition_penalty = 1};
  float logits[] = {1, 7, -2, 7, 7}, zeros[] = {-1, -0.0f, 0.0f};

  g_assert_cmpuint (draw (logits, 5, &sampling).id, ==, 1);
  g_assert_cmpuint (draw (zeros, 3, &sampling).id, ==, 1);
  g_assert_cmpuint (draw (logits, 1, &sampling).id, ==, 0);
  /* Neither seed nor filters matter. */
  sampling.seed = 5;
  sampling.top_k = 3;
  sampling.top_p = 0.1;
  g_assert_cmpuint (draw (logits, 5, &sampling).id, ==, 1);
}

static void
test_logprob_is_of_the_raw_logits (void)
{
  float logits[] = {2, 3, -1};
  const guint32 history[] = {1};
  MllamaSampling sampling = {.temperature = 0.3, .top_k = 1, .top_p = 1, .repetition_penalty = 9};
  MllamaSample sample = draw_after (logits, 3, &sampling, history, 1);
  double sum = exp (2) + exp (3) + exp (-1);

  g_assert_cmpuint (sample.id, ==, 0); /* 3 / 9 < 2 */
  g_assert_cmpfloat_with_epsilon (sample.logprob, 2 - log (sum), 1e-12);
  g_assert_cmpfloat_with_epsilon (mllama_log_softmax_at (logits, 3, 2), -1 - log (sum), 1e-12);
  g_assert_cmpfloat (logits[1], ==, 3); /* left as it is */
}

static void
test_penalty_lowers_positive_and_negative_logits_once (void)
{
  float positive[] = {4, 3.5f}, negative[] = {-2, -2.5f};
  const guint32 history[] = {0, 0, 0}, outside[] = {0, 2, 128256, G_MAXUINT32};
  MllamaSampling sampling = {.top_p = 1, .repetition_penalty = 1.1};

  g_assert_cmpuint (draw_after (positive, 2, &sampling, history, 3).id, ==,
                    0); /* 4 / 1.1 > 3.5; punished twice it would lose */
  sampling.repetition_penalty = 1.2;
  g_assert_cmpuint (draw_after (positive, 2, &sampling, history, 3).id, ==, 1);
  g_assert_cmpuint (draw_after (negative, 2, &sampling, history, 3).id, ==, 0); /* -2.4 > -2.5 */
  sampling.repetition_penalty = 1.3;
  g_assert_cmpuint (draw_after (negative, 2, &sampling, history, 3).id, ==, 1);
  /* Ids without a logit, such as the image token, are passed over. */
  g_assert_cmpuint (draw_after (negative, 2, &sampling, outside, G_N_ELEMENTS (outside)).id, ==, 1);
}

static void
test_damage_is_reported_and_impossible_tokens_are_not (void)
{
  const float damaged[][3] = {{1, NAN, 0}, {1, 2, INFINITY}, {-INFINITY, -INFINITY, -INFINITY}, {NAN, NAN, NAN}};
  const float fine[] = {-INFINITY, 0.5f, -INFINITY};

  for (guint greedy = 0; greedy < 2; greedy++) {
    MllamaSampling sampling = {.temperature = greedy ? 0 : 0.8, .top_k = 2, .top_p = 0.9, .repetition_penalty = 1.1};

    for (guint i = 0; i < G_N_ELEMENTS (damaged); i++) {
      g_assert_false (draw (damaged[i], 3, &sampling).finite);
      g_assert_true (isnan (mllama_log_softmax_at (damaged[i], 3, 0)));
    }
    g_assert_true (draw (fine, 3, &sampling).finite);
    g_assert_cmpuint (draw (fine, 3, &sampling).id, ==, 1);
    g_assert_cmpfloat (draw (fine, 3, &sampling).logprob, ==, 0);
  }
}

static void
test_extreme_settings_stay_in_the_row (void)
{
  const float logits[] = {3e38f, -3e38f, 1, 2.9e38f};
  const double temperatures[] = {1e-300, 1e-30, 1e30, 1e300};

  for (guint i = 0; i < G_N_ELEMENTS (temperatures); i++)
    for (guint position = 0; position < 50; position++) {
      MllamaSampling sampling = {
          .temperature = temperatures[i], .top_p = 0.5 * (position % 3), .repetition_penalty = 1, .position = position};
      MllamaSample sample = draw (logits, 4, &sampling);

      g_assert_true (sample.finite);
      g_assert_cmpuint (sample.id, <, 4);
      if (temperatures[i] < 1)
        g_assert_cmpuint (sample.id, ==, 0);
      else if (sampling.top_p == 0) /* one is kept, the largest or, at this heat, one that equals it */
        g_assert_cmpuint (sample.id, ==, 0);
    }
}

/* --- noise --- */

static void
test_draws_depend_on_seed_and_position_alone (void)
{
  enum {
    N = 200,
    Z = 50
  };
  float logits[Z], others[Z];
  MllamaSampler *sampler = mllama_sampler_new (Z);
  MllamaSampling sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 12};
  guint32 first[N];
  guint n_equal_seed = 0, n_equal_position = 0;

  for (guint i = 0; i < Z; i++) {
    logits[i] = 0;
    others[i] = i;
  }
  for (guint i = 0; i < N; i++) {
    sampling.position = i;
    first[i] = mllama_sampler_draw (sampler, logits, &sampling, NULL).id;
  }
  for (guint i = N; i-- > 0;) {
    sampling.position = i;
    mllama_sampler_draw (sampler, others, &sampling, NULL);
    g_assert_cmpuint (mllama_sampler_draw (sampler, logits, &sampling, NULL).id, ==, first[i]);
    g_assert_cmpuint (draw (logits, Z, &sampling).id, ==, first[i]);
    sampling.seed = 13;
    n_equal_seed += mllama_sampler_draw (sampler, logits, &sampling, NULL).id == first[i];
    sampling.seed = 12;
    n_equal_position += i > 0 && first[i] == first[i - 1];
  }
  /* By chance one in fifty. */
  g_assert_cmpuint (n_equal_seed, <, 16);
  g_assert_cmpuint (n_equal_position, <, 16);
  mllama_sampler_free (sampler);
}

/* Neighbouring seeds and positions, where a weak mixer shows: chi-squared over 32 equal ids, and over pairs. */
static void
test_noise_is_even_and_independent (void)
{
  enum {
    Z = 32,
    N = 32000
  };
  const float logits[Z] = {0};
  MllamaSampler *sampler = mllama_sampler_new (Z);

  for (guint by_seed = 0; by_seed < 2; by_seed++) {
    guint counts[Z] = {0}, pairs[Z] = {0}, last = 0;
    double chi = 0, chi_pairs = 0;

    for (guint i = 0; i < N; i++) {
      MllamaSampling sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1};
      guint id;

      sampling.seed = by_seed ? i : 1;
      sampling.position = by_seed ? 1 : i;
      id = mllama_sampler_draw (sampler, logits, &sampling, NULL).id;
      counts[id]++;
      pairs[(id - last) % Z]++;
      last = id;
    }
    for (guint i = 0; i < Z; i++) {
      chi += pow (counts[i] - (double) N / Z, 2) / ((double) N / Z);
      chi_pairs += pow (pairs[i] - (double) N / Z, 2) / ((double) N / Z);
    }
    /* 31 degrees of freedom: 61.1 is passed once in a thousand; far less than 10 would be too even. */
    g_assert_cmpfloat (chi, <, 61.1);
    g_assert_cmpfloat (chi_pairs, <, 61.1);
    g_assert_cmpfloat (chi, >, 10);
  }
  mllama_sampler_free (sampler);
}

static void
test_a_large_row_keeps_what_sorting_would_keep (void)
{
  enum {
    Z = 20000,
    K = 300
  };
  g_autoptr (GRand) rand = g_rand_new_with_seed (3);
  g_autofree float *logits = g_new (float, Z);
  MllamaSampler *sampler = mllama_sampler_new (Z);
  guint n_larger;

  for (guint i = 0; i < Z; i++)
    logits[i] = g_rand_double_range (rand, -1, 1);
  for (guint i = 0; i < 300; i++) {
    MllamaSampling sampling = {.temperature = 1, .top_k = K, .top_p = 1, .repetition_penalty = 1, .position = i};
    MllamaSample sample = mllama_sampler_draw (sampler, logits, &sampling, NULL);

    n_larger = 0;
    for (guint k = 0; k < Z; k++)
      n_larger += logits[k] > logits[sample.id];
    g_assert_cmpuint (n_larger, <, K);
  }
  mllama_sampler_free (sampler);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/sampling/shares_are_those_of_transformers", test_shares_are_those_of_transformers);
  g_test_add_func ("/sampling/greedy_takes_the_first_of_the_largest", test_greedy_takes_the_first_of_the_largest);
  g_test_add_func ("/sampling/logprob_is_of_the_raw_logits", test_logprob_is_of_the_raw_logits);
  g_test_add_func ("/sampling/penalty_lowers_positive_and_negative_logits_once",
                   test_penalty_lowers_positive_and_negative_logits_once);
  g_test_add_func ("/sampling/damage_is_reported_and_impossible_tokens_are_not",
                   test_damage_is_reported_and_impossible_tokens_are_not);
  g_test_add_func ("/sampling/extreme_settings_stay_in_the_row", test_extreme_settings_stay_in_the_row);
  g_test_add_func ("/sampling/draws_depend_on_seed_and_position_alone", test_draws_depend_on_seed_and_position_alone);
  g_test_add_func ("/sampling/noise_is_even_and_independent", test_noise_is_even_and_independent);
  g_test_add_func ("/sampling/a_large_row_keeps_what_sorting_would_keep",
                   test_a_large_row_keeps_what_sorting_would_keep);
  return g_test_run ();
}
