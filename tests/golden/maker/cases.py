# SPDX-License-Identifier: LGPL-2.1-or-later
"""What each checkpoint is asked."""

from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

from transformers.models.mllama import image_processing_pil_mllama as imaging

CAT, COFFEE, GREY, ALPHA = 'cat.ppm', 'coffee.ppm', 'camera.pgm', 'astronaut.pam'


@dataclass(frozen=True)
class Picture:
    file: str
    crop: list  # x, y, width, height


@dataclass(frozen=True)
class Case:
    name: str
    text: str
    kind: str = 'processed'  # as MllamaProcessor takes it; 'raw'; 'chat': one message of the user, text as it stands
    pictures: list = field(default_factory=list)
    max_tokens: int = 16
    penalty: float = 1.0
    ignore_eos: bool = False
    stops_at: int = -1  # the id drawn at this step is made a stop id
    with_hidden: bool = False  # record the last hidden states
    with_loss: bool = False


def scale(size, *sides):
    return [max(1, round(side * size)) for side in sides]


def fit_exactly(image_height, image_width, canvas_height, canvas_width, tile_size):
    """transformers' get_image_size_fit_to_canvas () in fractions, where it computes in doubles."""
    height, width = min(max(image_height, tile_size), canvas_height), min(max(image_width, tile_size), canvas_width)
    scale_h, scale_w = Fraction(int(height), image_height), Fraction(int(width), image_width)
    if scale_w < scale_h:
        return min(floor(image_height * scale_w) or 1, height), width
    return height, min(floor(image_width * scale_h) or 1, width)


def find_odd_crop(shape, max_width, max_height):
    """A picture whose resized size is not what fractions would give."""
    for width in range(shape.image_size, max_width + 1):
        for height in range(1, max_height + 1):
            canvas = imaging.get_optimal_tiled_canvas(height, width, shape.max_num_tiles, shape.image_size)
            arguments = (height, width, *canvas, shape.image_size)
            if imaging.get_image_size_fit_to_canvas(*arguments) != fit_exactly(*arguments):
                return [0, 0, width, height]
    return None


def make_pictures(shape):
    """Pictures that fill one tile, two side by side, two one above the other, and all, as far as the shape has them."""
    side, n = shape.image_size, shape.max_num_tiles
    small = Picture(CAT, [30, 20, *scale(side, 0.8, 0.9)])
    wide = Picture(COFFEE, [2, 3, *scale(side, 1.6, 0.75)]) if n >= 2 else Picture(COFFEE, [2, 3, 90, 40])
    high = Picture(CAT, [70, 1, *scale(side, 0.7, 1.5)]) if n >= 2 else Picture(CAT, [70, 1, 30, 90])
    return small, wide, high


def make_cases(shape):
    if not shape.has_vision:
        return make_text_cases(shape)
    small, wide, high = make_pictures(shape)
    whole = Picture(CAT, [0, 0, 128, 96])
    grey, alpha = Picture(GREY, [0, 0, 72, 72]), Picture(ALPHA, [0, 0, 80, 80])
    cases = [
        Case('one_tile', '<|image|>A small picture of', pictures=[small], max_tokens=24, with_hidden=True, with_loss=True),
        Case('tiles_side_by_side', '<|image|>The picture shows', pictures=[wide]),
        Case('tiles_one_above_the_other', '<|image|>The picture shows', pictures=[high]),
        Case('a_large_picture', '<|image|>What is in the picture?', pictures=[whole]),
        Case('a_grey_picture', '<|image|>An old photo:', pictures=[grey]),
        Case('a_picture_with_alpha', '<|image|>Before the window', pictures=[alpha]),
        Case('adjacent_pictures', '<|image|><|image|>Two pictures', pictures=[small, high]),
        Case('pictures_apart', '<|image|>The first, <|image|>and the second', pictures=[wide, small]),
        Case('pictures_adjacent_and_apart', 'Look: <|image|><|image|>these two, <|image|>and this',
             pictures=[small, wide, high], with_loss=True, max_tokens=8),
        Case('a_late_picture', 'There is nothing in this picture <|image|>but the light', pictures=[high]),
        Case('pictures_at_the_end', 'The street, <|image|>and then <|image|><|image|>', pictures=[small, high, wide]),
        Case('a_raw_prompt', '<|begin_of_text|>A cup <|image|>of coffee 2024', kind='raw', pictures=[wide]),
        Case('a_question', "How many people can you see? It's <|eot_id|>", kind='chat', pictures=[whole], max_tokens=32),
        Case('a_stop_id', '<|image|>A cat lies on the sofa', pictures=[small], stops_at=5),
        Case('one_token', '<|image|>Is anyone there?', pictures=[wide], max_tokens=1),
        Case('without_eos', '<|image|>A small picture of', pictures=[small], max_tokens=24, ignore_eos=True),
    ]
    if shape.max_num_tiles > 1:
        height = 128 // shape.max_num_tiles
        strip = Picture(CAT, [0, min(40, 96 - height), 128, height])
        cases.append(Case('all_tiles_in_a_row', '<|image|>The light of the evening', pictures=[strip], max_tokens=8))
    odd = find_odd_crop(shape, 128, 96)
    if odd:
        cases.append(Case('a_size_that_needs_doubles', '<|image|>A strip', pictures=[Picture(CAT, odd)], max_tokens=8))
    if shape.extra_head_rows:
        cases.append(Case('a_penalty', '<|image|>The first picture shows the', pictures=[small], penalty=1.3))
    if shape.has_long_case:
        cases.append(make_long_case(wide, small))
    return cases + make_text_cases(shape)


def make_long_case(first, second):
    from .bpe import TEXT
    text = '<|image|>' + TEXT + '\n' + TEXT[:700] + '<|image|>' + TEXT[200:900]
    return Case('a_long_prompt', text, pictures=[first, second], max_tokens=12)


def make_text_cases(shape):
    cases = [
        Case('text_alone', 'What is in the morning light', max_tokens=24, with_hidden=not shape.has_vision,
             with_loss=True),
        Case('text_alone_with_a_penalty', 'The cat and the coffee and the cat', penalty=1.2),
    ]
    if not shape.has_vision:
        cases += [
            Case('a_question', "Is anyone there? It's 1000 <|end_of_text|>\n", kind='chat', max_tokens=32),
            Case('a_raw_prompt', '<|begin_of_text|>Größe, café', kind='raw', with_loss=True),
            Case('a_stop_id', 'There is nothing in', stops_at=4),
            Case('without_eos', 'What is in the morning light', max_tokens=32, ignore_eos=True),
            Case('one_token', 'red, green, blue', max_tokens=1),
        ]
    return cases
