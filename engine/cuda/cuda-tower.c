/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The operations of the vision tower: tables for the kernels, and products and kernels in order. */
#include "cuda-tower.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- tables in device memory --- */

struct _MllamaCudaTowerCache {
  GByteArray *tables; /* what the device has at */
  void *at;           /* NULL: nothing */
};

static MllamaCudaTowerCache *
get_cache (MllamaCudaBackend *be)
{
  if (!be->tower) {
    be->tower = g_new0 (MllamaCudaTowerCache, 1);
    be->tower->tables = g_byte_array_new ();
  }
  return be->tower;
}

void
mllama_cuda_tower_clear (MllamaCudaBackend *be)
{
  if (!be->tower)
    return;
  g_byte_array_unref (be->tower->tables);
  g_clear_pointer (&be->tower, g_free);
}

/* The layers of an encoder all ask for the same tables: those that are there already aren't copied again. The host's
 * memory is pageable, so that the copy has read it when it returns. */
static const guint8 *
upload_tables (MllamaCudaBackend *be, const void *tables, gsize n_bytes)
{
  MllamaCudaTowerCache *cache = get_cache (be);
  void *to = mllama_cuda_get_scratch (be, MLLAMA_CUDA_SCRATCH_LAYOUT, n_bytes);

  if (!to)
    return NULL;
  if (to == cache->at && n_bytes == cache->tables->len && memcmp (tables, cache->tables->data, n_bytes) == 0)
    return to;
  cache->at = NULL;
  if (!mllama_cuda_check (be, cudaMemcpyAsync (to, tables, n_bytes, cudaMemcpyHostToDevice, be->stream),
                          "tables of the vision tower"))
    return NULL;
  g_byte_array_set_size (cache->tables, 0);
  g_byte_array_append (cache->tables, tables, n_bytes);
  cache->at = to;
  return to;
}

/* --- attention --- */

/* [bias][items][has_bias] in one piece; the bias comes first, as it is read in 16 bytes. */
typedef struct {
  guint n_tiles, n_items;
  gsize items_at, has_bias_at, n_bytes;
  guint8 *data;
} Tables;

static guint
count_blocks (guint n_rows, guint block)
{
  return n_rows / block + (n_rows % block > 0);
}

static void
tables_init (Tables *tables, const MllamaTowerLayout *layout, guint queries)
{
  tables->n_tiles = tables->n_items = 0;
  for (guint i = 0; i < layout->n_sequences; i++) {
    tables->n_tiles += count_blocks (layout->sequences[i].n_rows, MLLAMA_CUDA_TOWER_KEYS);
    tables->n_items += count_blocks (layout->sequences[i].n_rows, queries);
  }
  tables->items_at = (gsize) tables->n_tiles * MLLAMA_CUDA_TOWER_KEYS * sizeof (float);
  tables->has_bias_at = tables->items_at + (gsize) tables->n_items * sizeof (MllamaCudaTowerItem);
  tables->n_bytes = tables->has_bias_at + tables->n_tiles;
  tables->data = g_malloc0 (tables->n_bytes);
}

static void
fill_bias (Tables *tables, guint first_tile, const float *key_bias, guint n_rows, float factor)
{
  float *bias = (float *) tables->data + (gsize) first_tile * MLLAMA_CUDA_TOWER_KEYS;
  guint8 *has_bias = tables->data + tables->has_bias_at + first_tile;
  guint n_padded = count_blocks (n_rows, MLLAMA_CUDA_TOWER_KEYS) * MLLAMA_CUDA_TOWER_KEYS;

  for (guint i = 0; i < n_padded; i++) {
    bias[i] = i < n_rows ? key_bias[i] * factor : -INFINITY;
    if (bias[i] != 0)
      has_bias[i / MLLAMA_CUDA_TOWER_KEYS] = TRUE;
  }
}

static guint
count_keys (const MllamaCudaTowerItem *item)
{
  return item->first_query < item->n_real ? item->n_rows : item->n_real;
}

/* Those that take longest start first, so that multiprocessors end at about the same time. */
static int
compare_items (const void *left, const void *right)
{
  const MllamaCudaTowerItem *a = left, *b = right;
  guint n_a = count_keys (a), n_b = count_keys (b);

  if (n_a != n_b)
    return n_a > n_b ? -1 : 1;
  if (a->first != b->first)
    return a->first < b->first ? -1 : 1;
  return (a->first_query > b->first_query) - (a->first_query < b->first_query);
}

static void
fill_tables (Tables *tables, const MllamaTowerLayout *layout, guint queries, float bias_factor)
{
  MllamaCudaTowerItem *items = (MllamaCudaTowerItem *) (tables->data + tables->items_at);
  guint n_items = 0, tile = 0;

  for (guint i = 0; i < layout->n_sequences; i++) {
    const MllamaSequence *sequence = &layout->sequences[i];

    for (guint b = 0; b < count_blocks (sequence->n_rows, queries); b++)
      items[n_items++] = (MllamaCudaTowerItem){sequence->first, sequence->n_real, sequence->n_rows, b * queries, tile};
    fill_bias (tables, tile, layout->key_bias + sequence->first, sequence->n_rows, bias_factor);
    tile += count_blocks (sequence->n_rows, MLLAMA_CUDA_TOWER_KEYS);
  }
  qsort (items, n_items, sizeof *items, compare_items);
}

