# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tokenizer and the chat format: from questions and answers to rows of ids, and to the files of a checkpoint."""

import re
from functools import lru_cache
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import hub

# How Llama 3 splits text before merges.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# In the order of their ids, which follow the merges; reserved ones fill up, and the picture's mark comes last.
SPECIALS = [
    '<|begin_of_text|>', '<|end_of_text|>', '<|reserved_special_token_0|>', '<|reserved_special_token_1|>',
    '<|finetune_right_pad_id|>', '<|step_id|>', '<|start_header_id|>', '<|end_header_id|>', '<|eom_id|>',
    '<|eot_id|>', '<|python_tag|>',
]
IMAGE = '<|image|>'
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<|image|>' }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
STUB = ['user', 'assistant', 'Describe the scene in one short sentence.', 'A red ball on a blue background, small.',
        'What colour is the background?', 'Is there a green star? Answer yes or no.', 'I cannot tell what this is.']


# --- learning merges ---

def clean(text):
    """What is left of a text without the strings that must stay single characters: what is quoted, capitals and digits
    in a row. In the place of a string is a letter, which keeps the quotes from meeting."""
    return re.split(r'[A-Z0-9](?=[A-Z0-9:])[A-Z0-9:]*|[0-9]', re.sub(r'"[^"]*"', '"x"', text))


def train_tokenizer(texts, vocab_size, ordinary=10**6):
    """vocab_size: ids below that of the picture's mark."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior='isolated'),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(vocab_size, ordinary) - len(SPECIALS), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator((part for text in texts for part in clean(text)), trainer)
    n_more = vocab_size - tokenizer.get_vocab_size() - len(SPECIALS)
    reserved = [f'<|reserved_special_token_{i}|>' for i in range(2, 2 + n_more)]
    tokenizer.add_special_tokens(
        [AddedToken(text, normalized=False, special=True) for text in SPECIALS + reserved + [IMAGE]])
    assert tokenizer.token_to_id(IMAGE) == vocab_size
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(add_prefix_space=True, trim_offsets=False, use_regex=True),
        processors.TemplateProcessing(
            single='<|begin_of_text|> $A', pair='<|begin_of_text|> $A <|begin_of_text|>:1 $B:1',
            special_tokens=[('<|begin_of_text|>', tokenizer.token_to_id('<|begin_of_text|>'))])])
    return tokenizer


def check_single(tokenizer):
    """No token spells two of A to Z and 0 to 9, so that a string is read character by character."""
    for token in tokenizer.get_vocab():
        if not token.startswith('<|') and sum(c.isascii() and (c.isupper() or c.isdigit()) for c in token) > 1:
            raise SystemExit(f'the token {token!r} spells two capitals or digits')
        if token.startswith('"') and len(token) > 1 and token[1].isupper():
            raise SystemExit(f'the token {token!r} swallows the first character of a string')


def load_stub(vocab_size=512):
    return train_tokenizer(STUB, vocab_size, 400)


# --- chat ---

class Chat:
    """Ids as mllama_prompt_make_question () of the engine makes them: one picture, one question."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        get = tokenizer.token_to_id
        self.image_id, self.pad_id, self.end_id = get(IMAGE), get('<|finetune_right_pad_id|>'), get('<|eot_id|>')
        self.encode = lru_cache(65536)(lambda text: tuple(tokenizer.encode(text, add_special_tokens=False).ids))
        self.before = [get('<|begin_of_text|>'), *self.spell_header('user'), self.image_id]
        self.after = [self.end_id, *self.spell_header('assistant')]

    def spell_header(self, role):
        get = self.tokenizer.token_to_id
        return [get('<|start_header_id|>'), *self.encode(role), get('<|end_header_id|>'), *self.encode('\n\n')]

    def encode_question(self, question):
        return [*self.before, *self.encode(question), *self.after]

    def encode_pair(self, question, answer):
        """Ids, and how many of them are the question's."""
        prompt = self.encode_question(question)
        return [*prompt, *self.encode(answer), self.end_id], len(prompt)

    def decode(self, ids):
        ids = list(ids)
        ids = ids[:ids.index(self.end_id)] if self.end_id in ids else ids
        return self.tokenizer.decode(ids, skip_special_tokens=True)


def pack_rows(frames, length, pad_id):
    """frames: for each its (ids, n_prompt) -> int16 [F][length] each: ids, positions in the row, number of the row
    (-1: nothing), and the token to be said next where it is part of an answer (-1 elsewhere)."""
    ids = np.full((len(frames), length), pad_id, np.int16)
    positions = np.zeros_like(ids)
    segments, targets = np.full_like(ids, -1), np.full_like(ids, -1)
    for f, rows in enumerate(frames):
        start = 0
        for number, (row, n_prompt) in enumerate(rows):
            end = start + len(row)
            if end > length:
                raise ValueError(f'rows of {end} tokens are more than {length}')
            ids[f, start:end], segments[f, start:end] = row, number
            positions[f, start:end] = np.arange(len(row))
            targets[f, start + n_prompt - 1:end - 1] = row[n_prompt:]
            start = end
    return ids, positions, segments, targets


# --- files ---

def list_special_ids(tokenizer):
    return {text: tokenizer.token_to_id(text) for text in SPECIALS + [IMAGE]}


def write_tokenizer(tokenizer, shape, folder: Path):
    """All files of a checkpoint but the weights."""
    ids = list_special_ids(tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / 'tokenizer.json'), pretty=False)
    hub.write_json(folder / 'tokenizer_config.json', {
        'bos_token': '<|begin_of_text|>', 'eos_token': '<|eot_id|>', 'pad_token': '<|finetune_right_pad_id|>',
        'clean_up_tokenization_spaces': False, 'model_max_length': shape.max_positions,
        'model_input_names': ['input_ids', 'attention_mask'], 'tokenizer_class': 'PreTrainedTokenizerFast',
        'chat_template': CHAT_TEMPLATE})
    hub.write_json(folder / 'config.json', hub.make_config(shape, ids))
    hub.write_json(folder / 'generation_config.json', hub.make_generation_config(ids))
    hub.write_json(folder / 'preprocessor_config.json', hub.make_image_options(shape))
