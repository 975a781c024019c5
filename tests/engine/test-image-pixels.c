/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MllamaImageProcessor: from a picture to tiles. */
#include "test-image-data.h"

#include <math.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static MllamaAspectRatio ratios[MLLAMA_MAX_ASPECT_RATIOS];

static MllamaImage
view_packed (MllamaFormat format, const guint8 *bytes, guint width, guint height)
{
  return (MllamaImage){format, width, height, {bytes}, {mllama_format_get_row_bytes (format, 0, width)}};
}

static MllamaPixels *
make_pixels (const MllamaImage *image, const MllamaImageOptions *options, guint n_ratios, guint max_tiles)
{
  g_autoptr (GError) error = NULL;
  MllamaPixels *pixels = mllama_pixels_new (image, options, ratios, n_ratios, max_tiles, &error);

  g_assert_no_error (error);
  return pixels;
}

/* CRC of little-endian floats, whatever the machine's order. */
static guint32
update_crc_of_floats (guint32 crc, const float *values, gsize n)
{
  for (gsize i = 0; i < n; i++) {
    guint32 bits;

    memcpy (&bits, &values[i], sizeof bits);
    bits = GUINT32_TO_LE (bits);
    crc = update_crc (crc, &bits, sizeof bits);
  }
  return crc;
}

typedef struct {
  guint size, height, width;
  guint32 resized, values;
  double sum;
} SpecRow;

/* Spec 3.9. */
static const SpecRow spec_rows[] = {
    {448, 300, 800, 0x91df694b, 0xd15add9b, -676248.2426},    {448, 480, 640, 0xa435f868, 0xe1cb7139, -2318645.5677},
    {448, 1080, 1920, 0xcb9d54b2, 0x77f08c6a, -1510379.7534}, {448, 200, 2000, 0x62a11289, 0x34a436fe, -2242123.7896},
    {448, 223, 226, 0xae9d2fe9, 0x14d618c1, 94642.9493},      {448, 64, 48, 0x77e43329, 0x06f02fcf, -190391.3191},
    {448, 448, 448, 0x8a5db07d, 0xba9300af, 112116.6213},     {448, 1700, 500, 0xb07fbefb, 0xfd624195, -221797.7220},
    {560, 480, 640, 0xa435f868, 0xed9564a3, -1436249.0099},   {560, 1080, 1920, 0xf93d931f, 0x5365ed5b, -2357475.7628},
    {560, 223, 226, 0xceb27367, 0x28103f4e, 146351.1554},     {560, 64, 48, 0x7d9474f7, 0xecce2a3b, -297302.7441},
    {560, 448, 448, 0x50efb2ce, 0xb8e3bf3e, 177660.3248},     {560, 1700, 500, 0x8b543ab1, 0x824e9b3f, -1553969.5911},
};

/* The row whose CRCs Pillow 13 changes: 1700 x 500 loses 177 rows and 52 columns. */
#define TALL_ROW         7
#define TALL_RESIZED_CRC 0x1467448e

static guint32
get_resized_crc (const SpecRow *row, const guint8 *rgb, const MllamaPixels *pixels, MllamaPassOrder order)
{
  g_autofree guint8 *resized = mllama_resize_rgb (rgb, row->width, row->height, pixels->resized_width,
                                                  pixels->resized_height, MLLAMA_RESAMPLE_BILINEAR, order, NULL);

  return update_crc (0, resized, 3 * (gsize) pixels->resized_width * pixels->resized_height);
}

