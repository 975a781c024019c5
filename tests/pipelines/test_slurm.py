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
from pathlib import Path

from helpers import BUILD, SOURCE, find_checkpoint, launch, make_environment, run, run_good

ARCHIVE = BUILD / 'pipelines' / 'mllama-archive'
SLURM = SOURCE / 'pipelines' / 'slurm'
DAEMONS = [shutil.which(name, path='/usr/sbin:/usr/bin') for name in ('munged', 'slurmctld', 'slurmd')]
N_CLIPS, N_SECONDS = 9, 24
# Of either model a clip takes long enough for a task to be killed in the midst of it.
HAS_MODEL = (SOURCE / 'pipelines' / 'demo-model' / 'config.json').exists() or os.environ.get('MLLAMA_DEMO_MODEL')
MODEL = ('--interval', '4') if HAS_MODEL else ('--interval', '0.25', '--model', find_checkpoint())
OPTIONS = (*MODEL, '--max-tokens', '8', '--jobs', '1', '--ask', 'day=Is it day?')

CONFIGURATION = '''
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
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
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
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
        self.configuration = folder / 'slurm.conf'
        self.daemons = []
        (folder / 'state').mkdir(parents=True)
        (folder / 'spool').mkdir()
        # munged wants its folder to be open to others, and its key not.
        folder.chmod(0o755)
        (folder / 'key').write_bytes(os.urandom(128))
        (folder / 'key').chmod(0o600)
        self.configuration.write_text(
            CONFIGURATION.format(host=socket.gethostname().partition('.')[0], folder=folder, ports=find_ports(2)),
            encoding='utf-8')

    def start(self):
        munged, slurmctld, slurmd = DAEMONS
        at = [f'--{name}={self.folder}/munge.{name.partition("-")[0]}' for name in ('log-file', 'pid-file', 'seed-file', 'socket')]
        self.begin(munged, '--foreground', '--force', f'--key-file={self.folder}/key', *at)
        self.wait_for(lambda: (self.folder / 'munge.socket').exists(), 'munged has no socket')
        self.begin(slurmctld, '-D', '-f', self.configuration)
        self.begin(slurmd, '-D', '-f', self.configuration)
        self.wait_for(lambda: self.ask('sinfo', '-h', '-o', '%t') == 'idle', 'the node is not idle')

    def begin(self, program, *arguments):
        with open(self.folder / f'{Path(program).name}.log', 'wb') as log:
            self.daemons.append(subprocess.Popen(
                [program, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(),
                preexec_fn=die_with_parent))

    def environment(self):
        return make_environment(SLURM_CONF=str(self.configuration))

    def stop(self):
        """Ends whatever was started here, tasks too: all have the name of the configuration among their variables."""
        mark = f'SLURM_CONF={self.configuration}\0'.encode()
        while pids := [int(entry.name) for entry in Path('/proc').glob('[0-9]*') if mark in read_variables(entry)]:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            for daemon in self.daemons:
                daemon.wait()
            time.sleep(0.05)

    def wait_for(self, condition, fault, timeout=60):
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
        return dict(re.findall(r'(\w+)=(\S*)', self.ask('scontrol', 'show', 'job', job)))

    def wait_for_job(self, job, *states):
        return self.wait_for(lambda: (told := self.read_job(job)).get('JobState') in states and told, f'job {job} is not {states}')


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
        self.assertEqual(read_files(self.out), read_files(self.folder / 'single'))
        self.assertEqual(read_index(self.out), read_index(self.folder / 'single'))

    def check_resumes(self, shard):
        """Its second run found what the first had done, and left out nothing."""
        counts = [tuple(map(int, found)) for found in re.findall(r'^(\d+) clips to annotate, (\d+) known$', self.read_log(shard), re.M)]
        self.assertEqual(len(counts), 2)
        self.assertEqual(counts[0], (N_CLIPS // 3, 0))
        self.assertEqual(sum(counts[1]), N_CLIPS // 3)
        self.assertTrue(all(counts[1]), counts)

    def test_a_task_that_is_killed_and_requeued_goes_on_and_all_ends_as_a_single_run(self):
        array, merge = self.begin('--shards', '3')
        self.wait_for_clip(0)
        self.cluster.run('scancel', '--signal=KILL', '--batch', f'{array}_0')
        self.assertEqual(self.cluster.wait_for_job(f'{array}_0', 'FAILED')['ExitCode'], '0:9')
        self.cluster.run('scontrol', 'requeue', f'{array}_0')
        self.assertEqual(self.cluster.wait_for_job(merge, 'COMPLETED', 'FAILED')['JobState'], 'COMPLETED', self.read_log('merge'))
        for shard in range(3):
            task = self.cluster.read_job(f'{array}_{shard}')
            self.assertEqual((task['JobState'], task['ExitCode'], task['Restarts']), ('COMPLETED', '0:0', str(int(shard == 0))))
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

    def test_a_task_whose_time_is_up_goes_on_in_a_further_run(self):
        array, merge = self.begin('--shards', '3', '--time', '60')
        self.assertEqual(self.cluster.read_job(f'{array}_0')['TimeLimit'], '01:00:00')
        self.wait_for_clip(0)
        # As Slurm does two minutes before the limit.
        self.cluster.run('scancel', '--signal=USR1', '--batch', f'{array}_0')
        self.assertEqual(self.cluster.wait_for_job(merge, 'COMPLETED', 'FAILED')['JobState'], 'COMPLETED', self.read_log('merge'))
        self.assertIn('Time is up; shard 0 goes on in a further run.', self.read_log('shard-0'))
        self.check_resumes('shard-0')
        self.check_result()

    def test_a_second_run_of_an_archive_at_work_is_refused(self):
        array, merge = self.begin('--shards', '3')
        told = self.submit('--shards', '3', good=False)
        self.cluster.run('scancel', array, merge)
        self.cluster.wait_for(lambda: not self.cluster.ask('squeue', '-h'), 'jobs do not end')
        self.assertEqual(told.returncode, 1)
        self.assertRegex(told.stderr, rf'^Job \d+ is at work on {self.out}; ')

    def test_pods_of_an_indexed_job_do_the_same(self):
        self.submit('--shards', '3', '--plan')
        for program in ['annotate'] * 3 + ['merge']:
            shard = str(len(list(self.out.glob('shards/archive-*.db'))))
            run_good('bash', SLURM / f'{program}.sbatch', self.folder / 'clips', self.out, *OPTIONS,
                     JOB_COMPLETION_INDEX=shard, PATH=f'{ARCHIVE.parent}:{os.environ["PATH"]}')
        self.check_result()
