# SPDX-License-Identifier: LGPL-2.1-or-later
"""transformers on one checkpoint: loads it from its files in float32 and runs cases, one at a time."""

import copy
import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from transformers import (AutoConfig, AutoTokenizer, GenerationConfig, LogitsProcessor, LogitsProcessorList,
                          MllamaForCausalLM, MllamaForConditionalGeneration, MllamaProcessor,
                          RepetitionPenaltyLogitsProcessor)
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil

from . import checkpoint
from .pictures import read_picture


class GuardedPenalty(LogitsProcessor):
    """transformers' own penalty, over the ids that have a logit: the image mark may have none."""

    def __init__(self, penalty):
        self.processor = RepetitionPenaltyLogitsProcessor(penalty)

    def __call__(self, input_ids, scores):
        return self.processor(input_ids[:, input_ids[0] < scores.shape[1]], scores)


@dataclass
class Outcome:
    """What one case gives."""
    ids: list  # of the prompt
    logprobs: np.ndarray  # [T][Z] of the prompt's tokens
    last_logits: np.ndarray  # [Z]
    hidden: np.ndarray  # [T][D]
    loss: float
    labels: list
    answer_ids: list
    answer_logprobs: list
    gaps: list  # between the two best scores of each step
    answer_text: str
    finish: str
    stop_ids: list