static void
check_spec_row (const SpecRow *row, MllamaPassOrder order, guint32 resized_crc)
{
  g_autofree guint8 *rgb = make_spec_picture (row->width, row->height);
  MllamaImage image = view_packed (MLLAMA_FORMAT_RGB, rgb, row->width, row->height);
  MllamaImageOptions options = get_usual_options (row->size);
  gsize n_total = 4 * 3 * (gsize) row->size * row->size, n_used;
  g_autofree float *values = g_new0 (float, n_total); /* unused tiles are zeros in the spec's arrays */
  g_autoptr (MllamaPixels) pixels = NULL;
  double sum = 0;

  options.pass_order = order;
  pixels = make_pixels (&image, &options, fill_ratios (ratios, 4), 0);
  n_used = n_total / 4 * pixels->n_tiles;
  memcpy (values, pixels->values, n_used * sizeof *values);
  g_assert_cmphex (get_resized_crc (row, rgb, pixels, order), ==, resized_crc);
  if (resized_crc != row->resized)
    return;
  g_assert_cmphex (update_crc_of_floats (0, values, n_total), ==, row->values);
  for (gsize i = 0; i < n_used; i++)
    sum += pixels->values[i];
  g_assert_cmpfloat (fabs (sum - row->sum), <, 1e-4);
}

static void
gives_the_crcs_of_the_spec (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (spec_rows); i++) {
    g_test_message ("%u x %u, tiles of %u", spec_rows[i].width, spec_rows[i].height, spec_rows[i].size);
    check_spec_row (&spec_rows[i], MLLAMA_PASS_ORDER_HORIZONTAL_FIRST, spec_rows[i].resized);
    check_spec_row (&spec_rows[i], MLLAMA_PASS_ORDER_PILLOW_13,
                    i == TALL_ROW ? TALL_RESIZED_CRC : spec_rows[i].resized);
  }
}

static void
read_colors (double colors[3], char **fields)
{
  for (guint c = 0; c < 3; c++)
    colors[c] = g_ascii_strtod (fields[c], NULL);
}

static void
check_pixels (char **fields)
{
  MllamaImageOptions options = get_usual_options (read_uint (fields[0]));
  MllamaFormat format = g_str_equal (fields[12], "RGB")    ? MLLAMA_FORMAT_RGB
                        : g_str_equal (fields[12], "RGBA") ? MLLAMA_FORMAT_RGBA
                                                           : MLLAMA_FORMAT_GRAY8;
  guint width = read_uint (fields[13]), height = read_uint (fields[14]);
  gsize n_bytes = mllama_format_get_row_bytes (format, 0, width) * height;
  g_autofree guint8 *bytes = make_noise (n_bytes, read_uint (fields[15]));
  MllamaImage image = view_packed (format, bytes, width, height);
  g_autoptr (MllamaPixels) pixels = NULL;

  options.max_image_tiles = read_uint (fields[1]);
  options.resample = read_uint (fields[2]);
  options.pass_order = MLLAMA_PASS_ORDER_PILLOW_13; /* make-goldens.py asks for that Pillow */
  options.do_rescale = read_uint (fields[3]);
  options.rescale_factor = g_ascii_strtod (fields[4], NULL);
  options.do_normalize = read_uint (fields[5]);
  read_colors (options.image_mean, fields + 6);
  read_colors (options.image_std, fields + 9);
  pixels = make_pixels (&image, &options, fill_ratios (ratios, options.max_image_tiles), 0);
  g_assert_cmpuint (pixels->size, ==, options.size);
  g_assert_cmpuint (pixels->aspect_ratio_id, ==, read_uint (fields[16]));
  g_assert_cmpuint (pixels->n_tiles, ==, read_uint (fields[17]));
  g_assert_cmpuint (pixels->n_tiles, ==, pixels->n_rows * pixels->n_columns);
  g_assert_cmphex (update_crc_of_floats (0, pixels->values, pixels->n_tiles * 3 * options.size * options.size), ==,
                   read_crc (fields[18]));
}

static void
gives_the_pixel_values_of_transformers_with_every_option (void)
{
  check_goldens ("pixels.txt", 19, check_pixels);
}

