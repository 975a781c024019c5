# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pictures of nothing: what the model must decline to name, besides photos. Each is f32 [n][3][h][w] of 0 to 255.

Those of a batch are made together: the noise that nearly all of them are built on is grown once, in as many planes as
they need. A maker takes its planes, f32 [n][planes][h][w], about -1 to 1, as the first argument.
"""

import math
import random

import numpy as np
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
        return torch.empty(shape, device=self.device).uniform_(low, high, generator=self.generator)

    def normal(self, *shape):
        return torch.randn(shape, device=self.device, generator=self.generator)


def list_axes(h, w, device):
    """x and y of each pixel, [1][h][w], the shorter side being 1."""
    shorter = min(h, w)
    y = (torch.arange(h, device=device) + 0.5) / shorter
    x = (torch.arange(w, device=device) + 0.5) / shorter
    return x[None, None, :].expand(1, h, w), y[None, :, None].expand(1, h, w)


# Planes of noise of each texture: (number, cells across the shorter side of the coarsest grain, weight of each finer one);
# None: by lot.
PLANES = {
    'leaves': [(1, 3, 0.8)], 'fractal': [(1, None, None), (3, 4, 0.7)], 'grating': [(1, 2, 0.4)],
    'collage': [(1, 3, 0.8), (1, None, None), (3, 4, 0.7), (1, 2, 0.3)], 'blocks': [(1, 8, 0.8)], 'cells': [], 'static': [],
    'zigzag': [], 'bricks': [],
}
N_LEAVES = 45


def weigh_octaves(rng, counts, h, w):
    """numpy f32 [octaves][planes]: how strong noise of 2, 3, 4, 6, 8, … cells is in each plane; counts: name -> textures."""
    cells = list_octaves(h, w)
    columns = []
    for name, n in counts.items():
        for _ in range(n):
            for n_planes, first, decay in PLANES[name]:
                first, decay = first or rng.randint(2, 6), decay or 0.45 + 0.4 * rng.random()
                start = min(range(len(cells)), key=lambda i: (cells[i] < first, cells[i]))
                column = [decay ** ((i - start) / 2) if i >= start and (i - start) % 2 == 0 else 0.0 for i in range(len(cells))]
                columns += [column] * n_planes
    return np.array(columns, np.float32).reshape(-1, len(cells)).T


def list_octaves(h, w):
    return sorted(c for k in range(8) for c in (2 << k, 3 << k) if c < min(h, w))


def grow(dice, weights, h, w):
    """Noise of ever finer grain, each octave weaker: f32 [planes][h][w], about -1 to 1; weights as weigh_octaves () has them."""
    n, total = weights.shape[1], 0
    for cells, weight in zip(list_octaves(h, w), weights):
        rows, columns = max(2, cells * h // min(h, w)), max(2, cells * w // min(h, w))
        noise = F.interpolate(dice.normal(n, 1, rows, columns), (h, w), mode='bicubic')
        total = torch.addcmul(torch.zeros((), device=noise.device) if isinstance(total, int) else total, noise,
                              weight[:, None, None, None])
    total = total[:, 0]
    return total / total.std((1, 2), keepdim=True).clamp(min=1e-3)


def make_fractal(planes, dice, n, h, w):
    """Clouds, bark, earth: one height, coloured by three tones, and some noise of each channel's own."""
    height = torch.sigmoid(1.3 * planes[:, :1])
    low, middle, high = dice.uniform(3, n, 3, 1, 1, high=255)
    ramp = torch.where(height < 0.5, torch.lerp(low, middle, 2 * height), torch.lerp(middle, high, 2 * height - 1))
    return torch.add(ramp, planes[:, 1:4], alpha=14)


