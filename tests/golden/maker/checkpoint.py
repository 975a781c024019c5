# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes a checkpoint directory as Hugging Face lays it out, with weights that make every part of the model matter."""

import hashlib
import json

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import MllamaConfig, MllamaForCausalLM, MllamaForConditionalGeneration, MllamaTextConfig

from . import bpe

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<|image|>' }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
# What files of 4.45 carry in each part of the config; a reader must not take any of it for the model's.
GENERIC_KEYS = {
    '_name_or_path': '', 'add_cross_attention': False, 'architectures': None, 'bad_words_ids': None,
    'begin_suppress_tokens': None, 'chunk_size_feed_forward': 0, 'decoder_start_token_id': None,
    'diversity_penalty': 0.0, 'do_sample': False, 'early_stopping': False, 'finetuning_task': None,
    'id2label': {'0': 'LABEL_0', '1': 'LABEL_1'}, 'is_decoder': False, 'is_encoder_decoder': False,
    'label2id': {'LABEL_0': 0, 'LABEL_1': 1}, 'length_penalty': 1.0, 'max_length': 20, 'min_length': 0,
    'no_repeat_ngram_size': 0, 'num_beams': 1, 'num_return_sequences': 1, 'output_attentions': False,
    'prefix': None, 'pruned_heads': {}, 'repetition_penalty': 1.0, 'return_dict': True, 'temperature': 1.0,
    'tf_legacy_loss': False, 'top_k': 50, 'top_p': 1.0, 'torchscript': False, 'typical_p': 1.0,
}


# --- config ---

def get_eos(shape, tokenizer):
    ids = [tokenizer.token_to_id(text) for text in ('<|end_of_text|>', '<|eom_id|>', '<|eot_id|>')]
    return ids if shape.eos == 'list' else ids[2]


def make_text_config(shape, tokenizer):
    old = shape.config_style == 'old'
    rope = dict(shape.rope)
    if old and rope['rope_type'] != 'default':
        rope_keys = {'rope_theta': shape.rope_theta, 'rope_scaling': rope}
    elif old:
        rope_keys = {'rope_theta': shape.rope_theta, 'rope_scaling': {'type': 'default'}}
    else:
        rope_keys = {'rope_parameters': {**rope, 'rope_theta': shape.rope_theta}}
    return {
        **(GENERIC_KEYS if old else {}),
        'model_type': 'mllama_text_model',
        'vocab_size': tokenizer.token_to_id(bpe.IMAGE),
        'hidden_size': shape.width, 'hidden_act': 'silu', 'num_hidden_layers': shape.n_layers,
        'num_attention_heads': shape.n_heads, 'num_key_value_heads': shape.n_kv_heads,
        'intermediate_size': shape.ff, 'rms_norm_eps': shape.rms_norm_eps,
        'max_position_embeddings': shape.max_positions, 'tie_word_embeddings': False,
        'cross_attention_layers': shape.cross_layers, 'dropout': 0, 'initializer_range': 0.02, 'use_cache': True,
        'bos_token_id': tokenizer.token_to_id('<|begin_of_text|>'), 'eos_token_id': get_eos(shape, tokenizer),
        'pad_token_id': tokenizer.token_to_id('<|finetune_right_pad_id|>'),
        **rope_keys,
        **({'torch_dtype': shape.dtype} if old else {'dtype': shape.dtype}),
    }


def make_vision_config(shape):
    old = shape.config_style == 'old'
    return {
        **({**GENERIC_KEYS, 'tie_word_embeddings': True} if old else {}),
        'model_type': 'mllama_vision_model',
        'hidden_size': shape.vision_width, 'hidden_act': 'gelu', 'num_hidden_layers': shape.n_local,
        'num_global_layers': shape.n_global, 'attention_heads': shape.vision_heads, 'num_channels': 3,
        'intermediate_size': shape.vision_ff, 'vision_output_dim': shape.vision_width * (1 + len(shape.taps)),
        'image_size': shape.image_size, 'patch_size': shape.patch_size, 'norm_eps': shape.norm_eps,
        'max_num_tiles': shape.max_num_tiles, 'intermediate_layers_indices': shape.taps,
        'supported_aspect_ratios': shape.ratios, **({} if old else {'initializer_range': 0.02}),
        **({'torch_dtype': shape.dtype} if old else {'dtype': shape.dtype}),
    }


