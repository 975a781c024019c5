# SPDX-License-Identifier: LGPL-2.1-or-later
"""Scenes, backgrounds and textures, drawn by cairo and numpy at the size of the frame. Nothing here is the trainer's."""

import math

import cairo
import numpy as np

# RGB that nobody would call by another word; the corners of the cube are what people type into foreground-color.
COLOURS = {
    'red': [(220, 22, 26), (255, 0, 0), (200, 16, 30)], 'green': [(22, 160, 44), (0, 255, 0), (0, 128, 0)],
    'blue': [(26, 52, 214), (0, 0, 255), (30, 70, 200)], 'yellow': [(246, 226, 32), (255, 255, 0)],
    'white': [(245, 245, 245), (255, 255, 255)], 'black': [(12, 12, 12), (0, 0, 0)],
    'orange': [(250, 136, 12), (255, 140, 0)], 'purple': [(130, 22, 160), (128, 0, 128)],
    'pink': [(252, 132, 190), (255, 150, 200)], 'cyan': [(20, 216, 226), (0, 255, 255)],
    'brown': [(128, 74, 30), (139, 80, 28)], 'grey': [(128, 128, 128), (136, 136, 136)],
}
# Diameter over the frame's shorter side; neighbours are 1.4 apart.
SIZES = {'small': (0.105, 0.14), 'medium': (0.205, 0.265), 'large': (0.385, 0.48)}
COLUMNS_ROWS = {'top left': (0, 0), 'top': (1, 0), 'top right': (2, 0), 'left': (0, 1), 'centre': (1, 1),
                'right': (2, 1), 'bottom left': (0, 2), 'bottom': (1, 2), 'bottom right': (2, 2)}
CELL_MARGIN = 0.12  # of a cell: as near to its border a centre may be


def pick_colour(rng, name):
    """One of the colour's, a little off; what is grey stays so."""
    base = np.array(COLOURS[name][rng.integers(len(COLOURS[name]))])
    jitter = rng.integers(-6, 7, 3)
    return np.clip(base + (jitter[0] if name in ('white', 'black', 'grey') else jitter), 0, 255)


def measure_contrast(one, other):
    return float(np.linalg.norm(np.asarray(one, float) - np.asarray(other, float)))


def mean_colour(name):
    return np.mean(COLOURS[name], axis=0)


def name_colours(picture):
    """{name: share of the pixels that are nearest to it}."""
    names = list(COLOURS)
    anchors = np.array([colour for name in names for colour in COLOURS[name]], np.float32)
    owner = np.array([index for index, name in enumerate(names) for _ in COLOURS[name]])
    step = max(1, int(math.sqrt(picture.shape[0] * picture.shape[1] / 4000)))
    pixels = picture[::step, ::step, 2::-1].reshape(-1, 3).astype(np.float32)
    nearest = owner[((pixels[:, None] - anchors[None]) ** 2).sum(2).argmin(1)]
    return {name: float((nearest == index).mean()) for index, name in enumerate(names)}


# --- backgrounds ---

def make_canvas(width, height):
    return np.full((height, width, 4), 255, np.uint8)


def paint(picture, rgb):
    """rgb: float [height][width][3], or one colour."""
    picture[..., 2::-1] = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return picture


def make_plain(rng, width, height, colour):
    return paint(make_canvas(width, height), pick_colour(rng, colour))


def make_ramp(width, height, across):
    """[height][width][1] from 0 to 1."""
    ramp = np.linspace(0, 1, width if across else height)
    return np.broadcast_to(ramp[None, :, None] if across else ramp[:, None, None], (height, width, 1))


def make_graded(rng, width, height, start, end):
    ramp = make_ramp(width, height, rng.random() < 0.5)
    return paint(make_canvas(width, height), (1 - ramp) * pick_colour(rng, start) + ramp * pick_colour(rng, end))


