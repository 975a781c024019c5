# SPDX-License-Identifier: LGPL-2.1-or-later
"""mllama-archive annotate: which clips it takes, and what their files hold."""

import os
import struct
import time
from pathlib import Path

from archives import ArchiveCase, list_files, make_surroundings, read_cues, read_lines, spell
from archives import PROGRAM as ARCHIVE
from helpers import PROGRAM, caption_json, find_checkpoint, launch, read_netpbm, run_good

FILES = ('jsonl', 'srt', 'vtt')
RGB = {'black': (0, 0, 0), 'white': (255, 255, 255), 'red': (255, 0, 0), 'green': (0, 255, 0), 'blue': (0, 0, 255)}


def name_colour(picture):
    """Which of RGB the mean of a picture is nearest to."""
    width, height, _, pixels = picture
    mean = [sum(pixels[i::3]) / width / height for i in range(3)]
    return min(RGB, key=lambda name: sum((a - b) ** 2 for a, b in zip(mean, RGB[name])))


def read_jpeg(path):
    launch(f'filesrc location={path} ! jpegdec ! videoconvert ! video/x-raw,format=RGB ! pnmenc ! '
           f'filesink location={path}.ppm', **make_surroundings())
    return read_netpbm(path.with_name(path.name + '.ppm'))


