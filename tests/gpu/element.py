#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The element part: gst-launch-1.0 pipelines with the model on the GPU, whose captions are those of the CPU.

    element.py --bin DIR --work DIR --out FILE.json [--device cuda]

The model is a tiny one of the golden tests, in float32, so that CPU and GPU say the same; then the default model, if there
is one, on frames of its evaluation.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from gpulib.results import Results

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / 'tests' / 'golden' / 'checkpoints' / 'hub'
OTHER_MODEL = MODEL.with_name('many')
FORMATS = ('RGB', 'BGRx', 'GRAY8', 'I420', 'NV12', 'YUY2')
ON_GPU = '"video/x-raw(memory:CUDAMemory)"'  # for a shell


def read_captions(path):
    answers = map(json.loads, path.read_text(encoding='utf-8').splitlines())
    return [(answer['pts'], answer['text']) for answer in answers]


class Pipelines:
    def __init__(self, options, results):
        self.options, self.results = options, results
        self.number = 0

    def has_element(self, name):
        return subprocess.run(['gst-inspect-1.0', name], check=False, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0

    def element(self, device, model=MODEL, path=None, name='c', prompt='What is in the picture?'):
        """A branch's end: the element, and its captions as JSON lines into path."""
        return (f'mllamacaption name={name} model={model} device={device} dtype=f32 interval=300000000 max-tokens=12 '
                f'mode=archive text_0::prompt="{prompt}" {name}.src ! fakesink '
                f'{name}.text_0 ! application/x-json ! filesink location={path}')

    def launch(self, line, *paths):
        """[(pts, text)] of each file, or None with the reason on the terminal."""
        done = subprocess.run(['sh', '-c', f'exec gst-launch-1.0 -q {line}'], capture_output=True, encoding='utf-8',
                              env={**os.environ, 'G_DEBUG': 'fatal-criticals'}, timeout=120, check=False)
        if done.returncode != 0:
            print(f'{line}\nended with status {done.returncode}\n{done.stdout}{done.stderr}')
            return None
        return [read_captions(path) for path in paths]

    def make_path(self):
        self.number += 1
        return self.options.work / f'captions-{self.number}.json'

    def caption(self, source, device, **options):
        path = self.make_path()
        answers = self.launch(f'{source} ! {self.element(device, path=path, **options)}', path)
        return answers and answers[0]

    def compare(self, name, found, expected):
        self.results.check(name, bool(found) and found == expected, f'{found} and {expected}'[:300] if found != expected
                           else f'{len(found or [])} captions')

    # --- what is run ---

    def check_host_memory(self):
        for video_format in FORMATS:
            source = (f'videotestsrc num-buffers=12 pattern=ball ! '
                      f'video/x-raw,format={video_format},width=320,height=240,framerate=10/1')
            self.compare(f'{video_format} from host memory', self.caption(source, self.options.device),
                         self.caption(source, 'cpu'))

    def check_device_memory(self):
        if not self.has_element('cudaupload'):
            self.results.skip('frames in CUDA memory', 'no cudaupload')
            return
        for video_format in ('RGBA', 'I420', 'NV12'):
            source = (f'videotestsrc num-buffers=12 pattern=ball ! '
                      f'video/x-raw,format={video_format},width=320,height=240,framerate=10/1')
            self.compare(f'{video_format} from CUDA memory',
                         self.caption(f'{source} ! cudaupload', self.options.device), self.caption(source, 'cpu'))

    def check_clip(self, clip):
        read = f'filesrc location={clip} ! qtdemux ! h264parse'
        expected = self.caption(f'{read} ! {self.decoder}', 'cpu')
        found = self.caption(f'{read} ! {self.decoder}', self.options.device)
        self.compare('a file, decoded by the CPU', found, expected)
        if not self.has_element('nvh264dec'):
            self.results.skip('a file through nvh264dec in CUDA memory', 'this machine has no nvh264dec')
            return
        self.compare('a file through nvh264dec in CUDA memory',
                     self.caption(f'{read} ! nvh264dec ! {ON_GPU}', self.options.device), expected)
        self.compare('a file through nvh264dec in host memory',
                     self.caption(f'{read} ! nvh264dec ! video/x-raw', self.options.device), expected)

    def check_two(self):
        """In one process: of one model, whose rows then share steps, and of two."""
        source = ('videotestsrc num-buffers=12 pattern={} ! '
                  'video/x-raw,format=NV12,width=320,height=240,framerate=10/1')
        for name, other in (('one model', MODEL), ('two models', OTHER_MODEL)):
            branches = [(source.format('ball'), MODEL, 'What moves?'), (source.format('smpte'), other, 'Which?')]
            paths = [self.make_path() for _ in branches]
            line = ' '.join(
                f'{video} ! {self.element(self.options.device, model, path, f"c{number}", prompt)}'
                for number, ((video, model, prompt), path) in enumerate(zip(branches, paths)))
            found = self.launch(line, *paths) or [None, None]
            for number, (video, model, prompt) in enumerate(branches):
                self.compare(f'two elements of {name}: element {number}', found[number],
                             self.caption(video, 'cpu', model=model, prompt=prompt))

    def check_default_model(self):
        """Frames of all sets of tests/demo-model, which were kept with the answers of the CPU."""
        name, frames, model = 'the default model', self.options.bin / 'demo-frames', ROOT / 'pipelines' / 'demo-model'
        if not (model / 'config.json').exists() or not (frames / 'list.json').exists():
            self.results.skip(name, 'there is no pipelines/demo-model, or pack.sh has packed no frames of it')
            return
        sys.path.insert(0, str(ROOT / 'tests' / 'demo-model'))
        from replay import replay
        n_compared, differing = replay(frames, model, self.options.device, 'f32')
        for line in differing[:20]:
            print(*line, sep='\n  ')
        self.results.check(name, n_compared and not differing,
                           f'{n_compared - len(differing)} of {n_compared} answers as on the CPU')
        n_compared, differing = replay(frames, model, self.options.device, 'auto')
        self.results.note(f'{name} in the default dtype: {n_compared - len(differing)} of {n_compared} answers as on the CPU')

    @property
    def decoder(self):
        return next(name for name in ('openh264dec', 'avdec_h264') if self.has_element(name))

    def find_clip(self):
        """The packed one, or a new one."""
        packed, made = self.options.bin / 'clip.mp4', self.options.work / 'clip.mp4'
        if packed.exists():
            return packed
        encoder = next((name for name in ('openh264enc', 'x264enc') if self.has_element(name)), None)
        if not encoder:
            return None
        self.launch(f'videotestsrc num-buffers=24 pattern=ball ! '
                    f'video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! {encoder} ! h264parse ! mp4mux ! '
                    f'filesink location={made}')
        return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--bin', type=Path, required=True)
    parser.add_argument('--work', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--device', default='cuda')
    options = parser.parse_args()
    results = Results('element')
    pipelines = Pipelines(options, results)
    results.check('gst-inspect-1.0 shows the element', shutil.which('gst-inspect-1.0') and
                  pipelines.has_element('mllamacaption'))
    pipelines.check_host_memory()
    pipelines.check_device_memory()
    clip = pipelines.find_clip()
    if clip:
        pipelines.check_clip(clip)
    else:
        results.skip('a file', 'no encoder makes one here')
    pipelines.check_two()
    pipelines.check_default_model()
    results.write(options.out)
    return results.exit_status


if __name__ == '__main__':
    raise SystemExit(main())
