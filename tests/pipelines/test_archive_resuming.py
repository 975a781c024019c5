# SPDX-License-Identifier: LGPL-2.1-or-later
"""mllama-archive annotate goes on after anything: kills, changes, bad clips; and what it tells meanwhile."""

import os
import pty
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import time

from archives import (DYING, ArchiveCase, check_index, dump, list_files, make_clip, make_scripted, make_surroundings, query,
                      read_lines)
from archives import PROGRAM as ARCHIVE
from helpers import Lines, find_checkpoint, launch, run, run_good

RGB = {'black': (0, 0, 0), 'white': (255, 255, 255), 'red': (255, 0, 0), 'green': (0, 255, 0), 'blue': (0, 0, 255)}
N_KILLS = 50


def read_metrics(text):
    """{name and labels: value} of Prometheus' text format, which is strict: every sample has a type, told once before it."""
    types, samples = {}, {}
    for line in text.removesuffix('\n').split('\n'):
        if line.startswith('# HELP '):
            assert re.fullmatch(r'# HELP [a-zA-Z_:][a-zA-Z0-9_:]* \S.*', line), line
            continue
        if line.startswith('# TYPE '):
            name, kind = re.fullmatch(r'# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge)', line).groups()
            assert name not in types, line
            types[name] = kind
            continue
        name, labels, value = re.fullmatch(
            r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="[^"\\\n]*",?)+\})? (\d+(?:\.\d+)?)', line).groups()
        assert name in types and (types[name] == 'gauge' or name.endswith('_total')), line
        assert name + (labels or '') not in samples, line
        samples[name + (labels or '')] = float(value)
    assert text.endswith('\n')
    return samples