class Choosing(ArchiveCase):
    def list_chosen(self, *arguments):
        """Paths that a dry run would annotate, as they are below self.clips."""
        said = self.good('annotate', '--dry-run', '--output', self.out, *arguments)
        return sorted(os.path.relpath(line, self.clips) for line in said.splitlines() if line.startswith('/'))

    def touch(self, *names):
        for name in names:
            path = self.clips / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def test_takes_clips_of_a_folder_and_of_folders_in_it_by_their_endings(self):
        self.touch('a.mp4', 'b.MKV', 'notes.txt', 'a.mp4.srt', 'sub/deeper/c.webm', 'sub/d.jpg', 'mp4')
        self.assertEqual(self.list_chosen(self.clips), ['a.mp4', 'b.MKV', 'sub/deeper/c.webm'])

    def test_takes_a_file_that_is_named_whatever_it_is_called(self):
        self.touch('a.mp4', 'recording', 'notes.txt')
        self.assertEqual(self.list_chosen(self.clips / 'recording'), ['recording'])

    def test_includes_and_excludes_by_patterns(self):
        self.touch('a.mp4', 'b.bin', 'c.bin', 'sub/d.bin', 'sub/e.mp4')
        self.assertEqual(self.list_chosen('--include', '*.bin', self.clips), ['b.bin', 'c.bin', 'sub/d.bin'])
        self.assertEqual(self.list_chosen('--include', '*.bin', '--include', 'a.*', '--exclude', 'sub/*', self.clips),
                         ['a.mp4', 'b.bin', 'c.bin'])
        self.assertEqual(self.list_chosen('--exclude', '?.mp4', '--exclude', 'nothing', self.clips), ['sub/e.mp4'])

    def test_takes_no_file_that_it_wrote_itself(self):
        self.add_clip('a.ogg')
        self.good('annotate', self.clips)
        self.assertEqual(self.read_counts(self.good('annotate', self.clips, '--include', '*')), (0, 1))

    def test_takes_a_path_that_is_named_twice_once(self):
        self.touch('a.mp4', 'sub/b.mp4')
        self.assertEqual(self.list_chosen(self.clips, self.clips / 'a.mp4', f'{self.clips}/sub/../a.mp4', self.clips / 'sub'),
                         ['a.mp4', 'sub/b.mp4'])
        names = self.folder / 'list'
        names.write_text(f'{self.clips}/a.mp4\n\n{self.clips}/sub/b.mp4\n{self.clips}/sub/../a.mp4', encoding='utf-8')
        self.assertEqual(self.list_chosen('--files-from', names), ['a.mp4', 'sub/b.mp4'])

    def test_follows_links_to_files_and_not_to_folders_in_a_folder(self):
        self.touch('a.mp4', 'sub/b.mp4')
        other = self.folder / 'other'
        other.mkdir()
        (other / 'c.mp4').touch()
        (self.clips / 'link.mp4').symlink_to(other / 'c.mp4')
        (self.clips / 'lost.mp4').symlink_to(other / 'nothing.mp4')
        (self.clips / 'folder').symlink_to(other)
        (self.clips / 'sub' / 'around').symlink_to(self.clips)
        self.assertEqual(self.list_chosen(self.clips), ['a.mp4', 'link.mp4', 'sub/b.mp4'])
        self.assertEqual(self.list_chosen(self.clips / 'folder'), ['folder/c.mp4'])

    def test_lays_files_out_below_the_output_as_clips_lie_in_their_folder(self):
        self.add_clip('a.ogg')
        self.add_clip('sub/b.ogg')
        self.annotate()
        expected = sorted(f'{clip}.{name}' for clip in ('a.ogg', 'sub/b.ogg') for name in (*FILES, 'thumbs/0000000.000.jpg'))
        self.assertEqual(list(list_files(self.out)), expected)

    def test_lays_files_of_several_folders_out_below_their_names(self):
        self.add_clip('one/a.ogg')
        self.add_clip('two/a.ogg')
        self.good('annotate', self.clips / 'one', self.clips / 'two', '--output', self.out)
        self.assertEqual([str(path.relative_to(self.out)) for path in sorted(self.out.rglob('*.srt'))],
                         ['one/a.ogg.srt', 'two/a.ogg.srt'])

    def test_puts_files_and_index_beside_the_clips_of_a_folder(self):
        self.add_clip('sub/a.ogg')
        self.good('annotate', self.clips)
        self.assertEqual(sorted(path.name for path in (self.clips / 'sub').iterdir()),
                         ['a.ogg', 'a.ogg.jsonl', 'a.ogg.srt', 'a.ogg.thumbs', 'a.ogg.vtt'])
        self.assertTrue((self.clips / 'archive.db').exists())
        self.assertEqual(self.read_counts(self.good('annotate', self.clips)), (0, 1))

    def test_refuses_two_clips_that_would_have_the_same_files(self):
        self.add_clip('one/x/a.ogg')
        self.add_clip('two/x/a.ogg')
        result = self.archive('annotate', self.clips / 'one' / 'x', self.clips / 'two' / 'x', '--output', self.out)
        self.assertEqual(result.returncode, 2)
        self.assertRegex(result.stderr, r'one/x/a\.ogg and \S+two/x/a\.ogg would both be written to \S+out/x/a\.ogg')
        self.assertFalse(self.out.exists())

    def test_names_what_a_list_holds_from_its_base(self):
        clip = self.add_clip('sub/a.ogg')
        result = self.archive('annotate', '--files-from', '-', '--base', self.clips, '--output', self.out,
                              command=('sh', '-c', f'echo {clip} | "$@"', 'sh'))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue((self.out / 'sub' / 'a.ogg.vtt').exists())

    def test_a_listed_clip_that_has_gone_stops_no_other(self):
        clip = self.add_clip('a.ogg')
        names = self.folder / 'list'
        names.write_text(f'{self.clips}/gone.ogg\n{clip}\n', encoding='utf-8')
        result = self.archive('annotate', '--files-from', names, '--base', '/', '--output', self.out)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r'/gone\.ogg: ')
        self.assertTrue(Path(f'{self.out}{clip}.vtt').exists(), result.stderr)

    def test_refuses_wrong_command_lines_by_name(self):
        self.touch('a.mp4')
        for arguments, words in (
                (['annotate'], '--files-from'), (['annotate', self.clips / 'none.mp4', '-o', self.out], r'none\.mp4'),
                (['annotate', self.clips / 'a.mp4'], '--index'), (['annotate', self.clips, '--jobs', '0'], '--jobs.*1 to 256'),
                (['annotate', '--files-from', self.clips / 'a.mp4', '--include', '*'], '--include.*folders.*--files-from'),
                (['annotate', self.clips, '--interval', '5'], '--interval takes TIME, not "5": a number with ns, us, ms, s'),
                (['annotate', self.clips, '--thumbnail-width', '9999'], '--thumbnail-width'),
                (['annotate', self.clips, '--ask', 'what is it'], '--ask.*NAME=PROMPT.*what is it'),
                (['annotate', self.clips, '--ask', 'a/b=x'], '--ask.*a/b'), (['annotate', self.clips, '--ask', 'a='], '--ask'),
                (['annotate', self.clips, '--ask', 'a=x', '--ask', 'a=y'], '--ask a: there is a question'),
                (['annotate', self.clips, '--ask', 'caption=y'], '--ask caption: there is a question'),
                (['annotate', self.clips, '--include', '*.bin'], 'no clips.*--include'), (['frobnicate'], 'annotate'), ([], 'annotate')):
            result = self.archive(*arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ''), arguments)
            self.assertRegex(result.stderr, words)
        self.assertEqual([path.name for path in self.clips.iterdir()], ['a.mp4'])


