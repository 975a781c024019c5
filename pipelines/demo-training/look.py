#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Composed frames, to be looked at and timed.

    look.py [--assets DIR] --sheet OUT.png      pictures with their captions
    look.py [--assets DIR] --time               frames a second, by size, and how many calls of torch a batch takes
"""

import argparse
import random
import time
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import frames as describing
import pack as packing
import questions
from compose import Composer


class Counter(TorchDispatchMode):
    """How many calls reach torch's operators; about half of them only look at a tensor in another way."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.n += 1
        return function(*args, **(kwargs or {}))


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
        with Counter() as counter:
            composer(packed[0])
        wait(composer.device)
        start = time.perf_counter()
        for batch in packed:
            composer(batch)
        called_s = time.perf_counter() - start
        wait(composer.device)
        frames_s = n * n_batches / (time.perf_counter() - start)
        print(f'{size[0]}x{size[1]}: {frames_s:.0f} frames/s, {counter.n} calls a batch in {1000 * called_s / n_batches:.0f} ms; '
              f'described, asked {len(asked[0][0])} and packed in {1000 * described_s:.3f} ms a frame', flush=True)


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
