#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sanitize part: the operations' edge shapes under compute-sanitizer, on both tiers.

    sanitize.py --bin DIR --out FILE.json [--seconds N]

Logs of the programs lie beside FILE.json.
"""

import argparse
import re
import shutil
import time
from pathlib import Path

from gpulib.programs import TIERS, Programs, name_tier, run_together
from gpulib.results import Results

TOOLS = ('racecheck', 'initcheck', 'memcheck')
# Of checkcuda, those first whose kernels take longest under a sanitizer. Of the cases of a check every so manieth is
# enough for all kernels; it is a prime, so that it has few common factors with the lengths of the check's lists. None:
# the tool has nothing to look at, since no kernel there uses shared memory. The subject invariance has no kernel that the
# others have not, and its long runs take minutes.
SPARSE = {
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
# The GPU goes round the processes that use it, and a kernel under a sanitizer runs long: beside thirteen others a check
# that takes 0.2 s alone took 150 s. Starting takes the processor some seconds, so that two or three fill both.
N_AT_ONCE = 3
HAZARD = re.compile(r'=+ .*(?:between|and) \w+ access at (.*)\+0x')
SUMMARY = re.compile(r'(?:ERROR|RACECHECK) SUMMARY: .*')


def are_all_foreign(text):
    """Whether every hazard that racecheck reports is inside kernels of cuBLASLt, and nothing else went wrong."""
    kernels = HAZARD.findall(text)
    is_foreign = all(any(word in kernel for word in FOREIGN_KERNELS) for kernel in kernels)
    return bool(kernels) and is_foreign and 'Internal Sanitizer Error' not in text and '\nnot ok' not in text


class Sanitizers(Programs):
    def __init__(self, options):
        super().__init__(options.out)
        self.options = options
        self.wrongs = {}  # tool, tier -> subject -> what is wrong, or None

    def run_job(self, tool, tier, subject):
        sparse, left = SPARSE[subject][tool], self.options.deadline - time.monotonic()
        if left < 1:
            return
        begin = time.monotonic()
        text, status = self.run(f'compute-sanitizer {tool} {subject}', tier, self.options.sanitizer, '--tool', tool,
                                '--error-exitcode', '99', '--print-limit', '1000', self.options.bin / 'checkcuda',
                                '--edge-only', '--sparse', sparse if not tier else SPARSER[sparse],
                                '--filter', f'^{subject}/', limit=left)
        summary = (SUMMARY.findall(text) or ['no summary'])[-1]
        print(f'{tool} {subject}, {name_tier(tier)}: {summary}, status {status}, {time.monotonic() - begin:.1f} s', flush=True)
        if summary != 'no summary' and (status == 0 or status == 99 and are_all_foreign(text)):
            self.wrongs[tool, tier][subject] = None
        elif isinstance(status, int):
            self.wrongs[tool, tier][subject] = f'{summary}, status {status}'

    def run_all(self):
        """Longest jobs first."""
        jobs = [(tool, tier, subject) for subject in SPARSE for tool in TOOLS for tier in TIERS if SPARSE[subject][tool]]
        for tool, tier, subject in jobs:
            self.wrongs.setdefault((tool, tier), {})[subject] = 'not finished in time'
        run_together([(self.run_job, *job) for job in jobs], N_AT_ONCE)

    def report(self, results):
        for tier in TIERS:
            for tool in TOOLS:
                subjects = self.wrongs[tool, tier]
                wrongs = {subject: wrong for subject, wrong in subjects.items() if wrong}
                results.add_check(f'compute-sanitizer {tool}, {name_tier(tier)}', len(subjects) - len(wrongs), len(wrongs), 0,
                                  '; '.join(f'{subject}: {wrong}' for subject, wrong in wrongs.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--bin', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--seconds', type=float, default=530, help='what has not ended by then has failed')
    options = parser.parse_args()
    options.deadline = time.monotonic() + options.seconds
    options.sanitizer = shutil.which('compute-sanitizer') or shutil.which('compute-sanitizer', path='/usr/local/cuda/bin')
    results = Results('sanitize')
    if options.sanitizer:
        sanitizers = Sanitizers(options)
        sanitizers.run_all()
        sanitizers.report(results)
    else:
        results.skip('compute-sanitizer', 'there is none in PATH nor in /usr/local/cuda/bin')
    results.write(options.out)
    return results.exit_status


if __name__ == '__main__':
    raise SystemExit(main())
