# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pictures of the cases: netpbm files (PGM, PPM, PAM), which the C test reads too, and crops of them."""

import numpy as np
from PIL import Image

MODES = {1: 'L', 3: 'RGB', 4: 'RGBA'}


def write_picture(path, image):
    """Writes a picture of mode L, RGB or RGBA as binary PGM, PPM or PAM."""
    width, height = image.size
    header = {
        'L': f'P5\n{width} {height}\n255\n',
        'RGB': f'P6\n{width} {height}\n255\n',
        'RGBA': f'P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n',
    }[image.mode]
    path.write_bytes(header.encode() + image.tobytes())


def read_pam(data):
    header, pixels = data.split(b'ENDHDR\n', 1)
    fields = dict(line.split(b' ', 1) for line in header.splitlines()[1:])
    shape = [int(fields[name]) for name in (b'HEIGHT', b'WIDTH', b'DEPTH')]
    return np.frombuffer(pixels, np.uint8).reshape(shape)


def read_picture(path, crop=None):
    """The picture, or its part crop = [x, y, width, height]."""
    data = path.read_bytes()
    if data.startswith(b'P7'):
        array = read_pam(data)
        image = Image.fromarray(array)
    else:
        image = Image.open(path)
        image.load()
    if crop:
        x, y, width, height = crop
        assert x + width <= image.width and y + height <= image.height, f'{path}: crop {crop} of {image.size}'
        image = image.crop((x, y, x + width, y + height))
    return image


def make_pictures(source, target):
    """Makes the pictures from the photos of scikit-image (all of them CC0 or in the public domain)."""
    cat = Image.open(source / 'chelsea.png').convert('RGB').crop((60, 0, 444, 288)).resize((128, 96), Image.LANCZOS)
    write_picture(target / 'cat.ppm', cat)
    coffee = Image.open(source / 'coffee.png').convert('RGB').crop((60, 20, 540, 380)).resize((96, 72), Image.LANCZOS)
    write_picture(target / 'coffee.ppm', coffee)
    camera = Image.open(source / 'camera.png').convert('L').resize((72, 72), Image.LANCZOS)
    write_picture(target / 'camera.pgm', camera)
    astronaut = Image.open(source / 'astronaut.png').convert('RGB').crop((96, 0, 352, 256)).resize((80, 80), Image.LANCZOS)
    y, x = np.mgrid[0:80, 0:80]
    alpha = np.clip(400 - 9 * np.hypot(x - 40, y - 36), 0, 255).astype(np.uint8)
    write_picture(target / 'astronaut.pam', Image.fromarray(np.dstack([np.asarray(astronaut), alpha])))
