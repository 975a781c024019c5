#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The archive part: hours of video that mllama-archive annotates in an hour, a frame each five seconds.

    archive.py --bin DIR --checkpoint DIR --work DIR --out FILE.json [--device cuda] [--clips N]
"""

import argparse
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpulib.results import Results

SECONDS = 60  # of a clip
INTERVAL = 5
N_AT_ONCE = 12
PATTERNS = ('ball', 'smpte', 'gamut', 'pinwheel', 'spokes', 'circular', 'checkers-8', 'zone-plate')
METRIC = re.compile(r'^(\w+(?:\{[^}]*\})?) (\S+)$', re.M)


def make_clip(path, number):
    if path.exists():
        return
    subprocess.run(['gst-launch-1.0', '-q', 'videotestsrc', f'num-buffers={25 * SECONDS}',
                    f'pattern={PATTERNS[number % len(PATTERNS)]}', '!',
                    'video/x-raw,format=I420,width=1280,height=720,framerate=25/1', '!', 'openh264enc', 'gop-size=50', '!',
                    'h264parse', '!', 'mp4mux', '!', 'filesink', f'location={path}'], check=True, stderr=subprocess.DEVNULL)


def make_clips(folder, n):
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        list(pool.map(lambda number: make_clip(folder / f'clip-{number:02}.mp4', number), range(n)))


def annotate(options, clips, output):
    """Seconds, and the metrics at the end; None where it failed."""
    metrics = options.work / 'archive.prom'
    begin = time.monotonic()
    done = subprocess.run([str(word) for word in (
        options.bin / 'mllama-archive', 'annotate', clips, '--output', output, '--model', options.checkpoint, '--device',
        options.device, '--interval', f'{INTERVAL}s', '--max-tokens', 40, '--jobs', options.clips, '--metrics', metrics)],
        check=False, stdout=subprocess.PIPE, encoding='utf-8')
    print(done.stdout[-400:])
    if done.returncode != 0:
        return None
    return time.monotonic() - begin, {name: float(value) for name, value in METRIC.findall(metrics.read_text())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--bin', type=Path, required=True)
    parser.add_argument('--checkpoint', type=Path, required=True)
    parser.add_argument('--work', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--clips', type=int, default=24)
    options = parser.parse_args()
    results = Results('archive')
    clips, output = options.work / 'clips', options.work / 'archive'
    make_clips(clips, options.clips)
    shutil.rmtree(output, ignore_errors=True)
    measured = annotate(options, clips, output)
    results.check('annotate ends well', measured is not None)
    if measured:
        seconds, metrics = measured
        n_captions, expected = metrics['mllama_archive_captions_total'], options.clips * SECONDS // INTERVAL
        results.check('every frame that is due has a caption', n_captions == expected, f'{n_captions:.0f} of {expected}')
        results.figures['archive'] = {
            'hours_per_hour': round(metrics['mllama_archive_video_seconds_total'] / seconds, 2),
            'captions_s': round(n_captions / seconds, 3), 'rows_per_step': round(metrics['mllama_archive_rows_per_step'], 3)}
    results.write(options.out)
    return results.exit_status


if __name__ == '__main__':
    raise SystemExit(main())