def make_config(shape, tokenizer):
    """The tree of config.json."""
    text = make_text_config(shape, tokenizer)
    dtype = {'torch_dtype': shape.dtype} if shape.config_style == 'old' else {'dtype': shape.dtype}
    version = {'transformers_version': '4.45.0.dev0' if shape.config_style == 'old' else '5.0.0'}
    if not shape.has_vision:
        return {**text, 'architectures': ['MllamaForCausalLM'], **dtype, **version}
    image = 'image_token_index' if shape.config_style == 'old' else 'image_token_id'
    return {
        'architectures': ['MllamaForConditionalGeneration'], 'model_type': 'mllama',
        image: tokenizer.token_to_id(bpe.IMAGE), 'text_config': text, 'vision_config': make_vision_config(shape),
        **dtype, **version,
    }


# --- weights ---

# Scores of attention get a standard deviation of about 2, and logits one of about 3; fc1 reaches where the forms of
# GELU differ, and fc2 makes them matter.
GAINS = {'q_proj': 1.4, 'k_proj': 1.4, 'fc1': 2.0, 'fc2': 3.0, 'lm_head': 3.0}


def fill_table(shape, name, values):
    """Tile tables hold nothing for id 0, nor, in released checkpoints, for the slots that an arrangement leaves empty."""
    if not shape.zero_unused_slots:
        return values
    rows = values.reshape(values.shape[0], shape.max_num_tiles, -1)
    for number, (height, width) in enumerate([(0, 0)] + shape.ratios):
        rows[number, height * width:] = 0
    return values


def get_scale(name, dims):
    """Standard deviation of the weights of a matrix or table."""
    if 'embed_tokens' in name or name.endswith('class_embedding'):
        return 1.0
    if '_embedding.' in name and 'patch' not in name:
        return 0.6
    fan_in = int(np.prod(dims[1:]))
    return GAINS.get(name.split('.')[-2], 1.0) / fan_in ** 0.5


def make_tensor(shape, name, dims):
    """Random values that depend on the seed and the tensor's name alone."""
    digest = hashlib.sha256(f'{shape.seed} {name}'.encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], 'little'))
    if 'gate' in name.rsplit('.', 1)[-1]:  # tanh of it is 0.45 to 0.65, or the negative
        values = random.uniform(0.5, 0.78, dims) * random.choice([-1, 1])
    elif name.endswith('bias'):
        values = random.normal(0, 0.3, dims)
    elif 'q_norm' in name or 'k_norm' in name:
        values = random.uniform(1.0, 2.0, dims)
    elif 'norm' in name:
        values = random.uniform(0.6, 1.6, dims)
    else:
        values = random.normal(0, get_scale(name, dims), dims)
    return fill_table(shape, name, values) if 'tile' in name and 'weight' in name else values


def make_weights(shape, config):
    """Names as transformers' state dict has them -> tensors of the checkpoint's dtype."""
    if shape.has_vision:
        model_class, parsed = MllamaForConditionalGeneration, MllamaConfig.from_dict(config)
    else:
        model_class, parsed = MllamaForCausalLM, MllamaTextConfig.from_dict(config)
    with torch.device('meta'):
        model = model_class(parsed)
    weights = {}
    for name, parameter in model.state_dict().items():
        dims = list(parameter.shape)
        if name.endswith('lm_head.weight'):
            dims[0] += shape.extra_head_rows
        values = make_tensor(shape, name, dims)
        if name.endswith('lm_head.weight'):
            values[parsed.get_text_config().eos_token_id] *= shape.eos_weight
        weights[name] = torch.from_numpy(values).to(getattr(torch, shape.dtype))
    return weights


def rename_to_hub(name):
    if name.startswith('lm_head'):
        return f'language_model.{name}'
    name = name.removeprefix('model.')
    return name.replace('language_model.', 'language_model.model.', 1)


