#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""From frames to captions and back: a small network learns 48 frames by heart, and is asked for them in torch, then,
through the files of a checkpoint, in the engine. Ends with PASS or FAIL after some minutes on two cores.

    test-training.py --assets DIR [--engine PROGRAM] [--steps 600]      PROGRAM: a built mllama-caption

The frames have sizes that the tile rule leaves alone, so that the pictures drawn are what the engine is given.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

import batches
import compose
import evaluate
import export
import graphs
import frames as describing
import pack
import questions
import state
import tiles
import tokens
import train
from muon import Optimiser
from network import Network, Shape

SIZES = [(112, 112), (224, 112), (200, 224)]  # one, two and four tiles of 112 pixels
SHAPE = Shape(image_size=112, vision_width=64, vision_heads=2, vision_ff=192, n_local=2, n_global=1, taps=(1,),
              width=64, n_heads=2, n_kv_heads=1, ff=160, n_layers=4, cross_layers=(1, 2))
N_TOKENS = 128


class Source:
    """The same batches over and over."""

    def __init__(self, made):
        self.made, self.next = made, 0

    def get(self):
        self.next += 1
        return self.made[(self.next - 1) % len(self.made)]


def make_batch(rng, chat, size, n):
    """A batch of scenes and texts, and (question, answer) of its frames."""
    frames = [describing.sample(rng, rng.choice(['scene', 'scene', 'ball', 'text']), size) for _ in range(n)]
    for frame in frames:
        frame.wear = describing.Wear()
    asked = [questions.ask(rng, frame, 1, {'caption': 1}, plain=True) +
             questions.ask(rng, frame, 1, {'background': 1}, plain=True) for frame in frames]
    rows = [[chat.encode_pair(q, a) for q, a, _ in row] for row in asked]
    ids, positions, segments, targets = tokens.pack_rows(rows, N_TOKENS, chat.pad_id)
    picks = np.flatnonzero(targets.ravel() >= 0).astype(np.int32)
    plan = tiles.plan(*size, SHAPE.image_size)
    assert (plan.width, plan.height) == size
    batch = batches.Batch(0, pack.pack(frames), plan.ratio_id, plan.n_tiles, ids, positions, segments, picks,
                          targets.ravel()[picks], np.zeros(len(picks), np.int8))
    return batch, asked


def make_trainer(shape, source, composer, options):
    torch.manual_seed(1)
    network, drawn = Network(shape), {}

    def draw(packed):
        if id(packed) not in drawn:
            drawn[id(packed)] = composer(packed)[0]
        return drawn[id(packed)]

    return train.Trainer(network, Optimiser(network), source, draw, options, SimpleNamespace(tell=print))


def check_resuming(made, composer, shape, folder):
    """Four steps in one go, and two and two through files: the same but for moments kept in bf16."""
    options = SimpleNamespace(batches=1, frames=2, steps=4, warm_up=1, decay=0.5, muon_rate=0.02, adam_rate=0.003,
                              state=folder)
    whole = make_trainer(shape, Source(made), composer, options)
    for _ in range(4):
        whole.run_step()
    first = make_trainer(shape, Source(made), composer, options)
    first.run_step()
    first.run_step()
    first.save()
    tensors, facts = train.open_state(SimpleNamespace(state=folder / 'next', origin=folder))
    second = make_trainer(state.make_shape(facts), Source(made), composer, options)
    state.read_weights(second.network, tensors)
    second.optimiser.read(tensors, facts['step'])
    second.step, second.source.next = facts['step'], facts['next_batch']
    second.run_step()
    second.run_step()
    pairs = zip(whole.network.parameters(), second.network.parameters())
    difference = max((a - b).abs().max().item() for a, b in pairs)
    print(f'resumed: largest difference of a weight {difference:.1e}')
    return difference < 2e-3


def check_filling(batch, composer, shape):
    """What fills up the places to be learnt changes neither gradients nor losses."""
    kept, found = graphs.PICKS_SHARE, []
    for graphs.PICKS_SHARE in (0.0, 0.9):
        trainer = make_trainer(shape, Source([batch]), composer, None)
        inputs = graphs.send(batch, composer(batch.packed)[0], len(batch.picks))
        trainer.passes.run(inputs)
        found.append((len(inputs.picks), [*trainer.passes.gradients, trainer.passes.sums]))
    graphs.PICKS_SHARE = kept
    (n, plain), (n_filled, filled) = found
    difference = max((a - b).abs().max().item() / max(a.abs().max().item(), 1e-9) for a, b in zip(plain, filled))
    print(f'{n_filled} places instead of {n}: largest difference of a gradient {difference:.1e} of its largest')
    return n < n_filled and difference < 1e-5


