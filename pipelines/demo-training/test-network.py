#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares network.py with transformers, and with the engine, on random weights. Ends with PASS or FAIL.

    test-network.py [--engine PROGRAM]      PROGRAM: a built mllama-caption

transformers has other semantics in two points, which are changed here in its objects: its taps leave a layer, so that
the layer before is named; and it adds attention of cross layers to tokens before the picture's mark.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import MllamaConfig, MllamaForConditionalGeneration
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil

import hub
import tokens
from network import Network, Shape

SHAPE = Shape(image_size=56, vision_width=64, vision_heads=2, vision_ff=96, width=64, n_heads=4, n_kv_heads=2, ff=96,
              vocab_size=512)
SIZES = {1: (40, 50), 2: (100, 50), 3: (160, 50), 4: (120, 90)}  # width, height of a frame with as many tiles


def make_network(seed):
    """Random weights that make each part matter: gates open, biases and norms apart from 0 and 1."""
    torch.manual_seed(seed)
    network = Network(SHAPE)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() <= 2 and ('norm' in name or 'bias' in name):
                parameter.add_(torch.randn_like(parameter) * 0.3)
            elif 'gate' in name and parameter.dim() <= 2:
                parameter.normal_(0, 0.3).add_(0.7)
    return network


def write_folder(network, folder, dtype):
    tokenizer = tokens.load_stub()
    folder.mkdir(parents=True, exist_ok=True)
    tokens.write_tokenizer(tokenizer, SHAPE, folder)
    save_file(hub.spell_weights(network, dtype), folder / 'model.safetensors', metadata={'format': 'pt'})
    return tokens.Chat(tokenizer)


# --- transformers, with semantics `meta` ---

def load_reference(folder):
    config = MllamaConfig.from_pretrained(folder)
    model, info = MllamaForConditionalGeneration.from_pretrained(
        folder, config=config, dtype=torch.float32, attn_implementation='eager', output_loading_info=True)
    assert not info['missing_keys'] and not info['unexpected_keys'], info
    tower = model.model.vision_model
    tower.intermediate_layers_indices = [i - 1 for i in tower.intermediate_layers_indices]
    state = {}
    for layer in model.model.language_model.layers:
        if hasattr(layer, 'cross_attn'):
            layer.register_forward_pre_hook(
                lambda module, args, kwargs: state.update(mask=kwargs['full_text_row_masked_out_mask'][:, 0]),
                with_kwargs=True)
            layer.cross_attn.register_forward_hook(
                lambda module, args, output: (output[0] * state['mask'], *output[1:]))
    return model.eval()


@torch.no_grad()
def run_reference(model, images, ids, n):
    mask = torch.zeros(1, len(ids), 1, SHAPE.n_tiles, dtype=torch.long)
    mask[:, ids.index(SHAPE.vocab_size):, :, :n] = 1
    return model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                 pixel_values=images['pixel_values'], aspect_ratio_ids=images['aspect_ratio_ids'],
                 aspect_ratio_mask=images['aspect_ratio_mask'], cross_attention_mask=mask,
                 use_cache=False).logits[0]


# --- the checks ---

class Report:
    def __init__(self):
        self.n_failed = 0

    def tell(self, what, error, limit):
        self.n_failed += not error <= limit
        print(f'{"ok  " if error <= limit else "FAIL"} {what}: {error:.2e}, at most {limit:.0e}', flush=True)


def make_picture(n, seed):
    random = np.random.default_rng(seed)
    width, height = SIZES[n]
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def process(picture):
    images = MllamaImageProcessorPil(**hub.make_image_options(SHAPE))([[picture]], return_tensors='pt')
    images = {key: torch.as_tensor(value) for key, value in images.items()}
    return images, int(images['aspect_ratio_mask'].sum()), int(images['aspect_ratio_ids'])


