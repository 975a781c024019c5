# SPDX-License-Identifier: LGPL-2.1-or-later
"""A whole pipeline under valgrind: no invalid access, nothing lost."""

import shutil
import unittest
from pathlib import Path

from helpers import SOURCE, Case, find_checkpoint, run, run_good

SUPPRESSIONS = [path for path in (Path('/usr/share/glib-2.0/valgrind/glib.supp'), SOURCE / 'tests' / 'valgrind.supp')
                if path.exists()]
VALGRIND = ['valgrind', '-q', '--error-exitcode=9', '--leak-check=full', '--show-leak-kinds=definite',
            '--errors-for-leak-kinds=definite', '--num-callers=30', *(f'--suppressions={path}' for path in SUPPRESSIONS)]


@unittest.skipUnless(shutil.which('valgrind'), 'valgrind is not installed')
class Valgrind(Case):
    def test_a_pipeline_with_text_message_and_metadata_is_clean(self):
        # A registry of its own, filled beforehand: scanning hundreds of plugins under valgrind would take minutes.
        settings = {'GST_REGISTRY': str(self.folder / 'registry.bin'), 'GST_REGISTRY_UPDATE': None, 'G_DEBUG': None}
        run_good('gst-inspect-1.0', 'mllamacaption', **settings)
        line = (f'gst-launch-1.0 -q videotestsrc num-buffers=4 ! video/x-raw,width=64,height=48,framerate=4/1 ! '
                f'mllamacaption name=c model={find_checkpoint()} max-tokens=4 interval=500000000 '
                f'c.src ! fakesink c.text_0 ! srtenc ! filesink location={self.folder}/out.srt')
        result = run(*VALGRIND, *line.split(), **{**settings, 'GST_REGISTRY_UPDATE': 'no', 'G_SLICE': 'always-malloc'})
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual((self.folder / 'out.srt').read_text(encoding='utf-8').count(' --> '), 2)
