/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "weights.h"

#include <math.h>
#include <string.h>

/* Two walks over the same list of tensors: the first adds up their bytes, the second makes them. */
typedef struct {
  MllamaWeights *weights;
  MllamaSource *source;
  GCancellable *cancellable;
  gboolean measuring;
  GError *error; /* the first one; later requests return NULL at once */
} Loader;

static const MllamaTensorInfo *
find_tensor (Loader *loader, const char *name)
{
  const MllamaTensorInfo *tensor = mllama_source_find (loader->source, name);

  if (!tensor && !loader->error)
    g_set_error (&loader->error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "tensor %s is missing from the weight files; the checkpoint is incomplete, download it again", name);
  return tensor;
}

static MllamaWeight *
load_spec (Loader *loader, MllamaWeightSpec *spec)
{
  MllamaWeights *weights = loader->weights;
  const MllamaBackendOps *ops = weights->backend->ops;
  MllamaWeight *weight;

  if (loader->error)
    return NULL;
  if (loader->measuring) {
    weights->n_bytes += ops->weight_get_bytes (weights->backend, spec);
    return NULL;
  }
  if (g_cancellable_is_cancelled (loader->cancellable)) {
    g_set_error_literal (&loader->error, MLLAMA_ERROR, MLLAMA_ERROR_CANCELLED, "loading the weights was cancelled");
    return NULL;
  }
  weight = ops->weight_new (weights->backend, spec, &loader->error);
  if (weight)
    g_ptr_array_add (weights->handles, weight);
  return weight;
}

/* A weight from the tensors prefix + name for each name, up to NULL. */
static MllamaWeight *load_weight (Loader *loader, MllamaWeightUse use, const char *prefix, ...) G_GNUC_NULL_TERMINATED;

static MllamaWeight *
load_weight (Loader *loader, MllamaWeightUse use, const char *prefix, ...)
{
  MllamaWeightSpec spec = {.use = use, .source = loader->source};
  const char *name;
  va_list names;

  va_start (names, prefix);
  while ((name = va_arg (names, const char *))) {
    g_autofree char *full = g_strconcat (prefix, name, NULL);
    g_assert (spec.n_parts < G_N_ELEMENTS (spec.parts));
    spec.parts[spec.n_parts] = find_tensor (loader, full);
    if (!spec.parts[spec.n_parts++])
      break;
  }
  va_end (names);
  if (use == MLLAMA_WEIGHT_PROJECTOR)
    spec.n_taps = loader->weights->config->vision.n_taps;
  return load_spec (loader, &spec);
}

/* tanh of a one-element gate, in f32 as the model computes it. */
static float
load_gate (Loader *loader, const char *prefix, const char *name)
{
  g_autofree char *full = g_strconcat (prefix, name, NULL);
  const MllamaTensorInfo *tensor = find_tensor (loader, full);
  float gate = 0;

  if (!tensor || loader->measuring || loader->error)
    return 0;
  mllama_source_read_f32 (loader->source, tensor, 0, 1, &gate, &loader->error);
  return tanhf (gate);
}

/* --- the tower --- */

