# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pictures of nothing: what the model must decline to name, besides photos. Each is f32 [n][3][h][w] of 0 to 255."""

import math
import random

import torch
import torch.nn.functional as F


class Dice:
    """Random tensors of one device, and numbers that all pictures of a call share."""

    def __init__(self, device, seed=0):
        self.device, self.generator, self.shared = device, torch.Generator(device=device), random.Random()
        self.seed(seed)

    def seed(self, seed):
        self.generator.manual_seed(seed)
        self.shared.seed(seed)

    def uniform(self, *shape, low=0.0, high=1.0):
        return low + (high - low) * torch.rand(shape, device=self.device, generator=self.generator)

    def normal(self, *shape):
        return torch.randn(shape, device=self.device, generator=self.generator)

    def whole(self, below, *shape):
        return torch.randint(below, shape, device=self.device, generator=self.generator)


def make_axes(h, w, device):
    """x and y of each pixel, [1][h][w], the shorter side being 1."""
    shorter = min(h, w)
    y = (torch.arange(h, device=device) + 0.5) / shorter
    x = (torch.arange(w, device=device) + 0.5) / shorter
    return x[None, None, :].expand(1, h, w), y[None, :, None].expand(1, h, w)


def grow(dice, n, channels, h, w, first, decay):
    """Noise of ever finer grain, each octave weaker: f32 [n][channels][h][w], about -1 to 1."""
    total, weight, cells = 0, 1.0, first
    while cells < min(h, w):
        rows, columns = max(2, cells * h // min(h, w)), max(2, cells * w // min(h, w))
        total = total + weight * F.interpolate(dice.normal(n, channels, rows, columns), (h, w), mode='bicubic')
        weight, cells = weight * decay, cells * 2
    return total / total.std((2, 3), keepdim=True).clamp(min=1e-3)


def make_fractal(dice, n, h, w):
    """Clouds, bark, earth: one height, coloured by three tones, and some noise of each channel's own."""
    decay = 0.45 + 0.4 * dice.shared.random()
    height = torch.sigmoid(1.3 * grow(dice, n, 1, h, w, 2 + dice.shared.randrange(5), decay))
    low, middle, high = dice.uniform(3, n, 3, 1, 1, high=255)
    own = 14 * grow(dice, n, 3, h, w, 4, 0.7)
    ramp = torch.where(height < 0.5, torch.lerp(low, middle, 2 * height), torch.lerp(middle, high, 2 * height - 1))
    return ramp + own


def make_leaves(dice, n, h, w, n_leaves=45):
    """Dead leaves: discs and boxes of all sizes, one upon another, shaded, as the edges of natural pictures lie."""
    x, y = make_axes(h, w, dice.device)
    picture = dice.uniform(n, 3, 1, 1, high=255).expand(n, 3, h, w)
    shade = 1 + 0.18 * grow(dice, n, 1, h, w, 3, 0.8)
    at_x, at_y, angle = (dice.uniform(n_leaves, n, 1, 1, high=high) for high in (w / min(h, w), h / min(h, w), math.pi))
    sides, aspects = 0.05 / dice.uniform(n_leaves, n, 1, 1, low=0.1), dice.uniform(n_leaves, n, 1, 1, low=0.4, high=1.6)
    cosines, sines, roundness = torch.cos(angle), torch.sin(angle), 2 + 4.0 * (dice.uniform(n_leaves, n, 1, 1) < 0.4)
    colours = dice.uniform(n_leaves, n, 3, 1, 1, high=255)
    u = ((x - at_x) * cosines + (y - at_y) * sines).abs_()
    v = ((y - at_y) * cosines - (x - at_x) * sines).mul_(aspects).abs_()
    distances = u.pow_(roundness).add_(v.pow_(roundness)).pow_(1 / roundness)
    covers = ((sides - distances) * min(h, w) + 0.5).clamp_(0, 1)
    for cover, colour in zip(covers, colours):
        picture = torch.lerp(picture, colour, cover[:, None])
    return picture * shade


def make_cells(dice, n, h, w):
    """Voronoi cells, flat or shaded towards their edges."""
    (x, y), n_cells = make_axes(h, w, dice.device), 12 + dice.shared.randrange(50)
    at_x, at_y = dice.uniform(n, n_cells, 1, 1, high=w / min(h, w)), dice.uniform(n, n_cells, 1, 1, high=h / min(h, w))
    nearest, owner = torch.hypot(x - at_x, y - at_y).min(1)
    colours = dice.uniform(n, 3, n_cells, high=255)
    picture = colours.gather(2, owner.view(n, 1, -1).expand(n, 3, -1)).view(n, 3, h, w)
    return picture * (1 - dice.uniform(n, 1, 1, 1, high=3) * nearest[:, None]).clamp(0.1)


def make_grating(dice, n, h, w):
    """Two or three waves across each other, bent, in colours."""
    x, y = make_axes(h, w, dice.device)
    bend = 0.06 * grow(dice, n, 1, h, w, 2, 0.4)[:, 0] * dice.uniform(n, 1, 1)
    total = 0
    for _ in range(3):
        angle, frequency = dice.uniform(n, 1, 1, high=math.pi), 4 * 12 ** dice.uniform(n, 1, 1)
        wave = torch.sin(2 * math.pi * frequency * (x * torch.cos(angle) + y * torch.sin(angle) + bend))
        total = total + dice.normal(n, 3, 1, 1) * wave[:, None]
    return dice.uniform(n, 3, 1, 1, low=60, high=190) + 70 * total


def blur(picture, cells):
    """By way of a small picture."""
    h, w = picture.shape[2:]
    small = F.interpolate(picture, (max(2, cells * h // min(h, w)), max(2, cells * w // min(h, w))), mode='area')
    return F.interpolate(small, (h, w), mode='bicubic')


def make_collage(dice, n, h, w):
    """Parts of other textures, blurred as things out of focus are."""
    first, second = make_leaves(dice, n, h, w, 30), make_fractal(dice, n, h, w)
    cut = (grow(dice, n, 1, h, w, 2, 0.3) * 4).clamp(0, 1)
    return torch.lerp(blur(first, 10 + dice.shared.randrange(60)), blur(second, 60), cut)


def make_static(dice, n, h, w):
    """Noise of a grain that outlasts reduction, in colours or, too smooth for snow, in grey."""
    cells = 20 + dice.shared.randrange(120)
    noise = dice.normal(n, 3, max(2, cells * h // min(h, w)), max(2, cells * w // min(h, w)))
    noise = torch.where(dice.uniform(n, 1, 1, 1) < 0.3, noise[:, :1], noise)
    mode = 'nearest' if cells % 2 else 'bicubic'
    grown = F.interpolate(noise, (h, w), mode=mode) * dice.uniform(n, 1, 1, 1, low=50, high=110)
    return dice.uniform(n, 3, 1, 1, low=70, high=180) + grown


def make_blocks(dice, n, h, w):
    """A wall of boxes of any colour."""
    rows, columns = (dice.shared.randrange(5, 14) for _ in range(2))
    wall = F.interpolate(dice.uniform(n, 3, rows, columns, high=255), (h, w), mode='nearest')
    return wall + 12 * grow(dice, n, 1, h, w, 8, 0.8) * dice.uniform(n, 1, 1, 1)


MAKERS = {name[5:]: function for name, function in list(globals().items()) if name.startswith('make_') and name != 'make_axes'}


def make(name, dice, n, h, w):
    return MAKERS[name](dice, n, h, w).clamp(0, 255)
