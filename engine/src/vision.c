/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vision.h"

#include <math.h>

/* The norms around the encoders use the framework's default whatever norm_eps says (spec 4.9). */
#define OUTER_NORM_EPS 1e-5f

struct _MllamaVision {
  const MllamaWeights *weights;
  MllamaBackend *be;
  const MllamaConfig *config;

  /* Work space for so many rows; grows to the largest run seen. */
  guint n_tower_rows, n_output_rows;
  MllamaTensor *x, *y;     /* [V][D] */
  MllamaTensor *qkv;       /* [V][3 * D] */
  MllamaTensor *attention; /* [V][D] */
  MllamaTensor *hidden;    /* [V][F] */
  MllamaTensor *features;  /* [rows][(1 + n_taps) * D] */
  MllamaTensor *projected; /* [rows][text D] */

  guint n_rows; /* rows of the last run's output */
};

/* Everything about one run that is not a tensor. */
typedef struct {
  MllamaSemantics semantics;
  gboolean with_blanks; /* rows of unused tiles are wanted in the output */
  guint n_images;
  const MllamaVisionImage *images;
  MllamaVisionRows *rows;
  guint n_local_rows, n_global_rows, n_output_rows;
  MllamaSequence *local, *global; /* [n_images] */
  float *local_bias, *global_bias;
  GArray *tiles;    /* MllamaTowerTile */
  GArray *pad_rows; /* guint, of the local encoder */
  GArray *spans;    /* MllamaTowerSpan, from the local encoder's rows to the global one's */
} Plan;

static guint
count_patches (const MllamaVision *vision)
{
  return mllama_vision_config_get_n_patches (&vision->config->vision);
}

/* Every tile is padded to a multiple of eight rows (spec 4.1 step 6). */
static guint
count_pad_rows (const MllamaVision *vision)
{
  return (8 - count_patches (vision) % 8) % 8;
}

static guint
count_output_rows (const MllamaVision *vision, const Plan *plan, guint image)
{
  const MllamaVisionRows *rows = &plan->rows[image];
  guint n_tiles = rows->n_used + (plan->with_blanks ? rows->n_blank : 0);

  return n_tiles * count_patches (vision);
}

static void
fold_unused_tiles (const MllamaVision *vision, const MllamaVisionImage *image, MllamaVisionRows *rows)
{
  guint n_unused = vision->config->vision.max_n_tiles - image->n_used;
  gboolean is_foldable = vision->weights->vision.foldable[image->aspect_ratio_id];

  rows->n_used = image->n_used;
  rows->n_blank = is_foldable ? MIN (n_unused, 1) : n_unused;
  rows->n_folded = is_foldable ? MAX (n_unused, 1) : 1;
}

static void
fill_bias (float *bias, guint first, guint n_rows, guint n_equal)
{
  for (guint i = 0; i < n_rows; i++)
    bias[first + i] = logf (n_equal);
}

/* Rows of one picture: [used tiles][blank tiles][pad rows]. Pad rows start equal and are treated alike, so that one
 * stands for all of the picture's until the post-tile embedding tells tiles apart; from there on, one for each tile's
 * (performance 1.4). */
