# SPDX-License-Identifier: LGPL-2.1-or-later
"""The index of mllama-archive: search, merge, plan, and the report in a browser."""

import http.server
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse

from archives import ArchiveCase, check_index, dump, list_files, make_clip, query
from make_index import make_index

BROWSER = shutil.which('chromium')
N_CAPTIONS = 100000
# As it is for a million: only a part of what common words are in is looked at. Ranking all of it takes twice as long.
MOST_SECONDS = 0.08


class Searching(ArchiveCase):
    """An index with the answers to prompts: the scripted engine says them again."""

    def add_texts(self, name, *prompts, colour='red'):
        """A clip whose caption is the first prompt, and answers to a, b... the others."""
        self.add_clip(name, colour)
        asked = [f'--ask={letter}={prompt}' for letter, prompt in zip('abcdef', prompts[1:])]
        self.good('annotate', self.clips / name, '--output', self.out, '--prompt', prompts[0], *asked)

    def texts(self, *arguments):
        return [match['text'].partition(': ')[2] for match in self.search(*arguments)]

    def test_finds_captions_that_have_all_the_words_the_ones_that_say_little_else_first(self):
        self.add_texts('a.ogg', 'a red car stands in front of a long house with many windows at night')
        self.add_texts('b.ogg', 'a red car')
        self.add_texts('c.ogg', 'a car in front of a red house')
        self.add_texts('d.ogg', 'a red house')
        self.assertEqual(self.texts('a', 'car'), self.texts('a car'))
        found = self.search('house', 'car')
        self.assertEqual([match['clip'] for match in found], [f'{self.clips}/{name}.ogg' for name in 'ca'])
        self.assertEqual([match['clip'][-5] for match in self.search('car')], ['b', 'c', 'a'])
        self.assertEqual([match['clip'][-5] for match in self.search('car', '--most', '1')], ['b'])
        scores = [match['score'] for match in self.search('car')]
        self.assertEqual(scores, sorted(scores))

    def test_tells_clip_time_caption_and_thumbnail(self):
        self.add_clip('sub/a.ogg', 'red', 'green', 'blue')
        self.annotate('--ask', 'night=Is it night?')
        match, = self.search('green', '--ask', 'caption')
        self.assertEqual({name: match[name] for name in ('clip', 'start', 'end', 'question', 'text', 'thumbnail')}, {
            'clip': f'{self.clips}/sub/a.ogg', 'start': 1, 'end': 2, 'question': 'caption',
            'text': 'green 64x48: Describe the scene in one short sentence.',
            'thumbnail': f'{self.out}/sub/a.ogg.thumbs/0000001.000.jpg'})
        self.assertTrue((self.out / 'sub' / 'a.ogg.thumbs' / '0000001.000.jpg').exists())
        said = self.good('search', '--index', self.index, 'green', '--ask', 'caption')
        self.assertEqual(said.splitlines(), [f'{match["clip"]} 0:00:01.000  [caption] {match["text"]}', f'    {match["thumbnail"]}'])

    def test_finds_words_in_other_forms_and_without_accents(self):
        self.add_texts('a.ogg', 'two CARS are parking near the café')
        for words in ('car', 'Cars', 'parked', 'cafe', 'CAFÉ', 'two cars park'):
            self.assertEqual(len(self.search(words)), 1, words)
        for words in ('carpet', 'ca', 'cars bicycles'):
            self.assertEqual(self.search(words), [], words)

    def test_takes_what_is_syntax_elsewhere_as_plain_words(self):
        self.add_texts('a.ogg', 'salt AND pepper near the "door" or not')
        for words in ('AND', 'salt AND pepper', '"door"', 'near', 'NOT', 'or'):
            self.assertEqual(len(self.search(words)), 1, words)
        for words in ('NEAR(', 'NEAR(salt pepper)', 'text:salt', 'sal*', '^salt', 'salt-pepper', "o'clock", 'salt + pepper', '(', '{}',
                      "'; --"):
            result = self.archive('search', '--json', '--index', self.index, '--', words)
            self.assertEqual((result.returncode, result.stderr), (0, ''), words)
        self.assertEqual(self.search('sal*'), [])
        self.assertEqual(self.search('salt OR nothing'), [])
        self.assertEqual(len(self.search('near (salt pepper)')), 1)

    def test_keeps_to_folders_dates_questions_and_numbers_that_are_asked_for(self):
        for number, name in enumerate(('x/a.ogg', 'x/b.ogg', 'xy/c.ogg')):
            self.add_texts(name, 'a car', 'no car', 'yes, a car')
        os.utime(self.clips / 'x' / 'b.ogg', (1750000000, 1750000000))
        self.good('annotate', self.clips / 'x' / 'b.ogg', '--output', self.out, '--prompt', 'a car', '--ask=a=no car')

        def names(*arguments):
            return sorted({match['clip'][len(str(self.clips)) + 1:] for match in self.search('car', *arguments)})

        self.assertEqual(names(), ['x/a.ogg', 'x/b.ogg', 'xy/c.ogg'])
        self.assertEqual(names('--in', f'{self.clips}/x/'), ['x/a.ogg', 'x/b.ogg'])
        self.assertEqual(names('--in', self.clips / 'x'), ['x/a.ogg', 'x/b.ogg', 'xy/c.ogg'])
        self.assertEqual(names('--in', self.clips / 'x' / 'a.ogg'), ['x/a.ogg'])
        self.assertEqual(names('--in', '/elsewhere'), [])
        self.assertEqual(names('--since', '2025-01-01'), ['x/b.ogg'])
        self.assertEqual(names('--since', '2025-06-15T15:06:40Z'), ['x/b.ogg'])
        self.assertEqual(names('--since', '2025-06-15T15:06:41Z'), [])
        self.assertEqual({match['question'] for match in self.search('car')}, {'caption', 'a', 'b'})
        self.assertEqual([match['question'] for match in self.search('car', '--ask', 'b')], ['b', 'b'])
        self.assertEqual(self.search('car', '--ask', 'nothing'), [])
        self.assertEqual(len(self.search('car', '--most', '2')), 2)
        self.assertEqual([match['text'] for match in self.search('car', '-n', '1')], [self.search('car')[0]['text']])
        self.assertEqual(len(self.search('--most', '100')), 8)

    def test_finds_nothing_without_a_fault(self):
        self.add_texts('a.ogg', 'a car')
        self.assertEqual(self.good('search', '--index', self.index, 'bicycle'), '')

    def test_clips_may_have_any_name(self):
        names = [b'a\nb.ogg', b'\xff\xfe.ogg', 'q\'"% #?é.ogg'.encode()]
        for name in names:
            shutil.copy(make_clip(('red',)), os.fsencode(self.clips) + b'/' + name)
        self.annotate()
        self.assertEqual(self.read_counts(self.annotate()), (0, 3))
        self.assertEqual({match['clip'].rpartition('/')[2] for match in self.search('red')},
                         {name.decode(errors='replace') for name in names})
        self.good('report', '--index', self.index)
        data = re.search(r'id="data">(.*?)</script>', (self.out / 'index.html').read_text(encoding='utf-8'))[1]
        self.assertEqual({urllib.parse.unquote_to_bytes(clip['video']) for clip in json.loads(data)['clips']},
                         {b'../clips/' + name for name in names})

    def test_names_what_is_wrong_with_a_command_line(self):
        self.add_texts('a.ogg', 'a car')
        for arguments, words in ((['--since', 'yesterday'], '--since.*yesterday'), (['--most', '0'], '--most'),
                                 (['--nonsense'], 'nonsense')):
            result = self.archive('search', '--index', self.index, 'car', *arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ''))
            self.assertRegex(result.stderr, words)

    def test_refuses_what_is_no_index_of_its_version_and_leaves_it_as_it_is(self):
        clip = self.add_clip('a.ogg')
        files = {name: self.folder / name for name in ('newer.db', 'other.db', 'text.db', 'blank.db')}
        for name, sql in (('newer.db', 'PRAGMA user_version = 99'), ('other.db', 'CREATE TABLE things (id)')):
            connection = sqlite3.connect(files[name])
            connection.executescript(sql)
            connection.close()
        files['text.db'].write_text('no database, though it is long enough to be one\n' * 100, encoding='utf-8')
        files['blank.db'].touch()
        words = {'newer.db': 'version 99.*version 1', 'other.db': 'no index', 'text.db': 'not a database', 'blank.db': 'no index',
                 'missing.db': 'opened'}
        for name, pattern in words.items():
            path = self.folder / name
            before = path.read_bytes() if path.exists() else None
            commands = [('search', '--index', path, 'x'), ('report', '--index', path, '-o', self.folder / 'page.html'),
                        ('merge', self.folder / 'new.db', path)]
            if name not in ('blank.db', 'missing.db'):
                commands += [('annotate', clip, '-o', self.out, '--index', path), ('merge', path, path)]
            for command in commands:
                result = self.archive(*command)
                self.assertEqual((result.returncode, result.stdout.partition('\n')[2]), (1, ''), (name, command))
                self.assertRegex(result.stderr, f'{name}.*{pattern}')
                self.assertEqual(len(result.stderr.splitlines()), 1)
            self.assertEqual(path.read_bytes() if path.exists() else None, before)
        self.assertFalse((self.folder / 'page.html').exists())
        self.assertFalse(self.out.exists() and list_files(self.out))

    def test_searches_while_another_process_writes(self):
        self.add_texts('a.ogg', 'a car')
        writer = sqlite3.connect(self.index, isolation_level=None)
        writer.execute('BEGIN IMMEDIATE')
        writer.execute("UPDATE captions SET text = 'x'")
        start = time.monotonic()
        self.assertEqual(len(self.search('car')), 1)
        self.assertLess(time.monotonic() - start, 5)
        writer.close()


