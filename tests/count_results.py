# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts the cases of a meson test run, given its meson-logs folder.

The first line printed is "PASSED FAILED"; the names of what failed follow, one a line. A TAP program counts once for
each of its cases, any other test once. A program that fails as a whole (crash, timeout, wrong number of cases) although
none of its cases did adds one failure. Skipped cases count nowhere and are named on standard error.
"""

import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

GOOD_RESULTS = {'OK', 'EXPECTEDFAIL', 'SKIP'}


def read_results(logs):
    """Name of each test -> its result as a whole."""
    lines = (logs / 'testlog.json').read_text(encoding='utf-8', errors='replace').splitlines()
    return {test['name']: test['result'] for test in map(json.loads, lines)}


def read_cases(logs):
    """Yields (test, case, outcome). meson files a TAP program as a suite "PROJECT.TEST", other tests as cases."""
    for suite in ElementTree.parse(logs / 'testlog.junit.xml').getroot():
        for case in suite.iter('testcase'):
            tags = {child.tag for child in case}
            outcome = 'failed' if tags & {'failure', 'error'} else 'skipped' if 'skipped' in tags else 'passed'
            project, dot, test = suite.get('name').partition('.')
            yield (test, case.get('name'), outcome) if dot else (case.get('name'), '', outcome)


def main():
    logs = Path(sys.argv[1])
    results = read_results(logs)
    cases = list(read_cases(logs))
    failures = [f'{test} {case}'.rstrip() for test, case, outcome in cases if outcome == 'failed']
    failing_tests = {test for test, _, outcome in cases if outcome == 'failed'}
    failures += [
        f'{test}: {result}'
        for test, result in results.items()
        if result not in GOOD_RESULTS and test not in failing_tests
    ]
    for test, case, outcome in cases:
        if outcome == 'skipped':
            print('skipped', test, case, file=sys.stderr)
    print(sum(outcome == 'passed' for _, _, outcome in cases), len(failures))
    print(*failures, sep='\n', end='\n' if failures else '')
    return 0 if results else 1


if __name__ == '__main__':
    sys.exit(main())
