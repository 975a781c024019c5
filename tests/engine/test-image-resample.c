/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pillow's resampling. */
#include "resample.h"
#include "test-image-data.h"

static void
check_order (char **fields, MllamaPassOrder order, const char *crc)
{
  guint width = read_uint (fields[1]), height = read_uint (fields[2]);
  guint new_width = read_uint (fields[3]), new_height = read_uint (fields[4]);
  MllamaResample resample = read_uint (fields[0]);
  g_autofree guint8 *rgb = make_noise (3 * (gsize) width * height, resample), *resized = NULL;
  g_autoptr (GError) error = NULL;

  resized = mllama_resize_rgb (rgb, width, height, new_width, new_height, resample, order, &error);
  g_assert_no_error (error);
  g_assert_cmphex (update_crc (0, resized, 3 * (gsize) new_width * new_height), ==, read_crc (crc));
}

static void
check_resize (char **fields)
{
  check_order (fields, MLLAMA_PASS_ORDER_PILLOW_13, fields[5]);
  check_order (fields, MLLAMA_PASS_ORDER_HORIZONTAL_FIRST, fields[6]);
}

static void
resizes_like_pillow_with_every_filter (void)
{
  check_goldens ("resizes.txt", 7, check_resize);
}

static void
enlarges_the_example_of_the_spec (void)
{
  const guint8 rgb[] = {0, 0, 0, 255, 255, 255};
  g_autofree guint8 *wide = mllama_resize_rgb (rgb, 2, 1, 4, 1, MLLAMA_RESAMPLE_BILINEAR, 0, NULL);

  g_assert_cmpuint (wide[0], ==, 0);
  g_assert_cmpuint (wide[3], ==, 64);
  g_assert_cmpuint (wide[6], ==, 191);
  g_assert_cmpuint (wide[9], ==, 255);
}

static void
keeps_a_picture_of_the_same_size (void)
{
  g_autofree guint8 *rgb = make_noise (3 * 37 * 23, 1);

  for (guint resample = 0; resample <= MLLAMA_RESAMPLE_HAMMING; resample++) {
    g_autofree guint8 *same = mllama_resize_rgb (rgb, 37, 23, 37, 23, resample, 0, NULL);

    g_assert_cmpmem (rgb, 3 * 37 * 23, same, 3 * 37 * 23);
  }
}

/* All weights of an axis add up to 1 but for rounding, and stay inside the picture. */
static void
check_axis (MllamaResample resample, guint n_in, guint n_out)
{
  MllamaResampleAxis axis;

  mllama_resample_axis_init (&axis, resample, n_in, n_out);
  for (guint i = 0; i < n_out; i++) {
    gint64 sum = 0;

    g_assert_cmpuint (axis.counts[i], >=, 1);
    g_assert_cmpuint (axis.counts[i], <=, axis.n_taps);
    g_assert_cmpuint (axis.starts[i] + axis.counts[i], <=, n_in);
    if (i > 0)
      g_assert_cmpuint (axis.starts[i], >=, axis.starts[i - 1]);
    for (guint k = 0; k < axis.counts[i]; k++)
      sum += axis.weights[(gsize) i * axis.n_taps + k];
    g_assert_cmpint (ABS (sum - (1 << MLLAMA_RESAMPLE_BITS)), <=, axis.counts[i]);
  }
  mllama_resample_axis_clear (&axis);
}

static void
weights_add_up_to_one (void)
{
  static const guint sides[] = {1, 2, 3, 7, 100, 1120, 1121, 65534, MLLAMA_MAX_IMAGE_SIDE};

  for (guint resample = 0; resample <= MLLAMA_RESAMPLE_HAMMING; resample++)
    for (guint i = 0; i < G_N_ELEMENTS (sides); i++)
      for (guint j = 0; j < G_N_ELEMENTS (sides); j++)
        check_axis (resample, sides[i], sides[j]);
}

