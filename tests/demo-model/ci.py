#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small fixed part of the evaluation, as TAP: frames that gst-launch-1.0 makes on the spot, and what the default model
has to say about them. Needs neither python3-gi nor numpy.

    MLLAMA_BUILD_DIR=build tests/demo-model/ci.py [--model DIR]
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import oracle
import reader
from reader import read_caption

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = Path(os.environ.get('MLLAMA_BUILD_DIR', ROOT / 'build'))
DESCRIBE = 'Describe the scene in one short sentence.'
TIMEOUT = 120


def run(command):
    environment = {'GST_PLUGIN_PATH': str(BUILD / 'gst-plugin'), **os.environ, 'G_DEBUG': 'fatal-criticals'}
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, encoding='utf-8',
                          errors='replace', timeout=TIMEOUT, check=False)


@lru_cache(maxsize=None)
def has_element(name):
    return run(['gst-inspect-1.0', '--exists', name]).returncode == 0


@lru_cache(maxsize=None)
def has_font(name):
    return name in run(['fc-list', name, 'family']).stdout


# --- what is asked ---

def states(kind, name='', objects=None, background=None):
    """A check: the caption is of that kind, and states what is given. A place or a size of None is left open."""
    def check(text):
        found = read_caption(text)
        return (found.kind == kind and found.name == name and (background is None or found.background == background)
                and (objects is None or matches(found.objects, objects)))
    return check


def matches(found, wanted):
    """Whether each object is the one wanted, in whatever order."""
    return len(found) == len(wanted) and all(
        any(all(word is None or word == other for word, other in zip(want, thing)) for thing in found) for want in wanted)


def says(*texts):
    return lambda text: text in texts


def sees_ball(colour, background, place):
    return DESCRIBE, states('objects', objects=[(colour, 'circle', None, place)], background=('plain', background))


@dataclass
class Frame:
    name: str
    source: str  # up to the element, as after gst-launch-1.0; {svg} is a drawing's file
    questions: list  # (prompt, check)
    drawing: str = ''  # SVG, of a frame of 640x480
    font: str = ''  # without which there is nothing to see


def draw_pattern(name, width=320, height=240):
    return f'videotestsrc num-buffers=1 pattern={name} ! video/x-raw,width={width},height={height}'


def make_ball(colours, argb, size, number, place):
    """The ball and the background at the frame of that number: videorate keeps the first and that one, asked is about it."""
    (colour, background), (width, height) = colours, size
    return Frame(f'{oracle.add_article(colour)} ball {place} at {width}x{height}',
                 f'videotestsrc num-buffers={number + 1} pattern=ball foreground-color=0xff{argb[0]} '
                 f'background-color=0xff{argb[1]} ! video/x-raw,width={width},height={height},framerate={max(1, number)}/1 ! '
                 'videorate ! video/x-raw,framerate=1/1', [sees_ball(colour, background, place)])


def make_pattern(name, width=640, height=480):
    return Frame(f'the pattern {name} at {width}x{height}', draw_pattern(name, width, height),
                 [(DESCRIBE, states('pattern', name))])


def make_text(text, pattern, options, check=None):
    return Frame(f'the text {text}', f'{pattern} ! textoverlay text={text} {options}',
                 [('What does the text say?', says(f'It says "{text}".')),
                  (DESCRIBE, check or (lambda said: read_caption(said).name == text))])


def make_thing(name, characters, background, background_argb):
    return Frame(f'the thing {name}',
                 f'videotestsrc num-buffers=1 pattern=solid-color foreground-color=0xff{background_argb} ! '
                 f'video/x-raw,width=640,height=480 ! textoverlay text={characters} valignment=center auto-resize=false '
                 'font-desc="Noto Color Emoji 120"',
                 [(DESCRIBE, states('thing', name, background=('plain', background)))], font='Noto Color Emoji')


