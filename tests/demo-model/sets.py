# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sets of the evaluation: frames by lot, the questions about them, and what counts as right.

Every case has a generator of its own, seeded by the set and the case's number: the first cases of a set are the same
however many are drawn."""

import itertools
import math
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

import drawing
import oracle
import reader
import sources
import surfaces

SIZES = ((160, 120), (176, 144), (224, 224), (320, 180), (320, 240), (240, 320), (480, 270), (416, 240), (333, 257),
         (640, 360), (640, 480), (480, 640), (720, 576), (800, 600), (854, 480), (960, 540), (1024, 768), (1280, 720),
         (720, 1280), (1920, 1080), (1920, 800), (1000, 250), (300, 900))
DESCRIBE = 'Describe the scene in one short sentence.'
PHOTO_ROOTS = [Path('/')]  # where the packages of photos.txt are
NO_PHOTOS = False  # for a quick look without them
CLEAR = 80  # Euclid's distance of RGB that an object keeps from what is behind it


@dataclass
class Question:
    prompt: str
    row: str  # of the table
    is_right: Callable[[str], bool]
    perfect: str  # what a perfect model says
    tag: str = ''  # a part of the row that is told apart


@dataclass
class Case:
    picture: np.ndarray
    questions: list
    note: str = ''
    coarse: bool = True  # whether scaling leaves it what it is
    tags: tuple = ()  # more parts of a row that are told apart


def plan_tiles(width, height, tile=224, most=4):
    """(tiles, width and height of the picture on them) by the engine's rule: enlarged as little as it must be, reduced as
    little as it can be. A frame that is larger than a tile and fits into the tiles stays as it is."""
    choices = [(min(columns * tile / width, rows * tile / height), rows * columns, columns, rows)
               for rows in range(1, most + 1) for columns in range(1, most // rows + 1)]
    enlarging = [scale for scale, *_ in choices if scale >= 1]
    best = min(enlarging) if enlarging else max(choices)[0]
    _, n_tiles, columns, rows = min(choice for choice in choices if choice[0] == best)
    scale = min(min(max(side, tile), count * tile) / side for side, count in ((width, columns), (height, rows)))
    return n_tiles, int(width * scale), int(height * scale)


def pick(rng, values):
    return values[int(rng.integers(len(values)))]


def pick_size(rng):
    return pick(rng, SIZES)


# --- scenes ---

HELD_OUT = [thing for thing in itertools.product(reader.COLOURS, reader.SHAPES, reader.SIZES, reader.PLACES.values())
            if reader.is_object_held_out(thing)]


def pick_background(rng):
    """(kind, colour...). From black to white is left out: downwards it is the test pattern named gradient."""
    kind = pick(rng, ('plain', 'plain', 'graded', 'noisy'))
    while True:
        colours = tuple(str(colour) for colour in rng.choice(reader.COLOURS, 2 if kind == 'graded' else 1, replace=False))
        means = [drawing.mean_colour(colour) for colour in colours]
        if kind != 'graded' or (set(colours) != {'black', 'white'} and drawing.measure_contrast(*means) > 110):
            return kind, *colours


def stands_out(colour, background):
    """Whether a colour is clear of the background's, and of what a gradient passes through."""
    if colour in background[1:]:
        return False
    ends = [drawing.mean_colour(name) for name in (background[1], background[-1])]
    between = [(1 - share) * ends[0] + share * ends[1] for share in (0, 0.25, 0.5, 0.75, 1)]
    return min(drawing.measure_contrast(drawing.mean_colour(colour), other) for other in between) > CLEAR


ASK_BACKGROUND = ('What colour is the background?', 'What color is the background?', 'Name the background colour.')


@dataclass
class Placed:
    thing: tuple  # (colour, shape, size, place)
    centre: list
    diameter: float


