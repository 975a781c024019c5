# SPDX-License-Identifier: LGPL-2.1-or-later
"""Surfaces that no scene has: backgrounds for things, and textures of which the model has to say that it cannot tell."""

import math

import numpy as np

from drawing import COLOURS, make_canvas, make_grain, measure_contrast, paint, pick_colour


def make_grid(width, height):
    """x and y from 0 to 1 over the longer side."""
    longer = max(width, height)
    return np.meshgrid(np.arange(width, dtype=np.float32) / longer, np.arange(height, dtype=np.float32) / longer)


def mix(mask, one, other):
    mask = np.asarray(mask, np.float32)[..., None]
    return mask * one + (1 - mask) * other


def pick_two(rng, contrast=70):
    while True:
        one, other = (pick_colour(rng, name) for name in rng.choice(list(COLOURS), 2, replace=False))
        if measure_contrast(one, other) > contrast:
            return one, other


def draw_mix(rng, mask):
    height, width = mask.shape
    return paint(make_canvas(width, height), mix(mask, *pick_two(rng)))


# --- behind things ---

def make_stripes(rng, width, height):
    x, y = make_grid(width, height)
    angle = rng.uniform(0, math.pi)
    return draw_mix(rng, (x * math.cos(angle) + y * math.sin(angle)) * rng.uniform(4, 10) % 1 < 0.5)


def make_checker(rng, width, height):
    x, y = make_grid(width, height)
    count = rng.uniform(5, 10)
    return draw_mix(rng, (np.floor(x * count) + np.floor(y * count)) % 2)


def make_radial(rng, width, height):
    x, y = make_grid(width, height)
    distance = np.hypot(x - rng.uniform(0.1, 0.9), y - rng.uniform(0.1, 0.7))
    return draw_mix(rng, np.clip(distance / rng.uniform(0.5, 0.9), 0, 1))


def make_dots(rng, width, height):
    x, y = make_grid(width, height)
    count = rng.uniform(5, 9)
    return draw_mix(rng, np.hypot(x * count % 1 - 0.5, y * count % 1 - 0.5) < rng.uniform(0.2, 0.35))


def make_waves(rng, width, height):
    x, y = make_grid(width, height)
    return draw_mix(rng, np.sin(9 * x + 3 * np.sin(7 * y + rng.uniform(0, 6))) * 0.5 + 0.5)


FAMILIES = {'stripes': make_stripes, 'checker': make_checker, 'radial': make_radial, 'dots': make_dots,
            'waves': make_waves}


# --- textures ---

def sum_octaves(rng, width, height, coarsest, count=5):
    """Noise of many scales from 0 to 1, smooth at each of them."""
    x, y = make_grid(width, height)
    total = np.zeros((height, width), np.float32)
    for octave in range(count):
        cells = coarsest * 2 ** octave
        knots = rng.random((cells + 3, cells + 3)).astype(np.float32)
        column, row = (x * cells).astype(int), (y * cells).astype(int)
        across, down = x * cells - column, y * cells - row
        across, down = across * across * (3 - 2 * across), down * down * (3 - 2 * down)
        upper = knots[row, column] * (1 - across) + knots[row, column + 1] * across
        lower = knots[row + 1, column] * (1 - across) + knots[row + 1, column + 1] * across
        total += (upper * (1 - down) + lower * down) / 2 ** octave
    return (total - total.min()) / max(np.ptp(total), 1e-6)


def find_nearest(rng, width, height, count):
    """(distance to the nearest of some points, to the second nearest, and which is nearest)."""
    x, y = make_grid(width, height)
    points = rng.random((count, 2)).astype(np.float32)
    distances = np.stack([np.hypot(x - a, y - b) for a, b in points])
    ordered = np.sort(distances, 0)
    return ordered[0], ordered[1], distances.argmin(0)


def make_clouds(rng, width, height):
    return draw_mix(rng, sum_octaves(rng, width, height, 3))


def make_marble(rng, width, height):
    x, y = make_grid(width, height)
    return draw_mix(rng, np.abs(np.sin(8 * (x + y) + 7 * sum_octaves(rng, width, height, 4))))


def make_rings(rng, width, height):
    """Like wood cut across, off its middle."""
    x, y = make_grid(width, height)
    bent = np.hypot(x + 0.2, (y - 0.3) * 1.6) + 0.12 * sum_octaves(rng, width, height, 4)
    return draw_mix(rng, bent * 14 % 1)


def make_cobbles(rng, width, height):
    nearest, second, owner = find_nearest(rng, width, height, 60)
    shades = rng.uniform(90, 190, (60, 3))[owner]
    return paint(make_canvas(width, height), shades * np.clip((second - nearest) * 40, 0.15, 1)[..., None])


def make_cracks(rng, width, height):
    nearest, second, _ = find_nearest(rng, width, height, 40)
    return draw_mix(rng, np.clip((second - nearest) * 30, 0, 1) * (0.7 + 0.3 * sum_octaves(rng, width, height, 9)))


def make_weave(rng, width, height):
    x, y = make_grid(width, height)
    over = (np.floor(x * 24) + np.floor(y * 24)) % 2
    thread = np.where(over, np.abs(np.sin(24 * math.pi * y)), np.abs(np.sin(24 * math.pi * x)))
    return draw_mix(rng, thread * (0.6 + 0.4 * over))


def make_coloured_noise(rng, width, height):
    """Of every colour, in spots: no television's snow, which is grey."""
    spots = make_grain(rng, width, height, max(2, height // 60))
    return paint(make_canvas(width, height), 128 + 90 * spots)


def make_blurs(rng, width, height):
    """Three fields of noise, one a channel."""
    fields = [sum_octaves(rng, width, height, 5, 3) for _ in range(3)]
    return paint(make_canvas(width, height), 255 * np.stack(fields, 2))


def make_scales(rng, width, height):
    x, y = make_grid(width, height)
    rows = np.floor(y * 16)
    along = (x * 14 + 0.5 * (rows % 2)) % 1 - 0.5
    return draw_mix(rng, np.clip(1.3 - np.hypot(along * 1.4, y * 16 % 1) * 1.1, 0, 1))


def make_rust(rng, width, height):
    coarse, fine = sum_octaves(rng, width, height, 4), sum_octaves(rng, width, height, 30, 3)
    return paint(make_canvas(width, height), mix(np.clip((coarse - 0.45) * 6, 0, 1), (150, 78, 30), (105, 112, 118))
                 * (0.6 + 0.6 * fine[..., None]))


TEXTURES = (make_clouds, make_marble, make_rings, make_cobbles, make_cracks, make_weave, make_coloured_noise, make_blurs,
            make_scales, make_rust)