class Resuming(ArchiveCase):
    def add_clips(self, n):
        colours = list(RGB)
        for i in range(n):
            self.add_clip(f'{"sub/" * (i % 2)}{i}.ogg', *(colours[(i * 3 + k) % 5] for k in range(1 + i % 3)))

    def finish(self):
        """What a run left and its index, which is taken away."""
        check_index(self.index)
        left = list_files(self.out), dump(self.index)
        shutil.rmtree(self.out)
        return left

    def check_same(self, left, expected):
        self.assertEqual(sorted(left[0]), sorted(expected[0]))
        self.assertEqual([name for name in left[0] if left[0][name] != expected[0][name]], [])
        for part in expected[1]:
            self.assertEqual(left[1][part], expected[1][part])

    def stat(self):
        """Which bytes on the disk files of clips are."""
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in self.out.rglob('*')
                if path.is_file() and path.parent.suffix != '.part' and not path.name.startswith('archive.db')}

    def list_entered(self):
        """What clips are done: entered, and the last of their files is there."""
        if not self.index.exists():
            return set()
        try:
            outputs = query(self.index, 'SELECT output FROM clips WHERE error IS NULL')
        except sqlite3.Error:  # killed before there was a schema
            return set()
        return {output for output, in outputs if os.path.exists(f'{output}.jsonl')}

    def test_killed_at_50_random_moments_it_ends_with_the_same_files_and_index(self):
        self.add_clips(12)
        options = ('--jobs', '3', '--ask', 'what=What?')
        start = time.monotonic()
        self.annotate(*options, MLLAMA_SCRIPT_ENCODE_MS='5')
        whole = time.monotonic() - start
        expected = self.finish()
        dice = random.Random(8)
        n_kills = n_kept = 0
        while n_kills < N_KILLS:
            done, at = set(), {}
            while True:
                process = self.start('annotate', self.clips, '--output', self.out, *options, MLLAMA_SCRIPT_ENCODE_MS='5')
                try:
                    said, _ = process.communicate(timeout=dice.uniform(0.01, whole))
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
                    said, _ = process.communicate()
                    n_kills += 1
                # What was entered once stays as it is.
                self.assertEqual({path: where for path, where in self.stat().items() if path in at}, at)
                done = self.list_entered()
                at = {path: where for path, where in self.stat().items() if str(path).startswith(tuple(f'{x}.' for x in done))}
                n_kept += len(done)
            self.assertEqual((process.returncode, self.read_counts(said)), (0, (12 - len(done), len(done))))
            self.assertEqual({path: where for path, where in self.stat().items() if path in at}, at)
            self.assertEqual(list(self.out.rglob('*.part')), [])
            self.check_same(self.finish(), expected)
        self.assertGreater(n_kept, N_KILLS)

    def die_at_each_change(self, prepare, *options):
        """A killed run at every third change to the disk of a run with these options, from what prepare leaves."""
        engine = make_scripted(DYING)
        for n in range(1, 1000, 3):
            prepare()
            environment = make_surroundings(MLLAMA_DIE_AT=str(n))
            result = run(engine, 'annotate', self.clips, '--output', self.out, '--jobs', '1', *options, **environment)
            if result.returncode == 0:
                return
            self.assertEqual(result.returncode, -signal.SIGKILL, result.stderr)
            yield n

    def test_killed_at_any_change_to_the_disk_it_ends_with_the_same_files_and_index(self):
        self.add_clip('a.ogg', 'red')
        self.annotate('--ask', 'what=What?')
        expected, n = self.finish(), 0
        for n in self.die_at_each_change(lambda: shutil.rmtree(self.out, ignore_errors=True), '--ask', 'what=What?'):
            with self.subTest(change=n):
                for name, content in list_files(self.out).items():
                    if '.part' not in name:
                        self.assertEqual(content, expected[0].get(name), name)
                self.annotate('--ask', 'what=What?')
                self.check_same(self.finish(), expected)
        self.assertGreater(n, 30)

    def test_killed_while_it_does_a_clip_anew_it_is_not_taken_for_what_it_was(self):
        """The settings go back to what the index says, while files may be those of others."""
        self.add_clip('a.ogg', 'red')
        self.annotate()
        kept, n = self.folder / 'kept', 0
        shutil.copytree(self.out, kept)
        expected = self.finish()

        def prepare():
            shutil.rmtree(self.out, ignore_errors=True)
            shutil.copytree(kept, self.out)

        for n in self.die_at_each_change(prepare, '--prompt', 'Another?'):
            with self.subTest(change=n):
                self.annotate()
                self.check_same(self.finish(), expected)
        self.assertGreater(n, 20)

    def test_does_only_what_is_missing(self):
        self.add_clips(4)
        self.assertEqual(self.read_counts(self.annotate()), (4, 0))
        at = self.stat()
        self.assertEqual(self.read_counts(self.annotate()), (0, 4))
        self.add_clip('new.ogg')
        self.assertEqual(self.read_counts(self.annotate()), (1, 4))
        self.assertEqual({path: where for path, where in self.stat().items() if path in at}, at)

    def test_does_a_clip_anew_when_its_size_or_time_changes(self):
        clip = self.add_clip('a.ogg', 'red')
        self.add_clip('b.ogg', 'red')
        self.annotate()
        os.utime(clip, (1700000001, 1700000001))
        self.assertEqual(self.read_counts(self.annotate()), (1, 1))
        shutil.copy(make_clip(('green', 'blue')), clip)
        os.utime(clip, (1700000001, 1700000001))
        self.assertEqual(self.read_counts(self.annotate()), (1, 1))
        self.assertEqual([line['text'].split()[0] for line in read_lines(self.out / 'a.ogg.jsonl')], ['green', 'blue'])
        self.assertEqual(query(self.index, "SELECT count(*) FROM captions WHERE text LIKE 'red%'"), [(1,)])
        self.assertEqual(len(list((self.out / 'a.ogg.thumbs').iterdir())), 2)
        check_index(self.index)

    def test_does_clips_anew_when_settings_or_the_model_change(self):
        self.add_clip('a.ogg', 'red', 'green')
        self.annotate()
        for change in (['--prompt', 'What?'], ['--ask', 'night=Is it night?'], ['--ask', 'night=Night?'], ['--interval', '500ms'],
                       ['--max-tokens', '3'], ['--scene-threshold', '0.2'], ['--thumbnail-width', '32'],
                       ['--temperature', '0.5']):
            self.assertEqual(self.read_counts(self.annotate(*change)), (1, 0), change)
            self.assertEqual(self.read_counts(self.annotate(*change)), (0, 1), change)
            self.assertEqual(self.read_counts(self.annotate()), (1, 0), change)
        for change in (['--jobs', '2'], ['--max-in-flight', '3'], ['--no-progress']):
            self.assertEqual(self.read_counts(self.annotate(*change)), (0, 1), change)
        other = self.folder / 'other'
        other.mkdir()
        (other / 'config.json').write_text('{"model_type": "mllama", "changed": 1}', encoding='utf-8')
        (other / 'model.safetensors').write_bytes(b'weights')
        self.assertEqual(self.read_counts(self.annotate('--model', other)), (1, 0))
        (other / 'model.safetensors').write_bytes(b'more weights')
        self.assertEqual(self.read_counts(self.annotate('--model', other)), (1, 0))
        moved = other.rename(self.folder / 'moved')
        self.assertEqual(self.read_counts(self.annotate('--model', moved)), (0, 1))

    def test_does_a_clip_anew_when_a_file_of_it_is_gone(self):
        self.add_clip('a.ogg', 'red', 'green')
        self.annotate('--ask', 'what=What?')
        expected = list_files(self.out)
        for name in expected:
            (self.out / name).unlink()
            self.assertEqual(self.read_counts(self.annotate('--ask', 'what=What?')), (1, 0), name)
            self.assertEqual(list_files(self.out), expected)
        shutil.rmtree(self.out / 'a.ogg.thumbs')
        self.assertEqual(self.read_counts(self.annotate('--ask', 'what=What?')), (1, 0))

    def test_force_does_everything_anew(self):
        self.add_clips(3)
        self.annotate()
        expected, at = (list_files(self.out), dump(self.index)), self.stat()
        self.assertEqual(self.read_counts(self.annotate('--force')), (3, 0))
        self.assertFalse(set(at.items()) & set(self.stat().items()))
        self.assertEqual((list_files(self.out), dump(self.index)), expected)

    def test_a_dry_run_changes_nothing(self):
        self.add_clips(2)
        self.assertEqual(self.read_counts(self.annotate('--dry-run')), (2, 0))
        self.assertFalse(self.out.exists())
        self.annotate()
        self.add_clip('new.ogg')
        before = {path: path.stat().st_mtime_ns for path in self.out.rglob('*')}, self.index.read_bytes()
        said = self.annotate('--dry-run')
        self.assertEqual(self.read_counts(said), (1, 2))
        self.assertIn(f'{self.clips}/new.ogg\n', said)
        self.assertEqual(self.read_counts(self.annotate('--dry-run', '--force')), (3, 0))
        self.assertEqual(({path: path.stat().st_mtime_ns for path in self.out.rglob('*')}, self.index.read_bytes()), before)

    def test_ends_soon_when_it_is_interrupted_and_goes_on_later(self):
        self.add_clips(6)
        self.annotate()
        expected = self.finish()
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start('annotate', self.clips, '--output', self.out, '--jobs', '2', MLLAMA_SCRIPT_ENCODE_MS='200')
            Lines(process.stdout).wait_for('captions')
            process.send_signal(number)
            start = time.monotonic()
            process.wait(10)
            self.assertLess(time.monotonic() - start, 3)
            self.assertEqual(process.returncode, 1)
            self.assertIn('the same command goes on', process.stderr.read())
            self.assertEqual(list(self.out.rglob('*.part')), [])
            for name, content in list_files(self.out).items():
                self.assertEqual(content, expected[0][name], name)
            n_todo, n_known = self.read_counts(self.annotate())
            self.assertEqual(n_todo + n_known, 6)
            self.assertGreater(n_known, 0)
            self.check_same(self.finish(), expected)

    def test_several_processes_lose_nothing_in_one_index(self):
        self.add_clips(12)
        self.annotate()
        expected = dump(self.index)
        shutil.rmtree(self.out)
        self.out.mkdir()
        names = [str(path) for path in sorted(self.clips.rglob('*.ogg'))]
        running = []
        for i in range(4):
            names_file = self.folder / f'list-{i}'
            names_file.write_text('\n'.join(names[i::4]), encoding='utf-8')
            running.append(self.start('annotate', '--files-from', names_file, '--base', self.clips, '--output', self.out))
        for process in running:
            _, faults = process.communicate()
            self.assertEqual((process.returncode, faults), (0, ''))
        check_index(self.index)
        self.assertEqual(dump(self.index), expected)


