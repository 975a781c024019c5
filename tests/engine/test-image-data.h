/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pictures that tests and image/make-goldens.py make alike, and the rows of the golden files. */
#pragma once

#include <string.h>

#include <mllama/mllama.h>

static inline guint8
get_noise (guint32 index, guint32 seed)
{
  guint32 x = index * 2654435761u + seed * 40503u;

  x ^= x >> 15;
  x *= 2246822519u;
  x ^= x >> 13;
  return x;
}

static inline guint8 *
make_noise (gsize n, guint32 seed)
{
  guint8 *bytes = g_malloc (n);

  for (gsize i = 0; i < n; i++)
    bytes[i] = get_noise (i, seed);
  return bytes;
}

/* The synthetic picture of spec 3.9. */
static inline guint8 *
make_spec_picture (guint width, guint height)
{
  guint8 *rgb = g_malloc (3 * (gsize) width * height), *p = rgb;

  for (guint y = 0; y < height; y++)
    for (guint x = 0; x < width; x++, p += 3) {
      p[0] = 7 * x + 3 * y;
      p[1] = x * x + 5 * y;
      p[2] = 11 * (x ^ y);
    }
  return rgb;
}

/* zlib's CRC32, going on from crc (0 at first). */
static inline guint32
update_crc (guint32 crc, gconstpointer data, gsize n)
{
  static const guint32 nibbles[] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                    0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                    0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
  const guint8 *bytes = data;

  crc = ~crc;
  for (gsize i = 0; i < n; i++) {
    crc ^= bytes[i];
    crc = crc >> 4 ^ nibbles[crc & 15];
    crc = crc >> 4 ^ nibbles[crc & 15];
  }
  return ~crc;
}

/* All arrangements of at most max_tiles tiles, in the order of spec 3.2. */
static inline guint
fill_ratios (MllamaAspectRatio *ratios, guint max_tiles)
{
  guint n = 0;

  for (guint8 rows = 1; rows <= max_tiles; rows++)
    for (guint8 columns = 1; columns <= max_tiles; columns++)
      if (rows * columns <= max_tiles)
        ratios[n++] = (MllamaAspectRatio){rows, columns};
  return n;
}

/* The numbers of the released checkpoints, but for the size. */
static inline MllamaImageOptions
get_usual_options (guint size)
{
  return (MllamaImageOptions){
      .do_convert_rgb = TRUE,
      .do_resize = TRUE,
      .do_rescale = TRUE,
      .do_normalize = TRUE,
      .do_pad = TRUE,
      .size = size,
      .resample = MLLAMA_RESAMPLE_BILINEAR,
      .rescale_factor = 1.0 / 255,
      .image_mean = {0.48145466, 0.4578275, 0.40821073},
      .image_std = {0.26862954, 0.26130258, 0.27577711},
      .max_image_tiles = 4,
  };
}

typedef void (*GoldenFunc) (char **fields);

/* Calls check with the fields of each row of image/NAME, of which there must be n_fields. */
static inline void
check_goldens (const char *name, guint n_fields, GoldenFunc check)
{
  g_autofree char *path = g_build_filename (g_getenv ("MLLAMA_TEST_SOURCE_DIR"), "engine", "image", name, NULL);
  g_autofree char *text = NULL;
  g_auto (GStrv) lines = NULL;
  g_autoptr (GError) error = NULL;
  guint n_rows = 0;

  g_file_get_contents (path, &text, NULL, &error);
  g_assert_no_error (error);
  lines = g_strsplit (text, "\n", -1);
  for (char **line = lines; *line; line++) {
    g_auto (GStrv) fields = NULL;

    if (**line == '#' || **line == '\0')
      continue;
    fields = g_strsplit (*line, " ", -1);
    g_test_message ("%s: %s", name, *line);
    g_assert_cmpuint (g_strv_length (fields), ==, n_fields);
    check (fields);
    n_rows++;
  }
  g_assert_cmpuint (n_rows, >, 0);
}

static inline guint
read_uint (const char *field)
{
  return g_ascii_strtoull (field, NULL, 10);
}

static inline guint32
read_crc (const char *field)
{
  return g_ascii_strtoull (field, NULL, 16);
}

/* error is of that code, and its message holds the text. */
static inline void
assert_error (GError *error, MllamaError code, const char *text)
{
  g_assert_error (error, MLLAMA_ERROR, (int) code);
  if (!strstr (error->message, text))
    g_error ("\"%s\" does not say \"%s\"", error->message, text);
}