def learn(trainer, n_steps):
    for _ in range(n_steps):
        trainer.run_step()
        if trainer.step % 50 == 0:
            sums = trainer.passes.sums.sum(1)
            print(f'step {trainer.step}: loss {(sums[0] / sums[1]).item():.4f}', flush=True)
            loss = (sums[0] / sums[1]).item()
            trainer.passes.sums.zero_()
    return loss


def count_right(said, asked, where):
    expected = [answer for row in asked for _, answer, _ in row]
    wrong = [(a, b) for a, b in zip(said, expected) if a != b]
    for a, b in wrong[:5]:
        print(f'  {where}: {a}    not {b}')
    print(f'{where}: {len(expected) - len(wrong)} of {len(expected)} answers right', flush=True)
    return len(expected) - len(wrong)


@torch.no_grad()
def ask_torch(network, chat, batch, asked, composer):
    states = network.encode(composer(batch.packed)[0], batch.ratio_id)
    rows = [(frame, question) for frame, row in enumerate(asked) for question, _, _ in row]
    said = evaluate.answer(network, states[[frame for frame, _ in rows]],
                           [chat.encode_question(question) for _, question in rows], chat.end_id, chat.pad_id)
    return [chat.decode(ids) for ids in said]


def ask_engine(program, folder, batch, asked, composer):
    """One call for all pictures of a batch and both questions."""
    for number, picture in enumerate(composer.draw(batch.packed)):
        Image.fromarray(picture.permute(1, 2, 0).byte().numpy()).save(folder / f'{number:03}.png')
    paths = sorted(folder.glob('*.png'))
    prompts = [question for question, _, _ in asked[0]]
    said = []
    for path in paths:
        command = [program, '--model', folder, '--device', 'cpu', '--format', 'json', '--max-tokens', '60']
        command += [part for prompt in prompts for part in ('-p', prompt)]
        lines = subprocess.run([*command, path], check=True, capture_output=True, text=True).stdout.splitlines()
        answers = {a['prompt']: a['text'] for a in map(train.json.loads, lines)}
        said += [answers[prompt] for prompt in prompts]
        path.unlink()
    return said


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--assets', type=Path, required=True)
    parser.add_argument('--engine')
    parser.add_argument('--steps', type=int, default=600)
    options = parser.parse_args()
    torch.set_num_threads(1)  # so small a network is no work for more, and on a busy machine they wait for each other
    rng, catalogue = random.Random(1), describing.use_assets(options.assets)
    texts = [text for _ in range(1000) for row in questions.ask(rng, describing.sample(rng, 'scene', (320, 240)), 4)
             for text in row[:2]]
    tokenizer = tokens.train_tokenizer(texts, 512)
    chat, shape = tokens.Chat(tokenizer), Shape(**{**vars(SHAPE), 'vocab_size': 512})
    composer = compose.Composer(options.assets, 'cpu', SHAPE.image_size)
    made, asked = zip(*(make_batch(rng, chat, size, 16) for size in SIZES))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        is_good = check_resuming(made, composer, shape, folder / 'state')
        is_good &= check_filling(made[1], composer, shape)
        run = SimpleNamespace(batches=1, frames=16, steps=options.steps, warm_up=20, decay=0.5, muon_rate=0.02,
                              adam_rate=0.003)
        trainer = make_trainer(shape, Source(made), composer, run)
        is_good &= learn(trainer, options.steps) < 0.02
        tensors = export.export(trainer.network, tokenizer, folder / 'model')
        export.check_slots(shape, tensors)
        export.check_transformers(folder / 'model', tensors)
        for batch, rows, size in zip(made, asked, SIZES):
            n = sum(map(len, rows))
            is_good &= count_right(ask_torch(trainer.network, chat, batch, rows, composer), rows, f'torch {size}') == n
            if options.engine:
                said = ask_engine(options.engine, folder / 'model', batch, rows, composer)
                is_good &= count_right(said, rows, f'engine {size}') == n
    print('PASS' if is_good else 'FAIL')
    return not is_good


if __name__ == '__main__':
    sys.exit(main())
