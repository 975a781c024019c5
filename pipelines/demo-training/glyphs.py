# SPDX-License-Identifier: LGPL-2.1-or-later
"""Letters as textoverlay draws them, one by one, to be set into strings.

Two coverages a glyph: fill, of the text's colour, and edge, of the black outline and the half-black shadow beneath. A string
is drawn by taking the maximum of its glyphs' edges and that of their fills, then
    out = background * (1 - edge) * (1 - fill) + colour * fill
with glyph i's pen position at the sum of the advances before it. All is in pixels of a capital 40 high.
"""

import string

import numpy as np

from rendering import draw_text

CHARACTERS = string.ascii_uppercase + string.digits + ':.'
CAPITAL = 40
WIDTH, HEIGHT = 88, 72
PEN_X, BASELINE = 12, 52
# The capital's height while measuring advances, in units of CAPITAL.
MEASURE = 4
PLAIN = 'draw-shadow=false draw-outline=false'

# What the default font is (DejaVu Sans or Noto Sans) depends on the machine, timeoverlay's (Monospace) as well.
FONTS = ('DejaVu Sans', 'Noto Sans', 'DejaVu Sans Mono', 'Noto Sans Mono', 'DejaVu Sans Bold', 'DejaVu Serif',
         'DejaVu Serif Bold', 'DejaVu Sans Mono Bold', 'DejaVu Sans Condensed', 'Noto Sans Bold', 'Noto Serif',
         'Liberation Sans', 'Liberation Sans Bold', 'Liberation Serif', 'Liberation Serif Bold', 'Liberation Mono',
         'Liberation Sans Narrow', 'FreeSerif', 'FreeMono Bold', 'Open Sans', 'Open Sans Semibold', 'Roboto', 'Roboto Bold',
         'Lato', 'Lato Bold', 'Cantarell', 'Cantarell Bold', 'Carlito', 'Caladea', 'Inconsolata',
         'Hack', 'Fira Code', 'Comfortaa Bold', 'Linux Libertine O', 'Linux Biolinum O', 'URW Bookman', 'URW Gothic',
         'C059', 'P052', 'Nimbus Mono PS Bold', 'Nimbus Sans Italic')


def find_extent(picture, axis):
    """First and last + 1 of the columns (axis 0) or rows (axis 1) that are more than half covered somewhere."""
    found = np.where((picture[..., 0] > 127).any(axis))[0]
    return found[0], found[-1] + 1


def draw_plain(text, font, size):
    return draw_text(text, f'{font} {size:.2f}', 1000, 500, 0, f'xpos=0 ypos=0.5 {PLAIN}')


def find_size(font):
    """The size in points that makes a capital 40 pixels high."""
    top, bottom = find_extent(draw_plain('H', font, 300), 1)
    return 300 * CAPITAL / (bottom - top)


def measure_glyphs(font, size):
    """{character: (advance, right end of its ink from its pen)}. H has its pen at 0; others only where an H stands before."""
    def measure_right(text):
        return find_extent(draw_plain(text, font, size * MEASURE), 0)[1] / MEASURE
    pair = measure_right('HH')
    advance_h = pair - measure_right('H')
    return {c: (measure_right(f'H{c}H') - pair, measure_right(f'H{c}') - advance_h) for c in CHARACTERS}


def draw_layers(character, font, size):
    """Fill and edge, float [h][w] of 0 to 1, of one character somewhere in a frame."""
    def draw(background, options):
        picture = draw_text(character, f'{font} {size:.2f}', 160, 240, background, f'xpos=0 ypos=0.5 {options}')
        return picture[..., 0] / 255
    return draw(0, ''), 1 - draw(255, 'color=0x00ffffff')


def cut_cell(layer, pen_x, baseline):
    """The cell of a glyph whose pen stood at pen_x on the row baseline."""
    padded = np.pad(layer, ((HEIGHT, HEIGHT), (WIDTH, WIDTH)))
    top, left = baseline - BASELINE + HEIGHT, pen_x - PEN_X + WIDTH
    return np.rint(255 * padded[top:top + HEIGHT, left:left + WIDTH]).astype(np.uint8)


def find_top(layer):
    return np.where((layer > 0.5).any(1))[0][0]


def measure_top(character, font, size):
    """The rows from the baseline down to the top of the character's ink, found beside an H: alone it is placed by its ink."""
    right = find_extent(draw_plain('H', font, size), 0)[1]
    both = draw_plain(f'H {character}', font, size)
    return find_top(both[:, right + 1:, 0] / 255) - find_extent(both[:, :right], 1)[1]


def draw_glyph(character, font, size, ink_right):
    fill, edge = draw_layers(character, font, size)
    pen_x = round(np.where((fill > 0.5).any(0))[0][-1] + 1 - ink_right)
    baseline = find_top(fill) - measure_top(character, font, size)
    return cut_cell(fill, pen_x, baseline), cut_cell(edge, pen_x, baseline)


def draw_font(font):
    """fill [C][h][w], edge [C][h][w], advance [C] of one font."""
    size = find_size(font)
    measures = measure_glyphs(font, size)
    layers = [draw_glyph(character, font, size, measures[character][1]) for character in CHARACTERS]
    fills, edges = zip(*layers)
    return np.stack(fills), np.stack(edges), [measures[character][0] for character in CHARACTERS]


def make_glyphs() -> dict:
    fills, edges, advances = zip(*map(draw_font, FONTS))
    return {'fill': np.stack(fills), 'edge': np.stack(edges), 'advance': np.array(advances, np.float32),
            'pen_x': PEN_X, 'baseline': BASELINE, 'capital': CAPITAL,
            'characters': np.array(list(CHARACTERS)), 'fonts': np.array(FONTS)}
