# SPDX-License-Identifier: LGPL-2.1-or-later
"""The scripts in pipelines/, with test sources and sinks in place of cameras and screens."""

import json

from helpers import BUILD, SOURCE, Case, find_checkpoint, launch, run, run_good

OPTIONS = ('--model', find_checkpoint(), '--max-tokens', '4')
LIVE = 'videotestsrc is-live=true num-buffers=15'


class Scripts(Case):
    def script(self, name, *arguments):
        return run_good(SOURCE / 'pipelines' / name, *OPTIONS, *arguments, cwd=self.folder, MLLAMA_BUILD_DIR=str(BUILD))

    def test_camera_draws_over_a_live_source(self):
        self.script('camera.sh', '--source', LIVE, '--sink', f'pngenc ! multifilesink location={self.folder}/%03d.png')
        self.assertEqual(len(list(self.folder.glob('*.png'))), 15)

    def test_rtsp_prints_json_for_a_uri(self):
        text = self.script('rtsp.sh', self.make_video().as_uri()).stdout
        answers = [json.loads(line) for line in text.splitlines() if line.startswith('{')]
        self.assertEqual([answer['pts'] for answer in answers], [0, 1000000000])

    def test_file_to_srt_writes_either_kind_of_subtitles(self):
        video = self.make_video()
        self.script('file-to-srt.sh', '--interval', '0.5', video.name)
        self.assertEqual((self.folder / 'video.srt').read_text(encoding='utf-8').count(' --> '), 4)
        self.script('file-to-srt.sh', video.name, 'other.vtt')
        self.assertTrue((self.folder / 'other.vtt').read_text(encoding='utf-8').startswith('WEBVTT'))

    def test_overlay_plays_a_video_to_its_end(self):
        self.script('overlay.sh', '--sink', f'pngenc ! multifilesink location={self.folder}/%03d.png', self.make_video())
        self.assertEqual(len(list(self.folder.glob('*.png'))), 20)

    def test_record_makes_a_file_with_a_subtitle_track(self):
        out = self.folder / 'out.mkv'
        self.script('record.sh', '--source', LIVE, '--output', out)
        tracks = launch(f'-v filesrc location={out} ! matroskademux name=d d.subtitle_0 ! queue ! '
                        'fakesink silent=false async=false sync=false d.video_0 ! queue ! fakesink sync=false').stdout
        self.assertRegex(tracks, r'chain   \*+ \(fakesink0:sink\) \(\d+ bytes')

    def test_every_script_explains_itself_and_refuses_what_it_does_not_know(self):
        for path in sorted((SOURCE / 'pipelines').glob('*.sh')):
            with self.subTest(script=path.name):
                self.assertIn(f'Usage: pipelines/{path.name}', run_good(path, '--help').stdout)
                self.assertNotEqual(run(path, '--nonsense', 'x').returncode, 0)
