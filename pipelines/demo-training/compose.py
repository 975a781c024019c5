#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Frames from their descriptions, a batch of one size at a time, as the tiles that the model is shown.

    compose.py [--assets DIR] --sheet OUT.png      pictures with their captions, to be looked at
    compose.py [--assets DIR] --time               frames a second, by size

Drawing is by groups, never by frame: on a GPU a batch is a few hundred kernels. Frames larger than their picture on the
canvas are drawn at that picture's size (see drawing.py), smaller ones at their own and then enlarged as the engine does.
"""

import argparse
import random
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import frames as describing
import pack as packing
import questions
import textures
import tiles
import wearing
from drawing import SPARE, Outlines, Sprites, Windows, cover_triangle, find_reach, group_by_window, make_noise_resampler

PICTURE_SIDE = 448  # that pictures are kept at
LUMA = (0.299, 0.587, 0.114)


class Batch:
    """What the steps of drawing share: the packed arrays, sizes, and the image [n * h * w + SPARE][3], of 0 to 255."""

    def __init__(self, packed, device, image_size, max_tiles):
        width, height = packed['size']
        self.packed, self.device, self.n = packed, device, packed['n']
        self.plan = tiles.plan(width, height, image_size, max_tiles)
        self.w, self.h = min(width, self.plan.width), min(height, self.plan.height)
        self.scale_x, self.scale_y = self.w / width, self.h / height
        self.scale = (self.scale_x * self.scale_y) ** 0.5
        self.wear = self.put(packed['wear'])
        self.reach = find_reach(width / self.w) * self.wear[:, 0]
        self.image = torch.empty(self.n * self.h * self.w + SPARE, 3, device=device)
        self.exact = []  # (rows, pixels) laid over after enlargement

    def put(self, array):
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, non_blocking=True)

    @property
    def frames(self):
        """The image as [n][h][w][3]."""
        return self.image[:-SPARE].view(self.n, self.h, self.w, 3)

    def set_frames(self, rows, pixels):
        """pixels: [len (rows)][3][h][w]."""
        self.frames[self.put(np.array(rows))] = pixels.permute(0, 2, 3, 1)


class Assets:
    """The folder's pixels on a device; parts that are missing are not drawn."""

    def __init__(self, folder, device):
        self.folder, self.device = Path(folder), device
        self.things = self.clips = self.glyphs = self.pictures = None
        self.patterns = {}
        for name in ('things', 'glyphs', 'patterns', 'pictures'):
            path = self.folder / f'{name}.npz'
            if path.exists():
                with np.load(path) as file:
                    getattr(self, f'load_{name}')(file)

    def load_things(self, file):
        """Clean ones, then those with shadows; and each of both mirrored."""
        self.things = self.make_sprites(file['images'], file['drawn'])

    def make_sprites(self, clean, shaded):
        """Colours are multiplied by alpha, so that they can be averaged."""
        table = torch.from_numpy(np.concatenate([clean, shaded])).to(self.device).permute(0, 3, 1, 2).float()
        table = torch.cat([table[:, :3] * (table[:, 3:] / 255), table[:, 3:] / 255], 1)
        side = table.shape[-1]
        return Sprites(torch.cat([table, table.flip(-1)]).contiguous(), side / 2, side / 2)

    def load_glyphs(self, file):
        both = torch.from_numpy(np.stack([file['fill'], file['edge']], 2)).to(self.device).float() / 255
        self.n_characters = both.shape[1]
        self.glyphs = Sprites(both.flatten(0, 1), float(file['pen_x']), float(file['baseline']))

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
        if keys:
            clips = np.stack([file[key] for key in keys])
            self.clips = self.make_sprites(clips, clips[:0])


