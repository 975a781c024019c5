# SPDX-License-Identifier: LGPL-2.1-or-later
"""Planted faults: the mistakes that implementations of Mllama make (spec 7.3), each switched on in the reference.

A fault is a context manager over (reference, semantics), entered inside use_semantics (). FAULTS holds those that show
in the prompt's log-probabilities, ANSWER_FAULTS those that show in answers, PROMPT_FAULTS those that show in ids.
"""

from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import numpy as np
import torch
from transformers.image_processing_backends import PilBackend
from transformers.models.mllama import image_processing_pil_mllama as imaging
from transformers.models.mllama import modeling_mllama as modeling
from transformers.models.mllama import processing_mllama as processing

from .cases import fit_exactly
from .semantics import drop_blind_attention, layer_forward, tap_before_layers

FAULTS = {}
TEXT_FAULTS = set()
tap_after_layers = modeling.MllamaVisionEncoder.forward


def fault(function):
    FAULTS[function.__name__] = contextmanager(function)
    return function


def text_fault(function):
    """A fault that a model without a tower can have as well."""
    TEXT_FAULTS.add(function.__name__)
    return fault(function)


def hook(module, function):
    """function (module, inputs, output) -> the output to use."""
    return closing_hook(module.register_forward_hook(function))


@contextmanager
def closing_hook(handle):
    try:
        yield
    finally:
        handle.remove()


def get_tower(reference):
    return reference.model.model.vision_model


def list_cross_layers(reference):
    return [layer for layer in get_text_model(reference).layers if hasattr(layer, 'cross_attn')]


def get_text_model(reference):
    return reference.model.model.language_model if reference.has_vision else reference.model.model


def count_padded(reference):
    return -(-get_tower(reference).num_patches // 8) * 8


# --- the picture ---

@fault
def alpha_dropped(reference, semantics):
    with patch.object(PilBackend, 'convert_to_rgb', lambda self, image, **kwargs: np.array(image.convert('RGB'))):
        yield


@fault
def resize_without_antialiasing(reference, semantics):
    def resize(self, image, size, **kwargs):
        tensor = torch.from_numpy(np.ascontiguousarray(image)).float()[None]
        tensor = torch.nn.functional.interpolate(tensor, (int(size.height), int(size.width)), mode='bilinear')
        return tensor[0].round().clamp(0, 255).numpy().astype(np.uint8)
    with patch.object(PilBackend, 'resize', resize):
        yield


@fault
def resize_in_one_rounding(reference, semantics):
    def resize(self, image, size, **kwargs):
        tensor = torch.from_numpy(np.ascontiguousarray(image)).double()[None]
        tensor = torch.nn.functional.interpolate(
            tensor, (int(size.height), int(size.width)), mode='bilinear', antialias=True)
        return tensor[0].round().clamp(0, 255).numpy().astype(np.uint8)
    with patch.object(PilBackend, 'resize', resize):
        yield


@fault
def sizes_in_exact_fractions(reference, semantics):
    with patch.object(imaging, 'get_image_size_fit_to_canvas', fit_exactly):
        yield


@fault
def padding_of_the_canvas_zero_after_normalising(reference, semantics):
    sizes = []
    pad, split = imaging.MllamaImageProcessorPil.pad, imaging.split_to_tiles_np

    def remember(self, image, *args, **kwargs):
        sizes.append(image.shape)
        return pad(self, image, *args, **kwargs)

    def split_cleared(image, *args):
        _, height, width = sizes.pop()
        image = image.copy()
        image[:, height:] = 0
        image[:, :, width:] = 0
        return split(image, *args)
    with patch.object(imaging.MllamaImageProcessorPil, 'pad', remember), \
            patch.object(imaging, 'split_to_tiles_np', split_cleared):
        yield


@fault
def missing_tiles_of_the_padding_colour(reference, semantics):
    pack, processor = imaging.pack_images, reference.image_processor
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (processor.image_mean, processor.image_std))

    def pack_coloured(batch, n):
        stacked, counts = pack(batch, n)
        for image, count in zip(stacked[0], counts[0]):
            image[count:] = -mean / std
        return stacked, counts
    with patch.object(imaging, 'pack_images', pack_coloured):
        yield


@fault
def rows_and_columns_of_the_id_swapped(reference, semantics):
    convert = imaging.convert_aspect_ratios_to_ids_np
    with patch.object(imaging, 'convert_aspect_ratios_to_ids_np',
                      lambda batch, n: convert([[(w, h) for h, w in images] for images in batch], n)):
        yield


