# SPDX-License-Identifier: LGPL-2.1-or-later
"""The program mllama-caption, as people run it."""

import json
import os
import pty
import re
import shutil
import subprocess
import unicodedata

from helpers import PROGRAM, Case, caption_json, find_checkpoint, launch, run, run_good

MODEL = ('--model', find_checkpoint())
FIELDS = {
    'file': str, 'pts': int, 'prompt': str, 'text': str, 'finish_reason': str, 'confidence': float,
    'states_reused': bool, 'timings': dict,
}


def drop_timings(answers):
    return [{name: value for name, value in answer.items() if name != 'timings'} for answer in answers]


def read_terminal(master):
    """What a program wrote to its terminal; nothing once it has ended, which Linux calls an error."""
    try:
        return os.read(master, 4096)
    except OSError:
        return b''


def drop_controls(text):
    """What is left of a text in output for people."""
    return ''.join(c for c in text if c in '\n\t' or unicodedata.category(c) != 'Cc')


class Pictures(Case):
    def test_answers_a_picture_once_with_every_field(self):
        picture = self.make_picture()
        answers = caption_json(*MODEL, '--interval', '0', '--prompt', 'What is it?', picture)
        self.assertEqual(len(answers), 1)
        for name, kind in FIELDS.items():
            self.assertIsInstance(answers[0][name], kind, name)
        self.assertEqual(answers[0]['file'], str(picture))
        self.assertEqual(answers[0]['prompt'], 'What is it?')
        self.assertIn(answers[0]['finish_reason'], ('stop', 'length'))
        self.assertNotIn('token_ids', answers[0])
        self.assertGreater(answers[0]['timings']['encode_ns'], 0)

    def test_adds_ids_and_log_probabilities_on_request(self):
        answer, = caption_json(*MODEL, '--token-ids', '--max-tokens', '5', self.make_picture())
        self.assertLessEqual(len(answer['token_ids']), 5)
        self.assertGreater(len(answer['token_ids']), 0)
        self.assertEqual(len(answer['token_ids']), len(answer['logprobs']))
        self.assertTrue(all(value <= 0 for value in answer['logprobs']))

    def test_is_the_same_from_run_to_run(self):
        arguments = (*MODEL, '--token-ids', '--temperature', '0.9', '--seed', '7', self.make_picture())
        self.assertEqual(drop_timings(caption_json(*arguments)), drop_timings(caption_json(*arguments)))

    def test_answers_a_picture_with_a_thumbnail_behind_it_once(self):
        first, second = self.make_picture('a.jpg'), self.make_picture('b.jpg', pattern='snow')
        both = self.folder / 'both.jpg'
        both.write_bytes(first.read_bytes() + second.read_bytes())
        answers = drop_timings(caption_json(*MODEL, '--interval', '0', both))
        self.assertEqual(len(answers), 1)
        expected = drop_timings(caption_json(*MODEL, first))
        self.assertEqual(answers[0]['text'], expected[0]['text'])

    def test_turns_a_photo_the_way_the_camera_was_held(self):
        upright, turned = self.folder / 'upright.png', self.folder / 'turned.jpg'
        # Grey: the ways from a JPEG's colours to RGB differ by more than this test should forgive.
        launch('videotestsrc num-buffers=1 ! video/x-raw,width=64,height=48,format=GRAY8 ! jpegenc ! tee name=t '
               f't. ! queue ! taginject tags="image-orientation=rotate-90" ! jifmux ! filesink location={turned} '
               f't. ! queue ! jpegdec ! videoflip video-direction=90r ! pngenc ! filesink location={upright}')
        expected, = caption_json(*MODEL, '--token-ids', upright)
        for option in ([], ['--together']):
            answer, = caption_json(*MODEL, '--token-ids', *option, turned)
            self.assertEqual(answer['token_ids'], expected['token_ids'])
            for value, wanted in zip(answer['logprobs'], expected['logprobs']):
                self.assertAlmostEqual(value, wanted, delta=1e-3)

    def test_encodes_a_picture_once_for_several_prompts(self):
        answers = caption_json(*MODEL, '--prompt', 'What is it?', '--prompt', 'Is it red?', self.make_picture())
        self.assertEqual([answer['prompt'] for answer in answers], ['What is it?', 'Is it red?'])
        self.assertEqual([answer['states_reused'] for answer in answers], [False, True])

    def test_prints_plain_text_with_names_when_there_are_several_files(self):
        first, second = self.make_picture('first.png'), self.make_picture('second.png', pattern='snow')
        one = run_good(PROGRAM, *MODEL, first).stdout
        self.assertEqual(one, drop_controls(caption_json(*MODEL, first)[0]['text']) + '\n')
        self.assertIn(f'{first}: {one}', run_good(PROGRAM, *MODEL, first, second).stdout)

    def test_prints_no_control_characters_in_plain_text(self):
        # Random weights say about anything at a high temperature.
        picture = self.make_picture()
        for seed in range(50):
            arguments = (*MODEL, '--temperature', '8', '--seed', seed, picture)
            text = caption_json(*arguments)[0]['text']
            if drop_controls(text) != text:
                break
        self.assertNotEqual(drop_controls(text), text)
        self.assertEqual(run_good(PROGRAM, *arguments).stdout, drop_controls(text) + '\n')

    def test_takes_a_uri(self):
        picture = self.make_picture()
        by_name, by_uri = caption_json(*MODEL, picture), caption_json(*MODEL, picture.as_uri())
        self.assertEqual(by_name[0]['text'], by_uri[0]['text'])


