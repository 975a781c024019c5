# SPDX-License-Identifier: LGPL-2.1-or-later
"""The checkpoints: what is unlike the others in each. Every field can be set on the command line of make-goldens.py."""

from dataclasses import dataclass, field, fields, replace

ROPE_DEFAULT = {'rope_type': 'default'}
# Bands as in Llama 3.1, for contexts a few hundred times shorter, so that short prompts feel the scaling.
ROPE_LLAMA3 = {
    'rope_type': 'llama3', 'factor': 8.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
    'original_max_position_embeddings': 48,
}
CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]


@dataclass(frozen=True)
class Shape:
    name: str
    seed: int = 1
    # the tower
    has_vision: bool = True
    image_size: int = 28
    patch_size: int = 14
    max_num_tiles: int = 4
    vision_width: int = 32
    vision_heads: int = 4
    vision_ff: int = 48
    n_local: int = 4
    n_global: int = 2
    taps: list = field(default_factory=lambda: [0, 2])
    norm_eps: float = 1e-5
    zero_unused_slots: bool = True  # of the tile tables, as in released checkpoints; random initialisation fills them
    # the text model
    n_merges: int = 120
    width: int = 32
    n_heads: int = 4
    n_kv_heads: int = 2
    ff: int = 56
    n_layers: int = 5
    cross_layers: list = field(default_factory=lambda: [1, 3])
    rms_norm_eps: float = 1e-5
    rope: dict = field(default_factory=lambda: dict(ROPE_LLAMA3))
    rope_theta: float = 500000.0
    max_positions: int = 4096
    extra_head_rows: int = 0  # rows of lm_head beyond the vocabulary
    # the files
    dtype: str = 'bfloat16'
    layout: str = 'hub'  # names of tensors: hub, or raw (as a state dict has them)
    n_shards: int = 1
    config_style: str = 'old'  # transformers 4.45, or new: transformers 5
    eos: str = 'list'  # or int
    has_generation_config: bool = True
    chat_template: str = ''  # '', or the file that holds it: chat_template.json, chat_template.jinja, tokenizer_config
    adds_bos: bool = True  # the tokenizer's post-processor does
    merges_as_strings: bool = False
    processor_style: str = 'old'  # preprocessor_config.json, or new: processor_config.json
    image_mean: list = field(default_factory=lambda: list(CLIP_MEAN))
    image_std: list = field(default_factory=lambda: list(CLIP_STD))
    do_rescale: bool = True
    do_normalize: bool = True
    rescale_factor: float = 0.00392156862745098
    resample: int = 2
    eos_weight: float = 1.2  # factor on the rows of lm_head that end an answer: larger ones come up sooner or later
    # the cases
    has_long_case: bool = False

    @property
    def ratios(self):
        n = self.max_num_tiles
        return [[h, w] for h in range(1, n + 1) for w in range(1, n + 1) if h * w <= n]

    @property
    def n_patches(self):
        return (self.image_size // self.patch_size) ** 2 + 1


SHAPES = [
    # As the hub has Llama 3.2-Vision, much smaller.
    Shape('hub', n_shards=3, eos_weight=1.3, chat_template='chat_template.json', has_long_case=True),
    # A raw state dict in float32, saved by transformers 5: pixels that no patch covers, unordered taps with the first
    # and the last layer among them, tables that are not zero in unused slots, one key/value head.
    Shape('raw', seed=2, image_size=30, patch_size=4, max_num_tiles=2, vision_width=20, vision_heads=2, vision_ff=37,
          taps=[3, 0], n_global=1, zero_unused_slots=False, n_merges=77, width=40, n_heads=4, n_kv_heads=1, ff=37,
          n_layers=4, cross_layers=[2], rope=dict(ROPE_DEFAULT), dtype='float32', layout='raw', config_style='new',
          eos='int', adds_bos=False, processor_style='new', eos_weight=1.4),
    # Everything unusual: both eps, first and last layer cross, as many key/value heads as heads, another base of the
    # rotary angles, bicubic resizing, another colour space, a head as tall as the embedding.
    Shape('unusual', seed=3, image_size=42, patch_size=9, max_num_tiles=6, vision_width=40, vision_heads=2,
          vision_ff=37, taps=[3, 1, 0], norm_eps=2e-2, zero_unused_slots=False, n_merges=61, width=60, n_heads=3,
          n_kv_heads=3, ff=41, n_layers=4, cross_layers=[0, 3], rms_norm_eps=5e-3, rope_theta=10000.0,
          rope={**ROPE_LLAMA3, 'factor': 4.0, 'low_freq_factor': 2.0, 'high_freq_factor': 8.0,
                'original_max_position_embeddings': 64},
          extra_head_rows=8, dtype='float16', config_style='new', eos='int', adds_bos=False, merges_as_strings=True,
          processor_style='new', image_mean=[0.9, 1.0, 1.1], image_std=[0.5, 0.6, 0.7], rescale_factor=0.0078125,
          resample=3, eos_weight=1.8),
    # One tile, no normalisation, three heads to a key/value head, a head one row taller, eos in config.json only.
    Shape('single', seed=4, image_size=56, patch_size=7, max_num_tiles=1, vision_width=24, vision_heads=2,
          vision_ff=40, n_local=3, n_global=1, taps=[1], width=48, n_heads=6, n_kv_heads=2, ff=40, n_layers=3,
          cross_layers=[0], extra_head_rows=1, rope=dict(ROPE_DEFAULT), dtype='float16', layout='raw', n_shards=2,
          has_generation_config=False, chat_template='chat_template.jinja', do_normalize=False, resample=1,
          eos_weight=1.3),
    # Five tiles, adjacent cross layers, every layer tapped, pixels from 0 to 255, a long prompt.
    Shape('many', seed=5, patch_size=7, max_num_tiles=5, vision_width=24, vision_heads=2, vision_ff=40, n_local=3,
          n_global=1, taps=[0, 1, 2], zero_unused_slots=False, n_merges=150, width=48, n_heads=6, n_kv_heads=3, ff=40,
          cross_layers=[2, 3], chat_template='tokenizer_config', do_rescale=False, image_mean=[120.0, 110.0, 100.0],
          image_std=[66.0, 64.0, 62.0], resample=4, has_long_case=True),
    # MllamaForCausalLM by itself.
    Shape('text', seed=6, has_vision=False, n_merges=99, n_layers=4, rope={**ROPE_LLAMA3, 'factor': 32.0}, eos='int',
          config_style='new', eos_weight=1.4),
]


def find_shape(name):
    return next(shape for shape in SHAPES if shape.name == name)


def change_shape(shape, assignments):
    """The shape with fields set by 'field=python literal'."""
    import ast
    names = {f.name for f in fields(Shape)}
    changes = {}
    for assignment in assignments:
        name, _, value = assignment.partition('=')
        if name not in names:
            raise SystemExit(f'{name}: no such field; there are {", ".join(sorted(names))}')
        try:
            changes[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            changes[name] = value
    return replace(shape, **changes)
