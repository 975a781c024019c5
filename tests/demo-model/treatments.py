# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happens to a frame on its way to the element, and must not change the answer."""

from media import make_picture, read_samples, to_sample

LAYOUTS = ('BGRx', 'RGB', 'RGBA', 'I420', 'NV12', 'YUY2')


def convert(picture, layout):
    """The picture's sample in another layout of pixels. Those with fewer samples of colour want even sides."""
    if layout in ('I420', 'NV12', 'YUY2'):
        height, width = (side & ~1 for side in picture.shape[:2])
        picture = picture[:height, :width]
    return next(read_samples(f'videoconvert ! video/x-raw,format={layout}', to_sample(picture)))


def compress(picture, quality):
    """As JPEG, and back."""
    return next(read_samples(f'jpegenc quality={quality} ! jpegdec', to_sample(picture)))


def scale(picture, factor):
    height, width = (max(16, round(side * factor)) for side in picture.shape[:2])
    return make_picture(f'videoscale ! video/x-raw,width={width},height={height},pixel-aspect-ratio=1/1',
                        to_sample(picture))


def treat(rng, picture, coarse=True):
    """(sample, what was done). Fine patterns are left at their size, since scaling makes others of them."""
    draw = rng.random()
    height, width = picture.shape[:2]
    if coarse and draw < 0.15 and 240 <= min(width, height):
        factor = rng.uniform(0.65, 0.95)
        return to_sample(scale(picture, factor)), f'scaled by {factor:.2f}'
    if draw < 0.4:
        quality = int(rng.integers(75, 96))
        return compress(picture, quality), f'jpeg {quality}'
    layout = LAYOUTS[int(rng.integers(len(LAYOUTS)))]
    return convert(picture, layout), layout
