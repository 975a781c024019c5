# SPDX-License-Identifier: LGPL-2.1-or-later
"""What may be asked about a described frame, and the only answer to it.

Each topic is a function (rng, frame) -> ({slots of the wording}, answer), or None where the frame gives it no clear
answer: such a question is never asked. Things are drawn whole and last, so they are seen in front of anything; of what
was not taught, nothing is claimed.
"""

import frames
import words
from frames import pick
from words import UNKNOWN_ANSWER, UNKNOWN_BACKGROUND, UNKNOWN_CAPTION, add_article, capitalise

# How often each topic comes up, by kind of frame.
_ASIDE = {'text': 0.2, 'is_text': 0.2, 'length': 0.04, 'time': 0.12, 'pattern': 0.15, 'is_pattern': 0.15}
TOPICS = {
    'scene': {'caption': 5, 'background': 1, 'is_background': 0.6, 'count': 1.2, 'is_there': 2.2, 'colour': 1, 'where': 1,
              'relation': 3, 'place': 1, 'size': 0.4, 'what': 0.3, 'largest': 0.6, **_ASIDE},
    'ball': {'caption': 5, 'background': 1, 'is_background': 0.4, 'count': 0.5, 'is_there': 1.5, 'colour': 1, 'where': 1.5,
             'place': 0.6, 'size': 0.4, 'what': 0.5, 'largest': 0.3, **_ASIDE},
    'pattern': {'caption': 4, 'pattern': 2, 'is_pattern': 0.6, 'background': 0.3, 'count': 0.3, 'is_there': 0.5, 'what': 0.5,
                'text': 0.3, 'is_text': 0.3, 'time': 0.15},
    # Most is asked about single characters: where each is, is what reading is learnt from.
    'text': {'caption': 4, 'text': 3, 'character': 2.5, 'next': 1, 'has_character': 1, 'length': 0.6, 'is_text': 0.3,
             'background': 0.6, 'is_background': 0.15, 'count': 0.2, 'is_there': 0.2, 'time': 0.15, 'pattern': 0.2,
             'is_pattern': 0.15},
    'clock': {'caption': 4, 'time': 2.5, 'text': 1, 'is_text': 0.3, 'background': 0.6, 'count': 0.2, 'is_there': 0.2,
              'pattern': 0.3, 'is_pattern': 0.2},
    'thing': {'caption': 4, 'what': 2.5, 'is_there': 1.4, 'where': 0.7, 'size': 0.2, 'background': 0.7, 'is_background': 0.3,
              'count': 0.5, 'place': 0.5, 'largest': 0.3, **_ASIDE},
    'unknown': {'caption': 4, **dict.fromkeys(['background', 'count', 'is_there', 'what', 'text', 'pattern'], 0.7),
                **dict.fromkeys(['is_background', 'colour', 'where', 'is_text', 'time', 'is_pattern', 'largest', 'place'], 0.4)},
}
REPEATABLE = {'is_there', 'is_background', 'colour', 'where', 'relation', 'place', 'size', 'character', 'next', 'has_character'}
YES_NO_TOPICS = {'is_there', 'is_background', 'relation', 'is_text', 'is_pattern', 'has_character'}


# --- captions ---

def name_background(background):
    """As it is said after "on" or "over"."""
    if background.kind == 'plain':
        return f'{add_article(background.colours[0])} background'
    if background.kind == 'graded':
        return 'a background graded from {} to {}'.format(*background.colours)
    if background.kind == 'noisy':
        return f'a noisy {background.colours[0]} background'
    return f'the {background.pattern} test pattern' if background.kind == 'pattern' else UNKNOWN_BACKGROUND


def lay_on(background):
    return ('on ' if background.colours else 'over ') + name_background(background)


def name_empty(background):
    return 'An empty ' + name_background(background).split(' ', 1)[1] + '.'


def list_objects(frame):
    return [frame.thing] if frame.thing else frame.shapes


def say_name(frame, item):
    """A lone circle is a ball."""
    return 'ball' if item.name == 'circle' and len(frame.shapes) == 1 else item.name


def say_coloured(frame, item):
    colour = getattr(item, 'colour', '')
    return f'{colour} {say_name(frame, item)}'.strip()


