# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads Qt's binary resources (.rcc), in which some packages keep their pictures: a tree of names over a heap of files."""

import struct
import zlib

FOLDER, COMPRESSED = 2, 1


class Resources:
    def __init__(self, path):
        self.bytes = path.read_bytes()
        magic, version, self.tree, self.data, self.names = struct.unpack_from('>4sIIII', self.bytes)
        if magic != b'qres':
            raise ValueError(f'{path}: no Qt resources')
        self.node_bytes = 14 if version < 2 else 22
        self.files = dict(self.walk(0, ''))

    def read_name(self, offset):
        at = self.names + offset
        length, = struct.unpack_from('>H', self.bytes, at)
        return self.bytes[at + 6:at + 6 + 2 * length].decode('utf-16-be')

    def read_file(self, offset, flags):
        at = self.data + offset
        length, = struct.unpack_from('>I', self.bytes, at)
        content = self.bytes[at + 4:at + 4 + length]
        return zlib.decompress(content[4:]) if flags & COMPRESSED else content

    def walk(self, number, folder):
        """(path, content) of each file below a node; node 0 is the root, which has no name."""
        at = self.tree + number * self.node_bytes
        name, flags = struct.unpack_from('>IH', self.bytes, at)
        path = f'{folder}/{self.read_name(name)}' if number else ''
        if not flags & FOLDER:
            yield path, self.read_file(struct.unpack_from('>I', self.bytes, at + 10)[0], flags)
            return
        count, first = struct.unpack_from('>II', self.bytes, at + 6)
        for child in range(first, first + count):
            yield from self.walk(child, path)
