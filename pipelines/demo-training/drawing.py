# SPDX-License-Identifier: LGPL-2.1-or-later
"""Drawing for compose.py: shapes, sprites and letters of all frames of a batch at once.

A frame that the tile rule reduces is drawn at its reduced size, every edge and sprite averaged as the reduction would:
Pillow's is a triangle that reaches one pixel to either side, to which the frame's own pixels add their width. reach is
that triangle's half width, in pixels drawn.

What is known of a batch beforehand goes to the device in one copy (Parcel): hundreds of small ones would each wait for
the device, which is busy with the batch before.
"""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

import shapes
import tiles

SPARE = 4096  # rows beyond an image, for what lies outside of it; many, lest they all be written in turn
WINDOWS = [32, 64, 160, 448, 912]


def find_reach(reduction):
    """Half width of the triangle whose variance is that of what the pixels went through."""
    return math.sqrt(1 + 0.5 / reduction ** 2) if reduction > 1 else math.sqrt(0.5)


@lru_cache(maxsize=512)
def make_noise_resampler(n_in, n_out, grain):
    """f32 [n_out][cells]: the resampler of an axis whose pixels repeat grain times."""
    matrix = tiles.make_resampler(n_in, n_out)
    return np.add.reduceat(matrix, np.arange(0, n_in, grain), axis=1) if grain > 1 else matrix


def cover_triangle(distance, reach):
    """Share of an edge's inside, by signed distance in pixels, for pixels seen through a triangle of half width reach."""
    u = (-distance / reach).clamp(-1, 1)
    return 0.5 + u - 0.5 * u * u.abs()


def group_by_window(needs):
    """Yields (window, indices) for lengths in pixels."""
    sizes = np.array(WINDOWS)[np.minimum(np.searchsorted(WINDOWS, needs), len(WINDOWS) - 1)]
    for window in np.unique(sizes):
        yield int(window), np.flatnonzero(sizes == window)


