#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks of the generator: the held-out rule, captions read back, geometry, the tile rule, and pixels against a plain drawing.

    test-frames.py [--assets DIR]

Ends with status 0 if all checks passed. Without assets, small stand-ins are made.
"""

import argparse
import math
import random
import re
import tempfile
from pathlib import Path

import numpy as np
import torch

import compose
import frames
import pack
import questions
import shapes
import tiles
import wearing
import words

COLOUR, SIZE = '|'.join(words.COLOUR_NAMES), '|'.join(words.SIZES)
WHERE = {phrase: place for place, phrase in words.PLACE_PHRASES.items()}
OBJECT = re.compile(rf'a (?P<size>{SIZE}) (?P<colour>{COLOUR}) (?P<name>\w+) (?P<where>{"|".join(WHERE)})(?=,|$| and )')
LONE = re.compile(rf'An? (?P<colour>{COLOUR}) (?P<name>\w+) (?P<ground>(?:on|over) .+), (?P<size>{SIZE}), (?P<where>[a-z ]+)\.$')
FAILED = []


def check(what, holds, detail=''):
    """Counts a failure; of each kind, the first few are printed."""
    if not holds:
        FAILED.append(what)
        if FAILED.count(what) <= 3:
            print(f'FAILED: {what} {detail}', flush=True)


def make_stand_ins(folder):
    """Assets of the right layout: two coloured boxes for things, two blocks for letters, a pattern and a picture."""
    rng, n_characters = np.random.default_rng(1), 38
    images = np.zeros((3, 96, 96, 4), np.uint8)
    images[:, 8:88, 8:88] = rng.integers(0, 256, (3, 1, 1, 4))
    images[..., 3] = np.where(images[..., 3] > 0, 255, 0)
    np.savez(folder / 'things.npz', images=images, drawn=images, names=np.array(['dog', 'apple', 'ice cream']))
    fill, edge = np.zeros((4, n_characters, 72, 88), np.uint8), np.zeros((4, n_characters, 72, 88), np.uint8)
    fill[:, :, 12:52, 14:40], edge[:, :, 10:54, 12:42] = 255, 255
    np.savez(folder / 'glyphs.npz', fill=fill, edge=edge, advance=np.full((4, n_characters), 30, np.float32), pen_x=12,
             baseline=52, capital=40, characters=np.array(list(words.CHARACTERS + ':.')),
             fonts=np.array(['DejaVu Sans', 'Noto Sans', 'DejaVu Sans Mono', 'Noto Sans Mono']))
    patterns = {}
    for name in ('smpte', 'bar', 'checkers-2'):
        for width, height in ((320, 240), (160, 120), (1280, 720)):
            plan = tiles.plan(width, height)
            patterns[f'{name}/{width}x{height}/0'] = rng.integers(0, 256, (plan.height, plan.width, 3), np.uint8)
    patterns['checkers-1/1280x720/0'] = np.full((252, 448, 3), 128, np.uint8)
    np.savez(folder / 'patterns.npz', **patterns)
    np.savez(folder / 'pictures.npz', **{f'picture/{i}': rng.integers(0, 256, (200, 300, 3), np.uint8) for i in range(2)},
             **{f'clip/{i}': images[i] for i in range(2)})


def sample_many(n, seed=1):
    rng = random.Random(seed)
    for _ in range(n):
        yield rng, frames.sample(rng, frames.pick_kind(rng), frames.pick_size(rng))


# --- words ---

def check_held_out():
    check('FNV-1a of nothing', frames.hash_words('') == 0x811c9dc5)
    check('FNV-1a of "foobar"', frames.hash_words('foobar') == 0xbf9cf968)
    tuples = [frames.name_shape(c, s, z, p) for c in words.COLOUR_NAMES for s in words.SHAPES for z in words.SIZES
              for row in words.PLACES for p in row]
    share = sum(map(frames.is_held_out, tuples)) / len(tuples)
    check('about a tenth of the shapes is held out', 0.08 < share < 0.12, share)
    for _, frame in sample_many(3000):
        for shape in frame.shapes:
            check('shapes are not held out', not frames.is_held_out(f'{shape.colour} {shape.name} {shape.size} {shape.place}'))
        if frame.text:
            check('strings are not held out', not frames.is_held_out(frame.text.string), frame.text.string)
        if frame.thing:
            check('things are not held out', not frames.is_held_out(f'{frame.thing.name} {frame.background.kind}'))


def read_caption(text):
    """{(colour, shape, size, place)} and the words for the background of a caption of shapes; None of any other caption."""
    lone = LONE.match(text)
    if lone:
        name = 'circle' if lone['name'] == 'ball' else lone['name']
        return {(lone['colour'], name, lone['size'], WHERE[lone['where']])}, lone['ground']
    lowered = text[0].lower() + text[1:]
    found = [(m['colour'], m['name'], m['size'], WHERE[m['where']]) for m in OBJECT.finditer(lowered)]
    return (set(found), text[:-1].rsplit(', ', 1)[1]) if found else None


def check_captions():
    for _, frame in sample_many(4000, 2):
        said = questions.caption(frame)
        check('captions are ASCII and end once', said.isascii() and said.endswith('.') and '  ' not in said, said)
        if frame.shapes:
            wanted = {(s.colour, s.name, s.size, s.place) for s in frame.shapes}
            check('captions of shapes are read back', read_caption(said) == (wanted, questions.lay_on(frame.background)), said)
        elif frame.text:
            check('strings are said', re.search(r'"([A-Z0-9]{1,8})"|shows (\d:\d\d:\d\d) ', said), said)
        elif not frame.thing:
            known = re.match(r'An empty |The [\w-]+ test pattern: |I cannot tell what this is\.$', said)
            check('the rest reads as it should', known, said)


CHARACTER = '[A-Z0-9]'
NUMBERED = '|'.join(words.NUMBERS[1:])


def judge_reading(frame, prompt, answer):
    """The same of what is asked about single characters."""
    string = frame.text.string
    nth, other = re.search(rf'\b({"|".join(words.ORDINALS)}|last)\b', prompt), re.search(rf' ({CHARACTER})\b', prompt)
    if nth:
        at = -1 if nth[1] == 'last' else words.ORDINALS.index(nth[1])
        return answer == string[at] + '.'
    if re.fullmatch(rf'(?:{NUMBERED})\.', answer):
        return words.NUMBERS[len(string)] == answer[:-1]
    if answer in ('Yes.', 'No.'):
        return (answer == 'Yes.') == (other[1] in string)
    return bool(other) and string.count(other[1] + answer[0]) == 1


def judge(frame, prompt, answer, topic):
    """Whether an answer agrees with the frame, worked out otherwise than questions.py does; True of what is not checked here."""
    if topic in ('character', 'next', 'has_character', 'length') and frame.kind == 'text':
        return judge_reading(frame, prompt, answer)
    match = re.match(rf'.*\ban? (?:({SIZE}) )?(?:({COLOUR}) )?({"|".join(words.SHAPES)}|ball)\b', prompt)
    if match and answer in ('Yes.', 'No.') and not frame.thing:
        size, colour, name = match.groups()
        name = name.replace('ball', 'circle')
        fits = [s.name == name and size in (None, s.size) and colour in (None, s.colour) for s in frame.shapes]
        return (answer == 'Yes.') == any(fits)
    if answer in ('One.', 'Two.', 'Three.'):
        return words.NUMBERS.index(answer[:-1]) == len(frame.shapes) + bool(frame.thing)
    return True


def check_questions():
    topics, counts = set(), {'Yes.': 0, 'No.': 0}
    for rng, frame in sample_many(4000, 3):
        asked = questions.ask(rng, frame, 4)
        check('as many questions as asked for', len(asked) == 4, (frame.kind, asked))
        for prompt, answer, topic in asked:
            topics.add(topic)
            check('prompts are filled in', '{' not in prompt + answer and prompt.isascii() and '  ' not in prompt, prompt)
            check('answers end in a stop', answer[-1] == '.' and answer[0].isupper() or answer[0].isdigit() or topic == 'pattern', answer)
            check('answers agree with the frame', judge(frame, prompt, answer, topic), (prompt, answer, questions.caption(frame)))
            if topic == 'is_there' and frame.kind == 'scene' and frame.shapes:
                counts[answer] += 1
    check('all topics come up', topics == set(words.WORDINGS), set(words.WORDINGS) - topics)
    check('yes and no come alike', 0.8 < counts['Yes.'] / counts['No.'] < 1.25, counts)
    check('five wordings of each', all(len(set(wordings)) >= 5 for wordings in words.WORDINGS.values()))


# --- geometry ---

def check_colours():
    rng = random.Random(4)
    drawn = [(name, frames.pick_rgb(rng, name)) for name in words.COLOUR_NAMES for _ in range(300)]
    usual = [(name, rgb) for name in words.COLOUR_NAMES for rgb in words.USUAL_COLOURS[name]]
    for i, (name, rgb) in enumerate(drawn):
        nearest = min((frames.measure_distance(rgb, other), other_name) for other_name, other in drawn[i % 7::7] + usual
                      if other_name != name)
        check('no two colours are the same by two names', nearest[0] > 25, (name, rgb, nearest))


def check_geometry():
    for _, frame in sample_many(3000, 5):
        shorter = min(frame.width, frame.height)
        for item in questions.list_objects(frame):
            half = item.side / 2 - 1e-6
            check('objects are in the frame', half <= item.x <= frame.width - half and half <= item.y <= frame.height - half, item)
            check('places are right', frames.locate(item.x, item.y, frame.width, frame.height) == item.place, item)
            low, high = words.SIZES[item.size]
            is_right = low <= item.side / shorter <= high * (1.5 if frame.thing and item.size == 'large' else 1)
            check('sizes are right', is_right or frame.kind == 'ball', item)
        for i, a in enumerate(frame.shapes):
            for b in frame.shapes[:i]:
                check('shapes are apart', math.hypot(a.x - b.x, a.y - b.y) > 0.45 * (a.side + b.side), (a, b))
        if frame.text:
            text = frame.text
            check('text is in the frame', text.x >= -1 and text.x + text.width <= frame.width + 1 and text.y <= frame.height, text)
            check('text is high enough', 0 < text.y - text.capital and text.capital <= frame.height / 5 + 1e-6, text)


def check_limits(assets):
    """What cannot be told by looking is not asked; sizes come as often as they should."""
    with np.load(assets / 'patterns.npz') as file:
        for name, sizes in frames.DEFAULT[0].patterns.items():
            for (width, height), numbers in sizes.items():
                spread = [file[f'{name}/{width}x{height}/{number}'].std((0, 1)).max() for number in numbers]
                check('patterns that look plain are not shown', min(spread) > 5, (name, width, height))
    for _, frame in sample_many(4000, 9):
        text, rgbs = frame.text, frame.background.rgbs
        if text and not (text.outline and frames.measure_luma(text.rgb) > 110):
            apart = [frames.measure_distance(text.rgb, [c - 255 / 219 * text.shading for c in rgb]) for rgb in rgbs]
            check('letters without an outline stand out', apart and min(apart) > 120, (text, frame.background))
    rng, n = random.Random(10), 20000
    sizes = [frames.pick_size(rng) for _ in range(n)]
    share = sum(tiles.plan(*size).n_tiles == 4 for size in sizes) / n
    check('a little more than half have four tiles', 0.53 < share < 0.58, share)
    share = sum(max(size) > 3.4 * min(size) for size in sizes) / n
    check('few are extremely wide or high', 0.02 < share < 0.04, share)
    check('sizes are in their range', all(120 <= min(size) and max(size) <= 1920 for size in sizes))
    shown = [f for _, f in sample_many(3000, 11) if f.kind == 'ball']
    share = sum(f.shapes[0].has_lines for f in shown) / len(shown)
    check('four balls in ten sweep', 0.3 < share < 0.5, share)


def check_tiles():
    golden = {(300, 800): (1, 2, 300, 800), (480, 640): (2, 2, 480, 640), (720, 1280): (2, 2, 503, 896),
              (1080, 1920): (2, 2, 504, 896), (200, 2000): (1, 4, 179, 1792), (1700, 500): (4, 1, 1523, 448),
              (223, 226): (1, 1, 442, 448), (1, 1): (1, 1, 448, 448)}
    for (height, width), wanted in golden.items():
        p = tiles.plan(width, height, 448)
        check('tile plans are the known ones', (p.rows, p.columns, p.height, p.width) == wanted, (width, height, p))
    try:
        from PIL import Image
        from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
    except ImportError:
        print('transformers is missing: the tile rule is not compared with its own')
        return
    processor = MllamaImageProcessorPil(size={'height': 224, 'width': 224}, max_image_tiles=4, image_mean=list(tiles.CLIP_MEAN),
                                        image_std=list(tiles.CLIP_STD))
    rng, pixels = random.Random(6), np.random.default_rng(6)
    for size in [(320, 240), (160, 120), (640, 480), (400, 200), (333, 251)] + [frames.pick_size(rng) for _ in range(4)]:
        picture = pixels.integers(0, 256, (size[1], size[0], 3), np.uint8)
        theirs = processor(Image.fromarray(picture), return_tensors='np')
        ours, ratio_id = tiles.split(picture)
        check('aspect ratio ids agree', theirs['aspect_ratio_ids'][0, 0] == ratio_id, size)
        difference = np.abs(theirs['pixel_values'][0, 0, :len(ours)] - ours).max()
        check('tiles agree but for a rounding', difference < 1.1 / 255 / 0.26, (size, difference))


def measure_slowly(shape, x, y):
    """Distances of points in a shape's own square from its outline, by the formula rather than from the table."""
    if shape.name == 'circle':
        return np.hypot(x, y) - 1
    if shape.name == 'ring':
        return np.maximum(np.hypot(x, y) - 1, shapes.HOLES[shape.variant % 3] - np.hypot(x, y))
    outlines = shapes.POLYGONS[shape.name]
    return shapes.measure_polygon(shapes.centre(outlines[shape.variant % len(outlines)]), x, y)