class Speed(ArchiveCase):
    def test_finds_words_rare_and_common_in_time(self):
        index = self.folder / 'large.db'
        make_index(index, N_CAPTIONS)
        for words, n in (('car', 20), ('a red car at night', 20), ('a', 20), ('bus 777', None), ('nowhere', 0),
                         ('car --in /archive/07', 20), ('car --ask night', 20), ('car --since 2020-10-01', 20),
                         ('a --since 2050-01-01', 0)):
            seconds = []
            for _ in range(5):
                start = time.monotonic()
                found = self.search(*words.split(), index=index)
                seconds.append(time.monotonic() - start)
            self.assertLess(min(seconds), MOST_SECONDS, words)
            if n is not None:
                self.assertEqual(len(found), n, words)

    def test_gives_more_than_it_ranks_if_it_is_asked_to(self):
        index = self.folder / 'large.db'
        make_index(index, 5000)
        self.assertEqual(len(self.search('a', '--most', '4500', index=index)), 4500)


class Merging(ArchiveCase):
    def make(self, name, *prompts_and_clips):
        """An index of its own with clips that were annotated one after the other."""
        path = self.folder / name
        for prompt, *clips in prompts_and_clips:
            self.good('annotate', *clips, '--output', self.folder / f'{name}.out', '--index', path, '--prompt', prompt, '--force')
        return path

    def setUp(self):
        super().setUp()
        self.a, self.b, self.c = (self.add_clip(f'{name}.ogg') for name in 'abc')

    def list_prompts(self, index):
        return query(index, 'SELECT DISTINCT path, prompt FROM captions JOIN clips ON clips.id = clip '
                            'JOIN questions ON questions.id = question ORDER BY path')

    def test_merging_again_changes_nothing(self):
        one, two = self.make('one.db', ('first', self.a, self.b)), self.make('two.db', ('second', self.c))
        whole = self.folder / 'whole.db'
        self.assertEqual(self.good('merge', whole, one, two).splitlines(), [f'{one}: 2 of 2 clips taken', f'{two}: 1 of 1 clips taken'])
        expected = dump(whole), query(whole, 'SELECT * FROM clips'), query(whole, 'SELECT * FROM captions')
        self.assertEqual(self.good('merge', whole, two, one).splitlines(), [f'{two}: 0 of 1 clips taken', f'{one}: 0 of 2 clips taken'])
        self.assertEqual((dump(whole), query(whole, 'SELECT * FROM clips'), query(whole, 'SELECT * FROM captions')), expected)
        check_index(whole)
        self.assertEqual(len(self.search('first', index=whole)), 2)

    def test_of_two_annotations_the_newer_stays_whatever_the_order(self):
        older, newer = self.make('older.db', ('old', self.a, self.b)), self.make('newer.db', ('new', self.a))
        expected = [(str(self.a), 'new'), (str(self.b), 'old')]
        for i, order in enumerate(((older, newer), (newer, older))):
            whole = self.folder / f'whole-{i}.db'
            self.good('merge', whole, *order)
            self.assertEqual(self.list_prompts(whole), expected)
            check_index(whole)
            self.assertEqual(self.search('old', '--in', self.a, index=whole), [])

    def test_a_failure_never_replaces_an_annotation_and_an_annotation_a_failure(self):
        good = self.make('good.db', ('good', self.a))
        content = self.a.read_bytes()
        self.a.write_bytes(b'')
        bad = self.folder / 'bad.db'
        self.assertEqual(self.archive('annotate', self.a, '--output', self.folder / 'bad', '--index', bad).returncode, 1)
        self.a.write_bytes(content)
        for i, order in enumerate(((good, bad), (bad, good))):
            whole = self.folder / f'whole-{i}.db'
            self.good('merge', whole, *order)
            self.assertEqual(self.list_prompts(whole), [(str(self.a), 'good')])
            self.assertEqual(query(whole, 'SELECT count(*) FROM clips WHERE error NOT NULL'), [(0,)])
        alone = self.folder / 'alone.db'
        self.good('merge', alone, bad)
        self.assertEqual(query(alone, 'SELECT count(*) FROM clips WHERE error NOT NULL'), [(1,)])

    def test_merging_an_index_into_itself_changes_nothing(self):
        one = self.make('one.db', ('first', self.a, self.b))
        expected = dump(one)
        link = self.folder / 'link.db'
        link.symlink_to(one)
        self.assertEqual(self.good('merge', one, one, link).splitlines(), [f'{path}: 0 of 0 clips taken' for path in (one, link)])
        self.assertEqual(dump(one), expected)

    def test_many_processes_may_make_one_index(self):
        """Each finds no file, or one that another has just begun."""
        one, whole = self.make('one.db', ('first', self.a, self.b)), self.folder / 'whole.db'
        for _ in range(4):
            running = [self.start('merge', whole, one) for _ in range(8)]
            for process in running:
                _, faults = process.communicate()
                self.assertEqual((process.returncode, faults), (0, ''))
            self.assertEqual(dump(whole), dump(one))
            for path in self.folder.glob('whole.db*'):
                path.unlink()

    def test_making_an_index_waits_for_who_reads_the_blank_file(self):
        one, whole = self.make('one.db', ('first', self.a, self.b)), self.folder / 'whole.db'
        reader = sqlite3.connect(whole, isolation_level=None)
        reader.execute('BEGIN EXCLUSIVE')
        process = self.start('merge', whole, one)
        time.sleep(0.5)
        self.assertIsNone(process.poll())
        reader.execute('COMMIT')
        reader.execute('BEGIN')
        reader.execute('SELECT count(*) FROM sqlite_schema').fetchall()
        time.sleep(0.5)
        reader.close()
        _, faults = process.communicate(timeout=60)
        self.assertEqual((process.returncode, faults), (0, ''))