static void
plan_image (const MllamaVision *vision, Plan *plan, guint i)
{
  const MllamaVisionImage *image = &plan->images[i];
  MllamaVisionRows *rows = &plan->rows[i];
  guint n_patches = count_patches (vision), n_pads = count_pad_rows (vision);
  guint n_tiles = rows->n_used + rows->n_blank, n_tile_rows = n_tiles * n_patches;
  guint n_used_rows = rows->n_used * n_patches, pad_row = plan->local[i].first + n_tile_rows;

  plan->local[i].n_real = plan->global[i].n_real = n_used_rows;
  plan->local[i].n_rows = n_tile_rows + (n_pads > 0);
  plan->global[i].n_rows = n_tile_rows + (n_pads > 0 ? n_tiles : 0);
  fill_bias (plan->local_bias, plan->local[i].first, n_used_rows, 1);
  fill_bias (plan->local_bias, plan->local[i].first + n_used_rows, n_tile_rows - n_used_rows, rows->n_folded);
  fill_bias (plan->global_bias, plan->global[i].first, n_used_rows, 1);
  fill_bias (plan->global_bias, plan->global[i].first + n_used_rows, n_tile_rows - n_used_rows, rows->n_folded);
  if (n_pads > 0) {
    fill_bias (plan->local_bias, pad_row, 1, n_pads * vision->config->vision.max_n_tiles);
    g_array_append_val (plan->pad_rows, pad_row);
  }
  for (guint t = 0; t < n_tiles; t++) {
    gboolean is_used = t < rows->n_used;
    MllamaTowerTile tile = {plan->local[i].first + t * n_patches, is_used ? image->frame : NULL, t, t,
                            image->aspect_ratio_id};
    MllamaTowerSpan span = {
        plan->global[i].first + t * n_patches, n_patches, tile.first_row, 1, t, image->aspect_ratio_id};
    MllamaTowerSpan pad = {plan->global[i].first + n_tile_rows + t, 1, pad_row, 0, t, image->aspect_ratio_id};

    g_array_append_val (plan->tiles, tile);
    g_array_append_val (plan->spans, span);
    if (n_pads > 0) {
      g_array_append_val (plan->spans, pad);
      fill_bias (plan->global_bias, pad.first_row, 1, n_pads * (is_used ? 1 : rows->n_folded));
    }
  }
}

static void
plan_init (const MllamaVision *vision, Plan *plan)
{
  guint has_pads = count_pad_rows (vision) > 0;

  plan->local = g_new0 (MllamaSequence, plan->n_images);
  plan->global = g_new0 (MllamaSequence, plan->n_images);
  plan->tiles = g_array_new (FALSE, FALSE, sizeof (MllamaTowerTile));
  plan->pad_rows = g_array_new (FALSE, FALSE, sizeof (guint));
  plan->spans = g_array_new (FALSE, FALSE, sizeof (MllamaTowerSpan));
  for (guint i = 0; i < plan->n_images; i++) {
    MllamaVisionRows *rows = &plan->rows[i];
    guint n_tiles;

    fold_unused_tiles (vision, &plan->images[i], rows);
    n_tiles = rows->n_used + rows->n_blank;
    plan->local[i].first = plan->n_local_rows;
    plan->global[i].first = plan->n_global_rows;
    rows->first_row = plan->n_output_rows;
    plan->n_local_rows += n_tiles * count_patches (vision) + has_pads;
    plan->n_global_rows += n_tiles * (count_patches (vision) + has_pads);
    plan->n_output_rows += count_output_rows (vision, plan, i);
  }
  plan->local_bias = g_new0 (float, plan->n_local_rows);
  plan->global_bias = g_new0 (float, plan->n_global_rows);
  for (guint i = 0; i < plan->n_images; i++)
    plan_image (vision, plan, i);
}

static void
plan_clear (Plan *plan)
{
  g_free (plan->local);
  g_free (plan->global);
  g_free (plan->local_bias);
  g_free (plan->global_bias);
  g_array_unref (plan->tiles);
  g_array_unref (plan->pad_rows);
  g_array_unref (plan->spans);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Plan, plan_clear)

/* Spec 4.2. */
static void
run_layer (MllamaVision *vision, const MllamaTowerLayer *layer, MllamaTensor *x, const MllamaTowerLayout *layout)
{
  const MllamaVisionConfig *config = &vision->config->vision;
  const MllamaBackendOps *ops = vision->be->ops;
  float eps = config->norm_eps;

  ops->layer_norm_linear (vision->be, vision->qkv, x, layout->n_rows, layer->attention_norm, layer->attention_norm_bias,
                          eps, layer->qkv, NULL, FALSE);
  ops->tower_attention (vision->be, vision->attention, vision->qkv, config->n_heads, layout);
  ops->linear_residual (vision->be, x, vision->attention, layout->n_rows, layer->o, NULL, layer->attention_gate);
  ops->layer_norm_linear (vision->be, vision->hidden, x, layout->n_rows, layer->mlp_norm, layer->mlp_norm_bias, eps,
                          layer->fc1, layer->fc1_bias, TRUE);
  ops->linear_residual (vision->be, x, vision->hidden, layout->n_rows, layer->fc2, layer->fc2_bias, layer->mlp_gate);
}

