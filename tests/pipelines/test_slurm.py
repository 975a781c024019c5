# SPDX-License-Identifier: LGPL-2.1-or-later
"""pipelines/slurm: an archive annotated by tasks of a cluster, of which some die, is that of a single run. The cluster is a
real one of this machine alone, with daemons, key, ports and files of its own."""

import atexit
import ctypes
import hashlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import unittest
from itertools import zip_longest
from pathlib import Path

from helpers import BUILD, SOURCE, find_checkpoint, launch, make_environment, run, run_good

ARCHIVE = BUILD / 'pipelines' / 'mllama-archive'
WITH_ARCHIVE = f'{ARCHIVE.parent}:{os.environ["PATH"]}'
SLURM = SOURCE / 'pipelines' / 'slurm'
DAEMONS = [shutil.which(name, path='/usr/sbin:/usr/bin') for name in ('munged', 'slurmctld', 'slurmd')]
N_CLIPS, N_SECONDS = 9, 24
# Of either model a clip takes long enough for a task to be killed in the midst of it.
HAS_MODEL = (SOURCE / 'pipelines' / 'demo-model' / 'config.json').exists() or os.environ.get('MLLAMA_DEMO_MODEL')
MODEL = ('--interval', '4s') if HAS_MODEL else ('--interval', '0', '--model', find_checkpoint())
OPTIONS = (*MODEL, '--max-tokens', '8', '--jobs', '1', '--ask', 'day=Is it day?')