@fault
def tiles_column_by_column(reference, semantics):
    split = imaging.split_to_tiles_np

    def split_by_column(image, rows, columns):
        tiles = split(image, rows, columns)
        return tiles.reshape(rows, columns, *tiles.shape[1:]).swapaxes(0, 1).reshape(tiles.shape)
    with patch.object(imaging, 'split_to_tiles_np', split_by_column):
        yield


# --- the tower ---

@fault
def tanh_gelu(reference, semantics):
    def forward(self, x):
        return self.fc2(torch.nn.functional.gelu(self.fc1(x), approximate='tanh'))
    with patch.object(modeling.MllamaVisionMLP, 'forward', forward):
        yield


@fault
def taps_one_layer_off(reference, semantics):
    with patch.object(modeling.MllamaVisionEncoder, 'forward',
                      tap_after_layers if semantics == 'meta' else tap_before_layers):
        yield


def change_mask(change):
    """change (mask [I][1][V][V], pad rows [I][V], rows of unused tiles [I][V]) -> mask."""
    prepare = modeling._prepare_aspect_ratio_attention_mask

    def prepare_changed(aspect_ratio_mask, num_patches, target_length, dtype):
        mask = prepare(aspect_ratio_mask, num_patches, target_length, dtype)
        unused = (aspect_ratio_mask == 0).repeat_interleave(target_length, 1)
        is_pad = (torch.arange(target_length) >= num_patches).repeat(aspect_ratio_mask.shape[1]).expand_as(unused)
        return change(mask, is_pad & ~unused, unused)
    return patch.object(modeling, '_prepare_aspect_ratio_attention_mask', prepare_changed)


def mask_keys(mask, keys):
    return mask.masked_fill(keys[:, None, None, :], torch.finfo(mask.dtype).min)


@fault
def pad_keys_left_out(reference, semantics):
    with change_mask(lambda mask, is_pad, unused: mask_keys(mask, is_pad)):
        yield


@fault
def unused_tiles_left_out(reference, semantics):
    with change_mask(lambda mask, is_pad, unused: mask_keys(mask, unused)):
        yield


@fault
def padding_sees_padding(reference, semantics):
    with change_mask(lambda mask, is_pad, unused: mask * 0):
        yield


@fault
def pad_rows_through_layernorm_pre(reference, semantics):
    pad, bias = torch.nn.functional.pad, get_tower(reference).layernorm_pre.bias

    def pad_with_bias(x, padding, **kwargs):
        n = padding[3]
        return torch.cat([x, bias.expand(*x.shape[:-2], n, -1)], -2) if n else pad(x, padding, **kwargs)
    with patch.object(modeling.F, 'pad', pad_with_bias):
        yield


@fault
def pre_tile_embedding_on_the_class_token(reference, semantics):
    tower = get_tower(reference)
    table = tower.pre_tile_positional_embedding

    def add(module, inputs):
        hidden, ids = inputs
        hidden = hidden.clone()
        rows = table.embedding(ids).reshape(-1, table.max_num_tiles, table.hidden_size)
        hidden[:, :, 0] += table.gate.tanh() * rows
        return hidden, ids
    with closing_hook(tower.gated_positional_embedding.register_forward_pre_hook(add)):
        yield


@fault
def no_post_tile_embedding_on_the_class_token(reference, semantics):
    def keep(module, inputs, output):
        output[:, :, 0] = inputs[0][:, :, 0]
        return output
    with hook(get_tower(reference).post_tile_positional_embedding, keep):
        yield


@fault
def no_post_tile_embedding_on_pad_rows(reference, semantics):
    n = get_tower(reference).num_patches

    def keep(module, inputs, output):
        output[:, :, n:] = inputs[0][:, :, n:]
        return output
    with hook(get_tower(reference).post_tile_positional_embedding, keep):
        yield


@fault
def position_embedding_not_scaled_down_by_its_gate(reference, semantics):
    table = get_tower(reference).gated_positional_embedding
    with hook(table, lambda module, inputs, output: output + table.gate.tanh() * table.embedding):
        yield


def change_features(reference, change):
    """change (final [..., d], taps [..., d, n]) -> taps, flattened."""
    width = get_tower(reference).hidden_size

    def apply(module, inputs, output):
        final, taps = output.last_hidden_state[..., :width], output.last_hidden_state[..., width:]
        taps = change(taps.unflatten(-1, (width, -1)))
        output.last_hidden_state = torch.cat([final, taps], -1)
        return output
    return hook(get_tower(reference), apply)


@fault
def taps_one_after_the_other(reference, semantics):
    with change_features(reference, lambda taps: taps.transpose(-1, -2).flatten(-2)):
        yield


@fault
def taps_in_ascending_order(reference, semantics):
    order = np.argsort(reference.config.vision_config.intermediate_layers_indices).tolist()
    with change_features(reference, lambda taps: taps[..., order].flatten(-2)):
        yield


