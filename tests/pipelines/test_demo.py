# SPDX-License-Identifier: LGPL-2.1-or-later
"""The quickstart's moving scene: the files that it leaves, and what the default model says about it."""

import re
import unittest

from helpers import PROGRAM, SOURCE, Case, has_vision, launch, list_checkpoints, run, run_good

HAS_MODEL = (SOURCE / 'pipelines' / 'demo-model' / 'config.json').exists()
# What is to be seen in each second.
SAID = [r'A red ball on a blue background, (small|medium), .*\.'] * 4 + \
    [r'A medium green star at the top right and a large red circle in the centre, on a white background\.'] * 2 + \
    [r'The smpte test pattern: .*\.'] * 2 + [r'The text "HELLO" on a green background\.'] * 2 + \
    [r'A clock that shows 0:00:00 on a black background\.', r'A clock that shows 0:00:01 on a black background\.']


class Scene(Case):
    def script(self, line, model):
        run_good('bash', '-ec', f'. {SOURCE}/pipelines/lib/scene.sh; {line}', MLLAMA_DEMO_MODEL=str(model))

    def count_frames(self, path):
        """Frames that a decoder makes of it, and their size."""
        text = launch(f'-v filesrc location={path} ! decodebin ! fakesink silent=false sync=false').stdout
        width, height = re.search(r'width=\(int\)(\d+), height=\(int\)(\d+)', text).groups()
        return text.count('chain   *'), int(width), int(height)

    def test_is_left_as_a_video_and_as_a_picture_of_what_is_said(self):
        one, other = [path for path in list_checkpoints() if has_vision(path)][:2]
        self.script(f'make_scene {self.folder}/scene.webm; show_scene {self.folder}', one)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()),
                         ['captioned.png', 'captioned.webm', 'scene.webm'])
        self.assertEqual(self.count_frames(self.folder / 'scene.webm'), (180, 640, 480))
        self.assertEqual(self.count_frames(self.folder / 'captioned.webm'), (180, 640, 480))
        self.assertEqual(self.count_frames(self.folder / 'captioned.png'), (1, 960, 720))
        picture = (self.folder / 'captioned.png').read_bytes()
        self.script(f'show_scene {self.folder}', other)
        self.assertTrue((self.folder / 'captioned.png').read_bytes() != picture, 'other captions make another picture')

    @unittest.skipUnless(HAS_MODEL, 'there is no default model')
    def test_the_default_model_says_what_is_to_be_seen(self):
        self.script(f'make_scene {self.folder}/scene.webm', '')
        lines = run(PROGRAM, self.folder / 'scene.webm', MLLAMA_DEMO_MODEL=None).stdout.splitlines()
        self.assertEqual(len(lines), len(SAID))
        for second, (line, said) in enumerate(zip(lines, SAID)):
            self.assertRegex(line, rf'^0:00:{second:02d}\.000  {said}$')
