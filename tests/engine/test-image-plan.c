/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which tiles a picture fills. */
#include "test-image-data.h"

static MllamaAspectRatio ratios[MLLAMA_MAX_ASPECT_RATIOS];

static void
check_plan (char **fields)
{
  guint n_ratios = fill_ratios (ratios, read_uint (fields[1]));
  MllamaTilePlan plan;
  g_autoptr (GError) error = NULL;

  mllama_tile_plan_init (&plan, ratios, n_ratios, read_uint (fields[1]), read_uint (fields[0]), read_uint (fields[2]),
                         read_uint (fields[3]), &error);
  g_assert_no_error (error);
  g_assert_cmpuint (plan.aspect_ratio_id, ==, read_uint (fields[4]));
  g_assert_cmpuint (plan.n_rows, ==, read_uint (fields[5]));
  g_assert_cmpuint (plan.n_columns, ==, read_uint (fields[6]));
  g_assert_cmpuint (plan.resized_width, ==, read_uint (fields[7]));
  g_assert_cmpuint (plan.resized_height, ==, read_uint (fields[8]));
}

static void
chooses_what_transformers_chooses (void)
{
  check_goldens ("plans.txt", 9, check_plan);
}

static MllamaTilePlan
make_plan (guint n_ratios, guint max_tiles, guint size, guint width, guint height)
{
  MllamaTilePlan plan;
  g_autoptr (GError) error = NULL;

  mllama_tile_plan_init (&plan, ratios, n_ratios, max_tiles, size, width, height, &error);
  g_assert_no_error (error);
  return plan;
}

/* Spec 3.9: height, width, then rows, columns, resized height and width for 448 and for 560. */
static const guint16 spec_table[][10] = {
    {300, 800, 1, 2, 300, 800, 1, 2, 300, 800},    {480, 640, 2, 2, 480, 640, 1, 2, 480, 640},
    {720, 1280, 2, 2, 503, 896, 2, 2, 630, 1120},  {1080, 1920, 2, 2, 504, 896, 2, 2, 630, 1120},
    {3024, 4032, 2, 2, 672, 896, 2, 2, 840, 1120}, {200, 2000, 1, 4, 179, 1792, 1, 4, 200, 2000},
    {1700, 500, 4, 1, 1523, 448, 4, 1, 1700, 500}, {1, 10000, 1, 4, 1, 1792, 1, 4, 1, 2240},
    {223, 226, 1, 1, 442, 448, 1, 1, 552, 560},    {561, 300, 2, 1, 561, 300, 2, 1, 561, 300},
    {1, 1, 1, 1, 448, 448, 1, 1, 560, 560},
};

static void
follows_the_table_of_the_spec (void)
{
  guint n_ratios = fill_ratios (ratios, 4);

  for (guint i = 0; i < G_N_ELEMENTS (spec_table); i++)
    for (guint k = 0; k < 2; k++) {
      const guint16 *row = spec_table[i], *expected = row + 2 + 4 * k;
      MllamaTilePlan plan = make_plan (n_ratios, 4, k == 0 ? 448 : 560, row[1], row[0]);

      g_assert_cmpuint (plan.n_rows, ==, expected[0]);
      g_assert_cmpuint (plan.n_columns, ==, expected[1]);
      g_assert_cmpuint (plan.resized_height, ==, expected[2]);
      g_assert_cmpuint (plan.resized_width, ==, expected[3]);
    }
}

static void
gives_the_ids_of_the_upstream_test (void)
{
  static const guint8 cases[][3] = {{80, 95, 6}, {101, 50, 3}, {20, 39, 1}, {51, 20, 2}, {150, 150, 6}, {23, 49, 1}};
  guint n_ratios = fill_ratios (ratios, 4);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    g_assert_cmpuint (make_plan (n_ratios, 4, 50, cases[i][0], cases[i][1]).aspect_ratio_id, ==, cases[i][2]);
}

