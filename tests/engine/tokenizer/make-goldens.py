#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trains three small byte-level tokenizers and records what the `tokenizers` library and transformers make of texts.

    pip install tokenizers==0.23.3 transformers==5.23.0
    tests/engine/tokenizer/make-goldens.py

The files are written beside the script. Everything is seeded, so that running it again changes nothing.

    llama3.json   the pattern of Llama 3, merges as pairs, ignore_merges, begin-of-text in front
    gpt2.json     the pattern of GPT-2, merges as strings, a space in front of the text, special tokens in the vocabulary
    partial.json  bytes that are no token, <unk> for a run of them
    strings.json  texts, and their ids in each of the three; ids, and the texts that they decode to
    prompts.json  texts as MllamaProcessor takes them, chats as the simple template renders them, image masks

A NUL in a text is spelled U+F8FF, since not every JSON reader takes it.
"""

import json
import random
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers.models.mllama.processing_mllama import (
    build_string_from_input, convert_sparse_cross_attention_mask_to_dense, get_cross_attention_token_mask)

from texts import CHATS, CORPUS, FRAGMENTS, PHRASES

HERE = Path(__file__).parent
LLAMA3_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                  r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ['<|begin_of_text|>', '<|end_of_text|>', '<|start_header_id|>', '<|end_header_id|>', '<|eom_id|>',
           '<|eot_id|>', '<|image|>']


def train(tokenizer, size, corpus=CORPUS, **options):
    options.setdefault('initial_alphabet', pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, **options)
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def save(name, tokenizer, edit=None):
    """Writes the tokenizer, changed by edit, and returns it as the library reads it back."""
    data = json.loads(tokenizer.to_str())
    if edit:
        edit(data)
    (HERE / f'{name}.json').write_text(json.dumps(data, ensure_ascii=False, separators=(',', ':')) + '\n')
    return Tokenizer.from_file(str(HERE / f'{name}.json'))


def make_llama3():
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_PATTERN), 'isolated'),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, 1200)
    # Tokens that no merge makes: only ignore_merges finds them.
    data = json.loads(tokenizer.to_str())
    for word in ('Ġunmergeable', 'ĠÐºÐ¾ÑĪÐºÐ°', '####'):
        data['model']['vocab'][word] = len(data['model']['vocab'])
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken('[location]', normalized=True), AddedToken('[loc', normalized=True),
                          AddedToken('|>[', normalized=True)])
    bos = SPECIAL[0]
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(f'{bos} $A', f'{bos} $A {bos} $B', [(bos, tokenizer.token_to_id(bos))])])
    return save('llama3', tokenizer)


def make_gpt2():
    def spell_merges(data):
        data['model']['merges'] = [' '.join(pair) for pair in data['model']['merges']]

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, 900, special_tokens=['<s>', '</s>', '<image>'])
    tokenizer.post_processor = processors.TemplateProcessing('<s> $A </s>', None, [('<s>', 0), ('</s>', 1)])
    return save('gpt2', tokenizer, spell_merges)


def make_partial():
    tokenizer = Tokenizer(models.BPE(unk_token='<unk>', fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, 300, [text for text in CORPUS if text.isascii()], special_tokens=['<unk>'], initial_alphabet=[])
    return save('partial', tokenizer)


def make_texts():
    generator = random.Random(7)
    texts = [''] + PHRASES
    for _ in range(220):
        texts.append(''.join(generator.choice(FRAGMENTS + SPECIAL) for _ in range(generator.randint(1, 12))))
    for _ in range(120):
        texts.append(''.join(chr(generator.randrange(0x250)) for _ in range(generator.randint(1, 15))))
    while len(texts) < 700:
        points = [generator.choice([generator.randrange(0x3000), generator.randrange(0x20000)])
                  for _ in range(generator.randint(1, 12))]
        texts.append(''.join(chr(p) for p in points if not 0xD800 <= p < 0xE000))
    return [text.replace('\uf8ff', '') for text in texts]


def make_broken():
    """Byte strings that are not valid UTF-8, most of them."""
    generator = random.Random(8)
    return [bytes(generator.choice([generator.randrange(256), generator.randrange(0x80, 0xC0),
                                    generator.randrange(0xE0, 0xF8), 0x20, 0x61])
                  for _ in range(generator.randint(1, 14))) for _ in range(80)]


def encode(tokenizer, text, add=False):
    return tokenizer.encode(text, add_special_tokens=add).ids


def encode_plain(tokenizer, text):
    tokenizer.encode_special_tokens = True
    ids = encode(tokenizer, text)
    tokenizer.encode_special_tokens = False
    return ids


def make_strings(tokenizers):
    generator = random.Random(9)
    texts, broken = make_texts(), make_broken()
    golden = {'texts': [text.replace('\0', '\uf8ff') for text in texts], 'broken': [data.hex() for data in broken]}
    for name, tokenizer in tokenizers.items():
        ids = [encode(tokenizer, text) for text in texts]
        plain = [encode_plain(tokenizer, text) for text in texts]
        sequences = [[generator.randrange(tokenizer.get_vocab_size() + 3) for _ in range(generator.randint(1, 9))]
                     for _ in range(60)]
        golden[name] = {
            'ids': ids,
            'plain': {str(i): plain[i] for i in range(len(texts)) if plain[i] != ids[i]},
            'added': encode(tokenizer, texts[1], add=True),
            'broken': [encode(tokenizer, data.decode('utf-8', 'replace')) for data in broken],
            'sequences': sequences,
            'decoded': [tokenizer.decode(ids, skip_special_tokens=False).replace('\0', '\uf8ff') for ids in sequences],
            'skipped': [tokenizer.decode(ids, skip_special_tokens=True).replace('\0', '\uf8ff') for ids in sequences],
        }
    return golden


def render(messages):
    """The simple chat template, with the header of the answer."""
    text = '<|begin_of_text|>'
    for role, parts in messages:
        content = ''.join('<|image|>' if part is None else part for part in parts)
        text += f'<|start_header_id|>{role}<|end_header_id|>\n\n{content}<|eot_id|>'
    return text + '<|start_header_id|>assistant<|end_header_id|>\n\n'


def make_masks():
    generator = random.Random(10)
    cases = [[0, 9, 1, 2], [0, 9, 9, 1, 2], [0, 9, 1, 2, 9, 3, 4], [0, 9, 9, 1, 2, 9, 3], [9], [9, 9], [9, 1, 9], [0]]
    for _ in range(250):
        density = generator.choice([0.05, 0.3, 0.7])
        cases.append([9 if generator.random() < density else generator.randrange(9)
                      for _ in range(generator.randint(1, 40))])
    masks = []
    for ids in cases:
        spans, runs = get_cross_attention_token_mask(ids, 9), [[0, 0]] * len(ids)
        if spans:
            dense = convert_sparse_cross_attention_mask_to_dense([spans], [[1] * len(spans)], 1, len(ids))[0, :, :, 0]
            seen = [[m for m in range(len(spans)) if row[m]] for row in dense]
            assert all(images == list(range(images[0], images[-1] + 1)) for images in seen if images)
            runs = [[images[0], len(images)] if images else [0, 0] for images in seen]
        masks.append({'ids': ids, 'spans': spans, 'runs': runs})
    return masks


def make_prompts(tokenizers):
    bos = {'llama3': '<|begin_of_text|>', 'gpt2': '<s>'}
    image = {'llama3': '<|image|>', 'gpt2': '<image>'}
    golden = {'processed': [], 'chats': [], 'masks': make_masks()}
    for name in bos:
        for pattern in ('{i}Hello', '{i}{i}two', 'Hello', 'a {i} b', '{i}{b}x', ' {i}x', '{i}', '', 'x{b}', '{b}{b}y'):
            text = pattern.format(i=image[name], b=bos[name])
            whole = build_string_from_input(text, bos[name], image[name])
            golden['processed'].append({'tokenizer': name, 'text': text, 'ids': encode(tokenizers[name], whole, add=True)})
    for chat in CHATS:
        golden['chats'].append({'messages': [{'role': role, 'parts': parts} for role, parts in chat],
                                'ids': encode(tokenizers['llama3'], render(chat))})
    return golden


def write(name, golden):
    lines = json.dumps(golden, ensure_ascii=False, separators=(',', ':')).replace('],"', '],\n"')
    (HERE / name).write_text(lines + '\n')


def main():
    tokenizers = {'llama3': make_llama3(), 'gpt2': make_gpt2(), 'partial': make_partial()}
    write('strings.json', make_strings(tokenizers))
    write('prompts.json', make_prompts(tokenizers))


main()
