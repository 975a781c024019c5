# SPDX-License-Identifier: LGPL-2.1-or-later
"""An index of invented captions, to measure search on: make_index.py FILE N_CAPTIONS."""

import random
import sqlite3
import sys
from pathlib import Path

SCHEMA = Path(__file__).resolve().parents[2] / 'pipelines' / 'archive' / 'schema.sql'
COLOURS = 'red green blue white black yellow grey brown'.split()
THINGS = 'car dog man woman child bicycle truck bird tree house boat train horse cat bus bridge lamp table cloud gate'.split()
DEEDS = 'stands walks waits turns shines moves stops passes sits lies'.split()
PLACES = 'street river field garden square station beach forest kitchen yard'.split()
TIMES = 'night noon dawn dusk'.split()
CAPTIONS_OF_A_CLIP = 100
SECOND = 10 ** 9


def make_text(dice):
    return (f'A {dice.choice(COLOURS)} {dice.choice(THINGS)} {dice.choice(DEEDS)} in front of a {dice.choice(COLOURS)} '
            f'{dice.choice(THINGS)} by the {dice.choice(PLACES)} at {dice.choice(TIMES)}, number {dice.randrange(20000)}.')


def make_index(path, n_captions):
    dice = random.Random(1)
    index = sqlite3.connect(path)
    index.execute('PRAGMA journal_mode = WAL')
    index.executescript(SCHEMA.read_text(encoding='utf-8'))
    index.execute("INSERT INTO settings VALUES (1, 'hash', 'text')")
    index.executemany('INSERT INTO questions VALUES (?, ?, ?)', [(1, 'caption', 'Describe it.'), (2, 'night', 'Is it night?')])
    for clip in range(1, (n_captions - 1) // CAPTIONS_OF_A_CLIP + 2):
        path = f'/archive/{clip % 100:02}/clip-{clip:06}.mp4'
        index.execute('INSERT INTO clips VALUES (?, ?, 1000, ?, ?, 1280, 720, 1, ?, NULL, ?)',
                      (clip, path, (1600000000 + clip * 3600) * SECOND, 500 * SECOND, path, 1700000000 * SECOND))
        index.executemany(
            'INSERT INTO captions (clip, question, start_ns, end_ns, text, confidence, thumbnail) VALUES (?, ?, ?, ?, ?, ?, ?)',
            [(clip, 1 + i % 2, i * SECOND, (i + 1) * SECOND, make_text(dice), 0.5, f'{i:07}.000.jpg')
             for i in range(min(CAPTIONS_OF_A_CLIP, n_captions - (clip - 1) * CAPTIONS_OF_A_CLIP))])
    index.commit()
    index.close()


if __name__ == '__main__':
    make_index(sys.argv[1], int(sys.argv[2]))
