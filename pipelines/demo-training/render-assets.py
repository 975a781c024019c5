#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Renders what the training scenes are composed of (things, glyphs, patterns, pictures) into a folder of .npz files.

Everything is drawn by GStreamer and seeded: the same packages give the same bytes. On Debian 12:

  apt-get install --no-install-recommends $(pipelines/demo-training/render-assets.py --packages)
  pipelines/demo-training/fetch-pictures.sh
  /usr/bin/python3 pipelines/demo-training/render-assets.py
"""

import argparse
from pathlib import Path
from zipfile import ZIP_LZMA, ZipFile, ZipInfo

PACKAGES = """
python3-gi python3-numpy python3-pil gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
gstreamer1.0-plugins-bad gstreamer1.0-x unicode-data fonts-noto-color-emoji
fonts-cantarell fonts-comfortaa fonts-crosextra-caladea fonts-crosextra-carlito fonts-dejavu fonts-firacode
fonts-freefont-ttf fonts-hack fonts-inconsolata fonts-lato fonts-liberation fonts-linuxlibertine fonts-noto-core
fonts-noto-mono fonts-open-sans fonts-roboto-unhinted fonts-urw-base35
"""
KINDS = ('things', 'glyphs', 'patterns', 'pictures')


def make(kind) -> dict:
    """Imported on demand: --packages must run before the packages are there."""
    module = __import__(kind)
    return getattr(module, f'make_{kind}')()


def describe(name):
    entry = ZipInfo(f'{name}.npy')
    entry.compress_type = ZIP_LZMA
    return entry


def save(path, arrays):
    """As numpy.savez, and read back by numpy.load, but packed by LZMA, a third smaller than it knows to; no times are kept."""
    import numpy as np
    with ZipFile(path, 'w', ZIP_LZMA) as archive:
        for name, array in arrays.items():
            with archive.open(describe(name), 'w') as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=Path(__file__).resolve().parents[2] / 'build' / 'demo-assets',
                        help='(default: build/demo-assets in the checkout)')
    parser.add_argument('--only', nargs='+', choices=KINDS, default=KINDS)
    parser.add_argument('--packages', action='store_true', help='print the Debian packages this needs, and stop')
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if arguments.packages:
        print(' '.join(PACKAGES.split()))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    for kind in arguments.only:
        path = arguments.out / f'{kind}.npz'
        save(path, make(kind))
        print(f'{path}: {path.stat().st_size / 1e6:.1f} MB', flush=True)


if __name__ == '__main__':
    main()
