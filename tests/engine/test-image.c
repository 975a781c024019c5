/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Views of pictures, and their conversion to RGB. */
#include "image-row.h"
#include "test-image-data.h"

#include <math.h>

static const struct {
  const char *name;
  guint n_planes;
} formats[] = {
    [MLLAMA_FORMAT_RGB] = {"RGB", 1},   [MLLAMA_FORMAT_BGR] = {"BGR", 1},     [MLLAMA_FORMAT_RGBA] = {"RGBA", 1},
    [MLLAMA_FORMAT_BGRA] = {"BGRA", 1}, [MLLAMA_FORMAT_ARGB] = {"ARGB", 1},   [MLLAMA_FORMAT_ABGR] = {"ABGR", 1},
    [MLLAMA_FORMAT_RGBX] = {"RGBx", 1}, [MLLAMA_FORMAT_BGRX] = {"BGRx", 1},   [MLLAMA_FORMAT_XRGB] = {"xRGB", 1},
    [MLLAMA_FORMAT_XBGR] = {"xBGR", 1}, [MLLAMA_FORMAT_GRAY8] = {"GRAY8", 1}, [MLLAMA_FORMAT_I420] = {"I420", 3},
    [MLLAMA_FORMAT_NV12] = {"NV12", 2}, [MLLAMA_FORMAT_YUY2] = {"YUY2", 1},
};

/* A copy of the planes of a picture, each in a block of its own that ends with the last byte of meaning: a sanitizer
 * sees any read beyond. */
typedef struct {
  MllamaImage image;
  guint8 *blocks[3];
} Copy;

static void
init_copy (Copy *copy, MllamaFormat format, guint width, guint height, const guint8 *packed, gsize offset, gsize extra)
{
  *copy = (Copy){{.format = format, .width = width, .height = height}};
  for (guint plane = 0; plane < mllama_format_get_n_planes (format); plane++) {
    gsize row_bytes = mllama_format_get_row_bytes (format, plane, width), stride = row_bytes + extra;
    guint n_rows = mllama_format_get_n_rows (format, plane, height);

    copy->blocks[plane] = g_malloc0 (offset + (n_rows - 1) * stride + row_bytes);
    for (guint y = 0; y < n_rows; y++, packed += row_bytes)
      memcpy (copy->blocks[plane] + offset + y * stride, packed, row_bytes);
    copy->image.planes[plane] = copy->blocks[plane] + offset;
    copy->image.strides[plane] = stride;
  }
}

static void
clear_copy (Copy *copy)
{
  for (guint plane = 0; plane < 3; plane++)
    g_free (copy->blocks[plane]);
}

static gsize
get_total_bytes (MllamaFormat format, guint width, guint height)
{
  gsize total = 0;

  for (guint plane = 0; plane < mllama_format_get_n_planes (format); plane++)
    total += mllama_format_get_row_bytes (format, plane, width) * mllama_format_get_n_rows (format, plane, height);
  return total;
}

static void
names_every_format (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    g_assert_cmpstr (mllama_format_to_string (i), ==, formats[i].name);
    g_assert_cmpuint (mllama_format_get_n_planes (i), ==, formats[i].n_planes);
  }
  g_assert_cmpstr (mllama_format_to_string (99), ==, "unknown");
}

static void
rounds_chroma_of_odd_sizes_up (void)
{
  g_assert_cmpuint (mllama_format_get_row_bytes (MLLAMA_FORMAT_I420, 1, 5), ==, 3);
  g_assert_cmpuint (mllama_format_get_row_bytes (MLLAMA_FORMAT_NV12, 1, 5), ==, 6);
  g_assert_cmpuint (mllama_format_get_row_bytes (MLLAMA_FORMAT_YUY2, 0, 5), ==, 12);
  g_assert_cmpuint (mllama_format_get_row_bytes (MLLAMA_FORMAT_BGR, 0, 5), ==, 15);
  g_assert_cmpuint (mllama_format_get_row_bytes (MLLAMA_FORMAT_XBGR, 0, 5), ==, 20);
  g_assert_cmpuint (mllama_format_get_row_bytes (MLLAMA_FORMAT_GRAY8, 0, 5), ==, 5);
  g_assert_cmpuint (mllama_format_get_n_rows (MLLAMA_FORMAT_I420, 2, 7), ==, 4);
  g_assert_cmpuint (mllama_format_get_n_rows (MLLAMA_FORMAT_NV12, 1, G_MAXUINT), ==, 1u << 31);
  g_assert_cmpuint (mllama_format_get_n_rows (MLLAMA_FORMAT_NV12, 0, 7), ==, 7);
}

static MllamaFormat
find_format (const char *name)
{
  guint i = 0;

  while (!g_str_equal (formats[i].name, name))
    i++;
  return i;
}

#define GUARD_BYTES 16