def make_leaves(planes, dice, n, h, w):
    """Dead leaves: discs and boxes of all sizes, one upon another, shaded, as the edges of natural pictures lie."""
    x, y = list_axes(h, w, dice.device)
    at_x, at_y, angle = (dice.uniform(n, N_LEAVES, 1, 1, high=high) for high in (w / min(h, w), h / min(h, w), math.pi))
    sides, aspects = 0.05 / dice.uniform(n, N_LEAVES, 1, 1, low=0.1), dice.uniform(n, N_LEAVES, 1, 1, low=0.4, high=1.6)
    cosines, sines, roundness = torch.cos(angle), torch.sin(angle), 2 + 4.0 * (dice.uniform(n, N_LEAVES, 1, 1) < 0.4)
    colours = dice.uniform(n, N_LEAVES + 1, 3, high=255)
    u = ((x - at_x) * cosines + (y - at_y) * sines).abs_()
    v = ((y - at_y) * cosines - (x - at_x) * sines).mul_(aspects).abs_()
    distances = u.pow_(roundness).add_(v.pow_(roundness)).pow_(1 / roundness)
    covers = ((sides - distances) * min(h, w) + 0.5).clamp_(0, 1)  # the first is on top
    below = (1 - covers).cumprod(1)
    covers[:, 1:] *= below[:, :-1]
    shares = torch.cat([covers, below[:, -1:]], 1)
    picture = (colours.transpose(1, 2) @ shares.flatten(2)).view(n, 3, h, w)
    return picture * (1 + 0.18 * planes[:, :1])


def make_cells(_, dice, n, h, w):
    """Voronoi cells, flat or shaded towards their edges."""
    (x, y), n_cells = list_axes(h, w, dice.device), 12 + dice.shared.randrange(50)
    at_x, at_y = dice.uniform(n, n_cells, 1, 1, high=w / min(h, w)), dice.uniform(n, n_cells, 1, 1, high=h / min(h, w))
    nearest, owner = torch.hypot(x - at_x, y - at_y).min(1)
    colours = dice.uniform(n, 3, n_cells, high=255)
    picture = colours.gather(2, owner.view(n, 1, -1).expand(n, 3, -1)).view(n, 3, h, w)
    return picture * (1 - dice.uniform(n, 1, 1, 1, high=3) * nearest[:, None]).clamp(0.1)


def make_grating(planes, dice, n, h, w):
    """Three waves across each other, bent, in colours."""
    x, y = (axis[:, None] for axis in list_axes(h, w, dice.device))
    bend = 0.06 * planes[:, :1] * dice.uniform(n, 1, 1, 1)
    angle, frequency = dice.uniform(n, 3, 1, 1, high=math.pi), 4 * 12 ** dice.uniform(n, 3, 1, 1)
    waves = torch.sin(2 * math.pi * frequency * (x * torch.cos(angle) + y * torch.sin(angle) + bend))
    total = (dice.normal(n, 3, 3) @ waves.flatten(2)).view(n, 3, h, w)
    return dice.uniform(n, 3, 1, 1, low=60, high=190) + 70 * total


