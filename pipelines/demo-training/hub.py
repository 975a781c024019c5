# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stacked parameters of network.py under the names, and in the files, of a Hugging Face checkpoint."""

import json
from pathlib import Path

import torch

from network import Shape

VISION, TEXT = 'vision_model.', 'language_model.model.'
PLAIN = {
    'class_row': VISION + 'class_embedding',
    'pre_tile_gate': VISION + 'pre_tile_positional_embedding.gate',
    'post_tile_gate': VISION + 'post_tile_positional_embedding.gate',
    'position': VISION + 'gated_positional_embedding.embedding',
    'position_gate': VISION + 'gated_positional_embedding.gate',
    'norm_pre_weight': VISION + 'layernorm_pre.weight', 'norm_pre_bias': VISION + 'layernorm_pre.bias',
    'norm_post_weight': VISION + 'layernorm_post.weight', 'norm_post_bias': VISION + 'layernorm_post.bias',
    'projector': 'multi_modal_projector.weight', 'projector_bias': 'multi_modal_projector.bias',
    'embedding': TEXT + 'embed_tokens.weight', 'norm_text': TEXT + 'norm.weight',
    'head': 'language_model.lm_head.weight',
}
TABLES = {  # [ids][T][...] here, [ids][T * ...] there
    'pre_tile': VISION + 'pre_tile_positional_embedding.embedding.weight',
    'post_tile': VISION + 'post_tile_positional_embedding.embedding.weight',
    'tile_position': VISION + 'gated_positional_embedding.tile_embedding.weight',
}
TOWER = {
    'tower_norm1_weight': 'input_layernorm.weight', 'tower_norm1_bias': 'input_layernorm.bias',
    'tower_norm2_weight': 'post_attention_layernorm.weight', 'tower_norm2_bias': 'post_attention_layernorm.bias',
    'tower_out': 'self_attn.o_proj.weight', 'tower_up': 'mlp.fc1.weight', 'tower_up_bias': 'mlp.fc1.bias',
    'tower_down': 'mlp.fc2.weight', 'tower_down_bias': 'mlp.fc2.bias',
}
LAYER = {
    'text_norm1': 'input_layernorm.weight', 'text_norm2': 'post_attention_layernorm.weight',
    'text_down': 'mlp.down_proj.weight',
}


def list_places(shape: Shape):
    """Yields (parameter, index in its stack, name in the checkpoint) of all tensors but patches and tables."""
    for name, place in PLAIN.items():
        yield name, (), place
    for i in range(shape.n_local + shape.n_global):
        is_global = i >= shape.n_local
        stem = (f'{VISION}global_transformer.layers.{i - shape.n_local}.' if is_global
                else f'{VISION}transformer.layers.{i}.')
        for name, end in TOWER.items():
            yield name, (i,), stem + end
        for k, letter in enumerate('qkv'):
            yield 'tower_qkv', (i, k), f'{stem}self_attn.{letter}_proj.weight'
        for k, gate in enumerate(('gate_attn', 'gate_ffn') if is_global else ()):
            yield 'tower_gates', (i - shape.n_local, slice(k, k + 1)), stem + gate
    for i in range(shape.n_layers):
        yield from list_text_places(shape, i)


def list_text_places(shape, i):
    stem = f'{TEXT}layers.{i}.'
    for name, end in LAYER.items():
        yield name, (i,), stem + end
    for k, part in enumerate(('gate', 'up')):
        yield 'text_gate_up', (i, k), f'{stem}mlp.{part}_proj.weight'
    attention = 'cross_attn' if i in shape.cross_layers else 'self_attn'
    for name, index, part in (('text_q', (i,), 'q'), ('text_kv', (i, 0), 'k'), ('text_kv', (i, 1), 'v'),
                              ('text_out', (i,), 'o')):
        yield name, index, f'{stem}{attention}.{part}_proj.weight'
    if i in shape.cross_layers:
        k = shape.cross_layers.index(i)
        yield 'cross_q_norm', (k,), stem + 'cross_attn.q_norm.weight'
        yield 'cross_k_norm', (k,), stem + 'cross_attn.k_norm.weight'
        for n, part in enumerate(('attn', 'mlp')):
            yield 'cross_gates', (k, slice(n, n + 1)), f'{stem}cross_attn_{part}_gate'