/* Packed rows, and again at an odd address with odd strides. Nothing is written past the last pixel. */
static void
check_format (char **fields)
{
  MllamaFormat format = find_format (fields[0]);
  guint width = read_uint (fields[3]), height = read_uint (fields[4]);
  g_autofree guint8 *packed = make_noise (get_total_bytes (format, width, height), read_uint (fields[5]));
  gsize rgb_bytes = 3 * (gsize) width * height;
  g_autofree guint8 *rgb = make_noise (rgb_bytes + GUARD_BYTES, 0), *guard = make_noise (rgb_bytes + GUARD_BYTES, 0);
  g_autoptr (GError) error = NULL;

  for (guint odd = 0; odd < 2; odd++) {
    Copy copy;

    init_copy (&copy, format, width, height, packed, odd, 7 * odd);
    copy.image.matrix = read_uint (fields[1]);
    copy.image.range = read_uint (fields[2]);
    mllama_image_to_rgb (&copy.image, rgb, &error);
    g_assert_no_error (error);
    g_assert_cmphex (update_crc (0, rgb, rgb_bytes), ==, read_crc (fields[6]));
    g_assert_cmpmem (rgb + rgb_bytes, GUARD_BYTES, guard + rgb_bytes, GUARD_BYTES);
    clear_copy (&copy);
  }
}

static void
converts_every_format_as_the_goldens_say (void)
{
  check_goldens ("formats.txt", 7, check_format);
}

/* Pillow's alpha_composite over white, step by step as in its C (spec 3.1). */
static guint8
composite_like_pillow (guint32 value, guint32 alpha)
{
  guint32 blend = 255 * (255 - alpha), sum = 255 * alpha + blend;
  guint32 c1 = alpha * 255 * 255 * 128 / sum, c2 = 255 * 128 - c1;
  guint32 t = value * c1 + 255 * c2 + (0x80 << 7);

  return alpha == 0 ? 255 : ((t >> 8) + t) >> 8 >> 7;
}

static void
composites_every_value_and_alpha_like_pillow (void)
{
  guint8 rgba[256 * 4], rgb[256 * 3];
  MllamaImage image = {MLLAMA_FORMAT_RGBA, 256, 1, {rgba}, {sizeof rgba}};

  for (guint alpha = 0; alpha < 256; alpha++) {
    for (guint value = 0; value < 256; value++) {
      rgba[4 * value] = rgba[4 * value + 1] = rgba[4 * value + 2] = value;
      rgba[4 * value + 3] = alpha;
    }
    g_assert_true (mllama_image_to_rgb (&image, rgb, NULL));
    for (guint value = 0; value < 256; value++)
      g_assert_cmpuint (rgb[3 * value], ==, composite_like_pillow (value, alpha));
  }
}

static void
composites_the_example_of_the_spec (void)
{
  const guint8 bgra[] = {30, 20, 10, 128};
  guint8 rgb[3];
  MllamaImage image = {MLLAMA_FORMAT_BGRA, 1, 1, {bgra}, {4}};

  g_assert_true (mllama_image_to_rgb (&image, rgb, NULL));
  g_assert_cmpuint (rgb[0], ==, 132);
  g_assert_cmpuint (rgb[1], ==, 137);
  g_assert_cmpuint (rgb[2], ==, 142);
}

/* The real numbers that the fixed-point formula stands for. */
static void
convert_in_double (double rgb[3], MllamaMatrix matrix, gboolean full, guint y, guint u, guint v)
{
  static const double kr[] = {0, 0.299, 0.2126, 0.2627}, kb[] = {0, 0.114, 0.0722, 0.0593};
  double r = kr[matrix], b = kb[matrix];
  double luma = full ? y / 255.0 : (y - 16.0) / 219, cb = (u - 128.0) / (full ? 255 : 224);
  double cr = (v - 128.0) / (full ? 255 : 224), red = luma + 2 * (1 - r) * cr, blue = luma + 2 * (1 - b) * cb;

  rgb[0] = 255 * red;
  rgb[2] = 255 * blue;
  /* luma is Kr R + Kg G + Kb B */
  rgb[1] = 255 * (luma - r * red - b * blue) / (1 - r - b);
}

static void
check_matrix (MllamaMatrix matrix, gboolean full)
{
  guint8 yuy2[4], rgb[6];
  MllamaImage image = {MLLAMA_FORMAT_YUY2, 2, 1, {yuy2}, {4}, matrix, full ? MLLAMA_RANGE_FULL : MLLAMA_RANGE_LIMITED};

  for (guint y = 0; y < 256; y += 5)
    for (guint u = 0; u < 256; u += 5)
      for (guint v = 0; v < 256; v += 5) {
        double real[3];

        yuy2[0] = yuy2[2] = y;
        yuy2[1] = u;
        yuy2[3] = v;
        g_assert_true (mllama_image_to_rgb (&image, rgb, NULL));
        convert_in_double (real, matrix, full, y, u, v);
        for (guint c = 0; c < 3; c++)
          g_assert_cmpfloat (fabs (rgb[c] - CLAMP (real[c], 0, 255)), <, 0.505);
      }
}

