/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint-tensors.h"

#include <string.h>

#include <mllama/error.h>

#define EMBEDDING       "language_model.embed_tokens.weight"
#define HEAD            "lm_head.weight"
#define PATCH_EMBEDDING "vision_model.patch_embedding.weight"

static void
clear_expected (gpointer data)
{
  g_free (((MllamaExpectedTensor *) data)->name);
}

static void
add (GArray *list, const char *prefix, const char *name, guint n_dims, gsize rows, gsize columns)
{
  MllamaExpectedTensor tensor = {g_strconcat (prefix, name, NULL), n_dims, {rows, columns}};

  g_array_append_val (list, tensor);
}

static void
add_vector (GArray *list, const char *prefix, const char *name, gsize width)
{
  add (list, prefix, name, 1, width, 0);
}

static void
add_matrix (GArray *list, const char *prefix, const char *name, gsize rows, gsize columns)
{
  add (list, prefix, name, 2, rows, columns);
}

/* --- spec 2.1: vision --- */

static void
add_tower_layer (GArray *list, const MllamaVisionConfig *v, const char *encoder, guint i, gboolean is_gated)
{
  static const char *const projections[] = {"q_proj", "k_proj", "v_proj", "o_proj"};
  static const char *const norms[] = {"input_layernorm", "post_attention_layernorm"};
  g_autofree char *prefix = g_strdup_printf ("vision_model.%s.layers.%u.", encoder, i);
  gsize d = v->hidden_size, f = v->intermediate_size;

  for (guint k = 0; k < G_N_ELEMENTS (norms); k++) {
    g_autofree char *inner = g_strconcat (prefix, norms[k], NULL);
    add_vector (list, inner, ".weight", d);
    add_vector (list, inner, ".bias", d);
  }
  for (guint k = 0; k < G_N_ELEMENTS (projections); k++) {
    g_autofree char *inner = g_strconcat (prefix, "self_attn.", projections[k], NULL);
    add_matrix (list, inner, ".weight", d, d);
  }
  add_matrix (list, prefix, "mlp.fc1.weight", f, d);
  add_vector (list, prefix, "mlp.fc1.bias", f);
  add_matrix (list, prefix, "mlp.fc2.weight", d, f);
  add_vector (list, prefix, "mlp.fc2.bias", d);
  if (is_gated) {
    add_vector (list, prefix, "gate_attn", 1);
    add_vector (list, prefix, "gate_ffn", 1);
  }
}

static void
add_tower_ends (GArray *list, const MllamaVisionConfig *v)
{
  static const char *const norms[] = {"layernorm_pre", "layernorm_post"};
  static const char *const tile_tables[] = {"pre_tile_positional_embedding", "post_tile_positional_embedding"};
  const char *prefix = "vision_model.";
  gsize d = v->hidden_size, n_patches = mllama_vision_config_get_n_patches (v);
  gsize n_ids = v->n_aspect_ratios + 1, n_tiles = v->max_n_tiles, side = v->patch_size;
  MllamaExpectedTensor patch = {g_strdup (PATCH_EMBEDDING), 4, {d, 3, side, side}};

  g_array_append_val (list, patch);
  add_vector (list, prefix, "class_embedding", d);
  for (guint k = 0; k < G_N_ELEMENTS (tile_tables); k++) {
    g_autofree char *inner = g_strconcat (prefix, tile_tables[k], NULL);
    add_matrix (list, inner, ".embedding.weight", n_ids, n_tiles * d);
    add_vector (list, inner, ".gate", 1);
  }
  add_matrix (list, prefix, "gated_positional_embedding.embedding", n_patches, d);
  add_vector (list, prefix, "gated_positional_embedding.gate", 1);
  add_matrix (list, prefix, "gated_positional_embedding.tile_embedding.weight", n_ids, n_tiles * n_patches * d);
  for (guint k = 0; k < G_N_ELEMENTS (norms); k++) {
    g_autofree char *inner = g_strconcat (prefix, norms[k], NULL);
    add_vector (list, inner, ".weight", d);
    add_vector (list, inner, ".bias", d);
  }
}

static void
add_tower (GArray *list, const MllamaConfig *config)
{
  const MllamaVisionConfig *v = &config->vision;

  add_tower_ends (list, v);
  for (guint i = 0; i < v->n_layers; i++)
    add_tower_layer (list, v, "transformer", i, FALSE);
  for (guint i = 0; i < v->n_global_layers; i++)
    add_tower_layer (list, v, "global_transformer", i, TRUE);
  add_matrix (list, "multi_modal_projector.", "weight", config->text.hidden_size, v->output_dim);
  add_vector (list, "multi_modal_projector.", "bias", config->text.hidden_size);
}

