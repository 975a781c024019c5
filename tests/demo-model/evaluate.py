#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Asks the default model, through the element, about frames that it was never trained on, and prints how often it is right.

    GST_PLUGIN_PATH=build/gst-plugin tests/demo-model/evaluate.py [--only SET...] [--count N] [--device cpu|cuda]

The exit status is 1 if something that must be reached is not. README.md has what it needs."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import media
import saving
import sets
import treatments
from drawing import draw_shape, make_plain
from sheet import write_sheet

ROOT = Path(__file__).resolve().parents[2]
# Row of the table -> (what it measures, per cent that must be reached; most of a bad thing where it starts with "declined").
ROWS = {
    'scenes': ('every object, nothing else', 95), 'patterns': ('right name; of a ball colours and place', 97),
    'text up to 6': ('every character', 80), 'text 7-8': ('every character', 65),
    'things': ('right name', 85), 'questions': ('yes or no, how many', 95),
    'unknown': ('declined, or only a true background colour', 85),
    'declined scenes': ('wrongly', 2), 'declined things': ('wrongly', 2), 'declined text': ('wrongly', 2),
    'background': ('its colours, asked for', None), 'things asked for': ('right name', None),
    'ball with lines': ('colours and place', None), 'text in captions': ('every character', None),
    'clock': ('to the second', None),
}
RATE_MUST = 2.0  # captions per second
RATE_TOKENS = 12


class Tally:
    """How often each row, and each part of it, was right."""

    def __init__(self):
        self.rows = defaultdict(list)
        self.parts = defaultdict(lambda: defaultdict(list))
        self.answers = []

    def add(self, name, number, case, size, treatment, texts):
        tiles = f'{sets.plan_tiles(*size)[0]} tiles'
        for question in case.questions:
            text = texts.get(question.prompt, '')
            right = bool(question.is_right(text))
            self.rows[question.row].append(right)
            for part in (question.tag, *case.tags, treatment.split()[0], tiles):
                if part:
                    self.parts[question.row][part].append(right)
            self.answers.append({'set': name, 'number': number, 'row': question.row, 'prompt': question.prompt,
                                 'size': size, 'treatment': treatment, 'expected': question.perfect,
                                 'text': text, 'right': right})

    def reach(self, row):
        """(how many count, of how many, per cent, whether that is enough)"""
        found = self.rows[row]
        is_fault = row.startswith('declined')
        counted = sum(right != is_fault for right in found)
        share, must = 100 * counted / len(found), ROWS[row][1]
        enough = must is None or (share <= must if is_fault else share >= must)
        return counted, len(found), share, enough


def print_row(row, measure, count, must, reached, verdict):
    print(f'{row:<18} {measure:<42} {count:>9} {must:>8} {reached:>8}  {verdict}', flush=True)


def print_table(tally, rate):
    """Whether everything that must be reached is."""
    print_row('set', 'measure', 'frames', 'must', 'reached', '')
    good = True
    for row, (measure, must) in ROWS.items():
        if not tally.rows[row]:
            continue
        counted, n_all, share, enough = tally.reach(row)
        sign = '<=' if row.startswith('declined') else '>='
        print_row(row, measure, f'{counted}/{n_all}', f'{sign} {must} %' if must else '-', f'{share:.1f} %',
                  'MISSED' if not enough else '' if must is None else 'ok')
        good &= enough
    if rate is not None:
        enough = rate >= RATE_MUST
        print_row('rate', 'captions a second, 640x480, two cores', '', f'>= {RATE_MUST:g}', f'{rate:.1f}',
                  'ok' if enough else 'MISSED')
        good &= enough
    return good


def print_parts(tally):
    """What the rows hide, from the worst part on."""
    for row, parts in tally.parts.items():
        if row.startswith('declined'):
            continue
        shares = sorted((sum(found) / len(found), part, len(found)) for part, found in parts.items())
        print(f'\n{row}: ' + ', '.join(f'{part} {100 * share:.0f} % of {count}' for share, part, count in shares))


