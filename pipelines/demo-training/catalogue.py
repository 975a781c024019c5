# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an assets folder holds, by name and number: all that a description needs to know of it, without the pixels."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import words

FLAT = 6  # standard deviation of fine checks that look plain: not shown, since no word says what they look like


@dataclass
class Catalogue:
    """What the assets hold, without their pixels."""
    things: list = field(default_factory=lambda: ['dog', 'cat', 'rocket'])
    characters: str = words.CHARACTERS + ':.'
    advances: list = field(default_factory=lambda: [[30.0] * 38])  # [font][character], at CAPITAL_HEIGHT
    text_fonts: list = field(default_factory=lambda: [0])  # what textoverlay takes if not told, by machine
    clock_fonts: list = field(default_factory=lambda: [0])  # what timeoverlay takes
    patterns: dict = field(default_factory=dict)  # name -> {(width, height): numbers}
    n_photos: int = 0
    n_pictures: int = 0  # photos and, after them, collages of drawings, which are too like things to be behind one
    n_clips: int = 0

    def __hash__(self):
        return id(self)


def load_catalogue(folder):
    """Names and numbers of an assets folder; parts that are missing leave the defaults."""
    folder, catalogue = Path(folder), Catalogue()
    if (folder / 'things.npz').exists():
        with np.load(folder / 'things.npz') as file:
            catalogue.things = [str(name) for name in file['names']]
    if (folder / 'glyphs.npz').exists():
        with np.load(folder / 'glyphs.npz') as file:
            catalogue.advances = file['advance'].astype(float).tolist()
            catalogue.characters = ''.join(file['characters'].tolist())
            fonts = file['fonts'].tolist()
            catalogue.text_fonts = [fonts.index(name) for name in ('DejaVu Sans', 'Noto Sans')]
            catalogue.clock_fonts = [fonts.index(name) for name in ('DejaVu Sans Mono', 'Noto Sans Mono')]
    if (folder / 'patterns.npz').exists():
        with np.load(folder / 'patterns.npz') as file:
            catalogue.patterns = list_patterns(file)
    if (folder / 'pictures.npz').exists():
        with np.load(folder / 'pictures.npz') as file:
            keys = list_pictures(file)
            catalogue.n_photos = sum(key.startswith('picture/') for key in keys)
            catalogue.n_pictures, catalogue.n_clips = len(keys), len(list_clips(file))
    return catalogue


def list_patterns(file):
    """Name -> {(width, height): numbers}, without fine checks that reduction has made one colour."""
    patterns = {}
    for key in file.files:
        name, size, number = key.split('/')
        if not name.startswith('checkers') or file[key].std((0, 1)).max() >= FLAT:
            size = tuple(int(side) for side in size.split('x'))
            patterns.setdefault(name, {}).setdefault(size, []).append(int(number))
    return patterns


def list_pictures(file):
    """The arrays of pictures.npz that fill a frame, uint8 [h][w][3]: photos first."""
    return [key for start in ('picture/', 'collage/') for key in file.files if key.startswith(start)]


def list_clips(file):
    """Those that are drawings of something, uint8 [96][96][4]."""
    return [key for key in file.files if key.startswith('clip/')]


DEFAULT = [Catalogue()]


def use_assets(folder):
    """Makes a folder's catalogue the one that sample () takes where none is given; call it once in each process."""
    DEFAULT[0] = load_catalogue(folder)
    return DEFAULT[0]
