# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small byte-level BPE in the manner of Llama 3.2: same split pattern, same special tokens, ids in the same order."""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIALS = [
    '<|begin_of_text|>', '<|end_of_text|>', '<|reserved_special_token_0|>', '<|reserved_special_token_1|>',
    '<|finetune_right_pad_id|>', '<|step_id|>', '<|start_header_id|>', '<|end_header_id|>', '<|eom_id|>',
    '<|eot_id|>', '<|python_tag|>',
]
IMAGE = '<|image|>'
TEXT = """
A cat lies on the sofa and looks at the camera. A cup of coffee stands on a wooden table beside a spoon.
An astronaut in an orange suit smiles in front of a flag. The man with the camera stands on the grass.
What is in the picture? Describe the image in two sentences. Is anyone there? How many people can you see?
The first picture shows a cat; the second shows coffee. It's a photo, isn't it? They'll say we're done, I've seen it.
user assistant system The image shows the view of the street in the morning: red, green, blue, black and white.
Größe, café, naïve, señor, façade. Привет, мир. 你好，世界。 こんにちは。 2024-11-24 12:30, 1000 and 3.14159.
There is nothing in this picture that would tell where or when it was taken, but the light is that of the evening.
""".strip()


def train_bpe(n_merges):
    """The 256 bytes and n_merges merges, as the tokenizers library learns them from TEXT."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior='isolated'),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + n_merges, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    return tokenizer


def make_post_processor(adds_bos, bos_id):
    byte_level = processors.ByteLevel(add_prefix_space=True, trim_offsets=False, use_regex=True)
    if not adds_bos:
        return byte_level
    template = processors.TemplateProcessing(
        single='<|begin_of_text|> $A', pair='<|begin_of_text|> $A <|begin_of_text|>:1 $B:1',
        special_tokens=[('<|begin_of_text|>', bos_id)])
    return processors.Sequence([byte_level, template])


def make_tokenizer(n_merges, adds_bos):
    """Ids: bytes and merges, the special tokens, the image mark last."""
    tokenizer = train_bpe(n_merges)
    tokenizer.add_special_tokens([
        AddedToken(text, normalized=False, special=True) for text in SPECIALS + [IMAGE]])
    tokenizer.post_processor = make_post_processor(adds_bos, tokenizer.token_to_id(SPECIALS[0]))
    return tokenizer


def spell_tokenizer(tokenizer, merges_as_strings):
    """Text of a tokenizer.json; merges as pairs (new) or as "a b" (old)."""
    tree = json.loads(tokenizer.to_str())
    if merges_as_strings:
        tree['model']['merges'] = [' '.join(pair) for pair in tree['model']['merges']]
    return json.dumps(tree, ensure_ascii=False, separators=(',', ':'))