void
mllama_cuda_tower_attention (MllamaBackend *base, MllamaTensor *a, const MllamaTensor *qkv, guint n_heads,
                             const MllamaTowerLayout *layout)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);
  guint head_width = a->width / n_heads;
  gboolean is_fast = mllama_cuda_tower_is_fast (be, head_width);
  guint queries = is_fast ? MLLAMA_CUDA_TOWER_QUERIES : MLLAMA_CUDA_TOWER_PLAIN_QUERIES;
  const guint8 *there;
  Tables tables;

  tables_init (&tables, layout, queries);
  fill_tables (&tables, layout, queries, is_fast ? sqrtf (head_width) : 1);
  if (tables.n_items > 0 && (there = upload_tables (be, tables.data, tables.n_bytes))) {
    MllamaCudaTowerTables device = {(const float *) there, (const MllamaCudaTowerItem *) (there + tables.items_at),
                                    there + tables.has_bias_at, tables.n_items};

    if (is_fast)
      mllama_cuda_tower_attend (be, a, qkv, n_heads, &device);
    else
      mllama_cuda_tower_attend_plainly (be, a, qkv, n_heads, &device);
  }
  g_free (tables.data);
}

/* --- patch embedding --- */

static const void *
get_element (const MllamaCudaBackend *be, const void *data, gsize index)
{
  return (const guint8 *) data + index * be->element_bytes;
}

static void *
get_row (const MllamaCudaBackend *be, const MllamaTensor *tensor, gsize row)
{
  return (guint8 *) tensor->data + row * tensor->ld * be->element_bytes;
}

/* Everything but the product. */
static MllamaCudaTileRows
describe_tile (const MllamaCudaBackend *be, const MllamaTensor *x, const MllamaPatchWeights *w, float eps,
               const MllamaTowerTile *tile)
{
  guint n_columns = be->base.config->vision.image_size / be->base.config->vision.patch_size;
  guint n_rows = n_columns * n_columns + 1;
  gsize d = x->width, id = tile->aspect_ratio_id, slot = tile->slot;

  return (MllamaCudaTileRows){
      .x = get_row (be, x, tile->first_row),
      .class_token = w->class_token->data,
      .pre_tile = get_element (be, w->pre_tile->data, id * w->pre_tile->ld + slot * d),
      .position = w->position->data,
      .tile_position = get_element (be, w->tile_position->data, id * w->tile_position->ld + slot * n_rows * d),
      .norm_weight = w->norm_weight->data,
      .norm_bias = w->norm_bias->data,
      .width = d,
      .x_ld = x->ld,
      .product_ld = mllama_cuda_round_up (d),
      .pre_tile_gate = w->pre_tile_gate,
      .position_gate = w->position_gate,
      .eps = eps,
      .n_rows = n_rows,
  };
}

/* Products of the frame's tile; NULL after a failure. */
static const void *
multiply_patches (MllamaCudaBackend *be, const MllamaPatchWeights *w, const MllamaTowerTile *tile, gsize ld)
{
  const MllamaFrame *frame = tile->frame;
  gsize first = (gsize) tile->tile * frame->n_patches;
  void *product = mllama_cuda_get_scratch (be, MLLAMA_CUDA_SCRATCH_PRODUCT, frame->n_patches * ld * be->element_bytes);

  if (product)
    mllama_cuda_matmul (be, product, ld, get_element (be, frame->patches, first * frame->ld), frame->ld,
                        frame->n_patches, w->patch, NULL, 1, FALSE);
  return product;
}

void
mllama_cuda_embed_patches (MllamaBackend *base, MllamaTensor *x, const MllamaPatchWeights *w, float eps,
                           const MllamaTowerTile *tiles, guint n_tiles, const guint *pad_rows, guint n_pad_rows)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);

  for (guint i = 0; i < n_tiles; i++) {
    MllamaCudaTileRows rows = describe_tile (be, x, w, eps, &tiles[i]);

    /* The pixels of an unused tile are zero, and so are their products. */
    if (tiles[i].frame && !(rows.product = multiply_patches (be, w, &tiles[i], rows.product_ld)))
      return;
    mllama_cuda_finish_tile (be, &rows);
  }
  for (guint i = 0; i < n_pad_rows; i++)
    mllama_cuda_check (be, cudaMemsetAsync (get_row (be, x, pad_rows[i]), 0, x->ld * be->element_bytes, be->stream),
                       "pad rows");
}

/* --- the rest --- */

void
mllama_cuda_norm_add_tiles (MllamaBackend *base, MllamaTensor *y, const MllamaTensor *x, const MllamaWeight *weight,
                            const MllamaWeight *bias, float eps, const MllamaWeight *table, float gate,
                            const MllamaTowerSpan *spans, guint n_spans)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);
  GArray *pieces = g_array_new (FALSE, FALSE, sizeof (MllamaTowerSpan));
  const guint8 *there;

  for (guint s = 0; s < n_spans; s++)
    for (guint r = 0; r < spans[s].n_rows; r += MLLAMA_CUDA_SPAN_ROWS) {
      MllamaTowerSpan piece = spans[s];

      piece.first_row += r;
      piece.source_first += r * piece.source_step;
      piece.n_rows = MIN (piece.n_rows - r, MLLAMA_CUDA_SPAN_ROWS);
      g_array_append_val (pieces, piece);
    }
  if (pieces->len > 0 && (there = upload_tables (be, pieces->data, pieces->len * sizeof (MllamaTowerSpan))))
    mllama_cuda_norm_add_pieces (be, y, x, weight, bias, eps, table, gate, (const MllamaTowerSpan *) there,
                                 pieces->len);
  g_array_unref (pieces);
}

void
mllama_cuda_copy_columns (MllamaBackend *base, MllamaTensor *y, guint y_first, guint column, const MllamaTensor *x,
                          guint x_first, guint n_rows)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);

  if (n_rows > 0)
    mllama_cuda_copy_rows (be, (guint8 *) get_row (be, y, y_first) + column * be->element_bytes,
                           y->ld * be->element_bytes, get_row (be, x, x_first), x->ld * be->element_bytes,
                           x->width * be->element_bytes, n_rows);
}
