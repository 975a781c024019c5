# SPDX-License-Identifier: LGPL-2.1-or-later
"""The engine on the same cases, through the programs dump-logits and dump-layers."""

import subprocess

import numpy as np


class Engine:
    def __init__(self, programs, checkpoint, device, dtype, work):
        self.programs, self.arguments, self.work = programs, [str(checkpoint), device, dtype], work

    def run(self, program, *arguments):
        subprocess.run([str(self.programs / program), *arguments], check=True)

    def write_case(self, folder, case):
        np.array(case.ids, '<u4').tofile(folder / f'{case.name}.ids')
        if case.n_tiles:
            np.ascontiguousarray(case.pixels, '<f4').tofile(folder / f'{case.name}.pixels')
        return f'{case.name} {case.ratio_id} {case.n_tiles}\n'

    def run_cases(self, cases, *options):
        """Name -> logits [T][Z]."""
        folder = self.work / 'logits'
        folder.mkdir(parents=True, exist_ok=True)
        lines = [self.write_case(folder, case) for case in cases]
        (folder / 'cases.txt').write_text(''.join(lines), encoding='utf-8')
        self.run('dump-logits', *options, *self.arguments, str(folder))
        return {case.name: np.fromfile(folder / f'{case.name}.logits', '<f4').reshape(len(case.ids), -1)
                for case in cases}

    def run_layers(self, case, lesson):
        """The outputs of every layer for the inputs of the lesson, by its names."""
        folder = self.work / 'layers'
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'cases.txt').write_text(self.write_case(folder, case), encoding='utf-8')
        for name, rows in lesson.items():
            rows.astype('<f4').tofile(folder / f'{name}.in')
        self.run('dump-layers', *self.arguments, str(folder))
        return {name: np.fromfile(folder / f'{name}.out', '<f4').reshape(rows.shape)
                for name, rows in lesson.items() if name != 'states'}
