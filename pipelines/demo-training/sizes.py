# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sizes of frames, drawn by lot for a whole batch: a batch's frames have one."""

from colours import between, pick

# Sizes of frames by the tiles they take; the first line of each is what cameras and examples have.
SIZES = {
    (640, 480): 14, (1280, 720): 10, (1920, 1080): 10, (320, 240): 10,
    (240, 320): 1, (426, 240): 1, (480, 360): 1, (480, 480): 1, (480, 640): 1, (640, 360): 3, (720, 576): 1.5, (720, 1280): 1.5,
    (800, 600): 1.5, (854, 480): 1.5, (1024, 768): 1.5, (1080, 1080): 0.7, (1080, 1920): 0.8,
    # three
    (1280, 544): 3, (1920, 800): 3, (640, 200): 3, (200, 640): 2,
    # two
    (320, 180): 8, (400, 200): 4, (416, 176): 2, (1920, 960): 2, (960, 1920): 1, (200, 400): 2,
    # one
    (160, 120): 10, (176, 144): 5, (200, 200): 3, (224, 224): 3,
}
SIZE_TABLE_SHARE = 0.8
EXTREME_SHARE = 0.03  # of batches: frames far wider or higher than others


def pick_any_size(rng, ratios, longer):
    ratio = rng.choice(ratios)
    longer = min(longer, 1080 * ratio)
    shorter = max(120, longer / ratio)
    return round(longer), round(shorter)


def is_extreme(size):
    return max(size) > 3.4 * min(size)


def pick_size(rng):
    """A frame size for a whole batch: a usual one, or one of any shape between 160x120 and 1920x1080, or an extreme one."""
    roll = rng.random()
    if roll < SIZE_TABLE_SHARE:
        return pick(rng, SIZES)
    if roll > 1 - EXTREME_SHARE:
        size = pick_any_size(rng, [3.5 + 4.5 * rng.random()], between(rng, (700, 1920)))
    else:
        size = pick_any_size(rng, [4 / 3, 16 / 9, 1.0, 21 / 9, 3 / 2, 1.25, 2.0, 1 + 1.6 * rng.random()], 160 * 12 ** rng.random())
    return size if rng.random() < 0.75 else size[::-1]