/* --- spec 2.1: text --- */

static void
add_text_layer (GArray *list, const MllamaTextConfig *t, guint i, gboolean is_cross)
{
  g_autofree char *prefix = g_strdup_printf ("language_model.layers.%u.", i);
  g_autofree char *attention = g_strconcat (prefix, is_cross ? "cross_attn." : "self_attn.", NULL);
  gsize d = t->hidden_size, f = t->intermediate_size;
  gsize queries = (gsize) t->n_heads * t->head_width, keys = (gsize) t->n_kv_heads * t->head_width;

  add_vector (list, prefix, "input_layernorm.weight", d);
  add_vector (list, prefix, "post_attention_layernorm.weight", d);
  add_matrix (list, attention, "q_proj.weight", queries, d);
  add_matrix (list, attention, "k_proj.weight", keys, d);
  add_matrix (list, attention, "v_proj.weight", keys, d);
  add_matrix (list, attention, "o_proj.weight", d, queries);
  if (is_cross) {
    add_vector (list, attention, "q_norm.weight", t->head_width);
    add_vector (list, attention, "k_norm.weight", t->head_width);
    add_vector (list, prefix, "cross_attn_attn_gate", 1);
    add_vector (list, prefix, "cross_attn_mlp_gate", 1);
  }
  add_matrix (list, prefix, "mlp.gate_proj.weight", f, d);
  add_matrix (list, prefix, "mlp.up_proj.weight", f, d);
  add_matrix (list, prefix, "mlp.down_proj.weight", d, f);
}

static void
add_text (GArray *list, const MllamaTextConfig *t, gboolean with_cross)
{
  guint n_cross = 0;

  add_matrix (list, "", EMBEDDING, MLLAMA_ANY_ROWS, t->hidden_size);
  if (!t->tied_embeddings)
    add_matrix (list, "", HEAD, MLLAMA_ANY_ROWS, t->hidden_size);
  add_vector (list, "language_model.", "norm.weight", t->hidden_size);
  for (guint i = 0; i < t->n_layers; i++) {
    gboolean is_cross = n_cross < t->n_cross_layers && t->cross_layers[n_cross] == i;

    n_cross += is_cross;
    if (with_cross || !is_cross)
      add_text_layer (list, t, i, is_cross);
  }
}

GArray *
mllama_expected_tensors_new (const MllamaConfig *config, gboolean with_vision)
{
  GArray *list = g_array_new (FALSE, FALSE, sizeof (MllamaExpectedTensor));

  g_array_set_clear_func (list, clear_expected);
  add_text (list, &config->text, with_vision);
  if (with_vision)
    add_tower (list, config);
  return list;
}

/* --- against the files --- */

static gboolean
has_shape (const MllamaTensorInfo *tensor, const MllamaExpectedTensor *expected)
{
  if (tensor->n_dims != expected->n_dims)
    return FALSE;
  for (guint i = 0; i < expected->n_dims; i++)
    if (tensor->shape[i] != expected->shape[i] && !(i == 0 && expected->shape[0] == MLLAMA_ANY_ROWS))
      return FALSE;
  return TRUE;
}

/* The patch embedding is a convolution; its kernel may be stored as rows of a matrix. */
static gboolean
is_flat_patch_embedding (const MllamaTensorInfo *tensor, const MllamaExpectedTensor *expected)
{
  return expected->n_dims == 4 && tensor->n_dims == 2 && tensor->shape[0] == expected->shape[0] &&
         tensor->shape[1] == expected->shape[1] * expected->shape[2] * expected->shape[3];
}

static char *
describe_shape (const MllamaExpectedTensor *expected)
{
  if (expected->n_dims == 2 && expected->shape[0] == MLLAMA_ANY_ROWS)
    return g_strdup_printf ("[rows, %" G_GSIZE_FORMAT "]", expected->shape[1]);
  return mllama_tensor_shape_to_string (expected->shape, expected->n_dims);
}

