# SPDX-License-Identifier: LGPL-2.1-or-later
"""pipelines/README.md: it names everything that runs, and every line of it runs, with what substitutions.py puts in place
of cameras, windows, networks and large models."""

import re
import shutil
import subprocess
import unittest

from helpers import BUILD, SAMPLES, SOURCE, Case, Lines, make_environment, read_commands, run_good
from substitutions import MODEL, SUBSTITUTIONS, substitute

README = SOURCE / 'pipelines' / 'README.md'
SERVER = BUILD / 'tests' / 'pipelines' / 'rtsp-server'


class Examples(Case):
    def serve(self):
        server = subprocess.Popen([str(SERVER), '0'], env=make_environment(), stdout=subprocess.PIPE, encoding='utf-8')
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        return 'rtsp://127.0.0.1:' + Lines(server.stdout).wait_for(r'^\d+$') + '/test'

    def test_every_script_has_a_row_and_every_row_a_script(self):
        rows = re.findall(r'^\| `([^`]+\.sh)` \| (.+) \|$', README.read_text(encoding='utf-8'), re.MULTILINE)
        scripts = sorted(path.name for path in (SOURCE / 'pipelines').glob('*.sh'))
        self.assertEqual(sorted(name for name, _ in rows), scripts)
        used = ' '.join(read_commands(README))
        for name in scripts:
            self.assertTrue(name == 'quickstart.sh' or f'pipelines/{name}' in used, f'{name} has no line that uses it')

    @unittest.skipUnless(SERVER.exists(), 'built without libgstrtspserver-1.0-dev')
    def test_every_line_runs(self):
        for name in ('pipelines', 'tests'):
            (self.folder / name).symlink_to(SOURCE / name)
        clip = SAMPLES / 'movie1' / 'VID_20191220_170832.mp4'
        for name in ('clip.mp4', 'other.mp4'):
            if clip.exists():
                shutil.copy(clip, self.folder / name)
            else:
                self.make_video(name)
        uri = self.serve()
        for line in read_commands(README):
            line = substitute(line, rtsp=uri)
            with self.subTest(line=line):
                self.assertNotIn('{', line)
                # One that names no model gets a small one, whether or not there is a default.
                result = run_good('bash', '-c', line, cwd=self.folder, MLLAMA_BUILD_DIR=str(BUILD),
                                  MLLAMA_DEMO_MODEL=str(SOURCE / MODEL))
                self.assertRegex(result.stderr, r'^(gst-launch-1\.0 -e |Pipeline: )', 'it does not say what it runs')
        for name in ('captioned.mkv', 'clip.srt', 'day.mkv', 'other.mp4.jsonl', 'site/main.m3u8'):
            self.assertGreater((self.folder / name).stat().st_size, 0, name)

    def test_every_substitution_is_needed(self):
        documents = '\n'.join(read_commands(README) + read_commands(SOURCE / 'README.md'))
        for pattern, _ in SUBSTITUTIONS:
            with self.subTest(pattern=pattern):
                self.assertRegex(documents, re.compile(pattern, re.MULTILINE))