class Videos(Case):
    def test_answers_a_video_at_the_interval(self):
        answers = caption_json(*MODEL, '--interval', '500ms', '--max-tokens', '4', self.make_video(frames=20, rate=10))
        self.assertEqual([answer['pts'] for answer in answers], [0, 500000000, 1000000000, 1500000000])
        self.assertEqual({answer['duration'] for answer in answers}, {500000000})

    def test_writes_subrip_and_webvtt(self):
        video = self.make_video(frames=20, rate=10)
        for form, mark, head in (('srt', ',', ''), ('vtt', '.', 'WEBVTT\n\n')):
            path = self.folder / f'out.{form}'
            run_good(PROGRAM, *MODEL, f'--{form}', '--output', path, '--max-tokens', '4', video)
            text = path.read_text(encoding='utf-8')
            self.assertTrue(text.startswith(head))
            times = re.findall(r'^(\S+) --> (\S+)$', text, re.MULTILINE)
            self.assertEqual(times, [(f'00:00:00{mark}000', f'00:00:01{mark}000'),
                                     (f'00:00:01{mark}000', f'00:00:02{mark}000')])

    def test_orders_the_cues_of_several_prompts_and_keeps_their_answers_apart(self):
        path, video = self.folder / 'out.srt', self.make_video()
        arguments = (*MODEL, '--max-tokens', '4', '--temperature', '3', '-p', 'One?', '-p', 'What is the light?', video)
        run_good(PROGRAM, '--srt', '-o', path, *arguments)
        cues = re.findall(r'^(\d+)\n(\S+) --> \S+\n(.*)\n\n', path.read_text(encoding='utf-8'), re.MULTILINE)
        self.assertEqual([cue[:2] for cue in cues], [('1', '00:00:00,000'), ('2', '00:00:00,000'), ('3', '00:00:01,000'),
                                                     ('4', '00:00:01,000')])
        texts = [drop_controls(answer['text']) for answer in caption_json(*arguments)]
        self.assertNotEqual(texts[0], texts[1])
        self.assertEqual([cue[2] for cue in cues], texts)

    def test_writes_one_cue_for_a_scene_that_stays(self):
        still, path = self.folder / 'still.ogg', self.folder / 'out.srt'
        launch('videotestsrc num-buffers=30 pattern=red ! video/x-raw,framerate=10/1,width=64,height=48 ! theoraenc ! '
               f'oggmux ! filesink location={still}')
        run_good(PROGRAM, *MODEL, '--srt', '-o', path, '--max-tokens', '4', '--scene-threshold', '0.1', still)
        times = re.findall(r'^\S+ --> \S+$', path.read_text(encoding='utf-8'), re.MULTILINE)
        self.assertEqual(times, ['00:00:00,000 --> 00:00:03,000'])

    def test_writes_subtitles_of_several_files_into_a_folder(self):
        first, second = self.make_video('one.ogg'), self.make_video('two.ogg')
        bad = self.folder / 'bad.ogg'
        bad.write_text('no video', encoding='utf-8')
        result = run(PROGRAM, *MODEL, '--srt', '-o', self.folder / 'out', '--max-tokens', '4', first, bad, second)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(sorted(path.name for path in (self.folder / 'out').iterdir()), ['one.srt', 'two.srt'])
        self.assertEqual(run(PROGRAM, *MODEL, '--srt', first, second).returncode, 2)

    def test_shows_times_in_plain_text(self):
        text = run_good(PROGRAM, *MODEL, '--max-tokens', '4', self.make_video()).stdout
        self.assertRegex(text, r'(?m)^0:00:00\.000  ')
        self.assertRegex(text, r'(?m)^0:00:01\.000  ')


