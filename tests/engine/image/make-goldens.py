#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes the goldens of this folder: what Pillow, transformers and a reading of engine/src/image-row.h in numpy give.

Pictures are not stored. Both sides make them from a hash of the byte's index (noise below, and in
../test-image-data.h), and compare CRC32s. Needs numpy, transformers >= 5 and Pillow >= 13, whose order of passes is the
engine's default."""

import random
import zlib
from pathlib import Path

import numpy as np
import PIL
from PIL import Image
from transformers.models.mllama import image_processing_pil_mllama as hf

HERE = Path(__file__).parent
TILE_SIZES = [16, 50, 56, 224, 448, 560]
TILE_COUNTS = [1, 2, 3, 4, 6, 9]


def noise(count, seed):
    x = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed * 40503 & 0xFFFFFFFF)
    x ^= x >> np.uint32(15)
    x *= np.uint32(2246822519)
    x ^= x >> np.uint32(13)
    return (x & np.uint32(255)).astype(np.uint8)


def crc(array):
    return f'{zlib.crc32(np.ascontiguousarray(array).tobytes()):08x}'


def write(name, columns, rows):
    lines = [f'# made by make-goldens.py: {columns}'] + [' '.join(str(field) for field in row) for row in rows]
    (HERE / name).write_text('\n'.join(lines) + '\n', encoding='utf-8')


# plans.txt


