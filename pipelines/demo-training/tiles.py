# SPDX-License-Identifier: LGPL-2.1-or-later
"""The engine's tile rule: arrangement, size and resampling of a picture, as Llama 3.2-Vision's preprocessor has them.

All arithmetic is in doubles and in this order, because exact fractions give other sizes for some pictures.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGE_SIZE, MAX_TILES = 224, 4


@dataclass(frozen=True)
class Plan:
    rows: int
    columns: int
    ratio_id: int
    width: int  # of the picture on the canvas, at its top left
    height: int

    @property
    def n_tiles(self):
        return self.rows * self.columns


def list_arrangements(max_tiles=MAX_TILES):
    """(rows, columns), by id less one."""
    return [(h, w) for h in range(1, max_tiles + 1) for w in range(1, max_tiles + 1) if h * w <= max_tiles]


def choose_arrangement(width, height, image_size, max_tiles):
    """The canvas that needs the least enlargement, or, where none holds the picture, the least reduction; then the smaller."""
    arrangements = list_arrangements(max_tiles)
    scales = [min((h * image_size) / height, (w * image_size) / width) for h, w in arrangements]
    enlarging = [scale for scale in scales if scale >= 1]
    best = min(enlarging) if enlarging else max(scales)
    return min((pair for pair, scale in zip(arrangements, scales) if scale == best), key=lambda pair: pair[0] * pair[1])


def fit(width, height, rows, columns, image_size):
    """(width, height) of the picture on its canvas."""
    target_w = min(max(width, image_size), columns * image_size)
    target_h = min(max(height, image_size), rows * image_size)
    scale_h, scale_w = target_h / height, target_w / width
    if scale_w < scale_h:
        return target_w, min(int(height * scale_w) or 1, target_h)
    return min(int(width * scale_h) or 1, target_w), target_h


@lru_cache(maxsize=4096)
def plan(width, height, image_size=IMAGE_SIZE, max_tiles=MAX_TILES):
    rows, columns = choose_arrangement(width, height, image_size, max_tiles)
    ratio_id = 1 + list_arrangements(max_tiles).index((rows, columns))
    return Plan(rows, columns, ratio_id, *fit(width, height, rows, columns, image_size))


@lru_cache(maxsize=512)
def make_resampler(n_in, n_out):
    """f32 [n_out][n_in]: Pillow's bilinear reduction or enlargement of one axis, less its rounding to bytes."""
    scale = n_in / n_out
    support = max(scale, 1.0)
    centres = (np.arange(n_out)[:, None] + 0.5) * scale
    low = np.maximum(0, (centres - support + 0.5).astype(int))
    high = np.minimum(n_in, (centres + support + 0.5).astype(int))
    at = low + np.arange((high - low).max())
    weights = np.where(at < high, np.maximum(0, 1 - np.abs((at - centres + 0.5) / support)), 0)
    matrix = np.zeros((n_out, n_in + at.shape[1]), np.float32)
    np.put_along_axis(matrix, at, weights / weights.sum(1, keepdims=True), 1)
    return np.ascontiguousarray(matrix[:, :n_in])


def resize(pixels, width, height):
    """uint8 [H][W][C] -> [height][width][C]; horizontally first, rounded to bytes in between, as Pillow does."""
    across = np.einsum('xw,hwc->hxc', make_resampler(pixels.shape[1], width), pixels.astype(np.float32))
    across = np.floor(across + 0.5).clip(0, 255)
    down = np.einsum('yh,hxc->yxc', make_resampler(pixels.shape[0], height), across)
    return np.floor(down + 0.5).clip(0, 255).astype(np.uint8)


def split(pixels, image_size=IMAGE_SIZE, max_tiles=MAX_TILES, mean=CLIP_MEAN, std=CLIP_STD):
    """uint8 RGB [H][W][3] of a frame -> (f32 [n_tiles][3][S][S], aspect ratio id): what the model sees of it."""
    p = plan(pixels.shape[1], pixels.shape[0], image_size, max_tiles)
    canvas = np.zeros((p.rows * image_size, p.columns * image_size, 3), np.uint8)
    canvas[:p.height, :p.width] = resize(pixels, p.width, p.height)
    scaled = (canvas / 255).astype(np.float32)
    normal = (scaled - np.array(mean, np.float32)) / np.array(std, np.float32)
    tiles = normal.reshape(p.rows, image_size, p.columns, image_size, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(tiles.reshape(p.n_tiles, 3, image_size, image_size)), p.ratio_id
