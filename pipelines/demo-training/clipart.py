# SPDX-License-Identifier: LGPL-2.1-or-later
"""Drawings of openclipart-svg that show nothing the model names, as GStreamer's rsvgdec draws them, and collages of them."""

import re
from functools import lru_cache

import numpy as np

from rendering import render
from things import draw_square, list_things

FOLDER = 'usr/share/openclipart/svg'
FOLDERS = ('animals', 'buildings', 'computer/hardware', 'decorations', 'electronics', 'food', 'office', 'people', 'plants',
           'recreation', 'science', 'tools', 'transportation/vehicles', 'transportation/boating', 'unsorted')
FILE_BYTES = (1500, 120_000)
FRAME_SIDE = (40, 1600)
# Besides the things: shapes, other names of things (rana, baloon), makers who name theirs in Italian, and words that tell of
# writing, of signs and of plain geometry.
SHAPES = """
ball circle square triangle star diamond heart cross ring hexagon rectangle text letter font alphabet number logo flag
sign symbol button icon frame border banner card dice chess clock arrow shape pattern gradient roadsign christ dog cat
kitty puppy apple flower blossom sun moon face emoticon guitar book computer phone pc monitor auto truck fruit glass
cup ship boat clover scissor gear cog stick saturn plane sword people music note paper document aiga traffic warning
hazard road lightning blank speech label map puppet eagle cream cone vector outline silhouette baloon architetto rana
lady bug tooth burger coffee frog lumen
""".split()
# Beginnings of the file names of those that show a thing, a shape or writing all the same, as was seen by looking at them.
EXCLUDED = tuple("""
abc_blocks abeille aircraft alerta beachball blazer bluewhale box_with bull_ burrito camcorder celtic certificate ch_teau
_chevrolet chemical coccinelle compact_disc contour_ couronne cronometro dartboard desk_lamp dossier easter echidna evergreen
evolution fancy_folder flan flourish french_fries gameboy gauffre glace gold_chain hamburger hummer hurricane_lamp kallisti
knitting lamp_ large_plate lens_ longsword mcoon milk_ muffin mug_ ninjastar open_box orange_juice pan_ patchwork pen_ pennello
paint_brush pfd picnic projectile reunion rubik scalpel scart school_ shamrock small_plate soft_blue sportcar stamp_ teacup
thumbs_up ticket tie_ toadstool tools_ tux_head volleball wreath x_simbol zinf
""".split())
N_DRAWINGS, N_COLLAGES = 240, 40


@lru_cache(maxsize=1)
def list_taught():
    """The beginnings of words that tell of something the model is taught to name."""
    return tuple(word for thing in list_things() for word in thing.lower().split() if len(word) > 2) + tuple(SHAPES)


def read_words(path):
    """The words of a drawing's file name, title and keywords; none if it has no keywords."""
    text = path.read_text(encoding='utf-8', errors='replace')
    title, keywords = re.findall(r'<dc:title>([^<]+)<', text), re.findall(r'<rdf:li>([^<]+)<', text)
    return re.findall('[a-z]+', ' '.join([path.stem, *title, *keywords]).lower()) if keywords else []


def is_unnamed(path):
    if path.stem.startswith(EXCLUDED) or not FILE_BYTES[0] < path.stat().st_size < FILE_BYTES[1]:
        return False
    words = read_words(path)
    return bool(words) and not any(word.startswith(list_taught()) for word in words)


def list_drawings(root):
    return sorted(filter(is_unnamed, (path for folder in FOLDERS for path in (root / FOLDER / folder).rglob('*.svg'))))


def draw_svg(path):
    """uint8 [96][96][4], straight; None if it cannot be drawn, is too large or too small, or has no background to cut off."""
    try:
        frame, = render(f'filesrc location="{path}" ! rsvgdec ', layout='RGBA')
    except (RuntimeError, ValueError):
        return None
    covered = (frame[..., 3] > 8).mean()
    if not all(FRAME_SIDE[0] <= side <= FRAME_SIDE[1] for side in frame.shape[:2]) or not 0.02 < covered < 0.97:
        return None
    return draw_square(frame.astype(np.float32))


def make_drawings(root, rng):
    paths = list_drawings(root)
    drawings = {}
    for path in (paths[i] for i in rng.permutation(len(paths))):
        drawing = draw_svg(path)
        if drawing is not None:
            drawings.setdefault((drawing[4::8, 4::8] >> 6).tobytes(), drawing)  # many are there several times
        if len(drawings) == N_DRAWINGS:
            break
    return list(drawings.values())


def paste(picture, drawing, rng):
    """One drawing, enlarged by whole pixels, anywhere, also over the border."""
    large = np.kron(drawing, np.ones((*2 * (int(rng.integers(1, 3)),), 1), np.uint8)).astype(np.float32)
    side, (height, width) = large.shape[0], picture.shape[:2]
    y, x = int(rng.integers(-side // 3, height - side // 2)), int(rng.integers(-side // 3, width - side // 2))
    rows, columns = slice(max(0, y), min(height, y + side)), slice(max(0, x), min(width, x + side))
    part = large[rows.start - y:rows.stop - y, columns.start - x:columns.stop - x]
    alpha = part[..., 3:] / 255
    picture[rows, columns] = picture[rows, columns] * (1 - alpha) + part[..., :3] * alpha


def make_collage(drawings, rng):
    """uint8 [192][256][3] of six to sixteen drawings."""
    corners = rng.uniform(0, 255, (2, 3))
    picture = np.linspace(*corners, 256)[None].repeat(192, 0).astype(np.float32)
    for number in rng.integers(0, len(drawings), rng.integers(6, 17)):
        paste(picture, drawings[number], rng)
    return picture.astype(np.uint8)
