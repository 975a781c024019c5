# SPDX-License-Identifier: LGPL-2.1-or-later
"""Outlines of the named shapes as signed distances: what a shape is, apart from its colour, size, place and turn.

Each outline lies in the square from -1 to 1, its longer side filling it. Distances are tabulated once, so that shapes of
all kinds are drawn by one look-up.
"""

import math

import numpy as np

import words

CELL = 192  # samples of a table, across and down
REACH = 1.4  # a table covers -REACH..REACH


def turn(points, angle):
    c, s = math.cos(angle), math.sin(angle)
    return [(c * x - s * y, s * x + c * y) for x, y in points]


def centre(points):
    """Moved and scaled to fill the square with the longer side of the box around them."""
    points = np.array(points, float)
    low, high = points.min(0), points.max(0)
    return (points - (low + high) / 2) / ((high - low).max() / 2)


def make_regular(n, first=-math.pi / 2):
    return [(math.cos(first + 2 * math.pi * i / n), math.sin(first + 2 * math.pi * i / n)) for i in range(n)]


def make_star(inner, n=5):
    outer, notches = make_regular(n), make_regular(n, math.pi / n - math.pi / 2)
    return [point for a, b in zip(outer, notches) for point in (a, (inner * b[0], inner * b[1]))]


def make_box(width, height):
    return [(-width, -height), (width, -height), (width, height), (-width, height)]


def make_cross(arm):
    quarter = [(-arm, -arm), (-arm, -1), (arm, -1)]
    return [point for i in range(4) for point in turn(quarter, i * math.pi / 2)]


def make_heart(n=72):
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y], 1)


def make_round_heart(n=40):
    """Two half circles on a triangle with a right angle."""
    right = [(0.5 + math.cos(a) * math.sqrt(0.5), -0.5 + math.sin(a) * math.sqrt(0.5))
             for a in np.linspace(-0.75 * math.pi, 0.25 * math.pi, n)]
    return [*right, (0, 1), *((-x, y) for x, y in reversed(right[1:]))]


POLYGONS = {
    'square': [make_box(1, 1)],
    'triangle': [make_regular(3), [(0, -1), (1, 1), (-1, 1)], make_regular(3)],
    'star': [make_star(0.382), make_star(0.45), make_star(0.52)],
    'diamond': [make_box(1, 1), make_box(1, 1), make_box(1, 1)],
    'heart': [make_heart(), make_round_heart()],
    'cross': [make_cross(1 / 3), make_cross(0.26), make_cross(0.4)],
    'hexagon': [make_regular(6), make_regular(6, 0)],
    'rectangle': [make_box(1, 0.5), make_box(0.5, 1), make_box(1, 0.57), make_box(0.55, 1), make_box(1, 0.4), make_box(0.42, 1)],
}
POLYGONS['diamond'] = [[(0, -1), (w, 0), (0, 1), (-w, 0)] for w in (0.75, 1.0, 0.62)]
HOLES = [0.58, 0.5, 0.68]  # radii of a ring's hole


def measure_polygon(points, x, y):
    """Signed distances, negative inside, by the nearest edge; inside by the parity of edges crossed."""
    nearest, inside = np.full(x.shape, np.inf), np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, 0)):
        ex, ey = bx - ax, by - ay
        along = np.clip(((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - ax - along * ex, y - ay - along * ey))
        if ey:
            inside ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * ex / ey)
    return np.where(inside, -nearest, nearest)


def tabulate():
    """(f32 [tables][CELL][CELL] in units of half a side, first table of each shape, number of its tables)."""
    at = ((np.arange(CELL) + 0.5) / CELL * 2 - 1) * REACH
    x, y = np.meshgrid(at, at)
    radius = np.hypot(x, y)
    tables, first, count = [], [], []
    for name in words.SHAPES:
        if name == 'circle':
            made = [radius - 1]
        elif name == 'ring':
            made = [np.maximum(radius - 1, hole - radius) for hole in HOLES]
        else:
            made = [measure_polygon(centre(points), x, y) for points in POLYGONS[name]]
        first.append(len(tables))
        count.append(len(made))
        tables += made
    return np.stack(tables).astype(np.float32), np.array(first), np.array(count)