class Faults(ArchiveCase):
    def check_fault(self, result, path, words):
        self.assertRegex(result.stderr, f'(?m)^mllama-archive: {re.escape(str(path))}: .*{words}')
        self.assertEqual(len([line for line in result.stderr.splitlines() if str(path) in line]), 1, result.stderr)

    def test_reports_and_notes_bad_clips_and_does_the_rest(self):
        good = [self.add_clip('a.ogg'), self.add_clip('z.ogg', 'green')]
        whole = make_clip(('red', 'green', 'blue') * 2).read_bytes()
        movie = make_clip(('red', 'green') * 2, encoder='jpegenc ! qtmux', ending='.mov').read_bytes()
        bad = {'cut.ogg': whole[:60], 'cut.mov': movie[:len(movie) * 2 // 3], 'empty.mp4': b'', 'text.mp4': b'These are notes.\n' * 40,
               'noise.mp4': random.Random(1).randbytes(9000)}
        for name, content in bad.items():
            (self.clips / name).write_bytes(content)
        launch('audiotestsrc num-buffers=20 ! audioconvert ! vorbisenc ! oggmux ! '
               f'filesink location={self.clips}/sound.ogg', **make_surroundings())
        start = time.monotonic()
        result = self.archive('annotate', self.clips, '--output', self.out, '--jobs', '2')
        self.assertLess(time.monotonic() - start, 20)
        self.assertEqual(result.returncode, 1, result.stdout)
        words = {'sound.ogg': 'There is no video in it', 'text.mp4': 'no picture or video that GStreamer knows; "file"'}
        for name in (*bad, 'sound.ogg'):
            self.check_fault(result, self.clips / name, words.get(name, r'\w'))
            (error, n), = query(self.index, 'SELECT error, (SELECT count(*) FROM captions WHERE clip = clips.id) FROM clips '
                                            'WHERE path = ?', str(self.clips / name))
            self.assertIn(error, result.stderr)
            self.assertEqual(n, 0)
            self.assertEqual(list(self.out.glob(f'{name}.*')), [])
        for path in good:
            self.assertEqual(len(read_lines(self.out / f'{path.name}.jsonl')), 1)
        self.assertEqual(query(self.index, 'SELECT count(*) FROM clips WHERE error IS NULL'), [(2,)])

    def test_goes_on_when_nothing_can_be_found_in_a_clip(self):
        """GStreamer loses a demuxer's error now and then."""
        movie = make_clip(('red', 'green') * 2, encoder='jpegenc ! qtmux', ending='.mov').read_bytes()
        for i in range(60):
            (self.clips / f'{i}.mov').write_bytes(movie[:len(movie) * 2 // 3])
        process = self.start('annotate', self.clips, '--output', self.out)
        _, faults = process.communicate(timeout=60)
        self.assertEqual((process.returncode, len(faults.splitlines())), (1, 60), faults)

    def test_notes_a_clip_that_cannot_be_read(self):
        self.add_clip('a.ogg')
        closed = self.add_clip('closed.ogg')
        closed.chmod(0)
        plain = ('setpriv', '--bounding-set=-dac_override,-dac_read_search') if os.geteuid() == 0 else ()
        result = self.archive('annotate', self.clips, '--output', self.out, command=plain)
        self.assertEqual(result.returncode, 1)
        self.check_fault(result, closed, 'read')
        self.assertTrue((self.out / 'a.ogg.srt').exists())

    def test_tries_a_bad_clip_again_and_enters_it_once_it_is_mended(self):
        self.add_clip('a.ogg')
        bad = self.clips / 'bad.ogg'
        bad.write_bytes(b'')
        for _ in range(2):
            result = self.archive('annotate', self.clips, '--output', self.out)
            self.assertEqual(result.returncode, 1)
            self.check_fault(result, bad, r'\w')
            self.assertEqual(query(self.index, 'SELECT count(*) FROM clips WHERE error NOT NULL'), [(1,)])
        self.assertEqual(self.read_counts(result.stdout), (1, 1))
        self.add_clip('bad.ogg', 'blue', 'red')
        self.assertEqual(self.read_counts(self.annotate()), (1, 1))
        self.assertEqual(query(self.index, 'SELECT count(*) FROM clips WHERE error NOT NULL'), [(0,)])
        self.assertEqual(len(self.search('blue')), 1)

    def test_says_once_what_is_wrong_with_the_model_and_leaves_nothing_half_written(self):
        self.add_clip('a.ogg')
        self.add_clip('b.ogg')
        broken = self.folder / 'broken'
        shutil.copytree(find_checkpoint(), broken)
        (broken / 'config.json').write_text('{"model_type": "mllama"', encoding='utf-8')
        for model in (self.folder / 'nowhere', broken):
            result = run(ARCHIVE, 'annotate', self.clips, '--output', self.out, '--model', model)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
            self.assertIn(model.name, result.stderr)
            self.assertEqual(list_files(self.out) if self.out.exists() else {}, {})

    def test_a_wrong_model_does_not_unmake_what_was_done(self):
        self.add_clip('a.ogg')
        model = ('--model', find_checkpoint(), '--max-tokens', '4')
        run_good(ARCHIVE, 'annotate', self.clips, '--output', self.out, *model)
        before = list_files(self.out), dump(self.index)
        run(ARCHIVE, 'annotate', self.clips, '--output', self.out, '--model', self.folder / 'nowhere')
        self.assertEqual((list_files(self.out), dump(self.index)), before)
        result = run_good(ARCHIVE, 'annotate', self.clips, '--output', self.out, *model)
        self.assertEqual(self.read_counts(result.stdout), (0, 1))

    def test_stops_where_nothing_can_be_written(self):
        self.add_clip('sub/a.ogg')
        self.out.write_text('in the way', encoding='utf-8')
        result = self.archive('annotate', self.clips, '--output', self.out, '--index', self.folder / 'x.db')
        self.assertEqual(result.returncode, 1)
        self.assertIn(str(self.out), result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertEqual(query(self.folder / 'x.db', 'SELECT count(*) FROM clips'), [(0,)])


class Telling(ArchiveCase):
    def test_metrics_are_right_at_the_end_and_of_prometheus_format(self):
        self.add_clip('a.ogg', 'red', 'green')
        self.add_clip('b.ogg')
        metrics = self.folder / 'metrics.prom'
        self.annotate('--metrics', metrics)
        self.add_clip('c.ogg', 'red', 'green', 'blue')
        (self.clips / 'bad.ogg').write_bytes(b'')
        result = self.archive('annotate', self.clips, '--output', self.out, '--ask', 'what=What?', '--metrics', metrics)
        self.assertEqual(result.returncode, 1)
        samples = read_metrics(metrics.read_text(encoding='utf-8'))
        states = {state: samples[f'mllama_archive_clips{{state="{state}"}}'] for state in ('annotated', 'failed', 'known', 'waiting')}
        self.assertEqual(states, {'annotated': 3, 'failed': 1, 'known': 0, 'waiting': 0})
        self.assertEqual(samples['mllama_archive_captions_total'], 12)
        self.assertEqual(samples['mllama_archive_video_seconds_total'], 6)
        result = self.archive('annotate', self.clips, '--output', self.out, '--ask', 'what=What?', '--metrics', metrics)
        samples = read_metrics(metrics.read_text(encoding='utf-8'))
        self.assertEqual(samples['mllama_archive_clips{state="known"}'], 3)
        self.assertEqual([path.name for path in self.folder.iterdir() if 'metrics' in path.name], ['metrics.prom'])

    def test_metrics_have_points_where_the_language_has_commas(self):
        places = self.folder / 'locales'
        places.mkdir()
        if run('localedef', '-i', 'de_DE', '-f', 'UTF-8', places / 'de_DE.UTF-8').returncode:
            self.skipTest('no locale can be made')
        self.add_clip('a.ogg')
        metrics = self.folder / 'metrics.prom'
        self.annotate('--metrics', metrics, LC_ALL='de_DE.UTF-8', LOCPATH=str(places))
        self.assertEqual(read_metrics(metrics.read_text(encoding='utf-8'))['mllama_archive_video_seconds_total'], 1)
        line, = read_lines(self.out / 'a.ogg.jsonl')
        self.assertEqual(line['end'], 1)

    def test_metrics_tell_how_far_it_is_while_it_runs(self):
        self.add_clip('a.ogg')
        self.add_clip('b.ogg', *['red', 'green'] * 6)
        metrics = self.folder / 'metrics.prom'
        process = self.start('annotate', self.clips, '--output', self.out, '--jobs', '1', '--metrics', metrics,
                             MLLAMA_SCRIPT_ENCODE_MS='100')
        Lines(process.stdout).wait_for(r'a\.ogg: 1 captions')
        time.sleep(0.5)
        samples = read_metrics(metrics.read_text(encoding='utf-8'))
        self.assertEqual(samples['mllama_archive_clips{state="annotated"}'], 1)
        self.assertEqual(samples['mllama_archive_clips{state="waiting"}'], 1)
        self.assertEqual(process.wait(), 0)

    def test_says_a_plain_line_a_clip_where_there_is_no_terminal(self):
        self.add_clip('a.ogg', 'red', 'green')
        self.add_clip('sub/b.ogg')
        said = self.annotate()
        self.assertNotIn('\r', said)
        self.assertRegex(said, r'(?m)^a\.ogg: 2 captions, 2\.0 s of video$')
        self.assertRegex(said, r'(?m)^sub/b\.ogg: 1 captions, 1\.0 s of video$')

    def watch(self, *arguments):
        """What annotate draws on a terminal."""
        master, terminal = pty.openpty()
        environment = {name: value for name, value in (dict(os.environ) | make_surroundings(MLLAMA_SCRIPT_ENCODE_MS='50')).items()
                       if value is not None}
        process = subprocess.Popen([str(word) for word in (make_scripted(), 'annotate', self.clips, '--output', self.out, *arguments)],
                                   env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=terminal)
        os.close(terminal)
        shown = b''

        def read():
            try:
                return os.read(master, 4096)
            except OSError:  # the terminal's other end is closed
                return b''

        while piece := read():
            shown += piece
        os.close(master)
        self.assertEqual(process.wait(), 0)
        return shown.decode()

    def test_draws_a_bar_on_a_terminal(self):
        for i in range(6):
            self.add_clip(f'{i}.ogg', *['red', 'green'] * 3)
        shown = self.watch('--jobs', '1')
        self.assertRegex(shown, r'\[#*\.+\] 0 of 6 clips')
        self.assertRegex(shown, r'\[#+\.+\] [1-5] of 6 clips, \d+\.\d+ h of video, \d+\.\d captions/s, 0:00:\d\d left')
        self.assertTrue(shown.endswith('\r\x1b[K'), repr(shown[-200:]))
        self.assertEqual(self.watch('--force', '--no-progress'), '')
