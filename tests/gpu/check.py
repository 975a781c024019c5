#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The check part: operations, sanitizers, goldens, batch invariance, load and unload.

    check.py --bin DIR --small DIR --out FILE.json

Logs of the programs lie beside FILE.json.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpulib.results import Results

TESTS = Path(__file__).resolve().parent.parent
GOLDEN = TESTS / 'golden'
TIERS = ('', 'sm_80')  # '': the GPU's own
TOOLS = ('memcheck', 'racecheck', 'initcheck')
LINE = re.compile(r'^(not ok|ok)\b(.*)', re.M)


def name_tier(tier):
    return tier or 'own tier'


class Runner:
    def __init__(self, options, results):
        self.options, self.results = options, results

    def run(self, label, tier, *command, limit=240, **environment):
        """Output and exit status; the output is kept in a log."""
        changed = {**os.environ, **environment, **({'MLLAMA_CUDA_TIER': tier} if tier else {})}
        log = self.options.out.with_name(re.sub(r'\W+', '-', f'{label} {tier}'.strip()) + '.log')
        with open(log, 'w', encoding='utf-8') as file:
            try:
                status = subprocess.run([str(word) for word in command], stdout=file, stderr=subprocess.STDOUT,
                                        env=changed, timeout=limit, check=False).returncode
            except subprocess.TimeoutExpired:
                status = f'stopped after {limit} s'
        return log.read_text(encoding='utf-8', errors='replace'), status

    def run_tap(self, label, tier, *command, **options):
        """Counts the lines of TAP. A program that ends badly without a line that says so has failed once more."""
        text, status = self.run(label, tier, *command, **options)
        lines = LINE.findall(text)
        n_failed = sum(word == 'not ok' for word, _ in lines)
        n_skipped = sum('# skip' in rest.lower() for word, rest in lines if word == 'ok')
        n_passed = len(lines) - n_skipped - n_failed
        if status != 0 and n_failed == 0:
            n_failed = 1
        self.results.add_check(f'{label}, {name_tier(tier)}', n_passed, n_failed, n_skipped,
                               f'status {status}' if status else '')

    # --- what is run ---

    def check_operations(self, tier):
        path = self.options.out.with_name(f'checkcuda{tier and "-"}{tier}.json')
        path.unlink(missing_ok=True)
        _, status = self.run('checkcuda', tier, self.options.bin / 'checkcuda', '--json', path,
                             *(['--no-speed'] if tier else []))
        report = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {'checks': [], 'faults': []}
        is_told = any(check['failed'] for check in report['checks'])
        self.results.check(f'checkcuda ends well, {name_tier(tier)}', path.exists() and (status == 0 or is_told),
                           f'status {status}')
        for subject in dict.fromkeys(check['name'].split('/')[0] for check in report['checks']):
            counts = [sum(check[word] for check in report['checks'] if check['name'].startswith(f'{subject}/'))
                      for word in ('passed', 'failed', 'skipped')]
            self.results.add_check(f'checkcuda {subject}, {name_tier(tier)}', *counts)
        if not tier:
            self.results.faults += [{**fault, 'name': f'check: {fault["name"]}, {fault["check"]}'}
                                    for fault in report['faults']]

    def sanitize(self, job):
        tool, tier = job
        label = f'compute-sanitizer {tool}'
        sanitizer = shutil.which('compute-sanitizer') or shutil.which('compute-sanitizer', path='/usr/local/cuda/bin')
        if not sanitizer:
            self.results.skip(f'{label}, {name_tier(tier)}', 'no compute-sanitizer')
            return
        text, status = self.run(label, tier, sanitizer, '--tool', tool, '--error-exitcode', '99', '--print-limit', '5',
                                self.options.bin / 'checkcuda', '--edge-only',
                                limit=self.options.deadline - time.monotonic())
        summary = (re.findall(r'(?:ERROR|RACECHECK) SUMMARY: .*', text) or ['no summary'])[-1]
        self.results.check(f'{label}, {name_tier(tier)}', status == 0, f'{summary}, status {status}')

    def check_goldens(self, tier):
        self.run_tap('goldens in f32', tier, self.options.bin / 'test-golden', '--tap', MLLAMA_GOLDEN_DEVICE='cuda',
                     MLLAMA_TEST_SOURCE_DIR=str(TESTS))

    def check_invariance(self, tier):
        for path in (GOLDEN / 'checkpoints' / 'hub', GOLDEN / 'checkpoints' / 'many', self.options.small):
            for dtype in ('f32', 'bf16'):
                self.run_tap(f'batch invariance, {path.name} {dtype}', tier, self.options.bin / 'test-invariance', path,
                             'cuda', dtype)

    def check_lifecycle(self):
        self.run_tap('load and unload 50 times', '', self.options.bin / 'test-lifecycle', self.options.small, 'cuda',
                     'bf16')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--bin', type=Path, required=True)
    parser.add_argument('--small', type=Path, required=True, help='a checkpoint of make-11b.py')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--seconds', type=int, default=520, help='when the sanitizers have to end')
    options = parser.parse_args()
    options.deadline = time.monotonic() + options.seconds
    results = Results('check')
    runner = Runner(options, results)
    for tier in TIERS:
        runner.check_operations(tier)
        runner.check_goldens(tier)
        runner.check_invariance(tier)
    runner.check_lifecycle()
    # The sanitizers leave most of the GPU idle.
    jobs = [(tool, tier) for tier in TIERS for tool in TOOLS]
    with ThreadPoolExecutor(len(jobs)) as pool:
        list(pool.map(runner.sanitize, jobs))
    results.write(options.out)
    return results.exit_status


if __name__ == '__main__':
    raise SystemExit(main())
