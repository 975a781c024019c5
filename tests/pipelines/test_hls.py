# SPDX-License-Identifier: LGPL-2.1-or-later
"""pipelines/hls.sh: playlists, segments and captions that belong together, and a browser that plays them."""

import http.server
import json
import re
import shutil
import subprocess
import tempfile
import threading
import unittest
import urllib.parse
from pathlib import Path

from helpers import BUILD, SOURCE, Case, find_checkpoint, launch, run_good

BROWSER = shutil.which('chromium')
# Said by the page when it plays and shows a caption, or cannot.
SPY = '''
<script>
  const video = document.querySelector('video');
  const tell = what => fetch('/told?' + encodeURIComponent(JSON.stringify(what)));
  video.addEventListener('error', () => tell({error: video.error.message}));
  const timer = setInterval(() => {
    const cues = video.textTracks[0].activeCues;
    if (video.currentTime < 1.2 || !cues || cues.length == 0) return;
    clearInterval(timer);
    tell({time: video.currentTime, width: video.videoWidth, duration: video.duration, cue: cues[0].text});
  }, 50);
</script>'''


def read_first_pts(path):
    """Presentation time of the first picture of a transport stream, in ticks of 90 kHz."""
    data = path.read_bytes()
    for at in range(0, len(data), 188):
        packet = data[at:at + 188]
        pes = packet[5 + packet[4] if packet[3] & 0x20 else 4:]
        if packet[1] & 0x40 and pes.startswith(b'\x00\x00\x01\xe0'):
            head = pes[9:14]
            return (head[0] >> 1 & 7) << 30 | head[1] << 22 | head[2] >> 1 << 15 | head[3] << 7 | head[4] >> 1
    raise AssertionError(f'{path} holds no picture')


class Server(http.server.ThreadingHTTPServer):
    """Hands out a folder, the page with SPY in it, and keeps the first thing that the page tells."""

    def __init__(self, folder):
        self.told, self.has_told = None, threading.Event()
        super().__init__(('127.0.0.1', 0), lambda *arguments: Handler(*arguments, directory=str(folder)))


class Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {'.m3u8': 'application/vnd.apple.mpegurl', '.ts': 'video/mp2t', '.vtt': 'text/vtt', '.html': 'text/html'}

    def do_GET(self):
        if self.path.startswith('/told?'):
            self.server.told = json.loads(urllib.parse.unquote(self.path.partition('?')[2]))
            self.server.has_told.set()
        if self.path != '/index.html':
            super().do_GET()
            return
        with open(self.directory + '/index.html', 'rb') as file:
            body = file.read() + SPY.encode()
        self.send_response(200)
        self.send_header('Content-Type', 'text/html')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Hls(Case):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix='mllama-test-')
        cls.addClassCleanup(folder.cleanup)
        cls.site = Path(folder.name) / 'site'
        video = Path(folder.name) / 'video.ogg'
        launch('videotestsrc num-buffers=120 pattern=ball ! video/x-raw,framerate=20/1,width=160,height=120 ! videoconvert ! '
               f'theoraenc ! oggmux ! filesink location={video}')
        run_good(SOURCE / 'pipelines' / 'hls.sh', '--model', find_checkpoint(), '--max-tokens', '4', video, cls.site,
                 MLLAMA_BUILD_DIR=str(BUILD))

    def read(self, name):
        return (self.site / name).read_text(encoding='utf-8')

    def test_the_main_playlist_names_video_and_subtitles(self):
        lines = self.read('main.m3u8').splitlines()
        self.assertEqual(lines[0], '#EXTM3U')
        media = next(line for line in lines if line.startswith('#EXT-X-MEDIA:'))
        self.assertIn('TYPE=SUBTITLES', media)
        group = re.search(r'GROUP-ID="(\w+)"', media)[1]
        self.assertTrue((self.site / re.search(r'URI="([^"]+)"', media)[1]).exists())
        stream = next(i for i, line in enumerate(lines) if line.startswith('#EXT-X-STREAM-INF:'))
        self.assertIn(f'SUBTITLES="{group}"', lines[stream])
        self.assertTrue((self.site / lines[stream + 1]).exists())

    def test_every_playlist_is_closed_and_names_files_that_are_there(self):
        for name, n_files in (('video.m3u8', 3), ('captions.m3u8', 1)):
            lines = [line for line in self.read(name).splitlines() if line]
            self.assertEqual((lines[0], lines[-1]), ('#EXTM3U', '#EXT-X-ENDLIST'))
            target = next(int(line.split(':')[1]) for line in lines if line.startswith('#EXT-X-TARGETDURATION'))
            files = [line for line in lines if not line.startswith('#')]
            durations = [float(line[8:].split(',')[0]) for line in lines if line.startswith('#EXTINF:')]
            self.assertIn('#EXT-X-PLAYLIST-TYPE:VOD', lines)
            self.assertEqual((len(files), len(durations)), (n_files, n_files))
            self.assertTrue(all(round(duration) <= target for duration in durations), (target, durations))
            self.assertAlmostEqual(sum(durations), 6, delta=0.2)
            for file in files:
                self.assertGreater((self.site / file).stat().st_size, 0)

    def test_every_segment_plays_alone(self):
        for segment in sorted(self.site.glob('*.ts')):
            said = launch(f'-v filesrc location={segment} ! tsdemux ! h264parse ! avdec_h264 ! fakesink silent=false sync=false')
            self.assertEqual(said.stdout.count('chain   *'), 40, segment.name)

    def test_zero_of_the_captions_is_the_first_picture_of_the_first_segment(self):
        zero = int(re.search(r'^X-TIMESTAMP-MAP=MPEGTS:(\d+),LOCAL:00:00:00.000$', self.read('captions.vtt'), re.M)[1])
        self.assertEqual(zero, read_first_pts(self.site / 'segment00000.ts'))

    def test_there_is_a_caption_for_each_second(self):
        text = self.read('captions.vtt')
        self.assertTrue(text.startswith('WEBVTT\n'))
        cues = re.findall(r'^(\d\d:\d\d:\d\d\.\d{3}) --> (\d\d:\d\d:\d\d\.\d{3})', text, re.M)
        self.assertEqual([start for start, _ in cues], [f'00:00:0{second}.000' for second in range(6)])

    @unittest.skipUnless(BROWSER, 'no chromium')
    def test_a_browser_plays_it_and_shows_a_caption(self):
        server = Server(self.site)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        # Processes of a browser that is told to end may write into its profile for a while.
        profile = tempfile.TemporaryDirectory(prefix='mllama-test-', ignore_cleanup_errors=True)
        self.addCleanup(profile.cleanup)
        browser = subprocess.Popen(
            [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
             '--autoplay-policy=no-user-gesture-required', f'--user-data-dir={profile.name}',
             f'http://127.0.0.1:{server.server_port}/index.html'],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(browser.wait)
        self.addCleanup(browser.terminate)
        self.assertTrue(server.has_told.wait(60), 'the page has told nothing')
        self.assertNotIn('error', server.told)
        self.assertEqual(server.told['width'], 160)
        self.assertTrue(server.told['cue'])
        self.assertAlmostEqual(server.told['duration'], 6, delta=0.3)