def blur(picture, cells):
    """By way of a small picture."""
    h, w = picture.shape[2:]
    small = F.interpolate(picture, (max(2, cells * h // min(h, w)), max(2, cells * w // min(h, w))), mode='area')
    return F.interpolate(small, (h, w), mode='bicubic')


def make_collage(planes, dice, n, h, w):
    """Parts of other textures, blurred as things out of focus are."""
    first, second = make_leaves(planes, dice, n, h, w), make_fractal(planes[:, 1:], dice, n, h, w)
    cut = (planes[:, 5:] * 4).clamp(0, 1)
    return torch.lerp(blur(first, 10 + dice.shared.randrange(60)), blur(second, 60), cut)


def make_static(_, dice, n, h, w):
    """Noise of a grain that outlasts reduction, in colours or, too smooth for snow, in grey."""
    cells = 20 + dice.shared.randrange(120)
    noise = dice.normal(n, 3, max(2, cells * h // min(h, w)), max(2, cells * w // min(h, w)))
    noise = torch.where(dice.uniform(n, 1, 1, 1) < 0.3, noise[:, :1], noise)
    mode = 'nearest' if cells % 2 else 'bicubic'
    grown = F.interpolate(noise, (h, w), mode=mode) * dice.uniform(n, 1, 1, 1, low=50, high=110)
    return dice.uniform(n, 3, 1, 1, low=70, high=180) + grown


def make_blocks(planes, dice, n, h, w):
    """A wall of boxes of any colour."""
    rows, columns = (dice.shared.randrange(5, 14) for _ in range(2))
    wall = F.interpolate(dice.uniform(n, 3, rows, columns, high=255), (h, w), mode='nearest')
    return wall + 12 * planes[:, :1] * dice.uniform(n, 1, 1, 1)


def turn_axes(dice, n, h, w):
    """x and y, [n][h][w], turned by any angle."""
    x, y = list_axes(h, w, dice.device)
    angle = dice.uniform(n, 1, 1, high=math.pi)
    return x * torch.cos(angle) + y * torch.sin(angle), y * torch.cos(angle) - x * torch.sin(angle)


def step_wave(t, sharpness):
    """0 and 1 by turns, each for half a unit, with soft edges."""
    return (0.5 + sharpness * torch.sin(2 * math.pi * t)).clamp(0, 1)


def mix_colours(dice, n, share):
    """Two colours of each, and what is between them; share [n][h][w]."""
    colours = dice.uniform(n, 2, 3, 1, 1, high=255)
    return torch.lerp(colours[:, 0], colours[:, 1], share[:, None])


def make_zigzag(_, dice, n, h, w):
    u, v = turn_axes(dice, n, h, w)
    pitch = 2 * 6 ** dice.uniform(n, 2, 1, 1)
    tooth = ((u * pitch[:, 0]) % 1 - 0.5).abs() * dice.uniform(n, 1, 1, low=0.15, high=0.9) / pitch[:, 0]
    return mix_colours(dice, n, step_wave((v + 2 * tooth) * pitch[:, 1], 1 + 7 * dice.uniform(n, 1, 1)))


def make_bricks(_, dice, n, h, w):
    """Rows that are shifted by half, each brick of a shade of its own."""
    u, v = turn_axes(dice, n, h, w)
    height, joint = 0.05 * 5 ** dice.uniform(n, 1, 1), dice.uniform(n, 1, 1, low=0.03, high=0.15)
    row = torch.floor(v / height)
    along = u / (height * dice.uniform(n, 1, 1, low=1.2, high=3)) + 0.5 * (row % 2)
    shade = (torch.sin(row * 12.9898 + torch.floor(along) * 78.233) * 43758.5453) % 1 - 0.5
    is_joint = ((along % 1 < joint) | (v / height % 1 < joint)).float()
    return mix_colours(dice, n, is_joint) + (60 * (1 - is_joint) * shade * dice.uniform(n, 1, 1))[:, None]


def vary(photos, dice):
    """f32 [n][3][h][w]: sharper, in other colours, partly another's: a hundred photos are soon known by heart."""
    n, _, h, w = photos.shape
    sharpness = dice.uniform(n, 1, 1, 1, low=-0.7, high=1.8).clamp_(min=0)
    photos = photos + sharpness * (photos - F.avg_pool2d(photos, 3, 1, 1, count_include_pad=False))
    cut = F.interpolate(dice.normal(n, 1, 3, 4), (h, w), mode='bicubic') * 5 + dice.uniform(n, 1, 1, 1, low=-7, high=2)
    photos = torch.lerp(photos, photos.roll(1, 0).flip(2), cut.clamp_(0, 1))
    strength = dice.uniform(n, 1, 1, low=-0.35, high=0.45).clamp_(min=0)
    mix = torch.eye(3, device=photos.device) + strength * dice.normal(n, 3, 3)
    return ((mix @ (photos - 128).flatten(2)).view(photos.shape) + 128).clamp_(0, 255)


MAKERS = {name[5:]: function for name, function in list(globals().items()) if name.startswith('make_')}


def make(counts, weights, dice, h, w):
    """counts: name -> how many. f32 [all][3][h][w], in that order."""
    planes, made, at = grow(dice, weights, h, w) if weights.shape[1] else None, [], 0
    for name, n in counts.items():
        n_planes = sum(part[0] for part in PLANES[name])
        own = planes[at:at + n * n_planes].view(n, n_planes, h, w) if n_planes else None
        made.append(MAKERS[name](own, dice, n, h, w))
        at += n * n_planes
    return torch.cat(made).clamp_(0, 255)