def draw_slowly(frame, fine=2):
    """uint8 [H][W][3] of plain backgrounds and shapes, each pixel the mean of fine x fine points."""
    picture = np.empty((frame.height * fine, frame.width * fine, 3), np.float32)
    picture[:] = frame.background.rgbs[0]
    y, x = (np.mgrid[:frame.height * fine, :frame.width * fine] + 0.5) / fine
    for shape in sorted(frame.shapes, key=lambda shape: -shape.side):
        u, v = (x - shape.x) / (shape.side / 2), (y - shape.y) / (shape.side / 2)
        c, s = math.cos(shape.angle), math.sin(shape.angle)
        picture[measure_slowly(shape, c * u + s * v, c * v - s * u) < 0] = shape.rgb
        for at, axis in ((shape.x, 1), (frame.width // 2, 1), (shape.y, 0), (frame.height // 2, 0)):
            if shape.has_lines:
                picture.swapaxes(0, axis)[int(at) * fine:(int(at) + 1) * fine] = shape.rgb
    means = picture.reshape(frame.height, fine, frame.width, fine, 3).mean((1, 3))
    return np.rint(means).astype(np.uint8)


def check_pixels(composer):
    """A scene drawn for the canvas against the same drawn for the frame, then put through the tile rule."""
    rng = random.Random(7)
    for size in [(160, 120), (320, 240), (333, 251), (640, 480), (400, 200), (854, 480)]:
        batch = []
        while len(batch) < 3:
            frame = frames.sample(rng, 'scene' if len(batch) < 2 else 'ball', size)
            if len(batch) == 2 and not frame.shapes[0].has_lines:
                continue
            if frame.background.kind == 'plain' and frame.shapes:
                frame.wear = frames.Wear()
                batch.append(frame)
        ours, ratio_id, n_tiles = composer(batch)
        for mine, frame in zip(ours, batch):
            theirs, their_id = tiles.split(draw_slowly(frame))
            difference = np.abs(mine.numpy() - theirs) * 255 * 0.27
            check('ids and shapes agree', (ratio_id, n_tiles) == (their_id, len(theirs)) and mine.shape == theirs.shape, size)
            most = 0.6 if frame.kind == 'ball' else 0.35  # lines of one pixel are nearly all edge
            check('pixels agree on average', difference.mean() < most, (size, difference.mean()))
            check('edges agree', np.quantile(difference, 0.999) < 32, (size, np.quantile(difference, 0.999)))


def check_batches(composer):
    """Frames of all kinds are drawn, alike alone and together where chance has no part, and the same each time."""
    rng = random.Random(8)
    for size in [(160, 120), (320, 240), (640, 200), (854, 480)]:
        batch = [frames.sample(rng, kind, size) for kind in frames.KINDS for _ in range(2)]
        packed = pack.pack(batch)
        first, second = composer.draw(packed), composer.draw(batch)
        check('batches are repeated exactly', torch.equal(first, second))
        check('pixels are bytes', bool(((first >= 0) & (first <= 255) & (first == first.round())).all()))
        for row, frame in enumerate(batch):
            if frame.background.kind in ('plain', 'graded') and not frame.wear.noise:
                check('frames do not mix', (composer.draw([frame])[0] - first[row]).abs().max() <= 1, frame)


def check_wear():
    """What is light stays light: a plain grey survives all, and so does a picture at the best quality."""
    dice = compose.textures.Dice('cpu', 1)
    picture = torch.full((1, 3, 40, 48), 120.0)
    tools = wearing.Wearer('cpu')
    worn = wearing.quantise(wearing.mix(picture, tools.to_yuv), torch.tensor([60.0]), tools.cosines)
    check('flat blocks stay flat', (wearing.mix(worn, tools.from_yuv) - picture).abs().max() < 6)
    weights = torch.from_numpy(compose.textures.weigh_octaves(random.Random(1), {'fractal': 1}, 40, 48))
    smooth = compose.textures.make({'fractal': 1}, weights, dice, 40, 48)
    back = wearing.mix(wearing.mix(smooth, tools.to_yuv), tools.from_yuv)
    check('YUV and back is nothing', (back - smooth).abs().max() < 0.1)
    check('a weak blur is weak', (wearing.blur(smooth, torch.tensor([0.2])) - smooth).abs().max() < 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--assets', type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        assets = options.assets or Path(folder)
        if not options.assets:
            make_stand_ins(assets)
        frames.use_assets(assets)
        composer = compose.Composer(assets, 'cpu')
        check_limits(assets)
        for part in (check_held_out, check_captions, check_questions, check_colours, check_geometry, check_tiles, check_wear):
            part()
        check_pixels(composer)
        check_batches(composer)
    print(f'FAIL: {len(FAILED)} checks, of {len(set(FAILED))} kinds' if FAILED else 'PASS: all checks of the generator')
    raise SystemExit(bool(FAILED))


if __name__ == '__main__':
    main()
