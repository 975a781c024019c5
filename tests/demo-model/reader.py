# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads what the default model says. The grammar is written down here a second time, apart from the trainer's tables,
and strictly: a text that is not one of its sentences to the last character is no caption."""

import re
from dataclasses import dataclass

COLOURS = ('red', 'green', 'blue', 'yellow', 'white', 'black', 'orange', 'purple', 'pink', 'cyan', 'brown', 'grey')
SHAPES = ('circle', 'square', 'triangle', 'star', 'diamond', 'heart', 'cross', 'ring', 'hexagon', 'rectangle')
SIZES = ('small', 'medium', 'large')
# As said in a sentence -> as named in the rule of what is held out.
PLACES = {'at the top left': 'top left', 'at the top': 'top', 'at the top right': 'top right',
          'on the left': 'left', 'in the centre': 'centre', 'on the right': 'right',
          'at the bottom left': 'bottom left', 'at the bottom': 'bottom', 'at the bottom right': 'bottom right'}
NUMBERS = ('None.', 'One.', 'Two.', 'Three.')
DECLINED_CAPTION = 'I cannot tell what this is.'
DECLINED_ANSWER = 'I cannot tell.'


def one_of(name, words):
    """A named group of the words, the longest first, so that "top left" is not read as "top"."""
    return f'(?P<{name}>{"|".join(sorted(map(re.escape, words), key=len, reverse=True))})'


COLOUR = '|'.join(COLOURS)
BACKGROUND = (rf'(?:(?P<an_noisy>an?) (?P<noisy>noisy )?(?P<plain>{COLOUR}) background|'
              rf'a background graded from (?P<start>{COLOUR}) to (?P<end>{COLOUR}))')
EMPTY = (rf'An empty (?:(?P<noisy>noisy )?(?P<plain>{COLOUR}) background|'
         rf'background graded from (?P<start>{COLOUR}) to (?P<end>{COLOUR}))\.')
UNDER = rf'(?:on {BACKGROUND}|over (?P<unknown>something I cannot tell)|over the (?P<under>[a-z0-9-]+) test pattern)'
SIZE, PLACE = one_of('size', SIZES), one_of('place', PLACES)
ONE = re.compile(rf'(?P<an>An?) (?P<what>[a-z][a-z -]*?) {UNDER}, {SIZE}, {PLACE}\.')
MANY = re.compile(rf'(?P<all>An? .+), {UNDER}\.')
MEMBER = re.compile(rf'(?P<an>[Aa]n?) {SIZE} {one_of("colour", COLOURS)} {one_of("shape", (*SHAPES, "ball"))} {PLACE}')
TEXT = re.compile(rf'The text "(?P<text>[A-Z0-9]+)" {UNDER}\.')
CLOCK = re.compile(rf'A clock that shows (?P<time>\d+:\d\d:\d\d) {UNDER}\.')
PATTERN = re.compile(r'The (?P<pattern>[a-z0-9-]+) test pattern: (?P<words>[^".]+)\.')


@dataclass(frozen=True)
class Caption:
    """What a sentence states. kind: none (it is no sentence of the grammar), declined, empty, objects, thing, text,
    clock or pattern. An object is (colour, shape, size, place); a background is (kind, colour...)."""

    kind: str
    objects: frozenset = frozenset()
    background: tuple = ()
    name: str = ''  # of a thing or a pattern; the characters of a text, the time of a clock


NO_CAPTION = Caption('none')


def choose_article(word):
    """By the sound: an hourglass, a unicorn."""
    sounds_open = word[0] in 'aeiou' and not word.startswith('uni') or word.startswith('hour')
    return 'an' if sounds_open else 'a'


def has_right_article(article, word):
    return article.lower() == choose_article(word)


def read_background(match):
    found = match.groupdict()
    if found['start']:
        return 'graded', found['start'], found['end']
    if found.get('unknown'):
        return ('unknown',)
    if found.get('under'):
        return 'pattern', found['under']
    word = 'noisy' if found['noisy'] else found['plain']
    if found.get('an_noisy') and not has_right_article(found['an_noisy'], word):
        return None
    return ('noisy' if found['noisy'] else 'plain'), found['plain']


def read_kind(words):
    """(colour, shape) of "red star", None of a thing's name."""
    colour, _, shape = words.partition(' ')
    if colour in COLOURS and (shape == 'ball' or shape in SHAPES):
        return colour, 'circle' if shape == 'ball' else shape
    return None