static void
stays_within_rounding_of_the_real_matrices (void)
{
  for (guint matrix = MLLAMA_MATRIX_BT601; matrix <= MLLAMA_MATRIX_BT2020; matrix++) {
    check_matrix (matrix, FALSE);
    check_matrix (matrix, TRUE);
  }
}

static void
assumes_bt709_from_720_lines_on (void)
{
  MllamaYuvWeights automatic, named;
  MllamaImage image = {MLLAMA_FORMAT_NV12, 1280, 719};

  mllama_yuv_weights_init (&automatic, &image);
  image.matrix = MLLAMA_MATRIX_BT601;
  mllama_yuv_weights_init (&named, &image);
  g_assert_cmpmem (&automatic, sizeof automatic, &named, sizeof named);

  image.height = 720;
  image.matrix = MLLAMA_MATRIX_AUTO;
  mllama_yuv_weights_init (&automatic, &image);
  image.matrix = MLLAMA_MATRIX_BT709;
  mllama_yuv_weights_init (&named, &image);
  g_assert_cmpmem (&automatic, sizeof automatic, &named, sizeof named);
}

static void
expect_invalid (const MllamaImage *image, const char *text)
{
  guint8 rgb[64 * 64 * 3];
  g_autoptr (GError) error = NULL, again = NULL;

  g_assert_false (mllama_image_validate (image, &error));
  assert_error (error, MLLAMA_ERROR_INVALID, text);
  g_assert_false (mllama_image_to_rgb (image, rgb, &again));
  assert_error (again, MLLAMA_ERROR_INVALID, text);
}

static const guint8 some_bytes[64 * 64 * 4];

static MllamaImage
get_valid_image (void)
{
  return (MllamaImage){MLLAMA_FORMAT_I420, 33, 31, {some_bytes, some_bytes, some_bytes}, {33, 17, 17}};
}

static void
rejects_sizes_outside_the_limits (void)
{
  MllamaImage image = get_valid_image ();

  g_assert_true (mllama_image_validate (&image, NULL));
  image.width = 0;
  expect_invalid (&image, "0 x 31");
  image = get_valid_image ();
  image.height = 0;
  expect_invalid (&image, "33 x 0");
  image.height = MLLAMA_MAX_IMAGE_SIDE + 1;
  expect_invalid (&image, "1 to 65535");
  image.height = G_MAXUINT;
  expect_invalid (&image, "1 to 65535");
}

static void
rejects_missing_planes_and_short_strides (void)
{
  MllamaImage image = get_valid_image ();

  image.planes[2] = NULL;
  expect_invalid (&image, "plane 2");
  image = get_valid_image ();
  image.strides[1] = 16;
  expect_invalid (&image, "has 17");
  image.strides[1] = 0;
  expect_invalid (&image, "stride of plane 1 is 0");
  image.strides[1] = G_MAXSIZE / 2;
  expect_invalid (&image, "more than memory can hold");
}

static void
rejects_numbers_that_are_no_enum_value (void)
{
  MllamaImage image = get_valid_image ();

  image.format = 99;
  expect_invalid (&image, "format");
  image = get_valid_image ();
  image.matrix = 4;
  expect_invalid (&image, "matrix");
  image = get_valid_image ();
  image.range = -1;
  expect_invalid (&image, "range");
  image = get_valid_image ();
  image.memory = 2;
  expect_invalid (&image, "memory");
}

static void
refuses_to_read_cuda_memory (void)
{
  MllamaImage image = get_valid_image ();
  guint8 rgb[33 * 31 * 3];
  g_autoptr (GError) error = NULL;

  image.memory = MLLAMA_MEMORY_CUDA;
  g_assert_true (mllama_image_validate (&image, NULL));
  g_assert_false (mllama_image_to_rgb (&image, rgb, &error));
  assert_error (error, MLLAMA_ERROR_INVALID, "host memory");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/image/names_every_format", names_every_format);
  g_test_add_func ("/image/rounds_chroma_of_odd_sizes_up", rounds_chroma_of_odd_sizes_up);
  g_test_add_func ("/image/converts_every_format_as_the_goldens_say", converts_every_format_as_the_goldens_say);
  g_test_add_func ("/image/composites_every_value_and_alpha_like_pillow", composites_every_value_and_alpha_like_pillow);
  g_test_add_func ("/image/composites_the_example_of_the_spec", composites_the_example_of_the_spec);
  g_test_add_func ("/image/stays_within_rounding_of_the_real_matrices", stays_within_rounding_of_the_real_matrices);
  g_test_add_func ("/image/assumes_bt709_from_720_lines_on", assumes_bt709_from_720_lines_on);
  g_test_add_func ("/image/rejects_sizes_outside_the_limits", rejects_sizes_outside_the_limits);
  g_test_add_func ("/image/rejects_missing_planes_and_short_strides", rejects_missing_planes_and_short_strides);
  g_test_add_func ("/image/rejects_numbers_that_are_no_enum_value", rejects_numbers_that_are_no_enum_value);
  g_test_add_func ("/image/refuses_to_read_cuda_memory", refuses_to_read_cuda_memory);
  return g_test_run ();
}
