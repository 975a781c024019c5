# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a part of run.sh finds: checks, planted faults, figures. merge-record.py puts the parts together."""

import json
from pathlib import Path


class Results:
    def __init__(self, part):
        self.part = part
        self.checks, self.faults, self.figures, self.spreads, self.notes = [], [], {}, {}, []

    def add_check(self, name, passed, failed=0, skipped=0, detail=''):
        """A group of cases. Names begin with the part's, so that a later run of it replaces them."""
        check = {'name': f'{self.part}: {name}', 'passed': passed, 'failed': failed, 'skipped': skipped}
        if detail:
            check['detail'] = detail
        self.checks.append(check)
        word = 'FAILED' if failed else 'passed' if passed else 'skipped'
        print(f'{word} {check["name"]}{": " if detail else ""}{detail}', flush=True)

    def check(self, name, is_met, detail=''):
        self.add_check(name, int(bool(is_met)), int(not is_met), 0, detail)

    def check_most(self, name, value, limit):
        """value <= limit; NaN never is."""
        self.check(name, value <= limit, f'{value:.4g}, at most {limit:g} allowed')

    def check_least(self, name, value, limit):
        self.check(name, value >= limit, f'{value:.4g}, at least {limit:g} needed')

    def skip(self, name, reason):
        self.add_check(name, 0, 0, 1, reason)

    def note(self, text):
        self.notes.append(f'{self.part}: {text}')
        print(f'note: {text}', flush=True)

    def write(self, path):
        Path(path).write_text(json.dumps({
            'part': self.part, 'checks': self.checks, 'faults': self.faults, 'figures': self.figures,
            'spreads': self.spreads, 'notes': self.notes}, indent=1) + '\n', encoding='utf-8')

    @property
    def exit_status(self):
        return int(any(check['failed'] for check in self.checks))