def make_grain(rng, width, height, grain):
    """Gaussian noise of unit variance whose grains are squares of that many pixels."""
    small = rng.standard_normal((-(-height // grain), -(-width // grain), 3), np.float32)
    return small.repeat(grain, 0).repeat(grain, 1)[:height, :width]


def make_noisy(rng, width, height, colour):
    grain = max(1, round(height / 270 * rng.uniform(0.7, 1.5)))
    noise = make_grain(rng, width, height, grain) * rng.uniform(17, 30)
    return paint(make_canvas(width, height), np.clip(pick_colour(rng, colour), 20, 235) + noise)


BACKGROUNDS = {'plain': make_plain, 'graded': make_graded, 'noisy': make_noisy}


def make_background(rng, width, height, background):
    """Of (kind, colour...), as reader.py names it."""
    return BACKGROUNDS[background[0]](rng, width, height, *background[1:])


# --- shapes: points and curves within [-1, 1], then stretched so that the longer side is the diameter ---

def list_corners(count, radii=(1,), turn=-math.pi / 2):
    return [(radii[i % len(radii)] * math.cos(turn + 2 * math.pi * i / count),
             radii[i % len(radii)] * math.sin(turn + 2 * math.pi * i / count)) for i in range(count)]


CORNERS = {
    'square': [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    'triangle': list_corners(3),
    'star': list_corners(10, (1, 0.42)),
    'diamond': [(0, -1), (0.72, 0), (0, 1), (-0.72, 0)],
    'cross': [(-0.33, -1), (0.33, -1), (0.33, -0.33), (1, -0.33), (1, 0.33), (0.33, 0.33), (0.33, 1), (-0.33, 1),
              (-0.33, 0.33), (-1, 0.33), (-1, -0.33), (-0.33, -0.33)],
    'hexagon': list_corners(6, turn=0),
}


def trace_corners(context, corners):
    lows, highs = np.min(corners, 0), np.max(corners, 0)
    middle, half = (lows + highs) / 2, max(highs - lows) / 2
    for x, y in (np.array(corners) - middle) / half:
        context.line_to(x, y)
    context.close_path()


def trace_heart(context):
    context.move_to(0, 0.95)
    context.curve_to(-0.55, 0.5, -1, 0.1, -1, -0.38)
    context.curve_to(-1, -0.98, -0.25, -1.05, 0, -0.45)
    context.curve_to(0.25, -1.05, 1, -0.98, 1, -0.38)
    context.curve_to(1, 0.1, 0.55, 0.5, 0, 0.95)
    context.close_path()


def trace(context, shape, stretch):
    if shape in CORNERS:
        trace_corners(context, CORNERS[shape])
    elif shape == 'heart':
        trace_heart(context)
    elif shape == 'rectangle':
        wide, high = (1, 1 / abs(stretch)) if stretch > 0 else (1 / abs(stretch), 1)
        context.rectangle(-wide, -high, 2 * wide, 2 * high)
    else:
        context.arc(0, 0, 1, 0, 2 * math.pi)
    if shape == 'ring':
        context.new_sub_path()
        context.arc_negative(0, 0, 0.56, 2 * math.pi, 0)


def draw_shape(picture, shape, colour, centre, diameter, stretch=2, turn=0):
    height, width = picture.shape[:2]
    surface = cairo.ImageSurface.create_for_data(picture, cairo.FORMAT_RGB24, width, height)
    context = cairo.Context(surface)
    context.translate(*centre)
    context.rotate(turn)
    context.scale(diameter / 2, diameter / 2)
    trace(context, shape, stretch)
    context.set_source_rgb(*(channel / 255 for channel in colour))
    context.fill()
    surface.finish()


# --- where things can be ---

def pick_centre(rng, width, height, place, diameter):
    """In the place's cell, off its borders and with the whole of the disc in the frame; None if it does not fit."""
    centre = []
    for cell, side in zip(COLUMNS_ROWS[place], (width, height)):
        low = max((cell + CELL_MARGIN) * side / 3, diameter / 2 + 1)
        high = min((cell + 1 - CELL_MARGIN) * side / 3, side - diameter / 2 - 1)
        if low > high:
            return None
        centre.append(rng.uniform(low, high))
    return centre


def find_place(x, y, width, height, margin=0.06):
    """The place of a point; None within the margin, a share of the cell, of a border between cells."""
    cells = []
    for value, side in ((x, width), (y, height)):
        position = 3 * value / side
        if min(abs(position - 1), abs(position - 2)) < margin:
            return None
        cells.append(min(2, max(0, int(position))))
    return next(place for place, cell in COLUMNS_ROWS.items() if cell == tuple(cells))
