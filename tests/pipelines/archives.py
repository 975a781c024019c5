# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of mllama-archive share: the program on an engine that answers at once, clips, and what a run left.

The scripted engine says "COLOUR WIDTHxHEIGHT: PROMPT" of each frame. The program loads the engine from ../engine and the
plugin from ../gst-plugin, seen from where it lies: a copy of it lies between scripted ones."""

import functools
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import unittest
from pathlib import Path

from helpers import BUILD, Case, launch, run

PROGRAM = BUILD / 'pipelines' / 'mllama-archive'
DYING = BUILD / 'tests' / 'pipelines' / 'libdying-engine.so'
SCRIPTED = BUILD / 'tests' / 'gst-plugin' / 'libgstmllama.so'
MADE = tempfile.TemporaryDirectory(prefix='mllama-test-')
MADE_FOLDER = Path(MADE.name)
ENCODER = 'theoraenc ! oggmux'


@functools.cache
def make_scripted(engine=SCRIPTED):
    """A copy of the program whose engine is that file."""
    folder = MADE_FOLDER / engine.name
    for name, source in (('pipelines/mllama-archive', PROGRAM), ('engine/libmllama.so.0', engine),
                         ('gst-plugin/libgstmllama.so', SCRIPTED)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / name)
    return folder / 'pipelines' / 'mllama-archive'


@functools.cache
def make_model():
    """A folder that stands for a model."""
    folder = MADE_FOLDER / 'model'
    folder.mkdir()
    (folder / 'config.json').write_text('{"model_type": "mllama"}', encoding='utf-8')
    return folder


def make_surroundings(**changes):
    """No engine and no plugin but those beside the program, wherever the test's own are; the registry is made once."""
    return {'LD_LIBRARY_PATH': None, 'GST_PLUGIN_PATH': None, 'GST_REGISTRY': str(MADE_FOLDER / 'registry.bin'),
            'MLLAMA_DEMO_MODEL': str(make_model())} | changes


@functools.cache
def make_clip(colours, rate=10, caps='width=64,height=48', encoder=ENCODER, ending='.ogg'):
    """A video that has a second of each colour, made once: a path to copy from."""
    path = MADE_FOLDER / f'clip-{abs(hash((colours, rate, caps, encoder)))}{ending}'
    parts = ' '.join(
        f'videotestsrc num-buffers={rate} pattern={colour} ! video/x-raw,format=I420,framerate={rate}/1,{caps} ! c.'
        for colour in colours)
    launch(f'concat name=c ! {encoder} ! filesink location={path} {parts}', **make_surroundings())
    return path


def read_cues(path):
    """(start, end, text) of WebVTT or SubRip, times as they are spelt but for the point."""
    text = path.read_text(encoding='utf-8')
    if path.suffix == '.vtt':
        assert text.startswith('WEBVTT\n\n'), text
        text = text.removeprefix('WEBVTT\n\n')
    cues = []
    for number, block in enumerate(text.removesuffix('\n\n').split('\n\n') if text else [], 1):
        lines = block.split('\n')
        if path.suffix == '.srt':
            assert lines.pop(0) == str(number), block
        stamp = r'(\d\d:\d\d:\d\d,\d{3})' if path.suffix == '.srt' else r'(\d\d:\d\d:\d\d\.\d{3})'
        start, end = re.fullmatch(f'{stamp} --> {stamp}', lines[0]).groups()
        cues.append((start.replace(',', '.'), end.replace(',', '.'), '\n'.join(lines[1:])))
    return cues


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding='utf-8').removesuffix('\n').split('\n')]


def spell(seconds):
    ms = int(seconds * 1000 + 1e-6)
    return f'{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}'


def query(index, sql, *values):
    connection = sqlite3.connect(index)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def dump(index):
    """All that an index holds, but for numbers of rows and when things were done."""
    clips = query(index, 'SELECT path, size, modified_ns, duration_ns, width, height, hash, text, output, error FROM clips '
                         'JOIN settings ON settings.id = clips.settings ORDER BY path')
    captions = query(index, 'SELECT path, name, prompt, start_ns, end_ns, captions.text, confidence, thumbnail FROM captions '
                            'JOIN clips ON clips.id = clip JOIN questions ON questions.id = question '
                            'ORDER BY path, start_ns, name, captions.id')
    found = query(index, "SELECT count(*) FROM captions_text WHERE captions_text MATCH 'x OR describe OR what'")
    n_lost = query(index, 'SELECT count(*) FROM captions WHERE clip NOT IN (SELECT id FROM clips)')
    return {'clips': clips, 'captions': captions, 'found': found, 'lost': n_lost}


def check_index(index):
    """SQLite's own checks, and the words' agreement with the captions."""
    assert query(index, 'PRAGMA integrity_check') == [('ok',)]
    connection = sqlite3.connect(index)
    connection.execute("INSERT INTO captions_text (captions_text, rank) VALUES ('integrity-check', 1)")
    connection.close()


def list_files(folder):
    """Names below a folder -> contents, but for the index."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob('*'))
            if path.is_file() and not path.name.startswith('archive.db')}


@unittest.skipUnless(PROGRAM.exists(), 'mllama-archive is not built')
class ArchiveCase(Case):
    def setUp(self):
        super().setUp()
        self.clips, self.out = self.folder / 'clips', self.folder / 'out'
        self.index = self.out / 'archive.db'
        self.clips.mkdir()

    def add_clip(self, name, *colours, **options):
        """A clip in self.clips with a second of each colour; its time of change is in the past."""
        path = self.clips / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(make_clip(colours or ('red',), **options), path)
        os.utime(path, (1700000000, 1700000000))
        return path

    def archive(self, *arguments, command=(), **changes):
        """The program on the scripted engine."""
        return run(*command, make_scripted(), *arguments, **make_surroundings(**changes))

    def good(self, *arguments, **options):
        result = self.archive(*arguments, **options)
        self.assertEqual((result.returncode, result.stderr), (0, ''), result.stdout)
        return result.stdout

    def annotate(self, *arguments, **options):
        """Clips of self.clips into self.out, which goes well."""
        return self.good('annotate', self.clips, '--output', self.out, *arguments, **options)

    def start(self, *arguments, **changes):
        """One that runs beside the test."""
        environment = {name: value for name, value in (dict(os.environ) | make_surroundings(**changes)).items()
                       if value is not None}
        process = subprocess.Popen([str(word) for word in (make_scripted(), *arguments)], env=environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def read_counts(self, said):
        """(to annotate, known) that annotate tells first."""
        return tuple(int(n) for n in re.search(r'^(\d+) clips to annotate, (\d+) known$', said, re.M).groups())

    def search(self, *arguments, index=None):
        """What search --json finds."""
        said = self.good('search', '--json', '--index', index or self.index, *arguments)
        return [json.loads(line) for line in said.splitlines()]