class Files(ArchiveCase):
    def check_agreement(self, base, question='caption', is_first=True):
        """Subtitles and lines of a clip say the same at the same times."""
        lines = [line for line in read_lines(self.out / f'{base}.jsonl') if line['question'] == question]
        expected = [(spell(line['start']), spell(line['end']), line['text']) for line in lines]
        name = base if is_first else f'{base}.{question}'
        for ending in ('srt', 'vtt'):
            self.assertEqual(read_cues(self.out / f'{name}.{ending}'), expected)
        return lines

    def test_subtitles_and_lines_say_the_same_at_the_same_times(self):
        self.add_clip('a.ogg', 'red', 'green', 'blue')
        self.annotate('--interval', '500ms')
        lines = self.check_agreement('a.ogg')
        self.assertEqual([(line['start'], line['end']) for line in lines], [(i / 2, i / 2 + 0.5) for i in range(6)])
        self.assertEqual([line['text'].split()[0] for line in lines], ['red', 'red', 'green', 'green', 'blue', 'blue'])
        self.assertTrue(all(0 < line['confidence'] <= 1 for line in lines))

    def test_says_what_mllama_caption_says_of_the_clip(self):
        clip = self.add_clip('a.ogg', 'red', 'green', 'blue')
        model = ('--model', find_checkpoint(), '--max-tokens', '6', '--interval', '700ms')
        run_good(ARCHIVE, 'annotate', self.clips, '--output', self.out, *model)
        for ending in ('srt', 'vtt'):
            run_good(PROGRAM, *model, f'--{ending}', '-o', self.folder / f'a.{ending}', clip)
            self.assertEqual((self.folder / f'a.{ending}').read_text(encoding='utf-8'),
                             (self.out / f'a.ogg.{ending}').read_text(encoding='utf-8'))
        said = caption_json(*model, clip)
        lines = read_lines(self.out / 'a.ogg.jsonl')
        self.assertGreater(len(lines), 3)
        self.assertEqual([(round(line['start'] * 1e9), line['text'], line['confidence']) for line in lines],
                         [(answer['pts'], answer['text'], answer['confidence']) for answer in said])

    def test_answers_to_further_questions_have_files_of_their_own(self):
        self.add_clip('a.ogg', 'red', 'green')
        self.annotate('--prompt', 'What is it?', '--ask', 'night=Is it night?', '--ask', 'car_1=Is there a car?')
        for name, prompt in (('caption', 'What is it?'), ('night', 'Is it night?'), ('car_1', 'Is there a car?')):
            lines = self.check_agreement('a.ogg', name, name == 'caption')
            self.assertEqual([line['text'] for line in lines], [f'{colour} 64x48: {prompt}' for colour in ('red', 'green')])
        self.assertEqual([line['question'] for line in read_lines(self.out / 'a.ogg.jsonl')], ['caption', 'night', 'car_1'] * 2)

    def test_encodes_a_frame_once_for_all_questions(self):
        """Each encode takes a while here, and there is one at a time."""
        self.add_clip('a.ogg', *['red', 'green'] * 4)
        start = time.monotonic()
        self.annotate('--jobs', '1', *[f'--ask=q{i}=What?' for i in range(9)], MLLAMA_SCRIPT_ENCODE_MS='100')
        self.assertLess(time.monotonic() - start, 4)
        self.assertEqual(len(read_lines(self.out / 'a.ogg.jsonl')), 80)

    def test_odd_texts_break_no_file(self):
        self.add_clip('a.ogg')
        prompt = '<b>5 < 6 & 7</b> 00:00:01.000 --> 00:00:02.000\n\nNOTE "quoted" \\ \t back\u2028line 日本 {\\an8}'
        self.annotate('--prompt', prompt)
        line, = read_lines(self.out / 'a.ogg.jsonl')
        self.assertEqual(line['text'], f'red 64x48: {prompt}')
        for ending in ('srt', 'vtt'):
            (start, end, text), = read_cues(self.out / f'a.ogg.{ending}')
            self.assertEqual((start, end), ('00:00:00.000', '00:00:01.000'))
            self.assertNotIn('-->', text)
            self.assertNotIn('\n\n', text)
            self.assertIn('日本', text)
        self.assertIn('&lt;b&gt;5 &lt; 6 &amp; 7&lt;/b&gt;', text)

    def test_frames_are_those_of_the_interval_and_of_changed_scenes(self):
        self.add_clip('a.ogg', 'red', 'red', 'green', 'green', 'green')
        self.annotate('--scene-threshold', '0.1')
        self.assertEqual([(line['start'], line['end'], line['text'].split()[0]) for line in self.check_agreement('a.ogg')],
                         [(0, 2, 'red'), (2, 5, 'green')])
        self.assertEqual([line['thumbnail'] for line in read_lines(self.out / 'a.ogg.jsonl')],
                         ['0000000.000.jpg', '0000002.000.jpg'])
        self.annotate('--interval', '2s')
        self.assertEqual([line['start'] for line in self.check_agreement('a.ogg')], [0, 2, 4])

    def test_decoding_only_what_is_needed_changes_nothing(self):
        for encoder, ending in (
                ('theoraenc keyframe-force=4 ! oggmux', '.ogg'), ('vp8enc deadline=1 keyframe-max-dist=7 ! webmmux', '.webm'),
                ('openh264enc gop-size=5 ! h264parse ! mp4mux', '.mp4'), ('jpegenc ! avimux', '.avi')):
            self.add_clip(f'a{ending}', *RGB, *RGB, encoder=encoder, ending=ending, caps='width=320,height=240')
        for interval in ('1s', '300ms', '2500ms'):
            self.annotate('--interval', interval)
            expected = list_files(self.out)
            self.annotate('--interval', interval, '--force', '--decode-all')
            self.assertEqual(list(list_files(self.out)), list(expected))
            self.assertEqual([name for name, content in list_files(self.out).items() if content != expected[name]], [])

    def test_thumbnails_are_the_frames_of_their_captions(self):
        self.add_clip('a.ogg', 'red', 'green', 'blue', 'white', 'black', 'green')
        self.annotate('--interval', '500ms', '--ask', 'what=What?')
        lines = read_lines(self.out / 'a.ogg.jsonl')
        self.assertEqual(len({line['thumbnail'] for line in lines}), 12)
        for line in lines[::4]:
            picture = read_jpeg(self.out / 'a.ogg.thumbs' / line['thumbnail'])
            self.assertEqual(name_colour(picture), line['text'].split()[0], line)
        names = [path.name for path in (self.out / 'a.ogg.thumbs').glob('*.jpg')]
        self.assertEqual(sorted(names), sorted({line['thumbnail'] for line in lines}))

    def test_thumbnails_have_the_width_asked_for_and_square_pixels(self):
        for caps, width, size in (('width=320,height=240', 100, (100, 74)), ('width=64,height=48', 320, (64, 48)),
                                  ('width=128,height=96,pixel-aspect-ratio=2/1', 64, (64, 24)),
                                  ('width=128,height=96,pixel-aspect-ratio=1/2', 64, (64, 96)),
                                  ('width=96,height=160', 48, (48, 80)), ('width=33,height=17', 320, (32, 16))):
            with self.subTest(caps=caps):
                self.add_clip('a.ogg', 'red', caps=caps)
                self.annotate('--thumbnail-width', width, '--force')
                picture = read_jpeg(self.out / 'a.ogg.thumbs' / '0000000.000.jpg')
                self.assertEqual(picture[:2], size)
                self.assertEqual(name_colour(picture), 'red')

    def test_thumbnails_stand_upright_as_players_show_the_clip(self):
        path = self.clips / 'turned.mov'
        launch('videotestsrc num-buffers=10 pattern=smpte ! video/x-raw,format=I420,framerate=10/1,width=96,height=64 ! '
               f'jpegenc ! qtmux ! filesink location={path}', **make_surroundings())
        # The last of the matrices is the track's: a quarter turn to the right in place of none.
        movie = path.read_bytes()
        still, turned = (struct.pack('>9i', *matrix) for matrix in (
            (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), (0, 65536, 0, -65536, 0, 0, 64 << 16, 0, 1 << 30)))
        at = movie.rindex(still)
        path.write_bytes(movie[:at] + turned + movie[at + len(still):])
        self.annotate()
        width, height, _, pixels = read_jpeg(self.out / 'turned.mov.thumbs' / '0000000.000.jpg')
        self.assertEqual((width, height), (64, 96))
        # Of the bars that stood side by side the first, which is bright, is on top now.
        rows = [sum(pixels[y * width * 3:][:width * 3]) for y in (4, height - 5)]
        self.assertGreater(rows[0], 1.5 * rows[1])
        self.add_clip('upright.ogg', 'red', caps='width=96,height=64')
        self.annotate('--jobs', '1', '--force')
        self.assertEqual(read_jpeg(self.out / 'upright.ogg.thumbs' / '0000000.000.jpg')[:2], (96, 64))
        self.annotate('--thumbnail-width', '32')
        self.assertEqual(read_jpeg(self.out / 'turned.mov.thumbs' / '0000000.000.jpg')[:2], (32, 48))
