#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Puts the frames that evaluate.py --save kept through the element, and wants the answers that were kept with them. Needs
gst-launch-1.0 with the plugins multifile and png, and nothing of Python's but its library.

    tests/demo-model/replay.py FOLDER [--device cuda] [--dtype f32] [--model DIR]

In float32 every answer has to be the same; --least says what share of them is enough, for bf16."""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHAINS = 16  # pipelines in a process, which share the model
TIMEOUT = 300


def build_chain(number, group, folder, out, element):
    """From numbered files to the answers to each prompt, a file for each. Frames need not be of one size."""
    name = f'c{number}'
    chain = ['multifilesrc', f'location={folder / str(number)}/%05d.png', 'caps=image/png,framerate=1/1', '!', 'pngdec', '!',
             'mllamacaption', f'name={name}', 'mode=archive', 'interval=0', 'attach-meta=false', *element]
    branches = [f'{name}.src', '!', 'fakesink']
    for place, prompt in enumerate(group['prompts']):
        chain.append(f'text_{place}::prompt={prompt}')
        branches += [f'{name}.text_{place}', '!', 'application/x-json', '!', 'filesink',
                     f'location={out / f"{number}-{place}"}']
    return chain + branches


def run_chains(words):
    environment = {'GST_PLUGIN_PATH': str(ROOT / 'build' / 'gst-plugin'), **os.environ, 'G_DEBUG': 'fatal-criticals'}
    done = subprocess.run(['gst-launch-1.0', '-q', *words], env=environment, stdin=subprocess.DEVNULL, timeout=TIMEOUT,
                          capture_output=True, encoding='utf-8', errors='replace', check=False)
    if done.returncode != 0:
        raise RuntimeError(f'gst-launch-1.0 ended with {done.returncode}:\n{done.stdout}{done.stderr}')


def read_answers(path):
    return [json.loads(line)['text'] for line in path.read_text(encoding='utf-8').splitlines()]


def ask(folder, groups, element):
    """{number of a group: what is said of each frame, a list for each prompt}"""
    numbers, found = list(range(len(groups))), {}
    with tempfile.TemporaryDirectory(prefix='mllama-replay-') as name:
        for first in range(0, len(numbers), CHAINS):
            chosen = numbers[first:first + CHAINS]
            run_chains([word for number in chosen
                        for word in build_chain(number, groups[number], folder, Path(name), element)])
            for number in chosen:
                found[number] = [read_answers(Path(name) / f'{number}-{place}')
                                 for place in range(len(groups[number]['prompts']))]
    return found


def compare(groups, found):
    """(answers compared, (frame, prompt, kept, found) of those that differ)"""
    n_compared, differing = 0, []
    for number, group in enumerate(groups):
        for place, prompt in enumerate(group['prompts']):
            texts = found[number][place]
            if len(texts) != len(group['frames']):
                raise RuntimeError(f'group {number}: {len(texts)} answers about {len(group["frames"])} frames')
            for frame, text in zip(group['frames'], texts):
                n_compared += 1
                if text != frame['answers'][place]:
                    differing.append((f'{frame["set"]} {frame["number"]}', prompt, frame['answers'][place], text))
    return n_compared, differing


def replay(folder, model, device, dtype):
    """What compare () says of the folder."""
    groups = json.loads((folder / 'list.json').read_text(encoding='utf-8'))
    return compare(groups, ask(folder, groups, [f'model={model}', f'device={device}', f'dtype={dtype}']))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--device', default='auto', choices=('auto', 'cpu', 'cuda'))
    parser.add_argument('--dtype', default='f32', choices=('auto', 'f32', 'bf16'))
    parser.add_argument('--model', type=Path, default=ROOT / 'pipelines' / 'demo-model')
    parser.add_argument('--least', type=float, default=100, metavar='PERCENT', help='of the answers must be the same (100)')
    options = parser.parse_args()
    n_compared, differing = replay(options.folder, options.model.resolve(), options.device, options.dtype)
    for frame, prompt, kept, text in differing[:20]:
        print(f'{frame}: {prompt}\n  kept  {kept}\n  found {text}')
    print(f'{n_compared - len(differing)} of {n_compared} answers are the same')
    return int(not n_compared or 100 * (n_compared - len(differing)) < options.least * n_compared)


if __name__ == '__main__':
    raise SystemExit(main())
