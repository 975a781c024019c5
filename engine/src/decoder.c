/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "decoder.h"

struct _MllamaDecoder {
  const MllamaWeights *weights;
  MllamaBackend *be;
  const MllamaTextConfig *config;
  guint max_tokens;

  MllamaTensor *x;         /* [T][D] the residual stream */
  MllamaTensor *q;         /* [T][H * C] */
  MllamaTensor *attention; /* [T][H * C] */
  MllamaTensor *hidden;    /* [T][F] */
  MllamaTensor *normed;    /* [outputs][D] */
  MllamaTensor *logits;    /* [outputs][Z], in full */
};

/* x += down (silu (gate (norm x)) * up (norm x)), gated in cross layers. */
static void
run_feed_forward (MllamaDecoder *decoder, const MllamaTextLayer *layer, gboolean sighted_only, const MllamaPass *pass)
{
  const MllamaBackendOps *ops = decoder->be->ops;

  ops->norm_swiglu (decoder->be, decoder->hidden, decoder->x, layer->mlp_norm, decoder->config->rms_norm_eps,
                    layer->gate_up, pass);
  ops->linear_residual_tokens (decoder->be, decoder->x, decoder->hidden, layer->down, layer->mlp_gate, sighted_only,
                               pass);
}

/* Spec 5.3. */
static void
run_self_layer (MllamaDecoder *decoder, const MllamaTextLayer *layer, const MllamaPass *pass)
{
  const MllamaBackendOps *ops = decoder->be->ops;

  ops->norm_qkv_rope (decoder->be, decoder->q, decoder->x, layer->attention_norm, decoder->config->rms_norm_eps,
                      layer->qkv, layer->index, pass);
  ops->self_attention (decoder->be, decoder->attention, decoder->q, layer->index, pass);
  ops->linear_residual_tokens (decoder->be, decoder->x, decoder->attention, layer->o, 1, FALSE, pass);
  run_feed_forward (decoder, layer, FALSE, pass);
}

/* Spec 5.4. What a token sees is in the pass: no keys make the attention zero, and sees_image decides on the
 * feed-forward branch. */
static void
run_cross_layer (MllamaDecoder *decoder, const MllamaTextLayer *layer, const MllamaPass *pass)
{
  const MllamaBackendOps *ops = decoder->be->ops;

  ops->norm_q_heads (decoder->be, decoder->q, decoder->x, layer->attention_norm, decoder->config->rms_norm_eps,
                     layer->q, layer->q_norm, pass);
  ops->cross_attention (decoder->be, decoder->attention, decoder->q, layer->index, pass);
  ops->linear_residual_tokens (decoder->be, decoder->x, decoder->attention, layer->o, layer->attention_gate, FALSE,
                               pass);
  run_feed_forward (decoder, layer, TRUE, pass);
}

/* The layers, from ids to the residual stream. Without a picture in sight a cross layer changes nothing, and is
 * skipped (spec 5.7). */
static void
run_layers (MllamaDecoder *decoder, const MllamaPass *pass)
{
  const MllamaTextWeights *w = &decoder->weights->text;
  gboolean sees_pictures = mllama_pass_sees_keys (pass);

  decoder->be->ops->embed_tokens (decoder->be, decoder->x, w->embedding, pass);
  for (guint i = 0; i < decoder->config->n_layers; i++) {
    const MllamaTextLayer *layer = &w->layers[i];
    if (!layer->is_cross)
      run_self_layer (decoder, layer, pass);
    else if (sees_pictures)
      run_cross_layer (decoder, layer, pass);
  }
}

/* From the residual stream of the outputs to logits and ids (spec 5.6). */
static void
run_head (MllamaDecoder *decoder, const MllamaPass *pass)
{
  const MllamaTextWeights *w = &decoder->weights->text;
  const MllamaBackendOps *ops = decoder->be->ops;

  ops->norm_outputs (decoder->be, decoder->normed, decoder->x, w->norm, decoder->config->rms_norm_eps, pass);
  ops->logits (decoder->be, decoder->logits, decoder->normed, w->head, pass);
  if (pass->sampling)
    ops->draw (decoder->be, decoder->logits, pass);
}

