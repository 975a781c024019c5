# SPDX-License-Identifier: LGPL-2.1-or-later
"""Photos and drawings of what is not taught, for answers that decline and as backgrounds. SOURCES.md lists them."""

import io
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from clipart import N_COLLAGES, make_collage, make_drawings
from packed import Resources

TABLE = Path(__file__).with_name('SOURCES.md')
ROOT = Path(os.environ.get('DEMO_PICTURES', Path(__file__).resolve().parents[2] / 'build' / 'demo-pictures'))
SIDE = 288
# Of a part's shorter side, over that of the photo.
PART = (0.35, 0.7)


def list_photos():
    """(path below the root, number of parts) of each photo."""
    rows = [[cell.strip() for cell in line.strip('| \n').split('|')] for line in TABLE.read_text(encoding='utf-8').splitlines()
            if line.startswith('| ')]
    return [(row[1], int(row[4])) for row in rows if len(row) == 5 and row[4].isdigit()]


open_resources = lru_cache(maxsize=2)(Resources)


def open_photo(name):
    path, _, inside = name.partition(':')
    file = io.BytesIO(open_resources(ROOT / path).files[inside]) if inside else ROOT / path
    return Image.open(file).convert('RGB')


def cut_part(photo, rng):
    """A part of camera-like proportions."""
    height = int(min(photo.size) * rng.uniform(*PART))
    width = min(photo.width, int(height * rng.uniform(0.8, 1.6)))
    x, y = rng.integers(0, photo.width - width + 1), rng.integers(0, photo.height - height + 1)
    return photo.crop((x, y, x + width, y + height))


def reduce(photo):
    """At most 288 pixels, in 64 levels: what fits the assets' 25 MB. The levels' error is that of a camera's noise."""
    photo.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(photo) & 0xfc | 2


def make_photos(rng):
    for name, n_parts in list_photos():
        photo = open_photo(name)
        parts = [cut_part(photo, rng) for _ in range(n_parts)]
        yield from map(reduce, [photo, *parts])


def make_pictures() -> dict:
    """picture/i and collage/i: uint8 [h][w][3], photos, and many drawings at once. clip/i: uint8 [96][96][4], straight alpha,
    one drawing each."""
    rng = np.random.default_rng(4)
    photos = list(make_photos(rng))
    drawings = make_drawings(ROOT, rng)
    collages = [make_collage(drawings, rng) for _ in range(N_COLLAGES)]
    return {f'{kind}/{i:03}': picture for kind, pictures in (('picture', photos), ('collage', collages), ('clip', drawings))
            for i, picture in enumerate(pictures)}
