# SPDX-License-Identifier: LGPL-2.1-or-later
"""Descriptions of a batch of frames as flat arrays: made by the processes that describe, read by the one that draws."""

import numpy as np

import frames as describing
import words

WEAR = ['softness', 'chroma', 'is_limited', 'jpeg', 'blur', 'noise', 'gain', 'offset', 'gamma']
SHAPE_IDS = {name: i for i, name in enumerate(words.SHAPES)}
SHADE_PAD = 7  # of textoverlay's shaded background around the ink, in pixels


def table(rows, n_columns):
    return np.array(rows, np.float32).reshape(-1, n_columns)


def list_glyphs(row, text, catalogue):
    """[row, font, character, x and y of the pen, scale of the glyph, its stretch] of each character."""
    scale, x = text.capital / describing.CAPITAL_HEIGHT, text.x
    advances, glyphs = catalogue.advances[text.font], []
    for character in text.drawn:
        at = catalogue.characters.index(character)
        glyphs.append([row, text.font, at, x, text.y, scale, text.stretch])
        x += advances[at] * scale * text.stretch
    return glyphs


def list_thing(row, thing):
    return [row, thing.index, thing.x, thing.y, thing.side, thing.is_flipped, thing.has_shadow]


def list_text(row, text):
    """[row, r, g, b, outline, shading, box of the shading]."""
    box = [text.x - SHADE_PAD, text.y - text.capital - SHADE_PAD, text.x + text.width + SHADE_PAD, text.y + SHADE_PAD]
    return [row, *text.rgb, text.outline, text.shading, *box]


def pack(frames, catalogue=None):
    """Frames of one size as a dictionary of arrays; drawn things name the row of their frame in the first column."""
    catalogue = catalogue or describing.DEFAULT[0]
    size = frames[0].width, frames[0].height
    rgbs, shapes, things, clips, glyphs, texts, patterns, pictures, textures, lines = ([] for _ in range(10))
    for row, frame in enumerate(frames):
        if (frame.width, frame.height) != size:
            raise ValueError(f'{frame.width}x{frame.height} in a batch of {size[0]}x{size[1]}')
        background = frame.background
        pair = background.rgbs or ((0, 0, 0),)
        rgbs.append([*pair[0], *pair[-1], *background.direction, background.noise, background.grain])
        if background.kind == 'pattern':
            patterns.append((row, background.pattern, *background.index, not (frame.text or frame.thing)))
        elif background.kind == 'unknown':
            (pictures if background.index[0] == 'picture' else textures).append((row, background.index[1], frame.seed))
        for layer, shape in enumerate(sorted(frame.shapes, key=lambda shape: -shape.side)):
            shapes.append([row, layer, SHAPE_IDS[shape.name], shape.variant, shape.x, shape.y, shape.side, shape.angle, *shape.rgb])
            if shape.has_lines:
                lines.append([row, *shape.rgb, int(shape.x), size[0] // 2, int(shape.y), size[1] // 2])
        if frame.thing:
            things.append(list_thing(row, frame.thing))
        clips += [list_thing(row, clip) for clip in frame.clips]
        if frame.text:
            texts.append(list_text(row, frame.text))
            glyphs += list_glyphs(row, frame.text, catalogue)
    wear = [[getattr(frame.wear, name) for name in WEAR] for frame in frames]
    return {'size': size, 'n': len(frames), 'backgrounds': table(rgbs, 10), 'shapes': table(shapes, 11), 'lines': table(lines, 8),
            'things': table(things, 7), 'clips': table(clips, 7), 'glyphs': table(glyphs, 7), 'texts': table(texts, 10),
            'wear': table(wear, len(WEAR)), 'patterns': patterns, 'pictures': pictures, 'textures': textures, 'seed': frames[0].seed}