static void
load_tower_layer (Loader *loader, MllamaTowerLayer *layer, const char *encoder, guint i, gboolean is_gated)
{
  g_autofree char *prefix = g_strdup_printf ("vision_model.%s.layers.%u.", encoder, i);
  const MllamaWeightUse vector = MLLAMA_WEIGHT_VECTOR, matrix = MLLAMA_WEIGHT_MATRIX;

  layer->attention_norm = load_weight (loader, vector, prefix, "input_layernorm.weight", NULL);
  layer->attention_norm_bias = load_weight (loader, vector, prefix, "input_layernorm.bias", NULL);
  layer->qkv = load_weight (loader, matrix, prefix, "self_attn.q_proj.weight", "self_attn.k_proj.weight",
                            "self_attn.v_proj.weight", NULL);
  layer->o = load_weight (loader, matrix, prefix, "self_attn.o_proj.weight", NULL);
  layer->mlp_norm = load_weight (loader, vector, prefix, "post_attention_layernorm.weight", NULL);
  layer->mlp_norm_bias = load_weight (loader, vector, prefix, "post_attention_layernorm.bias", NULL);
  layer->fc1 = load_weight (loader, matrix, prefix, "mlp.fc1.weight", NULL);
  layer->fc1_bias = load_weight (loader, vector, prefix, "mlp.fc1.bias", NULL);
  layer->fc2 = load_weight (loader, matrix, prefix, "mlp.fc2.weight", NULL);
  layer->fc2_bias = load_weight (loader, vector, prefix, "mlp.fc2.bias", NULL);
  layer->attention_gate = is_gated ? load_gate (loader, prefix, "gate_attn") : 1;
  layer->mlp_gate = is_gated ? load_gate (loader, prefix, "gate_ffn") : 1;
}

/* Whether the rows of the unused slots of one arrangement are equal in a table [ids][n_tiles][width]. */
static gboolean
are_unused_slots_equal (Loader *loader, const char *name, guint id, guint n_used)
{
  guint n_tiles = loader->weights->config->vision.max_n_tiles;
  const MllamaTensorInfo *table = find_tensor (loader, name);
  g_autofree float *first = NULL, *other = NULL;
  gsize width;

  if (!table || loader->error)
    return FALSE;
  width = table->n_elements / table->shape[0] / n_tiles;
  first = g_try_new (float, width);
  other = g_try_new (float, width);
  if (!first || !other)
    return FALSE; /* the tower then computes every unused tile: slower, and right */
  for (guint slot = n_used; slot < n_tiles; slot++) {
    if (!mllama_source_read_f32 (loader->source, table, ((gsize) id * n_tiles + slot) * width, width,
                                 slot == n_used ? first : other, &loader->error))
      return FALSE;
    if (slot > n_used && memcmp (first, other, width * sizeof (float)) != 0)
      return FALSE;
  }
  return TRUE;
}

/* Unused tiles may be folded into one row group only where the tables treat them alike (spec 4.6). */
static void
find_foldable (Loader *loader)
{
  const MllamaVisionConfig *config = &loader->weights->config->vision;
  guint8 *foldable = g_new0 (guint8, config->n_aspect_ratios + 1);

  for (guint id = 1; id <= config->n_aspect_ratios && !loader->error; id++) {
    guint n_used = config->aspect_ratios[id - 1].n_rows * config->aspect_ratios[id - 1].n_columns;
    foldable[id] =
        are_unused_slots_equal (loader, "vision_model.pre_tile_positional_embedding.embedding.weight", id, n_used) &&
        are_unused_slots_equal (loader, "vision_model.post_tile_positional_embedding.embedding.weight", id, n_used) &&
        are_unused_slots_equal (loader, "vision_model.gated_positional_embedding.tile_embedding.weight", id, n_used);
  }
  loader->weights->vision.foldable = foldable;
}