def make_plan(size, tiles, width, height):
    canvas = hf.get_optimal_tiled_canvas(height, width, tiles, size)
    new_height, new_width = hf.get_image_size_fit_to_canvas(height, width, *canvas, size)
    rows, columns = (int(side) // size for side in canvas)
    ratio_id = hf.get_all_supported_aspect_ratios(tiles).index((rows, columns)) + 1
    return size, tiles, width, height, ratio_id, rows, columns, int(new_width), int(new_height)


def find_uneven_square(size):
    """Side of a square for which both scales are equal, and side * scale rounds to less than the tile."""
    return next(side for side in range(size + 1, 65536) if int(side * (size / side)) < size)


def make_plans():
    generator = random.Random(32)
    yield from (make_plan(size, 1, side, side) for size in TILE_SIZES for side in [find_uneven_square(size)])
    yield from (make_plan(560, 4, *sizes) for sizes in ((546, 390), (332, 415), (462, 539)))  # spec 3.4: in double only
    for size in TILE_SIZES:
        for tiles in TILE_COUNTS:
            fixed = [(1, 1), (1, 10000), (10000, 1), (65535, 65535), (65535, 1), (1, 65535), (size, size),
                     (size + 1, size), (2 * size, size), (size, 3 * size), (16384, 16384)]
            drawn = [tuple(int(2**generator.uniform(0, 12)) for _ in range(2)) for _ in range(4)]
            yield from (make_plan(size, tiles, *sizes) for sizes in fixed + drawn)


# resizes.txt


def make_resizes():
    generator = random.Random(33)
    fixed = [(7, 5, 7, 5), (7, 5, 7, 11), (7, 5, 3, 5), (1, 1, 9, 9), (64, 48, 1, 1), (333, 222, 111, 74),
             (37, 200, 20, 100), (10, 200, 30, 60), (2, 400, 1, 4), (1, 10000, 1, 56), (10000, 1, 56, 1),
             (200, 100, 20, 57)]
    for resample in range(6):
        drawn = [tuple(int(2**generator.uniform(0, 8)) for _ in range(4)) for _ in range(12)]
        for width, height, new_width, new_height in fixed + drawn:
            picture = Image.fromarray(noise(width * height * 3, resample).reshape(height, width, 3))
            resized = np.array(picture.resize((new_width, new_height), resample))
            # Two calls with one pass each: the order of Pillow before 12.2.
            across = np.array(picture.resize((new_width, height), resample).resize((new_width, new_height), resample))
            yield resample, width, height, new_width, new_height, crc(resized), crc(across)


# pixels.txt


def make_picture(mode, width, height, seed):
    channels = {'RGB': 3, 'RGBA': 4, 'L': 1}[mode]
    array = noise(width * height * channels, seed).reshape(height, width, channels)
    return Image.fromarray(array[..., 0] if mode == 'L' else array, mode=mode)


def process(picture, **options):
    processor = hf.MllamaImageProcessorPil(**options)
    out = processor(picture, return_tensors='np')
    n_tiles = out['num_tiles'][0][0]
    return int(out['aspect_ratio_ids'][0, 0]), n_tiles, out['pixel_values'][0, 0, :n_tiles]


def make_pixels():
    generator = random.Random(34)
    clip = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    base = {'size': 56, 'tiles': 4, 'resample': 2, 'rescale': 1, 'factor': 1 / 255, 'normalize': 1, 'mean': clip[0],
            'std': clip[1]}
    changes = [{}, {'size': 50}, {'size': 16, 'tiles': 9}, {'tiles': 1}, {'tiles': 2}, {'tiles': 6}, {'rescale': 0},
               {'normalize': 0}, {'rescale': 0, 'normalize': 0},
               {'factor': 1 / 127.5, 'mean': [1.0] * 3, 'std': [1.0] * 3},
               {'factor': 0.003, 'mean': [0.1, 0.2, 0.3], 'std': [0.5, 2.0, 0.25]}]
    changes += [{'resample': resample} for resample in range(6)]
    for change in changes:
        for mode in ('RGB', 'RGBA', 'L'):
            o = base | change
            width, height, seed = generator.randint(1, 200), generator.randint(1, 200), generator.randint(0, 999)
            ratio_id, n_tiles, values = process(
                make_picture(mode, width, height, seed), size={'height': o['size'], 'width': o['size']},
                max_image_tiles=o['tiles'], resample=o['resample'], do_rescale=bool(o['rescale']),
                rescale_factor=o['factor'], do_normalize=bool(o['normalize']), image_mean=o['mean'], image_std=o['std'])
            yield (o['size'], o['tiles'], o['resample'], o['rescale'], repr(o['factor']), o['normalize'], *o['mean'],
                   *o['std'], mode, width, height, seed, ratio_id, n_tiles, crc(values.astype('<f4')))


# formats.txt


KR_KB = {1: (0.299, 0.114), 2: (0.2126, 0.0722), 3: (0.2627, 0.0593)}
PACKED = {'RGB': 'RGB', 'BGR': 'BGR', 'RGBA': 'RGBA', 'BGRA': 'BGRA', 'ARGB': 'ARGB', 'ABGR': 'ABGR', 'RGBx': 'RGBx',
          'BGRx': 'BGRx', 'xRGB': 'xRGB', 'xBGR': 'xBGR'}


def fixed_weights(matrix, full):
    kr, kb = KR_KB[matrix]
    kg = 1 - kr - kb
    chroma = 1 if full else 255 / 224
    weights = [1 if full else 255 / 219, 2 * chroma * (1 - kr), -2 * chroma * (1 - kb) * kb / kg,
               -2 * chroma * (1 - kr) * kr / kg, 2 * chroma * (1 - kb)]
    return [round(weight * 65536) for weight in weights]


def yuv_to_rgb(y, u, v, matrix, full):
    gain, v_to_r, u_to_g, v_to_g, u_to_b = fixed_weights(matrix, full)
    y, u, v = (plane.astype(np.int64) for plane in (y, u, v))
    luma, u, v = gain * (y - (0 if full else 16)), u - 128, v - 128
    colors = [luma + v_to_r * v, luma + u_to_g * u + v_to_g * v, luma + u_to_b * u]
    return np.stack([np.clip((color + 32768) >> 16, 0, 255) for color in colors], -1).astype(np.uint8)


def upsample(plane, width, height, vertical):
    plane = np.repeat(plane, 2, 1)[:, :width]
    return np.repeat(plane, 2, 0)[:height] if vertical else plane


def convert_packed(name, width, height, seed):
    raw = noise(width * height * len(name), seed).reshape(height, width, len(name))
    channels = {letter: raw[..., i] for i, letter in enumerate(PACKED[name])}
    rgb = np.stack([channels[letter] for letter in 'RGB'], -1)
    if 'A' not in channels:
        return rgb
    picture = Image.fromarray(np.dstack([rgb, channels['A']]), 'RGBA')
    white = Image.new('RGBA', picture.size, (255, 255, 255, 255))
    return np.array(Image.alpha_composite(white, picture).convert('RGB'))


def read_yuv(name, width, height, seed):
    """Planes come one after the other, rows packed."""
    half_width, half_height = (width + 1) // 2, (height + 1) // 2
    if name == 'YUY2':
        raw = noise(4 * half_width * height, seed).reshape(height, half_width, 4)
        return (raw[..., 0::2].reshape(height, -1)[:, :width], upsample(raw[..., 1], width, height, False),
                upsample(raw[..., 3], width, height, False))
    luma = width * height
    raw = noise(luma + 2 * half_width * half_height, seed)
    if name == 'NV12':
        u, v = raw[luma:].reshape(half_height, half_width, 2).transpose(2, 0, 1)
    else:
        u, v = raw[luma:].reshape(2, half_height, half_width)
    return raw[:luma].reshape(height, width), upsample(u, width, height, True), upsample(v, width, height, True)


def convert_gray(width, height, seed, limited):
    gray = noise(width * height, seed).reshape(height, width)
    if limited:
        neutral = np.full_like(gray, 128)
        return yuv_to_rgb(gray, neutral, neutral, 1, False)
    return np.array(Image.fromarray(gray).convert('RGB'))


def make_formats():
    """matrix and range by their numbers in image.h: 0 is AUTO, ranges 1 full and 2 limited."""
    sizes = [(1, 1), (2, 2), (5, 3), (17, 9), (64, 2), (3, 720)]
    for number, (width, height) in enumerate(sizes):
        for name in PACKED:
            yield name, 0, 0, width, height, number, crc(convert_packed(name, width, height, number))
        for range_ in (0, 1, 2):
            yield 'GRAY8', 0, range_, width, height, number, crc(convert_gray(width, height, number, range_ == 2))
        for name in ('I420', 'NV12', 'YUY2'):
            for matrix in (0, 1, 2, 3):
                for range_ in (0, 1, 2):
                    used = matrix or (2 if height >= 720 else 1)
                    rgb = yuv_to_rgb(*read_yuv(name, width, height, number), used, range_ == 1)
                    yield name, matrix, range_, width, height, number, crc(rgb)


# large.txt


def make_large():
    """A grey picture of 16384 rows, all of them equal."""
    gray = Image.fromarray(np.broadcast_to(noise(16384, 7), (16384, 16384)).copy())
    resized = np.array(gray.resize((1120, 1120), 2))
    yield 16384, 560, crc(np.repeat(resized[..., None], 3, -1))


def main():
    if int(PIL.__version__.split('.')[0]) < 13:
        raise SystemExit(f'Pillow {PIL.__version__} has another order of passes; 13 or later is needed')
    write('plans.txt', 'size max_tiles width height id rows columns resized_width resized_height', make_plans())
    write('resizes.txt', 'resample width height new_width new_height crc crc_horizontal_first', make_resizes())
    write('pixels.txt', 'size max_tiles resample do_rescale rescale_factor do_normalize mean*3 std*3 mode width height '
          'seed id n_tiles crc', make_pixels())
    write('formats.txt', 'format matrix range width height seed crc', make_formats())
    write('large.txt', 'side size crc_of_the_resized_rgb', make_large())


if __name__ == '__main__':
    main()
