#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""matrix.py MESON-LOGS [README]: the feature matrix as Markdown, our column from the results of a test run. With README,
says whether that holds exactly this matrix between its marks, and shows what differs."""

import difflib
import fnmatch
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from count_results import read_cases  # noqa: E402
from features import FEATURES, OTHERS  # noqa: E402

BEGIN, END = '<!-- made by tests/matrix/matrix.py -->', '<!-- end of what it made -->'
WORDS = {'y': 'yes', 'p': 'partly', 'n': 'no', '-': '–', '?': '?'}


def read_outcomes(logs):
    """Path of each case -> its outcomes, of all programs that have one of that name. meson puts its number in front."""
    outcomes = {}
    for _, case, outcome in read_cases(logs):
        path = case.partition(' ')[2] if not case.startswith('/') else case
        outcomes.setdefault(path, []).append(outcome)
    return outcomes


def judge(patterns, outcomes):
    """yes if each pattern finds cases and all of them have passed; complaints otherwise."""
    complaints = []
    for pattern in patterns:
        found = fnmatch.filter(outcomes, pattern)
        if not found:
            complaints.append(f'no test case {pattern} was run')
        complaints += [f'{path}: {outcome}' for path in found for outcome in outcomes[path] if outcome != 'passed']
    return 'yes' if patterns and not complaints else 'no', complaints


def write_matrix(outcomes):
    lines = ['| | mllamacaption | ' + ' | '.join(name for name, _, _ in OTHERS) + ' |', '|---' * (len(OTHERS) + 2) + '|']
    complaints = []
    for feature, patterns, others in FEATURES:
        word, reasons = judge(patterns, outcomes)
        complaints += [f'{feature}: {reason}' for reason in reasons]
        cells = [WORDS[cell] for cell in others.split()]
        assert len(cells) == len(OTHERS), feature
        lines.append(f'| {feature} | {word} | ' + ' | '.join(cells) + ' |')
    sources = '; '.join(f'{name} ({what}): {source}' for name, what, source in OTHERS)
    lines += ['', f'Read in: {sources}.']
    return '\n'.join(lines) + '\n', complaints


def read_between_marks(path):
    text = path.read_text(encoding='utf-8')
    if BEGIN not in text or END not in text:
        return None
    return text.split(BEGIN, 1)[1].split(END, 1)[0].strip() + '\n'


def main():
    matrix, complaints = write_matrix(read_outcomes(Path(sys.argv[1])))
    print(*complaints, sep='\n', end='\n' if complaints else '', file=sys.stderr)
    if len(sys.argv) < 3:
        print(BEGIN, matrix + END, sep='\n')
        return 0
    there = read_between_marks(Path(sys.argv[2]))
    if there is None:
        print(f'{sys.argv[2]} has no feature matrix: no line {BEGIN}', file=sys.stderr)
        return 1
    sys.stderr.writelines(difflib.unified_diff(there.splitlines(True), matrix.splitlines(True), sys.argv[2], 'test results'))
    return int(there != matrix)


if __name__ == '__main__':
    sys.exit(main())