@fault
def taps_through_layernorm_post(reference, semantics):
    norm = get_tower(reference).layernorm_post
    with change_features(reference, lambda taps: norm(taps.transpose(-1, -2)).transpose(-1, -2).flatten(-2)):
        yield


def skip_tanh(gates):
    tanh, ids = torch.Tensor.tanh, {id(gate) for gate in gates}
    return patch.object(torch.Tensor, 'tanh', lambda self: self if id(self) in ids else tanh(self))


@fault
def gates_of_tables_without_tanh(reference, semantics):
    tower = get_tower(reference)
    with skip_tanh([p for name, p in tower.named_parameters() if name.endswith('embedding.gate')]):
        yield


@fault
def gates_of_global_layers_without_tanh(reference, semantics):
    with skip_tanh(get_tower(reference).global_transformer.parameters()):
        yield


def scale_eps(norms, attribute, factor=10.0):
    stack = ExitStack()
    for norm in norms:
        stack.enter_context(patch.object(norm, attribute, getattr(norm, attribute) * factor))
    return stack


@fault
def tower_eps_ten_times_larger(reference, semantics):
    tower = get_tower(reference)
    layers = [*tower.transformer.layers, *tower.global_transformer.layers]
    with scale_eps([n for layer in layers for n in (layer.input_layernorm, layer.post_attention_layernorm)], 'eps'):
        yield


@fault
def outer_norms_with_the_eps_of_the_config(reference, semantics):
    tower = get_tower(reference)
    with scale_eps([tower.layernorm_pre, tower.layernorm_post], 'eps', tower.config.norm_eps / 1e-5):
        yield


# --- the text model ---

@text_fault
def text_eps_ten_times_larger(reference, semantics):
    norms = [m for m in get_text_model(reference).modules() if isinstance(m, modeling.MllamaTextRMSNorm)]
    with scale_eps(norms, 'variance_epsilon'):
        yield


@text_fault
def rope_scaling_left_out(reference, semantics):
    rotary = get_text_model(reference).rotary_emb
    plain, _ = rotary.compute_default_rope_parameters(rotary.config)
    with patch.object(rotary, 'inv_freq', plain):
        yield


@text_fault
def rope_over_adjacent_pairs(reference, semantics):
    def rotate(x, cos, sin):
        half = cos.shape[-1] // 2
        cos, sin = cos[:, None, :, :half], sin[:, None, :, :half]
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)
    with patch.object(modeling, 'apply_rotary_pos_emb',
                      lambda q, k, cos, sin: (rotate(q, cos, sin), rotate(k, cos, sin))):
        yield


@fault
def rope_in_cross_layers(reference, semantics):
    rotary = get_text_model(reference).rotary_emb

    def rotate(module, inputs, q):
        cos, sin = rotary(q, torch.arange(q.shape[2])[None])
        return modeling.apply_rotary_pos_emb(q, q, cos, sin)[0]
    with ExitStack() as stack:
        for layer in list_cross_layers(reference):
            stack.enter_context(hook(layer.cross_attn.q_norm, rotate))
        yield


def skip_norm(reference, name):
    stack = ExitStack()
    for layer in list_cross_layers(reference):
        stack.enter_context(hook(getattr(layer.cross_attn, name), lambda module, inputs, output: inputs[0]))
    return stack


@fault
def no_q_norm(reference, semantics):
    with skip_norm(reference, 'q_norm'):
        yield


@fault
def no_k_norm(reference, semantics):
    with skip_norm(reference, 'k_norm'):
        yield


@fault
def k_norm_on_values_too(reference, semantics):
    with ExitStack() as stack:
        for layer in list_cross_layers(reference):
            attention = layer.cross_attn

            def norm(module, inputs, v, attention=attention):
                return attention.k_norm(v.unflatten(-1, (-1, attention.head_dim))).flatten(-2)
            stack.enter_context(hook(attention.v_proj, norm))
        yield


@text_fault
def key_heads_in_turn(reference, semantics):
    with patch.object(modeling, 'repeat_kv', lambda x, n: x.repeat(1, n, 1, 1)):
        yield


@fault
def gates_of_cross_layers_without_tanh(reference, semantics):
    with skip_tanh([gate for layer in list_cross_layers(reference)
                    for gate in (layer.cross_attn_attn_gate, layer.cross_attn_mlp_gate)]):
        yield


@fault
def tokens_before_the_picture_as_in_the_other_semantics(reference, semantics):
    with patch.object(modeling.MllamaCrossAttentionDecoderLayer, 'forward',
                      layer_forward if semantics == 'meta' else drop_blind_attention):
        yield


