#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the model of a state folder as a Hugging Face checkpoint, and has transformers read it.

    export.py --state DIR --tokenizer FILE --out DIR
"""

import argparse
from pathlib import Path

import torch

import hub
import state
import tokens
from network import Network

MOST_BYTES = 10.3e6


def export(network, tokenizer, folder: Path):
    """Every file of the checkpoint; weights in bf16."""
    tokens.write_tokenizer(tokenizer, network.shape, folder)
    tensors = hub.spell_weights(network)
    state.write(folder / 'model.safetensors', tensors, {'format': 'pt'})
    return tensors


def check_slots(shape, tensors):
    """The engine works on one unused tile for all only if their rows of the tables are zero."""
    for name, place in hub.TABLES.items():
        table = tensors[place].view(len(shape.ratios) + 1, shape.n_tiles, -1)
        for number, (height, width) in enumerate([(0, 0), *shape.ratios]):
            if table[number, height * width:].any():
                raise SystemExit(f'{name}: unused slots of arrangement {number} are not zero')


def check_transformers(folder, tensors):
    """Nothing missing, nothing left over, and every value as it was written."""
    from transformers import AutoTokenizer, MllamaForConditionalGeneration
    model, info = MllamaForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16, output_loading_info=True)
    for problem in ('missing_keys', 'unexpected_keys', 'mismatched_keys'):
        if info[problem]:
            raise SystemExit(f'transformers: {problem}: {info[problem]}')
    loaded = {name.replace('model.', '', 1): t for name, t in model.state_dict().items()}
    for name, tensor in tensors.items():
        theirs = name.replace('language_model.model.', 'language_model.').replace('language_model.lm_head', 'lm_head')
        if not torch.equal(loaded[theirs], tensor):
            raise SystemExit(f'transformers: {name} is another tensor once loaded')
    tokenizer = AutoTokenizer.from_pretrained(folder)
    message = {'role': 'user', 'content': [{'type': 'image'}, {'type': 'text', 'text': 'What is this?'}]}
    text = tokenizer.apply_chat_template([message], add_generation_prompt=True, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)['input_ids']
    ours = tokens.Chat(tokens.Tokenizer.from_file(str(folder / 'tokenizer.json'))).encode_question('What is this?')
    if ids != ours:
        raise SystemExit(f'the chat template gives {ids}, training had {ours}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--state', type=Path, required=True)
    parser.add_argument('--tokenizer', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    options = parser.parse_args()
    weights, facts = state.load(options.state)
    if not facts:
        raise SystemExit(f'{options.state}: no state files')
    network = Network(state.make_shape(facts))
    state.read_weights(network, weights)
    tensors = export(network, tokens.Tokenizer.from_file(str(options.tokenizer)), options.out)
    check_slots(network.shape, tensors)
    check_transformers(options.out, tensors)
    n_bytes = sum(path.stat().st_size for path in options.out.iterdir())
    print(f'{options.out}: step {facts["step"]}, {n_bytes / 1e6:.2f} MB; transformers reads it')
    if n_bytes > MOST_BYTES:
        raise SystemExit(f'that is more than {MOST_BYTES / 1e6} MB')


if __name__ == '__main__':
    main()
