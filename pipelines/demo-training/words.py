# SPDX-License-Identifier: LGPL-2.1-or-later
"""The words of the demo model: what is seen, what it is called, and how it may be asked for. One table each.

Whoever draws a scene for the model, or reads a caption back, takes the words and their bounds from here.
"""

# --- colours ---

# Name -> (hue in degrees, saturation, value) boxes, as ranges, with a weight. Whatever lies between two names (magenta,
# teal, silver, dark red) lies in no box: it is never drawn, because no single word for it would be right.
COLOURS = {
    'red': [(8, (-7, 7), (0.86, 1.0), (0.72, 1.0)), (1, (346, 352), (0.88, 1.0), (0.82, 0.95))],
    'green': [(6, (98, 138), (0.62, 1.0), (0.36, 1.0)), (2, (115, 125), (0.7, 1.0), (0.36, 1.0))],
    'blue': [(6, (214, 246), (0.62, 1.0), (0.45, 1.0)), (2, (236, 243), (0.9, 1.0), (0.5, 1.0))],
    'yellow': [(1, (51, 62), (0.72, 1.0), (0.86, 1.0))],
    'white': [(1, (0, 360), (0.0, 0.035), (0.93, 1.0))],
    'black': [(1, (0, 360), (0.0, 0.3), (0.0, 0.075))],
    'orange': [(1, (23, 38), (0.85, 1.0), (0.9, 1.0))],
    'purple': [(3, (269, 288), (0.55, 1.0), (0.45, 0.9)), (2, (288, 301), (0.7, 1.0), (0.42, 0.6))],
    'pink': [(2, (322, 340), (0.3, 0.92), (0.96, 1.0)), (2, (340, 353), (0.22, 0.45), (0.96, 1.0))],
    'cyan': [(1, (175, 188), (0.68, 1.0), (0.8, 1.0))],
    'brown': [(5, (12, 29), (0.58, 0.88), (0.34, 0.58)), (1, (0, 6), (0.7, 0.78), (0.56, 0.66))],
    'grey': [(1, (0, 360), (0.0, 0.045), (0.38, 0.7))],
}
# The exact values people type: videotestsrc's and those of CSS.
USUAL_COLOURS = {
    'red': [(255, 0, 0), (255, 0, 0), (220, 20, 60)],
    'green': [(0, 255, 0), (0, 255, 0), (0, 128, 0), (50, 205, 50), (34, 139, 34)],
    'blue': [(0, 0, 255), (0, 0, 255), (0, 0, 255), (65, 105, 225), (0, 0, 139)],
    'yellow': [(255, 255, 0), (255, 255, 0), (255, 215, 0)],
    'white': [(255, 255, 255)],
    'black': [(0, 0, 0)],
    'orange': [(255, 165, 0), (255, 165, 0), (255, 140, 0), (255, 128, 0)],
    'purple': [(128, 0, 128), (128, 0, 128), (138, 43, 226), (148, 0, 211)],
    'pink': [(255, 192, 203), (255, 192, 203), (255, 105, 180), (255, 182, 193), (255, 20, 147)],
    'cyan': [(0, 255, 255), (0, 255, 255), (0, 206, 209)],
    'brown': [(165, 42, 42), (139, 69, 19), (139, 69, 19), (160, 82, 45)],
    'grey': [(128, 128, 128), (128, 128, 128), (169, 169, 169), (105, 105, 105)],
}
COLOUR_NAMES = list(COLOURS)
USUAL_SHARE = 0.4  # of all colours drawn, those taken from USUAL_COLOURS
# Least distance between what is drawn and what it is drawn on; see frames.measure_distance.
MIN_COLOUR_DISTANCE = 120

# --- shapes, sizes, places ---

