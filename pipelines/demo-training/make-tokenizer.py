#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Learns the vocabulary of the demo model from questions and answers about described frames.

    make-tokenizer.py --assets DIR --out DIR [--vocab-size 760] [--frames 30000] [--seed 1]

Writes every file of a checkpoint but the weights. Strings of A to Z and 0 to 9 are left out of what is learnt from, so
that they stay single characters, which is how they can be read.
"""

import argparse
import random
from pathlib import Path

import frames
import questions
import tokens
import words
from network import Shape


def list_texts(rng, catalogue, n_frames):
    """Questions and answers as training has them, and each name often enough to be worth a token."""
    texts = ['user', 'assistant'] * 2000
    for name in catalogue.things:
        phrase = words.add_article(name)
        texts += [f'{words.capitalise(phrase)} on', f'Is there {phrase} in', f' {name}'] * 12
    for _ in range(n_frames):
        frame = frames.sample(rng, frames.pick_kind(rng), (640, 480), catalogue)
        for prompt, answer, _ in questions.ask(rng, frame, 5):
            texts += [prompt, answer, answer]
    return texts


def report(tokenizer, rng, catalogue):
    """How long rows are, and that strings are single characters."""
    chat, lengths = tokens.Chat(tokenizer), []
    for _ in range(2000):
        frame = frames.sample(rng, frames.pick_kind(rng), (640, 480), catalogue)
        lengths += [len(chat.encode_pair(prompt, answer)[0]) for prompt, answer, _ in questions.ask(rng, frame, 5)]
        string = ''.join(rng.choices(words.CHARACTERS, k=rng.randrange(1, 9)))
        spelt = [tokenizer.id_to_token(i) for i in chat.encode(f'It says "{string}".')]
        if not any(spelt[at:at + len(string)] == list(string) for at in range(len(spelt))):
            raise SystemExit(f'{string} is {spelt}')
    lengths.sort()
    print(f'{tokenizer.get_vocab_size()} tokens; rows of {sum(lengths) / len(lengths):.1f} tokens, half of them up to '
          f'{lengths[len(lengths) // 2]}, the longest {lengths[-1]}')
    long_names = [name for name in catalogue.things if len(chat.encode(f' {name}')) > 3]
    print(f'{len(long_names)} of {len(catalogue.things)} names of things take more than three tokens')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--assets', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--vocab-size', type=int, default=Shape().vocab_size)
    parser.add_argument('--frames', type=int, default=30000)
    parser.add_argument('--seed', type=int, default=1)
    options = parser.parse_args()
    rng, catalogue = random.Random(options.seed), frames.use_assets(options.assets)
    tokenizer = tokens.train_tokenizer(list_texts(rng, catalogue, options.frames), options.vocab_size)
    tokens.check_single(tokenizer)
    report(tokenizer, rng, catalogue)
    tokens.write_tokenizer(tokenizer, Shape(vocab_size=options.vocab_size), options.out)


if __name__ == '__main__':
    main()
