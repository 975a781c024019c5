# SPDX-License-Identifier: LGPL-2.1-or-later
"""Frames from their descriptions, a batch of one size at a time, as the tiles that the model is shown.

Frames larger than their picture on the canvas are drawn at that picture's size (see drawing.py), smaller ones at their own
and then enlarged as the engine does. All frames of a batch are drawn together, by some 600 kernels, and the device is never
waited for: while it is busy with one batch, the next one's drawing is already in its queue. Hence each step is a generator:
up to its yield it works out what it needs, in numpy, and adds it to the parcel; the parcel is sent; then it draws.
"""

import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import frames as describing
import pack as packing
import textures
import tiles
import wearing
from drawing import (SPARE, Boxes, Outlines, Parcel, Sprites, blend, cover_triangle, find_reach, group_by_window,
                     make_noise_resampler)

PICTURE_SIDE = 448  # that pictures are kept at


class Batch:
    """What the steps of drawing share: the packed arrays, sizes, and the image [n * h * w + SPARE][3], of 0 to 255."""

    def __init__(self, packed, device, image_size, max_tiles):
        width, height = packed['size']
        self.packed, self.device, self.n = packed, device, packed['n']
        self.plan = tiles.plan(width, height, image_size, max_tiles)
        self.w, self.h = min(width, self.plan.width), min(height, self.plan.height)
        self.scale_x, self.scale_y = self.w / width, self.h / height
        self.scale = (self.scale_x * self.scale_y) ** 0.5
        self.reach = (find_reach(width / self.w) * packed['wear'][:, 0]).astype(np.float32)
        self.parcel = Parcel(device)
        self.image = torch.empty(self.n * self.h * self.w + SPARE, 3, device=device)
        self.exact = []  # (rows, pixels) laid over after enlargement

    @property
    def frames(self):
        """The image as [n][h][w][3]."""
        return self.image[:-SPARE].view(self.n, self.h, self.w, 3)

    def add_rows(self, rows):
        return self.parcel.add(np.array(rows, np.int64))

    def set_frames(self, rows, pixels):
        """rows: on the device; pixels: [rows][3][h][w]."""
        self.frames.index_copy_(0, rows, pixels.permute(0, 2, 3, 1))


class Assets:
    """The folder's pixels on a device; parts that are missing are not drawn."""

    def __init__(self, folder, device):
        self.folder, self.device = Path(folder), device
        self.sprites, self.n_things, self.n_clips = None, 0, 0
        self.glyphs = self.pictures = None
        self.patterns, parts = {}, []
        for name in ('things', 'glyphs', 'patterns', 'pictures'):
            path = self.folder / f'{name}.npz'
            if path.exists():
                with np.load(path) as file:
                    parts += getattr(self, f'load_{name}')(file) or []
        if parts:
            self.sprites = self.make_sprites(np.concatenate(parts))

    def load_things(self, file):
        """Clean ones, then those with shadows."""
        self.n_things = len(file['images'])
        return [file['images'], file['drawn']]

    def make_sprites(self, images):
        """Colours are multiplied by alpha, so that they can be averaged. All of them, then all mirrored."""
        table = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float()
        table = torch.cat([table[:, :3] * (table[:, 3:] / 255), table[:, 3:] / 255], 1)
        side = table.shape[-1]
        return Sprites(torch.cat([table, table.flip(-1)]).contiguous(), side / 2, side / 2)

    def load_glyphs(self, file):
        """Cells are made square."""
        both = torch.from_numpy(np.stack([file['fill'], file['edge']], 2)).to(self.device).float() / 255
        self.n_characters, (height, width) = both.shape[1], both.shape[3:]
        both = F.pad(both, (0, max(0, height - width), 0, max(0, width - height)))
        self.glyphs = Sprites(both.flatten(0, 1).contiguous(), float(file['pen_x']), float(file['baseline']))

    def load_patterns(self, file):
        for key in file.files:
            name, size, number = key.split('/')
            size = tuple(int(side) for side in size.split('x'))
            self.patterns[name, *size, int(number)] = torch.from_numpy(file[key]).to(self.device)

    def load_pictures(self, file):
        """All at one size, whatever their shapes: their crops put that right."""
        loaded, self.aspects = [], []
        for key in describing.list_pictures(file):
            picture = torch.from_numpy(file[key]).to(self.device).permute(2, 0, 1)[None].float()
            self.aspects.append(picture.shape[3] / picture.shape[2])
            loaded.append(F.interpolate(picture, (PICTURE_SIDE, PICTURE_SIDE), mode='bilinear', antialias=True).round().byte())
        self.pictures = torch.cat(loaded) if loaded else None
        keys = describing.list_clips(file)
        self.n_clips = len(keys)
        return [np.stack([file[key] for key in keys])] if keys else []