def print_wrong(tally, most):
    wrong = [answer for answer in tally.answers if not answer['right']]
    for answer in wrong[:most]:
        size = 'x'.join(map(str, answer['size']))
        print(f'\n{answer["row"]} {answer["number"]} ({size}, {answer["treatment"]}): {answer["prompt"]}\n'
              f'  expected {answer["expected"]}\n  found    {answer["text"]}')


def list_prompts(case):
    return list(dict.fromkeys(question.prompt for question in case.questions))


class Perfect:
    """In place of the element: says what is right."""

    def ask(self, frames):
        return [texts for _, texts in frames]


@dataclass
class Drawn:
    """A frame that was asked about."""

    case: sets.Case
    size: tuple
    treatment: str
    saved: dict = None  # of saving.py


def save(sample, folder, name, number, case):
    """(sample, entry in the list)"""
    sample, png = saving.to_rgb(sample)
    return sample, folder.add(png, name, number, {question.prompt: question.perfect for question in case.questions})


def draw_frames(name, options, drawn):
    """Yields (sample, what to ask), and keeps what else there is to know; the pictures only for an overview: all of a set
    would take more than a gigabyte."""
    for number, case in enumerate(sets.make_cases(name, options.count, options.seed)):
        rng = np.random.default_rng([options.seed, *name.encode('ascii'), number, 1])
        sample, treatment = treatments.treat(rng, case.picture, case.coarse)
        sample, saved = save(sample, options.folder, name, number, case) if options.folder else (sample, None)
        drawn.append(Drawn(case, case.picture.shape[1::-1], treatment, saved))
        case.picture = case.picture if options.sheet else None
        yield sample, ({question.prompt: question.perfect for question in case.questions} if options.oracle
                       else list_prompts(case))


def evaluate_set(name, options, tally):
    """Draws, asks and counts; frames are drawn while the element works."""
    drawn = []
    element = Perfect() if options.oracle else media.Element(options.model, options.device, options.dtype)
    answers = element.ask(draw_frames(name, options, drawn))
    for number, (one, texts) in enumerate(zip(drawn, answers)):
        tally.add(name, number, one.case, one.size, one.treatment, texts)
        if one.saved:
            one.saved['answers'] = [texts[prompt] for prompt in list_prompts(one.case)]
    if options.sheet:
        write_sheet(f'{options.sheet}/{name}.png', [(one.case.picture, one.case.note) for one in drawn])


def ask_plainly(options, samples, n_frames):
    element = media.Element(options.model, options.device, options.dtype, max_tokens=RATE_TOKENS)
    element.ask((samples[number % len(samples)], [sets.DESCRIBE]) for number in range(n_frames))
    return element


def time_captions(options, n_frames=60):
    """(captions a second, tokens a caption) of the element alone, with frames of one size that are drawn beforehand."""
    rng = np.random.default_rng(options.seed)
    pictures = [make_plain(rng, 640, 480, 'blue') for _ in range(4)]
    for number, picture in enumerate(pictures):
        draw_shape(picture, 'star', (220, 20, 20), (120 + 110 * number, 90 + 80 * number), 120)
    samples = [media.to_sample(picture) for picture in pictures]
    ask_plainly(options, samples, 4)  # what is loaded once
    begin = time.monotonic()
    element = ask_plainly(options, samples, n_frames)
    elapsed = time.monotonic() - begin
    return n_frames / elapsed, sum(answer[3] for answer in element.answers) / n_frames