/* With fewer tiles an arrangement keeps its id, the one that the model's tables know. */
static void
keeps_the_ids_of_the_list_with_fewer_tiles (void)
{
  guint n_ratios = fill_ratios (ratios, 4);

  g_assert_cmpuint (make_plan (n_ratios, 2, 50, 40, 200).aspect_ratio_id, ==, 5); /* (2, 1) */
  g_assert_cmpuint (make_plan (n_ratios, 2, 50, 200, 40).aspect_ratio_id, ==, 2); /* (1, 2) */
  g_assert_cmpuint (make_plan (n_ratios, 1, 50, 200, 40).aspect_ratio_id, ==, 1);
}

static void
takes_lists_in_any_order (void)
{
  const MllamaAspectRatio list[] = {{2, 2}, {1, 2}, {1, 1}};
  MllamaTilePlan plan;

  g_assert_true (mllama_tile_plan_init (&plan, list, 3, 4, 50, 101, 20, NULL));
  g_assert_cmpuint (plan.aspect_ratio_id, ==, 2);
  g_assert_true (mllama_tile_plan_init (&plan, list, 3, 4, 50, 20, 20, NULL));
  g_assert_cmpuint (plan.aspect_ratio_id, ==, 3);
}

/* A picture twice as wide as high, halved: (1, 2) and (2, 2) have the same scale. */
static void
prefers_the_smaller_area_then_the_first_among_equals (void)
{
  const MllamaAspectRatio list[] = {{2, 2}, {1, 2}, {1, 1}, {1, 2}};
  MllamaTilePlan plan;

  g_assert_true (mllama_tile_plan_init (&plan, list, 4, 4, 50, 200, 100, NULL));
  g_assert_cmpuint (plan.aspect_ratio_id, ==, 2);
}

static void
rejects_what_cannot_be_planned (void)
{
  guint n_ratios = fill_ratios (ratios, 4);
  const MllamaAspectRatio large[] = {{2, 2}, {0, 1}};
  MllamaTilePlan plan;
  g_autoptr (GError) error = NULL;

  g_assert_false (mllama_tile_plan_init (&plan, ratios, n_ratios, 4, 560, 0, 10, &error));
  assert_error (error, MLLAMA_ERROR_INVALID, "0 x 10");
  g_clear_error (&error);
  g_assert_false (mllama_tile_plan_init (&plan, ratios, n_ratios, 4, 560, 10, 65536, &error));
  assert_error (error, MLLAMA_ERROR_INVALID, "1 to 65535");
  g_clear_error (&error);
  g_assert_false (mllama_tile_plan_init (&plan, ratios, n_ratios, 4, 0, 10, 10, &error));
  assert_error (error, MLLAMA_ERROR_INVALID, "side of a tile is 0");
  g_clear_error (&error);
  g_assert_false (mllama_tile_plan_init (&plan, large, 2, 3, 560, 10, 10, &error));
  assert_error (error, MLLAMA_ERROR_INVALID, "at most 3");
  g_clear_error (&error);
  g_assert_false (mllama_tile_plan_init (&plan, NULL, 0, 4, 560, 10, 10, &error));
  assert_error (error, MLLAMA_ERROR_INVALID, "0 tile arrangements");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/tile-plan/chooses_what_transformers_chooses", chooses_what_transformers_chooses);
  g_test_add_func ("/tile-plan/follows_the_table_of_the_spec", follows_the_table_of_the_spec);
  g_test_add_func ("/tile-plan/gives_the_ids_of_the_upstream_test", gives_the_ids_of_the_upstream_test);
  g_test_add_func ("/tile-plan/keeps_the_ids_of_the_list_with_fewer_tiles", keeps_the_ids_of_the_list_with_fewer_tiles);
  g_test_add_func ("/tile-plan/takes_lists_in_any_order", takes_lists_in_any_order);
  g_test_add_func ("/tile-plan/prefers_the_smaller_area_then_the_first_among_equals",
                   prefers_the_smaller_area_then_the_first_among_equals);
  g_test_add_func ("/tile-plan/rejects_what_cannot_be_planned", rejects_what_cannot_be_planned);
  return g_test_run ();
}
