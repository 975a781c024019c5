# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks of text that clang-format does not make, on the files named: licence lines, white space, markers of unfinished
work, and the length of C files and functions. Longer ones need a line with a reason in long-ones.txt."""

import re
import sys
from pathlib import Path

HERE = Path('tests/style')
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
SOURCE_SUFFIXES = {'.c', '.h', '.cu', '.cuh', '.py', '.sh', '.build'}
TEXT_SUFFIXES = SOURCE_SUFFIXES | {'.md', '.txt', '.supp', '.in'}
LICENCE = 'SPDX-License-Identifier: LGPL-2.1-or-later'
UNFINISHED = re.compile(r'\b(TO' r'DO|FIX' r'ME|X' r'XX)\b')
# The project's C puts the name of a function, and its outer braces, in the first column.
FUNCTION_NAME = re.compile(r'^([A-Za-z_]\w*) \(')


def read_allowed():
    """Names "FILE" and "FILE:FUNCTION" that may be long."""
    lines = (HERE / 'long-ones.txt').read_text(encoding='utf-8').splitlines()
    return {line.split(None, 1)[0] for line in lines if line and not line.startswith('#')}


def find_functions(lines):
    """Yields (name, first line, length) of the functions defined in the lines of a C file."""
    name, start, in_body = None, 0, False
    for number, line in enumerate(lines, 1):
        match = FUNCTION_NAME.match(line)
        if match:
            name, start, in_body = match.group(1), number, False
        if not name:
            continue
        if line.startswith('{'):
            in_body = True
        elif in_body and line.startswith('}'):
            yield name, start, number - start + 1
            name = None
        elif not in_body and line.endswith(';'):
            name = None  # a prototype


def check_lengths(path, lines, allowed):
    if len(lines) > MAX_FILE_LINES and path not in allowed:
        yield f'{path}: {len(lines)} lines, more than {MAX_FILE_LINES}'
    for name, start, length in find_functions(lines):
        if length > MAX_FUNCTION_LINES and f'{path}:{name}' not in allowed:
            yield f'{path}:{start}: {name} has {length} lines, more than {MAX_FUNCTION_LINES}'


def check_file(path, allowed):
    text = Path(path).read_text(encoding='utf-8', errors='replace')
    lines = text.splitlines()
    suffix = Path(path).suffix
    if suffix in SOURCE_SUFFIXES - {'.build'} and not any(LICENCE in line for line in lines[:2]):
        yield f'{path}:1: no line "{LICENCE}"'
    if text and not text.endswith('\n'):
        yield f'{path}:{len(lines)}: no newline at the end'
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield f'{path}:{number}: white space at the end of the line'
        if '\t' in line and suffix in SOURCE_SUFFIXES:
            yield f'{path}:{number}: a tab'
        if suffix in SOURCE_SUFFIXES and UNFINISHED.search(line):
            yield f'{path}:{number}: unfinished work: {line.strip()}'
    if suffix in {'.c', '.h'}:
        yield from check_lengths(path, lines, allowed)


def main():
    allowed = read_allowed()
    # Golden data and corpora are what a reference or a fuzzer wrote.
    files = [path for path in sys.argv[1:] if Path(path).suffix in TEXT_SUFFIXES and Path(path).is_file()
             and '/corpus' not in path and not path.startswith('tests/golden/checkpoints/')]
    faults = [fault for path in files for fault in check_file(path, allowed)]
    print(*faults, sep='\n', end='\n' if faults else '')
    return 1 if faults else 0


sys.exit(main())