def measure_rate(options):
    """time_captions in a process of its own, that has two cores from its first thread on: a pool of threads counts the
    cores when its library is loaded."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    line = [sys.executable, __file__, '--rate-here', '--model', options.model, '--device', options.device,
            '--dtype', options.dtype, '--seed', str(options.seed)]
    done = subprocess.run(line, stdout=subprocess.PIPE, encoding='utf-8', check=True,
                          preexec_fn=lambda: os.sched_setaffinity(0, cores))
    rate, tokens = json.loads(done.stdout)
    print(f'rate: {rate:.1f} captions of {tokens:.1f} tokens a second')
    return rate


def compare_answers(tally, path):
    """Whether the answers are those of another run: on another device, say."""
    others = {(answer['set'], answer['number'], answer['prompt'], answer['row']): answer['text']
              for answer in json.loads(Path(path).read_text(encoding='utf-8'))['answers']}
    keys = [(answer['set'], answer['number'], answer['prompt'], answer['row']) for answer in tally.answers]
    both = [(answer, others[key]) for answer, key in zip(tally.answers, keys) if key in others]
    differing = [(answer, text) for answer, text in both if answer['text'] != text]
    print(f'\n{len(both) - len(differing)} of {len(both)} answers are those of {path}')
    for answer, text in differing[:10]:
        print(f'  {answer["set"]} {answer["number"]}: {answer["text"]} | there: {text}')
    return bool(both) and not differing


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', nargs='+', choices=[*sets.SETS, 'rate'], default=[*sets.SETS, 'rate'], metavar='SET',
                        help=f'{", ".join(sets.SETS)} or rate')
    parser.add_argument('--count', type=int, help='cases of each set at most')
    parser.add_argument('--device', choices=('auto', 'cpu', 'cuda'), default='cpu')
    parser.add_argument('--dtype', choices=('auto', 'f32', 'bf16'), default='auto')
    parser.add_argument('--model', type=Path, default=ROOT / 'pipelines' / 'demo-model')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures and every answer')
    parser.add_argument('--compare', type=Path, metavar='FILE', help='the answers must be those in this JSON file')
    parser.add_argument('--photos', type=Path, help='where fetch-photos.sh unpacked', default=ROOT / 'build/demo-photos')
    parser.add_argument('--no-photos', action='store_true', help='leave out what needs them; not the whole measurement')
    parser.add_argument('--parts', action='store_true', help='tell the parts of each set apart')
    parser.add_argument('--wrong', type=int, default=0, metavar='N', help='print so many wrong answers')
    parser.add_argument('--sheet', type=Path, metavar='DIR', help='draw an overview of each set into PNG files')
    parser.add_argument('--save', type=Path, metavar='DIR',
                        help='no table: keep frames and answers for replay.py')
    parser.add_argument('--rate-here', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--all-right', action='store_true', help='every answer must be right')
    parser.add_argument('--oracle', action='store_true', help='no model: what a perfect one says, to test the evaluation')
    return parser.parse_args()


def write_json(path, tally, rate, seconds):
    figures = {row: dict(zip(('counted', 'all', 'share', 'enough'), tally.reach(row))) for row in ROWS if tally.rows[row]}
    path.write_text(json.dumps({'figures': figures, 'rate': rate, 'seconds': round(seconds), 'answers': tally.answers},
                               indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


def evaluate_sets(options, tally):
    for name in sets.SETS:
        if name in options.only:
            start = time.monotonic()
            evaluate_set(name, options, tally)
            print(f'{name}: {time.monotonic() - start:.0f} s', flush=True)


def judge(options, tally, rate, seconds):
    """Tells what was found; the exit status."""
    print()
    good = print_table(tally, rate)
    if options.parts:
        print_parts(tally)
    print_wrong(tally, options.wrong)
    good &= not options.all_right or all(answer['right'] for answer in tally.answers)
    if options.json:
        write_json(options.json, tally, rate, seconds)
    if options.compare:
        good &= compare_answers(tally, options.compare)
    return 0 if good else 1


def main():
    options = parse_arguments()
    if options.rate_here:
        print(json.dumps(time_captions(options)))
        return 0
    sets.PHOTO_ROOTS.append(options.photos)
    sets.NO_PHOTOS = options.no_photos
    options.folder = saving.Folder(options.save) if options.save else None
    if not options.oracle and not media.has_element('mllamacaption'):
        raise SystemExit('There is no mllamacaption: build it, and set GST_PLUGIN_PATH to its folder unless that is '
                         'build/gst-plugin')
    tally, begin = Tally(), time.monotonic()
    evaluate_sets(options, tally)
    if options.folder:
        options.folder.write()
        print(f'{len(tally.answers)} answers are in {options.save}')
        return 0
    rate = measure_rate(options) if 'rate' in options.only and not options.oracle else None
    return judge(options, tally, rate, time.monotonic() - begin)


if __name__ == '__main__':
    raise SystemExit(main())
