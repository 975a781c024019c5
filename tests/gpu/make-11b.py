#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes a checkpoint of Llama-3.2-11B-Vision's size, or a smaller one of its kind, with random weights.

    make-11b.py --out DIR [--size full|middle|small|tiny] [--device cuda|cpu] [--seed N]

Unlike plain N(0, 0.02) weights, these make every part of the model matter: gpulib/weights.py says how.
"""

import argparse
import hashlib
import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer
from transformers import MllamaConfig, MllamaForConditionalGeneration

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'golden'))
from maker import bpe, checkpoint  # noqa: E402
from maker.shapes import ROPE_LLAMA3, Shape  # noqa: E402

from gpulib.weights import make_values  # noqa: E402

N_BASE, N_SPECIAL = 128000, 256
FULL = Shape(
    'full', image_size=560, vision_width=1280, vision_heads=16, vision_ff=5120, n_local=32, n_global=8,
    taps=[3, 7, 15, 23, 30], n_merges=400, width=4096, n_heads=32, n_kv_heads=8, ff=14336, n_layers=40,
    cross_layers=[3, 8, 13, 18, 23, 28, 33, 38], max_positions=131072, n_shards=8, chat_template='chat_template.json',
    rope={**ROPE_LLAMA3, 'original_max_position_embeddings': 8192})
SHAPES = {
    'full': FULL,
    # As deep, and an eighth as wide: how errors grow with depth shows on a CPU.
    'middle': replace(FULL, image_size=112, vision_width=160, vision_heads=2, vision_ff=640, width=512, n_heads=4,
                      n_kv_heads=1, ff=1792, n_shards=2),
    # Head widths of 80 and 128 as in the full one; the rest is a few megabytes.
    'small': replace(FULL, image_size=112, vision_width=320, vision_heads=4, vision_ff=1280, n_local=4, n_global=2,
                     taps=[0, 2], width=512, n_heads=4, n_kv_heads=2, ff=1408, n_layers=5, cross_layers=[1, 3],
                     n_shards=2),
    'tiny': replace(FULL, image_size=56, vision_width=80, vision_heads=2, vision_ff=96, n_local=4, n_global=2,
                    taps=[0, 2], width=64, n_heads=4, n_kv_heads=2, ff=96, n_layers=5, cross_layers=[1, 3],
                    n_shards=2),
}

# --- the tokenizer ---


def spell_fillers(taken):
    """Spellings that look like words, for the ids that the small vocabulary leaves open."""
    syllables = [c + v for c in 'bcdfghjklmnprstvwxz' for v in ('a', 'e', 'i', 'o', 'u', 'ai', 'ou')]
    for first in syllables:
        for second in syllables:
            for third in syllables:
                if (word := f'Ġ{first}{second}{third}') not in taken:
                    yield word


def make_large_tokenizer(n_merges):
    """Ids as Llama 3.2 has them: 128000 of the base, 256 special ones, and the mark of a picture."""
    tree = json.loads(bpe.train_bpe(n_merges).to_str())
    vocab = tree['model']['vocab']
    fillers = spell_fillers(set(vocab))
    for number in range(len(vocab), N_BASE):
        vocab[next(fillers)] = number
    tokenizer = Tokenizer.from_str(json.dumps(tree))
    reserved = [f'<|reserved_special_token_{i}|>' for i in range(2, 2 + N_SPECIAL - len(bpe.SPECIALS))]
    tokenizer.add_special_tokens(
        [AddedToken(text, normalized=False, special=True) for text in bpe.SPECIALS + reserved + [bpe.IMAGE]])
    tokenizer.post_processor = bpe.make_post_processor(True, N_BASE)
    assert tokenizer.token_to_id(bpe.IMAGE) == N_BASE + N_SPECIAL
    return tokenizer


# --- files ---

def list_tensors(config):
    """Names and dimensions, as transformers' state dict has them."""
    with torch.device('meta'):
        model = MllamaForConditionalGeneration(MllamaConfig.from_dict(config))
    return [(name, list(tensor.shape)) for name, tensor in model.state_dict().items()]


def split_evenly(tensors, n_parts):
    """Runs of tensors with about as many values each."""
    total, done, parts = sum(math.prod(dims) for _, dims in tensors), 0, [[] for _ in range(n_parts)]
    for name, dims in tensors:
        parts[min(done * n_parts // total, n_parts - 1)].append((name, dims))
        done += math.prod(dims)
    return [part for part in parts if part]


def write_shard(shape, path, tensors, device):
    """A safetensors file, written as its tensors are made; returns its bytes of values."""
    header, offset = {'__metadata__': {'format': 'pt'}}, 0
    dtype = {'bfloat16': ('BF16', 2), 'float32': ('F32', 4)}[shape.dtype]
    for name, dims in tensors:
        end = offset + math.prod(dims) * dtype[1]
        header[checkpoint.rename_to_hub(name)] = {'dtype': dtype[0], 'shape': dims, 'data_offsets': [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(len(text).to_bytes(8, 'little') + text)
        for name, dims in tensors:
            values = make_values(shape, name, dims, device).to(getattr(torch, shape.dtype)).cpu()
            file.write(values.reshape(-1).view(torch.uint8).numpy().data)
    return offset


def write_weights(shape, config, path, device):
    parts = split_evenly(list_tensors(config), shape.n_shards)
    names = [f'model-{number:05}-of-{len(parts):05}.safetensors' for number in range(1, len(parts) + 1)]
    with ThreadPoolExecutor(4) as pool:
        sizes = pool.map(lambda part, name: write_shard(shape, path / name, part, device), parts, names)
    weight_map = {checkpoint.rename_to_hub(name): file for part, file in zip(parts, names) for name, _ in part}
    total = sum(sizes)
    checkpoint.write_json(path / 'model.safetensors.index.json',
                          {'metadata': {'total_size': total}, 'weight_map': weight_map})
    return total


def write_checkpoint(shape, path, device):
    path.mkdir(parents=True, exist_ok=True)
    for file in path.iterdir():
        file.unlink()
    tokenizer = make_large_tokenizer(shape.n_merges)
    config = checkpoint.make_config(shape, tokenizer)
    text = config['text_config']
    checkpoint.write_json(path / 'config.json', config)
    checkpoint.write_tokenizer(shape, tokenizer, path)
    checkpoint.write_image_options(shape, path)
    checkpoint.write_json(path / 'generation_config.json', {
        key: text[key] for key in ('bos_token_id', 'eos_token_id', 'pad_token_id')})
    return write_weights(shape, config, path, device)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--size', choices=SHAPES, default='full')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--seed', type=int, default=1)
    options = parser.parse_args()
    stamp, made = options.out / 'made-by', f'{options.size} {options.device} {options.seed} {hash_sources()}\n'
    if stamp.exists() and stamp.read_text(encoding='utf-8') == made:
        print(f'{options.out} is there already')
        return
    n_bytes = write_checkpoint(replace(SHAPES[options.size], seed=options.seed), options.out, options.device)
    stamp.write_text(made, encoding='utf-8')
    print(f'{options.out}: {n_bytes / 1e9:.2f} GB of weights')


def hash_sources():
    here = Path(__file__).resolve()
    return hashlib.sha256(here.read_bytes() + (here.parent / 'gpulib' / 'weights.py').read_bytes()).hexdigest()[:12]


if __name__ == '__main__':
    main()
