# SPDX-License-Identifier: LGPL-2.1-or-later
"""The scripts in pipelines/, with test sources and sinks in place of cameras and screens. test_rtsp.py and test_hls.py have
those two."""

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

    def test_file_to_srt_writes_either_kind_of_subtitles(self):
        video = self.make_video()
        self.script('file-to-srt.sh', '--interval', '0.5', video.name)
        self.assertEqual((self.folder / 'video.srt').read_text(encoding='utf-8').count(' --> '), 4)
        self.script('file-to-srt.sh', video.name, 'other.vtt')
        self.assertTrue((self.folder / 'other.vtt').read_text(encoding='utf-8').startswith('WEBVTT'))

    def test_file_to_srt_draws_the_captions_it_writes_into_a_copy(self):
        video = self.make_video(frames=30, caps='width=320,height=240')
        self.script('file-to-srt.sh', '--burnt-in', 'copy.mkv', video.name)
        self.assertEqual((self.folder / 'video.srt').read_text(encoding='utf-8').count(' --> '), 3)
        for name in ('video.ogg', 'copy.mkv'):
            launch(f'filesrc location={name} ! decodebin ! videoconvert ! video/x-raw,format=GRAY8 ! '
                   f'filesink location={name}.gray', cwd=self.folder)
        plain, drawn = ((self.folder / f'{name}.gray').read_bytes() for name in ('video.ogg', 'copy.mkv'))
        # A text lies on a shade, in the lower part of the picture. The last frame may be missing from the copy.
        frame = 320 * 240
        self.assertGreaterEqual(len(drawn), 29 * frame)

        def compare(first_row, end_row):
            return max(abs(a - b) for a, b in zip(plain[320 * first_row:320 * end_row], drawn[320 * first_row:320 * end_row]))

        self.assertGreater(compare(190, 240), 40)

    def test_two_questions_share_an_encode(self):
        text = self.script('two-questions.sh', self.make_video(), 'Is it day?', 'Who is there?').stdout
        answers = [json.loads(line) for line in text.splitlines() if line.startswith('{')]
        pairs = {}
        for answer in answers:
            pairs.setdefault(answer['encode-id'], {})[answer['prompt']] = answer['states-reused']
        self.assertEqual(list(pairs.values()), [{'Is it day?': False, 'Who is there?': True}] * 2)

    def test_many_streams_are_captioned_side_by_side_as_alone(self):
        videos = [self.make_video(f'{number}.ogg', frames=10 * number) for number in (1, 2, 3)]
        self.script('many-streams.sh', *videos)

        def read(video):
            lines = (self.folder / f'{video.name}.jsonl').read_text(encoding='utf-8').splitlines()
            return [(answer['pts'], answer['token-ids']) for answer in map(json.loads, lines)]

        together = [read(video) for video in videos]
        self.assertEqual([len(answers) for answers in together], [1, 2, 3])
        self.script('many-streams.sh', videos[2])
        self.assertEqual(read(videos[2]), together[2])

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

    def test_a_script_says_what_it_runs_in_words_that_a_shell_takes(self):
        video = self.make_video().rename(self.folder / 'a video.ogg')
        said = self.script('file-to-srt.sh', video.name).stderr
        line = next(line for line in said.splitlines() if line.startswith('gst-launch-1.0 '))
        first = (self.folder / 'a video.srt').read_text(encoding='utf-8')
        (self.folder / 'a video.srt').unlink()
        run_good('bash', '-c', line, cwd=self.folder)
        self.assertEqual((self.folder / 'a video.srt').read_text(encoding='utf-8'), first)