class Planning(ArchiveCase):
    def plan(self, n, folder='plan', *arguments):
        self.good('plan', '--shards', n, '--output', self.folder / folder, *(arguments or (self.clips,)))
        return [(self.folder / folder / f'shard-{i}.txt').read_text(encoding='utf-8').splitlines() for i in range(n)]

    def setUp(self):
        super().setUp()
        self.seconds = {str(self.add_clip(f'{"sub/" * (i % 2)}{i}.ogg', *['red', 'blue', 'green'][:1 + i % 3] * (1 + i % 2))):
                        (1 + i % 3) * (1 + i % 2) for i in range(11)}

    def test_every_clip_is_in_one_shard_and_shards_take_as_long_as_others(self):
        (self.clips / 'bad.mp4').write_bytes(b'')
        for n in (1, 2, 3, 20):
            shards = self.plan(n)
            self.assertEqual(sorted(path for shard in shards for path in shard), sorted([*self.seconds, f'{self.clips}/bad.mp4']))
            loads = [sum(self.seconds.get(path, 0) + 1 for path in shard) for shard in shards]
            if n < 12:
                self.assertLessEqual(max(loads) - min(loads), max(self.seconds.values()) + 1)

    def test_a_long_clip_counts_as_much_as_it_takes(self):
        path = str(self.add_clip('long.ogg', *['red', 'green'] * 8))
        self.seconds[path] = 16
        loads = [sum(self.seconds[path] + 1 for path in shard) for shard in self.plan(2)]
        self.assertLessEqual(abs(loads[0] - loads[1]), 3)

    def test_plans_the_same_each_time(self):
        first = self.plan(3)
        self.assertEqual(self.plan(3, 'again'), first)
        self.assertEqual(self.plan(3, 'reversed', *reversed(sorted(self.clips.iterdir()))), first)

    def test_shards_one_by_one_and_merged_are_one_run(self):
        self.annotate()
        expected = list_files(self.out), dump(self.index)
        shutil.rmtree(self.out)
        self.plan(3)
        for i in range(3):
            self.good('annotate', '--files-from', self.folder / 'plan' / f'shard-{i}.txt', '--base', self.clips,
                      '--output', self.out, '--index', self.folder / f'shard-{i}.db')
        self.good('merge', self.index, *(self.folder / f'shard-{i}.db' for i in range(3)))
        self.assertEqual((list_files(self.out), dump(self.index)), expected)

    def test_refuses_wrong_command_lines_by_name(self):
        for arguments, words in (([self.clips, '-o', 'x'], '--shards'), ([self.clips, '--shards', '0', '-o', 'x'], '--shards'),
                                 ([self.clips, '--shards', '2'], '--output'), (['--shards', '2', '-o', 'x'], 'Name clips'),
                                 (['--shards', '2', '-o', 'x', '--files-from', '-', '--exclude', 'y'], '--exclude.*folders')):
            result = self.archive('plan', *arguments)
            self.assertEqual(result.returncode, 2)
            self.assertRegex(result.stderr, words)


