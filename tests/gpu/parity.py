#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The engine beside transformers on checkpoints of make-11b.py: logits, layers one by one, deduplication.

    parity.py --checkpoint DIR --programs DIR --out FILE.json [--small DIR] [--device cuda] [--dtype bf16]

The truth is transformers in float32. The engine in bf16 may be as wrong as transformers in bf16, and a tenth more.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gpulib.cases import make_cases
from gpulib.layers import collect_lesson, run_lesson
from gpulib.ours import Engine
from gpulib.reference import Reference, list_mistakes
from gpulib.results import Results

MAX_POOLED, MAX_ROW, MAX_LAYER = 1.10, 2.0, 1.05
MAX_F32, MAX_F32_DEDUPLICATED = 2e-4, 1e-4


def rms(values):
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def row_rms(values):
    return np.sqrt(np.mean(np.square(values, dtype=np.float64), axis=-1))


def log_softmax(logits):
    logits = logits.astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def pool(cases, found, truth):
    return np.concatenate([found[case.name] - truth[case.name] for case in cases])


@dataclass
class Lesson:
    case: object
    rows: dict  # what enters each layer
    truth: dict  # what leaves it in float32
    rounded: dict | None = None  # in transformers' bf16


class Clock:
    def __init__(self):
        self.start = time.monotonic()

    def say(self, text):
        print(f'{time.monotonic() - self.start:6.1f} s  {text}', flush=True)


# --- the reference ---

def measure_mistakes(reference, groups, truth):
    """(group, mistake, movement of the last row, least factor), in float32."""
    moves = []
    for group, cases in groups.items():
        case = cases[0]
        if not case.n_tiles:
            continue
        for name, wrong_case, mistake, factor in list_mistakes(case):
            with mistake:
                moved = rms(reference.run(wrong_case)[-1] - truth[case.name][-1])
            moves.append((group, name, moved, factor))
    return moves


def run_truth(options, clock):
    reference = Reference(options.checkpoint, torch.float32, 'eager', options.device)
    clock.say('the reference is loaded in float32')
    groups = make_cases(reference.config)
    truth = {case.name: reference.run(case) for cases in groups.values() for case in cases}
    moves = measure_mistakes(reference, groups, truth)
    short, long = groups['tiles_2']
    lessons = [make_lesson(reference, short, ('self', 'cross', 'states')), make_lesson(reference, long)]
    reference.close()
    clock.say('float32 is done')
    return groups, truth, moves, lessons


def make_lesson(reference, case, kinds=()):
    rows = {name: rows for name, rows in collect_lesson(reference, case).items() if name.startswith(kinds or '')}
    return Lesson(case, rows, run_lesson(reference, case, rows))


def run_rounded(options, groups, lessons, clock):
    reference = Reference(options.checkpoint, torch.bfloat16, 'sdpa', options.device)
    logits = {case.name: reference.run(case) for cases in groups.values() for case in cases}
    for lesson in lessons:
        lesson.rounded = run_lesson(reference, lesson.case, lesson.rows)
    reference.close()
    clock.say('bf16 is done')
    return logits


# --- the rules ---

def judge_mistakes(results, groups, moves, rounded, truth):
    for group, name, moved, factor in moves:
        noise = rms(pool(groups[group], rounded, truth))
        results.faults.append({'name': f'parity: {name}, {group}', 'factor': round(moved / noise, 2)})
        results.check_least(f'reference: {name}, {group}: times the bf16 error', moved / noise, factor)


def judge_logits(results, groups, ours, rounded, truth):
    for group, cases in {**groups, 'all': sum(groups.values(), [])}.items():
        wrong, allowed = pool(cases, ours, truth), pool(cases, rounded, truth)
        results.check(f'{group}: 64 rows or more', len(wrong) >= 64, f'{len(wrong)}')
        scale = rms(np.concatenate([truth[case.name] for case in cases]))
        print(f'{group}: rms of logits {scale:.3f}, error of transformers {rms(allowed):.5f}, ours {rms(wrong):.5f}')
        worst = (row_rms(wrong) / row_rms(allowed)).max()
        results.check_most(f'{group}: error of logits over transformers\'', rms(wrong) / rms(allowed), MAX_POOLED)
        results.check_most(f'{group}: worst row over transformers\'', worst, MAX_ROW)


def judge_layers(results, lesson, ours):
    """Layers of a kind together; each counts by its error as a share of the size of its values."""
    kinds = {}
    for name, truth in lesson.truth.items():
        wrong, allowed = rms(ours[name] - truth), rms(lesson.rounded[name] - truth)
        kinds.setdefault(name.split('-')[0], []).append((name, wrong, allowed, rms(truth)))
    for kind, layers in kinds.items():
        worst = max(layers, key=lambda layer: layer[1] / layer[2])
        pooled = rms([w / s for _, w, _, s in layers]) / rms([a / s for _, _, a, s in layers])
        print(f'{kind}: {len(layers)} layers, worst {worst[0]} with {worst[1] / worst[2]:.3f}')
        results.check_most(f'{kind} layers one by one, {len(lesson.case.ids)} tokens: error over transformers\'',
                           pooled, MAX_LAYER)


def check_large(options, results, clock):
    groups, truth, moves, lessons = run_truth(options, clock)
    rounded = run_rounded(options, groups, lessons, clock)
    judge_mistakes(results, groups, moves, rounded, truth)
    engine = Engine(options.programs, options.checkpoint, options.device, options.dtype, options.work / 'large')
    ours = engine.run_cases(sum(groups.values(), []))
    clock.say('the engine has run')
    judge_logits(results, groups, ours, rounded, truth)
    for lesson in lessons:
        judge_layers(results, lesson, engine.run_layers(lesson.case, lesson.rows))
    folded = groups['tiles_1'] + groups['tiles_2']
    unfolded = engine.run_cases(folded, '--unfolded')
    clock.say('the engine has run without deduplication')
    results.check_most('deduplication: difference of logits over the bf16 error',
                       rms(pool(folded, unfolded, ours)) / rms(pool(folded, rounded, truth)), 2)


def check_small(options, results, clock):
    """In float32, on a checkpoint that is soon read."""
    reference = Reference(options.small, torch.float32, 'eager', options.device)
    cases = sum(make_cases(reference.config).values(), [])
    truth = {case.name: log_softmax(reference.run(case)) for case in cases}
    reference.close()
    engine = Engine(options.programs, options.small, options.device, 'f32', options.work / 'small')
    ours = {name: log_softmax(logits) for name, logits in engine.run_cases(cases).items()}
    results.check_most('float32: log-probabilities beside transformers\'', np.abs(pool(cases, ours, truth)).max(),
                       MAX_F32)
    folded = [case for case in cases if 0 < case.n_tiles < 4]
    unfolded = {name: log_softmax(logits) for name, logits in engine.run_cases(folded, '--unfolded').items()}
    results.check_most('float32: log-probabilities with and without deduplication',
                       np.abs(pool(folded, unfolded, ours)).max(), MAX_F32_DEDUPLICATED)
    clock.say('the small checkpoint is done')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--checkpoint', type=Path, required=True)
    parser.add_argument('--small', type=Path)
    parser.add_argument('--programs', type=Path, required=True, help='folder of dump-logits and dump-layers')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--dtype', default='bf16', help='of the engine')
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    results, clock = Results('parity'), Clock()
    with tempfile.TemporaryDirectory() as work:
        options.work = Path(work)
        if options.small:
            check_small(options, results, clock)
        check_large(options, results, clock)
    results.write(options.out)
    return results.exit_status


if __name__ == '__main__':
    raise SystemExit(main())