def check_transformers(report, network, chat, folder):
    """Logits of two frames of a size with two questions each, packed, against one call for each."""
    model = load_reference(folder)
    rows = [chat.encode_pair('What is this?', 'A red ball.'), chat.encode_pair('Colour?', 'Blue, I am sure of it.')]
    for n in SIZES:
        pictures = [process(make_picture(n, seed)) for seed in (2 * n, 2 * n + 1)]
        assert all(count == n for _, count, _ in pictures)
        tiles = torch.cat([images['pixel_values'][:, 0, :n] for images, _, _ in pictures])
        ids, positions, segments, _ = tokens.pack_rows([rows, rows], 96, chat.pad_id)
        with torch.no_grad():
            logits = network(tiles, pictures[0][2], *(torch.from_numpy(x).long() for x in (ids, positions, segments)))
        error = scale = 0
        for frame, (images, _, _) in enumerate(pictures):
            for number, (row, _) in enumerate(rows):
                expected = run_reference(model, images, row, n)
                found = logits[frame][torch.from_numpy(segments[frame] == number)]
                error = max(error, (found - expected).abs().max().item())
                scale = max(scale, expected.abs().max().item())
        report.tell(f'transformers, {n} tiles, logits up to {scale:.1f}', error / scale, 1e-5)


def check_gradients(report, network, chat):
    """Unused slots of the tables get none, and so stay zero."""
    rows = [chat.encode_pair('What?', 'A.')]
    images, n, ratio_id = process(make_picture(2, 5))
    packed = tokens.pack_rows([rows], 48, chat.pad_id)[:3]
    logits = network(images['pixel_values'][:, 0, :n], ratio_id, *(torch.from_numpy(x).long() for x in packed))
    logits.square().mean().backward()
    for name in hub.TABLES:
        gradient = getattr(network, name).grad.clone()
        gradient[ratio_id, :n] = 0
        report.tell(f'gradient of unused slots of {name}', gradient.abs().max().item(), 0)
    zero = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    report.tell(f'parameters without a gradient {zero}', len(zero), 0)


def check_engine(report, network, chat, folder, program):
    """Tokens and log-probabilities of the engine, which reads the same files, at every step of its answer."""
    for n in SIZES:
        picture = make_picture(n, 30 + n)
        picture.save(folder / 'picture.png')
        output = subprocess.run(
            [program, '--model', folder, '--device', 'cpu', '--dtype', 'f32', '--semantics', 'meta', '--json',
             '--token-ids', '--max-tokens', '12', '--temperature', '0', '-p', 'What is here?', folder / 'picture.png'],
            check=True, capture_output=True, text=True).stdout
        answer = json.loads(output)
        prompt, images = chat.encode_question('What is here?'), process(picture)
        row = [prompt + answer['token_ids']], [len(prompt)]
        packed = tokens.pack_rows([[(row[0][0], row[1][0])]], 96, chat.pad_id)[:3]
        with torch.no_grad():
            logits = network(images[0]['pixel_values'][:, 0, :n], images[2],
                             *(torch.from_numpy(x).long() for x in packed))[0]
        logprobs = logits.log_softmax(-1)[len(prompt) - 1:len(row[0][0]) - 1]
        found = logprobs.gather(1, torch.tensor(answer['token_ids'])[:, None])[:, 0]
        error = (found - torch.tensor(answer['logprobs'], dtype=torch.float32)).abs().max().item()
        report.tell(f'engine, {n} tiles, log-probabilities down to {found.min():.2f}', error, 2e-4)
        report.tell(f'engine, {n} tiles, tokens that are not the likeliest',
                    (logprobs.argmax(-1) != torch.tensor(answer['token_ids'])).sum().item(), 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--engine', help='a built mllama-caption')
    options = parser.parse_args()
    torch.manual_seed(0)
    report, network = Report(), make_network(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chat = write_folder(network, folder, torch.float32)
        check_transformers(report, network, chat, folder)
        check_gradients(report, network, chat)
        if options.engine:
            check_engine(report, network, chat, folder, options.engine)
    print('FAIL' if report.n_failed else 'PASS')
    return bool(report.n_failed)


if __name__ == '__main__':
    sys.exit(main())
