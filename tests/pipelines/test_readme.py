# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every command of the README, as printed there.

A fenced block of kind "sh" is run line by line in a folder that looks like a checkout that was built, with nothing replaced
but what substitutions.py names. A block behind the comment "output of the last command line" ends with a command and what
it prints, and has to print it still. There are no other blocks.
"""

import json
import re
import shutil

from helpers import BUILD, SAMPLES, SOURCE, Case, read_blocks, read_commands, run_good
from substitutions import substitute

README = SOURCE / 'README.md'
OUTPUT = 'output of the last command line'


def read_outputs():
    """(command, what it prints) of every block of output; the lines before the command come from a script."""
    for comment, _, block in read_blocks(README):
        if comment == OUTPUT:
            command, _, output = block.rpartition('$ ')[2].partition('\n')
            yield command, output


class Readme(Case):
    def setUp(self):
        super().setUp()
        for name in ('pipelines', 'tests'):
            (self.folder / name).symlink_to(SOURCE / name)
        (self.folder / 'build').symlink_to(BUILD)
        self.place('photo.jpg', SAMPLES / 'pic2' / 'IMG_20200608_111614.jpg', self.make_picture)
        self.place('clip.mp4', SAMPLES / 'movie1' / 'VID_20191220_170832.mp4', self.make_video)
        self.make_picture('other.png')

    def place(self, name, sample, make):
        if sample.exists():
            shutil.copy(sample, self.folder / name)
        else:
            make(name)

    def test_every_line_runs_as_printed(self):
        exports = []
        for line in map(substitute, read_commands(README)):
            if line.startswith('export '):
                exports.append(line)
            with self.subTest(line=line):
                run_good('bash', '-c', '\n'.join([*exports, line]), cwd=self.folder, GST_PLUGIN_PATH=None)

    def test_every_block_is_commands_or_what_they_print(self):
        for comment, kind, block in read_blocks(README) + read_blocks(SOURCE / 'pipelines' / 'README.md'):
            self.assertTrue(kind == 'sh' or (comment, kind) == (OUTPUT, ''), block)

    def test_output_is_what_is_printed_there(self):
        # What the quickstart makes, in the place that the command names.
        picture = self.folder / 'here' / 'build' / 'quickstart' / 'test-picture.png'
        run_good('bash', '-ec', f'. {SOURCE}/pipelines/lib/setup.sh; . {SOURCE}/pipelines/lib/scene.sh; '
                                f'make_test_picture {picture}; make_scene {picture.with_name("scene.webm")}')
        (picture.parents[1] / 'pipelines').symlink_to(BUILD / 'pipelines')
        (picture.parents[2] / 'tests').symlink_to(SOURCE / 'tests')
        outputs = list(read_outputs())
        self.assertGreater(len(outputs), 1)
        for command, output in outputs:
            with self.subTest(command=command):
                printed = run_good('bash', '-c', command, cwd=picture.parents[2]).stdout
                if '--json' in command:
                    self.compare_json(json.loads(printed), json.loads(output))
                else:
                    self.assertEqual(printed, output)

    def compare_json(self, found, expected):
        self.assertEqual(list(found), list(expected))
        self.assertEqual(list(found['timings']), list(expected['timings']))
        for name in set(found) - {'timings', 'logprobs', 'confidence'}:
            self.assertEqual(found[name], expected[name])
        for value, wanted in zip([found['confidence'], *found['logprobs']], [expected['confidence'], *expected['logprobs']]):
            self.assertAlmostEqual(value, wanted, places=4)

    def test_the_property_table_is_that_of_the_element(self):
        section = README.read_text(encoding='utf-8').split('\n### Properties\n')[1].split('\n#')[0]
        described = set(re.findall(r'^\| `([a-z0-9-]+)` \|', section, re.MULTILINE))
        listing = run_good('gst-inspect-1.0', 'mllamacaption').stdout
        properties = set(re.findall(r'^  ([a-z0-9-]+) +: ', listing, re.MULTILINE)) - {'name', 'parent'}
        self.assertEqual(properties - described, set())
        self.assertEqual(described - properties, set())