# Looks for words, clicks the first caption found, and tells what plays.
SPY = '''
<script>
  const told = what => fetch('/told?' + encodeURIComponent(JSON.stringify(what)));
  window.addEventListener('error', event => told({error: event.message}));
  const box = document.getElementById('words');
  box.value = 'green';
  box.dispatchEvent(new Event('input'));
  const cards = [...document.querySelectorAll('#results button')];
  cards[0].click();
  const timer = setInterval(() => {
    const video = document.getElementById('video'), cues = video.textTracks[0] && video.textTracks[0].activeCues;
    const picture = cards[0].querySelector('img');
    if (document.getElementById('fault').textContent) told({error: document.getElementById('fault').textContent});
    if (!cues || !cues.length || !picture.complete || video.readyState < 2) return;
    clearInterval(timer);
    told({time: video.currentTime, cue: cues[0].getCueAsHTML().textContent, mode: video.textTracks[0].mode,
      found: cards.map(card => card.textContent),
      marks: [...cards[0].querySelectorAll('mark')].map(mark => mark.textContent), thumbnail: picture.naturalWidth,
      status: document.getElementById('found').textContent, shown: !document.getElementById('player').hidden,
      strange: document.querySelectorAll('b, #results script').length});
  }, 50);
</script>'''


class Handler(http.server.SimpleHTTPRequestHandler):
    """Parts of files too: a browser that cannot ask for them does not jump. The page comes with SPY in it."""

    def do_GET(self):
        path, _, told = self.path.partition('?')
        if path == '/told':
            self.server.told = self.server.told or json.loads(urllib.parse.unquote(told))
            self.server.has_told.set()
        file = self.translate_path(path)
        try:
            with open(file, 'rb') as opened:
                body = opened.read()
        except OSError:
            self.send_error(404)
            return
        if path.endswith('.html'):
            body += SPY.encode()
        asked = re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range', ''))
        first, last = (int(asked[1]), int(asked[2] or len(body) - 1)) if asked else (0, len(body) - 1)
        self.send_response(206 if asked else 200)
        self.send_header('Content-Type', self.guess_type(path))
        self.send_header('Accept-Ranges', 'bytes')
        self.send_header('Content-Length', str(last - first + 1))
        if asked:
            self.send_header('Content-Range', f'bytes {first}-{last}/{len(body)}')
        self.end_headers()
        self.wfile.write(body[first:last + 1])

    def log_message(self, *_):
        pass


