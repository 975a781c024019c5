# SPDX-License-Identifier: LGPL-2.1-or-later
"""Drawing lots, and colours by their names: renderings of a name, and which stand out from which."""

import colorsys
import math

import words


def pick(rng, table):
    """A key of a table of weights."""
    at = rng.random() * sum(table.values())
    for key, weight in table.items():
        at -= weight
        if at < 0:
            return key
    return key


def between(rng, bounds):
    return bounds[0] + rng.random() * (bounds[1] - bounds[0])


def pick_rgb(rng, name):
    """A rendering of a colour, 0..255."""
    if rng.random() < words.USUAL_SHARE:
        return rng.choice(words.USUAL_COLOURS[name])
    boxes = words.COLOURS[name]
    box = boxes[0] if len(boxes) == 1 else rng.choices(boxes, [box[0] for box in boxes])[0]
    hue, saturation, value = (between(rng, bounds) for bounds in box[1:])
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value))


def measure_distance(a, b):
    """How different two colours look, about 0..765: Euclid's, red and blue weighted by the mean of red."""
    mean = (a[0] + b[0]) / 512
    return math.sqrt((2 + mean) * (a[0] - b[0]) ** 2 + 4 * (a[1] - b[1]) ** 2 + (3 - mean) * (a[2] - b[2]) ** 2)


def measure_luma(rgb):
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]


def is_clear(rgb, background, least=words.MIN_COLOUR_DISTANCE):
    """Whether something of that colour stands out everywhere on a background."""
    if len(background.rgbs) < 2:
        return all(measure_distance(rgb, other) >= least for other in background.rgbs)
    first, second = background.rgbs
    for step in (0, 0.25, 0.5, 0.75, 1):
        mixed = [a + step * (b - a) for a, b in zip(first, second)]
        if measure_distance(rgb, mixed) < (least if step in (0, 1) else 0.7 * least):
            return False
    return True


def pick_clear_colour(rng, background, least=words.MIN_COLOUR_DISTANCE):
    """(name, rgb) of a colour that is none of the background's, by name and by eye."""
    while True:
        name = rng.choice(words.COLOUR_NAMES)
        if name not in background.colours:
            rgb = pick_rgb(rng, name)
            if is_clear(rgb, background, least):
                return name, rgb
