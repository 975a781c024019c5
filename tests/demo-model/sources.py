# SPDX-License-Identifier: LGPL-2.1-or-later
"""Frames that GStreamer's own elements make: test patterns, a moving ball, text, a clock, emoji; and photos of Debian's
packages. All are pictures as media.py has them."""

import itertools
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from drawing import find_place
from media import make_picture, quote, read_pictures, to_sample

HERE = Path(__file__).resolve().parent
FONTS = ('', 'DejaVu Sans Bold', 'DejaVu Serif', 'DejaVu Sans Mono', 'DejaVu Sans Condensed', 'Liberation Sans',
         'Liberation Sans Bold', 'Liberation Serif', 'Liberation Mono', 'FreeSans', 'FreeSerif Bold', 'FreeMono Bold')
# Those that look different from each other and are not of one colour.
PATTERNS = ('smpte', 'snow', 'checkers-1', 'checkers-2', 'checkers-4', 'checkers-8', 'circular', 'smpte75', 'zone-plate',
            'gamut', 'chroma-zone-plate', 'smpte100', 'bar', 'pinwheel', 'spokes', 'gradient', 'colors', 'smpte-rp-219')


def format_size(width, height):
    return f'video/x-raw,width={width},height={height},framerate=30/1'


def to_argb(colour):
    red, green, blue = (int(channel) for channel in colour)
    return f'0xff{red:02x}{green:02x}{blue:02x}'


# --- test patterns ---

def draw_pattern(rng, pattern, width, height):
    """At a random time: of the patterns that move, each frame is another."""
    wave = ''
    if 'zone' in pattern:  # without these it is a plain grey
        wave = f'kx2={rng.integers(15, 31)} ky2={rng.integers(15, 31)} kt={rng.integers(0, 4)} '
    if pattern in ('pinwheel', 'spokes', 'bar'):
        wave = f'horizontal-speed={rng.integers(0, 4)} '
    return make_picture(f'videotestsrc pattern={pattern} {wave}num-buffers={rng.integers(1, 20)} ! '
                        f'{format_size(width, height)}')


def find_ball(picture):
    """(x, y, whether colours are swapped) of a white disc on black, or of a black one on white; None where not all of it
    is in the frame. The motions that sweep also draw lines across the frame, thinner than what is looked for."""
    behind = np.median(picture[..., :3])
    there = np.abs(picture[..., :3] - behind).max(2) > 24
    thick = there[8:] & there[4:-4] & there[:-8]
    thick = thick[:, 8:] & thick[:, 4:-4] & thick[:, :-8]
    rows, columns = np.where(thick.any(1))[0], np.where(thick.any(0))[0]
    if not len(rows) or rows[-1] - rows[0] < 26 or columns[-1] - columns[0] < 26:
        return None
    return (columns[0] + columns[-1]) / 2 + 4, (rows[0] + rows[-1]) / 2 + 4, behind > 127


@dataclass
class Moment:
    """A frame that shows the ball in one place."""

    line: str
    start: int  # from where on
    number: int  # of the frame after that
    place: str
    is_swapped: bool  # flip exchanges the two colours in every other second


def find_moment(rng, width, height, motions):
    """None where no ball of some successive frames is off the borders between places."""
    motion, flip = rng.choice(motions), rng.choice(['true', 'false'])
    line = f'videotestsrc pattern=ball motion={motion} flip={flip} animation-mode=frames num-buffers=40'
    start = int(rng.uniform(0.1, 60) * 1e9)
    frames = read_pictures(f'{line} ! {format_size(width, height)}', start=start)
    for number, picture in enumerate(frames):
        *centre, is_swapped = find_ball(picture) or [None]
        place = centre and find_place(*centre, width, height)
        if place:
            frames.close()
            return Moment(line, start, number, place, is_swapped)
    return None


def draw_ball(moment, width, height, ball, background):
    front, back = (background, ball) if moment.is_swapped else (ball, background)
    frames = read_pictures(f'{moment.line} foreground-color={to_argb(front)} background-color={to_argb(back)} ! '
                           f'{format_size(width, height)}', start=moment.start)
    picture = next(itertools.islice(frames, moment.number, None))
    frames.close()
    return picture


# --- text, clock, emoji: textoverlay over a picture ---

def overlay(picture, line, moment=0):
    """The picture at a time, with what an element draws over it."""
    sample = to_sample(picture)
    sample.get_buffer().pts = moment
    return make_picture(line, sample)


def find_drawn(before, after):
    """(left, top, right, bottom) of what differs."""
    changed = np.abs(before.astype(np.int16) - after)[..., :3].max(2) > 48
    rows, columns = np.where(changed.any(1))[0], np.where(changed.any(0))[0]
    if not len(rows):
        return 0, 0, 0, 0
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def is_inside(box, picture):
    height, width = picture.shape[:2]
    return box[0] > 0 and box[1] > 0 and box[2] < width and box[3] < height