SHAPES = ['circle', 'square', 'triangle', 'star', 'diamond', 'heart', 'cross', 'ring', 'hexagon', 'rectangle']
# The longer side of a shape's upright bounding box over the shorter side of the frame.
SIZES = {'small': (0.10, 0.15), 'medium': (0.20, 0.28), 'large': (0.38, 0.50)}
# videotestsrc's ball has a radius of 20 pixels in every frame, which falls between the sizes above: bounds for it.
BALL_BOUNDS = (('small', 0.18), ('medium', 0.32), ('large', 9.0))
BALL_RADIUS = 20
# By row, then column, of the 3x3 cells of the frame; a shape is where its centre is.
PLACES = [
    ['top left', 'top', 'top right'],
    ['left', 'centre', 'right'],
    ['bottom left', 'bottom', 'bottom right'],
]
PLACE_PHRASES = {
    'top left': 'at the top left', 'top': 'at the top', 'top right': 'at the top right',
    'left': 'on the left', 'centre': 'in the centre', 'right': 'on the right',
    'bottom left': 'at the bottom left', 'bottom': 'at the bottom', 'bottom right': 'at the bottom right',
}
NUMBERS = ['None', 'One', 'Two', 'Three', 'Four', 'Five', 'Six', 'Seven', 'Eight']

# --- test patterns ---

# videotestsrc's nicks, and what is seen. Those of one plain colour (checkers-1 is none) are empty backgrounds.
PATTERNS = {
    'smpte': 'colour bars, with darker blocks and noise below',
    'snow': 'black and white noise',
    'checkers-1': 'red and green checks of one pixel',
    'checkers-2': 'red and green checks of two pixels',
    'checkers-4': 'small red and green checks',
    'checkers-8': 'red and green checks',
    'circular': 'black and white rings around the centre',
    'smpte75': 'seven dim colour bars',
    'zone-plate': 'grey waves that grow finer outwards',
    'gamut': 'stripes of black, white, red and blue',
    'chroma-zone-plate': 'coloured waves that grow finer outwards',
    'smpte100': 'seven bright colour bars',
    'bar': 'a white bar on black',
    'pinwheel': 'black and white wedges around the centre',
    'spokes': 'white spokes around the centre',
    'gradient': 'black at the top, white at the bottom',
    'colors': 'a grid of many colours',
    'smpte-rp-219': 'colour bars between grey edges, with ramps below',
}

# --- characters ---

CHARACTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
MAX_CHARACTERS = 8
ORDINALS = ['first', 'second', 'third', 'fourth', 'fifth', 'sixth', 'seventh', 'eighth']

# --- wordings ---

UNKNOWN_CAPTION = 'I cannot tell what this is.'
UNKNOWN_ANSWER = 'I cannot tell.'
UNKNOWN_BACKGROUND = 'something I cannot tell'

YES_NO = ['Answer yes or no.', 'Yes or no?', 'Answer with yes or no.', 'Say yes or no.', '', '']
# Before a question, which then begins in lower case; most have none.
POLITE = ['Please tell me: ', 'Tell me, ', 'Look at the picture: ', 'Can you tell me ', 'Question: ']