def join(phrases):
    return ' and '.join(filter(None, [', '.join(phrases[:-1]), phrases[-1]]))


def caption(frame):
    """The one sentence that says all of a frame."""
    background, items = frame.background, list_objects(frame)
    if is_foreign(frame):
        return UNKNOWN_CAPTION
    if frame.text and frame.text.is_clock:
        return f'A clock that shows {frame.text.string} {lay_on(background)}.'
    if frame.text:
        return f'The text "{frame.text.string}" {lay_on(background)}.'
    if len(items) == 1:
        item = items[0]
        where = words.PLACE_PHRASES[item.place]
        return f'{capitalise(add_article(say_coloured(frame, item)))} {lay_on(background)}, {item.size}, {where}.'
    if items:
        phrases = [f'a {item.size} {item.colour} {item.name} {words.PLACE_PHRASES[item.place]}' for item in items]
        return f'{capitalise(join(phrases))}, {lay_on(background)}.'
    if background.kind == 'pattern':
        return f'The {background.pattern} test pattern: {words.PATTERNS[background.pattern]}.'
    return name_empty(background)


# --- topics ---

def is_foreign(frame):
    """Whether nothing of a frame was taught, except perhaps the background's colour."""
    return frame.kind == 'unknown'


def hides_more(frame):
    """Whether something that was not taught is behind what was."""
    return is_foreign(frame) or frame.background.kind == 'unknown' and not frame.thing


def say_yes(truth):
    return 'Yes.' if truth else 'No.'


def spell(rng, name):
    """A circle may be asked for as a ball."""
    return rng.choice(['ball', 'circle']) if name == 'circle' else name


def find(frame, name, colour='', size=''):
    """The objects that fit a description."""
    name = 'circle' if name == 'ball' else name
    return [item for item in list_objects(frame) if item.name == name and (not size or item.size == size)
            and (not colour or getattr(item, 'colour', colour) == colour)]


def refer(rng, frame, item, with_colour=True):
    """The words for an object that tell it from all others, or None."""
    choices = [('', ''), ('', ''), ('', item.size)]
    if with_colour and frame.shapes:
        choices += [(item.colour, ''), (item.colour, ''), (item.colour, ''), (item.colour, item.size)]
    rng.shuffle(choices)
    for colour, size in choices:
        if len(find(frame, item.name, colour, size)) == 1:
            return ' '.join(filter(None, [size, colour, spell(rng, item.name)]))
    return None


def invent(rng, frame, with_colour=True):
    """The words for an object that is not there, often nearly one that is; None where chance found none."""
    return next(filter(None, (invent_one(rng, frame, with_colour) for _ in range(6))), None)


def invent_one(rng, frame, with_colour):
    items = list_objects(frame)
    name, colour, size = rng.choice(words.SHAPES), rng.choice(words.COLOUR_NAMES), rng.choice(list(words.SIZES))
    if items and rng.random() < 0.7:
        model, changed = rng.choice(items), rng.randrange(3 if with_colour else 2)
        name = name if changed == 0 or frame.thing else model.name
        colour = colour if changed == 2 else getattr(model, 'colour', colour)
        size = size if changed == 1 else model.size
    if frame.thing and rng.random() < 0.7:
        name, colour = rng.choice(frames.DEFAULT[0].things), ''
    colour = colour if with_colour and rng.random() < 0.75 else ''
    size = size if rng.random() < 0.3 else ''
    return None if find(frame, name, colour, size) else ' '.join(filter(None, [size, colour, spell(rng, name)]))


def ask_caption(_, frame):
    return {}, caption(frame)


def ask_background(_, frame):
    background = frame.background
    if background.kind == 'graded':
        return {}, 'From {} to {}.'.format(*background.colours)
    if background.kind == 'pattern':
        return {}, f'It is the {background.pattern} test pattern.'
    return {}, capitalise(background.colours[0]) + '.' if background.colours else UNKNOWN_ANSWER


