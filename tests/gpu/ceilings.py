#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What this GPU can do at most: copies, reads, and products of bf16 matrices. One JSON object."""

import json
import statistics

import torch


def time_ms(function, n=15, n_before=5):
    """Median and spread over n runs."""
    times = []
    for run in range(n_before + n):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        torch.cuda.synchronize()
        if run >= n_before:
            times.append(start.elapsed_time(end))
    return statistics.median(times), min(times), max(times)


def measure_copy(n_bytes):
    source, dest = (torch.randint(0, 255, (n_bytes,), dtype=torch.uint8, device='cuda') for _ in range(2))
    return [2 * n_bytes / ms / 1e9 for ms in time_ms(lambda: dest.copy_(source))]


def measure_read(n_bytes):
    """The largest value of rows: each read once, next to nothing written."""
    values = torch.randn(n_bytes // 4 // 8192, 8192, device='cuda')
    return [n_bytes / ms / 1e9 for ms in time_ms(lambda: values.amax(-1))]


def measure_product(n):
    a, b = (torch.randn(n, n, device='cuda', dtype=torch.bfloat16) for _ in range(2))
    return [2 * n ** 3 / ms / 1e9 for ms in time_ms(lambda: a @ b)]


def main():
    figures = {'copy_TBps': measure_copy(2 << 30), 'read_TBps': measure_read(4 << 30),
               'gemm_TFLOPs': measure_product(8192)}
    print(json.dumps({name: {'median': median, 'min': slowest, 'max': fastest}
                      for name, (median, fastest, slowest) in figures.items()}))


if __name__ == '__main__':
    main()
