#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trains the demo model in calls of a few minutes each, every one going on where the last one stopped.

    train.py --assets DIR --tokenizer FILE [--from DIR] --state DIR --steps N --seconds S

The state folder holds everything between calls: state-*.safetensors, model.safetensors and train.log. Where it holds
nothing yet, the call goes on from --from, which is only read. The rate of learning warms up, stays, and falls in a line
to nothing over the last --decay of --steps, so that --steps may be changed until the fall begins.

Nothing in a step waits for the GPU: Python composes a batch while the one before is learnt. Where the time goes is told
with the losses (see clock.py): the GPU is kept busy as long as the CPU's sum is well below the GPU's.
"""

import argparse
import json
import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path

START = time.monotonic()

import torch  # noqa: E402

import batches  # noqa: E402
import clock  # noqa: E402
import compose  # noqa: E402
import evaluate  # noqa: E402
import frames as describing  # noqa: E402
import graphs  # noqa: E402
import state  # noqa: E402
import tokens  # noqa: E402
from muon import Optimiser  # noqa: E402
from network import Network, Shape, attend_tower  # noqa: E402


class Log:
    """Lines on the terminal and at the end of a file."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open('a', encoding='utf-8')

    def tell(self, text):
        print(text, flush=True)
        self.file.write(text + '\n')
        self.file.flush()


def get_rate(step, options):
    """Share of the full rate at a step."""
    n_decay = max(1, options.decay * options.steps)
    return max(0.0, min((step + 1) / options.warm_up, 1.0, (options.steps - step) / n_decay))


def synchronise(device):
    if device.type == 'cuda':
        torch.cuda.synchronize()


def choose_attention(shape, device, n_frames, log):
    """'torch' (flash) or 'cudnn', whichever does the tower's attention of a four-tile frame sooner, there and back."""
    if device.type != 'cuda':
        return 'torch'
    n_all = shape.n_tiles * (shape.n_rows + shape.n_pads)
    qkv = torch.randn(n_frames, n_all, 3, shape.vision_heads, shape.vision_width // shape.vision_heads, device=device,
                      dtype=torch.bfloat16, requires_grad=True)
    times = {}
    for library in ('torch', 'cudnn'):
        try:
            for n_runs in (2, 5):
                synchronise(device)
                begin = time.monotonic()
                for _ in range(n_runs):
                    y = attend_tower(qkv, shape.n_tiles * shape.n_rows, shape.n_rows, 0, library)
                    y.backward(torch.ones_like(y))
                synchronise(device)
                times[library] = (time.monotonic() - begin) / n_runs
        except RuntimeError as error:
            log.tell(f'attention by {library} does not work here: {str(error).splitlines()[0]}')
            times.pop(library, None)
    log.tell('attention, ms a layer: ' + ', '.join(f'{name} {1e3 * t:.2f}' for name, t in times.items()))
    return min(times, key=times.get)


