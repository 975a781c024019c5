/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which tiles a picture fills. Every expression is IEEE double, in the order of spec 3.3 and 3.4: exact arithmetic, or
 * a contracted multiply-add, would give other sizes for some pictures. */
#include "image-row.h"

#include <math.h>

#include <mllama/error.h>
#include <mllama/image-processor.h>

/* By how much the picture can grow before it leaves the canvas of this arrangement. */
static double
get_scale (MllamaAspectRatio ratio, guint size, guint width, guint height)
{
  double sh = (double) (ratio.n_rows * (guint64) size) / height;
  double sw = (double) (ratio.n_columns * (guint64) size) / width;

  return sw > sh ? sh : sw;
}

/* The least enlargement if any canvas holds the picture, the least reduction if none does. */
static gboolean
is_better (double scale, double best)
{
  if (best >= 1)
    return scale >= 1 && scale < best;
  return scale > best;
}

static guint
get_area (MllamaAspectRatio ratio)
{
  return ratio.n_rows * ratio.n_columns;
}

/* Index of the arrangement, n_ratios if none has at most max_tiles tiles. Among equal scales the smallest area wins,
 * then the first in the list. */
static guint
choose_ratio (const MllamaAspectRatio *ratios, guint n_ratios, guint max_tiles, guint size, guint width, guint height)
{
  guint chosen = n_ratios;
  double best = 0;

  for (guint i = 0; i < n_ratios; i++) {
    double scale;

    if (get_area (ratios[i]) > max_tiles || get_area (ratios[i]) == 0)
      continue;
    scale = get_scale (ratios[i], size, width, height);
    if (chosen < n_ratios && !is_better (scale, best) &&
        !(scale == best && get_area (ratios[i]) < get_area (ratios[chosen])))
      continue;
    chosen = i;
    best = scale;
  }
  return chosen;
}

/* The scaled side: rounded down in double, at least 1, at most target. */
static guint
scale_side (guint side, double scale, guint target)
{
  double scaled = floor (side * scale);

  if (scaled == 0)
    return 1;
  return scaled < target ? (guint) scaled : target;
}

static void
fit_to_canvas (MllamaTilePlan *plan, guint size, guint width, guint height)
{
  guint target_width = CLAMP (width, size, plan->n_columns * (guint64) size);
  guint target_height = CLAMP (height, size, plan->n_rows * (guint64) size);
  double sh = (double) target_height / height, sw = (double) target_width / width;

  if (sw < sh) {
    plan->resized_width = target_width;
    plan->resized_height = scale_side (height, sw, target_height);
  } else {
    plan->resized_height = target_height;
    plan->resized_width = scale_side (width, sh, target_width);
  }
}

gboolean
mllama_tile_plan_init (MllamaTilePlan *plan, const MllamaAspectRatio *ratios, guint n_ratios, guint max_tiles,
                       guint size, guint width, guint height, GError **error)
{
  guint chosen;

  g_return_val_if_fail (plan != NULL && (ratios != NULL || n_ratios == 0), FALSE);

  if (!mllama_image_check_size (width, height, error))
    return FALSE;
  if (size < 1 || size > MLLAMA_MAX_IMAGE_SIDE) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID, "the side of a tile is %u pixels; 1 to %u is expected",
                 size, MLLAMA_MAX_IMAGE_SIDE);
    return FALSE;
  }
  chosen = choose_ratio (ratios, n_ratios, max_tiles, size, width, height);
  if (chosen == n_ratios) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
                 "none of the model's %u tile arrangements needs at most %u tile(s); raise the limit of tiles",
                 n_ratios, max_tiles);
    return FALSE;
  }
  plan->aspect_ratio_id = chosen + 1;
  plan->n_rows = ratios[chosen].n_rows;
  plan->n_columns = ratios[chosen].n_columns;
  fit_to_canvas (plan, size, width, height);
  return TRUE;
}
