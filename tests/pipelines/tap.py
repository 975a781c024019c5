# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs a module of unittest cases as TAP: tap.py NAME runs test_NAME. What a failing case has to say goes to standard
error."""

import sys
import unittest


class TapResult(unittest.TestResult):
    """Prints a line for each case as it ends; a case with failing subtests fails once."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.n_failed = 0

    def stopTest(self, test):
        super().stopTest(test)
        faults = [text for _, text in self.failures + self.errors]
        reasons = [reason for _, reason in self.skipped]
        name = test.id().rpartition('.')[2].removeprefix('test_')
        directive = f' # SKIP {reasons[0]}' if reasons and not faults else ''
        print(*faults, sep='\n', end='', file=sys.stderr)
        print(f"{'not ok' if faults else 'ok'} {self.testsRun} /{self.module}/{name}{directive}", flush=True)
        self.n_failed += bool(faults)
        self.failures, self.errors, self.skipped = [], [], []


def main():
    name = sys.argv[1]
    suite = unittest.defaultTestLoader.loadTestsFromName(f'test_{name}')
    print(f'1..{suite.countTestCases()}', flush=True)
    result = TapResult(name)
    suite.run(result)
    return 1 if result.n_failed else 0


sys.exit(main())
