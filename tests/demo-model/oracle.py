# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a perfect model says. The self-test reads these sentences back: if a set does not reach 100 % with them, the
fault is the evaluation's and not the model's."""

from reader import PLACES, choose_article

PHRASES = {place: phrase for phrase, place in PLACES.items()}
ROWS = ('top left', 'top', 'top right', 'left', 'centre', 'right', 'bottom left', 'bottom', 'bottom right')
NUMBER_WORDS = ('None', 'One', 'Two', 'Three')


def add_article(words):
    return f'{choose_article(words)} {words}'


def say_background(background):
    kind, *colours = background
    if kind == 'graded':
        return f'background graded from {colours[0]} to {colours[1]}'
    return f'{"noisy " if kind == "noisy" else ""}{colours[0]} background'


def say_colours(background):
    """The answer to what colour the background is."""
    kind, *colours = background
    return f'From {colours[0]} to {colours[1]}.' if kind == 'graded' else finish(colours[0])


def say_under(background):
    """What something is on or over."""
    if background[0] == 'unknown':
        return 'over something I cannot tell'
    if background[0] == 'pattern':
        return f'over the {background[1]} test pattern'
    return f'on {add_article(say_background(background))}'


def finish(sentence):
    return f'{sentence[0].upper()}{sentence[1:]}.'


def say_object(thing):
    colour, shape, size, place = thing
    return f'a {size} {colour} {shape} {PHRASES[place]}'


def say_scene(objects, background):
    """objects: (colour, shape, size, place)."""
    if not objects:
        return finish(f'an empty {say_background(background)}')
    if len(objects) == 1:
        colour, shape, size, place = objects[0]
        name = 'ball' if shape == 'circle' else shape
        return finish(f'{add_article(f"{colour} {name}")} {say_under(background)}, {size}, {PHRASES[place]}')
    *first, last = map(say_object, sorted(objects, key=lambda thing: ROWS.index(thing[3])))
    return finish(f'{", ".join(first)} and {last}, {say_under(background)}')


def say_thing(name, background, size, place):
    return finish(f'{add_article(name)} {say_under(background)}, {size}, {PHRASES[place]}')


def say_text(text, background):
    return finish(f'the text "{text}" {say_under(background)}')


def say_clock(shown, background):
    return finish(f'a clock that shows {shown} {say_under(background)}')


def say_pattern(name):
    return f'The {name} test pattern: as it is.'


def say_yes(truth):
    return 'Yes.' if truth else 'No.'


def say_number(count):
    return f'{NUMBER_WORDS[count]}.'