void
mllama_decoder_run (MllamaDecoder *decoder, const MllamaPass *pass)
{
  g_assert (pass->n_tokens <= decoder->max_tokens);
  if (decoder->be->ops->pass_begin (decoder->be, pass)) {
    run_layers (decoder, pass);
    run_head (decoder, pass);
  }
  decoder->be->ops->pass_end (decoder->be);
}

gboolean
mllama_decoder_run_layer (MllamaDecoder *decoder, guint layer, const MllamaPass *pass, float *x, GError **error)
{
  const MllamaTextLayer *chosen = &decoder->weights->text.layers[layer];
  const MllamaBackendOps *ops = decoder->be->ops;

  g_assert (pass->n_tokens <= decoder->max_tokens && !pass->may_record);
  if (!ops->tensor_write (decoder->be, decoder->x, 0, pass->n_tokens, x, error))
    return FALSE;
  if (ops->pass_begin (decoder->be, pass)) {
    if (chosen->is_cross)
      run_cross_layer (decoder, chosen, pass);
    else
      run_self_layer (decoder, chosen, pass);
  }
  ops->pass_end (decoder->be);
  return ops->tensor_read (decoder->be, decoder->x, 0, pass->n_tokens, x, error);
}

const MllamaTensor *
mllama_decoder_get_hidden (const MllamaDecoder *decoder)
{
  return decoder->normed;
}

const MllamaTensor *
mllama_decoder_get_logits (const MllamaDecoder *decoder)
{
  return decoder->logits;
}

void
mllama_decoder_fill_slab (MllamaDecoder *decoder, MllamaSlab *slab, const MllamaTensor *y, guint y_first)
{
  for (guint i = 0; i < decoder->config->n_layers; i++) {
    const MllamaTextLayer *layer = &decoder->weights->text.layers[i];
    if (layer->is_cross)
      decoder->be->ops->cross_keys_values (decoder->be, slab, layer->index, y, y_first, layer->kv, layer->k_norm,
                                           decoder->config->rms_norm_eps);
  }
}

MllamaDecoder *
mllama_decoder_new (const MllamaWeights *weights, guint max_tokens, GError **error)
{
  g_autoptr (MllamaDecoder) decoder = g_new0 (MllamaDecoder, 1);
  const MllamaTextConfig *config = &weights->config->text;
  MllamaBackend *be = weights->backend;
  gsize q_width = (gsize) config->n_heads * config->head_width;

  decoder->weights = weights;
  decoder->be = be;
  decoder->config = config;
  decoder->max_tokens = max_tokens;
  if (!(decoder->x = be->ops->tensor_new (be, MLLAMA_TENSOR_ACT, max_tokens, config->hidden_size, error)) ||
      !(decoder->q = be->ops->tensor_new (be, MLLAMA_TENSOR_ACT, max_tokens, q_width, error)) ||
      !(decoder->attention = be->ops->tensor_new (be, MLLAMA_TENSOR_ACT, max_tokens, q_width, error)) ||
      !(decoder->hidden = be->ops->tensor_new (be, MLLAMA_TENSOR_ACT, max_tokens, config->intermediate_size, error)) ||
      !(decoder->normed = be->ops->tensor_new (be, MLLAMA_TENSOR_ACT, MLLAMA_MAX_ROWS, config->hidden_size, error)) ||
      !(decoder->logits = be->ops->tensor_new (be, MLLAMA_TENSOR_FULL, MLLAMA_MAX_ROWS, weights->text.n_logits, error)))
    return NULL;
  return g_steal_pointer (&decoder);
}

void
mllama_decoder_free (MllamaDecoder *decoder)
{
  if (!decoder)
    return;
  MllamaTensor *tensors[] = {decoder->x,      decoder->q,      decoder->attention,
                             decoder->hidden, decoder->normed, decoder->logits};
  for (guint i = 0; i < G_N_ELEMENTS (tensors); i++)
    if (tensors[i])
      decoder->be->ops->tensor_free (decoder->be, tensors[i]);
  g_free (decoder);
}
