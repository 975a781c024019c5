#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The speed part: ceilings and mllama-bench, one process at a time.

    speed.py --bin DIR --checkpoint DIR --out FILE.json [--no-limits]
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from gpulib.results import Results

HERE = Path(__file__).resolve().parent
# Figure, key below it, name in mllama-bench's report.
FIGURES = [
    *(('vision_ms', n, f'vision_{n}_tiles') for n in '124'),
    *(('decode_tok_s', n, f'decode_{n}') for n in ('1', '8', '32')),
    ('ttft_ms_4', None, 'first_token'), *(('prompts_ratio', n, f'prompts_{n}_over_1') for n in '48'),
    ('load_GBps', None, 'load_speed'), ('memory_GiB', None, 'memory_one_stream'),
    ('captions_s_32', None, 'captions_32_streams'), ('first_caption_ratio', None, 'first_caption_over_second'),
]
AT_MOST = [('vision_4_tiles', 60), ('vision_1_tiles', 25), ('first_token', 80), ('prompts_4_over_1', 1.15),
           ('prompts_8_over_1', 1.3), ('first_caption_over_second', 1.1), ('memory_one_stream', 23)]
AT_LEAST = [('decode_1', 100), ('decode_32', 2000), ('load_speed', 5)]


def put(tree, name, key, value):
    if key is None:
        tree[name] = value
    else:
        tree.setdefault(name, {})[key] = value


def run_json(results, *command):
    """The JSON object that a command prints, or None; failures are checks."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, encoding='utf-8', check=False)
    name = Path(command[1] if command[0] == sys.executable else command[0]).name
    results.check(f'{name} ends well', done.returncode == 0, f'status {done.returncode}')
    return json.loads(done.stdout) if done.stdout.startswith('{') else None


def measure_ceilings(results):
    for name, spread in (run_json(results, sys.executable, HERE / 'ceilings.py') or {}).items():
        results.figures[name], results.spreads[name] = round(spread['median'], 4), spread


def measure_ours(options, results):
    report = run_json(results, options.bin / 'mllama-bench', '--model', options.checkpoint, '--device', options.device,
                      '--runs', options.runs, '--loads', options.runs, '--json')
    if not report:
        return
    for check in report['checks']:
        results.check(check['name'], check['ok'])
    found = report['figures']
    for name, key, source in FIGURES:
        if source in found:
            put(results.figures, name, key, round(found[source]['median'], 4))
            put(results.spreads, name, key, found[source])
    if options.no_limits:
        return
    for name, limit in AT_MOST:
        results.check_most(name, found[name]['median'], limit)
    for name, limit in AT_LEAST:
        results.check_least(name, found[name]['median'], limit)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--bin', type=Path, required=True, help='folder of mllama-bench')
    parser.add_argument('--checkpoint', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--runs', type=int, default=9)
    parser.add_argument('--no-limits', action='store_true', help='for smaller checkpoints and other GPUs')
    options = parser.parse_args()
    results = Results('speed')
    if options.device == 'cuda':
        measure_ceilings(results)
    measure_ours(options, results)
    results.write(options.out)
    return results.exit_status


if __name__ == '__main__':
    raise SystemExit(main())