class Together(Case):
    def test_asks_about_all_files_in_one_prompt(self):
        files = self.make_picture('a.png'), self.make_picture('b.png', pattern='snow')
        answer, = caption_json(*MODEL, '--together', '--token-ids', '--prompt', 'What differs?', *files)
        self.assertEqual(answer['file'], [str(path) for path in files])
        self.assertFalse(answer['states_reused'])
        swapped, = caption_json(*MODEL, '--together', '--token-ids', '--prompt', 'What differs?', *reversed(files))
        self.assertNotEqual(answer['logprobs'], swapped['logprobs'])

    def test_agrees_with_the_element_about_one_file(self):
        for caps in ('video/x-raw,width=64,height=48,format=RGB', 'video/x-raw,width=50,height=33,format=GRAY8'):
            picture = self.make_picture(caps=caps)
            alone, = caption_json(*MODEL, '--token-ids', picture)
            together, = caption_json(*MODEL, '--token-ids', '--together', picture)
            self.assertEqual(alone['token_ids'], together['token_ids'])
            self.assertEqual(alone['logprobs'], together['logprobs'])

    def test_refuses_a_number_of_marks_that_is_not_that_of_the_files(self):
        picture = self.make_picture()
        result = run(PROGRAM, *MODEL, '--together', '--prompt-format', 'raw', '--prompt', '<|image|>one', picture, picture)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r'1.*2|2.*1')

    def test_answers_a_prompt_without_a_file(self):
        answer, = caption_json(*MODEL, '--token-ids', '--prompt', 'What is the morning light?')
        self.assertIsNone(answer['file'])
        self.assertGreater(len(answer['token_ids']), 0)