static void
load_tower_ends (Loader *loader)
{
  MllamaVisionWeights *vision = &loader->weights->vision;
  const MllamaWeightUse vector = MLLAMA_WEIGHT_VECTOR, table = MLLAMA_WEIGHT_TABLE;
  const char *prefix = "vision_model.";

  vision->patch.patch = load_weight (loader, MLLAMA_WEIGHT_MATRIX, prefix, "patch_embedding.weight", NULL);
  vision->patch.class_token = load_weight (loader, vector, prefix, "class_embedding", NULL);
  vision->patch.pre_tile = load_weight (loader, table, prefix, "pre_tile_positional_embedding.embedding.weight", NULL);
  vision->patch.pre_tile_gate = load_gate (loader, prefix, "pre_tile_positional_embedding.gate");
  vision->patch.position = load_weight (loader, table, prefix, "gated_positional_embedding.embedding", NULL);
  vision->patch.tile_position =
      load_weight (loader, table, prefix, "gated_positional_embedding.tile_embedding.weight", NULL);
  vision->patch.position_gate = load_gate (loader, prefix, "gated_positional_embedding.gate");
  vision->patch.norm_weight = load_weight (loader, vector, prefix, "layernorm_pre.weight", NULL);
  vision->patch.norm_bias = load_weight (loader, vector, prefix, "layernorm_pre.bias", NULL);
  vision->post_norm = load_weight (loader, vector, prefix, "layernorm_post.weight", NULL);
  vision->post_norm_bias = load_weight (loader, vector, prefix, "layernorm_post.bias", NULL);
  vision->post_tile = load_weight (loader, table, prefix, "post_tile_positional_embedding.embedding.weight", NULL);
  vision->post_tile_gate = load_gate (loader, prefix, "post_tile_positional_embedding.gate");
  vision->projector = load_weight (loader, MLLAMA_WEIGHT_PROJECTOR, "multi_modal_projector.", "weight", NULL);
  vision->projector_bias = load_weight (loader, vector, "multi_modal_projector.", "bias", NULL);
}

static void
load_tower (Loader *loader)
{
  const MllamaVisionConfig *config = &loader->weights->config->vision;
  MllamaVisionWeights *vision = &loader->weights->vision;

  load_tower_ends (loader);
  for (guint i = 0; i < config->n_layers; i++)
    load_tower_layer (loader, &vision->local_layers[i], "transformer", i, FALSE);
  for (guint i = 0; i < config->n_global_layers; i++)
    load_tower_layer (loader, &vision->global_layers[i], "global_transformer", i, TRUE);
  if (!loader->measuring)
    find_foldable (loader);
}

/* --- the text model --- */

static void
load_text_layer (Loader *loader, guint i)
{
  MllamaTextLayer *layer = &loader->weights->text.layers[i];
  g_autofree char *prefix = g_strdup_printf ("language_model.layers.%u.", i);
  const MllamaWeightUse vector = MLLAMA_WEIGHT_VECTOR, matrix = MLLAMA_WEIGHT_MATRIX;

  layer->attention_norm = load_weight (loader, vector, prefix, "input_layernorm.weight", NULL);
  layer->mlp_norm = load_weight (loader, vector, prefix, "post_attention_layernorm.weight", NULL);
  layer->gate_up = load_weight (loader, matrix, prefix, "mlp.gate_proj.weight", "mlp.up_proj.weight", NULL);
  layer->down = load_weight (loader, matrix, prefix, "mlp.down_proj.weight", NULL);
  if (layer->is_cross) {
    layer->q = load_weight (loader, matrix, prefix, "cross_attn.q_proj.weight", NULL);
    layer->kv = load_weight (loader, matrix, prefix, "cross_attn.k_proj.weight", "cross_attn.v_proj.weight", NULL);
    layer->q_norm = load_weight (loader, vector, prefix, "cross_attn.q_norm.weight", NULL);
    layer->k_norm = load_weight (loader, vector, prefix, "cross_attn.k_norm.weight", NULL);
    layer->o = load_weight (loader, matrix, prefix, "cross_attn.o_proj.weight", NULL);
    layer->attention_gate = load_gate (loader, prefix, "cross_attn_attn_gate");
    layer->mlp_gate = load_gate (loader, prefix, "cross_attn_mlp_gate");
  } else {
    layer->qkv = load_weight (loader, matrix, prefix, "self_attn.q_proj.weight", "self_attn.k_proj.weight",
                              "self_attn.v_proj.weight", NULL);
    layer->o = load_weight (loader, matrix, prefix, "self_attn.o_proj.weight", NULL);
    layer->attention_gate = layer->mlp_gate = 1;
  }
}

