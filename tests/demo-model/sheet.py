# SPDX-License-Identifier: LGPL-2.1-or-later
"""An overview of frames for the eye: small copies side by side, each with a line below."""

from pathlib import Path

import cairo
import numpy as np

CELL, LINE, COLUMNS = 230, 26, 6


def draw_cell(context, picture, note, left, top):
    height, width = picture.shape[:2]
    scale = min(CELL / width, CELL / height)
    surface = cairo.ImageSurface.create_for_data(np.ascontiguousarray(picture), cairo.FORMAT_RGB24, width, height)
    context.save()
    context.translate(left, top)
    context.scale(scale, scale)
    context.set_source_surface(surface)
    context.get_source().set_filter(cairo.FILTER_GOOD)
    context.paint()
    context.restore()
    context.set_source_rgb(0, 0, 0)
    for number, part in enumerate((note[:46], note[46:92])):
        context.move_to(left, top + CELL + 10 + 11 * number)
        context.show_text(part)


def write_sheet(path, pictures, most=60):
    """pictures: (picture, note). Spread over all of them if there are more than fit."""
    chosen = pictures[::max(1, len(pictures) // most)][:most]
    rows = -(-len(chosen) // COLUMNS)
    surface = cairo.ImageSurface(cairo.FORMAT_RGB24, COLUMNS * (CELL + 6), rows * (CELL + LINE))
    context = cairo.Context(surface)
    context.set_source_rgb(0.9, 0.9, 0.9)
    context.paint()
    context.set_font_size(9)
    for number, (picture, note) in enumerate(chosen):
        draw_cell(context, picture, note, number % COLUMNS * (CELL + 6), number // COLUMNS * (CELL + LINE))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    surface.write_to_png(str(path))