class Report(ArchiveCase):
    PROMPT = 'a <b>bold</b> &amp; "odd" </script><script>document.title = "taken"</script> <!-- --> text'

    def browse(self, *arguments):
        """A browser that is ended with the test."""
        profile = tempfile.TemporaryDirectory(prefix='mllama-test-', ignore_cleanup_errors=True)
        self.addCleanup(profile.cleanup)
        return [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
                '--autoplay-policy=no-user-gesture-required', f'--user-data-dir={profile.name}', *arguments]

    def make_report(self):
        self.add_clip('an odd & näme#1?.webm', 'red', 'blue', 'green', 'red', encoder='vp8enc deadline=1 keyframe-max-dist=10 ! webmmux',
                      ending='.webm')
        self.add_clip('sub/b.webm', 'red', 'white', encoder='vp8enc deadline=1 ! webmmux', ending='.webm')
        self.annotate('--prompt', self.PROMPT, '--ask', 'night=Is it night?')
        page = self.folder / 'pages' / 'archive.html'
        page.parent.mkdir()
        said = self.good('report', '--index', self.index, '--output', page, '--title', 'Tests & <more>')
        self.assertEqual(said, f'{page}: 12 captions\n')
        return page

    def test_is_one_page_without_anything_from_elsewhere(self):
        page = self.make_report().read_text(encoding='utf-8')
        self.assertNotRegex(page, r'https?://|<link|src="|@import|url\(')
        self.assertEqual(page.count('</script>'), 2)
        self.good('report', '--index', self.index)
        self.assertTrue((self.out / 'index.html').exists())

    @unittest.skipUnless(BROWSER, 'no chromium')
    def test_a_browser_finds_a_caption_and_plays_the_moment_with_it(self):
        self.make_report()
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), lambda *given: Handler(*given, directory=str(self.folder)))
        server.told, server.has_told = None, threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        browser = subprocess.Popen(self.browse(f'http://127.0.0.1:{server.server_port}/pages/archive.html'),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(browser.wait)
        self.addCleanup(browser.terminate)
        self.assertTrue(server.has_told.wait(60), 'the page has told nothing')
        told = server.told
        self.assertNotIn('error', told)
        self.assertEqual(told['status'], '2 of 12 captions')
        self.assertTrue(all(text.startswith('green 64x48') for text in told['found']), told)
        self.assertEqual(told['marks'], ['green'])
        self.assertTrue(told['shown'])
        self.assertGreaterEqual(told['time'], 2)
        self.assertLess(told['time'], 3.5)
        self.assertEqual(told['cue'], f'green 64x48: {self.PROMPT}')
        self.assertEqual((told['mode'], told['strange']), ('showing', 0))
        self.assertEqual(told['thumbnail'], 64)

    @unittest.skipUnless(BROWSER, 'no chromium')
    def test_works_as_a_file(self):
        page = self.make_report()
        result = subprocess.run(self.browse('--dump-dom', '--virtual-time-budget=3000', f'file://{page}#white'),
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        self.assertIn('2 of 12 captions', result.stdout)
        self.assertIn('<title>Tests &amp; &lt;more&gt;</title>', result.stdout)
        cards = re.findall(r'<li>(.*?)</li>', result.stdout, re.DOTALL)
        self.assertEqual(len(cards), 2)
        self.assertIn('&lt;b&gt;bold&lt;/b&gt; &amp;amp;', ''.join(cards))
        thumbnail = re.search(r'src="([^"]*)"', cards[0])[1]
        self.assertTrue((page.parent / urllib.parse.unquote(thumbnail)).resolve().exists(), thumbnail)