/* Cross layers of a model whose tower is not loaded are never run: they stay on disk. */
static void
load_text (Loader *loader)
{
  MllamaWeights *weights = loader->weights;
  MllamaTextWeights *text = &weights->text;
  const char *head = weights->config->text.tied_embeddings ? "language_model.embed_tokens.weight" : "lm_head.weight";
  const MllamaTensorInfo *tensor;

  text->embedding = load_weight (loader, MLLAMA_WEIGHT_TABLE, "language_model.", "embed_tokens.weight", NULL);
  if ((tensor = find_tensor (loader, "language_model.embed_tokens.weight")))
    text->n_embeddings = tensor->shape[0];
  for (guint i = 0; i < weights->config->text.n_layers; i++)
    if (weights->has_vision || !text->layers[i].is_cross)
      load_text_layer (loader, i);
  text->norm = load_weight (loader, MLLAMA_WEIGHT_VECTOR, "language_model.", "norm.weight", NULL);
  text->head = load_weight (loader, MLLAMA_WEIGHT_MATRIX, head, "", NULL);
  if ((tensor = find_tensor (loader, head)))
    text->n_logits = tensor->shape[0];
}

static void
load_all (Loader *loader, gboolean measuring)
{
  loader->measuring = measuring;
  if (loader->weights->has_vision)
    load_tower (loader);
  load_text (loader);
}

static MllamaWeights *
create_weights (MllamaBackend *backend, const MllamaConfig *config, gboolean with_vision)
{
  MllamaWeights *weights = g_new0 (MllamaWeights, 1);
  guint n_self = 0, n_cross = 0;

  weights->backend = backend;
  weights->config = config;
  weights->has_vision = with_vision && config->has_vision;
  weights->handles = g_ptr_array_new ();
  weights->vision.local_layers = g_new0 (MllamaTowerLayer, config->vision.n_layers);
  weights->vision.global_layers = g_new0 (MllamaTowerLayer, config->vision.n_global_layers);
  weights->text.layers = g_new0 (MllamaTextLayer, config->text.n_layers);
  for (guint i = 0; i < config->text.n_layers; i++) {
    MllamaTextLayer *layer = &weights->text.layers[i];
    layer->is_cross = n_cross < config->text.n_cross_layers && config->text.cross_layers[n_cross] == i;
    layer->index = layer->is_cross ? n_cross++ : n_self++;
  }
  return weights;
}

static gboolean
check_memory (const MllamaWeights *weights, GError **error)
{
  const char *name = weights->backend->ops->name;
  gsize available = weights->backend->ops->get_free_bytes (weights->backend);

  if (weights->n_bytes <= available)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY,
               "the weights take %.2f GB on the %s backend, and %.2f GB are free; free memory there, set text_only if "
               "no picture is to be seen, use a device with more, or a smaller checkpoint (%s)",
               weights->n_bytes / 1e9, name, available / 1e9,
               g_str_equal (name, "cpu") ? "the CPU keeps 4 bytes a parameter" : "dtype=bf16 takes half of f32");
  return FALSE;
}

MllamaWeights *
mllama_weights_load (MllamaBackend *backend, MllamaSource *source, const MllamaConfig *config, gboolean with_vision,
                     GCancellable *cancellable, GError **error)
{
  g_autoptr (MllamaWeights) weights = create_weights (backend, config, with_vision);
  Loader loader = {.weights = weights, .source = source, .cancellable = cancellable};

  load_all (&loader, TRUE);
  if (!loader.error && !check_memory (weights, &loader.error))
    g_assert (loader.error);
  if (!loader.error)
    load_all (&loader, FALSE);
  if (loader.error) {
    g_propagate_error (error, loader.error);
    return NULL;
  }
  return g_steal_pointer (&weights);
}

void
mllama_weights_free (MllamaWeights *weights)
{
  if (!weights)
    return;
  for (guint i = 0; i < weights->handles->len; i++)
    weights->backend->ops->weight_free (weights->backend, g_ptr_array_index (weights->handles, i));
  g_ptr_array_unref (weights->handles);
  g_free (weights->vision.local_layers);
  g_free (weights->vision.global_layers);
  g_free (weights->vision.foldable);
  g_free (weights->text.layers);
  g_free (weights);
}