def place_objects(rng, width, height, background, count):
    """Held-out objects whose discs do not touch; no two have the same colour and shape."""
    placed = []
    for _ in range(2000):
        if len(placed) == count:
            return placed
        thing = pick(rng, HELD_OUT)
        colour, shape, size, place = thing
        if not stands_out(colour, background) or any(thing[:2] == other.thing[:2] for other in placed):
            continue
        diameter = rng.uniform(*drawing.SIZES[size]) * min(width, height)
        centre = drawing.pick_centre(rng, width, height, place, diameter)
        if centre and all(math.dist(centre, other.centre) > (diameter + other.diameter) / 2 for other in placed):
            placed.append(Placed(thing, centre, diameter))
    return place_objects(rng, width, height, background, count)


def draw_scene(rng, count):
    """(picture, background, what is placed)"""
    width, height = pick_size(rng)
    background = pick_background(rng)
    picture = drawing.make_background(rng, width, height, background)
    placed = place_objects(rng, width, height, background, count)
    for one in placed:
        colour, shape = one.thing[:2]
        stretch = rng.uniform(1.75, 2.5) * (1 if rng.random() < 0.5 else -1)
        drawing.draw_shape(picture, shape, drawing.pick_colour(rng, colour), one.centre, one.diameter, stretch)
    return picture, background, placed


def make_scene_case(rng, number):
    count = pick(rng, (0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3))
    picture, background, placed = draw_scene(rng, count)
    objects = [one.thing for one in placed]

    def is_right(text):
        found = reader.read_caption(text)
        return found.kind in ('objects', 'empty') and found.objects == frozenset(objects)

    perfect = oracle.say_scene(objects, background)
    return Case(picture, [Question(DESCRIBE, 'scenes', is_right, perfect, f'{count} objects'),
                          Question(DESCRIBE, 'declined scenes', lambda text: not reader.is_declined(text), perfect),
                          Question(pick(rng, ASK_BACKGROUND), 'background',
                                   lambda text: reader.read_answer_colours(text) == background[1:],
                                   oracle.say_colours(background))],
                perfect, tags=(background[0],))


# --- yes, no, how many ---

def name_object(rng, thing, with_size=False):
    colour, shape, size, _ = thing
    shape = pick(rng, ('ball', 'circle')) if shape == 'circle' else shape
    return f'{size} {colour} {shape}' if with_size else f'{colour} {shape}'


def is_seen(placed, colour, shape):
    return any(one.thing[:2] == (colour, shape) for one in placed)


def invent_object(rng, placed):
    """What is not there, but nearly: another colour or another shape than something that is."""
    while True:
        if placed and rng.random() < 0.75:
            colour, shape = pick(rng, placed).thing[:2]
            if rng.random() < 0.5:
                colour = pick(rng, reader.COLOURS)
            else:
                shape = pick(rng, reader.SHAPES)
        else:
            colour, shape = pick(rng, reader.COLOURS), pick(rng, reader.SHAPES)
        if not is_seen(placed, colour, shape):
            return colour, shape, '', ''


def find_relations(placed, width, height):
    """(one, relation, other) that hold beyond doubt."""
    for one, other in itertools.permutations(placed, 2):
        right, down = ((b - a) / side for a, b, side in zip(one.centre, other.centre, (width, height)))
        if abs(right) > 0.2:
            yield one, 'left of' if right > 0 else 'right of', other
        if abs(down) > 0.2:
            yield one, 'above' if down > 0 else 'below', other


OPPOSITES = {'left of': 'right of', 'right of': 'left of', 'above': 'below', 'below': 'above'}
ASK_THERE = ('Is there {}? Answer yes or no.', 'Is there {} in the picture?', 'Do you see {}? Answer yes or no.',
             'Can you see {}?')
ASK_COUNT = ('How many objects are there?', 'How many shapes are there?', 'How many objects do you see?',
             'Count the objects.')


