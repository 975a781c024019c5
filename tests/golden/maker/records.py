# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is kept of an outcome, and its files: NAME.json (cases, ids, settings) and NAME.safetensors (float32).

Tensors of a case, all under "SEMANTICS/CASE/":
  probes  [R][K]  log-probabilities of the ids probe_ids after each of the last R tokens of the prompt
  next    [T-1]   log-probability of each token of the prompt but the first
  last    [Z]     logits after the last token
  hidden  [T][D]  last hidden states (some cases)
Of a picture of the list "towers": "SEMANTICS/tower/INDEX" [tiles][P][features], unused tiles included.

Of each fault of maker/faults.py, NAME.json has what its most sensitive case gives with the fault in place: probes after
one token of the prompt, or an answer, or the prompt's ids.
"""

import json
import platform

import numpy as np
import PIL
import tokenizers
import torch
import transformers
from safetensors.numpy import save_file

N_PROBES = 16
MAX_ROWS = 32


def choose_probes(n_logits):
    """Ids spread evenly over the vocabulary, the first and the last among them."""
    return np.linspace(0, n_logits - 1, N_PROBES).round().astype(int).tolist()


def take_probes(outcome):
    return outcome.logprobs[-MAX_ROWS:, choose_probes(outcome.logprobs.shape[1])].astype(np.float32)


def describe_case(case, semantics, outcome, images):
    record = {
        'name': case.name, 'semantics': semantics, 'kind': case.kind, 'text': case.text,
        'pictures': [{'file': picture.file, 'crop': picture.crop, 'aspect_ratio_id': image['aspect_ratio_id'],
                      'n_tiles': image['n_tiles'], 'pixels_sha256': image['sha256']}
                     for picture, image in zip(case.pictures, images)],
        'max_tokens': case.max_tokens, 'repetition_penalty': case.penalty, 'ignore_eos': case.ignore_eos,
        'stop_ids': outcome.stop_ids, 'ids': outcome.ids,
        'answer': {
            'ids': outcome.answer_ids, 'logprobs': [round(p, 7) for p in outcome.answer_logprobs],
            # The engine's texts are C strings: it leaves NUL out.
            'gaps': [round(gap, 6) for gap in outcome.gaps], 'text': outcome.answer_text.replace('\0', ''),
            'finish': outcome.finish},
    }
    if case.with_loss:
        record.update(labels=outcome.labels, loss=round(outcome.loss, 7))
    return record


def take_tensors(case, semantics, outcome):
    prefix = f'{semantics}/{case.name}/'
    following = outcome.logprobs[:-1]
    ids = np.array(outcome.ids[1:])
    # The image mark may have no logit; nothing is recorded of it.
    values = np.where(ids < following.shape[1], following[np.arange(len(ids)), ids % following.shape[1]], 0)
    tensors = {'probes': take_probes(outcome), 'next': values, 'last': outcome.last_logits}
    if case.with_hidden:
        tensors['hidden'] = outcome.hidden
    return {prefix + name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}


def get_versions():
    modules = {'torch': torch, 'transformers': transformers, 'tokenizers': tokenizers, 'numpy': np, 'pillow': PIL}
    return {'python': platform.python_version(), **{name: module.__version__ for name, module in modules.items()}}


def write_records(folder, name, record, tensors):
    """One line a case, so that differences between two makings can be read."""
    folder.mkdir(parents=True, exist_ok=True)
    head = {key: value for key, value in record.items() if not isinstance(value, list) or key == 'probe_ids'}
    lines = [f'"{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in head.items()]
    for key, value in record.items():
        if key not in head:
            rows = ',\n  '.join(json.dumps(row, ensure_ascii=False) for row in value)
            lines.append(f'"{key}": [\n  {rows}\n ]')
    (folder / f'{name}.json').write_text('{\n ' + ',\n '.join(lines) + '\n}\n', encoding='utf-8')
    save_file(tensors, folder / f'{name}.safetensors')
    (folder / f'{name}.safetensors').chmod(0o644)
