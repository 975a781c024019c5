/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_FLOATS (1024 * 1024) /* read at once */

typedef struct {
  gsize n_rows, width, ld;
} Shape;

/* Tables and vectors are not multiplied, and stay as they are. */
static gboolean
find_shape (const MllamaWeightSpec *spec, Shape *shape)
{
  if (!mllama_weight_spec_get_shape (spec, &shape->n_rows, &shape->width))
    return FALSE;
  shape->ld = spec->use == MLLAMA_WEIGHT_VECTOR || spec->use == MLLAMA_WEIGHT_TABLE
                  ? shape->width
                  : mllama_cpu_round_up (shape->width);
  return TRUE;
}

/* Columns [final d | interleaved taps] -> [final d | tap 0 | tap 1 | ...], as the features are laid out. */
static void
regroup_columns (float *dest, const float *row, gsize width, guint n_taps)
{
  gsize d = width / (1 + n_taps);

  memcpy (dest, row, d * sizeof (float));
  for (guint k = 0; k < n_taps; k++)
    for (gsize c = 0; c < d; c++)
      dest[(1 + k) * d + c] = row[d + c * n_taps + k];
}

static void
store_rows (const MllamaWeightSpec *spec, const MllamaWeight *weight, gsize first, gsize n_rows, const float *rows)
{
  for (gsize r = 0; r < n_rows; r++) {
    float *dest = weight->data + (first + r) * weight->ld;
    if (spec->use == MLLAMA_WEIGHT_PROJECTOR)
      regroup_columns (dest, rows + r * weight->width, weight->width, spec->n_taps);
    else
      memcpy (dest, rows + r * weight->width, weight->width * sizeof (float));
  }
}

/* Whole rows through a buffer, since they are spread out or regrouped. */
static gboolean
read_rows (const MllamaWeightSpec *spec, const MllamaTensorInfo *part, const MllamaWeight *weight, gsize first,
           GError **error)
{
  gsize n_part_rows = part->n_elements / MAX (weight->width, 1);
  gsize n_chunk_rows = MIN (MAX (CHUNK_FLOATS / MAX (weight->width, 1), 1), n_part_rows);
  float *chunk = mllama_cpu_alloc (n_chunk_rows, weight->width, "reading weights", error);
  gboolean ok = chunk != NULL;

  for (gsize r = 0; ok && r < n_part_rows; r += n_chunk_rows) {
    gsize n = MIN (n_chunk_rows, n_part_rows - r);
    ok = mllama_source_read_f32 (spec->source, part, r * weight->width, n * weight->width, chunk, error);
    if (ok)
      store_rows (spec, weight, first + r, n, chunk);
  }
  free (chunk);
  return ok;
}

static gboolean
read_flat (const MllamaWeightSpec *spec, const MllamaTensorInfo *part, float *dest, GError **error)
{
  for (gsize i = 0; i < part->n_elements; i += CHUNK_FLOATS)
    if (!mllama_source_read_f32 (spec->source, part, i, MIN (CHUNK_FLOATS, part->n_elements - i), dest + i, error))
      return FALSE;
  return TRUE;
}

static gboolean
read_parts (const MllamaWeightSpec *spec, const MllamaWeight *weight, GError **error)
{
  gsize first = 0;

  for (guint i = 0; i < spec->n_parts; i++) {
    const MllamaTensorInfo *part = spec->parts[i];
    if (weight->ld == weight->width && spec->use != MLLAMA_WEIGHT_PROJECTOR) {
      if (!read_flat (spec, part, weight->data + first * weight->ld, error))
        return FALSE;
    } else if (!read_rows (spec, part, weight, first, error))
      return FALSE;
    first += part->n_elements / MAX (weight->width, 1);
  }
  return TRUE;
}

MllamaWeight *
mllama_cpu_weight_new (MllamaBackend *be, const MllamaWeightSpec *spec, GError **error)
{
  MllamaWeight *weight;
  Shape shape;
  float *data;

  if (!mllama_weight_spec_check (spec, error) || !find_shape (spec, &shape) ||
      !(data = mllama_cpu_alloc (shape.n_rows, shape.ld, spec->parts[0]->name, error)))
    return NULL;
  weight = g_new0 (MllamaWeight, 1);
  *weight = (MllamaWeight){shape.n_rows, shape.width, shape.ld, data};
  if ((spec->use == MLLAMA_WEIGHT_MATRIX || spec->use == MLLAMA_WEIGHT_PROJECTOR) &&
      !mllama_cpu_reserve_product (mllama_cpu_backend (be), weight, error))
    goto fail;
  if (!read_parts (spec, weight, error))
    goto fail;
  return weight;

fail:
  mllama_cpu_weight_free (be, weight);
  return NULL;
}

void
mllama_cpu_weight_free (MllamaBackend *be, MllamaWeight *weight)
{
  if (!weight)
    return;
  free (weight->data);
  g_free (weight);
}

gsize
mllama_cpu_weight_get_bytes (MllamaBackend *be, const MllamaWeightSpec *spec)
{
  Shape shape;

  return find_shape (spec, &shape) ? shape.n_rows * shape.ld * sizeof (float) : 0;
}
