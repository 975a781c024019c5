# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of programs and pipelines share: places, ways to run things, and pictures."""

import json
import os
import re
import struct
import subprocess
import tempfile
import threading
import unittest
import zlib
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ['MLLAMA_BUILD_DIR'])
GOLDEN = SOURCE / 'tests' / 'golden'
PROGRAM = BUILD / 'pipelines' / 'mllama-caption'
SAMPLES = Path('/usr/share/forensics-samples/original-files')
TIMEOUT = 300  # seconds; under valgrind or sanitizers things take long


def make_environment(**changes):
    """As a shell has it that was told where the plugin is. None takes a variable away."""
    environment = dict(os.environ, GST_PLUGIN_PATH=str(BUILD / 'gst-plugin'), G_DEBUG='fatal-criticals')
    environment.update(changes)
    return {name: value for name, value in environment.items() if value is not None}


def run(*command, cwd=None, **changes):
    """Runs a command without terminal and input; its output is text."""
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=make_environment(**changes), stdin=subprocess.DEVNULL,
        capture_output=True, encoding='utf-8', errors='replace', timeout=TIMEOUT, check=False)


def run_good(*command, **options):
    result = run(*command, **options)
    if result.returncode != 0:
        raise AssertionError(f'{command} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}')
    return result


def caption_json(*arguments, **options):
    """Objects that mllama-caption --json prints."""
    result = run_good(PROGRAM, '--json', *arguments, **options)
    return [json.loads(line) for line in result.stdout.splitlines()]


def launch(line, **options):
    """gst-launch-1.0 with a line as in a shell."""
    return run_good('sh', '-c', f'exec gst-launch-1.0 {line}', **options)


def read_blocks(document):
    """(comment in front of it, kind, text) of every fenced block of a Markdown file."""
    return re.findall(r'(?:<!-- ([^\n]+) -->\n)?^```(\w*)\n(.*?)^```$', document.read_text(encoding='utf-8'),
                      re.DOTALL | re.MULTILINE)


def read_commands(document):
    """Every line of its blocks of commands, which are of kind "sh"."""
    return [line for _, kind, text in read_blocks(document) if kind == 'sh' for line in text.splitlines()]


def list_checkpoints():
    return sorted(path.parent for path in (GOLDEN / 'checkpoints').glob('*/config.json'))


def has_vision(checkpoint):
    return 'vision_config' in json.loads((checkpoint / 'config.json').read_text(encoding='utf-8'))


def find_checkpoint():
    """Any golden checkpoint that takes pictures."""
    return next(path for path in list_checkpoints() if has_vision(path))


def read_netpbm(path):
    """(width, height, channels, bytes) of a binary PGM, PPM or PAM file."""
    data = path.read_bytes()
    if data.startswith(b'P7'):
        head, pixels = data.split(b'ENDHDR\n', 1)
        fields = dict(line.split(b' ', 1) for line in head.splitlines()[1:] if b' ' in line)
        return int(fields[b'WIDTH']), int(fields[b'HEIGHT']), int(fields[b'DEPTH']), pixels
    head = re.match(rb'(P[56])\s+(\d+)\s+(\d+)\s+255\s', data)
    return int(head[2]), int(head[3]), {b'P5': 1, b'P6': 3}[head[1]], data[head.end():]


def crop(picture, left, top, width, height):
    full_width, _, channels, pixels = picture
    rows = (pixels[(y * full_width + left) * channels:][:width * channels] for y in range(top, top + height))
    return width, height, channels, b''.join(rows)


def write_png(path, picture):
    """A PNG of 8 bits a channel, without any loss."""
    width, height, channels, pixels = picture

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    colour_type = {1: 0, 3: 2, 4: 6}[channels]
    row_bytes = width * channels
    rows = b''.join(b'\0' + pixels[y * row_bytes:][:row_bytes] for y in range(height))
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, colour_type, 0, 0, 0))
                     + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


class Lines:
    """What a running program writes, line by line, to be waited for."""

    def __init__(self, stream):
        self.all = []
        self.n_passed = 0
        self.changed = threading.Condition()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream):
        for line in stream:
            with self.changed:
                self.all.append(line.rstrip('\n'))
                self.changed.notify_all()

    def wait_for(self, pattern, timeout=30):
        """The next line that the pattern is found in."""
        def find():
            while self.n_passed < len(self.all):
                self.n_passed += 1
                if re.search(pattern, self.all[self.n_passed - 1]):
                    return self.all[self.n_passed - 1]
            return None

        with self.changed:
            line = self.changed.wait_for(find, timeout)
        if line is None:
            raise AssertionError(f'no line with {pattern} came:\n' + '\n'.join(self.all))
        return line

    def forget(self):
        """Only lines still to come are waited for."""
        with self.changed:
            self.n_passed = len(self.all)

    def find(self, text):
        with self.changed:
            return [line for line in self.all if text in line]


class Case(unittest.TestCase):
    """A case with a folder of its own, and pictures and videos to put into it."""

    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='mllama-test-')
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def make_picture(self, name='picture.png', pattern='smpte', caps='video/x-raw,width=64,height=48'):
        path = self.folder / name
        encoder = {'.png': 'pngenc', '.jpg': 'jpegenc'}[path.suffix]
        launch(f'videotestsrc num-buffers=1 pattern={pattern} ! {caps} ! videoconvert ! {encoder} ! '
               f'filesink location={path}')
        return path

    def make_video(self, name='video.ogg', frames=20, rate=10, caps='width=64,height=48', pattern='ball'):
        path = self.folder / name
        launch(f'videotestsrc num-buffers={frames} pattern={pattern} ! video/x-raw,framerate={rate}/1,{caps} ! videoconvert ! '
               f'theoraenc ! oggmux ! filesink location={path}')
        return path
