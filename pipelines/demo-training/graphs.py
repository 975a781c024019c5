# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forward and backward of a batch, on a GPU as one CUDA graph for each number of tiles.

A pass is some thousand kernels, which Python launches more slowly than the GPU runs them. Recorded once, they are launched
by one call, and Python has time to compose the next batch. A graph has fixed shapes: places whose next token is learnt are
filled up with ones of weight 0.
"""

import gc
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

import batches
from drawing import Parcel

PICKS_SHARE = 0.3  # of all tokens; answers' are a fifth, and a batch with more goes without a graph


@dataclass
class Inputs:
    """Of one pass; in a graph, the buffers that it reads."""
    tiles: torch.Tensor  # [F][n][3][S][S]
    ratio_id: torch.Tensor  # [1]
    ids: torch.Tensor  # [F][S], as are the next two
    positions: torch.Tensor
    segments: torch.Tensor
    picks: torch.Tensor  # [n_picks], as are the rest
    labels: torch.Tensor
    topics: torch.Tensor
    weights: torch.Tensor  # f32: share of a token in the mean, 0 for what fills up

    def copy_(self, other):
        for name, tensor in vars(self).items():
            tensor.copy_(getattr(other, name), non_blocking=True)


def send(batch, tiles, n_targets):
    """A batch's numbers in one copy to where its tiles are; n_targets: tokens that the mean is over."""
    parcel, n = Parcel(tiles.device), len(batch.picks)
    n_picks = max(n, int(batch.ids.size * PICKS_SHARE))
    weights = np.zeros(n_picks, np.float32)
    weights[:n] = 1 / n_targets
    arrays = {'ratio_id': np.array([batch.ratio_id], np.int32), 'ids': batch.ids, 'positions': batch.positions,
              'segments': batch.segments, 'weights': weights}
    for name in ('picks', 'labels', 'topics'):
        arrays[name] = np.zeros(n_picks, np.int32)
        arrays[name][:n] = getattr(batch, name)
    numbers = {name: parcel.add(array) for name, array in arrays.items()}
    parcel.send()
    return Inputs(tiles, **{name: parcel[number] for name, number in numbers.items()})


def widen(inputs):
    """Whole numbers as torch's operators want them."""
    return Inputs(*(x if x.is_floating_point() else x.long() for x in vars(inputs).values()))


class Passes:
    """run () adds a batch's gradients to those of the parameters, and its losses to sums [loss, tokens][topic]."""

    def __init__(self, network, log):
        self.network, self.log = network, log
        self.parameters = list(network.parameters())
        device = self.parameters[0].device
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.gradients = [parameter.grad for parameter in self.parameters]
        self.sums = torch.zeros(2, len(batches.TOPICS), device=device)
        self.graphs, self.pool, self.stream = {}, None, None

    def run(self, inputs):
        graph, buffers = self.graphs.get(self.name(inputs), (None, None))
        if not graph:
            return self.compute(widen(inputs))
        buffers.copy_(inputs)
        graph.replay()

    @staticmethod
    def name(inputs):
        return inputs.tiles.shape, inputs.ids.shape, inputs.picks.shape

    def compute(self, inputs):
        network = self.network
        states = network.encode(inputs.tiles, inputs.ratio_id)
        hidden = network.read(states, inputs.ids, inputs.positions, inputs.segments)
        logits = network.get_logits(hidden.flatten(0, 1).index_select(0, inputs.picks))
        losses = F.cross_entropy(logits, inputs.labels, reduction='none')
        gradients = torch.autograd.grad((losses * inputs.weights).sum(), self.parameters, materialize_grads=True)
        torch._foreach_add_(self.gradients, list(gradients))
        is_real = (inputs.weights > 0).float()
        self.sums.index_add_(1, inputs.topics, torch.stack([losses.detach() * is_real, is_real]))

    # --- recording ---

    def record(self, n_frames, n_tokens):
        """Graphs for all numbers of tiles, the most first: the others then fit into its memory. Without them, if that fails,
        everything works as well, but slowly."""
        self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        kept = [tensor.clone() for tensor in (*self.gradients, self.sums)]
        try:
            for n in range(self.network.shape.n_tiles, 0, -1):
                self.record_one(self.make_inputs(n_frames, n_tokens, n))
        except RuntimeError as error:
            self.graphs.clear()
            self.log.tell(f'no CUDA graphs: {str(error).splitlines()[0]}')
        torch._foreach_copy_([*self.gradients, self.sums], kept)
        torch.cuda.synchronize()

    def make_inputs(self, n_frames, n_tokens, n):
        shape, device = self.network.shape, self.sums.device
        n_picks = int(n_frames * n_tokens * PICKS_SHARE)
        tiles = torch.zeros(n_frames, n, 3, shape.image_size, shape.image_size, device=device, dtype=self.network.dtype)
        texts = [torch.zeros(n_frames, n_tokens, dtype=torch.long, device=device) for _ in range(3)]
        answers = [torch.zeros(n_picks, dtype=torch.long, device=device) for _ in range(3)]
        ratio_id = torch.tensor([shape.ratios.index((1, n)) + 1], device=device)
        return Inputs(tiles, ratio_id, *texts, *answers, torch.full((n_picks,), 1 / n_picks, device=device))

    def record_one(self, buffers):
        """The first pass, on the same stream, is what loads kernels and libraries."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.compute(buffers)
        torch.cuda.current_stream().wait_stream(self.stream)
        torch.cuda.synchronize()
        gc.collect()
        torch.cuda.empty_cache()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            self.compute(buffers)
        self.graphs[self.name(buffers)] = graph, buffers

