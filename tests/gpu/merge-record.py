#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Merges what parts of run.sh found into a record, by default record.json beside this file.

    merge-record.py [--record FILE] PART.json...

A part replaces what an earlier run of it found. A record of other trees, another device or driver is begun anew.
"""

import argparse
import datetime
import json
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent


def ask(*command):
    return subprocess.run(command, check=True, capture_output=True, encoding='utf-8', cwd=HERE).stdout.strip()


def find_trees():
    """Ids of the trees that were run: from the environment ("engine=ID gst-plugin=ID"), or git's."""
    if given := os.environ.get('MLLAMA_GPU_TREES'):
        return dict(word.split('=', 1) for word in given.split())
    return {name: ask('git', 'rev-parse', f'HEAD:{name}') for name in ('engine', 'gst-plugin')}


def find_device():
    fields = ask('nvidia-smi', '--query-gpu=name,driver_version', '--format=csv,noheader').splitlines()[0].split(', ')
    return {'device': fields[0], 'driver': fields[1]}


def merge_figures(old, new):
    """New figures over old ones; a figure that was left out this time stays."""
    merged = dict(old)
    for name, value in new.items():
        if isinstance(value, dict):
            merged[name] = merge_figures(old.get(name) or {}, value)
        elif value is not None or name not in old:
            merged[name] = value
    return merged


def keep_others(items, part, key=lambda item: item['name']):
    return [item for item in items if not key(item).startswith(f'{part}: ')]


def merge(record, result):
    part = result['part']
    record['checks'] = keep_others(record.get('checks', []), part) + result['checks']
    record['faults'] = keep_others(record.get('faults', []), part) + result['faults']
    record['notes'] = keep_others(record.get('notes', []), part, str) + result['notes']
    record['figures'] = merge_figures(record.get('figures', {}), result['figures'])
    record['spreads'] = merge_figures(record.get('spreads', {}), result['spreads'])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--record', type=Path, default=HERE / 'record.json')
    parser.add_argument('parts', type=Path, nargs='+')
    options = parser.parse_args()
    now = {**find_device(), 'trees': find_trees()}
    old = json.loads(options.record.read_text(encoding='utf-8')) if options.record.exists() else {}
    record = {**now, **(old if all(old.get(key) == value for key, value in now.items()) else {})}
    record['date'] = datetime.date.today().isoformat()
    for path in options.parts:
        merge(record, json.loads(path.read_text(encoding='utf-8')))
    order = ['device', 'driver', 'date', 'trees', 'checks', 'faults', 'figures', 'spreads', 'notes']
    text = json.dumps({key: record[key] for key in order}, indent=1, ensure_ascii=False)
    options.record.write_text(text + '\n', encoding='utf-8')
    n_failed = sum(check['failed'] for check in record['checks'])
    print(f'{options.record}: {sum(check["passed"] for check in record["checks"])} passed, {n_failed} failed')


if __name__ == '__main__':
    main()