CONFIGURATION = '''
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=100000
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
'''


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def find_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(('127.0.0.1', 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Cluster:
    """A node that runs two tasks at once."""

    def __init__(self, folder):
        self.folder = folder
        self.host = socket.gethostname().partition('.')[0]
        self.configuration = folder / 'slurm.conf'
        self.daemons = []
        (folder / 'state').mkdir(parents=True)
        (folder / 'spool').mkdir()
        (folder / 'key').write_bytes(os.urandom(128))
        (folder / 'key').chmod(0o600)
        self.configuration.write_text(
            CONFIGURATION.format(host=self.host, folder=folder, ports=find_ports(2)), encoding='utf-8')
        # Slurm counts GPUs, whatever the files are.
        (folder / 'gres.conf').write_text('Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n', encoding='utf-8')

    def start(self):
        munged, slurmctld, _ = DAEMONS
        at = [f'--{name}={self.folder}/munge.{name.partition("-")[0]}' for name in ('log-file', 'pid-file', 'seed-file', 'socket')]
        self.begin(munged, '--foreground', '--force', f'--key-file={self.folder}/key', *at)
        self.wait_for(lambda: (self.folder / 'munge.socket').exists(), 'munged has no socket')
        self.begin(slurmctld, '-D', '-f', self.configuration)
        self.start_node()

    def begin(self, program, *arguments):
        with open(self.folder / f'{Path(program).name}.log', 'wb') as log:
            self.daemons.append(subprocess.Popen(
                [program, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(),
                preexec_fn=die_with_parent))

    def environment(self):
        return make_environment(SLURM_CONF=str(self.configuration))

    def find_processes(self):
        """Whatever was started here, tasks too: all have the name of the configuration among their variables."""
        mark = f'SLURM_CONF={self.configuration}\0'.encode()
        return [int(entry.name) for entry in Path('/proc').glob('[0-9]*') if mark in read_variables(entry)]

    def stop(self):
        while pids := self.find_processes():
            kill(pids)
            for daemon in self.daemons:
                daemon.wait()
            time.sleep(0.05)

    def restart_node(self):
        """As if its power had failed, and come again. slurmctld is told what it would find out in some minutes."""
        servers = {daemon.pid for daemon in self.daemons[:2]}
        kill([pid for pid in self.find_processes() if not servers & {pid, read_parent(pid)}])
        self.daemons.pop().wait()
        self.run('scontrol', 'update', f'nodename={self.host}', 'state=down', 'reason=test')
        self.start_node('-b')

    def start_node(self, *options):
        self.begin(DAEMONS[2], '-D', '-f', self.configuration, *options)
        self.wait_for(lambda: self.ask('sinfo', '-h', '-o', '%t') == 'idle', 'the node is not idle')

    def wait_for(self, condition, fault, timeout=90):
        end = time.monotonic() + timeout
        while not (value := condition()):
            if time.monotonic() > end:
                logs = [f'{path.name}: {path.read_text(errors="replace")[-2000:]}' for path in self.folder.glob('*.log')]
                raise AssertionError('\n'.join([fault, self.ask('squeue'), *logs]))
            time.sleep(0.05)
        return value

    def run(self, *command, good=True):
        return (run_good if good else run)(*command, SLURM_CONF=str(self.configuration), MLLAMA_BUILD_DIR=str(BUILD))

    def ask(self, *command):
        return self.run(*command, good=False).stdout.strip()

    def read_job(self, job):
        """What scontrol tells: JobState, ExitCode, Restarts and others."""
        return dict(re.findall(r'([\w/]+)=(\S*)', self.ask('scontrol', 'show', 'job', job)))

    def wait_for_job(self, job, *states):
        return self.wait_for(lambda: (told := self.read_job(job)).get('JobState') in states and told, f'job {job} is not {states}')


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def read_parent(pid):
    try:
        return int(Path(f'/proc/{pid}/stat').read_text(encoding='utf-8').rpartition(')')[2].split()[1])
    except OSError:
        return None


def read_variables(process):
    try:
        return (process / 'environ').read_bytes()
    except OSError:
        return b''


def read_files(folder):
    """{name: hash of content} of all but the index."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob('*')
            if path.is_file() and 'shards' not in path.parts and not path.name.startswith('archive.db')}


def read_rows(index, query):
    connection = sqlite3.connect(index)
    try:
        return sorted(connection.execute(query).fetchall())
    finally:
        connection.close()


def read_index(out):
    """What an index says of clips and captions, but for ids, its own times, and where it lies itself."""
    clips = read_rows(out / 'archive.db', 'SELECT path, size, modified_ns, duration_ns, width, height, hash, output, error '
                                          'FROM clips JOIN settings ON settings.id = clips.settings')
    captions = read_rows(out / 'archive.db', 'SELECT path, name, prompt, start_ns, end_ns, captions.text, confidence, thumbnail '
                                             'FROM captions JOIN clips ON clips.id = clip JOIN questions ON questions.id = question')
    found = read_rows(out / 'archive.db', "SELECT count(*) FROM captions_text WHERE captions_text MATCH 'a OR the OR e'")
    return [[str(value).replace(str(out), 'OUT') for value in row] for row in [*clips, *captions, *found]]


def read_times(out):
    """When each clip was annotated."""
    return dict(read_rows(out / 'archive.db', 'SELECT path, annotated_ns FROM clips'))


@unittest.skipUnless(ARCHIVE.exists(), 'no mllama-archive')
@unittest.skipUnless(os.geteuid() == 0, 'daemons of Slurm need root')
@unittest.skipUnless(all(DAEMONS) and shutil.which('sbatch'), 'no slurmctld, slurmd, munged or sbatch')
class Slurm(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        # A test that is ended for its time cleans up too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        folder = tempfile.TemporaryDirectory(prefix='mllama-test-')
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.make_clips()
        run_good(ARCHIVE, 'annotate', '--output', cls.folder / 'single', cls.folder / 'clips', *OPTIONS)
        run_good(ARCHIVE, 'report', '--index', cls.folder / 'single' / 'archive.db')
        cls.cluster = Cluster(cls.folder / 'cluster')
        atexit.register(cls.cluster.stop)
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.start()

    @classmethod
    def make_clips(cls):
        """In two folders, and none like another."""
        for number in range(N_CLIPS):
            path = cls.folder / 'clips' / f'day {number % 2}' / f'clip {number}.ogg'
            path.parent.mkdir(parents=True, exist_ok=True)
            launch(f'videotestsrc num-buffers={N_SECONDS * 4} pattern=ball foreground-color={0xff4080c0 + 0x20 * number} ! '
                   f'video/x-raw,framerate=4/1,width=64,height=48 ! videoconvert ! theoraenc ! oggmux ! filesink location="{path}"')

    def setUp(self):
        self.out = self.folder / self.id().rpartition('.')[2]

    def submit(self, *arguments, good=True):
        return self.cluster.run(SLURM / 'annotate.sh', '--output', self.out, *arguments, self.folder / 'clips', '--', *OPTIONS,
                                good=good)

    def begin(self, *arguments):
        """Numbers of the jobs that are submitted: the array, and the merge."""
        told = self.submit(*arguments).stderr
        return re.search(r'^sbatch .* --dependency=afterany:(\d+) (?:.*\n)*Job (\d+) ends', told, re.M).groups()

    def wait_for_clip(self, shard):
        """Until a task has entered one, and is at work on the next."""
        log = self.out / 'shards' / f'shard-{shard}.log'
        self.cluster.wait_for(lambda: log.exists() and ' captions, ' in log.read_text(), f'shard {shard} has entered no clip')

    def read_log(self, name):
        return (self.out / 'shards' / f'{name}.log').read_text(encoding='utf-8')

    def check_result(self):
        single = self.folder / 'single'
        self.assertEqual(sorted(set(read_files(self.out).items()) ^ set(read_files(single).items())), [])
        self.assertEqual([pair for pair in zip_longest(read_index(self.out), read_index(single)) if pair[0] != pair[1]], [])

    def check_resumes(self, shard):
        """Its second run found what the first had done, and left out nothing."""
        counts = [tuple(map(int, found)) for found in re.findall(r'^(\d+) clips to annotate, (\d+) known$', self.read_log(shard), re.M)]
        self.assertEqual(len(counts), 2)
        self.assertEqual(counts[0], (N_CLIPS // 3, 0))
        self.assertEqual(sum(counts[1]), N_CLIPS // 3)
        self.assertTrue(all(counts[1]), counts)

    def test_a_task_that_is_killed_and_requeued_goes_on_and_all_ends_as_a_single_run(self):
        array, merge = self.begin('--shards', '3', '--gpus', '1', '--cpus', '1', '--partition', 'all')
        self.wait_for_clip(0)
        self.cluster.run('scancel', '--signal=KILL', '--batch', f'{array}_0')
        self.assertEqual(self.cluster.wait_for_job(f'{array}_0', 'FAILED')['ExitCode'], '0:9')
        self.cluster.run('scontrol', 'requeue', f'{array}_0')
        self.assertEqual(self.cluster.wait_for_job(merge, 'COMPLETED', 'FAILED')['JobState'], 'COMPLETED', self.read_log('merge'))
        for shard in range(3):
            task = self.cluster.read_job(f'{array}_{shard}')
            self.assertEqual((task['JobState'], task['ExitCode'], task['Restarts']), ('COMPLETED', '0:0', str(int(shard == 0))))
            self.assertEqual((task['TresPerNode'], task['CPUs/Task']), ('gres:gpu:1', '1'))
        self.check_resumes('shard-0')
        self.check_result()

        times = read_times(self.out)
        told = self.submit('--shards', '3')
        self.assertIn(f'No clip is missing in {self.out}/archive.db.', told.stderr)
        self.assertEqual(self.cluster.ask('squeue', '-h'), '')
        self.assertEqual(read_times(self.out), times)
        self.check_result()

    def test_a_task_that_failed_is_told_and_the_next_run_does_what_is_missing_in_other_shards(self):
        array, merge = self.begin('--shards', '3')
        self.wait_for_clip(1)
        self.cluster.run('scancel', '--signal=KILL', '--batch', f'{array}_1')
        self.assertEqual(self.cluster.wait_for_job(merge, 'COMPLETED', 'FAILED')['ExitCode'], '1:0')
        self.assertEqual(re.findall(r'^Shard (\d+) failed: .*$', self.read_log('merge'), re.M), ['1'])
        times = read_times(self.out)
        self.assertIn(len(times), range(N_CLIPS * 2 // 3 + 1, N_CLIPS))

        _, merge = self.begin('--shards', '2')
        self.assertEqual(self.cluster.wait_for_job(merge, 'COMPLETED', 'FAILED')['JobState'], 'COMPLETED', self.read_log('merge'))
        again = read_times(self.out)
        self.assertEqual({path: again[path] for path in times}, times)
        self.check_result()

    def test_tasks_of_a_node_that_dies_go_on_when_it_is_back(self):
        array, merge = self.begin('--shards', '3')
        self.wait_for_clip(0)
        self.cluster.restart_node()
        self.assertEqual(self.cluster.wait_for_job(merge, 'COMPLETED', 'FAILED')['JobState'], 'COMPLETED', self.read_log('merge'))
        self.assertEqual(self.cluster.read_job(f'{array}_0')['Restarts'], '1')
        self.check_resumes('shard-0')
        self.check_result()

    def test_a_task_whose_time_is_up_goes_on_in_a_further_run(self):
        array, merge = self.begin('--shards', '3', '--time', '60', '--at-once', '2')
        told = self.cluster.read_job(array)
        self.assertEqual((told['TimeLimit'], told['ArrayTaskThrottle']), ('01:00:00', '2'))
        self.wait_for_clip(0)
        # As Slurm does two minutes before the limit.
        self.cluster.run('scancel', '--signal=USR1', '--batch', f'{array}_0')
        self.assertEqual(self.cluster.wait_for_job(merge, 'COMPLETED', 'FAILED')['JobState'], 'COMPLETED', self.read_log('merge'))
        self.assertIn('Time is up; shard 0 goes on in a further run.', self.read_log('shard-0'))
        self.check_resumes('shard-0')
        self.check_result()

    def test_a_second_run_of_an_archive_at_work_is_refused_and_one_after_it_keeps_what_was_done(self):
        array, merge = self.begin('--shards', '3')
        told = self.submit('--shards', '3', good=False)
        self.wait_for_clip(0)
        self.cluster.run('scancel', array, merge)
        self.cluster.wait_for(lambda: not self.cluster.ask('squeue', '-h'), 'jobs do not end')
        self.assertEqual(told.returncode, 1)
        self.assertRegex(told.stderr, rf'^Job \d+ is at work on {self.out}; ')
        # No merge came to run.
        self.assertFalse((self.out / 'archive.db').exists())
        missing = re.search(r'^(\d+) clips are missing', self.submit('--shards', '3', '--plan').stderr, re.M)[1]
        self.assertEqual(int(missing) + len(read_times(self.out)), N_CLIPS)
        self.assertLess(int(missing), N_CLIPS)

    def test_a_task_that_finishes_no_clip_in_its_time_is_not_begun_again(self):
        programs = self.folder / 'programs'
        programs.mkdir()
        for name, text in (('mllama-archive', f'[ "${{!#}}" = --dry-run ] && echo /clip || {{ touch {programs}/begun; exec sleep 60; }}'),
                           ('scontrol', f'touch {programs}/requeued')):
            (programs / name).write_text(f'#!/bin/bash\n{text}\n', encoding='utf-8')
            (programs / name).chmod(0o755)
        (self.out / 'shards').mkdir(parents=True)
        (self.out / 'shards' / 'shard-0.txt').write_text('/clip\n', encoding='utf-8')
        with subprocess.Popen(['bash', SLURM / 'annotate.sbatch', '/', self.out], stderr=subprocess.PIPE, text=True,
                              env=make_environment(SHARD='0', SLURM_JOB_ID='1', PATH=f'{programs}:{os.environ["PATH"]}')) as task:
            self.cluster.wait_for((programs / 'begun').exists, 'the task does not begin')
            task.send_signal(signal.SIGUSR1)
            self.assertIn('no clip was finished in it', task.communicate(timeout=30)[1])
        self.assertNotEqual(task.returncode, 0)
        self.assertFalse((programs / 'requeued').exists())

    def test_what_only_the_scripts_may_set_is_refused_behind_the_dashes(self):
        for option in ('--index=x', '--output', '-o', '--dry-run', '--force', '--files-from', '--base', '--exclude'):
            told = self.cluster.run(SLURM / 'annotate.sh', '--output', self.out, self.folder / 'clips', '--', option, good=False)
            self.assertEqual((told.returncode, told.stderr.partition(' behind')[0]), (1, f'{option} cannot stand'))
        self.assertFalse(self.out.exists())

    def test_nothing_is_submitted_where_missing_clips_cannot_be_told(self):
        told = self.submit('--shards', '3', '--include', '*.none', good=False)
        self.assertNotEqual(told.returncode, 0)
        self.assertIn('There are no clips', told.stderr)
        self.assertNotIn('sbatch', told.stderr)

    def test_pods_of_the_indexed_job_of_the_readme_do_the_same(self):
        manifest = (SLURM / 'README.md').read_text(encoding='utf-8').partition('```yaml\n')[2].partition('```')[0]
        self.assertIn('completionMode: Indexed', manifest)
        command = re.search(r'command: \[(.*), --max-tokens, "40"\]', manifest)[1].split(', ')
        for printed, real in (('/mllama/slurm', SLURM), ('/archive/clips', self.folder / 'clips'), ('/archive/out', self.out)):
            command = [word.replace(printed, str(real)) for word in command]
        self.submit('--shards', '3', '--plan')
        # A fourth has nothing to do.
        for number in range(4):
            run_good(*command, *OPTIONS, JOB_COMPLETION_INDEX=str(number), PATH=WITH_ARCHIVE)
        run_good('bash', SLURM / 'merge.sbatch', *command[2:], *OPTIONS, PATH=WITH_ARCHIVE)
        self.check_result()
        self.assertIn('No clip is missing', self.submit('--plan').stderr)
        self.assertIn(f'{N_CLIPS} clips are missing', self.submit('--plan', '--force').stderr)

    def test_a_clip_that_cannot_be_read_is_named_and_tried_again(self):
        clips = self.folder / 'good and bad'
        shutil.copytree(self.folder / 'clips' / 'day 1', clips)
        bad = clips / 'bad.ogg'
        bad.write_bytes(b'no clip')
        for missing in ('5 clips are missing', '1 clips are missing'):
            told = self.cluster.run(SLURM / 'annotate.sh', '--plan', '--shards', '1', '--output', self.out, clips, '--', *OPTIONS)
            self.assertIn(missing, told.stderr)
            task, merge = (run('bash', SLURM / f'{name}.sbatch', clips, self.out, *OPTIONS, SHARD='0', PATH=WITH_ARCHIVE)
                           for name in ('annotate', 'merge'))
            self.assertEqual((task.returncode, merge.returncode), (1, 1))
            self.assertIn(f'{bad}: ', task.stderr)
            self.assertIn(f'Shard 0 failed: 1 of its {missing[0]} clips are missing:\n{bad}\n', merge.stderr)
        self.assertEqual(len(read_times(self.out)), 5)
