# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs programs on a tier of kernels, with a time limit and a log, several at once."""

import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

TIERS = ('', 'sm_80')  # '': the GPU's own


def name_tier(tier):
    return tier or 'own tier'


def run_together(jobs, n_at_once):
    """jobs: function and arguments. The first exception is raised, after all have ended."""
    with ThreadPoolExecutor(n_at_once) as pool:
        for job in [pool.submit(*job) for job in jobs]:
            job.result()


class Programs:
    """Logs lie beside out, a path."""

    def __init__(self, out):
        self.out = out

    def run(self, label, tier, *command, limit=240, **environment):
        """Output and exit status, or what is to be said if it did not end in limit seconds."""
        changed = {**os.environ, **environment, **({'MLLAMA_CUDA_TIER': tier} if tier else {})}
        log = self.out.with_name(re.sub(r'\W+', '-', f'{label} {tier}'.strip()) + '.log')
        with open(log, 'w', encoding='utf-8') as file:
            # A session of its own, so that what a sanitizer has started ends with it.
            process = subprocess.Popen([str(word) for word in command], stdout=file, stderr=subprocess.STDOUT, env=changed,
                                       start_new_session=True)
            try:
                status = process.wait(timeout=limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                status = f'stopped after {limit:.0f} s'
        return log.read_text(encoding='utf-8', errors='replace'), status
