# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the time of a step goes: of the processor, and on a GPU, whose queue the processor fills, between its own marks."""

import time

import torch

PARTS = ('batch', 'compose', 'network', 'optimiser')


class Clock:
    """with clock.part (name): … around each part; read () waits for the GPU, and begins anew."""

    def __init__(self, device):
        self.on_gpu = device.type == 'cuda'
        self.clear()

    def clear(self):
        self.cpu, self.marks, self.begin = dict.fromkeys(PARTS, 0.0), [], time.monotonic()

    def mark(self):
        if not self.on_gpu:
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def part(self, name):
        return Part(self, name)

    def read(self):
        """(seconds in all, {part: ms of the processor}, {part: ms of the GPU})."""
        if self.on_gpu:
            torch.cuda.synchronize()
        gpu = dict.fromkeys(PARTS, 0.0)
        for name, first, last in self.marks:
            gpu[name] += first.elapsed_time(last)
        result = time.monotonic() - self.begin, {name: 1e3 * seconds for name, seconds in self.cpu.items()}, gpu
        self.clear()
        return result


class Part:
    def __init__(self, clock, name):
        self.clock, self.name = clock, name

    def __enter__(self):
        self.first, self.begin = self.clock.mark(), time.monotonic()

    def __exit__(self, *_):
        self.clock.cpu[self.name] += time.monotonic() - self.begin
        if self.first:
            self.clock.marks.append((self.name, self.first, self.clock.mark()))


def spell(times, n_steps):
    """One line: ms a step."""
    seconds, cpu, gpu = times
    line = f'ms a step: {1e3 * seconds / n_steps:.1f}; CPU ' + ' '.join(f'{name} {cpu[name] / n_steps:.1f}' for name in PARTS)
    if any(gpu.values()):
        idle = 1e3 * seconds - sum(gpu.values())
        line += '; GPU ' + ' '.join(f'{name} {gpu[name] / n_steps:.1f}' for name in PARTS[1:]) + f' idle {idle / n_steps:.1f}'
    return line
