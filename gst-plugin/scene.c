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

static gboolean
convert_cells (GstMllamaCaptionScene *scene, const GstVideoFrame *frame)
{
  GstVideoInfo info;
  GstVideoFrame small;
  gboolean converted = FALSE;

  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_GRAY8, COLUMNS, ROWS);
  GstVideoConverter *converter = gst_video_converter_new (&frame->info, &info, NULL);
  if (!converter)
    return FALSE;
  GstBuffer *buffer =
      gst_buffer_new_wrapped_full (0, scene->cells, sizeof scene->cells, 0, sizeof scene->cells, NULL, NULL);
  if (gst_video_frame_map (&small, &info, buffer, GST_MAP_WRITE)) {
    gst_video_converter_frame (converter, frame, &small);
    gst_video_frame_unmap (&small);
    converted = TRUE;
  }
  gst_buffer_unref (buffer);
  gst_video_converter_free (converter);
  return converted;
}

gboolean
gst_mllama_caption_scene_init (GstMllamaCaptionScene *scene, const GstVideoFrame *frame)
{
  G_STATIC_ASSERT (COLUMNS % 4 == 0); /* rows of GRAY8 are padded to 4 bytes */

  if (!has_plain_bytes (frame->info.finfo))
    return convert_cells (scene, frame);
  sample_cells (scene, frame);
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
