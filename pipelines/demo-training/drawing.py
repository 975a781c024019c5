# SPDX-License-Identifier: LGPL-2.1-or-later
"""Drawing for compose.py: shapes, sprites and letters of many frames at once, into windows of few sizes.

A frame that the tile rule reduces is drawn at its reduced size, every edge and sprite averaged as the reduction would:
Pillow's is a triangle that reaches one pixel to either side, to which the frame's own pixels add their width. reach is
that triangle's half width, in pixels drawn.
"""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

import shapes
import tiles

SPARE = 4096  # rows beyond an image, for what lies outside of it; many, lest they all be written in turn
WINDOWS = [12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]


def find_reach(reduction):
    """Half width of the triangle whose variance is that of what the pixels went through."""
    return math.sqrt(1 + 0.5 / reduction ** 2) if reduction > 1 else math.sqrt(0.5)


@lru_cache(maxsize=512)
def make_noise_resampler(n_in, n_out, grain):
    """f32 [n_out][cells]: the resampler of an axis whose pixels repeat grain times."""
    matrix = tiles.make_resampler(n_in, n_out)
    return np.add.reduceat(matrix, np.arange(0, n_in, grain), axis=1)


def cover_triangle(distance, reach):
    """Share of an edge's inside, by signed distance in pixels, for pixels seen through a triangle of half width reach."""
    u = (-distance / reach).clamp(-1, 1)
    return 0.5 + u - 0.5 * u * u.abs()


def group_by_window(needs):
    """Yields (window, indices) for lengths in pixels; numpy, so that the device is not waited for."""
    sizes = np.array(WINDOWS)[np.minimum(np.searchsorted(WINDOWS, needs), len(WINDOWS) - 1)]
    for window in np.unique(sizes):
        yield int(window), np.flatnonzero(sizes == window)


class Windows:
    """Square windows on images [n * h * w + SPARE][...]: where each pixel of them lies."""

    def __init__(self, frames, centre_x, centre_y, window, h, w, n_images):
        offsets = torch.arange(window, device=frames.device)
        self.x = torch.floor(centre_x - window / 2 + 0.5).long()[:, None] + offsets  # [m][window]
        self.y = torch.floor(centre_y - window / 2 + 0.5).long()[:, None] + offsets
        inside = ((self.x >= 0) & (self.x < w))[:, None, :] & ((self.y >= 0) & (self.y < h))[:, :, None]
        flat = (frames[:, None, None] * h + self.y[:, :, None]) * w + self.x[:, None, :]
        spare = n_images * h * w + torch.arange(window * window, device=frames.device).view(window, window) % SPARE
        self.at = torch.where(inside, flat, spare)

    def blend(self, image, colour, cover):
        """image = image * (1 - cover) + colour, colour being multiplied by its cover already; [m][window][window](3)."""
        image[self.at] = image[self.at] * (1 - cover[..., None]) + colour


class Sprites:
    """A table of sprites [k][c][gh][gw] that is drawn scaled, each output pixel the mean of all that it covers."""

    def __init__(self, table, origin_x, origin_y):
        self.table, self.origin_x, self.origin_y = table, origin_x, origin_y

    @staticmethod
    def weigh(pixels, start, step, n, reach):
        """f32 [m][window][n]: weights of n sprite pixels, step wide and laid out from start, in each pixel of a window."""
        reach = torch.maximum(reach, step)[:, None, None]
        centres = start[:, None] + (torch.arange(n, device=step.device) + 0.5) * step[:, None]
        distance = (pixels[:, :, None] + 0.5 - centres[:, None, :]).abs()
        return (1 - distance / reach).clamp(min=0) * (step[:, None, None] / reach)

    def draw(self, windows, which, x, y, step_x, step_y, reach):
        """f32 [m][c][window][window]; x, y: where the origin of each sprite lies; step: size of a sprite's pixel."""
        picked = self.table[which]
        down = self.weigh(windows.y, y - self.origin_y * step_y, step_y, picked.shape[2], reach)
        across = self.weigh(windows.x, x - self.origin_x * step_x, step_x, picked.shape[3], reach)
        return down[:, None] @ picked @ across.transpose(1, 2)[:, None]


class Outlines:
    """The tables of shapes.py on a device."""

    def __init__(self, device):
        tables, self.first, self.count = shapes.tabulate()
        self.n = len(tables)
        self.tables = torch.from_numpy(tables).to(device).reshape(1, 1, -1, shapes.CELL)

    def find(self, names, variants):
        """Numbers of tables, by shapes' names as numbers and their variants; numpy."""
        return self.first[names] + variants % self.count[names]

    def measure(self, which, x, y):
        """Signed distances [m][...] of points, in units of half a side; beyond a table, those by way of its nearest point."""
        limit = shapes.REACH * (1 - 1 / shapes.CELL)
        near_x, near_y = x.clamp(-limit, limit), y.clamp(-limit, limit)
        beyond = torch.hypot(x - near_x, y - near_y)
        row = (near_y / shapes.REACH + 1) / 2 + which.view(-1, *[1] * (x.ndim - 1))
        grid = torch.stack([near_x / shapes.REACH, row * (2 / self.n) - 1], -1)
        found = F.grid_sample(self.tables, grid.reshape(1, -1, x.shape[-1], 2), mode='bilinear', align_corners=False)
        return found.reshape(x.shape) + beyond