@fault
def feed_forward_of_tokens_before_the_picture(reference, semantics):
    forward = modeling.MllamaCrossAttentionDecoderLayer.forward

    def forward_all(self, *args, full_text_row_masked_out_mask=None, **kwargs):
        ones = None if full_text_row_masked_out_mask is None else torch.ones_like(full_text_row_masked_out_mask)
        if semantics != 'meta':
            return forward(self, *args, full_text_row_masked_out_mask=ones, **kwargs)
        zero = hook(self.cross_attn, lambda m, i, o: (o[0] * full_text_row_masked_out_mask[:, 0], o[1]))
        with zero:
            return layer_forward(self, *args, full_text_row_masked_out_mask=ones, **kwargs)
    with patch.object(modeling.MllamaCrossAttentionDecoderLayer, 'forward', forward_all):
        yield


@fault
def unused_tiles_seen_by_text(reference, semantics):
    dense = processing.convert_sparse_cross_attention_mask_to_dense

    def fill(spans, n_tiles, max_n, length):
        return dense(spans, [[max_n] * len(sample) for sample in n_tiles], max_n, length)
    with patch.object(processing, 'convert_sparse_cross_attention_mask_to_dense', fill):
        yield


@fault
def earlier_pictures_stay_visible(reference, semantics):
    def spread(ids, mark):
        return [[i, len(ids)] for i, token in enumerate(ids) if token == mark]
    with patch.object(processing, 'get_cross_attention_token_mask', spread):
        yield


@fault
def adjacent_pictures_not_shared(reference, semantics):
    def cut(ids, mark):
        places = [i for i, token in enumerate(ids) if token == mark] + [len(ids)]
        return [list(pair) for pair in zip(places, places[1:])]
    with patch.object(processing, 'get_cross_attention_token_mask', cut):
        yield


@text_fault
def cross_layers_run_without_a_picture(reference, semantics):
    forward = modeling.MllamaCrossAttentionDecoderLayer.forward

    def forward_blind(self, hidden, cross_attention_states=None, **kwargs):
        if cross_attention_states is not None:
            return forward(self, hidden, cross_attention_states=cross_attention_states, **kwargs)
        return hidden + self.cross_attn_mlp_gate.tanh() * self.mlp(self.post_attention_layernorm(hidden))
    with patch.object(modeling, '_has_cached_cross_attention_states', lambda cache, layer: True), \
            patch.object(modeling.MllamaCrossAttentionDecoderLayer, 'forward', forward_blind):
        yield


# --- answers ---

@contextmanager
def answers_that_see_no_picture(reference, semantics):
    model_class = modeling.MllamaForConditionalGeneration
    update = model_class._update_model_kwargs_for_generation

    def update_blind(self, outputs, model_kwargs, *args, **kwargs):
        model_kwargs = update(self, outputs, model_kwargs, *args, **kwargs)
        if model_kwargs.get('cross_attention_mask') is not None:
            model_kwargs['cross_attention_mask'][:, -1] = 0
        return model_kwargs
    with patch.object(model_class, '_update_model_kwargs_for_generation', update_blind):
        yield


@contextmanager
def only_the_first_eos(reference, semantics):
    config = reference.model.generation_config
    eos = config.eos_token_id
    with patch.object(config, 'eos_token_id', eos[:1] if isinstance(eos, list) else eos):
        yield


@contextmanager
def no_penalty(reference, semantics):
    from . import reference as runner
    with patch.object(runner.GuardedPenalty, '__call__', lambda self, ids, scores: scores):
        yield


ANSWER_FAULTS = {f.__wrapped__.__name__: f for f in (answers_that_see_no_picture, only_the_first_eos, no_penalty)}


# --- prompts ---

@contextmanager
def begin_of_text_otherwise(reference, semantics):
    """Once where the tokenizer adds a second one, twice where it does not."""
    encode = reference.encode_prompt
    bos = reference.tokenizer.bos_token_id

    def encode_otherwise(case):
        ids = encode(case)
        return ids[1:] if ids.count(bos) > 1 else [bos] + ids
    with patch.object(reference, 'encode_prompt', encode_otherwise):
        yield


@contextmanager
def special_spellings_of_a_question_parsed(reference, semantics):
    tokenizer = reference.tokenizer
    encode = tokenizer.__call__

    class Parsing:
        def __call__(self, text, split_special_tokens=False, **kwargs):
            return encode(text, **kwargs)

        def __getattr__(self, name):
            return getattr(tokenizer, name)
    with patch.object(reference, 'tokenizer', Parsing()):
        yield


PROMPT_FAULTS = {f.__wrapped__.__name__: f for f in (begin_of_text_otherwise, special_spellings_of_a_question_parsed)}