class Trainer:
    """source.get () gives a batch, compose (its frames) their tiles [F][n][3][S][S] on the device."""

    def __init__(self, network, optimiser, source, compose, options, log):
        self.network, self.optimiser, self.source, self.compose = network, optimiser, source, compose
        self.options, self.log, self.device = options, log, next(network.parameters()).device
        self.step, self.passes, self.clock = 0, graphs.Passes(network, log), clock.Clock(self.device)

    def run_step(self):
        part = self.clock.part
        with part('batch'):
            these = [self.source.get() for _ in range(self.options.batches)]
        with part('optimiser'):
            self.optimiser.clear()
        for batch in these:
            with part('compose'), torch.no_grad():
                tiles = self.compose(batch.packed)
            with part('network'):
                self.passes.run(graphs.send(batch, tiles, sum(len(b.picks) for b in these)))
        rate = get_rate(self.step, self.options)
        with part('optimiser'):
            self.optimiser.step(rate * self.options.muon_rate, rate * self.options.adam_rate)
        self.step += 1

    def tell_losses(self, n_steps):
        """Two lines. Returns the seconds of a step, or None where training went astray."""
        times = self.clock.read()
        sums, counts = self.passes.sums.tolist()
        self.passes.sums.zero_()
        by_topic = ' '.join(f'{name} {loss / n:.3f}' for name, loss, n in zip(batches.TOPICS, sums, counts) if n)
        mean = sum(sums) / max(1, sum(counts))
        speed = n_steps * self.options.batches * self.options.frames / times[0]
        memory = f', {torch.cuda.max_memory_allocated() / 2 ** 30:.1f} GiB' if self.device.type == 'cuda' else ''
        self.log.tell(
            f'step {self.step} loss {mean:.4f} rate {get_rate(self.step, self.options):.3f} | {speed:.0f} frames/s'
            f'{memory}, waited {0.1 * times[1]["batch"] / times[0]:.0f} % | {by_topic}')
        self.log.tell(f'  {clock.spell(times, n_steps)}')
        return times[0] / n_steps if mean == mean else None

    def save(self):
        facts = {'step': self.step, 'next_batch': self.source.next, 'options': spell_options(self.options)}
        state.save(self.options.state, self.network, self.optimiser, facts)

    def run(self):
        """Steps until the last one, or until the seconds are over. True where the state is good."""
        options, told, saved = self.options, self.step, time.monotonic()
        last = min(options.steps, options.until_step or options.steps)
        deadline = START + options.seconds - options.evaluation_seconds * (options.evaluation_frames > 0)
        step_seconds = 0.0
        self.clock.clear()
        while self.step < last and time.monotonic() + 4 * step_seconds < deadline:
            self.run_step()
            is_first = told == self.step - 1 and not step_seconds
            if not is_first and self.step % options.log_every and self.step < last:
                continue
            step_seconds = self.tell_losses(self.step - told)
            if step_seconds is None:
                self.log.tell('the loss is no number; the state on disk stays what it was')
                return False
            if is_first:
                self.log.tell(f'first step after {time.monotonic() - START:.0f} s')
            told = self.step
            if time.monotonic() - saved > options.save_every:
                self.save()
                saved = time.monotonic()
                self.clock.clear()
        synchronise(self.device)
        self.save()
        self.log.tell(f'saved at step {self.step} after {time.monotonic() - START:.0f} s')
        return True

    def profile(self, n_steps=10):
        """Where the time of a few steps goes; nothing is saved. What is busy is told apart from what waits by the profiler."""
        for _ in range(8):
            self.run_step()
        self.clock.read()
        for _ in range(n_steps):
            self.run_step()
        self.log.tell(clock.spell(self.clock.read(), n_steps))
        with torch.profiler.profile() as profile:
            for _ in range(2):
                self.run_step()
            seconds = self.clock.read()[0]
        on_gpu = [e for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
        busy = sum(event.time_range.elapsed_us() for event in on_gpu) / 1e6
        self.log.tell(f'two steps under the profiler: {seconds:.3f} s, the GPU busy for {busy:.3f} s with {len(on_gpu)} kernels')
        key = 'self_cuda_time_total' if self.device.type == 'cuda' else 'self_cpu_time_total'
        self.log.tell(profile.key_averages().table(sort_by=key, row_limit=50, max_name_column_width=80))

    def evaluate(self, chat):
        """With plain layers: shapes are others, and compiling for them would take longer than they do."""
        self.network.fast.clear()
        self.passes.graphs.clear()
        right, asked, mistakes = evaluate.evaluate(
            self.network, chat, self.compose, self.options.evaluation_frames, START + self.options.seconds)
        self.log.tell(f'step {self.step} right: ' + ', '.join(
            f'{name} {right[name]}/{asked[name]}' for name in sorted(asked)))
        for line in mistakes:
            self.log.tell('  ' + line)


def spell_options(options):
    return {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}


def parse_counts(text):
    return [int(part) for part in text.split(',') if part]


def parse_kinds(text):
    """"text=3,scene=1": weights of kinds; those not named keep theirs."""
    kinds = dict(describing.KINDS)
    for part in filter(None, text.split(',')):
        name, _, value = part.partition('=')
        if name not in kinds:
            raise argparse.ArgumentTypeError(f'{name}: no such kind; there are {", ".join(kinds)}')
        kinds[name] = float(value)
    return kinds


def parse_lengths(text):
    """"6,4,3": weights of texts of one, two, three characters; longer ones have none."""
    return {n: float(weight) for n, weight in enumerate(text.split(','), 1)} if text else dict(describing.TEXT_LENGTHS)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--assets', type=Path, required=True)
    add('--tokenizer', type=Path, required=True, help='tokenizer.json of make-tokenizer.py')
    add('--state', type=Path, required=True, help='folder to go on from, and to write to')
    add('--from', type=Path, dest='origin', help='folder to go on from where --state is empty; it is only read')
    add('--steps', type=int, default=8000, help='of the whole training; the default is four million frames')
    add('--until-step', type=int, default=0, help='stop there in this call')
    add('--seconds', type=float, default=540, help='stop by then, saved and evaluated')
    add('--frames', type=int, default=512, help='in a batch, all of one size')
    add('--batches', type=int, default=1, help='in a step, each of another size')
    add('--tokens', type=int, default=256, help='of questions and answers to a frame')
    add('--kinds', type=parse_kinds, default='', help='weights, as in "text=0.3,scene=0.2"')
    add('--text-lengths', type=parse_lengths, default='', help='weights of texts of 1, 2, … characters, as in "6,4,3"')
    add('--muon-rate', type=float, default=0.02)
    add('--adam-rate', type=float, default=0.003)
    add('--weight-decay', type=float, default=0.01)
    add('--warm-up', type=int, default=200)
    add('--decay', type=float, default=0.3)
    add('--seed', type=int, default=1)
    add('--workers', type=int, default=max(1, min(10, len(os.sched_getaffinity(0)) - 3)))
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--dtype', choices=['bfloat16', 'float32'], help='of activations; bfloat16 on a GPU')
    add('--compile', type=parse_counts, default=[], help='numbers of tiles whose layers torch.compile makes, as in "1,4"')
    add('--no-graphs', action='store_true', help='launch each kernel from Python')
    add('--attention', choices=['auto', 'torch', 'cudnn'], default='auto', help='of the tower')
    add('--log-every', type=int, default=50)
    add('--save-every', type=float, default=150, help='seconds')
    add('--evaluation-frames', type=int, default=48, help='of each kind and size; 0: no evaluation')
    add('--evaluation-seconds', type=float, default=40, help='kept for it')
    add('--profile', action='store_true', help='tell where the time of two steps goes, and stop')
    add('--shape', type=json.loads, default={}, help='JSON: fields of network.Shape, for a new run')
    return parser.parse_args()


def make_network(options, chat, facts, device):
    if facts:
        shape = state.make_shape(facts)
    else:
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in options.shape.items()}
        shape = Shape(**{'vocab_size': chat.image_id, **fields})
    if shape.vocab_size != chat.image_id:
        raise SystemExit(f'the model has {shape.vocab_size} tokens before the picture mark, the tokenizer {chat.image_id}')
    torch.manual_seed(options.seed)
    dtype = options.dtype or ('bfloat16' if device.type == 'cuda' else 'float32')
    network = Network(shape)
    network.dtype = getattr(torch, dtype)
    return network.to(device)


