# SPDX-License-Identifier: LGPL-2.1-or-later
"""transformers on a checkpoint, and the mistakes that must show in what it computes."""

import gc
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import torch
from transformers import MllamaForConditionalGeneration
from transformers.models.mllama import modeling_mllama

from .cases import SWAPPED_IDS, make_picture

count_aspect_mask = modeling_mllama._prepare_aspect_ratio_attention_mask


class Reference:
    def __init__(self, path, dtype, attention, device):
        placed = {'device_map': device} if device != 'cpu' else {}
        self.model = MllamaForConditionalGeneration.from_pretrained(
            path, dtype=dtype, attn_implementation=attention, **placed).eval()
        self.core, self.config, self.dtype, self.device = self.model.model, self.model.config, dtype, device
        # A rounded one, as .to(bfloat16) leaves it, is no checkpoint's.
        assert self.core.language_model.rotary_emb.inv_freq.dtype == torch.float32

    def make_inputs(self, case):
        inputs = {'input_ids': torch.tensor([case.ids])}
        inputs['attention_mask'] = torch.ones_like(inputs['input_ids'])
        if case.n_tiles:
            n_slots, size = self.config.vision_config.max_num_tiles, self.config.vision_config.image_size
            pixels = torch.zeros(1, 1, n_slots, 3, size, size)
            pixels[0, 0, :case.pixels.shape[0]] = torch.from_numpy(case.pixels)
            used = torch.zeros(1, 1, n_slots, dtype=torch.long)
            used[..., :case.n_tiles] = 1
            seen = torch.zeros(1, len(case.ids), 1, n_slots, dtype=torch.long)
            seen[:, case.ids.index(self.config.image_token_id):, :, :case.n_tiles] = 1
            inputs.update(pixel_values=pixels.to(self.dtype), aspect_ratio_ids=torch.tensor([[case.ratio_id]]),
                          aspect_ratio_mask=used, cross_attention_mask=seen)
        return {name: tensor.to(self.device) for name, tensor in inputs.items()}

    @torch.inference_mode()
    def run_core(self, case):
        """The last hidden states [T][D]."""
        return self.core(**self.make_inputs(case), use_cache=False).last_hidden_state[0]

    @torch.inference_mode()
    def run(self, case):
        """Logits [T][Z] in float32: also the head is applied in it."""
        return (self.run_core(case).float() @ self.model.lm_head.weight.float().T).cpu().numpy()

    def close(self):
        self.model = self.core = None
        gc.collect()
        if self.device != 'cpu':
            torch.cuda.empty_cache()


# --- mistakes ---

def forbid_keys(are_forbidden):
    """A mask of the tower in which nobody sees the keys of a picture where are_forbidden (slots [1][N][1], row) is."""
    def prepare(aspect_ratio_mask, num_patches, target_length, dtype):
        mask = count_aspect_mask(aspect_ratio_mask=aspect_ratio_mask, num_patches=num_patches,
                                 target_length=target_length, dtype=dtype)
        row = torch.arange(target_length, device=mask.device)
        keys = are_forbidden(aspect_ratio_mask[:, :, None] == 0, row >= num_patches)
        return mask.masked_fill(keys.reshape(1, 1, 1, -1), torch.finfo(dtype).min)
    return patch.object(modeling_mllama, '_prepare_aspect_ratio_attention_mask', prepare)


@contextmanager
def change_nothing():
    yield


def list_mistakes(case):
    """(name, case to run, what is wrong meanwhile, least factor over the bf16 error)."""
    random = np.random.default_rng(7)
    other = make_picture(random, case.n_tiles, case.pixels.shape[-1])
    wrong_count = case.n_tiles - 1 if case.n_tiles > 1 else 2
    yield 'another picture', replace(case, pixels=other), change_nothing(), 30
    yield 'pad keys ignored', case, forbid_keys(lambda unused, pad: pad | (unused & False)), 3
    yield 'wrong tile count', replace(case, n_tiles=wrong_count), change_nothing(), 3
    if case.n_tiles in SWAPPED_IDS:
        yield 'swapped ratio id', replace(case, ratio_id=SWAPPED_IDS[case.n_tiles]), change_nothing(), 3
    if case.n_tiles < 4:
        yield 'unused tiles ignored', case, forbid_keys(lambda unused, pad: unused | (pad & False)), 3