class Reference:
    def __init__(self, path, attention='eager', dtype=torch.float32):
        self.path = path
        self.config = AutoConfig.from_pretrained(path)
        self.has_vision = self.config.model_type == 'mllama'
        model_class = MllamaForConditionalGeneration if self.has_vision else MllamaForCausalLM
        self.model, info = model_class.from_pretrained(
            path, dtype=dtype, attn_implementation=attention, ignore_mismatched_sizes=True, output_loading_info=True)
        self.load_large_head(info)
        self.model.eval()
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.image_id = self.tokenizer.convert_tokens_to_ids('<|image|>')
        if self.has_vision:
            self.image_processor = MllamaImageProcessorPil.from_pretrained(path)
            self.processor = MllamaProcessor(self.image_processor, self.tokenizer)

    def load_large_head(self, info):
        """transformers makes lm_head as tall as the vocabulary; a taller one is put in by hand, as its users do."""
        for problem in ('missing_keys', 'unexpected_keys'):
            if info[problem]:
                raise SystemExit(f'{self.path}: {problem}: {info[problem]}')
        if info['mismatched_keys']:
            head = checkpoint.read_head(self.path).to(self.model.dtype)
            self.model.lm_head = torch.nn.Linear(head.shape[1], head.shape[0], bias=False)
            self.model.lm_head.weight = torch.nn.Parameter(head)

    # --- inputs ---

    def encode_prompt(self, case):
        if case.kind == 'processed':
            _, texts = (self.processor.prepare_inputs_layout(text=[case.text]) if self.has_vision
                        else (None, [f'{self.tokenizer.bos_token}{case.text}']))
            return self.tokenizer(texts[0])['input_ids']
        if case.kind == 'raw':
            return self.tokenizer(case.text, add_special_tokens=False)['input_ids']
        return self.encode_chat(case)

    def encode_chat(self, case):
        """The layout of Llama 3.2; spellings of special tokens in the message are ordinary text."""
        def special(text):
            return [self.tokenizer.convert_tokens_to_ids(text)]

        def plain(text):
            return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)['input_ids']

        def header(role):
            return special('<|start_header_id|>') + plain(role) + special('<|end_header_id|>') + plain('\n\n')

        marks = [self.image_id] * len(case.pictures)
        return (special('<|begin_of_text|>') + header('user') + marks + plain(case.text) + special('<|eot_id|>')
                + header('assistant'))

    def process_pictures(self, pictures, folder):
        images = [read_picture(folder / picture.file, picture.crop) for picture in pictures]
        return self.image_processor([images], return_tensors='pt')

    def make_inputs(self, case, folder):
        ids = self.encode_prompt(case)
        inputs = {'input_ids': torch.tensor([ids]), 'attention_mask': torch.ones(1, len(ids), dtype=torch.long)}
        if case.pictures:
            from transformers.models.mllama import processing_mllama
            images = self.process_pictures(case.pictures, folder)
            spans = processing_mllama.get_cross_attention_token_mask(ids, self.image_id)
            mask = processing_mllama.convert_sparse_cross_attention_mask_to_dense(
                [spans], images.pop('num_tiles'), self.image_processor.max_image_tiles, len(ids))
            inputs.update(images, cross_attention_mask=torch.tensor(mask))
            inputs['pixel_values'] = inputs['pixel_values'].to(self.model.dtype)
        return inputs

    # --- runs ---

    @torch.no_grad()
    def run_forward(self, inputs):
        """Logits [T][Z] and last hidden states [T][D]."""
        states = []
        text_model = self.model.model.language_model if self.has_vision else self.model.model
        hook = text_model.norm.register_forward_hook(lambda module, args, output: states.append(output))
        logits = self.model(**inputs, use_cache=False).logits[0]
        hook.remove()
        return logits, states[-1][0]

    def make_labels(self, ids):
        """Every third token and the marks are left out, as a collator would leave out the question."""
        limit = self.model.lm_head.weight.shape[0]
        return [-100 if i % 3 == 0 or token >= limit else token for i, token in enumerate(ids)]

    def compute_loss(self, logits, labels):
        targets = torch.tensor(labels[1:])
        return torch.nn.functional.cross_entropy(logits[:-1].float(), targets, ignore_index=-100).item()

    @torch.no_grad()
    def generate(self, case, inputs, stop_ids):
        config = copy.deepcopy(self.model.generation_config)
        eos = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
        config.update(do_sample=False, temperature=None, top_p=None, top_k=None, max_new_tokens=case.max_tokens)
        # An id that no model draws, since generate () puts its defaults in the place of nothing.
        config.eos_token_id = ([] if case.ignore_eos else eos) + stop_ids or [-1]
        processors = LogitsProcessorList([GuardedPenalty(case.penalty)] if case.penalty != 1 else [])
        # transformers takes the length of layer 0's cache for that of the text.
        use_cache = 0 not in self.config.get_text_config().cross_attention_layers
        output = self.model.generate(**inputs, generation_config=config, logits_processor=processors,
                                     use_cache=use_cache, return_dict_in_generate=True, output_logits=True,
                                     output_scores=True)
        ids = output.sequences[0, inputs['input_ids'].shape[1]:].tolist()
        return ids, output.logits, output.scores, config.eos_token_id

    def run_case(self, case, folder):
        inputs = self.make_inputs(case, folder)
        prompt = inputs['input_ids'][0].tolist()
        logits, hidden = self.run_forward(inputs)
        labels = self.make_labels(prompt)
        stop_ids = []
        if case.stops_at >= 0:
            free, *_ = self.generate(case, inputs, [])
            stop_ids = [free[min(case.stops_at, len(free) - 1)]]
        ids, raw, scores, ends = self.generate(case, inputs, stop_ids)
        best = [score[0].double().topk(2).values for score in scores]
        return Outcome(
            ids=prompt,
            logprobs=torch.log_softmax(logits.double(), -1).numpy(),
            last_logits=logits[-1].numpy(),
            hidden=hidden.numpy(),
            loss=self.compute_loss(logits, labels),
            labels=labels,
            answer_ids=ids,
            answer_logprobs=[torch.log_softmax(row[0].double(), -1)[id].item() for row, id in zip(raw, ids)],
            gaps=[(pair[0] - pair[1]).item() for pair in best],
            answer_text=self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False),
            finish='stop' if ids[-1] in ends else 'length',
            stop_ids=stop_ids)

    @torch.no_grad()
    def run_vision(self, picture, folder):
        """Pixels of the used tiles [n][3][S][S], the arrangement's id, and the tower's features [T][P][F]."""
        images = self.process_pictures([picture], folder)
        n_tiles = images.pop('num_tiles')[0][0]
        tower = self.model.model.vision_model
        features = tower(images['pixel_values'].to(self.model.dtype), images['aspect_ratio_ids'],
                         images['aspect_ratio_mask']).last_hidden_state[0, 0]
        return images['pixel_values'][0, 0, :n_tiles].numpy(), images['aspect_ratio_ids'][0, 0].item(), features


def hash_pixels(pixels):
    return hashlib.sha256(np.ascontiguousarray(pixels, '<f4').tobytes()).hexdigest()
