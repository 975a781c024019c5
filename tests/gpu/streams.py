#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The streams part: live streams of four tiles on one model, in one process: what each gets, and how soon.

    streams.py --bin DIR --checkpoint DIR --out FILE.json [--device cuda] [--streams N] [--seconds N]
"""

import argparse
import json
import subprocess
from pathlib import Path

from gpulib.results import Results

LEAST_FAIRNESS = 0.5  # captions of the worst stream, over the mean
LEAST_ROWS = 4  # of a decode step, where the streams are 16


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--bin', type=Path, required=True)
    parser.add_argument('--checkpoint', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--streams', type=int, default=16)
    parser.add_argument('--seconds', type=int, default=25, help='that are measured')
    options = parser.parse_args()
    results = Results('streams')
    done = subprocess.run([str(word) for word in (options.bin / 'time-streams', options.checkpoint, options.device,
                                                  options.streams, options.seconds)],
                          stdout=subprocess.PIPE, encoding='utf-8', check=False)
    results.check(f'{options.streams} live streams on one model end well', done.returncode == 0, f'status {done.returncode}')
    if done.returncode == 0:
        report = json.loads(done.stdout)
        results.check_least('worst stream over the mean', report['fairness'], LEAST_FAIRNESS)
        results.check_least('rows of a decode step', report['rows_per_step'], min(LEAST_ROWS, options.streams / 4))
        results.check('captions are as long as they may be', report['full_captions'] > 0.9 * report['captions'],
                      f'{report["full_captions"]:.0f} of {report["captions"]:.0f}')
        results.figures['streams'] = {str(options.streams): {key: round(report[key], 3) for key in (
            'captions_s', 'fairness', 'latency_ms_p50', 'latency_ms_p95', 'rows_per_step', 'gpu_GiB', 'states_GiB')}}
    results.write(options.out)
    return results.exit_status


if __name__ == '__main__':
    raise SystemExit(main())
