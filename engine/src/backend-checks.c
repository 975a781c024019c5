/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every backend asks of its arguments. */
#include "backend.h"

/* Parts are stacked. */
gboolean
mllama_weight_spec_get_shape (const MllamaWeightSpec *spec, gsize *n_rows, gsize *width)
{
  const MllamaTensorInfo *first = spec->parts[0];

  *n_rows = spec->use == MLLAMA_WEIGHT_VECTOR || first->n_dims == 0 ? 1 : first->shape[0];
  *width = *n_rows > 0 ? first->n_elements / *n_rows : 0;
  for (guint i = 1; i < spec->n_parts; i++) {
    const MllamaTensorInfo *part = spec->parts[i];
    if (part->n_dims == 0 || part->n_elements != part->shape[0] * *width)
      return FALSE;
    *n_rows += part->shape[0];
  }
  return TRUE;
}

gboolean
mllama_weight_spec_check (const MllamaWeightSpec *spec, GError **error)
{
  const char *name = spec->parts[0]->name;
  gsize n_rows, width;

  if (!mllama_weight_spec_get_shape (spec, &n_rows, &width)) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s and the tensors used with it differ in width; rows of %" G_GSIZE_FORMAT " were expected", name,
                 width);
    return FALSE;
  }
  if (spec->use == MLLAMA_WEIGHT_PROJECTOR && width % (1 + spec->n_taps) != 0) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s has %" G_GSIZE_FORMAT " columns, expected a multiple of %u: the last state and %u taps", name,
                 width, 1 + spec->n_taps, spec->n_taps);
    return FALSE;
  }
  return TRUE;
}

gboolean
mllama_tensor_check_rows (gsize n_tensor_rows, gsize first_row, gsize n_rows, GError **error)
{
  if (first_row <= n_tensor_rows && n_rows <= n_tensor_rows - first_row)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
               "%" G_GSIZE_FORMAT " rows from row %" G_GSIZE_FORMAT " on of a tensor that has %" G_GSIZE_FORMAT, n_rows,
               first_row, n_tensor_rows);
  return FALSE;
}

gboolean
mllama_frame_check_size (const MllamaConfig *config, guint size, GError **error)
{
  guint expected = config->vision.image_size;

  if (size == expected)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
               "the picture was cut into tiles of %u pixels, and the model takes tiles of %u; make the size of the "
               "image processor equal to image_size",
               size, expected);
  return FALSE;
}

gboolean
mllama_pass_sees_keys (const MllamaPass *pass)
{
  for (guint t = 0; t < pass->n_tokens; t++)
    if (pass->n_spans[t] > 0)
      return TRUE;
  return FALSE;
}
