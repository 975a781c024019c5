# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layer by layer: each layer of a model is given the input that the float32 reference gave it, rounded to bf16.

Rows of the tower are kept as the engine keeps them: used tiles, one of the unused tiles, and pad rows, of which one
stands for all in the local encoder, and one for each tile's in the global one. The reference is given all rows, those
that stand for others in every place.
"""

from contextlib import ExitStack

import numpy as np
import torch


class Folding:
    """Which rows of [slots][P + pads] are kept, and which kept row each of all stands for."""

    def __init__(self, config, n_used):
        vision = config.vision_config
        self.n_slots, self.n_used = vision.max_num_tiles, n_used
        self.n_patches = (vision.image_size // vision.patch_size) ** 2 + 1
        self.n_padded = -(-self.n_patches // 8) * 8
        self.n_tiles = min(n_used + 1, self.n_slots)

    def list_kept(self, is_global):
        tiles = [np.arange(t * self.n_padded, t * self.n_padded + self.n_patches) for t in range(self.n_tiles)]
        n_pads = self.n_tiles if is_global else 1
        pads = [t * self.n_padded + self.n_patches for t in range(n_pads)] if self.n_padded > self.n_patches else []
        return np.concatenate([*tiles, np.array(pads, int)])

    def list_sources(self, is_global):
        """For each of all rows, the index among the kept ones."""
        tile, row = np.divmod(np.arange(self.n_slots * self.n_padded), self.n_padded)
        tile = np.minimum(tile, self.n_tiles - 1)
        pad = self.n_tiles * self.n_patches + (tile if is_global else 0)
        return np.where(row < self.n_patches, tile * self.n_patches + row, pad)


def list_layers(core):
    """(name, module, is_global or None outside the tower)."""
    tower = core.vision_model
    for encoder, is_global in ((tower.transformer, False), (tower.global_transformer, True)):
        for number, layer in enumerate(encoder.layers):
            yield f'{"global" if is_global else "local"}-{number:02}', layer, is_global
    for number, layer in enumerate(core.language_model.layers):
        yield f'{"cross" if hasattr(layer, "cross_attn") else "self"}-{number:02}', layer, None


def swap_input(args, kwargs, rows):
    """The arguments of a layer with other hidden states, whatever they are called."""
    if args:
        return (rows, *args[1:]), kwargs
    name = 'hidden_states' if 'hidden_states' in kwargs else 'hidden_state'
    return args, {**kwargs, name: rows}


def get_input(args, kwargs):
    return args[0] if args else kwargs.get('hidden_states', kwargs.get('hidden_state'))


def first(output):
    return output[0] if isinstance(output, tuple) else output


def collect_lesson(reference, case):
    """Name -> kept rows that enter the layer; 'states': what the cross layers look at. Values of bf16, in float32."""
    folding, lesson = Folding(reference.config, case.n_tiles), {}

    def keep(name, rows):
        lesson[name] = rows.to(torch.bfloat16).float().cpu().numpy()

    def note(name, is_global):
        def hook(module, args, kwargs):
            rows = get_input(args, kwargs)[0]
            keep(name, rows if is_global is None else rows[folding.list_kept(is_global)])
        return hook

    with ExitStack() as stack:
        for name, layer, is_global in list_layers(reference.core):
            stack.callback(layer.register_forward_pre_hook(note(name, is_global), with_kwargs=True).remove)
        projector = reference.core.multi_modal_projector
        stack.callback(projector.register_forward_hook(lambda module, args, output: keep(
            'states', output.reshape(-1, output.shape[-1])[:folding.n_tiles * folding.n_patches])).remove)
        reference.run_core(case)
    return lesson


def spread_states(folding, states):
    """[slots * P][D] from the kept rows, in the shape that the text model is given."""
    tiles = states.reshape(folding.n_tiles, folding.n_patches, -1)
    return tiles[np.minimum(np.arange(folding.n_slots), folding.n_tiles - 1)]


def run_lesson(reference, case, lesson):
    """Name -> kept rows that leave each layer of the lesson when it is given the lesson's."""
    folding, outputs = Folding(reference.config, case.n_tiles), {}

    def to_model(rows):
        return torch.from_numpy(rows).to(reference.device, reference.dtype)

    states = to_model(spread_states(folding, lesson['states']))

    def teach(name, is_global):
        def hook(module, args, kwargs):
            rows = lesson[name] if is_global is None else lesson[name][folding.list_sources(is_global)]
            args, kwargs = swap_input(args, kwargs, to_model(rows)[None])
            if name.startswith('cross'):
                kwargs['cross_attention_states'] = states.reshape(kwargs['cross_attention_states'].shape)
            return args, kwargs
        return hook

    def note(name, is_global):
        def hook(module, args, output):
            rows = first(output)[0]
            outputs[name] = (rows if is_global is None else rows[folding.list_kept(is_global)]).float().cpu().numpy()
        return hook

    with ExitStack() as stack:
        for name, layer, is_global in list_layers(reference.core):
            if name not in lesson:
                continue
            stack.callback(layer.register_forward_pre_hook(teach(name, is_global), with_kwargs=True).remove)
            stack.callback(layer.register_forward_hook(note(name, is_global)).remove)
        reference.run_core(case)
    return outputs