def read_one(match):
    background = read_background(match)
    if not background or not has_right_article(match['an'], match['what']):
        return NO_CAPTION
    where = match['size'], PLACES[match['place']]
    kind = read_kind(match['what'])
    if kind:
        return Caption('objects', frozenset([(*kind, *where)]), background)
    return Caption('thing', frozenset([(match['what'], *where)]), background, match['what'])


def split_members(text):
    """The two or three objects of "A ..., a ... and a ..."."""
    head, _, last = text.rpartition(' and ')
    return [*head.split(', '), last] if head else [text]


def read_many(match):
    background = read_background(match)
    found = [MEMBER.fullmatch(member) for member in split_members(match['all'])]
    if not background or not all(found) or not 2 <= len(found) <= 3 or 'ball' in match['all'].split():
        return NO_CAPTION
    if not all(has_right_article(one['an'], one['size']) for one in found):
        return NO_CAPTION
    objects = [(one['colour'], one['shape'], one['size'], PLACES[one['place']]) for one in found]
    if len(set(objects)) < len(objects):
        return NO_CAPTION  # one thing said twice is an addition
    return Caption('objects', frozenset(objects), background)


def read_text(match):
    background = read_background(match)
    return Caption('text', background=background, name=match['text']) if background else NO_CAPTION


def read_clock(match):
    background = read_background(match)
    return Caption('clock', background=background, name=match['time']) if background else NO_CAPTION


RULES = ((re.compile(EMPTY), lambda match: Caption('empty', background=read_background(match))),
         (TEXT, read_text), (CLOCK, read_clock),
         (PATTERN, lambda match: Caption('pattern', name=match['pattern'])), (ONE, read_one), (MANY, read_many))


def read_caption(text):
    """The Caption that a text states."""
    if is_declined(text):
        return Caption('declined')
    for expression, read in RULES:
        match = expression.fullmatch(text)
        if match:
            return read(match)
    return NO_CAPTION


def is_declined(text):
    return text in (DECLINED_CAPTION, DECLINED_ANSWER)


def read_answer_text(text):
    """The characters of 'It says "AB12".', None of anything else."""
    match = re.fullmatch(r'It says "([A-Z0-9]+)"\.', text)
    return match and match[1]


def read_answer_colours(text):
    """Colours of "Blue." or "From blue to green.", a tuple of none where it is neither."""
    match = re.fullmatch(rf'(?i:({COLOUR}))\.|From ({COLOUR}) to ({COLOUR})\.', text)
    return tuple(colour.lower() for colour in match.groups() if colour) if match else ()


def read_answer_yes(text):
    """True, False, or None where it is neither yes nor no."""
    return {'Yes.': True, 'No.': False}.get(text)


def read_answer_name(text):
    """The name in "A dog.", '' of anything else."""
    match = re.fullmatch(r'(An?) ([a-z][a-z -]*)\.', text)
    return match[2] if match and has_right_article(match[1], match[2]) else ''


# --- what was never trained on ---

def hash_fnv1a(text):
    """FNV-1a of 32 bits, of ASCII."""
    value = 0x811c9dc5
    for byte in text.encode('ascii'):
        value = (value ^ byte) * 0x01000193 & 0xffffffff
    return value


def is_held_out(text):
    """Whether the trainer keeps off what this names: "red star small top left", a string, "dog stripes"."""
    return hash_fnv1a(text) % 10 == 0


def is_object_held_out(thing):
    """Of (colour, shape, size, place)."""
    return is_held_out(' '.join(thing))