static void
pads_with_black_before_normalization (void)
{
  const guint8 white[3 * 200 * 80] = {[0 ... 3 * 200 * 80 - 1] = 255};
  MllamaImage image = view_packed (MLLAMA_FORMAT_RGB, white, 200, 80);
  MllamaImageOptions options = get_usual_options (64);
  g_autoptr (MllamaPixels) pixels = make_pixels (&image, &options, fill_ratios (ratios, 4), 2);
  const float black[] = {-1.7922625541687012f, -1.7520971298217773f, -1.480219841003418f};

  g_assert_cmpuint (pixels->n_columns, ==, 2);
  g_assert_cmpuint (pixels->resized_width, ==, 128);
  g_assert_cmpuint (pixels->resized_height, ==, 51);
  for (guint plane = 0; plane < 6; plane++)
    for (guint y = 0; y < 64; y++) {
      float value = pixels->values[(plane * 64 + y) * 64 + 63];

      if (y < 51)
        g_assert_cmpfloat (value, >, 1.5f);
      else
        g_assert_cmpfloat (value, ==, black[plane % 3]);
    }
}

static void
limits_the_tiles_as_asked (void)
{
  g_autofree guint8 *rgb = make_noise (3 * 200 * 200, 0);
  MllamaImage image = view_packed (MLLAMA_FORMAT_RGB, rgb, 200, 200);
  MllamaImageOptions options = get_usual_options (50);
  guint n_ratios = fill_ratios (ratios, 4);

  for (guint max_tiles = 0; max_tiles <= 4; max_tiles++) {
    g_autoptr (MllamaPixels) pixels = make_pixels (&image, &options, n_ratios, max_tiles);

    g_assert_cmpuint (pixels->n_tiles, ==, max_tiles == 0 || max_tiles == 4 ? 4 : 1);
  }
}

static void
takes_the_limit_of_the_options_when_none_is_given (void)
{
  g_autofree guint8 *rgb = make_noise (3 * 200 * 200, 0);
  MllamaImage image = view_packed (MLLAMA_FORMAT_RGB, rgb, 200, 200);
  MllamaImageOptions options = get_usual_options (50);
  g_autoptr (MllamaPixels) pixels = NULL;

  options.max_image_tiles = 1;
  pixels = make_pixels (&image, &options, fill_ratios (ratios, 4), 0);
  g_assert_cmpuint (pixels->n_tiles, ==, 1);
}

/* The same scene as RGB and as NV12 goes the same way. */
static void
tiles_video_frames_like_their_rgb (void)
{
  guint width = 101, height = 75;
  g_autofree guint8 *planes = make_noise (width * height + 102 * 38, 5);
  MllamaImage nv12 = {MLLAMA_FORMAT_NV12, width, height, {planes, planes + width * height}, {width, 102}};
  g_autofree guint8 *rgb = g_malloc (3 * width * height);
  MllamaImage packed = view_packed (MLLAMA_FORMAT_RGB, rgb, width, height);
  MllamaImageOptions options = get_usual_options (50);
  guint n_ratios = fill_ratios (ratios, 4);
  g_autoptr (MllamaPixels) expected = NULL, pixels = make_pixels (&nv12, &options, n_ratios, 0);
  gsize n_bytes = pixels->n_tiles * 3 * 50 * 50 * sizeof (float);

  g_assert_true (mllama_image_to_rgb (&nv12, rgb, NULL));
  expected = make_pixels (&packed, &options, n_ratios, 0);
  g_assert_cmpmem (pixels->values, n_bytes, expected->values, n_bytes);
}

static void
expect_invalid (const MllamaImage *image, const MllamaImageOptions *options, const char *text)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (mllama_pixels_new (image, options, ratios, fill_ratios (ratios, 4), 0, &error));
  assert_error (error, MLLAMA_ERROR_INVALID, text);
}

static void
rejects_alpha_and_gray_without_conversion (void)
{
  const guint8 bytes[4] = {0};
  MllamaImageOptions options = get_usual_options (50);
  MllamaImage image = view_packed (MLLAMA_FORMAT_RGBA, bytes, 1, 1);
  g_autoptr (MllamaPixels) pixels = NULL;

  options.do_convert_rgb = FALSE;
  expect_invalid (&image, &options, "RGBA picture has an alpha channel");
  image = view_packed (MLLAMA_FORMAT_GRAY8, bytes, 1, 1);
  expect_invalid (&image, &options, "GRAY8 picture has one channel");
  image = view_packed (MLLAMA_FORMAT_RGBX, bytes, 1, 1);
  pixels = make_pixels (&image, &options, fill_ratios (ratios, 4), 0);
  g_assert_nonnull (pixels);
}