/* Copies the rows that are wanted into columns [column, column + D) of the features. */
static void
store_features (MllamaVision *vision, const Plan *plan, const MllamaSequence *sequences, const MllamaTensor *x,
                guint column)
{
  for (guint i = 0; i < plan->n_images; i++)
    vision->be->ops->copy_columns (vision->be, vision->features, plan->rows[i].first_row, column, x, sequences[i].first,
                                   count_output_rows (vision, plan, i));
}

/* Taps are the states that enter a layer (meta) or leave it (transformers): spec 0.3 A. */
static void
store_taps (MllamaVision *vision, const Plan *plan, guint layer)
{
  const MllamaVisionConfig *config = &vision->config->vision;

  for (guint k = 0; k < config->n_taps; k++)
    if (config->taps[k] == layer)
      store_features (vision, plan, plan->local, vision->x, (1 + k) * config->hidden_size);
}

gboolean
mllama_vision_check_cancelled (GCancellable *cancellable, GError **error)
{
  if (!g_cancellable_is_cancelled (cancellable))
    return TRUE;
  g_set_error_literal (error, MLLAMA_ERROR, MLLAMA_ERROR_CANCELLED, "the encode was cancelled");
  return FALSE;
}

static gboolean
run_local_encoder (MllamaVision *vision, const Plan *plan, GCancellable *cancellable, GError **error)
{
  const MllamaVisionWeights *w = &vision->weights->vision;
  MllamaTowerLayout layout = {plan->n_local_rows, plan->n_images, plan->local, plan->local_bias};

  for (guint i = 0; i < vision->config->vision.n_layers; i++) {
    if (!mllama_vision_check_cancelled (cancellable, error))
      return FALSE;
    if (plan->semantics == MLLAMA_SEMANTICS_META)
      store_taps (vision, plan, i);
    run_layer (vision, &w->local_layers[i], vision->x, &layout);
    if (plan->semantics == MLLAMA_SEMANTICS_TRANSFORMERS)
      store_taps (vision, plan, i);
  }
  return TRUE;
}

static gboolean
run_global_encoder (MllamaVision *vision, const Plan *plan, GCancellable *cancellable, GError **error)
{
  const MllamaVisionWeights *w = &vision->weights->vision;
  MllamaTowerLayout layout = {plan->n_global_rows, plan->n_images, plan->global, plan->global_bias};

  for (guint i = 0; i < vision->config->vision.n_global_layers; i++) {
    if (!mllama_vision_check_cancelled (cancellable, error))
      return FALSE;
    run_layer (vision, &w->global_layers[i], vision->y, &layout);
  }
  return TRUE;
}

static void
free_tensors (MllamaVision *vision, MllamaTensor ***tensors, guint n_tensors)
{
  for (guint i = 0; i < n_tensors; i++) {
    if (*tensors[i])
      vision->be->ops->tensor_free (vision->be, *tensors[i]);
    *tensors[i] = NULL;
  }
}

static void
free_work_space (MllamaVision *vision)
{
  MllamaTensor **all[] = {&vision->x,      &vision->y,        &vision->qkv,      &vision->attention,
                          &vision->hidden, &vision->features, &vision->projected};

  free_tensors (vision, all, G_N_ELEMENTS (all));
  vision->n_tower_rows = vision->n_output_rows = 0;
}

static gboolean
ensure_work_space (MllamaVision *vision, guint n_tower_rows, guint n_output_rows, GError **error)
{
  const MllamaVisionConfig *config = &vision->config->vision;
  const MllamaBackendOps *ops = vision->be->ops;
  guint d = config->hidden_size;

  if (n_tower_rows <= vision->n_tower_rows && n_output_rows <= vision->n_output_rows)
    return TRUE;
  n_tower_rows = MAX (n_tower_rows, vision->n_tower_rows);
  n_output_rows = MAX (n_output_rows, vision->n_output_rows);
  free_work_space (vision);
  if (!(vision->x = ops->tensor_new (vision->be, MLLAMA_TENSOR_ACT, n_tower_rows, d, error)) ||
      !(vision->y = ops->tensor_new (vision->be, MLLAMA_TENSOR_ACT, n_tower_rows, d, error)) ||
      !(vision->qkv = ops->tensor_new (vision->be, MLLAMA_TENSOR_ACT, n_tower_rows, 3 * (gsize) d, error)) ||
      !(vision->attention = ops->tensor_new (vision->be, MLLAMA_TENSOR_ACT, n_tower_rows, d, error)) ||
      !(vision->hidden =
            ops->tensor_new (vision->be, MLLAMA_TENSOR_ACT, n_tower_rows, config->intermediate_size, error)) ||
      !(vision->features = ops->tensor_new (vision->be, MLLAMA_TENSOR_ACT, n_output_rows, config->output_dim, error)) ||
      !(vision->projected =
            ops->tensor_new (vision->be, MLLAMA_TENSOR_ACT, n_output_rows, vision->config->text.hidden_size, error))) {
    free_work_space (vision);
    return FALSE;
  }
  vision->n_tower_rows = n_tower_rows;
  vision->n_output_rows = n_output_rows;
  return TRUE;
}