def write_weights(shape, weights, path):
    if shape.has_vision and shape.layout == 'hub':
        weights = {rename_to_hub(name): tensor for name, tensor in weights.items()}
    if shape.n_shards == 1:
        save_file(weights, path / 'model.safetensors', metadata={'format': 'pt'})
        return
    names = list(weights)
    index = {'metadata': {'total_size': sum(t.numel() * t.element_size() for t in weights.values())}, 'weight_map': {}}
    for number in range(shape.n_shards):
        file = f'model-{number + 1:05}-of-{shape.n_shards:05}.safetensors'
        part = names[number::shape.n_shards]
        save_file({name: weights[name] for name in part}, path / file, metadata={'format': 'pt'})
        index['weight_map'].update({name: file for name in part})
    write_json(path / 'model.safetensors.index.json', index)


# --- the other files ---

def write_json(path, tree):
    path.write_text(json.dumps(tree, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


def write_image_options(shape, path):
    options = {
        'do_convert_rgb': True, 'do_normalize': shape.do_normalize, 'do_pad': True, 'do_rescale': shape.do_rescale,
        'do_resize': True,
        'image_mean': shape.image_mean, 'image_std': shape.image_std, 'max_image_tiles': shape.max_num_tiles,
        'resample': shape.resample, 'rescale_factor': shape.rescale_factor,
        'size': {'height': shape.image_size, 'width': shape.image_size},
    }
    if shape.processor_style == 'old':
        write_json(path / 'preprocessor_config.json', {**options, 'image_processor_type': 'MllamaImageProcessor'})
    else:
        write_json(path / 'processor_config.json', {
            'image_processor': {**options, 'image_processor_type': 'MllamaImageProcessorFast'},
            'processor_class': 'MllamaProcessor'})


def write_tokenizer(shape, tokenizer, path):
    text = bpe.spell_tokenizer(tokenizer, shape.merges_as_strings)
    (path / 'tokenizer.json').write_text(text + '\n', encoding='utf-8')
    config = {
        'bos_token': '<|begin_of_text|>', 'eos_token': '<|eot_id|>', 'pad_token': '<|finetune_right_pad_id|>',
        'clean_up_tokenization_spaces': False, 'model_max_length': shape.max_positions,
        'model_input_names': ['input_ids', 'attention_mask'], 'tokenizer_class': 'PreTrainedTokenizerFast',
    }
    if shape.chat_template == 'tokenizer_config':
        config['chat_template'] = CHAT_TEMPLATE
    elif shape.chat_template == 'chat_template.json':
        write_json(path / 'chat_template.json', {'chat_template': CHAT_TEMPLATE})
    elif shape.chat_template == 'chat_template.jinja':
        (path / 'chat_template.jinja').write_text(CHAT_TEMPLATE, encoding='utf-8')
    write_json(path / 'tokenizer_config.json', config)


def write_checkpoint(shape, path):
    """Writes everything, and returns the weights by the names of transformers' state dict."""
    path.mkdir(parents=True, exist_ok=True)
    for file in path.iterdir():
        file.unlink()
    tokenizer = bpe.make_tokenizer(shape.n_merges, shape.adds_bos)
    config = make_config(shape, tokenizer)
    weights = make_weights(shape, config)
    write_json(path / 'config.json', config)
    write_tokenizer(shape, tokenizer, path)
    if shape.has_vision:
        write_image_options(shape, path)
    if shape.has_generation_config:
        text = config.get('text_config', config)
        write_json(path / 'generation_config.json', {
            'bos_token_id': text['bos_token_id'], 'do_sample': True, 'eos_token_id': text['eos_token_id'],
            'pad_token_id': text['pad_token_id'], 'temperature': 0.6, 'top_p': 0.9,
            'transformers_version': '4.45.0.dev0'})
    write_weights(shape, weights, path)
    for file in path.iterdir():
        file.chmod(0o644)
    return weights


def read_head(path):
    """lm_head.weight as the files have it."""
    for file in sorted(path.glob('*.safetensors')):
        with safe_open(file, 'pt') as tensors:
            for name in tensors.keys():
                if name.endswith('lm_head.weight'):
                    return tensors.get_tensor(name)
    raise SystemExit(f'{path}: no lm_head.weight')