static void
rejects_options_that_cannot_work (void)
{
  const guint8 bytes[4] = {0};
  MllamaImage image = view_packed (MLLAMA_FORMAT_RGB, bytes, 1, 1);
  MllamaImageOptions options = get_usual_options (50);

  options.do_resize = FALSE;
  expect_invalid (&image, &options, "do_resize");
  options = get_usual_options (50);
  options.do_pad = FALSE;
  expect_invalid (&image, &options, "do_pad");
  options = get_usual_options (0);
  expect_invalid (&image, &options, "size is 0");
  options = get_usual_options (50);
  options.max_image_tiles = 0;
  expect_invalid (&image, &options, "max_image_tiles");
  options = get_usual_options (50);
  options.image_std[2] = 0;
  expect_invalid (&image, &options, "image_std[2]");
  options = get_usual_options (50);
  options.image_mean[0] = NAN;
  expect_invalid (&image, &options, "image_mean[0]");
  options = get_usual_options (50);
  options.resample = -1;
  expect_invalid (&image, &options, "resample is -1");
  options = get_usual_options (50);
  image.strides[0] = 2;
  expect_invalid (&image, &options, "stride of plane 0");
  image = view_packed (MLLAMA_FORMAT_RGB, bytes, 1, 1);
  image.memory = MLLAMA_MEMORY_CUDA;
  expect_invalid (&image, &options, "host memory");
}

static void
takes_the_thinnest_pictures (void)
{
  static const guint sizes[][2] = {{1, 10000}, {10000, 1}, {1, 65535}, {65535, 1}, {65535, 3}};
  MllamaImageOptions options = get_usual_options (56);
  guint n_ratios = fill_ratios (ratios, 4);

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    guint width = sizes[i][0], height = sizes[i][1];
    g_autofree guint8 *rgb = make_noise (3 * (gsize) width * height, i);
    MllamaImage image = view_packed (MLLAMA_FORMAT_RGB, rgb, width, height);
    g_autoptr (MllamaPixels) pixels = make_pixels (&image, &options, n_ratios, 0);

    g_assert_cmpuint (pixels->n_tiles, ==, 4);
    g_assert_cmpuint (MAX (pixels->resized_width, pixels->resized_height), ==, 224);
    g_assert_cmpuint (MIN (pixels->resized_width, pixels->resized_height), ==, 1);
  }
}