def ask_is_background(rng, frame):
    background = frame.background
    if background.kind not in ('plain', 'noisy', 'unknown'):
        return None
    is_true = bool(background.colours) and rng.random() < 0.5
    colour = background.colours[0] if is_true else rng.choice(words.COLOUR_NAMES)
    return {'x': colour}, say_yes(colour in background.colours) if background.colours else UNKNOWN_ANSWER


def ask_count(_, frame):
    return {}, UNKNOWN_ANSWER if hides_more(frame) else words.NUMBERS[len(list_objects(frame))] + '.'


def ask_is_there(rng, frame):
    items = list_objects(frame)
    if items and rng.random() < 0.5:
        item = rng.choice(items)
        colour = item.colour if frame.shapes and rng.random() < 0.75 else ''
        size = item.size if rng.random() < 0.3 else ''
        name = ' '.join(filter(None, [size, colour, spell(rng, item.name)]))
        return {'x': add_article(name)}, 'Yes.'
    name = invent(rng, frame)
    return name and ({'x': add_article(name)}, UNKNOWN_ANSWER if hides_more(frame) else 'No.')


def ask_colour(rng, frame):
    if frame.shapes and rng.random() < 0.85:
        item = rng.choice(frame.shapes)
        name = refer(rng, frame, item, with_colour=False)
        return name and ({'x': name}, capitalise(item.colour) + '.')
    name = None if frame.thing else invent(rng, frame, with_colour=False)
    return name and ({'x': name}, UNKNOWN_ANSWER if hides_more(frame) else f'There is no {name}.')


def ask_size(rng, frame):
    items = list_objects(frame)
    if not items:
        return None
    item = rng.choice(items)
    others = [other for other in items if other.name == item.name]
    if len(others) > 1 and len({getattr(other, 'colour', '') for other in others}) < len(others):
        return None
    colour = f'{item.colour} ' if len(others) > 1 or frame.shapes and rng.random() < 0.5 else ''
    return {'x': colour + spell(rng, item.name)}, capitalise(item.size) + '.'


def ask_where(rng, frame):
    items = list_objects(frame)
    if items and rng.random() < 0.8:
        item = rng.choice(items)
        name = refer(rng, frame, item)
        return name and ({'x': name}, capitalise(words.PLACE_PHRASES[item.place]) + '.')
    name = invent(rng, frame)
    return name and ({'x': name}, UNKNOWN_ANSWER if hides_more(frame) else f'There is no {name}.')


def ask_relation(rng, frame):
    if len(frame.shapes) < 2:
        return None
    first, second = rng.sample(frame.shapes, 2)
    relation = rng.choice(words.RELATIONS)
    across, down = (second.x - first.x) / frame.width, (second.y - first.y) / frame.height
    ahead = {'left of': across, 'right of': -across, 'above': down, 'below': -down}[relation]
    names = refer(rng, frame, first), refer(rng, frame, second)
    if abs(ahead) < 0.09 or None in names:
        return None
    return {'x': names[0], 'y': names[1], 'r': rng.choice(words.RELATION_WORDINGS[relation])}, say_yes(ahead > 0)


def covers_middle(item, row, column, frame):
    x, y = (column + 0.5) * frame.width / 3, (row + 0.5) * frame.height / 3
    return max(abs(item.x - x), abs(item.y - y)) < 0.5 * item.side + 0.03 * frame.height


def ask_place(rng, frame):
    items = list_objects(frame)
    row, column = rng.randrange(3), rng.randrange(3)
    if items and rng.random() < 0.7:
        place = rng.choice(items).place
    else:
        place = words.PLACES[row][column]
        if any(covers_middle(item, row, column, frame) for item in items):
            return None
    there = [f'{item.size} {say_coloured(frame, item)}' for item in items if item.place == place]
    if is_foreign(frame):
        answer = UNKNOWN_ANSWER
    elif frame.background.kind == 'unknown' and not there:
        return None
    else:
        answer = capitalise(join([add_article(name) for name in there])) + '.' if there else 'Nothing.'
    return {'p': words.PLACE_PHRASES[place]}, answer


def ask_text(_, frame):
    if frame.text:
        return {}, f'It says "{frame.text.string}".'
    return {}, UNKNOWN_ANSWER if is_foreign(frame) else 'There is no text.'


def ask_is_text(_, frame):
    return {}, UNKNOWN_ANSWER if is_foreign(frame) else say_yes(frame.text)


