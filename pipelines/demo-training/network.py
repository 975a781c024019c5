# SPDX-License-Identifier: LGPL-2.1-or-later
"""The forward pass of Mllama for training: semantics `meta`, exact, and without work on rows that are all alike.

Three things differ from transformers' MllamaForConditionalGeneration, the first two because the models are run so:
taps hold the state that enters a layer; tokens before the mark of the picture get nothing from cross layers; and
rows of unused tiles, all the same, are computed once and stand for the others as repeated keys. Rows that pad a tile
are kept, 28 of them for four tiles: repeating the one that would stand for them costs more than they do.

Parameters of all layers of a kind are stacked, [L][...], so that an optimiser has few things to do; hub.py knows
their names in a checkpoint. Rows of the tower: [real tiles n*P | pad rows, tile by tile | the unused tile, if any].
Keys that a real row sees: all, the unused tile as often as there are such tiles. A pad or unused row sees real ones.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Shape:
    """Sizes of a model; the default is the one shipped."""
    image_size: int = 224
    patch_size: int = 14
    n_tiles: int = 4
    vision_width: int = 128
    vision_heads: int = 2  # of 64: attention's time goes with heads times rows squared
    vision_ff: int = 512
    n_local: int = 6
    n_global: int = 2
    taps: tuple = (2, 4)
    width: int = 128
    n_heads: int = 4
    n_kv_heads: int = 2
    ff: int = 384
    n_layers: int = 7
    cross_layers: tuple = (1, 3, 5)
    vocab_size: int = 760
    rope_theta: float = 10000.0
    max_positions: int = 1024
    eps: float = 1e-5

    @property
    def ratios(self) -> list:
        """Arrangements (rows, columns) by their ids less one."""
        n = self.n_tiles
        return [(h, w) for h in range(1, n + 1) for w in range(1, n + 1) if h * w <= n]

    @property
    def side(self) -> int:
        """Patches along a tile's side."""
        return self.image_size // self.patch_size

    @property
    def n_rows(self) -> int:
        """P: rows of a tile, the class token's included."""
        return self.side ** 2 + 1

    @property
    def n_pads(self) -> int:
        return -self.n_rows % 8

    @property
    def head_width(self) -> int:
        return self.width // self.n_heads

    @property
    def self_layers(self) -> list:
        return [i for i in range(self.n_layers) if i not in self.cross_layers]


# --- operations ---

def widen(x):
    """What norms and rotations compute in: float32 at least."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def linear(x, weight, bias=None):
    """In x's numbers; gradients arrive in the weight's own, float32."""
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def layer_norm(x, weight, bias, eps):
    """The sums are in float32 whatever x is."""
    return F.layer_norm(x, x.shape[-1:], weight.to(x.dtype), bias.to(x.dtype), eps)


def rms_norm(x, weight, eps):
    return F.rms_norm(x, x.shape[-1:], weight.to(x.dtype), eps)


def attend(q, k, v, mask=None, library='torch'):
    """[B][S][H][C] each, fewer heads in k and v allowed; [B][S][H*C]. Without a mask PyTorch takes flash attention."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    if library == 'cudnn':
        y = torch.ops.aten._scaled_dot_product_cudnn_attention(q, k, v, None, True)[0]
    else:
        y = F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=q.shape[1] != k.shape[1])
    return y.transpose(1, 2).flatten(2)


def attend_tower(qkv, n_real, n_rows, n_copies, library):
    """qkv [B][R][3][H][C]. n_copies: how many unused tiles the last n_rows rows stand for."""
    q, k, v = qkv.unbind(2)
    all_k, all_v = k, v
    if n_copies > 1:
        all_k = torch.cat([k] + [k[:, -n_rows:]] * (n_copies - 1), 1)
        all_v = torch.cat([v] + [v[:, -n_rows:]] * (n_copies - 1), 1)
    real = attend(q[:, :n_real], all_k, all_v, library=library)
    rest = attend(q[:, n_real:], k[:, :n_real], v[:, :n_real], library=library)
    return torch.cat([real, rest], 1)


def tower_layer(x, norm1, bias1, qkv, out, norm2, bias2, up, up_bias, down, down_bias, n_heads, n_real, n_rows,
                n_copies, eps, library):
    """Gates of a global layer are in out, down and down_bias already."""
    a = linear(layer_norm(x, norm1, bias1, eps), qkv.flatten(0, 1))
    a = a.unflatten(-1, (3, n_heads, -1))
    x = x + linear(attend_tower(a, n_real, n_rows, n_copies, library), out)
    a = layer_norm(x, norm2, bias2, eps)
    return x + linear(F.gelu(linear(a, up, up_bias)), down, down_bias)