class Composer:
    """Draws batches. device: of torch; dtype: of the tiles. Two composers of one seed draw the same from the same calls."""

    def __init__(self, assets_dir, device='cuda', image_size=tiles.IMAGE_SIZE, max_tiles=tiles.MAX_TILES, mean=tiles.CLIP_MEAN,
                 std=tiles.CLIP_STD, dtype=torch.float32, seed=0):
        self.device = torch.device(device)
        self.image_size, self.max_tiles, self.dtype = image_size, max_tiles, dtype
        self.mean = torch.tensor(mean, device=self.device).view(3, 1, 1)
        self.std = torch.tensor(std, device=self.device).view(3, 1, 1)
        self.catalogue = describing.load_catalogue(assets_dir)
        self.assets = Assets(assets_dir, self.device)
        self.outlines = Outlines(self.device)
        self.dice = textures.Dice(self.device, seed)

    @torch.no_grad()
    def __call__(self, batch):
        """batch: frames of one size, or what pack () made of them. Returns (tiles [B][n_tiles][3][S][S], normalised, aspect
        ratio id, n_tiles): the id and number are the same for all."""
        with torch.autocast(self.device.type, enabled=False):
            drawn = self.draw(batch)
        return self.split(drawn, self.plan), self.plan.ratio_id, self.plan.n_tiles

    def draw(self, frames):
        """f32 [B][3][h][w] of whole numbers 0 to 255: the pictures on their canvases."""
        packed = frames if isinstance(frames, dict) else packing.pack(frames, self.catalogue)
        batch = Batch(packed, self.device, self.image_size, self.max_tiles)
        self.plan = batch.plan
        self.dice.seed(packed['seed'])
        for step in (self.draw_backgrounds, self.draw_noisy, self.draw_patterns, self.draw_pictures, self.draw_textures,
                     self.draw_shapes, self.draw_things, self.draw_text):
            step(batch)
        drawn = wearing.wear(batch.frames.permute(0, 3, 1, 2), batch.packed['wear'], batch.wear, 1 / batch.scale, self.dice)
        drawn = drawn.clamp(0, 255).round()
        if (batch.h, batch.w) != (self.plan.height, self.plan.width):
            drawn = F.interpolate(drawn, (self.plan.height, self.plan.width), mode='bilinear').round()
        for rows, pixels in batch.exact:
            drawn[rows] = pixels
        return drawn

    def split(self, drawn, plan):
        """Pads, normalises and cuts into tiles, row by row."""
        side = self.image_size
        padded = F.pad(drawn, (0, plan.columns * side - plan.width, 0, plan.rows * side - plan.height))
        normal = ((padded * (1 / 255) - self.mean) / self.std).to(self.dtype)
        cut = normal.view(len(drawn), 3, plan.rows, side, plan.columns, side).permute(0, 2, 4, 1, 3, 5)
        return cut.reshape(len(drawn), plan.n_tiles, 3, side, side)

    # --- backgrounds ---

    def draw_backgrounds(self, batch):
        """Plain and graded ones, of all frames: the rest is drawn over."""
        table = batch.put(batch.packed['backgrounds'])
        x = (torch.arange(batch.w, device=self.device) + 0.5) / batch.w
        y = (torch.arange(batch.h, device=self.device) + 0.5) / batch.h
        step = table[:, 6, None, None] * x[None, None, :] + table[:, 7, None, None] * y[None, :, None]
        torch.lerp(table[:, None, None, :3], table[:, None, None, 3:6], step[..., None], out=batch.frames)

    def resample(self, planes, batch, grain):
        """[...][rows][columns] of cells of grain pixels -> [...][h][w]."""
        width, height = batch.packed['size']
        down, across = self.get_resamplers(width, height, batch.w, batch.h, grain)
        return down @ planes @ across.T

    @lru_cache(maxsize=256)
    def get_resamplers(self, width, height, w, h, grain):
        pair = make_noise_resampler(height, h, grain), make_noise_resampler(width, w, grain)
        return tuple(torch.from_numpy(matrix).to(self.device) for matrix in pair)

    def draw_noisy(self, batch):
        """Noise of the frame's own pixels, clipped there, then reduced with them."""
        width, height = batch.packed['size']
        grains = batch.packed['backgrounds'][:, 9].astype(int)
        is_noisy = batch.packed['backgrounds'][:, 8] > 0
        for grain in np.unique(grains[is_noisy]).tolist():
            rows = np.flatnonzero(is_noisy & (grains == grain))
            table = batch.put(batch.packed['backgrounds'][rows])
            noise = self.dice.normal(len(rows), 3, -(-height // grain), -(-width // grain))
            cells = torch.addcmul(table[:, :3, None, None], noise, table[:, 8, None, None, None]).clamp_(0, 255)
            batch.set_frames(rows, self.resample(cells, batch, grain))

    def draw_patterns(self, batch):
        groups = {}
        for row, name, width, height, number, is_alone in batch.packed['patterns']:
            groups.setdefault((name, width, height, number, is_alone), []).append(row)
        for (*key, is_alone), rows in groups.items():
            if key[0] == 'snow':
                self.draw_snow(batch, rows)
            else:
                self.draw_pattern(batch, rows, self.assets.patterns[tuple(key)], is_alone)

    def draw_snow(self, batch, rows):
        width, height = batch.packed['size']
        snow = self.resample(self.dice.uniform(len(rows), height, width, high=255), batch, 1)
        batch.set_frames(rows, snow[:, None].expand(-1, 3, -1, -1))

    def draw_pattern(self, batch, rows, stored, is_alone):
        """stored was put through the tile rule with the frame: taken as it is, if it is of this size and nothing is drawn on it."""
        pixels = stored.permute(2, 0, 1)[None].float()
        if pixels.shape[2:] != (batch.h, batch.w):
            if is_alone and pixels.shape[2:] == (batch.plan.height, batch.plan.width):
                batch.exact.append((batch.put(np.array(rows)), pixels))
            pixels = F.interpolate(pixels, (batch.h, batch.w), mode='bilinear', antialias=True)
        batch.set_frames(rows, pixels.expand(len(rows), -1, -1, -1))

    def draw_pictures(self, batch):
        """Crops of pictures, their shape kept, some mirrored."""
        if not batch.packed['pictures']:
            return
        rows, numbers, seeds = map(np.array, zip(*batch.packed['pictures']))
        random_numbers = np.stack([np.random.RandomState(seed).rand(4) for seed in seeds]).astype(np.float32)
        zoom = 1 + 1.2 * random_numbers[:, 0] ** 2
        aspect = np.array(self.assets.aspects, np.float32)[numbers] / (batch.w / batch.h)
        share_x, share_y = np.minimum(1, 1 / aspect) / zoom, np.minimum(1, aspect) / zoom
        down = self.crop(batch, share_y, random_numbers[:, 1], batch.h)
        across = self.crop(batch, share_x, random_numbers[:, 2], batch.w)
        flips = batch.put(random_numbers[:, 3] < 0.5)[:, None, None]
        across = torch.where(flips, across.flip(1), across)
        picked = self.assets.pictures[batch.put(numbers)].float()
        batch.set_frames(rows, down[:, None] @ picked @ across.transpose(1, 2)[:, None])

    def crop(self, batch, share, where, n_out):
        """f32 [m][n_out][PICTURE_SIDE]: resamplers of parts of an axis."""
        step = batch.put((share * PICTURE_SIDE / n_out).astype(np.float32))
        start = batch.put(((1 - share) * where * PICTURE_SIDE).astype(np.float32))
        centres = start[:, None] + (torch.arange(n_out, device=self.device) + 0.5) * step[:, None]
        distance = (torch.arange(PICTURE_SIDE, device=self.device) + 0.5 - centres[:, :, None]).abs()
        weights = (1 - distance / step.clamp(min=1)[:, None, None]).clamp(min=0)
        return weights / weights.sum(2, keepdim=True)

    def draw_textures(self, batch):
        groups = {}
        for row, name, _ in batch.packed['textures']:
            groups.setdefault(name, []).append(row)
        for name, rows in groups.items():
            batch.set_frames(rows, textures.make(name, self.dice, len(rows), batch.h, batch.w))

    # --- what stands before them ---

    def draw_shapes(self, batch):
        """Layer by layer, so that no two windows of a frame are written at once."""
        table = batch.packed['shapes']
        which = self.outlines.find(table[:, 2].astype(int), table[:, 3].astype(int))
        for layer in range(int(table[:, 1].max(initial=-1)) + 1):
            chosen = np.flatnonzero(table[:, 1] == layer)
            for window, group in group_by_window(table[chosen, 6] * batch.scale * 1.3 + 5):
                self.draw_outlines(batch, window, batch.put(table[chosen[group]]), batch.put(which[chosen[group]]))

    def draw_outlines(self, batch, window, table, which):
        frames, half, angle = table[:, 0].long(), table[:, 6, None, None] * (batch.scale / 2), table[:, 7, None, None]
        centre_x, centre_y = table[:, 4] * batch.scale_x, table[:, 5] * batch.scale_y
        windows = Windows(frames, centre_x, centre_y, window, batch.h, batch.w, batch.n)
        x = (windows.x + 0.5 - centre_x[:, None])[:, None, :] / half
        y = (windows.y + 0.5 - centre_y[:, None])[:, :, None] / half
        c, s = torch.cos(angle), torch.sin(angle)
        distance = self.outlines.measure(which, c * x + s * y, c * y - s * x) * half
        cover = cover_triangle(distance, batch.reach[frames][:, None, None])
        windows.blend(batch.image, table[:, None, None, 8:] * cover[..., None], cover)

    def draw_things(self, batch):
        """Clips one after the other, since they may overlap; a thing is alone."""
        clips = batch.packed['clips']
        is_second = np.diff(clips[:, 0], prepend=-1) == 0
        for part, sprites in ((batch.packed['things'], self.assets.things), (clips[~is_second], self.assets.clips),
                              (clips[is_second], self.assets.clips)):
            if len(part):
                self.draw_sprites(batch, part, sprites)

    def draw_sprites(self, batch, table, sprites):
        is_shaded, is_flipped = table[:, 6] > 0, table[:, 5] > 0
        n = len(sprites.table) // 2
        which = (table[:, 1] + np.where(is_shaded, n // 2, 0) + np.where(is_flipped, n, 0)).astype(int)
        for window, group in group_by_window(table[:, 4] * batch.scale + 6):
            part = batch.put(table[group])
            frames, x, y = part[:, 0].long(), part[:, 2] * batch.scale_x, part[:, 3] * batch.scale_y
            windows = Windows(frames, x, y, window, batch.h, batch.w, batch.n)
            step, chosen = part[:, 4] / sprites.table.shape[-1], batch.put(which[group])
            drawn = sprites.draw(windows, chosen, x, y, step * batch.scale_x, step * batch.scale_y, batch.reach[frames])
            windows.blend(batch.image, drawn[:, :3].permute(0, 2, 3, 1), drawn[:, 3])

    def draw_text(self, batch):
        """Fills and edges of each text on maps of their own: neighbouring letters share an outline."""
        texts, glyphs = batch.packed['texts'], batch.packed['glyphs']
        if not len(texts):
            return
        places = np.full(batch.n, -1)
        places[texts[:, 0].astype(int)] = np.arange(len(texts))
        covers = torch.zeros(2, len(texts) * batch.h * batch.w + SPARE, device=self.device)
        cell = self.assets.glyphs.table.shape[2:]
        for window, group in group_by_window(glyphs[:, 5] * np.maximum(1, glyphs[:, 6]) * batch.scale * max(cell) + 5):
            part = batch.put(glyphs[group])
            self.draw_glyphs(batch, window, part, batch.put(places[glyphs[group, 0].astype(int)]), covers)
        covers = covers[:, :-SPARE].view(2, len(texts), batch.h, batch.w, 1)
        self.lay_text(batch, batch.put(texts), covers[0].clamp(max=1), covers[1].clamp(max=1))

    def draw_glyphs(self, batch, window, table, places, covers):
        sprites = self.assets.glyphs
        frames, which = table[:, 0].long(), (table[:, 1] * self.assets.n_characters + table[:, 2]).long()
        step_x, step_y = table[:, 5] * table[:, 6] * batch.scale_x, table[:, 5] * batch.scale_y
        x, y = table[:, 3] * batch.scale_x, table[:, 4] * batch.scale_y
        middle_x = x + (sprites.table.shape[3] / 2 - sprites.origin_x) * step_x
        middle_y = y + (sprites.table.shape[2] / 2 - sprites.origin_y) * step_y
        windows = Windows(places, middle_x, middle_y, window, batch.h, batch.w, len(batch.packed['texts']))
        drawn = sprites.draw(windows, which, x, y, step_x, step_y, batch.reach[frames])
        at = windows.at.flatten()
        for channel in range(2):
            covers[channel].scatter_reduce_(0, at, drawn[:, channel].flatten(), 'amax')

    def lay_text(self, batch, table, fill, edge):
        """The shaded box, then the edge in black, then the fill."""
        rows = table[:, 0].long()
        below = batch.frames[rows]
        x = (torch.arange(batch.w, device=self.device) + 0.5) / batch.scale_x
        y = (torch.arange(batch.h, device=self.device) + 0.5) / batch.scale_y
        across = (x > table[:, 6, None]) & (x < table[:, 8, None])
        down = (y > table[:, 7, None]) & (y < table[:, 9, None])
        shade = (table[:, 5] * (255 / 219))[:, None, None] * (across[:, None, :] & down[:, :, None])
        below = (below - shade[..., None]).clamp(min=0)
        below = below * (1 - edge * table[:, 4, None, None, None]) * (1 - fill)
        batch.frames[rows] = below + fill * table[:, None, None, 1:4]


# --- to be looked at, and timed ---

def describe_batch(rng, n, size, kind=None, catalogue=None):
    return [describing.sample(rng, kind or describing.pick_kind(rng), size, catalogue) for _ in range(n)]


def make_sheet(composer, path, seed, kind=None, columns=6, rows=8):
    """Frames of many sizes, each at most 300 pixels wide or 220 high, with their captions below."""
    from PIL import Image, ImageDraw
    rng, cell_w, cell_h = random.Random(seed), 310, 276
    sheet = Image.new('RGB', (columns * cell_w, rows * cell_h), (208, 208, 224))
    pen = ImageDraw.Draw(sheet)
    for i in range(columns * rows):
        size = describing.pick_size(rng)
        frame = describe_batch(rng, 1, size, kind, composer.catalogue)[0]
        picture = Image.fromarray(composer.draw([frame])[0].permute(1, 2, 0).byte().cpu().numpy())
        picture.thumbnail((300, 220))
        x, y = i % columns * cell_w, i // columns * cell_h
        sheet.paste(picture, (x, y))
        text = f'{size[0]}x{size[1]} ' + questions.caption(frame)
        for line in range(0, len(text), 50):
            pen.text((x, y + 222 + line // 50 * 12), text[line:line + 50], fill='black')
    sheet.save(path)


def wait(device):
    if device.type == 'cuda':
        torch.cuda.synchronize()


def time_sizes(composer, n, n_batches=8):
    rng = random.Random(1)
    for size in [(320, 240), (640, 480), (1280, 720), (1920, 1080), (160, 120), (400, 200)]:
        start = time.perf_counter()
        described = [describe_batch(rng, n, size, None, composer.catalogue) for _ in range(n_batches)]
        asked = [[questions.ask(rng, frame, 4) for frame in batch] for batch in described]
        packed = [packing.pack(batch, composer.catalogue) for batch in described]
        described_s = (time.perf_counter() - start) / n_batches / n
        composer(packed[0])
        wait(composer.device)
        start = time.perf_counter()
        for batch in packed:
            composer(batch)
        wait(composer.device)
        frames_s = n * n_batches / (time.perf_counter() - start)
        print(f'{size[0]}x{size[1]}: {frames_s:.0f} frames/s; described, asked {len(asked[0][0])} and packed in '
              f'{1000 * described_s:.3f} ms a frame', flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--assets', type=Path, default=Path('build/demo-assets'))
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--sheet', type=Path)
    parser.add_argument('--kind', choices=describing.KINDS)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--time', action='store_true')
    parser.add_argument('--batch', type=int, default=256)
    options = parser.parse_args()
    describing.use_assets(options.assets)
    composer = Composer(options.assets, options.device)
    if options.sheet:
        make_sheet(composer, options.sheet, options.seed, options.kind)
    if options.time:
        time_sizes(composer, options.batch)


if __name__ == '__main__':
    main()
