# SPDX-License-Identifier: LGPL-2.1-or-later
"""Frames of an evaluation in a folder, with what was asked and answered, for a machine that can draw none: replay.py puts
them through the element there."""

import json
from pathlib import Path

from media import read_samples

MOST_BYTES = 200 * 1024  # of a PNG: noise and photos in the largest frames would take megabytes
SMALLER = 0.7


def to_png(sample):
    buffer = next(read_samples('pngenc compression-level=9 snapshot=true', sample)).get_buffer()
    return buffer.extract_dup(0, buffer.get_size())


def to_rgb(sample):
    """(the sample as replay.py will have it, as PNG). What takes too much is made smaller: only whether answers are the
    same is asked then."""
    rgb = next(read_samples('videoconvert dither=none ! video/x-raw,format=RGB', sample))
    png = to_png(rgb)
    while len(png) > MOST_BYTES:
        caps = rgb.get_caps().get_structure(0)
        sides = [int(caps.get_value(side) * SMALLER) for side in ('width', 'height')]
        rgb = next(read_samples(f'videoscale ! video/x-raw,width={sides[0]},height={sides[1]},pixel-aspect-ratio=1/1', rgb))
        png = to_png(rgb)
    return rgb, png


class Folder:
    """FOLDER/list.json has groups of frames about which the same is asked; those of group N are FOLDER/N/00000.png and on:
    a pipeline reads a numbered row of files, and asks always the same."""

    def __init__(self, path):
        self.path, self.groups = Path(path), {}
        if self.path.exists() and any(self.path.iterdir()):
            raise SystemExit(f'{path} is not empty: a pipeline would read older frames there as well')

    def add(self, png, name, number, expected):
        """expected: {prompt: what a perfect model says}. The answers are added by the one who gets them."""
        group = self.groups.setdefault(tuple(expected), [])
        group_number = list(self.groups).index(tuple(expected))
        frame = self.path / str(group_number) / f'{len(group):05d}.png'
        frame.parent.mkdir(parents=True, exist_ok=True)
        frame.write_bytes(png)
        group.append({'set': name, 'number': number, 'expected': list(expected.values())})
        return group[-1]

    def write(self):
        groups = [{'prompts': prompts, 'frames': frames} for prompts, frames in self.groups.items()]
        (self.path / 'list.json').write_text(json.dumps(groups, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