def gated_mlp(x, gate_up, down):
    gate, up = linear(x, gate_up.flatten(0, 1)).chunk(2, -1)
    return linear(F.silu(gate) * up, down)


def rotate(x, cos, sin):
    """x [B][S][H][C], cos and sin [B][S][1][C/2]; halves are pairs, in float32."""
    a, b = widen(x).chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


def self_layer(x, cos, sin, mask, norm1, q, kv, out, norm2, gate_up, down, head_width, eps):
    a = linear(rms_norm(x, norm1, eps), torch.cat([q, kv.flatten(0, 1)]))
    q, k, v = (y.unflatten(-1, (-1, head_width)) for y in a.split([q.shape[0], kv.shape[1], kv.shape[1]], -1))
    q, k = rotate(q, cos, sin), rotate(k, cos, sin)
    k, v = (y.repeat_interleave(q.shape[2] // k.shape[2], 2) for y in (k, v))  # kernels with a mask want equal heads
    x = x + linear(attend(q, k, v, mask), out)
    return x + gated_mlp(rms_norm(x, norm2, eps), gate_up, down)


def cross_layer(x, states, sees, norm1, q, q_norm, kv, k_norm, out, norm2, gate_up, down, head_width, eps):
    """sees [F][S][1]: 1 for tokens that see the picture. Gates are in out and down already."""
    q = linear(rms_norm(x, norm1, eps), q).unflatten(-1, (-1, head_width))
    k, v = linear(states, kv.flatten(0, 1)).unflatten(-1, (2, -1, head_width)).unbind(2)
    x = x + sees * linear(attend(rms_norm(q, q_norm, eps), rms_norm(k, k_norm, eps), v), out)
    return x + sees * gated_mlp(rms_norm(x, norm2, eps), gate_up, down)


# --- first values ---

def make_waves(y, x, width):
    """Sines and cosines of positions in patches, [..., width], of waves from 2 patches to 128."""
    n = width // 4
    frequencies = math.pi * 2.0 ** -torch.linspace(0, 6, n)
    angles = torch.cat([y[..., None] * frequencies, x[..., None] * frequencies], -1)
    return F.pad(torch.cat([angles.sin(), angles.cos()], -1), (0, width - 4 * n))


def make_tile_waves(shape):
    """[ids][T][P][D]: where a patch is on the canvas of its arrangement; nothing for slots that it does not use."""
    table = torch.zeros(len(shape.ratios) + 1, shape.n_tiles, shape.n_rows, shape.vision_width)
    y, x = torch.meshgrid(torch.arange(shape.side), torch.arange(shape.side), indexing='ij')
    for number, (height, width) in enumerate(shape.ratios, 1):
        for tile in range(height * width):
            top, left = tile // width * shape.side, tile % width * shape.side
            table[number, tile, 1:] = make_waves((y + top).flatten(), (x + left).flatten(), shape.vision_width)
    return table


def fill_slots(shape, width, scale):
    """[ids][T][width] of random numbers, zero in unused slots."""
    table = torch.zeros(len(shape.ratios) + 1, shape.n_tiles, width)
    for number, (height, width_) in enumerate(shape.ratios, 1):
        table[number, :height * width_].normal_(0, scale)
    return table


# --- the model ---

class Network(nn.Module):
    """dtype: what activations are computed in; parameters stay in float32."""

    def __init__(self, shape: Shape, dtype=torch.float32):
        super().__init__()
        self.shape, self.dtype, self.library = shape, dtype, 'torch'
        self.fast = {}  # compiled layers by name, and by the number of tiles where shapes depend on it
        self.make_tower()
        self.make_text()
        half = shape.head_width // 2
        inverse = shape.rope_theta ** -(torch.arange(half, dtype=torch.float64) / half)
        angles = torch.outer(torch.arange(shape.max_positions, dtype=torch.float64), inverse)
        self.register_buffer('cos', angles.cos().float(), persistent=False)
        self.register_buffer('sin', angles.sin().float(), persistent=False)

    def add(self, name, values):
        self.register_parameter(name, nn.Parameter(values))

    def add_matrix(self, name, *dims, gain=1.0):
        self.add(name, torch.randn(dims) * gain / math.sqrt(dims[-1]))

    def make_tower(self):
        s, d, n = self.shape, self.shape.vision_width, self.shape.n_local + self.shape.n_global
        small = 1 / math.sqrt(2 * n)
        self.add_matrix('patch', d, 3 * s.patch_size ** 2)
        self.add('class_row', torch.randn(d) * 0.5)
        self.add('pre_tile', fill_slots(s, d, 0.1))
        self.add('post_tile', fill_slots(s, d, 0.1))
        self.add('position', torch.randn(s.n_rows, d) * 0.1)
        self.add('tile_position', make_tile_waves(s))
        for name, value in (('pre_tile', 1.0), ('post_tile', 1.0), ('position', 0.5)):
            self.add(f'{name}_gate', torch.full((1,), value))
        for name in ('norm_pre', 'norm_post'):
            self.add(f'{name}_weight', torch.ones(d))
            self.add(f'{name}_bias', torch.zeros(d))
        for name in ('tower_norm1', 'tower_norm2'):
            self.add(f'{name}_weight', torch.ones(n, d))
            self.add(f'{name}_bias', torch.zeros(n, d))
        self.add_matrix('tower_qkv', n, 3, d, d)
        self.add_matrix('tower_out', n, d, d, gain=small)
        self.add_matrix('tower_up', n, s.vision_ff, d)
        self.add('tower_up_bias', torch.zeros(n, s.vision_ff))
        self.add_matrix('tower_down', n, d, s.vision_ff, gain=small)
        self.add('tower_down_bias', torch.zeros(n, d))
        self.add('tower_gates', torch.ones(s.n_global, 2))
        self.add_matrix('projector', s.width, d * (1 + len(s.taps)))
        self.add('projector_bias', torch.zeros(s.width))

    def make_text(self):
        s, d, n = self.shape, self.shape.width, self.shape.n_layers
        kv_width = s.n_kv_heads * s.head_width
        small, n_cross = 1 / math.sqrt(2 * n), len(s.cross_layers)
        self.add('embedding', torch.randn(s.vocab_size + 8, d) * 0.3)
        self.add_matrix('head', s.vocab_size, d, gain=0.5)
        self.add('norm_text', torch.ones(d))
        self.add('text_norm1', torch.ones(n, d))
        self.add('text_norm2', torch.ones(n, d))
        self.add_matrix('text_q', n, d, d)
        self.add_matrix('text_kv', n, 2, kv_width, d)
        self.add_matrix('text_out', n, d, d, gain=small)
        self.add_matrix('text_gate_up', n, 2, s.ff, d)
        self.add_matrix('text_down', n, d, s.ff, gain=small)
        self.add('cross_q_norm', torch.ones(n_cross, s.head_width))
        self.add('cross_k_norm', torch.ones(n_cross, s.head_width))
        self.add('cross_gates', torch.ones(n_cross, 2))

    def compile_layers(self, tile_counts, **options):
        """A graph for each kind of layer, and of those that see tiles one for each of the counts."""
        self.fast['self'] = torch.compile(self_layer, dynamic=False, **options)
        for kind, layer in (('tower', tower_layer), ('cross', cross_layer)):
            compiled = torch.compile(layer, dynamic=False, **options)
            self.fast.update({(kind, n): compiled for n in tile_counts})

    # --- the tower ---

    def embed_tiles(self, tiles, ratio_id):
        """tiles [F][n][3][S][S], normalised -> [F][n*P][D]. ratio_id: a tensor of one number, which a graph may change."""
        s, n = self.shape, tiles.shape[1]
        p, g = s.patch_size, s.side
        patches = tiles[..., :g * p, :g * p].unflatten(-1, (g, p)).unflatten(-3, (g, p))  # [F][n][3][g][p][g][p]
        patches = patches.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3).to(self.dtype)
        pre = self.pre_tile.index_select(0, ratio_id)[0, :n, None] * self.pre_tile_gate.tanh()  # [n][1][D]
        gate = self.position_gate.tanh()
        table = (1 - gate) * self.position + gate * self.tile_position.index_select(0, ratio_id)[0, :n]  # [n][P][D]
        x = linear(patches, self.patch) + (pre + table[:, 1:]).to(self.dtype)
        first = (self.class_row + table[:, :1]).to(self.dtype).expand(x.shape[0], -1, -1, -1)
        return self.norm_rows(torch.cat([first, x], 2)).flatten(1, 2)

    def norm_rows(self, x):
        return layer_norm(x, self.norm_pre_weight, self.norm_pre_bias, 1e-5)

    def make_unused_tile(self):
        """[1][P][D]: what a tile of zeros starts as."""
        x = (1 - self.position_gate.tanh()) * self.position
        return self.norm_rows(torch.cat([x[:1] + self.class_row, x[1:]]).to(self.dtype))[None]

    def list_tower_weights(self):
        """The weights of each layer, gates multiplied in."""
        gates = self.tower_gates.tanh()
        gates = torch.cat([gates.new_ones(self.shape.n_local, 2), gates])
        weights = (
            self.tower_norm1_weight, self.tower_norm1_bias, self.tower_qkv, self.tower_out * gates[:, :1, None],
            self.tower_norm2_weight, self.tower_norm2_bias, self.tower_up, self.tower_up_bias,
            self.tower_down * gates[:, 1:, None], self.tower_down_bias * gates[:, 1:])
        return list(zip(*(stack.unbind() for stack in weights)))

    def list_post_rows(self, ratio_id, n):
        """[R][D]: what each row gets between the encoders."""
        s = self.shape
        post = self.post_tile.index_select(0, ratio_id)[0, :n] * self.post_tile_gate.tanh()
        n_unused = (s.n_tiles - n) * s.n_pads + (s.n_rows if n < s.n_tiles else 0)
        return torch.cat([post.repeat_interleave(s.n_rows, 0), post.repeat_interleave(s.n_pads, 0),
                          post.new_zeros(n_unused, post.shape[1])])

    def encode(self, tiles, ratio_id):
        """tiles [F][n][3][S][S] -> cross-attention states [F][n*P][H] of the real tiles. ratio_id: a number, or a tensor [1]."""
        s, n_frames, n = self.shape, tiles.shape[0], tiles.shape[1]
        if not isinstance(ratio_id, torch.Tensor):
            ratio_id = torch.tensor([ratio_id], device=tiles.device)
        n_real, n_copies = n * s.n_rows, s.n_tiles - n
        x = self.embed_tiles(tiles, ratio_id)
        rest = [x.new_zeros(n_frames, s.n_pads * s.n_tiles, s.vision_width)]
        if n_copies:
            rest.append(self.make_unused_tile().expand(n_frames, -1, -1))
        x, taps = torch.cat([x] + rest, 1), {}
        layer = self.fast.get(('tower', n), tower_layer)
        for number, weights in enumerate(self.list_tower_weights()):
            if number in s.taps:
                taps[number] = x[:, :n_real]
            if number == s.n_local:
                x = layer_norm(x, self.norm_post_weight, self.norm_post_bias, 1e-5)
                x = x + self.list_post_rows(ratio_id, n).to(self.dtype)
            x = layer(x, *weights, s.vision_heads, n_real, s.n_rows, n_copies, s.eps, self.library)
        return self.project(x[:, :n_real], [taps[number] for number in s.taps])

    def project(self, x, taps):
        """Taps are interleaved channel by channel; the columns of the projector that meet each are apart here."""
        d = self.shape.vision_width
        y = linear(x, self.projector[:, :d], self.projector_bias)
        for number, tap in enumerate(taps):
            y = y + linear(tap, self.projector[:, d + number::len(taps)])
        return y

    # --- the text ---

    def read(self, states, ids, positions, segments, image_id=None):
        """states [F][K][H] (None: no picture); ids, positions, segments [F][S]: rows of a frame lie one after another
        in S, a segment each, with positions of their own. Final hidden states [F][S][H]."""
        s, index = self.shape, torch.arange(ids.shape[1], device=ids.device)
        mask = (segments[:, :, None] == segments[:, None]) & (index[:, None] >= index)  # [F][S][S]
        marks = ids == (s.vocab_size if image_id is None else image_id)
        sees = (mask & marks[:, None]).any(-1, keepdim=True).to(self.dtype)
        x = F.embedding(ids, self.embedding).to(self.dtype)
        cos, sin = self.cos[positions][:, :, None], self.sin[positions][:, :, None]
        common = [stack.unbind() for stack in (
            self.text_norm1, self.text_q, self.text_kv, self.text_out, self.text_norm2, self.text_gate_up,
            self.text_down)]
        gates, n_cross = self.cross_gates.tanh(), 0
        read_text = self.fast.get('self', self_layer)
        read_tiles = self.fast.get(('cross', states.shape[1] // s.n_rows if states is not None else 0), cross_layer)
        for number, (norm1, q, kv, out, norm2, gate_up, down) in enumerate(zip(*common)):
            if number not in s.cross_layers:
                x = read_text(x, cos, sin, mask[:, None], norm1, q, kv, out, norm2, gate_up, down, s.head_width, s.eps)
                continue
            attention_gate, mlp_gate = gates[n_cross]
            if states is not None:
                x = read_tiles(
                    x, states, sees, norm1, q, self.cross_q_norm[n_cross], kv, self.cross_k_norm[n_cross],
                    out * attention_gate, norm2, gate_up, down * mlp_gate, s.head_width, s.eps)
            n_cross += 1
        return rms_norm(x, self.norm_text, s.eps)

    def get_logits(self, hidden):
        return widen(linear(hidden, self.head))

    def forward(self, tiles, ratio_id, ids, positions, segments):
        """Logits [F][S][Z]."""
        return self.get_logits(self.read(self.encode(tiles, ratio_id), ids, positions, segments))