def read_string(frame):
    """The text of a frame, and none of a clock."""
    return frame.text.string if frame.text and not frame.text.is_clock else ''


def ask_character(rng, frame):
    string = read_string(frame)
    if not string:
        return None
    at = rng.randrange(len(string))
    is_last = at == len(string) - 1 and rng.random() < 0.5
    return {'n': 'last' if is_last else words.ORDINALS[at]}, string[at] + '.'


def ask_next(rng, frame):
    string = read_string(frame)
    once = [at for at, character in enumerate(string[:-1]) if string.count(character) == 1]
    if not once:
        return None
    at = rng.choice(once)
    return {'x': string[at]}, string[at + 1] + '.'


def ask_has_character(rng, frame):
    string = read_string(frame)
    if not string:
        return None
    character = rng.choice(string if rng.random() < 0.5 else words.CHARACTERS)
    return {'x': character}, say_yes(character in string)


def ask_length(_, frame):
    if frame.text:
        return {}, words.NUMBERS[len(read_string(frame))] + '.'
    return {}, UNKNOWN_ANSWER if is_foreign(frame) else 'There is no text.'


def ask_time(_, frame):
    if frame.text and frame.text.is_clock:
        return {}, frame.text.string + '.'
    return {}, UNKNOWN_ANSWER if is_foreign(frame) else 'There is no clock.'


def ask_pattern(_, frame):
    if is_foreign(frame) or frame.background.kind == 'unknown':
        return {}, UNKNOWN_ANSWER
    return {}, f'{frame.background.pattern}.' if frame.background.pattern else 'This is no test pattern.'


def ask_is_pattern(_, frame):
    is_hidden = is_foreign(frame) or frame.background.kind == 'unknown'
    return {}, UNKNOWN_ANSWER if is_hidden else say_yes(frame.background.pattern)


def ask_what(_, frame):
    items = list_objects(frame)
    if is_foreign(frame):
        return {}, UNKNOWN_ANSWER
    if len(items) == 1:
        return {}, capitalise(add_article(say_name(frame, items[0]))) + '.'
    return ({}, f'The {frame.background.pattern} test pattern.') if frame.kind == 'pattern' else None


def ask_largest(_, frame):
    if is_foreign(frame):
        return {}, UNKNOWN_ANSWER
    items = sorted(list_objects(frame), key=lambda item: -item.side)
    if not items or len(items) > 1 and items[0].side < 1.3 * items[1].side:
        return None
    return {}, capitalise(add_article(say_coloured(frame, items[0]))) + '.'


ASKERS = {name[4:]: function for name, function in list(globals().items()) if name.startswith('ask_')}


# --- prompts ---

def word_prompt(rng, topic, slots, plain=False):
    """One of a topic's wordings with its slots filled; the first where plain is set."""
    wordings = words.WORDINGS[topic]
    prompt = (wordings[0] if plain else rng.choice(wordings)).format(**slots)
    if plain:
        return prompt + (' ' + words.YES_NO[0] if topic in YES_NO_TOPICS else '')
    if rng.random() < 0.15:
        prompt = prompt.replace('centre', 'center').replace('grey', 'gray')
    if rng.random() < 0.06:
        prompt = rng.choice(words.POLITE) + prompt[0].lower() + prompt[1:]
    ending = rng.choice(words.YES_NO) if topic in YES_NO_TOPICS else ''
    return f'{prompt} {ending}' if ending else prompt


def ask(rng, frame, n, topics=None, plain=False):
    """n of (prompt, answer, topic), or fewer where a frame gives no more; topics: weights other than TOPICS'."""
    weights = dict(topics or TOPICS[frame.kind])
    asked, prompts = [], set()
    for _ in range(4 * n):
        if len(asked) == n or not weights:
            break
        topic = pick(rng, weights)
        made = ASKERS[topic](rng, frame)
        if not made:
            continue
        prompt = word_prompt(rng, topic, made[0], plain)
        if prompt not in prompts:
            asked.append((prompt, made[1], topic))
            prompts.add(prompt)
        if topic not in REPEATABLE:
            del weights[topic]
    return asked