def measure_text(text, font, size, element='textoverlay'):
    """(width, height) of white letters alone, over a black frame that certainly holds them."""
    black = np.zeros((400, 1600, 4), np.uint8)
    words = f'text={quote(text)}' if element == 'textoverlay' else ''
    drawn = overlay(black, f'{element} {words} auto-resize=false draw-shadow=false draw-outline=false '
                           f'valignment=center halignment=center font-desc={quote(f"{font} {size}".strip())}')
    left, top, right, bottom = find_drawn(black, drawn)
    return right - left, bottom - top


@lru_cache(maxsize=None)
def measure_capital(font):
    """Height of a capital in pixels for each point of size."""
    return measure_text('H', font, 100)[1] / 100


@lru_cache(maxsize=None)
def measure_advance(font):
    """Width of a wide capital in pixels for each point of size."""
    return measure_text('W', font, 100)[0] / 100


def choose_size(rng, text, font, width, height):
    """Points that make capitals of 1/22 of the frame's height or more, and the text at most as wide as the frame."""
    capital = measure_capital(font)
    widest = 0.86 * width / (measure_advance(font) * 1.02 * len(text))
    low, high = height / 22 / capital, min(widest, height / 5 / capital)
    return rng.uniform(low, high) if low < high else None


def draw_text(rng, picture, text, font):
    """The picture with the text somewhere on it; None where it cannot hold the text at a legible size."""
    height, width = picture.shape[:2]
    size = choose_size(rng, text, font, width, height)
    if not size:
        return None
    drawn = overlay(picture, f'textoverlay text={quote(text)} auto-resize=false wrap-mode=none halignment=position '
                             f'valignment=position xpos={rng.uniform(0.05, 0.95):.3f} ypos={rng.uniform(0.05, 0.95):.3f} '
                             f'font-desc={quote(f"{font} {size:.1f}".strip())}')
    return drawn if is_inside(find_drawn(picture, drawn), drawn) else None


def draw_clock(rng, picture, seconds, font):
    """The picture with timeoverlay's clock, which shows thousandths as well."""
    height, width = picture.shape[:2]
    size = choose_size(rng, '0:00:00.000', font, width, height)
    if not size:
        return None
    moment = int((seconds + rng.uniform(0.01, 0.99)) * 1e9)
    return overlay(picture, f'timeoverlay auto-resize=false halignment={rng.choice(["left", "center", "right"])} '
                            f'valignment={rng.choice(["top", "bottom"])} font-desc={quote(f"{font} {size:.1f}".strip())}',
                   moment)


def draw_thing(rng, picture, characters, plain):
    """The picture with an emoji that is 1/5 to 1/2 of the shorter side. Unless plain it has the shadow and the outline
    that textoverlay draws by default."""
    height, width = picture.shape[:2]
    shorter = min(width, height)
    points = shorter * rng.uniform(0.2, 0.5) * 0.62  # a glyph is about 1.6 pixels high for a point
    finish = 'draw-shadow=false draw-outline=false' if plain else ''
    for _ in range(4):
        drawn = overlay(picture, f'textoverlay text={quote(characters)} auto-resize=false halignment=position '
                                 f'valignment=position xpos={rng.uniform(0.1, 0.9):.3f} ypos={rng.uniform(0.1, 0.9):.3f} '
                                 f'{finish} font-desc="Noto Color Emoji {points:.1f}"')
        if is_inside(find_drawn(picture, drawn), drawn):
            return drawn
    return None


def read_things():
    """{name: characters} of the emoji that the model knows by name."""
    lines = (HERE / 'things.txt').read_text(encoding='utf-8').splitlines()
    return dict(line.rsplit(' ', 1) for line in lines if line and not line.startswith('#'))


# --- photos ---

def read_photo(path, width, height, number=0):
    """A photo, or the frame of that number of a video, scaled to cover the frame and cut."""
    decoded = read_pictures(f'filesrc location={quote(str(path))} ! decodebin ! videoconvert')
    for index, picture in enumerate(decoded):
        if index == number:
            decoded.close()
            break
    high, wide = picture.shape[:2]
    scale = max(width / wide, height / high)
    cover = max(width, round(wide * scale)), max(height, round(high * scale))
    scaled = make_picture(f'videoscale add-borders=false ! video/x-raw,width={cover[0]},height={cover[1]}',
                          to_sample(picture))
    left, top = (cover[0] - width) // 2, (cover[1] - height) // 2
    return np.ascontiguousarray(scaled[top:top + height, left:left + width])
