#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The check part: operations, sanitizers, goldens, batch invariance, load and unload, errors of a device.

    check.py --bin DIR --small DIR --out FILE.json

Logs of the programs lie beside FILE.json.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpulib.results import Results

TESTS = Path(__file__).resolve().parent.parent
GOLDEN = TESTS / 'golden'
TIERS = ('', 'sm_80')  # '': the GPU's own
TOOLS = ('racecheck', 'initcheck', 'memcheck')
# Of checkcuda, those first whose kernels take longest under a sanitizer. Of the cases of a check every so manieth is
# enough for all kernels; it is a prime, so that it has few common factors with the lengths of the check's lists. None:
# the tool has nothing to look at, since no kernel there uses shared memory.
SPARSE = {
    'invariance': {'racecheck': 13, 'initcheck': 13, 'memcheck': 13},
    'attention': {'racecheck': 29, 'initcheck': 61, 'memcheck': 13},
    'products': {'racecheck': 29, 'initcheck': 61, 'memcheck': 13},
    'decoder': {'racecheck': 13, 'initcheck': 61, 'memcheck': 13},
    'draw': {'racecheck': 13, 'initcheck': 13, 'memcheck': 13},
    'tower_attention': {'racecheck': 13, 'initcheck': 29, 'memcheck': 13},
    'tower': {'racecheck': 13, 'initcheck': 29, 'memcheck': 13},
    'frames': {'racecheck': None, 'initcheck': 29, 'memcheck': 13},
    'rows': {'racecheck': None, 'initcheck': 29, 'memcheck': 13},
}
# The tiers differ in how kernels are launched, hardly in the kernels.
SPARSER = {13: 29, 29: 61, 61: 127}
# cuBLASLt's kernels order their accesses by means that racecheck does not follow, and it reports hazards inside them: those
# don't count, by what the names of the kernels have in common.
FOREIGN_KERNELS = ('nvjet', 'cutlass', 'cublas', 'gemm', 'gemv', 'xmma')
N_AT_ONCE = 14
# The GPU goes round the processes that use it, and a kernel under a sanitizer runs long: beside thirteen others a check
# that takes 0.2 s alone took 150 s.
N_SANITIZED_AT_ONCE = 2
LINE = re.compile(r'^(not ok|ok)\b(.*)', re.M)


def name_tier(tier):
    return tier or 'own tier'


def are_all_foreign(text):
    """Whether every hazard that racecheck reports is inside kernels of cuBLASLt, and nothing else went wrong."""
    kernels = re.findall(r'=+ .*(?:between|and) \w+ access at (.*)\+0x', text)
    is_foreign = all(any(word in kernel for word in FOREIGN_KERNELS) for kernel in kernels)
    return bool(kernels) and is_foreign and 'Internal Sanitizer Error' not in text and '\nnot ok' not in text


def run_together(jobs, n_at_once):
    with ThreadPoolExecutor(n_at_once) as pool:
        for job in [pool.submit(*job) for job in jobs]:
            job.result()


class Runner:
    def __init__(self, options, results):
        self.options, self.results = options, results
        self.sanitized = {}  # tool, tier -> subject -> what is wrong, or None

    def run(self, label, tier, *command, limit=240, **environment):
        """Output and exit status; the output is kept in a log."""
        changed = {**os.environ, **environment, **({'MLLAMA_CUDA_TIER': tier} if tier else {})}
        log = self.options.out.with_name(re.sub(r'\W+', '-', f'{label} {tier}'.strip()) + '.log')
        with open(log, 'w', encoding='utf-8') as file:
            # A session of its own, so that what a sanitizer has started ends with it.
            process = subprocess.Popen([str(word) for word in command], stdout=file, stderr=subprocess.STDOUT, env=changed,
                                       start_new_session=True)
            try:
                status = process.wait(timeout=limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                status = f'stopped after {limit:.0f} s'
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

    def sanitize(self, tool, tier, subject):
        """What is wrong is kept; report_sanitizers tells."""
        sparse = SPARSE[subject][tool]
        wrongs, left = self.sanitized[tool, tier], self.options.deadline - time.monotonic()
        if left < 1:
            return
        text, status = self.run(f'compute-sanitizer {tool} {subject}', tier, self.options.sanitizer, '--tool', tool,
                                '--error-exitcode', '99', '--print-limit', '1000', self.options.bin / 'checkcuda',
                                '--edge-only', '--sparse', sparse if not tier else SPARSER[sparse],
                                '--filter', f'^{subject}/', limit=left)
        summary = (re.findall(r'(?:ERROR|RACECHECK) SUMMARY: .*', text) or ['no summary'])[-1]
        if summary != 'no summary' and (status == 0 or status == 99 and are_all_foreign(text)):
            wrongs[subject] = None
        elif isinstance(status, int):
            wrongs[subject] = f'{summary}, status {status}'

    def plan_sanitizers(self):
        """Jobs, longest first."""
        if not self.options.sanitizer:
            return []
        jobs = [(tool, tier, subject) for subject in SPARSE for tool in TOOLS for tier in TIERS if SPARSE[subject][tool]]
        for tool, tier, subject in jobs:
            self.sanitized.setdefault((tool, tier), {})[subject] = 'not finished in time'
        return [(self.sanitize, *job) for job in jobs]

    def report_sanitizers(self):
        for tier in TIERS:
            for tool in TOOLS:
                name = f'compute-sanitizer {tool}, {name_tier(tier)}'
                if not self.options.sanitizer:
                    self.results.skip(name, 'no compute-sanitizer')
                    continue
                subjects = self.sanitized[tool, tier]
                wrongs = {subject: wrong for subject, wrong in subjects.items() if wrong}
                self.results.add_check(name, len(subjects) - len(wrongs), len(wrongs), 0,
                                       '; '.join(f'{subject}: {wrong}' for subject, wrong in wrongs.items()))

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
    parser.add_argument('--seconds', type=int, default=500, help='when the sanitizers have to end')
    options = parser.parse_args()
    options.deadline = time.monotonic() + options.seconds
    options.sanitizer = shutil.which('compute-sanitizer') or shutil.which('compute-sanitizer', path='/usr/local/cuda/bin')
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
    run_together(runner.plan_sanitizers(), N_SANITIZED_AT_ONCE)
    runner.report_sanitizers()
    results.write(options.out)
    return results.exit_status


if __name__ == '__main__':
    raise SystemExit(main())
