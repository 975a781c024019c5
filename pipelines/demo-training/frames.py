# SPDX-License-Identifier: LGPL-2.1-or-later
"""Descriptions of frames, and how they are drawn by lot: everything of a frame but its pixels.

All lengths are in pixels of the frame, x to the right and y down. The generator is a random.Random: its calls cost a
tenth of numpy's, and a description needs a hundred of them. Held out from training is what is_held_out () says.
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache

import words
from catalogue import DEFAULT, Catalogue, list_clips, list_pictures, load_catalogue, use_assets  # noqa: F401 (seen from here)
from colours import (between, is_clear, measure_distance, measure_luma,  # noqa: F401
                     pick, pick_clear_colour, pick_rgb)
from sizes import is_extreme, pick_size  # noqa: F401

KINDS = {'scene': 0.34, 'pattern': 0.1, 'ball': 0.08, 'text': 0.17, 'clock': 0.06, 'thing': 0.15, 'unknown': 0.13}
EXTREME_UNKNOWN = 0.9  # weight of what is not taught among extreme frames: half
N_SHAPES = {0: 0.12, 1: 0.33, 2: 0.3, 3: 0.25}
SCENE_BACKGROUNDS = {'plain': 0.5, 'graded': 0.25, 'noisy': 0.25}
BACKGROUNDS = {'plain': 0.34, 'graded': 0.14, 'noisy': 0.12, 'pattern': 0.12, 'unknown': 0.28}
UNKNOWNS = {'picture': 0.45, 'texture': 0.3, 'clip': 0.25}  # clips: drawings that have no name, on a background
TEXTURES = ['leaves', 'fractal', 'cells', 'grating', 'collage', 'static', 'blocks', 'zigzag', 'bricks']
# Patterns that videotestsrc scales with the frame, so that a picture of another size may stand for it.
# Spokes are not: their lines have one width in every frame.
SCALED_PATTERNS = {'smpte', 'smpte75', 'smpte100', 'gamut', 'pinwheel', 'gradient', 'smpte-rp-219', 'bar'}
GRAINS = [1, 1, 2, 3, 4, 4, 6, 6]  # of noise, few, since each is drawn apart
TEXT_LENGTHS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 2, 6: 3, 7: 2, 8: 2}  # characters of a text -> weight
CAPITAL_HEIGHT = 40  # of the glyphs in the assets, in pixels
USUAL_CAPITALS = [12.3, 17.3]  # in a frame 640 wide: textoverlay's if not told, and that of 18 points
COMMON_TEXTS = ['HELLO', 'WORLD', 'TEST', 'CAMERA', 'CAM1', 'CAM2', 'LIVE', 'STOP', 'OPEN', 'EXIT', 'ROOM', 'GATE', 'NEWS', 'ABC',
                'GST', 'LLAMA', 'VIDEO', 'DEMO', 'START', 'READY', 'PAUSE', 'STREAM', 'TAXI', 'HOTEL']


@dataclass(slots=True)
class Shape:
    name: str
    colour: str
    size: str
    place: str
    rgb: tuple
    x: float  # of the centre
    y: float
    side: float  # longer side of the upright bounding box
    angle: float = 0.0  # clockwise, in radians
    variant: int = 0  # of the shape's outline; shapes.py counts modulo what it has
    has_lines: bool = False  # of its colour, one pixel wide, through its centre and that of the frame: a ball that sweeps


@dataclass(slots=True)
class Thing:
    name: str
    size: str
    place: str
    index: int
    x: float
    y: float
    side: float
    is_flipped: bool = False
    has_shadow: bool = False  # as textoverlay draws it if not told otherwise


@dataclass(slots=True)
class Text:
    string: str  # as it is said
    drawn: str  # as it is drawn: a clock has milliseconds
    is_clock: bool
    font: int
    capital: float
    x: float  # of the pen, before the first character
    y: float  # of the baseline
    width: float
    rgb: tuple
    outline: float  # opacity of outline and shadow
    shading: float = 0.0  # how much darker the box below is
    stretch: float = 1.0  # of the letters, across


@dataclass(slots=True)
class Background:
    kind: str  # plain, graded, noisy, pattern, unknown
    colours: tuple = ()  # names
    rgbs: tuple = ()
    direction: tuple = (0.0, 0.0)  # of a gradient, across and down, summing to 1
    noise: float = 0.0  # standard deviation
    grain: int = 1
    pattern: str = ''
    index: tuple = ()  # pattern: (width, height, number) in the assets; unknown: ('picture', number) or ('texture', name)


@dataclass(slots=True)
class Wear:
    """What a frame went through before it was captioned; as made, it is untouched."""
    softness: float = 1.0
    chroma: int = 0  # 1: 4:2:0 with linear, 2: with nearest chroma
    is_limited: bool = False  # rounded to limited-range YUV
    jpeg: int = 0  # quality, 0: none
    blur: float = 0.0
    noise: float = 0.0
    gain: float = 1.0
    offset: float = 0.0
    gamma: float = 1.0


@dataclass(slots=True)
class Frame:
    kind: str
    width: int
    height: int
    background: Background
    shapes: list = field(default_factory=list)  # from top to bottom, then from left to right, by place
    thing: Thing | None = None
    clips: list = field(default_factory=list)  # drawings that are not taught, as things without a name
    text: Text | None = None
    wear: Wear = field(default_factory=Wear)
    seed: int = 0  # of what has no description: crops, textures


# --- what is held out ---

def hash_words(text):
    """FNV-1a, 32 bits, of ASCII."""
    value = 2166136261
    for byte in text.encode('ascii'):
        value = (value ^ byte) * 16777619 & 0xffffffff
    return value


@lru_cache(maxsize=65536)
def is_held_out(text):
    """Never trained on. The text is "colour shape size place" ("red star small top left"; a ball is a circle), a string as
    it is drawn ("AB12", a clock's to the second: "0:00:12"), or "thing family" ("dog plain"), the family of a background
    being plain, graded, noisy, pattern or unknown."""
    return hash_words(text) % 10 == 0


def name_shape(colour, shape, size, place):
    """What is hashed for a shape."""
    return f'{colour} {shape} {size} {place}'


# --- backgrounds ---

def make_plain(rng):
    name = rng.choice(words.COLOUR_NAMES)
    return Background('plain', (name,), (pick_rgb(rng, name),))


def make_graded(rng):
    """Never from black to white downwards: that is the gradient test pattern."""
    direction = rng.choice([(1.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5)])
    while True:
        names = tuple(rng.sample(words.COLOUR_NAMES, 2))
        rgbs = tuple(pick_rgb(rng, name) for name in names)
        if set(names) != {'black', 'white'} and measure_distance(*rgbs) >= 170:
            return Background('graded', names, rgbs, direction)


def make_noisy(rng, height):
    """Each channel has a noise of its own, unlike snow. Grain grows with the frame, as noise that can be seen does."""
    name = rng.choice(words.COLOUR_NAMES)
    grain = GRAINS[min(len(GRAINS) - 1, round(height / 270 * between(rng, (0.6, 1.7))))]
    noise = between(rng, (16, 42)) if height > 300 else between(rng, (13, 32))
    return Background('noisy', (name,), (pick_rgb(rng, name),), noise=noise, grain=grain)


@lru_cache(maxsize=1024)
def find_patterns(catalogue, width, height):
    """Name -> [(width, height, number)] of the assets that can stand for a test pattern at this size; snow is made."""
    found = {'snow': [(width, height, 0)]}
    for name, numbers in catalogue.patterns.items():
        if (width, height) in numbers:
            found[name] = [(width, height, i) for i in numbers[width, height]]
        elif name in SCALED_PATTERNS:
            near = min(numbers, key=lambda size: abs(math.log(size[0] * height / size[1] / width)) + (size[0] < width))
            found[name] = [(*near, i) for i in numbers[near]]
    return found


def make_pattern(rng, catalogue, width, height):
    found = find_patterns(catalogue, width, height)
    name = rng.choice(list(found))
    return Background('pattern', pattern=name, index=rng.choice(found[name]))


def make_unknown(rng, catalogue, is_alone=False):
    share = UNKNOWNS['picture'] / (UNKNOWNS['picture'] + UNKNOWNS['texture'])
    if catalogue.n_photos and rng.random() < share:
        return Background('unknown', index=('picture', rng.randrange(catalogue.n_pictures if is_alone else catalogue.n_photos)))
    return Background('unknown', index=('texture', rng.choice(TEXTURES)))


def make_background(rng, kinds, catalogue, width, height):
    kind = pick(rng, kinds)
    if kind == 'plain':
        return make_plain(rng)
    if kind == 'graded':
        return make_graded(rng)
    if kind == 'noisy':
        return make_noisy(rng, height)
    if kind == 'pattern':
        return make_pattern(rng, catalogue, width, height)
    return make_unknown(rng, catalogue)


# --- shapes and things ---

def locate(x, y, width, height):
    """The name of the cell that a point is in."""
    return words.PLACES[min(2, int(3 * y / height))][min(2, int(3 * x / width))]


def place_in(rng, place, half, width, height, margin=0.02):
    """A centre in a cell, with all of the object in the frame; None where the cell has no such point."""
    row, column = next((r, names.index(place)) for r, names in enumerate(words.PLACES) if place in names)
    low_x, high_x = max((column / 3 + margin) * width, half), min((column / 3 + 1 / 3 - margin) * width, width - half)
    low_y, high_y = max((row / 3 + margin) * height, half), min((row / 3 + 1 / 3 - margin) * height, height - half)
    if low_x > high_x or low_y > high_y:
        return None
    return between(rng, (low_x, high_x)), between(rng, (low_y, high_y))


TURNS = {'circle': 0, 'ring': 0, 'square': 0.14, 'rectangle': 0.12, 'diamond': 0.1, 'cross': 0.2, 'heart': 0.25, 'triangle': 0.3,
         'star': 0.63, 'hexagon': 0.53}  # how far each may be turned, in radians, and still be called that


def make_shape(rng, background, width, height):
    """One shape that may be trained on, somewhere; None where chance asked for what cannot be."""
    place = rng.choice(rng.choice(words.PLACES))
    name, size = rng.choice(words.SHAPES), rng.choice(list(words.SIZES))
    colour, rgb = pick_clear_colour(rng, background)
    if is_held_out(name_shape(colour, name, size, place)):
        return None
    side = between(rng, words.SIZES[size]) * min(width, height)
    centre = place_in(rng, place, side / 2, width, height)
    if centre is None:
        return None
    angle = TURNS[name] * (2 * rng.random() - 1) if rng.random() < 0.4 else 0.0
    return Shape(name, colour, size, place, rgb, *centre, side, angle, rng.randrange(12))


def overlaps(a, b):
    return math.hypot(a.x - b.x, a.y - b.y) < 0.47 * (a.side + b.side) + 1


def order(shape):
    """Captions go from top to bottom, then from left to right, by place."""
    row = next(r for r, names in enumerate(words.PLACES) if shape.place in names)
    return row, words.PLACES[row].index(shape.place), shape.x


def make_shapes(rng, n_shapes, background, width, height):
    """Shapes that differ in something but their place, so that each can be told from the others."""
    shapes, n_tries = [], 0
    while len(shapes) < n_shapes:
        shape = make_shape(rng, background, width, height)
        n_tries += 1
        if n_tries > 60:
            shapes, n_tries = [], 0
        elif shape and not any(overlaps(shape, other) for other in shapes):
            shapes.append(shape)
    return sorted(shapes, key=order)


def name_ball_size(side, width, height):
    return next(size for size, bound in words.BALL_BOUNDS if side / min(width, height) < bound)


def place_ball(rng, width, height):
    """(x, y, radius, has lines) of videotestsrc's ball: waving, or, four times in ten, sweeping around the centre."""
    if rng.random() < 0.4:
        radius, turn = min(width, height) // 4, 2 * math.pi * rng.random()
        return width / 2 + radius * math.sin(turn), height / 2 - radius * math.cos(turn), radius, True
    radius = words.BALL_RADIUS
    at = [0.5 + 0.5 * math.sin(2 * math.pi * rng.random()) if rng.random() < 0.5 else rng.random() for _ in range(2)]
    return radius + at[0] * (width - 2 * radius), radius + at[1] * (height - 2 * radius), radius, False


def make_ball(rng, background, width, height):
    """The ball of videotestsrc, anywhere; most often where its waves turn."""
    while True:
        x, y, radius, has_lines = place_ball(rng, width, height)
        colour, rgb = pick_clear_colour(rng, background)
        size, place = name_ball_size(2 * radius, width, height), locate(x, y, width, height)
        if not is_held_out(name_shape(colour, 'circle', size, place)):
            return Shape('circle', colour, size, place, rgb, x, y, 2 * radius, has_lines=has_lines)


THING_SIZES, BUSY_SIZES = {'small': 1, 'medium': 2, 'large': 2}, {'small': 0.3, 'medium': 2, 'large': 3}


def make_thing(rng, catalogue, background, width, height):
    while True:
        index = rng.randrange(len(catalogue.things))
        if is_held_out(f'{catalogue.things[index]} {background.kind}'):
            continue
        place, size = rng.choice(rng.choice(words.PLACES)), pick(rng, THING_SIZES if background.colours else BUSY_SIZES)
        side = between(rng, words.SIZES[size]) * min(width, height)
        if size == 'large':
            side *= between(rng, (1, 1.5))
        centre = place_in(rng, place, side / 2, width, height)
        if centre:
            return Thing(catalogue.things[index], size, place, index, *centre, side, rng.random() < 0.25,
                         rng.random() < 0.6)


def make_clips(rng, catalogue, width, height):
    """One drawing that has no name, or two, which may overlap."""
    clips = []
    for _ in range(1 if rng.random() < 0.8 else 2):
        side = between(rng, (0.25, 0.85)) * min(width, height)
        x, y = between(rng, (side / 2, width - side / 2)), between(rng, (side / 2, height - side / 2))
        clips.append(Thing('', '', '', rng.randrange(catalogue.n_clips), x, y, side, rng.random() < 0.5))
    return clips


# --- text ---

WHITE = (255, 255, 255)


def make_string(rng, lengths):
    """Capital letters and digits that may be trained on, as many as one of TEXT_LENGTHS or weights like it."""
    while True:
        roll = rng.random()
        if roll < 0.06:
            string = rng.choice([text for text in COMMON_TEXTS if lengths.get(len(text))] or words.CHARACTERS)
        else:
            letters = words.CHARACTERS[26:] if roll < 0.16 else words.CHARACTERS[:26] if roll < 0.4 else words.CHARACTERS
            string = ''.join(rng.choices(letters, k=pick(rng, lengths)))
        if not is_held_out(string):
            return string


def make_time(rng):
    """(as it is said, as timeoverlay draws it)."""
    while True:
        roll = rng.random()
        hour = rng.randrange(10) if roll < 0.3 else 0
        minute = rng.randrange(60) if roll < 0.65 else 0
        string = f'{hour}:{minute:02}:{rng.randrange(60):02}'
        if not is_held_out(string):
            return string, f'{string}.{rng.randrange(1000):03}' if rng.random() < 0.85 else string


def align_text(rng, is_clock, capital, text_width, width, height):
    """(x, y) of the pen, as the overlays align and pad by default or nearly so, or anywhere."""
    pad = 25 if rng.random() < 0.7 else between(rng, (0, 0.08)) * height
    pad_x, pad_y = min(pad, 0.5 * (width - text_width)), min(pad, 0.25 * height)
    if rng.random() < 0.35:
        return (between(rng, (0.01 * width, max(0.011 * width, 0.99 * width - text_width))),
                between(rng, (1.3 * capital, height - 0.4 * capital)))
    if rng.random() < 0.5:
        horizontal, vertical = ('left', 'top') if is_clock else ('centre', 'baseline')
    else:
        horizontal = rng.choice(['left', 'centre', 'right'])
        vertical = rng.choice(['baseline', 'bottom', 'top', 'centre'])
    x = {'left': pad_x, 'centre': 0.5 * (width - text_width), 'right': width - text_width - pad_x}[horizontal]
    y = {'baseline': height - pad_y - between(rng, (0, 0.7)) * capital, 'bottom': height - pad_y - 0.35 * capital,
         'top': pad_y + between(rng, (1.28, 1.62)) * capital, 'centre': 0.5 * height + 0.5 * capital}[vertical]
    return x, min(y, height - 0.1 * capital)


def is_legible(rgb, outline, shading, background):
    """Whether letters can be read: they stand out by themselves, everywhere, or their outline does and they from it."""
    if not background.rgbs:
        return outline > 0.9 and measure_luma(rgb) > 110
    first, last = background.rgbs[0], background.rgbs[-1]
    for step in (0, 0.25, 0.5, 0.75, 1):
        below = [max(0.0, a + step * (b - a) - 255 / 219 * shading) for a, b in zip(first, last)]
        apart, luma = measure_distance(rgb, below), measure_luma(below)
        stands_out = apart > 150 + 2 * background.noise and abs(measure_luma(rgb) - luma) > 30 + background.noise
        is_outlined = outline > 0.9 and measure_luma(rgb) > 110 and luma > 80 + background.noise
        if not (stands_out or is_outlined):
            return False
    return True


def pick_text_look(rng, background):
    """(rgb, opacity of the outline, shading) with which letters can be read on a background."""
    while True:
        outline = float(rng.random() < 0.85)
        rgb = WHITE if rng.random() < 0.6 else pick_rgb(rng, rng.choice(words.COLOUR_NAMES))
        is_dark = measure_luma(rgb) <= 110
        shading = 0.0 if is_dark or rng.random() > 0.15 else rng.choice([80, 80, between(rng, (40, 160))])
        if is_dark and rng.random() < 0.7:
            outline = 0.0
        if is_legible(rgb, outline, shading, background):
            return rgb, outline, shading


def make_text(rng, is_clock, catalogue, background, width, height, lengths):
    string, drawn = make_time(rng) if is_clock else (make_string(rng, lengths),) * 2
    usual = catalogue.clock_fonts if is_clock else catalogue.text_fonts
    font = rng.choice(usual) if rng.random() < 0.35 else rng.randrange(len(catalogue.advances))
    advances, at = catalogue.advances[font], catalogue.characters.index
    stretch = between(rng, (0.84, 1.1)) if rng.random() < 0.3 else 1.0
    relative = stretch * sum(advances[at(character)] for character in drawn) / CAPITAL_HEIGHT
    most = min(height / 5, 0.95 * width / relative)
    usual_capital = rng.choice(USUAL_CAPITALS) * width / 640
    if rng.random() < 0.25 and height / 40 < usual_capital < most and width >= 300:
        capital = usual_capital
    else:
        least = 28 if background.rgbs else 20  # where much else is seen, letters are a little larger
        capital = min(most, height / least * (least / 5) ** (rng.random() ** 1.4))
    rgb, outline, shading = pick_text_look(rng, background)
    text_width = relative * capital
    x, y = align_text(rng, is_clock, capital, text_width, width, height)
    return Text(string, drawn, is_clock, font, capital, x, y, text_width, rgb, outline, shading, stretch)


# --- frames ---

def make_wear(rng):
    """Light enough that colours keep their names and letters their shapes; none for four frames in ten."""
    wear = Wear(softness=between(rng, (0.85, 1.2)))
    if rng.random() < 0.4:
        return wear
    if rng.random() < 0.6:
        wear.chroma, wear.is_limited = rng.choice([1, 1, 2]), True
    if rng.random() < 0.3:
        wear.jpeg = rng.randrange(55, 96)
    if rng.random() < 0.2:
        wear.blur = between(rng, (0.2, 0.6))
    if rng.random() < 0.3:
        wear.noise = between(rng, (0.5, 3.5))
    if rng.random() < 0.5:
        wear.gain, wear.offset, wear.gamma = between(rng, (0.94, 1.04)), between(rng, (-4, 6)), between(rng, (0.93, 1.07))
    if rng.random() < 0.04:
        wear.gain, wear.offset = 219 / 255, 16.0  # limited range taken for full
    return wear


def sample(rng, kind, size, catalogue=None, lengths=None):
    """A frame of a kind of KINDS and a size (width, height) that may be trained on; lengths: of texts, if not as
    TEXT_LENGTHS."""
    catalogue = catalogue or DEFAULT[0]
    width, height = size
    has_clips = kind == 'unknown' and catalogue.n_clips and rng.random() < UNKNOWNS['clip']
    if kind == 'pattern':
        background = make_pattern(rng, catalogue, width, height)
    elif kind == 'unknown' and not has_clips:
        background = make_unknown(rng, catalogue, is_alone=True)
    elif kind == 'ball':
        background = make_plain(rng)
    else:
        kinds = SCENE_BACKGROUNDS if kind in ('scene', 'unknown') else BACKGROUNDS
        background = make_background(rng, kinds, catalogue, width, height)
    frame = Frame(kind, width, height, background, wear=make_wear(rng), seed=rng.getrandbits(31))
    if kind == 'scene':
        frame.shapes = make_shapes(rng, pick(rng, N_SHAPES), background, width, height)
    elif kind == 'ball':
        frame.shapes = [make_ball(rng, background, width, height)]
    elif has_clips:
        frame.clips = make_clips(rng, catalogue, width, height)
    elif kind == 'thing':
        frame.thing = make_thing(rng, catalogue, background, width, height)
    elif kind in ('text', 'clock'):
        frame.text = make_text(rng, kind == 'clock', catalogue, background, width, height,
                               lengths or TEXT_LENGTHS)
    return frame


def pick_kind(rng, kinds=None):
    return pick(rng, kinds or KINDS)


def list_kinds(size, kinds=None):
    """Weights of kinds of frames of a size."""
    kinds = dict(kinds or KINDS)
    if is_extreme(size):
        kinds['unknown'] = EXTREME_UNKNOWN
    return kinds