static gboolean
fail_shape (const MllamaTensorInfo *tensor, const MllamaExpectedTensor *expected, const char *origin, GError **error)
{
  g_autofree char *found = mllama_tensor_shape_to_string (tensor->shape, tensor->n_dims);
  g_autofree char *wanted = describe_shape (expected);
  gboolean is_mlx = expected->n_dims == 4 && tensor->n_dims == 4 && tensor->shape[3] == 3;

  g_set_error (error, MLLAMA_ERROR, is_mlx ? MLLAMA_ERROR_UNSUPPORTED : MLLAMA_ERROR_MALFORMED,
               "%s: tensor %s has shape %s; config.json makes it %s%s", origin, tensor->name, found, wanted,
               is_mlx ? " (channels last is MLX layout; use the checkpoint of Hugging Face transformers)" : "");
  return FALSE;
}

static gboolean
fail_missing (MllamaSource *source, const GArray *list, guint first, const char *origin, GError **error)
{
  const MllamaExpectedTensor *expected = &g_array_index (list, MllamaExpectedTensor, first);
  g_autofree char *shape = describe_shape (expected);
  guint n_missing = 0;

  for (guint i = first; i < list->len; i++)
    n_missing += !mllama_source_find (source, g_array_index (list, MllamaExpectedTensor, i).name);
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
               "%s: tensor %s %s is missing (%u of the %u that config.json calls for are); download the checkpoint "
               "again",
               origin, expected->name, shape, n_missing, list->len);
  return FALSE;
}

static gboolean
check_head (MllamaSource *source, const MllamaTextConfig *text, const char *origin, GError **error)
{
  gsize n_embeddings = mllama_source_find (source, EMBEDDING)->shape[0];
  const MllamaTensorInfo *head = mllama_source_find (source, HEAD);

  if (text->tied_embeddings && head) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
                 "%s: config.json says tie_word_embeddings, and the files hold a " HEAD
                 " of their own: tied embeddings that disagree are not implemented; correct config.json, or leave the "
                 "tensor out",
                 origin);
    return FALSE;
  }
  if (n_embeddings < text->vocab_size) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: tensor " EMBEDDING " has %" G_GSIZE_FORMAT " rows; vocab_size is %u, and at least as many are "
                 "expected",
                 origin, n_embeddings, text->vocab_size);
    return FALSE;
  }
  if (head && (head->shape[0] < text->vocab_size || head->shape[0] > n_embeddings)) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: tensor " HEAD " has %" G_GSIZE_FORMAT
                 " rows; vocab_size, %u, to the rows of the embedding, %" G_GSIZE_FORMAT ", are expected",
                 origin, head->shape[0], text->vocab_size, n_embeddings);
    return FALSE;
  }
  return TRUE;
}

/* Tensors beyond those expected have no effect in transformers either; but a bias next to a weight of ours says that
 * the files belong to another model. */
static gboolean
check_biases (MllamaSource *source, const GArray *list, const char *origin, GError **error)
{
  g_autoptr (GHashTable) names = g_hash_table_new (g_str_hash, g_str_equal);
  const MllamaTensorInfo *const *tensors;
  guint n_tensors;

  for (guint i = 0; i < list->len; i++)
    g_hash_table_add (names, g_array_index (list, MllamaExpectedTensor, i).name);
  tensors = mllama_source_list (source, &n_tensors);
  for (guint i = 0; i < n_tensors; i++) {
    const char *name = tensors[i]->name;
    g_autofree char *weight = NULL;

    if (!g_str_has_suffix (name, ".bias") || g_hash_table_contains (names, name))
      continue;
    weight = g_strdup_printf ("%.*s.weight", (int) (strlen (name) - strlen (".bias")), name);
    if (g_hash_table_contains (names, weight)) {
      g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
                   "%s: tensor %s: Mllama has no such bias, and it is not implemented", origin, name);
      return FALSE;
    }
  }
  return TRUE;
}

gboolean
mllama_check_tensors (MllamaSource *source, const MllamaConfig *config, gboolean with_vision, const char *origin,
                      GError **error)
{
  g_autoptr (GArray) list = mllama_expected_tensors_new (config, with_vision);

  for (guint i = 0; i < list->len; i++) {
    const MllamaExpectedTensor *expected = &g_array_index (list, MllamaExpectedTensor, i);
    const MllamaTensorInfo *tensor = mllama_source_find (source, expected->name);

    if (!tensor)
      return fail_missing (source, list, i, origin, error);
    if (!has_shape (tensor, expected) && !is_flat_patch_embedding (tensor, expected))
      return fail_shape (tensor, expected, origin, error);
  }
  return check_head (source, &config->text, origin, error) && check_biases (source, list, origin, error);
}