def make_compose(options, network, device):
    shape = network.shape
    composer = compose.Composer(options.assets, device, shape.image_size, shape.n_tiles, dtype=network.dtype)
    return lambda packed: composer(packed)[0]


def open_state(options):
    """What state.load () gives; of --from where --state has none, with the log that goes on."""
    tensors, facts = state.load(options.state)
    if not facts and options.origin:
        tensors, facts = state.load(options.origin)
        options.state.mkdir(parents=True, exist_ok=True)
        if (options.origin / 'train.log').exists():
            shutil.copyfile(options.origin / 'train.log', options.state / 'train.log')
    return tensors, facts


def main():
    options = parse_options()
    tensors, facts = open_state(options)
    log, device = Log(options.state / 'train.log'), torch.device(options.device)
    torch.set_float32_matmul_precision('high')  # composing multiplies numbers of 8 bits
    plan = batches.Plan(options.seed, str(options.tokenizer), str(options.assets), options.frames, options.tokens,
                        options.kinds or dict(describing.KINDS), options.text_lengths)
    source = batches.Source(plan, facts['next_batch'] if facts else 0, options.workers)
    chat = tokens.Chat(tokens.Tokenizer.from_file(str(options.tokenizer)))
    describing.use_assets(options.assets)
    network = make_network(options, chat, facts, device)
    if facts:
        state.read_weights(network, tensors)
    optimiser = Optimiser(network, decay=options.weight_decay)
    if facts:
        optimiser.read(tensors, facts['step'])
    log.tell(f'--- from step {facts["step"] if facts else 0}: torch {torch.__version__}, '
             f'{torch.cuda.get_device_name() if device.type == "cuda" else "CPU"}, '
             f'{sum(p.numel() for p in network.parameters())} parameters, {json.dumps(spell_options(options))}')
    if not facts:
        log.tell(f'shape {json.dumps(asdict(network.shape))}')
    network.library = (choose_attention(network.shape, device, options.frames, log) if options.attention == 'auto'
                       else options.attention)
    if options.compile:
        torch._dynamo.config.cache_size_limit = 64
        network.compile_layers(options.compile)
    trainer = Trainer(network, optimiser, source, make_compose(options, network, device),
                      options, log)
    trainer.step = facts['step'] if facts else 0
    if device.type == 'cuda' and not options.no_graphs:
        trainer.passes.record(options.frames, options.tokens)
        log.tell(f'{len(trainer.passes.graphs)} CUDA graphs after {time.monotonic() - START:.0f} s')
    if options.profile:
        trainer.profile()
        return source.stop()
    is_good = trainer.run()
    source.stop()
    if is_good and options.evaluation_frames:
        trainer.evaluate(chat)
    log.tell(f'ended after {time.monotonic() - START:.0f} s')
    return 0 if is_good else 1


if __name__ == '__main__':
    raise SystemExit(main())
