# SPDX-License-Identifier: LGPL-2.1-or-later
"""Prompts and pictures of the parity checks, made from a seed."""

from dataclasses import dataclass

import numpy as np

# Arrangements by their ids in the released checkpoints' list: one above the other and side by side, and so on.
RATIO_IDS = {1: 1, 2: 2, 4: 6}
SWAPPED_IDS = {2: 5, 4: 8}


@dataclass
class Case:
    name: str
    ids: list
    n_tiles: int = 0  # 0: no picture
    ratio_id: int = 0
    pixels: np.ndarray | None = None  # f32 [n_tiles][3][S][S], normalised


def make_picture(random, n_tiles, size):
    """Slopes, waves and noise, about as contrasted as a normalised photo, in a tone of the picture's own."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    tone = random.normal(0, 1, 3)
    tiles = np.empty((n_tiles, 3, size, size), np.float32)
    for tile in tiles:
        for channel, mean in zip(tile, tone):
            a, b, phase = random.normal(0, 1, 3)
            waves = np.sin(2 * np.pi * (random.integers(1, 9) * x + random.integers(1, 9) * y) + phase)
            channel[:] = mean + a * (x - 0.5) + b * (y - 0.5) + 0.5 * waves + random.normal(0, 0.6, (size, size))
    return tiles


def make_ids(random, config, n_ids, mark_at):
    """Begin of text, the mark of a picture if there is one, and ordinary ids."""
    ids = random.integers(0, min(config.text_config.vocab_size, 128000), n_ids).tolist()
    ids[0] = config.text_config.bos_token_id
    if mark_at:
        ids[mark_at] = config.image_token_id
    return ids


def make_case(config, name, n_ids, n_tiles, mark_at, seed):
    random = np.random.default_rng(seed)
    ids = make_ids(random, config, n_ids, mark_at if n_tiles else 0)
    if not n_tiles:
        return Case(name, ids)
    return Case(name, ids, n_tiles, RATIO_IDS[n_tiles], make_picture(random, n_tiles, config.vision_config.image_size))


def make_cases(config):
    """Group -> cases; at least 64 rows in each. Prompts of more than 64 tokens go another way than shorter ones."""
    plans = {'text': [(24, 0), (90, 0)], 'tiles_1': [(24, 1), (44, 5)], 'tiles_2': [(24, 5), (90, 1)],
             'tiles_4': [(24, 1), (44, 5)]}
    groups = {}
    for group, plan in plans.items():
        n_tiles = 0 if group == 'text' else int(group[-1])
        groups[group] = [make_case(config, f'{group}_{n_ids}', n_ids, n_tiles, mark_at, 1000 * n_tiles + n_ids)
                         for n_ids, mark_at in plan]
    return groups
