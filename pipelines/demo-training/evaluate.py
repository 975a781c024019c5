# SPDX-License-Identifier: LGPL-2.1-or-later
"""Greedy answers in torch, and how many of them are right: a quick look during training, no measurement.

The measurement is tests/demo-model, which asks through the GStreamer element.
"""

import random
import time
from collections import Counter

import torch

import frames as describing
import pack
import questions
import tiles

SIZES = [(640, 480), (1280, 720), (160, 120), (640, 200)]  # four tiles twice, one, three


@torch.no_grad()
def answer(network, states, prompts, end_id, pad_id, n_most=56):
    """states [N][K][H], and a prompt's ids for each -> the ids said, without the end. No cache: rows are short."""
    device, longest = states.device, max(len(prompt) for prompt in prompts)
    length = torch.tensor([len(prompt) for prompt in prompts], device=device)
    ids = torch.full((len(prompts), longest + n_most), pad_id, device=device)
    for row, prompt in zip(ids, prompts):
        row[:len(prompt)] = torch.tensor(prompt, device=device)
    index, done = torch.arange(len(prompts), device=device), torch.zeros(len(prompts), dtype=torch.bool, device=device)
    for step in range(n_most):
        seen = ids[:, :longest + step]
        positions = torch.arange(seen.shape[1], device=device).expand_as(seen)
        hidden = network.read(states, seen, positions, torch.zeros_like(seen))
        token = network.get_logits(hidden[index, length + step - 1]).argmax(-1)
        ids[index, length + step] = torch.where(done, pad_id, token)
        done |= token == end_id
        if step % 8 == 7 and done.all():
            break
    said = [row[n:].tolist() for row, n in zip(ids, length.tolist())]
    return [row[:row.index(end_id)] if end_id in row else row for row in said]


def sample_frames(rng, kind, size, n):
    return [describing.sample(rng, kind, size) for _ in range(n)]


@torch.no_grad()
def evaluate(network, chat, compose, n_frames, deadline, seed=12345):
    """Exact answers by kind (captions) and topic (plain wordings): Counters of right and of all, and some mistakes.
    Ends early where the clock passes the deadline."""
    right, asked, mistakes = Counter(), Counter(), []
    rng = random.Random(seed)
    for size in SIZES:
        plan = tiles.plan(*size)
        for kind in describing.KINDS:
            if time.monotonic() > deadline:
                break
            frames = sample_frames(rng, kind, size, n_frames)
            states = network.encode(compose(pack.pack(frames)), plan.ratio_id)
            rows = [(f, *row) for f, frame in enumerate(frames) for row in list_rows(rng, frame)]
            said = answer(network, states[[f for f, *_ in rows]], [chat.encode_question(q) for _, q, _, _ in rows],
                          chat.end_id, chat.pad_id)
            for (_, question, expected, topic), ids in zip(rows, said):
                name, text = f'caption:{kind}' if topic == 'caption' else topic, chat.decode(ids)
                asked[name] += 1
                right[name] += text == expected
                if text != expected and len(mistakes) < 40 and rng.random() < 0.1:
                    mistakes.append(f'{question} -> {text}    not {expected}')
    return right, asked, mistakes


def list_rows(rng, frame):
    """The caption, and two questions."""
    return questions.ask(rng, frame, 1, {'caption': 1}, plain=True) + [
        row for row in questions.ask(rng, frame, 3, plain=True) if row[2] != 'caption'][:2]