/* The plain C loops are the specification of the others. */
static void
check_ops (const MllamaResampleOps *ops, const MllamaResampleOps *plain, MllamaResample resample, guint n_in,
           guint n_out)
{
  gsize in_bytes = 3 * (gsize) n_in, out_bytes = 3 * (gsize) n_out, pitch = 3 * MLLAMA_RESAMPLE_BLOCK;
  g_autofree guint8 *in = make_noise (in_bytes + MLLAMA_RESAMPLE_SLACK, n_in), *ring = make_noise (n_in * pitch, n_out);
  g_autofree guint8 *out = g_malloc (out_bytes + MLLAMA_RESAMPLE_SLACK);
  g_autofree guint8 *expected = g_malloc (out_bytes + MLLAMA_RESAMPLE_SLACK);
  MllamaResampleAxis axis;

  for (gsize i = 0; i < in_bytes; i += 5) /* extremes, so that negative weights leave the range of a byte */
    in[i] = ring[i % (n_in * pitch)] = i & 1 ? 255 : 0;
  mllama_resample_axis_init (&axis, resample, n_in, n_out);
  ops->across (out, in, &axis);
  plain->across (expected, in, &axis);
  g_assert_cmpmem (out, out_bytes, expected, out_bytes);
  for (guint i = 0; i < n_out; i++) {
    guint8 down[3 * MLLAMA_RESAMPLE_BLOCK], expected_down[3 * MLLAMA_RESAMPLE_BLOCK];

    ops->down (down, ring, pitch, n_in, (axis.starts[i] + n_in / 2) % n_in, axis.weights + (gsize) i * axis.n_taps,
               axis.counts[i]);
    plain->down (expected_down, ring, pitch, n_in, (axis.starts[i] + n_in / 2) % n_in,
                 axis.weights + (gsize) i * axis.n_taps, axis.counts[i]);
    g_assert_cmpmem (down, pitch, expected_down, pitch);
  }
  mllama_resample_axis_clear (&axis);
}

static void
every_implementation_gives_the_same_bytes (void)
{
  static const guint sides[] = {1, 2, 3, 8, 33, 100, 257};
  const MllamaResampleOps *const *list = mllama_resample_ops_list (), *plain = NULL;

  for (guint i = 0; list[i]; i++)
    plain = list[i];
  g_assert_cmpstr (plain->name, ==, "c");
  for (; *list != plain; list++)
    for (guint resample = 0; resample <= MLLAMA_RESAMPLE_HAMMING; resample++)
      for (guint i = 0; i < G_N_ELEMENTS (sides); i++)
        for (guint j = 0; j < G_N_ELEMENTS (sides); j++)
          check_ops (*list, plain, resample, sides[i], sides[j]);
}

static void
rejects_sizes_and_filters_that_do_not_exist (void)
{
  const guint8 rgb[12] = {0};
  g_autoptr (GError) error = NULL;

  g_assert_null (mllama_resize_rgb (rgb, 2, 2, 0, 2, MLLAMA_RESAMPLE_BOX, 0, &error));
  assert_error (error, MLLAMA_ERROR_INVALID, "0 x 2");
  g_clear_error (&error);
  g_assert_null (mllama_resize_rgb (rgb, 2, 2, 2, 65536, MLLAMA_RESAMPLE_BOX, 0, &error));
  assert_error (error, MLLAMA_ERROR_INVALID, "1 to 65535");
  g_clear_error (&error);
  g_assert_null (mllama_resize_rgb (rgb, 0, 2, 2, 2, MLLAMA_RESAMPLE_BOX, 0, &error));
  assert_error (error, MLLAMA_ERROR_INVALID, "0 x 2");
  g_clear_error (&error);
  g_assert_null (mllama_resize_rgb (rgb, 2, 2, 2, 2, 6, 0, &error));
  assert_error (error, MLLAMA_ERROR_INVALID, "resample is 6");
  g_clear_error (&error);
  g_assert_null (mllama_resize_rgb (rgb, 2, 2, 2, 2, 2, 2, &error));
  assert_error (error, MLLAMA_ERROR_INVALID, "pass order 2");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/resample/resizes_like_pillow_with_every_filter", resizes_like_pillow_with_every_filter);
  g_test_add_func ("/resample/enlarges_the_example_of_the_spec", enlarges_the_example_of_the_spec);
  g_test_add_func ("/resample/keeps_a_picture_of_the_same_size", keeps_a_picture_of_the_same_size);
  g_test_add_func ("/resample/weights_add_up_to_one", weights_add_up_to_one);
  g_test_add_func ("/resample/every_implementation_gives_the_same_bytes", every_implementation_gives_the_same_bytes);
  g_test_add_func ("/resample/rejects_sizes_and_filters_that_do_not_exist",
                   rejects_sizes_and_filters_that_do_not_exist);
  return g_test_run ();
}
