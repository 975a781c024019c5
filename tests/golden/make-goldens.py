#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes tiny random Mllama checkpoints, runs transformers on them, and records what comes out. See README.md."""

import argparse
import json
import logging
import warnings
from pathlib import Path

import numpy as np
from transformers.utils import logging as transformers_logging

from maker import records
from maker.cases import make_cases, make_pictures
from maker.checkpoint import write_checkpoint
from maker.faulty import list_faults, record_faults
from maker.reference import Reference, hash_pixels
from maker.semantics import SEMANTICS, use_semantics
from maker.shapes import SHAPES, change_shape, find_shape

HERE = Path(__file__).resolve().parent
# Between two attention implementations of transformers; the tests grant 2e-4.
MAX_NOISE = 5e-5


def describe_pictures(reference, case, folder):
    images = []
    for picture in case.pictures:
        pixels, ratio_id, _ = reference.run_vision(picture, folder)
        images.append({'aspect_ratio_id': ratio_id, 'n_tiles': len(pixels), 'sha256': hash_pixels(pixels)})
    return images


def list_runs(shape):
    """(semantics, case); a prompt without pictures means the same in both."""
    return [(semantics, case) for semantics in SEMANTICS for case in make_cases(shape)
            if case.pictures or semantics == SEMANTICS[0]]


def record_cases(shape, reference, check, folder):
    """Runs every case in both semantics; check is the same model with the other attention."""
    described, tensors, outcomes = [], {}, {}
    for semantics, case in list_runs(shape):
        with use_semantics(semantics):
            outcome = reference.run_case(case, folder)
            noise = np.abs(check.run_case(case, folder).logprobs - outcome.logprobs).max()
            images = describe_pictures(reference, case, folder)
        if noise > MAX_NOISE:
            raise SystemExit(f'{shape.name}: {case.name}: eager and sdpa differ by {noise:.1e}')
        described.append(records.describe_case(case, semantics, outcome, images))
        tensors.update(records.take_tensors(case, semantics, outcome))
        outcomes[semantics, case.name] = outcome
    return described, tensors, outcomes


def record_towers(shape, reference, folder):
    pictures = make_pictures(shape)[1:2] if shape.has_vision else []
    tensors = {}
    for semantics in SEMANTICS:
        with use_semantics(semantics):
            for index, picture in enumerate(pictures):
                features = reference.run_vision(picture, folder)[2]
                tensors[f'{semantics}/tower/{index}'] = features.contiguous().numpy()
    return [{'file': picture.file, 'crop': picture.crop} for picture in pictures], tensors


def make_golden(shape, root, folder, plants_faults):
    path = root / 'checkpoints' / shape.name
    write_checkpoint(shape, path)
    reference, check = Reference(path, 'eager'), Reference(path, 'sdpa')
    cases, tensors, outcomes = record_cases(shape, reference, check, folder)
    towers, tower_tensors = record_towers(shape, reference, folder)
    n_logits = next(iter(outcomes.values())).logprobs.shape[1]
    record = {
        'checkpoint': shape.name, 'versions': records.get_versions(), 'has_vision': shape.has_vision,
        'probe_ids': records.choose_probes(n_logits), 'towers': towers, 'cases': cases,
        'faults': record_faults(reference, list_runs(shape), outcomes, folder) if plants_faults else []}
    records.write_records(root / 'records', shape.name, record, {**tensors, **tower_tensors})
    print(f'{shape.name}: {len(cases)} cases, {len(record["faults"])} faults')


def write_fault_table(root):
    """Over the records of all shapes, as far as they are there."""
    paths = {shape.name: root / 'records' / f'{shape.name}.json' for shape in SHAPES}
    if not all(path.exists() for path in paths.values()):
        return
    found = {name: json.loads(path.read_text(encoding='utf-8'))['faults'] for name, path in paths.items()}
    unseen = set(list_faults()) - {fault["name"] for faults in found.values() for fault in faults}
    if unseen:
        raise SystemExit(f'no record finds {", ".join(sorted(unseen))}: add a case')
    lines = ['# What the planted faults break', '',
             'Largest change of a recorded log-probability; the tests grant 2e-4. "ids": the ids differ. Empty: not found',
             'by that checkpoint. Written by make-goldens.py.', '',
             '| fault | ' + ' | '.join(found) + ' |', '|---' * (len(found) + 1) + '|']
    for name in list_faults():
        changes = [next((f'{r["change"]:.2g}' if 'change' in r else 'ids' for r in faults if r['name'] == name), '')
                   for faults in found.values()]
        lines.append(f'| {name.replace("_", " ")} | ' + ' | '.join(changes) + ' |')
    (root / 'FAULTS.md').write_text('\n'.join(lines) + '\n', encoding='utf-8')


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('names', nargs='*', help='shapes to make (all of them)')
    parser.add_argument('--out', type=Path, default=HERE, help='where checkpoints/ and records/ go (%(default)s)')
    parser.add_argument('--set', action='append', default=[], metavar='FIELD=VALUE',
                        help='change a field of the shapes, say seed=7 or "taps=[1, 3, 0]"; see maker/shapes.py')
    parser.add_argument('--faults', action=argparse.BooleanOptionalAction, default=True,
                        help='plant the faults too, which takes most of the time')
    parser.add_argument('--records', action=argparse.BooleanOptionalAction, default=True,
                        help='run transformers on the checkpoints; without it they are only written, say for a benchmark')
    parser.add_argument('--list', action='store_true', help='list the shapes')
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    shapes = [change_shape(shape, arguments.set) for shape in [find_shape(name) for name in arguments.names] or SHAPES]
    if arguments.list:
        print(*shapes, sep='\n')
        return
    if not arguments.records:
        for shape in shapes:
            write_checkpoint(shape, arguments.out / 'checkpoints' / shape.name)
        return
    for shape in shapes:
        make_golden(shape, arguments.out, HERE / 'pictures', arguments.faults)
    if arguments.faults:
        write_fault_table(arguments.out)
    if not (arguments.out / 'pictures').exists():
        (arguments.out / 'pictures').symlink_to(HERE / 'pictures')


main()
