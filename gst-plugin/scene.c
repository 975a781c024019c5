/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scene.h"

#define COLUMNS GST_MLLAMA_CAPTION_SCENE_COLUMNS
#define ROWS    GST_MLLAMA_CAPTION_SCENE_ROWS
#define SAMPLES 4 /* a side of a cell */

/* Formats whose 8-bit components can be read one by one, without unpacking a line. */
static gboolean
has_plain_bytes (const GstVideoFormatInfo *format)
{
  const GstVideoFormatFlags packed =
      GST_VIDEO_FORMAT_FLAG_COMPLEX | GST_VIDEO_FORMAT_FLAG_TILED | GST_VIDEO_FORMAT_FLAG_PALETTE;

  if (GST_VIDEO_FORMAT_INFO_FLAGS (format) & packed)
    return FALSE;
  for (guint i = 0; i < GST_VIDEO_FORMAT_INFO_N_COMPONENTS (format); i++)
    if (GST_VIDEO_FORMAT_INFO_DEPTH (format, i) != 8 || GST_VIDEO_FORMAT_INFO_SHIFT (format, i) != 0)
      return FALSE;
  return TRUE;
}

static guint
read_component (const GstVideoFrame *frame, guint component, guint x, guint y)
{
  const guint8 *data = GST_VIDEO_FRAME_COMP_DATA (frame, component);

  return data[(gsize) GST_VIDEO_FRAME_COMP_STRIDE (frame, component) * y +
              (gsize) GST_VIDEO_FRAME_COMP_PSTRIDE (frame, component) * x];
}

static guint
read_luma (const GstVideoFrame *frame, guint x, guint y)
{
  if (!GST_VIDEO_FORMAT_INFO_IS_RGB (frame->info.finfo))
    return read_component (frame, 0, x, y);
  /* Rec. 601 weights in 256ths. */
  return (77 * read_component (frame, 0, x, y) + 150 * read_component (frame, 1, x, y) +
          29 * read_component (frame, 2, x, y)) >>
         8;
}

static void
sample_cells (GstMllamaCaptionScene *scene, const GstVideoFrame *frame)
{
  const guint width = (guint) GST_VIDEO_FRAME_WIDTH (frame), height = (guint) GST_VIDEO_FRAME_COMP_HEIGHT (frame, 0);

  for (guint row = 0; row < ROWS; row++) {
    for (guint column = 0; column < COLUMNS; column++) {
      guint sum = 0;
      for (guint i = 0; i < SAMPLES * SAMPLES; i++) {
        guint64 x = (guint64) (column * SAMPLES + i % SAMPLES) * width / (COLUMNS * SAMPLES);
        guint64 y = (guint64) (row * SAMPLES + i / SAMPLES) * height / (ROWS * SAMPLES);
        sum += read_luma (frame, (guint) x, (guint) y);
      }
      scene->cells[row][column] = (guint8) (sum / (SAMPLES * SAMPLES));
    }
  }
}

/* Brightness of a pixel that was unpacked to AYUV or ARGB, of 8 or 16 bits a component. */
static guint
read_unpacked (const GstVideoFormatInfo *format, const guint16 *line, guint x)
{
  const gboolean deep = GST_VIDEO_FORMAT_INFO_BITS (format) == 16;
  const guint8 *bytes = (const guint8 *) line;
  guint c[3];

  for (guint i = 0; i < 3; i++)
    c[i] = deep ? line[4 * x + 1 + i] >> 8 : bytes[4 * x + 1 + i];
  return GST_VIDEO_FORMAT_INFO_IS_RGB (format) ? (77 * c[0] + 150 * c[1] + 29 * c[2]) >> 8 : c[0];
}

/* The other formats: only the lines that are looked at are unpacked, an eighth of a large frame, and of tiles, which
 * cost far more, one a cell. Converting all of it would hold the streaming thread up. */
static void
unpack_cells (GstMllamaCaptionScene *scene, const GstVideoFrame *frame)
{
  const GstVideoFormatInfo *format = frame->info.finfo;
  const GstVideoFormatInfo *unpacked = gst_video_format_get_info (format->unpack_format);
  const guint width = (guint) GST_VIDEO_FRAME_WIDTH (frame), height = (guint) GST_VIDEO_FRAME_HEIGHT (frame);
  /* Some formats are unpacked in groups of pixels. */
  g_autofree guint16 *line = g_new (guint16, 4 * ((gsize) width + 16));
  const guint lines = GST_VIDEO_FORMAT_INFO_IS_TILED (format) ? 1 : SAMPLES; /* of a cell */
  guint sums[ROWS][COLUMNS] = {0};

  for (guint i = 0; i < ROWS * lines; i++) {
    const gint y = (gint) ((guint64) i * height / (ROWS * lines));
    format->unpack_func (format, GST_VIDEO_PACK_FLAG_NONE, line, frame->data, frame->info.stride, 0, y, (gint) width);
    for (guint k = 0; k < COLUMNS * SAMPLES; k++)
      sums[i / lines][k / SAMPLES] +=
          read_unpacked (unpacked, line, (guint) ((guint64) k * width / (COLUMNS * SAMPLES)));
  }
  for (guint row = 0; row < ROWS; row++)
    for (guint column = 0; column < COLUMNS; column++)
      scene->cells[row][column] = (guint8) (sums[row][column] / (lines * SAMPLES));
}

gboolean
gst_mllama_caption_scene_init (GstMllamaCaptionScene *scene, const GstVideoFrame *frame)
{
  if (has_plain_bytes (frame->info.finfo))
    sample_cells (scene, frame);
  else if (frame->info.finfo->unpack_func)
    unpack_cells (scene, frame);
  else
    return FALSE;
  return TRUE;
}

double
gst_mllama_caption_scene_compare (const GstMllamaCaptionScene *a, const GstMllamaCaptionScene *b)
{
  guint sum = 0;

  for (guint row = 0; row < ROWS; row++)
    for (guint column = 0; column < COLUMNS; column++)
      sum += (guint) ABS (a->cells[row][column] - b->cells[row][column]);
  return (double) sum / (255.0 * ROWS * COLUMNS);
}