/* Spec 4.1. */
gboolean
mllama_vision_run (MllamaVision *vision, const MllamaVisionImage *images, guint n_images, MllamaSemantics semantics,
                   gboolean with_blanks, MllamaVisionRows *rows, GCancellable *cancellable, GError **error)
{
  const MllamaVisionWeights *w = &vision->weights->vision;
  const MllamaBackendOps *ops = vision->be->ops;
  g_auto (Plan)
      plan = {.semantics = semantics, .with_blanks = with_blanks, .n_images = n_images, .images = images, .rows = rows};

  plan_init (vision, &plan);
  if (!ensure_work_space (vision, plan.n_global_rows, plan.n_output_rows, error))
    return FALSE;
  vision->n_rows = plan.n_output_rows;
  ops->embed_patches (vision->be, vision->x, &w->patch, OUTER_NORM_EPS, (const MllamaTowerTile *) plan.tiles->data,
                      plan.tiles->len, (const guint *) plan.pad_rows->data, plan.pad_rows->len);
  if (!run_local_encoder (vision, &plan, cancellable, error))
    return FALSE;
  ops->norm_add_tiles (vision->be, vision->y, vision->x, w->post_norm, w->post_norm_bias, OUTER_NORM_EPS, w->post_tile,
                       w->post_tile_gate, (const MllamaTowerSpan *) plan.spans->data, plan.spans->len);
  if (!run_global_encoder (vision, &plan, cancellable, error))
    return FALSE;
  store_features (vision, &plan, plan.global, vision->y, 0);
  return TRUE;
}

gboolean
mllama_vision_run_layer (MllamaVision *vision, const MllamaVisionImage *image, guint layer, MllamaTensor *x,
                         GError **error)
{
  const MllamaVisionWeights *w = &vision->weights->vision;
  guint n_local = vision->config->vision.n_layers;
  MllamaVisionRows rows;
  g_auto (Plan) plan = {.n_images = 1, .images = image, .rows = &rows};
  MllamaTowerLayout layout;

  plan_init (vision, &plan);
  if (!ensure_work_space (vision, plan.n_global_rows, plan.n_output_rows, error))
    return FALSE;
  layout = layer < n_local ? (MllamaTowerLayout){plan.n_local_rows, 1, plan.local, plan.local_bias}
                           : (MllamaTowerLayout){plan.n_global_rows, 1, plan.global, plan.global_bias};
  run_layer (vision, layer < n_local ? &w->local_layers[layer] : &w->global_layers[layer - n_local], x, &layout);
  return TRUE;
}

const MllamaTensor *
mllama_vision_get_features (MllamaVision *vision)
{
  return vision->features;
}

const MllamaTensor *
mllama_vision_project (MllamaVision *vision)
{
  const MllamaVisionWeights *w = &vision->weights->vision;

  vision->be->ops->linear (vision->be, vision->projected, vision->features, vision->n_rows, w->projector,
                           w->projector_bias);
  return vision->projected;
}

MllamaVision *
mllama_vision_new (const MllamaWeights *weights)
{
  MllamaVision *vision = g_new0 (MllamaVision, 1);

  vision->weights = weights;
  vision->be = weights->backend;
  vision->config = weights->config;
  return vision;
}

void
mllama_vision_free (MllamaVision *vision)
{
  if (!vision)
    return;
  free_work_space (vision);
  g_free (vision);
}