def ask_yes_no(rng, placed, width, height, truth):
    """(prompt, kind) with that answer; a scene without objects has none to which yes is the answer."""
    relations = list(find_relations(placed, width, height))
    if relations and rng.random() < 0.4:
        one, relation, other = pick(rng, relations)
        relation = relation if truth else OPPOSITES[relation]
        return (f'Is the {name_object(rng, one.thing)} {relation} the {name_object(rng, other.thing)}? Answer yes or no.',
                'relation')
    thing = pick(rng, placed).thing if truth else invent_object(rng, placed)
    name = name_object(rng, thing, with_size=truth and rng.random() < 0.3)
    return pick(rng, ASK_THERE).format(oracle.add_article(name)), 'is there'


def make_question_case(rng, number):
    """One question that is answered by a number, and one by yes or no."""
    count = number % 4
    picture, background, placed = draw_scene(rng, count)
    height, width = picture.shape[:2]
    # Of four scenes the empty one and another by turns are a no, two are a yes.
    truth = count > 0 and count - 1 != number // 4 % 3
    asked, kind = ask_yes_no(rng, placed, width, height, truth)
    how_many, yes_no = oracle.say_number(count), oracle.say_yes(truth)
    return Case(picture, [
        Question(pick(rng, ASK_COUNT), 'questions', lambda text: text == how_many, how_many, 'how many'),
        Question(asked, 'questions', lambda text: reader.read_answer_yes(text) is truth, yes_no, kind),
    ], oracle.say_scene([one.thing for one in placed], background))


# --- test patterns and the ball ---

def measure_checks(pattern, size):
    """(how the frame lies on its tiles, width of a check there) of a pattern like checkers-4."""
    tiles, width, height = plan_tiles(*size)
    return (tiles, width, height), int(pattern.partition('-')[2]) * width / size[0]


def list_alike(pattern, size):
    """The names that are right. Of checks only the size on the tiles is left to see: those of 4 pixels in a frame of
    640x360 are those of 8 in one of 1280x720."""
    if not pattern.startswith('checkers'):
        return [pattern]
    lies, side = measure_checks(pattern, size)
    found = ((other, *measure_checks(other, frame)) for other in sources.PATTERNS if other.startswith('checkers')
             for frame in SIZES)
    return sorted({other for other, where, wide in found if where == lies and abs(wide / side - 1) < 0.15})


def is_visible(pattern, size):
    """Whether checks are still there: of less than 1.4 pixels, reduction makes one colour, or they beat with the pixels."""
    return not pattern.startswith('checkers') or measure_checks(pattern, size)[1] >= 1.4 or plan_tiles(*size)[1:] == size


