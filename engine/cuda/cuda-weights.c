/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Weights: where each part of the checkpoint goes. */
#include "cuda-load.h"

typedef struct {
  gsize n_rows, width, ld;
} Shape;

/* A vector is padded as a row of a matrix; rows of a table are not. */
static gboolean
find_shape (const MllamaWeightSpec *spec, Shape *shape)
{
  if (!mllama_weight_spec_get_shape (spec, &shape->n_rows, &shape->width))
    return FALSE;
  shape->ld = spec->use == MLLAMA_WEIGHT_TABLE ? shape->width : mllama_cuda_round_up (shape->width);
  return TRUE;
}

/* The last rows of a table end on a boundary too, so that a kernel may read whole vectors. Shapes fit their files, so
 * that nothing overflows. */
gsize
mllama_cuda_weight_get_bytes (MllamaBackend *base, const MllamaWeightSpec *spec)
{
  Shape shape;

  return find_shape (spec, &shape)
             ? mllama_cuda_round_up (shape.n_rows * shape.ld) * mllama_cuda_backend (base)->element_bytes
             : 0;
}

static guint
count_taps (const MllamaWeightSpec *spec)
{
  return spec->use == MLLAMA_WEIGHT_PROJECTOR ? spec->n_taps : 0;
}

static gboolean
is_direct (MllamaCudaBackend *be, const MllamaWeightSpec *spec, const MllamaWeight *weight,
           const MllamaTensorInfo *part)
{
  MllamaTensorDtype own = be->dtype == MLLAMA_DTYPE_F32 ? MLLAMA_TENSOR_F32 : MLLAMA_TENSOR_BF16;

  return part->dtype == own && count_taps (spec) == 0 && (weight->ld == weight->width || weight->n_rows == 1);
}

static void
push_part (MllamaCudaBackend *be, const MllamaWeightSpec *spec, MllamaWeight *weight, const MllamaTensorInfo *part,
           gsize place)
{
  gsize n_most = MLLAMA_CUDA_PIECE_BYTES / mllama_tensor_dtype_get_bytes (part->dtype);
  MllamaCudaPiece piece = {
      weight, spec->source, part, place, 0, 0, count_taps (spec), is_direct (be, spec, weight, part)};

  for (; piece.first < part->n_elements; piece.first += piece.n) {
    piece.n = MIN (n_most, part->n_elements - piece.first);
    mllama_cuda_loader_push (be, &piece);
  }
}

static gboolean
push_parts (MllamaCudaBackend *be, const MllamaWeightSpec *spec, MllamaWeight *weight, GError **error)
{
  gboolean needs_staging = FALSE;
  gsize place = 0;

  for (guint i = 0; i < spec->n_parts; i++)
    needs_staging |= !is_direct (be, spec, weight, spec->parts[i]);
  if (!mllama_cuda_loader_prepare (be, needs_staging, error))
    return FALSE;
  for (guint i = 0; i < spec->n_parts; i++) {
    push_part (be, spec, weight, spec->parts[i], place);
    place += spec->parts[i]->n_elements;
  }
  return TRUE;
}

MllamaWeight *
mllama_cuda_weight_new (MllamaBackend *base, const MllamaWeightSpec *spec, GError **error)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);
  MllamaWeight *weight;
  Shape shape;
  void *data;

  if (!mllama_weight_spec_check (spec, error) || !find_shape (spec, &shape) ||
      !(data = mllama_cuda_alloc_rows (be, 1, mllama_cuda_round_up (shape.n_rows * shape.ld), be->element_bytes,
                                       spec->parts[0]->name, error)))
    return NULL;
  weight = g_new0 (MllamaWeight, 1);
  *weight = (MllamaWeight){spec->use, shape.n_rows, shape.width, shape.ld, data, NULL, 0};
  if (push_parts (be, spec, weight, error))
    return weight;
  mllama_cuda_weight_free (base, weight);
  return NULL;
}

void
mllama_cuda_weight_free (MllamaBackend *base, MllamaWeight *weight)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);

  if (!weight)
    return;
  mllama_cuda_loader_forget (be, weight);
  mllama_cuda_free (be, weight->data);
  mllama_cuda_free (be, weight->scaled);
  g_free (weight);
}
