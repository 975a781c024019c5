# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network stream that breaks off and comes back, through pipelines/rtsp.sh and mllama-rtsp."""

import json
import signal
import subprocess
import unittest

from helpers import BUILD, SOURCE, Case, Lines, find_checkpoint, make_environment, run

SERVER = BUILD / 'tests' / 'pipelines' / 'rtsp-server'
OPTIONS = ('--model', find_checkpoint(), '--max-tokens', '4', '--interval', '0.2')
PROGRAM = BUILD / 'pipelines' / 'mllama-rtsp'


@unittest.skipUnless(SERVER.exists(), 'built without libgstrtspserver-1.0-dev')
class Rtsp(Case):
    def start(self, *command):
        process = subprocess.Popen(
            [str(word) for word in command], env=make_environment(MLLAMA_BUILD_DIR=str(BUILD)), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding='utf-8', errors='replace')
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, Lines(process.stdout), Lines(process.stderr)

    def serve(self, port=0, frames=-1):
        server, said, _ = self.start(SERVER, port, frames)
        return server, int(said.wait_for(r'^\d+$'))

    def test_a_stream_that_breaks_off_goes_on_when_it_is_back_and_the_model_stays_loaded(self):
        server, port = self.serve()
        program, answers, said = self.start(SOURCE / 'pipelines' / 'rtsp.sh', *OPTIONS, f'rtsp://127.0.0.1:{port}/test')
        for _ in range(3):
            json.loads(answers.wait_for(r'^{'))
        server.kill()
        server.wait()
        said.wait_for(r'Connecting again in')
        # Nobody is there: it goes on trying.
        said.wait_for(r'Connecting again in')
        answers.forget()
        self.serve(port)
        after = [json.loads(answers.wait_for(r'^{')) for _ in range(3)]
        self.assertTrue(all(answer['text'] for answer in after))
        program.send_signal(signal.SIGINT)
        self.assertEqual(program.wait(30), 0)
        self.assertEqual(len(said.find('Loading the model')), 1, said.all)
        self.assertGreaterEqual(len(said.find('Source ')), 3)
        self.assertEqual(len(said.find('Pipeline: ')), 1)

    def test_a_server_that_falls_silent_is_left(self):
        server, port = self.serve()
        _, answers, said = self.start(PROGRAM, *OPTIONS, '--timeout', '1.5', f'rtsp://127.0.0.1:{port}/test')
        answers.wait_for(r'^{')
        server.send_signal(signal.SIGSTOP)
        said.wait_for(r'no frame came in time.*Connecting again')
        server.send_signal(signal.SIGCONT)
        answers.forget()
        answers.wait_for(r'^{')

    def test_the_end_of_a_source_is_not_the_end_of_the_stream(self):
        _, port = self.serve(frames=15)
        _, answers, said = self.start(PROGRAM, *OPTIONS, '--wait', '0.1', f'rtsp://127.0.0.1:{port}/test')
        answers.wait_for(r'^{')
        said.wait_for(r'the source has ended.*Connecting again')
        answers.forget()
        answers.wait_for(r'^{')

    def test_gives_up_after_so_many_attempts(self):
        result = run(PROGRAM, *OPTIONS, '--attempts', '2', '--wait', '0.1', 'rtsp://127.0.0.1:1/test')
        self.assertEqual(result.returncode, 1)
        self.assertIn('Giving up after 2 attempts', result.stderr)

    def test_explains_itself_and_refuses_what_it_does_not_know(self):
        self.assertIn('URI', run(PROGRAM, '--help').stdout)
        self.assertEqual(run(PROGRAM).returncode, 1)
        self.assertEqual(run(PROGRAM, '--nonsense', 'rtsp://x').returncode, 1)
