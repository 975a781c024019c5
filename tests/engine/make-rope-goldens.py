#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes rope-goldens.h: rotary frequencies as transformers computes them, bit for bit. Needs torch and transformers."""
from transformers import MllamaTextConfig
from transformers.models.mllama.modeling_mllama import MllamaRotaryEmbedding

# theta, head width, llama3 scaling (factor, low, high, original positions) or None
CASES = [
    (500000.0, 128, (8.0, 1.0, 4.0, 8192)),
    (500000.0, 64, (8.0, 1.0, 4.0, 8192)),
    (500000.0, 32, None),
    (10000.0, 80, None),
    (12345.0, 24, (3.5, 1.5, 6.0, 500)),
]


def compute(theta, width, scaling):
    parameters = {"rope_type": "default", "rope_theta": theta}
    if scaling:
        factor, low, high, original = scaling
        parameters.update(rope_type="llama3", factor=factor, low_freq_factor=low, high_freq_factor=high,
                          original_max_position_embeddings=original)
    config = MllamaTextConfig(hidden_size=width * 2, num_attention_heads=2, num_key_value_heads=1,
                              rope_parameters=parameters)
    return MllamaRotaryEmbedding(config).inv_freq.tolist()


def main():
    print("/* SPDX-License-Identifier: LGPL-2.1-or-later */")
    print("/* Made by make-rope-goldens.py. */")
    print("static const RopeGolden rope_goldens[] = {")
    for theta, width, scaling in CASES:
        factor, low, high, original = scaling or (0, 0, 0, 0)
        rope = f"{{{theta}, {'TRUE' if scaling else 'FALSE'}, {float(factor)}, {float(low)}, {float(high)}, {original}}}"
        values = ", ".join(f"{value.hex()}f" for value in compute(theta, width, scaling))
        print(f"    {{{rope}, {width}, {{{values}}}}},")
    print("};")


main()