def spell_weights(network, dtype=torch.bfloat16):
    """Name in the checkpoint -> tensor."""
    shape, parameters = network.shape, dict(network.named_parameters())
    tensors = {place: parameters[name].detach()[index] for name, index, place in list_places(shape)}
    for name, place in TABLES.items():
        tensors[place] = parameters[name].detach().flatten(1)
    p = shape.patch_size
    tensors[VISION + 'patch_embedding.weight'] = parameters['patch'].detach().view(-1, 3, p, p)
    return {place: tensor.to('cpu', dtype, copy=True).contiguous() for place, tensor in tensors.items()}


@torch.no_grad()
def read_weights(network, tensors):
    """The reverse; every tensor must be there."""
    shape, parameters = network.shape, dict(network.named_parameters())
    for name, index, place in list_places(shape):
        parameters[name][index] = tensors[place].to(parameters[name])
    for name, place in [*TABLES.items(), ('patch', VISION + 'patch_embedding.weight')]:
        parameters[name].copy_(tensors[place].view_as(parameters[name]))


# --- the files beside the weights ---

def make_config(shape: Shape, ids: dict):
    """config.json, in the spelling that transformers of version 4 and 5 both read. ids: special token -> id."""
    text = {
        'model_type': 'mllama_text_model', 'vocab_size': shape.vocab_size, 'hidden_size': shape.width,
        'hidden_act': 'silu', 'num_hidden_layers': shape.n_layers, 'num_attention_heads': shape.n_heads,
        'num_key_value_heads': shape.n_kv_heads, 'intermediate_size': shape.ff, 'rms_norm_eps': shape.eps,
        'max_position_embeddings': shape.max_positions, 'tie_word_embeddings': False,
        'cross_attention_layers': list(shape.cross_layers), 'dropout': 0, 'use_cache': True,
        'rope_theta': shape.rope_theta, 'rope_scaling': {'rope_type': 'default'}, 'initializer_range': 0.02,
        'bos_token_id': ids['<|begin_of_text|>'], 'eos_token_id': list_stops(ids),
        'pad_token_id': ids['<|finetune_right_pad_id|>'], 'torch_dtype': 'bfloat16',
    }
    vision = {
        'model_type': 'mllama_vision_model', 'hidden_size': shape.vision_width, 'hidden_act': 'gelu',
        'num_hidden_layers': shape.n_local, 'num_global_layers': shape.n_global,
        'attention_heads': shape.vision_heads, 'num_channels': 3, 'intermediate_size': shape.vision_ff,
        'vision_output_dim': shape.vision_width * (1 + len(shape.taps)), 'image_size': shape.image_size,
        'patch_size': shape.patch_size, 'norm_eps': shape.eps, 'max_num_tiles': shape.n_tiles,
        'intermediate_layers_indices': list(shape.taps), 'supported_aspect_ratios': [list(r) for r in shape.ratios],
        'initializer_range': 0.02, 'torch_dtype': 'bfloat16',
    }
    return {
        'architectures': ['MllamaForConditionalGeneration'], 'model_type': 'mllama',
        'image_token_index': ids['<|image|>'], 'text_config': text, 'vision_config': vision,
        'torch_dtype': 'bfloat16', 'transformers_version': '4.45.0',
    }


def list_stops(ids):
    return [ids[text] for text in ('<|end_of_text|>', '<|eom_id|>', '<|eot_id|>')]


def make_generation_config(ids):
    """Greedy: the model says what it sees, and the same each time."""
    return {'bos_token_id': ids['<|begin_of_text|>'], 'do_sample': False, 'eos_token_id': list_stops(ids),
            'pad_token_id': ids['<|finetune_right_pad_id|>'], 'max_new_tokens': 64, 'transformers_version': '4.45.0'}


def make_image_options(shape):
    return {
        'do_convert_rgb': True, 'do_normalize': True, 'do_pad': True, 'do_rescale': True, 'do_resize': True,
        'image_mean': [0.48145466, 0.4578275, 0.40821073], 'image_processor_type': 'MllamaImageProcessor',
        'image_std': [0.26862954, 0.26130258, 0.27577711], 'max_image_tiles': shape.n_tiles, 'resample': 2,
        'rescale_factor': 0.00392156862745098, 'size': {'height': shape.image_size, 'width': shape.image_size},
    }


def write_json(path: Path, tree):
    path.write_text(json.dumps(tree, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