class Faults(Case):
    def test_goes_on_after_bad_files_and_says_what_is_wrong_with_each(self):
        good = self.make_picture('good.png')
        text, cut, sound = (self.folder / name for name in ('notes.png', 'cut.png', 'sound.ogg'))
        text.write_text('These are notes.\n' * 40, encoding='utf-8')
        cut.write_bytes(good.read_bytes()[:60])
        launch(f'audiotestsrc num-buffers=20 ! audioconvert ! vorbisenc ! oggmux ! filesink location={sound}')
        missing, empty = self.folder / 'missing.png', self.folder / 'empty.png'
        empty.touch()
        result = run(PROGRAM, '--json', *MODEL, missing, text, good, cut, empty, self.folder, sound, good)
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual([answer['file'] for answer in answers], [str(good)] * 2)
        self.assertEqual(result.returncode, 1)
        for path in (missing, text, cut, empty, self.folder, sound):
            self.assertRegex(result.stderr, f'(?m)^mllama-caption: {re.escape(str(path))}: .+')
        self.assertIn('6 of 8 files', result.stderr)
        self.assertRegex(result.stderr, r'sound\.ogg: There is no picture and no video')

    def test_names_the_remedy_when_the_model_is_wrong(self):
        picture = self.make_picture()
        nowhere = run(PROGRAM, '--model', self.folder / 'nowhere', picture)
        self.assertEqual((nowhere.returncode, nowhere.stdout), (1, ''))
        self.assertIn('nowhere', nowhere.stderr)
        broken = self.folder / 'broken'
        shutil.copytree(find_checkpoint(), broken)
        (broken / 'config.json').write_text('{"model_type": "mllama"', encoding='utf-8')
        result = run(PROGRAM, '--model', broken, picture, picture)
        self.assertEqual(result.returncode, 1)
        self.assertIn('config.json', result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)

    def test_refuses_wrong_command_lines_by_name(self):
        for arguments, words in (
                (['--top-p', '7', 'x.png'], r'--top-p.*from 0 to 1.*7'),
                (['--top-k', 'many', 'x.png'], r'--top-k.*many'),
                (['--max-tokens', '-3', 'x.png'], r'--max-tokens.*-3'),
                (['--interval', '2 weeks', 'x.png'], r'--interval.*2 weeks'),
                (['--device', 'tpu', 'x.png'], r'--device.*auto\|cpu\|cuda.*tpu'),
                (['--format', 'xml', 'x.png'], r'--format.*xml'),
                (['--nonsense', 'x.png'], r'nonsense'),
                (['--token-ids', 'x.png'], r'--token-ids needs --json'),
                (['--together'], r'--together'), ([], r'FILE'),
                (['--output', '/nonexistent/folder/out', 'x.png'], r'/nonexistent/folder/out')):
            result = run(PROGRAM, *arguments)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertRegex(result.stderr, words)

    def test_says_when_the_output_cannot_be_written(self):
        result = run('sh', '-c', f'exec "$@" > /dev/full', 'sh', PROGRAM, *MODEL, self.make_picture())
        self.assertEqual(result.returncode, 1)
        self.assertIn('written', result.stderr)


class Surroundings(Case):
    def test_prints_the_same_where_the_decimal_separator_is_a_comma(self):
        arguments = (*MODEL, '--token-ids', '--temperature', '0.5', '--interval', '0.5s', self.make_picture())
        if run('locale', LC_ALL='de_DE.UTF-8').stderr:
            self.skipTest('there is no locale de_DE.UTF-8')
        with_comma = caption_json(*arguments, LC_ALL='de_DE.UTF-8')
        self.assertEqual(drop_timings(with_comma), drop_timings(caption_json(*arguments, LC_ALL='C')))

    def test_takes_any_utf8_prompt_in_the_c_locale(self):
        prompt = 'Où est le café? 日本 🐶'
        answer, = caption_json(*MODEL, '--prompt', prompt, self.make_picture(), LC_ALL='C')
        self.assertEqual(answer['prompt'], prompt)

    def test_finds_the_plugin_beside_itself_and_leaves_the_registry_alone(self):
        registry = self.folder / 'registry.bin'
        caption_json(*MODEL, self.make_picture(), GST_PLUGIN_PATH=None, GST_REGISTRY=str(registry), cwd='/')
        self.assertTrue(registry.exists())
        self.assertNotIn(b'mllama', registry.read_bytes())

    def test_shows_progress_on_a_terminal_and_nowhere_else(self):
        arguments = [str(word) for word in (PROGRAM, *MODEL, '--interval', '0', self.make_video(frames=300))]
        self.assertEqual(run_good(*arguments).stderr, '')
        master, terminal = pty.openpty()
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=terminal)
        os.close(terminal)
        shown = b''.join(iter(lambda: read_terminal(master), b''))
        os.close(master)
        self.assertEqual(process.wait(), 0)
        self.assertRegex(shown, rb'\[1/1\] video\.ogg \[[#.]{30}\] +\d+%')
        self.assertTrue(shown.endswith(b'\r\x1b[K'))

    def test_explains_itself_without_a_model(self):
        text = run_good(PROGRAM, '--help').stdout
        for word in ('--model', '--prompt', '--prompt-format', '--semantics', '--device', '--dtype', '--max-tokens',
                     '--interval', '--temperature', '--top-k', '--top-p', '--seed', '--repetition-penalty',
                     '--max-image-tiles', '--scene-threshold', '--together', '--token-ids', 'Exit status'):
            self.assertIn(word, text)
        self.assertRegex(run_good(PROGRAM, '--version').stdout, r'^mllama-caption \d')
