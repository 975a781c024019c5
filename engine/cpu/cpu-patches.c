/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tower's input, spec 4.1 steps 1 to 6. */
#include "cpu.h"

#include <string.h>

typedef struct {
  MllamaCpuBackend *be;
  MllamaTensor *x;
  const MllamaPatchWeights *w;
  const MllamaTowerTile *tile;
  float eps;
  guint image_size, patch_size, n_columns; /* patches of a tile: n_columns * n_columns */
  guint n_patches;                         /* P */
} Patches;

/* Pixels of one patch, in the order of a convolution's weight: channel, row, column. */
static void
prepare_patch (gpointer op, gsize patch, float *input, guint worker)
{
  const Patches *p = op;
  gsize side = p->image_size, plane = side * side;
  const float *corner = p->tile->frame->values + p->tile->tile * 3 * plane +
                        patch / p->n_columns * p->patch_size * side + patch % p->n_columns * p->patch_size;

  for (guint channel = 0; channel < 3; channel++)
    for (guint y = 0; y < p->patch_size; y++) {
      memcpy (input, corner + channel * plane + y * side, p->patch_size * sizeof (float));
      input += p->patch_size;
    }
}

/* Embedding of row p of the tile -> the row of x: positions, then the norm. */
static void
store_row (const Patches *p, gsize row, const float *embedding, guint worker)
{
  const MllamaPatchWeights *w = p->w;
  gsize d = p->x->width;
  float *sum = p->be->scratch[worker];
  const float *position = w->position->data + row * d;
  const float *tile = w->tile_position->data + p->tile->aspect_ratio_id * w->tile_position->ld +
                      ((gsize) p->tile->slot * p->n_patches + row) * d;

  for (gsize i = 0; i < d; i++)
    sum[i] = embedding[i] + (1 - w->position_gate) * position[i] + w->position_gate * tile[i];
  mllama_cpu_layer_norm_row (mllama_cpu_tensor_row (p->x, p->tile->first_row + row), sum, w->norm_weight->data,
                             w->norm_bias->data, d, p->eps);
}

static void
finish_patch (gpointer op, gsize patch, float *product, guint worker)
{
  const Patches *p = op;
  gsize d = p->x->width;
  const float *pre = p->w->pre_tile->data + p->tile->aspect_ratio_id * p->w->pre_tile->ld + p->tile->slot * d;

  for (gsize i = 0; i < d; i++)
    product[i] += p->w->pre_tile_gate * pre[i];
  store_row (p, patch + 1, product, worker);
}

/* The pixels of an unused tile are zero, and so are their products. */
static void
embed_unused_tile (Patches *p)
{
  for (gsize patch = 0; patch + 1 < p->n_patches; patch++) {
    memset (p->be->outputs, 0, p->x->width * sizeof (float));
    finish_patch (p, patch, p->be->outputs, 0);
  }
}

void
mllama_cpu_embed_patches (MllamaBackend *be, MllamaTensor *x, const MllamaPatchWeights *w, float eps,
                          const MllamaTowerTile *tiles, guint n_tiles, const guint *pad_rows, guint n_pad_rows)
{
  const MllamaVisionConfig *config = &be->config->vision;
  guint n_columns = config->image_size / config->patch_size;
  Patches patches = {mllama_cpu_backend (be),  x, w, NULL, eps, config->image_size, config->patch_size, n_columns,
                     n_columns * n_columns + 1};
  MllamaCpuProduct product = {w->patch, patches.n_patches - 1, NULL, prepare_patch, finish_patch};

  for (guint i = 0; i < n_tiles; i++) {
    patches.tile = &tiles[i];
    store_row (&patches, 0, w->class_token->data, 0);
    if (tiles[i].frame)
      mllama_cpu_multiply (patches.be, &product, &patches);
    else
      embed_unused_tile (&patches);
  }
  for (guint i = 0; i < n_pad_rows; i++)
    memset (mllama_cpu_tensor_row (x, pad_rows[i]), 0, x->width * sizeof (float));
}
