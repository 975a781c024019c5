#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The peers part: programs that time the same model elsewhere, one at a time.

    peers.py --peers DIR --out FILE.json [--seconds N]

The folder holds peer_transformers.py and peer_graphed.py, which print one JSON object a line for what they measure. Out of
time, their figures stay open, and a note says so.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from gpulib.results import Results


def run_peer(options, results, name, *arguments):
    """The objects of its lines, as far as it came in the time that is left."""
    path, left = options.peers / name, options.deadline - time.monotonic()
    label = ' '.join((name, *arguments))
    if not path.exists() or left < 20:
        results.note(f'{label} was not run: {"no time was left" if path.exists() else f"{path} is missing"}')
        return []
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, str(path), *arguments], stdout=subprocess.PIPE, encoding='utf-8',
                               start_new_session=True)
    try:
        text, _ = process.communicate(timeout=left)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the compilers that it has started
        text, _ = process.communicate()
        results.note(f'{label} was stopped when no time was left')
    print(f'{label}: {time.monotonic() - begin:.0f} s', flush=True)
    if process.returncode > 0:
        results.note(f'{label} ended with status {process.returncode}')
    return [json.loads(line) for line in text.splitlines() if line.startswith('{') and line.endswith('}')]


def find_best(lines, pick, key, **wanted):
    """The best value of key among the lines that have it and what is wanted."""
    values = [line[key] for line in lines if key in line and all(line.get(k) == v for k, v in wanted.items())]
    return pick(values) if values else None


def measure_peers(options, results):
    lines = run_peer(options, results, 'peer_transformers.py', '--no-compile')
    results.figures['peer'] = {
        'vision_ms_4': find_best(lines, min, 'ms', tiles=4), 'ttft_ms_4': find_best(lines, min, 'ttft_ms', batch=1),
        'decode_tok_s_1': find_best(lines, max, 'tok_s', batch=1),
        'decode_tok_s_8': find_best(lines, max, 'tok_s', batch=8)}
    results.write(options.out)
    lines = run_peer(options, results, 'peer_graphed.py') + run_peer(options, results, 'peer_graphed.py', '--compile')
    results.figures['peer_graphed'] = {
        'vision_ms': {str(n): find_best(lines, min, 'ms', tiles=n) for n in (1, 2, 4)},
        'decode_tok_s': {str(n): find_best(lines, max, 'tok_s', batch=n) for n in (1, 8, 32)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--peers', type=Path, required=True)
    parser.add_argument('--seconds', type=float, default=530, help='when they have to end')
    options = parser.parse_args()
    options.deadline = time.monotonic() + options.seconds
    results = Results('peers')
    measure_peers(options, results)
    results.write(options.out)
    return results.exit_status


if __name__ == '__main__':
    raise SystemExit(main())