/* A grey picture whose rows are all the same 16 KiB of memory. */
static guint8 *
map_repeated_row (guint side)
{
  int file = memfd_create ("row", 0);
  g_autofree guint8 *row = make_noise (side, 7);
  guint8 *picture = mmap (NULL, (gsize) side * side, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

  g_assert_true (picture != MAP_FAILED);
  g_assert_cmpint (write (file, row, side), ==, side);
  for (gsize y = 0; y < side; y++)
    g_assert_true (mmap (picture + y * side, side, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0) != MAP_FAILED);
  close (file);
  return picture;
}

#ifdef __SANITIZE_ADDRESS__
#define HAS_SANITIZER TRUE
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define HAS_SANITIZER TRUE
#endif
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER FALSE
#endif

/* Allows the process that many more bytes of data. */
static void
limit_memory (gsize more_bytes)
{
  g_autofree char *status = NULL;
  struct rlimit limit;
  gsize now;

  g_assert_true (g_file_get_contents ("/proc/self/status", &status, NULL, NULL));
  now = 1024 * g_ascii_strtoull (strstr (status, "VmData:") + strlen ("VmData:"), NULL, 10);
  limit.rlim_cur = limit.rlim_max = now + more_bytes;
  g_assert_cmpint (setrlimit (RLIMIT_DATA, &limit), ==, 0);
}

static void
says_what_it_had_no_memory_for (void)
{
  const guint8 bytes[4] = {0};
  MllamaImage image = view_packed (MLLAMA_FORMAT_RGB, bytes, 1, 1);
  MllamaImageOptions options = get_usual_options (560);
  g_autoptr (GError) error = NULL;

  if (HAS_SANITIZER) {
    g_test_skip ("a sanitizer's allocator does not return NULL");
    return;
  }
  if (!g_test_subprocess ()) {
    g_test_trap_subprocess (NULL, 0, 0);
    g_test_trap_assert_passed ();
    return;
  }
  limit_memory (1 << 20);
  g_assert_null (mllama_pixels_new (&image, &options, ratios, fill_ratios (ratios, 4), 0, &error));
  assert_error (error, MLLAMA_ERROR_OUT_OF_MEMORY, "1 tiles of 3 x 560 x 560");
}

static void
check_large (char **fields)
{
  guint side = read_uint (fields[0]), size = read_uint (fields[1]), width;
  MllamaImageOptions options = get_usual_options (size);
  MllamaImage image = {MLLAMA_FORMAT_GRAY8, side, side, {map_repeated_row (side)}, {side}};
  g_autoptr (MllamaPixels) pixels = NULL;
  guint32 crc = 0;

  options.do_rescale = options.do_normalize = FALSE;
  if (!HAS_SANITIZER)
    limit_memory (32 << 20); /* 15 MiB of them the result */
  pixels = make_pixels (&image, &options, fill_ratios (ratios, 4), 0);
  width = pixels->resized_width;
  g_assert_cmpuint (pixels->n_columns, ==, 2);
  for (guint y = 0; y < pixels->resized_height; y++)
    for (guint x = 0; x < width; x++)
      for (guint c = 0; c < 3; c++) {
        guint tile = y / size * 2 + x / size;
        guint8 byte = pixels->values[((gsize) (tile * 3 + c) * size + y % size) * size + x % size];

        crc = update_crc (crc, &byte, 1);
      }
  g_assert_cmphex (crc, ==, read_crc (fields[2]));
  munmap ((guint8 *) image.planes[0], (gsize) side * side);
}

static void
takes_a_picture_of_16384_squared_in_bounded_memory (void)
{
  if (g_test_subprocess ()) {
    check_goldens ("large.txt", 3, check_large);
    return;
  }
  g_test_trap_subprocess (NULL, 0, 0);
  g_test_trap_assert_passed ();
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/image-pixels/gives_the_crcs_of_the_spec", gives_the_crcs_of_the_spec);
  g_test_add_func ("/image-pixels/gives_the_pixel_values_of_transformers_with_every_option",
                   gives_the_pixel_values_of_transformers_with_every_option);
  g_test_add_func ("/image-pixels/pads_with_black_before_normalization", pads_with_black_before_normalization);
  g_test_add_func ("/image-pixels/limits_the_tiles_as_asked", limits_the_tiles_as_asked);
  g_test_add_func ("/image-pixels/takes_the_limit_of_the_options_when_none_is_given",
                   takes_the_limit_of_the_options_when_none_is_given);
  g_test_add_func ("/image-pixels/tiles_video_frames_like_their_rgb", tiles_video_frames_like_their_rgb);
  g_test_add_func ("/image-pixels/rejects_alpha_and_gray_without_conversion",
                   rejects_alpha_and_gray_without_conversion);
  g_test_add_func ("/image-pixels/rejects_options_that_cannot_work", rejects_options_that_cannot_work);
  g_test_add_func ("/image-pixels/takes_the_thinnest_pictures", takes_the_thinnest_pictures);
  g_test_add_func ("/image-pixels/takes_a_picture_of_16384_squared_in_bounded_memory",
                   takes_a_picture_of_16384_squared_in_bounded_memory);
  g_test_add_func ("/image-pixels/says_what_it_had_no_memory_for", says_what_it_had_no_memory_for);
  return g_test_run ();
}
