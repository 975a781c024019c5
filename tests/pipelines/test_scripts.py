# SPDX-License-Identifier: LGPL-2.1-or-later
"""The scripts in pipelines/, with test sources and sinks in place of cameras and screens. test_rtsp.py and test_hls.py have
those two."""

import json
import os
import re

from helpers import BUILD, SOURCE, Case, find_checkpoint, has_vision, launch, list_checkpoints, run, run_good

OPTIONS = ('--model', find_checkpoint(), '--max-tokens', '4')
# Each frame has an answer of its own, though all are black.
TELLING = ('--model', [path for path in list_checkpoints() if has_vision(path)][-1], '--max-tokens', '6', '--prompt', '{pts}')
WIDTH, HEIGHT = 320, 240
CAPS = f'width={WIDTH},height={HEIGHT}'
GRAY = 'video/x-raw,format=GRAY8 ! filesink location='


def find_text(frame):
    """Pixels of a frame that would be black without the white letters of a caption."""
    return {i for i, value in enumerate(frame) if value > 128}


class Scripts(Case):
    def script(self, name, *arguments, options=OPTIONS):
        result = run_good(SOURCE / 'pipelines' / name, *options, *arguments, cwd=self.folder, MLLAMA_BUILD_DIR=str(BUILD))
        self.assertRegex(result.stderr, r'(?m)^gst-launch-1\.0 -e ')
        return result

    def read_frames(self, name):
        data = (self.folder / name).read_bytes()
        return [data[at:at + WIDTH * HEIGHT] for at in range(0, len(data), WIDTH * HEIGHT)]

    def check_captions_change_at(self, changes, texts):
        """Every frame has a text, in its lower part, and another one from each of the given frames on."""
        for number, text in enumerate(texts):
            self.assertGreater(len(text), 20, f'frame {number}')
            self.assertGreater(min(text) // WIDTH, HEIGHT / 2)
        changed = [n for n in range(1, len(texts)) if len(texts[n] ^ texts[n - 1]) > 20]
        self.assertEqual(changed, changes)

    def test_camera_draws_over_a_live_source(self):
        live = 'videotestsrc is-live=true num-buffers=60 pattern=solid-color foreground-color=0xff808080 ! ' \
            f'video/x-raw,framerate=30/1,{CAPS}'
        self.script('camera.sh', '--source', live, '--sink', f'{GRAY}out.gray')
        frames = self.read_frames('out.gray')
        self.assertEqual(len(frames), 60)
        # White letters on a dark shade, in some frame. Which one depends on how busy the machine is.
        self.assertGreater(max(sum(value > 150 for value in frame) for frame in frames), 10)
        self.assertGreater(max(sum(value < 100 for value in frame) for frame in frames), 100)

    def test_file_to_srt_writes_either_kind_of_subtitles(self):
        video = self.make_video()
        self.script('file-to-srt.sh', '--interval', '0.8', video.name)
        text = (self.folder / 'video.srt').read_text(encoding='utf-8')
        cues = re.findall(r'^\d\d:\d\d:(\S+) --> \d\d:\d\d:(\S+)$', text, re.MULTILINE)
        # The last one ends with the video.
        self.assertEqual(cues, [('00,000', '00,800'), ('00,800', '01,600'), ('01,600', '02,000')])
        self.script('file-to-srt.sh', video.name, 'other.vtt')
        self.assertTrue((self.folder / 'other.vtt').read_text(encoding='utf-8').startswith('WEBVTT'))

    def test_file_to_srt_draws_the_captions_it_writes_into_a_copy(self):
        video = self.make_video(frames=30, caps=CAPS, pattern='black')
        self.script('file-to-srt.sh', '--burnt-in', 'copy.mkv', video.name, options=TELLING)
        self.assertEqual((self.folder / 'video.srt').read_text(encoding='utf-8').count(' --> '), 3)
        launch(f'filesrc location=copy.mkv ! decodebin ! videoconvert ! {GRAY}copy.gray', cwd=self.folder)
        texts = [find_text(frame) for frame in self.read_frames('copy.gray')]
        # The last frame may be missing from the copy.
        self.assertIn(len(texts), (29, 30))
        self.check_captions_change_at([10, 20], texts)

    def test_two_questions_share_an_encode(self):
        text = self.script('two-questions.sh', self.make_video(), 'Is it day?', 'Who is there?').stdout
        answers = [json.loads(line) for line in text.splitlines() if line.startswith('{')]
        pairs = {}
        for answer in answers:
            pairs.setdefault(answer['encode-id'], {})[answer['prompt']] = answer['states-reused']
        self.assertEqual(list(pairs.values()), [{'Is it day?': False, 'Who is there?': True}] * 2)

    def test_many_streams_are_captioned_side_by_side_as_alone(self):
        videos = [self.make_video(f'{number}.ogg', frames=10 * number) for number in (1, 2, 3)]
        self.script('many-streams.sh', *videos, options=TELLING)

        def read(video):
            lines = (self.folder / f'{video.name}.jsonl').read_text(encoding='utf-8').splitlines()
            return [(answer['pts'], answer['token-ids']) for answer in map(json.loads, lines)]

        together = [read(video) for video in videos]
        self.assertEqual([len(answers) for answers in together], [1, 2, 3])
        self.script('many-streams.sh', videos[2], options=TELLING)
        self.assertEqual(read(videos[2]), together[2])

    def test_overlay_draws_each_caption_from_the_frame_it_belongs_to_to_the_end(self):
        video = self.make_video(frames=30, caps=CAPS, pattern='black')
        self.script('overlay.sh', '--sink', f'{GRAY}out.gray', video, options=TELLING)
        texts = [find_text(frame) for frame in self.read_frames('out.gray')]
        self.assertEqual(len(texts), 30)
        self.check_captions_change_at([10, 20], texts)

    def test_record_makes_a_file_with_subtitles_at_the_times_of_their_frames(self):
        self.script('record.sh', '--source', 'videotestsrc is-live=true num-buffers=45 ! video/x-raw,framerate=30/1',
                    '--interval', '0.5', '--output', 'out.mkv')
        said = launch('-v filesrc location=out.mkv ! matroskademux name=d d.subtitle_0 ! queue ! '
                      'fakesink name=text silent=false async=false sync=false d.video_0 ! queue ! h264parse ! avdec_h264 ! '
                      'fakesink name=video silent=false sync=false', cwd=self.folder).stdout
        times = {name: [float(pts) for size, pts in re.findall(
            rf'chain   \*+ \({name}:sink\) \((\d+) bytes, dts: \S+ pts: 0:00:0(\S+),', said) if int(size) > 0]
                 for name in ('text', 'video')}
        self.assertEqual(len(times['video']), 45)
        # The first of each half second. Of those that come while the model is busy, only the newest is captioned.
        due = [min(time for time in times['video'] if time >= half / 2) for half in range(int(times['video'][-1] * 2) + 1)]
        self.assertLessEqual(set(times['text']), set(due))
        self.assertEqual(times['text'][0], due[0])
        self.assertGreaterEqual(len(times['text']), 2)

    def test_quickstart_captions_a_test_picture_and_what_is_named(self):
        # It finds all packages there, and all built.
        for name in ('pipelines', 'tests'):
            (self.folder / name).symlink_to(SOURCE / name)
        for name in ('build', 'bin', 'elsewhere'):
            (self.folder / name).mkdir()
        for name in ('pipelines', 'gst-plugin', 'engine'):
            (self.folder / 'build' / name).symlink_to(BUILD / name)
        (self.folder / 'build' / 'build.ninja').touch()
        for name, line in (('dpkg-query', 'printf installed'), ('ninja', 'echo "$@" >ninja.txt')):
            (self.folder / 'bin' / name).write_text(f'#!/bin/sh\n{line}\n', encoding='utf-8')
            (self.folder / 'bin' / name).chmod(0o755)
        self.make_picture('elsewhere/photo.png')
        result = run_good(self.folder / 'pipelines' / 'quickstart.sh', '--model', find_checkpoint(), 'photo.png',
                          cwd=self.folder / 'elsewhere', PATH=f'{self.folder}/bin:{os.environ["PATH"]}')
        self.assertEqual((self.folder / 'ninja.txt').read_text(encoding='utf-8'), '-C build\n')
        self.assertRegex(result.stderr, r'(?m)^\$ build/pipelines/mllama-caption --model ')
        self.assertRegex(result.stdout, r'test-picture\.png.*\n(.*\n)*.*elsewhere/photo\.png')

    def test_every_script_explains_itself_and_refuses_what_it_does_not_know(self):
        for path in sorted((SOURCE / 'pipelines').glob('*.sh')):
            with self.subTest(script=path.name):
                self.assertIn(f'Usage: pipelines/{path.name}', run_good(path, '--help').stdout)
                refused = run(path, '--nonsense', 'x')
                self.assertNotEqual(refused.returncode, 0)
                self.assertIn('Unknown option --nonsense', refused.stderr)

    def test_a_script_says_what_it_runs_in_words_that_a_shell_takes(self):
        video = self.make_video().rename(self.folder / 'a video.ogg')
        said = self.script('file-to-srt.sh', video.name).stderr
        line = next(line for line in said.splitlines() if line.startswith('gst-launch-1.0 '))
        first = (self.folder / 'a video.srt').read_text(encoding='utf-8')
        (self.folder / 'a video.srt').unlink()
        run_good('bash', '-c', line, cwd=self.folder)
        self.assertEqual((self.folder / 'a video.srt').read_text(encoding='utf-8'), first)