def make_pattern_case(rng, number):
    if number % 5 >= 3:
        return make_ball_case(rng, 'patterns', 'ball', ('wavy',))
    name = sources.PATTERNS[(number // 5 * 3 + number % 5) % len(sources.PATTERNS)]
    width, height = pick(rng, [size for size in SIZES if is_visible(name, size)])
    picture, alike = sources.draw_pattern(rng, name, width, height), list_alike(name, (width, height))

    def is_right(text):
        found = reader.read_caption(text)
        return found.kind == 'pattern' and found.name in alike

    perfect = oracle.say_pattern(name)
    return Case(picture, [Question(DESCRIBE, 'patterns', is_right, perfect, name)], perfect,
                coarse='checkers' not in name and name not in ('snow', 'circular'))


def pick_ball_colours(rng, width, height, place):
    """(colour, background) such that the ball is held out; None where none of its colours is. The trainer calls the ball,
    of 40 pixels in every frame, small, medium or large by these bounds."""
    share = 40 / min(width, height)
    size = 'small' if share < 0.18 else 'medium' if share < 0.32 else 'large'
    colours = [colour for colour in reader.COLOURS if reader.is_object_held_out((colour, 'circle', size, place))]
    if not colours:
        return None
    colour = pick(rng, colours)
    return colour, pick(rng, [other for other in reader.COLOURS if stands_out(colour, ('plain', other))])


def draw_some_ball(rng, motions):
    """(picture, colour, background, place)"""
    while True:
        width, height = pick_size(rng)
        moment = sources.find_moment(rng, width, height, motions)
        names = moment and pick_ball_colours(rng, width, height, moment.place)
        if names:
            rgb = [drawing.pick_colour(rng, name) for name in names]
            return sources.draw_ball(moment, width, height, *rgb), *names, moment.place


def make_ball_case(rng, row, tag, motions):
    picture, colour, background, place = draw_some_ball(rng, motions)

    def is_right(text):
        found = reader.read_caption(text)
        return (found.kind == 'objects' and found.background == ('plain', background)
                and [thing[:2] + thing[3:] for thing in found.objects] == [(colour, 'circle', place)])

    perfect = oracle.say_scene([(colour, 'circle', 'medium', place)], ('plain', background))
    return Case(picture, [Question(DESCRIBE, row, is_right, perfect, tag)], perfect, coarse=max(picture.shape) < 1200)


def make_sweep_case(rng, number):
    """The motions that nobody gets by default: a ball of half the frame's height, and lines right across."""
    motion = ('sweep', 'hsweep')[number % 2]
    return make_ball_case(rng, 'ball with lines', motion, (motion,))


# --- text and clock ---

def draw_under(rng, width, height):
    """(picture, background as the reader names it) of what text is drawn over."""
    draw = rng.random()
    if draw < 0.1:
        name = pick(rng, ('smpte', 'smpte75', 'gradient', 'gamut', 'bar'))
        return sources.draw_pattern(rng, name, width, height), ('pattern', name)
    if draw < 0.2:
        family = pick(rng, list(surfaces.FAMILIES))
        return surfaces.FAMILIES[family](rng, width, height), ('unknown',)
    background = pick_background(rng)
    return drawing.make_background(rng, width, height, background), background


def pick_string(rng, length):
    while True:
        text = ''.join(pick(rng, string.ascii_uppercase + string.digits) for _ in range(length))
        if reader.is_held_out(text):
            return text


def draw_some_text(rng, length):
    while True:
        width, height = pick_size(rng)
        picture, background = draw_under(rng, width, height)
        text, font = pick_string(rng, length), pick(rng, sources.FONTS)
        drawn = sources.draw_text(rng, picture, text, font)
        if drawn is not None:
            return drawn, background, text, font


ASK_TEXT = ('What does the text say?', 'Read the text.', 'What is written there?')


def make_text_case(rng, number):
    # Hardly any single character is held out, so those are few.
    length = (2, 3, 4, 5, 6, 7, 8, 5 if number % 24 < 16 else 1)[number % 8]
    picture, background, text, font = draw_some_text(rng, length)
    perfect = oracle.say_text(text, background)
    row = 'text up to 6' if length <= 6 else 'text 7-8'
    return Case(picture, [
        Question(ASK_TEXT[number // 8 % 3], row, lambda said: reader.read_answer_text(said) == text, f'It says "{text}".',
                 font or 'default font'),
        Question(DESCRIBE, 'text in captions', lambda said: reader.read_caption(said).name == text, perfect),
        Question(DESCRIBE, 'declined text', lambda said: not reader.is_declined(said), perfect),
    ], perfect, tags=(background[0],))


def pick_seconds(rng, most):
    """(seconds, as a clock shows them) of a held-out time."""
    while True:
        seconds = int(rng.integers(most))
        shown = f'{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}'
        if reader.is_held_out(shown):
            return seconds, shown


def make_clock_case(rng, number):
    seconds, shown = pick_seconds(rng, 36000 if number % 4 == 3 else 3600)
    while True:
        picture, background = draw_under(rng, *pick_size(rng))
        drawn = sources.draw_clock(rng, picture, seconds, '')
        if drawn is not None:
            break
    perfect = oracle.say_clock(shown, background)
    return Case(drawn, [
        Question(DESCRIBE, 'clock', lambda text: (reader.read_caption(text).kind, reader.read_caption(text).name)
                 == ('clock', shown), perfect),
    ], perfect)


# --- things ---

ASK_THING = ('What object is this?', 'Which object do you see?', 'Name the object.')


def make_thing_case(rng, number):
    names = list(sources.read_things().items())
    name, characters = names[np.random.default_rng(1).permutation(len(names))[number % len(names)]]
    families = [*surfaces.FAMILIES, *(['photo'] if not NO_PHOTOS else [])]
    while True:
        width, height = pick_size(rng)
        family = pick(rng, families)
        picture = draw_photo(rng, pick(rng, list_photos('behind')), width, height) if family == 'photo' \
            else surfaces.FAMILIES[family](rng, width, height)
        drawn = sources.draw_thing(rng, picture, characters, plain=rng.random() < 0.4)
        if drawn is not None:
            break
    perfect = oracle.say_thing(name, ('unknown',), 'large', 'centre')

    def is_right(text):
        found = reader.read_caption(text)
        return found.kind == 'thing' and found.name == name

    return Case(drawn, [Question(DESCRIBE, 'things', is_right, perfect, family),
                        Question(DESCRIBE, 'declined things', lambda text: not reader.is_declined(text), perfect),
                        Question(pick(rng, ASK_THING), 'things asked for', lambda text: reader.read_answer_name(text) == name,
                                 oracle.finish(oracle.add_article(name)))],
                f'{name} on {family}',
                tags=('never on anything unknown',) if reader.is_held_out(f'{name} unknown') else ())


# --- what was not taught ---



def read_photo_list():
    """(kind, path below a root, frame of a video)"""
    lines = (sources.HERE / 'photos.txt').read_text(encoding='utf-8').splitlines()
    for line in lines:
        if line and not line.startswith('#'):
            kind, _, path, *frame = line.split()
            yield kind, path, int(frame[0]) if frame else 0


def find_photo(path):
    return next((root / path for root in PHOTO_ROOTS if (root / path).exists()), None)


def list_photos(kind):
    return [] if NO_PHOTOS else [photo[1:] for photo in read_photo_list() if photo[0] == kind]


def draw_photo(rng, photo, width, height):
    path = find_photo(photo[0])
    if not path:
        raise RuntimeError(f'{photo[0]} is missing: tests/demo-model/fetch-photos.sh fetches what photos.txt names')
    return sources.read_photo(path, width, height, photo[1])


def states_only_colour(text, shares):
    """Whether a caption claims no more than a background, in colours that the picture has plenty of."""
    found = reader.read_caption(text)
    needed = 0.35 if len(found.background) == 2 else 0.2
    return found.kind == 'empty' and all(shares[colour] >= needed for colour in found.background[1:])


def make_unknown_case(rng, number):
    photos = [(*photo, 'photos') for photo in list_photos('natural')] + \
             [(*photo, 'textures') for photo in list_photos('texture')]
    width, height = pick_size(rng)
    if number < len(photos):
        *photo, tag = photos[number]
        picture, note = draw_photo(rng, photo, width, height), Path(photo[0]).name
    else:
        make = surfaces.TEXTURES[(number - len(photos)) % len(surfaces.TEXTURES)]
        picture, note, tag = make(rng, width, height), make.__name__.removeprefix('make_'), 'textures'

    shares = drawing.name_colours(picture)

    def is_right(text):
        return reader.is_declined(text) or states_only_colour(text, shares)

    return Case(picture, [Question(DESCRIBE, 'unknown', is_right, reader.DECLINED_CAPTION, tag)], note)


def count_unknown():
    return len(list_photos('natural')) + len(list_photos('texture')) + len(surfaces.TEXTURES)


# Name of the set, how its cases are made, how many.
SETS = {'scenes': (make_scene_case, 500), 'patterns': (make_pattern_case, 200),
        'sweeps': (make_sweep_case, 30), 'text': (make_text_case, 300),
        'clock': (make_clock_case, 60), 'things': (make_thing_case, 300), 'questions': (make_question_case, 250),
        'unknown': (make_unknown_case, None)}


def make_cases(name, count=None, seed=0):
    """The first cases of a set, drawn one by one."""
    make, usual = SETS[name]
    usual = usual or count_unknown()
    for number in range(min(count or usual, usual)):
        yield make(np.random.default_rng([seed, *name.encode('ascii'), number]), number)
