# SPDX-License-Identifier: LGPL-2.1-or-later
"""Batches of described frames with their questions, made by processes of their own, in an order that the seed fixes.

A batch holds frames of one size. Batch i depends on the seed and i alone, however many processes make them, so that a
run that goes on with batch i sees what one run would have seen.
"""

import multiprocessing
import os
import random
from dataclasses import dataclass, field

import numpy as np
import torch

import frames as describing
import pack
import questions
import tiles
import tokens

# What losses are told for: captions by kind of frame, answers by topic.
TOPICS = [f'caption:{kind}' for kind in describing.KINDS] + [name for name in questions.ASKERS if name != 'caption']
N_QUEUED = 3  # batches that wait in each process


@dataclass(frozen=True)
class Plan:
    """What batches are like; seed: of the whole run."""
    seed: int
    tokenizer: str
    assets: str
    n_frames: int
    n_tokens: int  # of a frame's rows together
    kinds: dict = field(default_factory=lambda: dict(describing.KINDS))
    lengths: dict = field(default_factory=lambda: dict(describing.TEXT_LENGTHS))


@dataclass
class Batch:
    number: int
    packed: dict  # the frames, as pack.py has them
    ratio_id: int
    n_tiles: int
    ids: np.ndarray  # i16 [F][S]
    positions: np.ndarray
    segments: np.ndarray
    picks: np.ndarray  # i32: places in [F * S] whose next token is part of an answer
    labels: np.ndarray  # i16: that token
    topics: np.ndarray  # i8: what the answer is about


def name_topic(kind, topic):
    return TOPICS.index(f'caption:{kind}' if topic == 'caption' else topic)


class Maker:
    """Makes batches; one in each process."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.chat = tokens.Chat(tokens.Tokenizer.from_file(plan.tokenizer))
        self.catalogue = describing.use_assets(plan.assets)

    def ask(self, rng, frame):
        """Rows of a frame until S is full, and their topics. The first that does not fit is the end: long ones stay."""
        rows, topics, left = [], [], self.plan.n_tokens
        for prompt, answer, topic in questions.ask(rng, frame, 14):
            row = self.chat.encode_pair(prompt, answer)
            if len(row[0]) > left:
                break
            rows.append(row)
            topics.append(name_topic(frame.kind, topic))
            left -= len(row[0])
        return rows, topics

    def make(self, number):
        rng = random.Random(f'{self.plan.seed} {number}')
        size = describing.pick_size(rng)
        kinds = describing.list_kinds(size, self.plan.kinds)
        frames = [describing.sample(rng, describing.pick_kind(rng, kinds), size, lengths=self.plan.lengths)
                  for _ in range(self.plan.n_frames)]
        rows, topics = zip(*(self.ask(rng, frame) for frame in frames))
        ids, positions, segments, targets = tokens.pack_rows(rows, self.plan.n_tokens, self.chat.pad_id)
        picks = np.flatnonzero(targets.ravel() >= 0).astype(np.int32)
        by_row = np.zeros((len(frames), max(len(t) for t in topics)), np.int8)
        for row, names in zip(by_row, topics):
            row[:len(names)] = names
        frame_numbers = picks // self.plan.n_tokens
        plan = tiles.plan(*size)
        return Batch(number, pack.pack(frames), plan.ratio_id, plan.n_tiles, ids, positions, segments, picks,
                     targets.ravel()[picks], by_row[frame_numbers, segments.ravel()[picks]])


# --- processes ---

def run_maker(plan, first, step, queue):
    torch.set_num_threads(1)
    try:
        os.nice(5)
        maker = Maker(plan)
        number = first
        while True:
            queue.put(maker.make(number))
            number += step
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    except Exception as error:  # told to the reader, who would wait for ever otherwise
        queue.put(error)
        raise


class Source:
    """Batches from the first on, in order. Start it before anything is done on a GPU: it forks."""

    def __init__(self, plan, first, n_processes):
        context = multiprocessing.get_context('fork')
        self.next, self.first = first, first
        self.queues = [context.Queue(N_QUEUED) for _ in range(n_processes)]
        self.processes = [
            context.Process(target=run_maker, args=(plan, first + i, n_processes, queue), daemon=True)
            for i, queue in enumerate(self.queues)]
        for process in self.processes:
            process.start()

    def get(self):
        batch = self.queues[(self.next - self.first) % len(self.queues)].get(timeout=300)
        if isinstance(batch, Exception):
            raise batch
        self.next += 1
        return batch

    def stop(self):
        for process in self.processes:
            process.terminate()
