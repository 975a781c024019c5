# SPDX-License-Identifier: LGPL-2.1-or-later
"""videotestsrc's test patterns at many frame sizes, reduced to the model's canvas as the engine does it.

Left out: black, white, red, green, blue, solid-color and blink, whose frames are of one plain colour; snow and ball, which
are made anew for every scene. The zone plates are plain too unless told to curve, so they are.
"""

import numpy as np
from PIL import Image

from rendering import render
from tiles import plan

# The common ones of cameras and of examples, portrait ones, one wide, one odd.
SIZES = ((160, 120), (176, 144), (200, 200), (240, 320), (320, 240), (333, 251), (352, 288), (400, 200), (426, 240), (480, 360),
         (480, 480), (480, 640), (640, 200), (640, 360), (640, 480), (720, 576), (720, 1280), (800, 600), (854, 480), (1024, 768),
         (1080, 1080), (1080, 1920), (1280, 544), (1280, 720), (1920, 800), (1920, 1080))
# As in RGB pipelines, and as in those of cameras and decoders, where colours are rounded and edges softened.
FORMATS = ('RGB', 'I420')
STILL = ('smpte', 'checkers-1', 'checkers-2', 'checkers-4', 'checkers-8', 'smpte75', 'gamut', 'smpte100', 'gradient',
         'smpte-rp-219')
GREY = ('circular',)  # the same in every format
SCROLLING = ('bar', 'pinwheel', 'spokes')
ZONES = ('zone-plate', 'chroma-zone-plate')
# Of those that pack badly: the sizes that they are drawn at in both formats, or twice.
TWICE = ((320, 240), (640, 480), (1280, 720), (1920, 1080))


def curve(rng):
    return f'kx2={rng.integers(10, 33)} ky2={rng.integers(10, 33)} kt={rng.integers(0, 5)}'


def list_variants(rng, pattern, size):
    """(format, properties, frame) of each picture of a pattern at one size."""
    if pattern in ZONES:
        return [(rng.choice(FORMATS), curve(rng), int(rng.integers(0, 20))) for _ in range(1 + (size in TWICE))]
    if pattern == 'colors':
        return [(layout, '', 0) for layout in (FORMATS if size in TWICE else [rng.choice(FORMATS)])]
    if pattern in SCROLLING:
        return [('RGB', '', 0), (rng.choice(FORMATS), f'horizontal-speed={rng.integers(1, 5)}', int(rng.integers(1, 20)))]
    return [(layout, '', i) for i, layout in enumerate(FORMATS[:1] if pattern in GREY else FORMATS)]


def fit_canvas(frame):
    place = plan(frame.shape[1], frame.shape[0])
    return np.asarray(Image.fromarray(frame).resize((place.width, place.height), Image.Resampling.BILINEAR))


def draw_pattern(pattern, width, height, variant):
    layout, properties, frame = variant
    source = f'videotestsrc pattern={pattern} {properties} ! video/x-raw,format={layout},width={width},height={height}'
    return fit_canvas(render(source, keep=(frame,))[0])


def make_patterns() -> dict:
    """{"pattern/WxH/i": uint8 [h][w][3], of the size that a WxH frame has on the canvas}"""
    rng = np.random.default_rng(4)
    return {f'{pattern}/{width}x{height}/{i}': draw_pattern(pattern, width, height, variant)
            for pattern in STILL + GREY + SCROLLING + ZONES + ('colors',) for width, height in SIZES
            for i, variant in enumerate(list_variants(rng, pattern, (width, height)))}
