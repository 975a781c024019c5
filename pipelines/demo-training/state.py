# SPDX-License-Identifier: LGPL-2.1-or-later
"""A run on disk: weights in float32 and moments of the optimiser in bf16, in files of at most 15.5 MiB.

state-1.safetensors … hold tensors, the first also what else must be known; model.safetensors is the checkpoint of the
moment, in bf16 under Hugging Face's names. Files are written beside and renamed, so that a cut leaves whole ones.
"""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

import hub
from network import Network, Shape

MAX_BYTES = 15.5 * 2 ** 20


def split(tensors):
    """Lists of (name, tensor) that are small enough for a file each, large ones first so that few are needed."""
    parts = []
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].nbytes):
        if tensor.nbytes > MAX_BYTES:
            raise SystemExit(f'{name} takes {tensor.nbytes} bytes, more than a file may hold')
        part = next((p for p in parts if sum(t.nbytes for t in p.values()) + tensor.nbytes <= MAX_BYTES), None)
        if part is None:
            parts.append(part := {})
        part[name] = tensor
    return parts


def write(path: Path, tensors, metadata):
    save_file(tensors, path.with_suffix('.part'), metadata=metadata)
    path.with_suffix('.part').chmod(0o644)
    path.with_suffix('.part').rename(path)


def save(folder: Path, network: Network, optimiser, facts: dict):
    """facts: step, next batch and whatever else JSON can hold."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f'weights/{name}': p.detach() for name, p in network.named_parameters()}
    tensors = {name: t.contiguous().cpu() for name, t in {**tensors, **optimiser.spell()}.items()}
    parts = split(tensors)
    for path in folder.glob('state-*.safetensors'):
        if int(path.stem.split('-')[1]) > len(parts):
            path.unlink()
    text = json.dumps({**facts, 'shape': asdict(network.shape)})
    for number, part in enumerate(parts, 1):
        write(folder / f'state-{number}.safetensors', part, {'facts': text, 'files': str(len(parts))})
    write(folder / 'model.safetensors', hub.spell_weights(network), {'format': 'pt'})


def load(folder: Path):
    """(tensors, facts), or (None, None) where there is no run."""
    tensors, facts = {}, []
    paths = sorted(folder.glob('state-*.safetensors'))
    for path in paths:
        with safe_open(path, 'pt') as file:
            facts.append(file.metadata())
            tensors.update({name: file.get_tensor(name) for name in file.keys()})
    if not paths:
        return None, None
    if any(f != facts[0] for f in facts) or int(facts[0]['files']) != len(paths):
        raise SystemExit(f'{folder}: the state files are not of one moment')
    return tensors, json.loads(facts[0]['facts'])


def make_shape(facts):
    shape = {key: tuple(value) if isinstance(value, list) else value for key, value in facts['shape'].items()}
    return Shape(**shape)


@torch.no_grad()
def read_weights(network, tensors):
    for name, parameter in network.named_parameters():
        parameter.copy_(tensors[f'weights/{name}'])