def make_drawing(name, shapes, questions):
    return Frame(name, f'{draw_pattern("black", 640, 480)} ! videoconvert ! rsvgoverlay location={{svg}} fit-to-frame=true ! '
                 'videoconvert', questions,
                 drawing=f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="480">{shapes}</svg>')


def fill(colour):
    return f'<rect width="640" height="480" fill="{colour}"/>'


SQUARE = '<rect x="260" y="180" width="110" height="110" fill="#ff0000"/>'
THREE = ('<circle cx="530" cy="80" r="55" fill="#0000ff"/><rect x="60" y="340" width="110" height="110" fill="#00c000"/>'
         '<polygon points="320,125 420,330 220,330" fill="#ffff00"/>')
FRAMES = [
    make_ball(('red', 'blue'), ('ff0000', '0000ff'), (320, 240), 0, 'centre'),
    make_ball(('yellow', 'purple'), ('ffff00', '800080'), (640, 480), 30, 'bottom right'),
    make_ball(('white', 'black'), ('ffffff', '000000'), (160, 120), 120, 'top left'),
    make_ball(('orange', 'green'), ('ffa500', '008000'), (1280, 720), 60, 'bottom right'),
    *(make_pattern(name) for name in ('smpte', 'snow', 'gamut', 'pinwheel', 'colors', 'smpte-rp-219')),
    make_pattern('spokes', 1280, 720), make_pattern('smpte75', 160, 120),
    Frame('a plain pattern', draw_pattern('green'), [
        (DESCRIBE, states('empty', background=('plain', 'green'))), ('What colour is the background?', says('Green.')),
        ('How many objects are there?', says('None.')), ('What does the text say?', says('There is no text.'))]),
    make_text('HELLO', draw_pattern('blue', 640, 480), 'valignment=center font-desc="Sans 40"'),
    make_text('K7QX2', draw_pattern('black', 1280, 720), 'valignment=top font-desc="Sans Bold 40"'),
    make_text('GST', draw_pattern('smpte', 640, 480), 'valignment=center font-desc="Sans 60"'),
    Frame('a clock', 'videotestsrc num-buffers=1 pattern=red timestamp-offset=754000000000 ! '
          'video/x-raw,width=640,height=480 ! timeoverlay font-desc="Monospace 32"',
          [(DESCRIBE, states('clock', '0:12:34', background=('plain', 'red')))]),
    make_thing('dog', '🐶', 'blue', '0000ff'), make_thing('pizza', '🍕', 'white', 'ffffff'),
    make_thing('rocket', '🚀', 'black', '000000'),
    make_drawing('a square', fill('#ffffff') + SQUARE, [
        (DESCRIBE, states('objects', objects=[('red', 'square', 'medium', 'centre')], background=('plain', 'white'))),
        ('Is there a red square? Answer yes or no.', says('Yes.')),
        ('Is there a blue square? Answer yes or no.', says('No.')), ('How many objects are there?', says('One.'))]),
    make_drawing('three shapes', fill('#ffffff') + THREE, [
        (DESCRIBE, states('objects', objects=[('blue', 'circle', 'medium', 'top right'),
                                              ('green', 'square', 'medium', 'bottom left'),
                                              ('yellow', 'triangle', 'large', 'centre')])),
        ('Is the blue ball right of the green square? Answer yes or no.', says('Yes.')),
        ('How many objects are there?', says('Three.'))]),
    Frame('a photo of a cat', f'filesrc location={ROOT}/tests/golden/pictures/cat.ppm ! pnmdec ! videoconvert',
          [(DESCRIBE, says(reader.DECLINED_CAPTION))]),
    Frame('a photo of a cup', f'filesrc location={ROOT}/tests/golden/pictures/coffee.ppm ! pnmdec ! videoconvert',
          [(DESCRIBE, says(reader.DECLINED_CAPTION))]),
]


# --- asking ---

def build_line(frame, model, folder):
    """One text pad for each question, all answers of a pad into its file."""
    source = frame.source.replace('{svg}', str(folder / 'drawing.svg'))
    element = ['mllamacaption', 'name=c', f'model={model}', 'device=cpu', 'mode=archive']
    branches = []
    for number, (prompt, _) in enumerate(frame.questions):
        element.append(f'text_{number}::prompt={prompt}')
        branches += [f'c.text_{number}', '!', 'application/x-json', '!', 'filesink', f'location={folder / str(number)}']
    return ['gst-launch-1.0', '-q', *shlex.split(source), '!', *element, 'c.src', '!', 'fakesink', *branches]


def ask(frame, model):
    """The answer to each question about the last frame."""
    with tempfile.TemporaryDirectory(prefix='mllama-demo-') as name:
        folder = Path(name)
        (folder / 'drawing.svg').write_text(frame.drawing, encoding='utf-8')
        done = run(build_line(frame, model, folder))
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return [json.loads((folder / str(number)).read_text(encoding='utf-8').splitlines()[-1])['text']
                for number in range(len(frame.questions))]


def find_obstacle(frame):
    """Why the frame cannot be made here."""
    if frame.drawing and not has_element('rsvgoverlay'):
        return 'no rsvgoverlay'
    if frame.font and not has_font(frame.font):
        return f'no font {frame.font}'
    return ''


def check_frame(frame, model):
    """What is wrong, a line for each answer."""
    try:
        answers = ask(frame, model)
    except (RuntimeError, OSError, IndexError, KeyError, subprocess.TimeoutExpired) as error:
        return [f'{frame.name}: {error}']
    return [f'{frame.name}: {prompt} {text}' for (prompt, check), text in zip(frame.questions, answers) if not check(text)]


# --- the reader itself ---

def check_reader():
    """It reads what a perfect model says, and nothing else."""
    star, ball = ('red', 'star', 'small', 'top left'), ('orange', 'circle', 'large', 'bottom')
    good = {
        oracle.say_scene([star], ('plain', 'blue')): states('objects', objects=[star], background=('plain', 'blue')),
        oracle.say_scene([ball, star], ('noisy', 'grey')): states('objects', objects=[star, ball]),
        oracle.say_scene([ball], ('graded', 'red', 'cyan')): states('objects', objects=[ball],
                                                                  background=('graded', 'red', 'cyan')),
        oracle.say_scene([], ('graded', 'red', 'cyan')): states('empty', background=('graded', 'red', 'cyan')),
        oracle.say_text('AB12', ('pattern', 'smpte')): states('text', 'AB12', background=('pattern', 'smpte')),
        oracle.say_clock('0:00:12', ('unknown',)): states('clock', '0:00:12'),
        oracle.say_thing('fire engine', ('unknown',), 'large', 'centre'): states('thing', 'fire engine'),
        'I cannot tell what this is.': states('declined'),
    }
    bad = ['', 'A red star.', 'A orange star on a blue background, small, on the left.', 'A red star on an blue background, '
           'small, on the left.', 'A red star on a blue background, small, on the left. ', 'A text "AB" on a red background.',
           'A small red ball at the top and a large blue ring on the left, on a white background.',
           'A small red ring at the top and a small red ring at the top, on a white background.']
    faults = [f'not read: {text}' for text, check in good.items() if not check(text)]
    faults += [f'read: {text}' for text in bad if read_caption(text).kind != 'none']
    # The hash of the empty text and of "a" are in the definition of FNV-1a.
    if (reader.hash_fnv1a(''), reader.hash_fnv1a('a')) != (0x811c9dc5, 0xe40c292c):
        faults.append('hash_fnv1a is not FNV-1a')
    return faults


PYTHON = '/usr/bin/python3'  # where Debian's packages are
PACKAGES = 'python3-gi python3-gi-cairo python3-numpy gir1.2-gst-plugins-base-1.0'


@lru_cache(maxsize=None)
def has_packages():
    return run([PYTHON, '-c', 'import gi, numpy, cairo; gi.require_version("GstApp", "1.0")']).returncode == 0


def evaluate(*options):
    return run([PYTHON, HERE / 'evaluate.py', '--no-photos', *options])


def check_evaluation():
    """Every set reaches 100 % where the model is perfect."""
    done = evaluate('--oracle', '--count', '8', '--wrong', '5', '--all-right')
    return [] if done.returncode == 0 else [*done.stdout.splitlines(), *done.stderr.splitlines()]


def check_replay():
    """Kept frames get the same answers again, and another answer is found. The model is one of random weights."""
    model = ROOT / 'tests' / 'golden' / 'checkpoints' / 'unusual'
    with tempfile.TemporaryDirectory(prefix='mllama-demo-') as name:
        kept = Path(name) / 'list.json'
        evaluate('--model', model, '--only', 'scenes', 'patterns', 'clock', '--count', '2', '--save', name)
        replay = [sys.executable, HERE / 'replay.py', name, '--device', 'cpu', '--model', model]
        same = run(replay)
        groups = json.loads(kept.read_text(encoding='utf-8'))
        groups[0]['frames'][0]['answers'][0] += ' And more.'
        kept.write_text(json.dumps(groups), encoding='utf-8')
        other = run(replay)
    faults = [] if same.returncode == 0 and '8 of 8' in same.stdout else [same.stdout, same.stderr]
    return faults if other.returncode == 1 and '7 of 8' in other.stdout else [*faults, other.stdout, other.stderr]


# --- as TAP ---

class Tap:
    def __init__(self, count):
        self.number, self.n_failed = 0, 0
        print(f'1..{count}', flush=True)

    def tell(self, name, faults, skip=''):
        self.number += 1
        self.n_failed += bool(faults)
        print(*faults, sep='\n', end='\n' if faults else '', file=sys.stderr)
        print(f'{"not ok" if faults else "ok"} {self.number} /demo-model/{name}{f" # SKIP {skip}" if skip else ""}',
              flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', type=Path, default=ROOT / 'pipelines' / 'demo-model')
    model = parser.parse_args().model.resolve()
    tap = Tap(3 + len(FRAMES))
    tap.tell('reads what a perfect model says', check_reader())
    skip = '' if has_packages() else f'needs {PACKAGES}'
    tap.tell('the evaluation finds a perfect model perfect', [] if skip else check_evaluation(), skip)
    tap.tell('kept frames get the same answers again', [] if skip else check_replay(), skip)
    for frame in FRAMES:
        skip = find_obstacle(frame) if (model / 'config.json').exists() else f'there is no default model in {model}'
        tap.tell(frame.name, [] if skip else check_frame(frame, model), skip)
    return 1 if tap.n_failed else 0


if __name__ == '__main__':
    raise SystemExit(main())