# The first wording of each topic is the plain one, used by evaluations. {x}: an object, such as "red star", or a character.
WORDINGS = {
    'caption': [
        'Describe the scene in one short sentence.',
        'Describe the picture in one sentence.',
        'Describe this image.',
        'Describe the scene.',
        'What is in this picture?',
        'What do you see?',
        'What can be seen here?',
        'Caption this image.',
        'Write a short caption.',
        'What does the image show?',
        'Please describe the picture briefly.',
        'Say in one sentence what you see.',
        'Describe the image in one short sentence.',
    ],
    'background': [
        'What colour is the background?',
        'What color is the background?',
        'Which colour does the background have?',
        'Which color is the background?',
        'Name the background colour.',
        'Tell me the colour of the background.',
        "What is the background's colour?",
        'What is the color of the background?',
        'Background colour?',
    ],
    'is_background': [
        'Is the background {x}?',
        'Is this a {x} background?',
        'Does the picture have a {x} background?',
        'Is {x} the colour of the background?',
        'Would you call the background {x}?',
    ],
    'count': [
        'How many objects are there?',
        'How many objects do you see?',
        'How many shapes are there?',
        'How many things are in the picture?',
        'Count the objects.',
        'How many shapes can you see?',
        'What is the number of objects?',
        'How many objects are in the scene?',
        'Count the shapes in this image.',
    ],
    'is_there': [
        'Is there {x}?',
        'Is there {x} in the picture?',
        'Do you see {x}?',
        'Can you see {x}?',
        'Does the image show {x}?',
        'Does the scene contain {x}?',
        'Is {x} visible?',
    ],
    'colour': [
        'What colour is the {x}?',
        'What color is the {x}?',
        'Which colour does the {x} have?',
        'Which color is the {x}?',
        'Name the colour of the {x}.',
        'Tell me the color of the {x}.',
    ],
    'size': [
        'What size is the {x}?',
        'How large is the {x}?',
        'How big is the {x}?',
        'Is the {x} small, medium or large?',
        'Tell me the size of the {x}.',
    ],
    'where': [
        'Where is the {x}?',
        'Where do you see the {x}?',
        'In which part of the picture is the {x}?',
        'Tell me where the {x} is.',
        'What is the position of the {x}?',
        'Where in the frame is the {x}?',
    ],
    'relation': [
        'Is the {x} {r} the {y}?',
        'Is the {x} placed {r} the {y}?',
        'Does the {x} lie {r} the {y}?',
        'Do you see the {x} {r} the {y}?',
        'Would you say that the {x} is {r} the {y}?',
    ],
    'place': [
        'What is {p}?',
        'What do you see {p}?',
        'Which object is {p}?',
        'What can be found {p}?',
        'Tell me what is {p}.',
        'What is there {p} of the picture?',
    ],
    'text': [
        'What does the text say?',
        'What is written there?',
        'Read the text.',
        'Which text do you see?',
        'What is the text in the picture?',
        'Read out what is written.',
        'What text is shown?',
        'Read the letters in this image.',
    ],
    'is_text': [
        'Is there text in the picture?',
        'Is there any text?',
        'Do you see text?',
        'Is anything written there?',
        'Does the image show any text?',
        'Are there letters or digits in the image?',
    ],
    'character': [
        'What is the {n} character?',
        'What is the {n} character of the text?',
        'Which letter or digit comes {n}?',
        'Read the {n} character.',
        'Name the {n} character of what is written.',
    ],
    'next': [
        'Which character comes after {x}?',
        'Which character follows {x} in the text?',
        'What is written right of {x}?',
        'Read the character behind {x}.',
        'What comes after {x}?',
    ],
    'has_character': [
        'Does the text contain {x}?',
        'Is {x} part of the text?',
        'Is {x} one of the characters?',
        'Do you see {x} in the text?',
        'Is {x} written there?',
    ],
    'length': [
        'How many characters does the text have?',
        'How long is the text?',
        'Count the characters.',
        'How many letters and digits are written there?',
        'What is the number of characters in the text?',
    ],
    'time': [
        'What time does the clock show?',
        'Which time is shown?',
        'What time is it?',
        'Read the clock.',
        'What does the clock say?',
        'Tell me the time on the clock.',
    ],
    'pattern': [
        'Which test pattern is this?',
        'What test pattern do you see?',
        'Name the test pattern.',
        'Which pattern is shown?',
        'What is the name of this test pattern?',
        'What pattern does videotestsrc show?',
    ],
    'is_pattern': [
        'Is this a test pattern?',
        'Do you see a test pattern?',
        'Is it a test pattern?',
        'Does the image show a test pattern?',
        'Is a test pattern shown?',
    ],
    'what': [
        'What object is this?',
        'What is this?',
        'What thing is this?',
        'Which object do you see?',
        'Name the object.',
        'What is the object called?',
        'Which thing is shown?',
    ],
    'largest': [
        'What is the largest object?',
        'Which object is the largest?',
        'What is the biggest object?',
        'Name the largest object.',
        'Which shape is the biggest?',
        'What is the biggest shape in the picture?',
    ],
}
RELATIONS = ['left of', 'right of', 'above', 'below']
RELATION_WORDINGS = {
    'left of': ['left of', 'to the left of', 'on the left of'], 'right of': ['right of', 'to the right of', 'on the right of'],
    'above': ['above', 'higher than', 'over'], 'below': ['below', 'lower than', 'under'],
}


def add_article(words):
    """The words after "a" or "an", as they are spoken: a star, an orange star, a unicorn, an hourglass."""
    is_vowel = words.startswith('hour') or words[0] in 'aeiou' and not words.startswith(('uni', 'eu', 'one'))
    return ('an ' if is_vowel else 'a ') + words


def capitalise(words):
    return words[0].upper() + words[1:]
