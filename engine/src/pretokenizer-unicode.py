#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes pretokenizer-unicode.c: which characters are letters, numbers and spaces.

The tables follow one version of Unicode, that of the `tokenizers` library which checkpoints are used with, and not the
version of whatever regular expression library is installed: a letter that is unknown there would be split differently.

    pip install unicodedata2==16.0.0
    engine/src/pretokenizer-unicode.py >engine/src/pretokenizer-unicode.c
"""

import unicodedata2 as unicodedata

VERSION = '16.0.0'
# White_Space beyond ASCII; the category does not tell, and U+180E has not been one since Unicode 6.3.
SPACES = [0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]

HEAD = '''/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Made by pretokenizer-unicode.py from Unicode {version}; do not edit. */
#include "pretokenizer-unicode.h"

/* Ascending, disjoint, all beyond ASCII. */
typedef struct {{
  gunichar first, last;
}} Range;
'''

TAIL = '''
static gboolean
holds (const Range *ranges, gsize n, gunichar c)
{
  while (n > 0) {
    gsize half = n / 2;

    if (c < ranges[half].first)
      n = half;
    else if (c <= ranges[half].last)
      return TRUE;
    else
      ranges += half + 1, n -= half + 1;
  }
  return FALSE;
}

MllamaCharClass
mllama_char_class_of (gunichar c)
{
  if (c < 0x80) {
    if (g_ascii_isalpha (c))
      return MLLAMA_CHAR_LETTER;
    if (g_ascii_isdigit (c))
      return MLLAMA_CHAR_NUMBER;
    if (c == '\\r' || c == '\\n')
      return MLLAMA_CHAR_NEWLINE;
    return c == ' ' || c == '\\t' || c == '\\v' || c == '\\f' ? MLLAMA_CHAR_SPACE : MLLAMA_CHAR_OTHER;
  }
  if (holds (letters, G_N_ELEMENTS (letters), c))
    return MLLAMA_CHAR_LETTER;
  if (holds (numbers, G_N_ELEMENTS (numbers), c))
    return MLLAMA_CHAR_NUMBER;
  return holds (spaces, G_N_ELEMENTS (spaces), c) ? MLLAMA_CHAR_SPACE : MLLAMA_CHAR_OTHER;
}
'''


def find_ranges(points):
    ranges = []
    for point in points:
        if ranges and point == ranges[-1][1] + 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return ranges


def print_table(name, points):
    print(f'\nstatic const Range {name}[] = {{')
    line = '   '
    for first, last in find_ranges(points):
        item = f' {{0x{first:x}, 0x{last:x}}},'
        if len(line) + len(item) > 118:
            print(line)
            line = '   '
        line += item
    print(line)
    print('};')


def main():
    assert unicodedata.unidata_version == VERSION
    category = [unicodedata.category(chr(point))[0] for point in range(0x110000)]
    print(HEAD.format(version=VERSION), end='')
    print('\n/* clang-format off */')
    print_table('letters', [p for p in range(0x80, 0x110000) if category[p] == 'L'])
    print_table('numbers', [p for p in range(0x80, 0x110000) if category[p] == 'N'])
    print_table('spaces', SPACES)
    print('/* clang-format on */')
    print(TAIL, end='')


main()
