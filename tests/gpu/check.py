#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The check part: operations, goldens, batch invariance, load and unload, errors of a device.

    check.py --bin DIR --small DIR --out FILE.json

Logs of the programs lie beside FILE.json.
"""

import argparse
import json
import re
from pathlib import Path

from gpulib.programs import TIERS, Programs, name_tier, run_together
from gpulib.results import Results

TESTS = Path(__file__).resolve().parent.parent
GOLDEN = TESTS / 'golden'
N_AT_ONCE = 14
LINE = re.compile(r'^(not ok|ok)\b(.*)', re.M)


class Runner(Programs):
    def __init__(self, options, results):
        super().__init__(options.out)
        self.options, self.results = options, results

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

    def check_goldens(self, tier):
        self.run_tap('goldens in f32', tier, self.options.bin / 'test-golden', '--tap', MLLAMA_GOLDEN_DEVICE='cuda',
                     MLLAMA_TEST_SOURCE_DIR=str(TESTS))

    def plan_invariance(self, tier):
        """Jobs."""
        return [(self.run_tap, f'batch invariance, {path.name} {dtype}', tier, self.options.bin / 'test-invariance', path,
                 'cuda', dtype)
                for path in (GOLDEN / 'checkpoints' / 'hub', GOLDEN / 'checkpoints' / 'many', self.options.small)
                for dtype in ('f32', 'bf16')]

    def check_lifecycle(self):
        self.run_tap('load and unload 50 times', '', self.options.bin / 'test-lifecycle', self.options.small, 'cuda',
                     'bf16')

    def check_device_errors(self):
        """The device's memory is taken, the device is hidden and it is lost: nothing else runs beside it."""
        program = (self.options.bin / 'test-device-errors', self.options.small)
        self.run_tap('out of memory', '', *program, 'memory')
        self.run_tap('a lost device', '', *program, 'lost')
        self.run_tap('no device', '', *program, 'refused', 'the driver finds none', CUDA_VISIBLE_DEVICES='')
        # The driver is told not to take machine code, and the module has nothing else.
        if b'-ptx' in (self.options.bin / 'libmllama-cuda.so').read_bytes():
            self.results.skip('wrong architecture', 'the module has code for every architecture')
        else:
            self.run_tap('wrong architecture', '', *program, 'refused', 'was built for', CUDA_FORCE_PTX_JIT='1')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--bin', type=Path, required=True)
    parser.add_argument('--small', type=Path, required=True, help='a checkpoint of make-11b.py')
    parser.add_argument('--out', type=Path, required=True)
    options = parser.parse_args()
    results = Results('check')
    runner = Runner(options, results)
    # By themselves: one is timed, one looks at free memory.
    runner.check_operations('')
    runner.check_lifecycle()
    runner.check_device_errors()
    # The others leave most of the GPU idle.
    jobs = [(runner.check_operations, 'sm_80')]
    for tier in TIERS:
        jobs += [(runner.check_goldens, tier), *runner.plan_invariance(tier)]
    run_together(jobs, N_AT_ONCE)
    results.write(options.out)
    return results.exit_status


if __name__ == '__main__':
    raise SystemExit(main())