class Composer:
    """Draws batches. device: of torch; dtype: of the tiles. Two composers of one seed draw the same from the same calls."""

    def __init__(self, assets_dir, device='cuda', image_size=tiles.IMAGE_SIZE, max_tiles=tiles.MAX_TILES, mean=tiles.CLIP_MEAN,
                 std=tiles.CLIP_STD, dtype=torch.float32, seed=0):
        self.device = torch.device(device)
        self.image_size, self.max_tiles, self.dtype = image_size, max_tiles, dtype
        mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (mean, std))
        self.scale, self.shift = (x.float().to(self.device) for x in (1 / (255 * std), mean / std))
        self.catalogue = describing.load_catalogue(assets_dir)
        self.assets = Assets(assets_dir, self.device)
        self.outlines = Outlines(self.device)
        self.wearer = wearing.Wearer(self.device)
        self.dice = textures.Dice(self.device, seed)

    @torch.no_grad()
    def __call__(self, batch):
        """batch: frames of one size, or what pack () made of them. Returns (tiles [B][n_tiles][3][S][S], normalised, aspect
        ratio id, n_tiles): the id and number are the same for all."""
        with torch.autocast(self.device.type, enabled=False):
            drawn = self.draw_bytes(batch)
        return self.split(drawn, self.plan), self.plan.ratio_id, self.plan.n_tiles

    @torch.no_grad()
    def draw(self, frames):
        """f32 [B][3][h][w] of whole numbers 0 to 255: the pictures on their canvases."""
        return self.draw_bytes(frames).float()

    def draw_bytes(self, frames):
        packed = frames if isinstance(frames, dict) else packing.pack(frames, self.catalogue)
        batch = Batch(packed, self.device, self.image_size, self.max_tiles)
        self.plan = batch.plan
        self.dice.seed(packed['seed'])
        steps = [step(batch) for step in (
            self.draw_backgrounds, self.draw_noisy, self.draw_patterns, self.draw_pictures, self.draw_textures, self.draw_lines,
            self.draw_shapes, self.draw_things, self.draw_text, self.wear)]
        for step in steps:
            next(step)
        batch.parcel.send()
        for step in steps:
            next(step, None)
        drawn = batch.worn
        if (batch.h, batch.w) != (self.plan.height, self.plan.width):
            drawn = F.interpolate(drawn, (self.plan.height, self.plan.width), mode='bilinear').round_()
        drawn = drawn.byte()
        for rows, pixels in batch.exact:
            drawn.index_copy_(0, batch.parcel[rows], pixels)
        return drawn

    def split(self, drawn, plan):
        """u8 [B][3][h][w]: pads, cuts into tiles, row by row, and normalises."""
        side = self.image_size
        padded = F.pad(drawn, (0, plan.columns * side - plan.width, 0, plan.rows * side - plan.height))
        cut = padded.view(len(drawn), 3, plan.rows, side, plan.columns, side).permute(0, 2, 4, 1, 3, 5)
        cut = cut.reshape(len(drawn), plan.n_tiles, 3, side, side)
        return torch.mul(cut, self.scale).sub_(self.shift).to(self.dtype)

    # --- backgrounds ---

    def draw_backgrounds(self, batch):
        """Plain and graded ones, of all frames: the rest is drawn over."""
        number = batch.parcel.add(batch.packed['backgrounds'])
        yield
        table = batch.parcel[number]
        x = (torch.arange(batch.w, device=self.device) + 0.5) / batch.w
        y = (torch.arange(batch.h, device=self.device) + 0.5) / batch.h
        step = table[:, 6, None, None] * x[None, None, :] + table[:, 7, None, None] * y[None, :, None]
        torch.lerp(table[:, None, None, :3], table[:, None, None, 3:6], step[..., None], out=batch.frames)

    @staticmethod
    def add_resamplers(batch, grain):
        """Numbers of the two matrices that make cells of grain pixels of the frame into pixels drawn."""
        width, height = batch.packed['size']
        pair = make_noise_resampler(height, batch.h, grain), make_noise_resampler(width, batch.w, grain)
        return tuple(batch.parcel.add(matrix) for matrix in pair)

    def draw_noisy(self, batch):
        """Noise of the frame's own pixels, clipped there, then reduced with them."""
        table = batch.packed['backgrounds']
        groups = []
        for grain in np.unique(table[table[:, 8] > 0, 9]).tolist():
            rows = np.flatnonzero((table[:, 8] > 0) & (table[:, 9] == grain))
            groups.append((batch.add_rows(rows), batch.parcel.add(table[rows]), self.add_resamplers(batch, int(grain))))
        yield
        for rows, part, pair in groups:
            part, (down, across) = batch.parcel[part], (batch.parcel[number] for number in pair)
            noise = self.dice.normal(len(part), 3, down.shape[1], across.shape[1])
            cells = torch.addcmul(part[:, :3, None, None], noise, part[:, 8, None, None, None]).clamp_(0, 255)
            batch.set_frames(batch.parcel[rows], down @ cells @ across.T)

    def draw_patterns(self, batch):
        """Stored ones were put through the tile rule with the frame: taken as they are, if they are of this size and nothing is
        drawn on them. Those of one shape are handled together. Snow is made."""
        groups, snowy = {}, [row for row, name, *_ in batch.packed['patterns'] if name == 'snow']
        for row, *key, is_alone in batch.packed['patterns']:
            if key[0] != 'snow':
                shape = self.assets.patterns[tuple(key)].shape[:2]
                rows, keys, alone = groups.setdefault(shape, ([], [], []))
                rows.append(row)
                keys.append(tuple(key))
                alone.append(is_alone)
        planned = []
        for shape, (rows, keys, alone) in groups.items():
            stored = list(dict.fromkeys(keys))
            which = np.array([stored.index(key) for key in keys], np.int64)
            alone = np.flatnonzero(alone) if shape == (batch.plan.height, batch.plan.width) != (batch.h, batch.w) else []
            planned.append((stored, batch.add_rows(rows), batch.add_rows(which), batch.add_rows(np.array(rows)[alone]),
                            batch.add_rows(which[alone]) if len(alone) else None))
        snow = batch.add_rows(snowy), self.add_resamplers(batch, 1) if snowy else ()
        yield
        if snowy:
            down, across = (batch.parcel[number] for number in snow[1])
            made = down @ self.dice.uniform(len(snowy), down.shape[1], across.shape[1], high=255) @ across.T
            batch.set_frames(batch.parcel[snow[0]], made[:, None].expand(-1, 3, -1, -1))
        for stored, rows, which, alone, which_alone in planned:
            pixels = torch.stack([self.assets.patterns[key] for key in stored]).permute(0, 3, 1, 2)
            if which_alone is not None:
                batch.exact.append((alone, pixels.index_select(0, batch.parcel[which_alone])))
            pixels = pixels.float()
            if pixels.shape[2:] != (batch.h, batch.w):
                pixels = F.interpolate(pixels, (batch.h, batch.w), mode='bilinear', antialias=True)
            batch.set_frames(batch.parcel[rows], pixels.index_select(0, batch.parcel[which]))

    def draw_pictures(self, batch):
        """Crops of pictures, their shape kept, some mirrored, and varied."""
        if not batch.packed['pictures']:
            return (yield)
        rows, numbers, seeds = map(np.array, zip(*batch.packed['pictures']))
        lots = np.array([[rng.random() for _ in range(4)] for rng in map(random.Random, seeds.tolist())])
        zoom = 2.5 ** lots[:, 0]
        aspect = np.array(self.assets.aspects)[numbers] / (batch.w / batch.h)
        shares = np.stack([np.minimum(1, aspect), np.minimum(1, 1 / aspect)], 0) / zoom  # down, across
        steps = shares * PICTURE_SIDE / np.array([[batch.h], [batch.w]])
        starts = (1 - shares) * lots[:, 1:3].T * PICTURE_SIDE
        is_flipped = lots[:, 3] < 0.5
        starts[1] = np.where(is_flipped, starts[1] + shares[1] * PICTURE_SIDE, starts[1])
        signs = np.stack([np.ones(len(rows)), np.where(is_flipped, -1, 1)])
        floats = batch.parcel.add(np.stack([starts, steps * signs, 1 / np.maximum(1, steps)]).astype(np.float32))
        rows, numbers = batch.add_rows(rows), batch.add_rows(numbers)
        yield
        floats = batch.parcel[floats]
        picked = self.assets.pictures[batch.parcel[numbers]].float()
        down, across = self.crop(floats[:, 0], batch.h), self.crop(floats[:, 1], batch.w)
        drawn = textures.vary(down[:, None] @ picked @ across.transpose(1, 2)[:, None], self.dice)
        batch.set_frames(batch.parcel[rows], drawn)

    def crop(self, floats, n_out):
        """f32 [m][n_out][PICTURE_SIDE]: resamplers of parts of an axis; floats: start, step and 1 / reach of each."""
        start, step, sharpness = floats[..., None]
        centres = torch.addcmul(start, step, torch.arange(n_out, device=self.device) + 0.5)
        distance = (torch.arange(PICTURE_SIDE, device=self.device) + 0.5 - centres[:, :, None]).abs_()
        weights = (1 - distance.mul_(sharpness[:, :, None])).clamp_(min=0)
        return weights / weights.sum(2, keepdim=True)

    def draw_textures(self, batch):
        """In the order of their names."""
        found = sorted((name, row) for row, name, _ in batch.packed['textures'])
        if not found:
            return (yield)
        counts = {}
        for name, _ in found:
            counts[name] = counts.get(name, 0) + 1
        weights = batch.parcel.add(textures.weigh_octaves(self.dice.shared, counts, batch.h, batch.w))
        rows = batch.add_rows([row for _, row in found])
        yield
        batch.set_frames(batch.parcel[rows], textures.make(counts, batch.parcel[weights], self.dice, batch.h, batch.w))

    # --- what stands before them ---

    def draw_lines(self, batch):
        """Those of sweeping balls: two columns and two rows of pixels."""
        table = batch.packed['lines']
        if not len(table):
            return (yield)
        rows, number = batch.add_rows(table[:, 0]), batch.parcel.add(table[:, 1:])
        reach = batch.parcel.add(batch.reach[table[:, 0].astype(int)])
        yield
        rows, table, reach = batch.parcel[rows], batch.parcel[number], batch.parcel[reach][:, None, None]
        covers = []
        for at, scale, n in ((table[:, 3:5], batch.scale_x, batch.w), (table[:, 5:7], batch.scale_y, batch.h)):
            pixels = torch.arange(n, device=self.device) + 0.5
            first, last = (cover_triangle(edge[..., None] * scale - pixels, reach) for edge in (at, at + 1))
            covers.append((first - last).amax(1))
        cover = torch.maximum(covers[0][:, None, :], covers[1][:, :, None])[..., None]
        batch.frames.index_copy_(0, rows, torch.lerp(batch.frames[rows], table[:, None, None, :3], cover))

    def draw_shapes(self, batch):
        """All at once but for the last step, which goes layer by layer, so that no two boxes of a frame are written at once."""
        table = batch.packed['shapes']
        if not len(table):
            return (yield)
        table = table[np.argsort(table[:, 1], kind='stable')]
        frames, half, angle = table[:, 0].astype(int), table[:, 6] * (batch.scale / 2), table[:, 7]
        centre_x, centre_y = table[:, 4] * batch.scale_x, table[:, 5] * batch.scale_y
        boxes = Boxes(batch.parcel, frames, centre_x, centre_y, 1.3 * half + 2.5, batch.h, batch.w)
        which = self.outlines.find(table[:, 2].astype(int), table[:, 3].astype(int))
        columns = np.stack([centre_x - 0.5, centre_y - 0.5, np.cos(angle) / half, np.sin(angle) / half, half, batch.reach[frames],
                            which]).astype(np.float32)
        columns, rgbs = batch.parcel.add(columns), batch.parcel.add(table[:, 8:])
        layers = np.searchsorted(table[:, 1], np.arange(table[-1, 1] + 2))  # first shape of each
        ends = [0, *(int(boxes.ends[last - 1]) for last in layers[1:])]
        yield
        boxes.spread()
        centre_x, centre_y, c, s, half, reach, which = batch.parcel[columns].index_select(1, boxes.owner).unbind()
        x, y = boxes.x - centre_x, boxes.y - centre_y
        distance = self.outlines.measure(which, c * x + s * y, c * y - s * x) * half
        cover = cover_triangle(distance, reach)[:, None]
        rgbs = batch.parcel[rgbs].index_select(0, boxes.owner)
        for start, end in zip(ends, ends[1:]):
            at = boxes.at[start:end]
            batch.image.index_copy_(0, at, torch.lerp(batch.image.index_select(0, at), rgbs[start:end], cover[start:end]))

    def draw_things(self, batch):
        """Drawings without a name one after the other, since they may overlap; a thing is alone."""
        clips, things = batch.packed['clips'].copy(), batch.packed['things'].copy()
        n = len(self.assets.sprites.table) // 2 if self.assets.sprites else 0
        things[:, 1] += np.where(things[:, 6] > 0, self.assets.n_things, 0)
        clips[:, 1] += 2 * self.assets.n_things
        is_second = np.diff(clips[:, 0], prepend=-1) == 0
        plans = []
        for table in (np.concatenate([things, clips[~is_second]]), clips[is_second]):
            table[:, 1] += np.where(table[:, 5] > 0, n, 0)
            for window, group in group_by_window(table[:, 4] * batch.scale + 6):
                row, which, x, y, side = table[group, :5].T
                step = side / self.assets.sprites.side
                part = np.stack([row, which, x * batch.scale_x, y * batch.scale_y, step * batch.scale_x, step * batch.scale_y,
                                 batch.reach[row.astype(int)]], 1)
                plans.append(self.assets.sprites.plan(batch.parcel, part, window))
        yield
        for plan in plans:
            drawn, at = self.assets.sprites.draw(batch.parcel, plan, batch.h, batch.w, batch.n)
            blend(batch.image, at, drawn[:, :3].permute(0, 2, 3, 1), drawn[:, 3])

    def draw_text(self, batch):
        """Fills and edges of each text on maps of their own: neighbouring letters share an outline."""
        texts, glyphs, sprites = batch.packed['texts'], batch.packed['glyphs'], self.assets.glyphs
        if not len(texts):
            return (yield)
        places = np.full(batch.n, -1)
        places[texts[:, 0].astype(int)] = np.arange(len(texts))
        plans = []
        for window, group in group_by_window(glyphs[:, 5] * np.maximum(1, glyphs[:, 6]) * batch.scale * sprites.side + 5):
            row, font, character, x, y, size, stretch = glyphs[group].T
            part = np.stack([places[row.astype(int)], font * self.assets.n_characters + character, x * batch.scale_x,
                             y * batch.scale_y, size * stretch * batch.scale_x, size * batch.scale_y,
                             batch.reach[row.astype(int)]], 1)
            plans.append(sprites.plan(batch.parcel, part, window))
        rows, table = batch.add_rows(texts[:, 0]), batch.parcel.add(texts)
        yield
        n = len(texts)
        covers = torch.zeros(2, n * batch.h * batch.w + SPARE, device=self.device)
        for plan in plans:
            drawn, at = sprites.draw(batch.parcel, plan, batch.h, batch.w, n)
            for channel in range(2):
                covers[channel].scatter_reduce_(0, at.flatten(), drawn[:, channel].flatten(), 'amax')
        fill, edge = covers[:, :-SPARE].view(2, n, batch.h, batch.w, 1).clamp_(max=1)
        self.lay_text(batch, batch.parcel[rows], batch.parcel[table], fill, edge)

    def lay_text(self, batch, rows, table, fill, edge):
        """The shaded box, then the edge in black, then the fill."""
        x = (torch.arange(batch.w, device=self.device) + 0.5) / batch.scale_x
        y = (torch.arange(batch.h, device=self.device) + 0.5) / batch.scale_y
        across = (x > table[:, 6, None]) & (x < table[:, 8, None])
        down = (y > table[:, 7, None]) & (y < table[:, 9, None])
        shade = (table[:, 5] * (255 / 219))[:, None, None] * (across[:, None, :] & down[:, :, None])
        below = batch.frames.index_select(0, rows).sub_(shade[..., None]).clamp_(min=0)
        below.mul_((1 - edge * table[:, 4, None, None, None]).mul_(1 - fill))
        batch.frames.index_copy_(0, rows, below.addcmul_(fill, table[:, None, None, 1:4]))

    def wear(self, batch):
        """batch.worn: f32 [n][3][h][w] of whole numbers."""
        plan = self.wearer.plan(batch.parcel, batch.packed['wear'], 1 / batch.scale)
        yield
        picture = batch.frames.permute(0, 3, 1, 2).contiguous()
        batch.image = None
        batch.worn = self.wearer.wear(batch.parcel, plan, picture, self.dice).clamp_(0, 255).round_()
