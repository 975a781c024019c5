# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random weights that make every part of the model matter.

Attention looks at some keys far more than at others, so that a wrong mask shows; gates are half open; the picture
decides what the logits say; tile tables are not small, and zero where released checkpoints have zeros; pad rows draw
attention, as rows that mean nothing do in trained models.
"""

import hashlib
import math

import torch
from maker import checkpoint

# Of matrices that are not named the rows have length 1. Scores of attention get a standard deviation of about 2, logits
# one of about 3. The branches that bring the picture are wide, the others narrow: then it decides, and rounding errors
# stay small beside it. Attention of the tower is narrow too: wide, it would soon make all rows alike.
GAINS = {
    'self_attn.q_proj': 1.4, 'self_attn.k_proj': 1.4, 'self_attn.o_proj': 0.5, 'cross_attn.o_proj': 8.0,
    'mlp.down_proj': 0.2, 'mlp.fc1': 1.5, 'mlp.fc2': 0.4, 'patch_embedding': 4.0, 'lm_head': 3.0,
}
TOWER_GAINS = {'self_attn.o_proj': 0.3}
# Channels of the projector's output that are the same in every row: keys share them, so that their norms of 2.5 leave
# scores with a standard deviation of 2 or 3; values are without them, so that rows and pictures differ.
COMMON_PART, COMMON_SIZE = 8, 16.0
# Channels of the tower that hold a mark in every row but the pad rows, which start at zero: keys with the mark score
# lower. No layer writes there.
MARKED_PART, MARK = 16, 3.0


def get_scale(name, dims):
    """Standard deviation of the weights of a matrix or table."""
    if 'embed_tokens' in name or name.endswith('class_embedding'):
        return 1.0
    if '_embedding.' in name and 'patch' not in name:
        return 0.3
    gains = {**GAINS, **TOWER_GAINS} if 'vision_model' in name else GAINS
    gain = next((gain for part, gain in gains.items() if f'{part}.weight' in name), 1.0)
    return gain / math.sqrt(math.prod(dims[1:]))


def draw(seed, name, dims, device):
    """Values depend on the seed, the name and the kind of device alone."""
    digest = hashlib.sha256(f'{seed} {name}'.encode()).digest()
    generator = torch.Generator(device).manual_seed(int.from_bytes(digest[:7], 'little'))

    def uniform(low, high):
        return torch.rand(dims, generator=generator, device=device) * (high - low) + low

    def normal(scale):
        return torch.randn(dims, generator=generator, device=device) * scale

    if 'gate' in name.rsplit('.', 1)[-1]:  # tanh of it is 0.46 to 0.54, or the negative
        return uniform(0.5, 0.6) * (1 if digest[-1] % 2 else -1)
    if name.endswith('multi_modal_projector.bias'):
        return normal(COMMON_SIZE)
    if name.endswith('bias'):
        return normal(0.1)
    if 'q_norm' in name or 'k_norm' in name:
        return uniform(2.2, 2.8)
    if 'norm' in name:
        return uniform(0.6, 1.4)
    return normal(get_scale(name, dims))


def mark_tower(seed, name, values, device):
    if name.endswith('layernorm_pre.bias'):
        values[:len(values) // MARKED_PART] = MARK
    elif name.endswith(('o_proj.weight', 'fc2.weight', 'fc2.bias')):
        values[:len(values) // MARKED_PART] = 0
    elif name.endswith('k_proj.weight'):
        n = values.shape[1] // MARKED_PART
        values[:, :n] = -draw(seed, name.replace('k_proj', 'q_proj'), values.shape, device)[:, :n]
    elif name.endswith(('v_proj.weight', 'fc1.weight')):
        values[:, :values.shape[1] // MARKED_PART] = 0


def make_values(shape, name, dims, device):
    values = draw(shape.seed, name, dims, device)
    if name.endswith('fc2.weight'):  # GELU's mean is not zero, and would add the same to every row of every picture
        values -= values.mean(-1, keepdim=True)
    elif name.endswith('multi_modal_projector.bias'):
        values[dims[0] // COMMON_PART:] = 0
    elif name.endswith('multi_modal_projector.weight'):  # it does not look at the marks: channels of the end, then of taps
        width, n_taps = shape.vision_width, len(shape.taps)
        values[:, :width // MARKED_PART] = 0
        values[:, width:][:, :width // MARKED_PART * n_taps] = 0
    elif name.endswith('cross_attn.v_proj.weight'):
        values[:, :dims[1] // COMMON_PART] = 0
    elif 'tile' in name and name.endswith('weight'):
        values = checkpoint.fill_table(shape, name, values)
    if 'vision_model' in name:
        mark_tower(shape.seed, name, values, device)
    return values