class Parcel:
    """Arrays for a device. add () gives a number; after send (), parcel[number] is the tensor there."""

    def __init__(self, device):
        self.device, self.arrays, self.sent = device, [], None

    def add(self, array):
        self.arrays.append(np.ascontiguousarray(array))
        return len(self.arrays) - 1

    def send(self):
        ends = np.cumsum([-(-array.nbytes // 16) * 16 for array in self.arrays], dtype=np.int64)
        self.starts = [0, *ends.tolist()]
        buffer = torch.empty(max(16, self.starts[-1]), dtype=torch.uint8, pin_memory=self.device.type == 'cuda')
        raw = buffer.numpy()
        for start, array in zip(self.starts, self.arrays):
            raw[start:start + array.nbytes] = array.reshape(-1).view(np.uint8)
        self.sent = buffer.to(self.device, non_blocking=True)

    def __getitem__(self, number):
        array, start = self.arrays[number], self.starts[number]
        dtype = getattr(torch, array.dtype.name)
        return self.sent[start:start + array.nbytes].view(dtype).view(array.shape)


class Boxes:
    """The pixels of boxes on images [n][h][w], box after box, without those outside: where each lies, and in whose box."""

    def __init__(self, parcel, frames, centre_x, centre_y, half, h, w):
        low_x, high_x = (np.clip(np.floor(centre_x + sign * half), 0, w).astype(np.int64) for sign in (-1, 1))
        low_y, high_y = (np.clip(np.floor(centre_y + sign * half), 0, h).astype(np.int64) for sign in (-1, 1))
        self.parcel, self.w = parcel, w
        widths = np.maximum(1, high_x - low_x)
        self.ends = np.cumsum(widths * (high_y - low_y))
        starts = self.ends - widths * (high_y - low_y)
        self.n_pixels = int(self.ends[-1]) if len(self.ends) else 0
        self.boxes = parcel.add(np.stack([starts, widths, low_x, low_y, frames.astype(np.int64) * h * w]))
        self.limits = parcel.add(self.ends)

    def spread(self):
        """After the parcel is sent: owner, x, y (pixels) and at (the row of the image), each [n_pixels]."""
        index = torch.arange(self.n_pixels, device=self.parcel.device)
        self.owner = torch.searchsorted(self.parcel[self.limits], index, right=True)
        start, width, low_x, low_y, first = self.parcel[self.boxes].index_select(1, self.owner).unbind()
        index -= start
        down = torch.div(index, width, rounding_mode='floor')
        self.x, self.y = index - down * width + low_x, down + low_y
        self.at = torch.add(first + self.x, self.y, alpha=self.w)


class Sprites:
    """A table of sprites [k][c][g][g] that is drawn scaled, each output pixel the mean of all that it covers."""

    def __init__(self, table, origin_x, origin_y):
        self.table, self.origin = table, np.array([origin_x, origin_y], np.float32)
        self.side = table.shape[-1]
        self.index = torch.arange(self.side, device=table.device) + 0.5

    def plan(self, parcel, part, window):
        """part: columns frame, number, x, y (of the origin), step x, step y, reach of each; numpy [m][7]. Returns what
        draw () wants."""
        steps = part[:, 4:6].T
        starts = part[:, 2:4].T - self.origin[:, None] * steps  # [2][m]
        first = np.floor(starts + 0.5 * self.side * steps - window / 2 + 0.5)
        reach = np.maximum(part[None, :, 6], steps)
        floats = np.stack([first + 0.5 - starts, steps, reach, steps / reach]).astype(np.float32)
        return parcel.add(floats), parcel.add(np.concatenate([part[:, :2].T, first]).astype(np.int64)), window

    def draw(self, parcel, plan, h, w, n_images):
        """([m][c][window][window], at [m][window][window]: the rows of images [n * h * w + SPARE] that it covers)."""
        (first, step, reach, share), (frames, which, left, top), window = parcel[plan[0]], parcel[plan[1]], plan[2]
        offsets = torch.arange(window, device=parcel.device)
        pixels = first[..., None] + offsets  # [2][m][window], from the sprite's start
        distance = torch.addcmul(pixels[..., None], step[..., None, None], self.index, value=-1).abs_()
        weights = (1 - distance.div_(reach[..., None, None])).clamp_(min=0).mul_(share[..., None, None])
        drawn = weights[1][:, None] @ self.table[which] @ weights[0].transpose(1, 2)[:, None]
        x, y = left[:, None] + offsets, top[:, None] + offsets
        inside = ((x >= 0) & (x < w))[:, None, :] & ((y >= 0) & (y < h))[:, :, None]
        flat = (y + frames[:, None] * h)[:, :, None] * w + x[:, None, :]
        spare = torch.arange(n_images * h * w, n_images * h * w + SPARE, device=parcel.device)
        spare = spare.repeat(-(-window * window // SPARE))[:window * window].view(window, window)
        return drawn, torch.where(inside, flat, spare)


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
        """Signed distances [m] of points, in units of half a side; beyond a table, those by way of its nearest point."""
        limit = shapes.REACH * (1 - 1 / shapes.CELL)
        near_x, near_y = x.clamp(-limit, limit), y.clamp(-limit, limit)
        beyond = torch.hypot(x - near_x, y - near_y)
        row = (near_y / shapes.REACH + 1) / 2 + which
        grid = torch.stack([near_x / shapes.REACH, row * (2 / self.n) - 1], -1)
        found = F.grid_sample(self.tables, grid.view(1, 1, -1, 2), mode='bilinear', align_corners=False)
        return found.view(-1) + beyond


def blend(image, at, colour, cover):
    """image = image * (1 - cover) + colour, colour being multiplied by its cover already; colour [...][3]."""
    at = at.reshape(-1)
    below = image.index_select(0, at)
    image.index_copy_(0, at, torch.addcmul(colour.reshape(-1, 3), below, 1 - cover.reshape(-1, 1)))
