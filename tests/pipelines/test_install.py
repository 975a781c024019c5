# SPDX-License-Identifier: LGPL-2.1-or-later
"""What meson install leaves: the plugin finds a model in the data directory where none is named."""

import filecmp
import re
import shutil
import unittest

from helpers import BUILD, SOURCE, Case, find_checkpoint, launch, run_good

DEMO_MODEL = SOURCE / 'pipelines' / 'demo-model'
LINE = '-m videotestsrc num-buffers=1 ! video/x-raw,width=64,height=48 ! mllamacaption {} max-tokens=8 ! fakesink'


def read_caption(text):
    return re.search(r'mllama-caption, text=\(string\)(.*?), prompt=', text)[1]


class Installed(Case):
    def setUp(self):
        super().setUp()
        self.root = self.folder / 'root'
        run_good('meson', 'install', '-C', BUILD, '--no-rebuild', '--destdir', self.root)
        plugin, = self.root.rglob('libgstmllama.so')
        config, = self.root.rglob('share/mllama/demo-model')
        self.model = config
        self.environment = {'GST_PLUGIN_PATH': str(plugin.parent), 'LD_LIBRARY_PATH': str(plugin.parents[1]),
                            'GST_REGISTRY': str(self.folder / 'registry.bin'), 'MLLAMA_DEMO_MODEL': None}

    def caption(self, properties=''):
        return read_caption(launch(LINE.format(properties), **self.environment).stdout)

    def test_the_plugin_finds_a_model_in_the_data_directory(self):
        # Another one than the checkout's, which would also be found.
        shutil.rmtree(self.model)
        shutil.copytree(find_checkpoint(), self.model)
        self.assertEqual(self.caption(), self.caption(f'model={find_checkpoint()}'))

    @unittest.skipUnless((DEMO_MODEL / 'config.json').exists(), 'there is no default model')
    def test_the_default_model_is_installed_whole(self):
        names = sorted(path.name for path in DEMO_MODEL.iterdir())
        same, different, missing = filecmp.cmpfiles(DEMO_MODEL, self.model, names, shallow=False)
        self.assertEqual((sorted(same), different, missing), (names, [], []))
