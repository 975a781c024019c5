# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real photos and videos of Debian's forensics-samples-files, through real decoders and gst-launch-1.0."""

import json
import re
import unittest

from helpers import GOLDEN, SAMPLES, Case, caption_json, crop, find_checkpoint, launch, read_netpbm, write_png

MODEL = find_checkpoint()
ELEMENT = f'mllamacaption model={MODEL} max-tokens=6'


def find_record(kind):
    """A golden case about one picture, as transformers answers it."""
    record = json.loads((GOLDEN / 'records' / f'{MODEL.name}.json').read_text(encoding='utf-8'))
    return next(case for case in record['cases'] if case['kind'] == kind and case['semantics'] == 'transformers'
                and len(case['pictures']) == 1 and not case['stop_ids'] and not case['ignore_eos'])


class LaunchLines(Case):
    def test_writes_the_text_that_transformers_writes(self):
        record = find_record('raw')
        picture = record['pictures'][0]
        write_png(self.folder / 'x.png', crop(read_netpbm(GOLDEN / 'pictures' / picture['file']), *picture['crop']))
        launch(f'filesrc location=x.png ! pngdec ! mllamacaption name=c model={MODEL} prompt="{record["text"]}" '
               f'prompt-format=raw semantics=transformers max-tokens={record["max_tokens"]} c.src ! fakesink '
               'c.text_0 ! filesink location=out.txt', cwd=self.folder)
        text = (self.folder / 'out.txt').read_text(encoding='utf-8')
        expected = re.sub(r'\n+', '\n', ''.join(c for c in record['answer']['text'] if c in '\n\t' or c.isprintable()))
        self.assertEqual(text, expected.replace('-->', '->'))

    def test_posts_captions_on_the_bus(self):
        text = launch(f'-m videotestsrc num-buffers=3 ! {ELEMENT} ! fakesink').stdout
        self.assertRegex(text, r'mllama-caption, text=\(string\)')


@unittest.skipUnless(SAMPLES.is_dir(), 'forensics-samples-files is not installed')
class RealMedia(Case):
    def read_back(self, path):
        """(start, end) in milliseconds of the cues as subparse understands them."""
        result = launch(f'-v filesrc location={path} ! subparse ! fakesink silent=false sync=false')
        return [round(1000 * float(seconds)) for seconds in re.findall(r'pts: 0:00:(\d+\.\d+)', result.stdout)]

    def test_captions_a_photo(self):
        for photo in sorted((SAMPLES / 'pic2').glob('*.jpg')):
            answer, = caption_json('--model', MODEL, '--max-tokens', '8', photo)
            self.assertEqual((answer['file'], answer['pts']), (str(photo), 0))
            self.assertIn(answer['finish_reason'], ('stop', 'length'))

    def test_captions_the_clip_of_a_dog_down_to_subtitles(self):
        clip = SAMPLES / 'movie1' / 'VID_20191220_170832.mp4'
        subtitles = self.folder / 'dog.srt'
        launch(f'filesrc location={clip} ! decodebin ! {ELEMENT} interval=500000000 ! srtenc ! '
               f'filesink location={subtitles}')
        self.assertEqual(self.read_back(subtitles), [0, 517, 1017])

    def test_captions_four_containers_with_src_unlinked(self):
        for name in ('movie-hello.mp4', 'movie-hello.avi', 'movie-hello.mpeg', 'movie-hello.ogg'):
            with self.subTest(name=name):
                subtitles = self.folder / f'{name}.srt'
                launch(f'filesrc location={SAMPLES / "movie2" / name} ! decodebin ! {ELEMENT} interval=2000000000 ! '
                       f'srtenc ! filesink location={subtitles}')
                starts = self.read_back(subtitles)
                self.assertGreaterEqual(len(starts), 4)
                self.assertEqual(starts, sorted(set(starts)))

    def test_captions_a_photo_as_the_program_does_from_gst_launch(self):
        photo = sorted((SAMPLES / 'pic2').glob('*.jpg'))[0]
        out = self.folder / 'out.txt'
        launch(f'filesrc location={photo} ! decodebin ! {ELEMENT} name=c c.text_0 ! application/x-json ! '
               f'filesink location={out}')
        answer, = [json.loads(line) for line in out.read_text(encoding='utf-8').splitlines()]
        by_program, = caption_json('--model', MODEL, '--max-tokens', '6', photo)
        self.assertEqual(answer['text'], by_program['text'])
