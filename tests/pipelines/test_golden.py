# SPDX-License-Identifier: LGPL-2.1-or-later
"""From a PNG on the disk to ids and log-probabilities: mllama-caption beside transformers, on the golden records."""

import json
import re

from helpers import GOLDEN, Case, caption_json, crop, list_checkpoints, read_netpbm, write_png

MAX_LOGPROB_ERROR = 2e-4
MARK, BEGIN = '<|image|>', '<|begin_of_text|>'
MIN_GAP = 1e-3  # two best logits this close may change places


def spell_out(checkpoint, record):
    """(prompt, prompt format) that give the record's ids. What MllamaProcessor adds to a text is spelled out here."""
    text = record['text']
    if record['kind'] != 'processed':
        return text, record['kind']
    config = json.loads((checkpoint / 'config.json').read_text(encoding='utf-8'))
    bos_id = config.get('text_config', config)['bos_token_id']
    n_marks = len(re.match(r'(<\|image\|>)*', text)[0]) // len(MARK)
    # A tokenizer may add one of its own in front of all.
    doubled = record['ids'][0] == bos_id and (n_marks > 0 or record['ids'][1] == bos_id)
    return (BEGIN if doubled else '') + MARK * n_marks + BEGIN + text[len(MARK) * n_marks:], 'raw'


class Golden(Case):
    def make_pictures(self, record):
        paths = []
        for index, picture in enumerate(record['pictures']):
            paths.append(self.folder / f'{index}.png')
            write_png(paths[-1], crop(read_netpbm(GOLDEN / 'pictures' / picture['file']), *picture['crop']))
        return paths

    def compare(self, answer, expected):
        for step, (want_id, want, gap) in enumerate(zip(expected['ids'], expected['logprobs'], expected['gaps'])):
            if gap < MIN_GAP and answer['token_ids'][step] != want_id:
                return
            self.assertEqual(answer['token_ids'][step], want_id, f'step {step}')
            self.assertAlmostEqual(answer['logprobs'][step], want, delta=MAX_LOGPROB_ERROR, msg=f'step {step}')
        self.assertEqual(len(answer['token_ids']), len(expected['ids']))
        self.assertEqual(answer['text'], expected['text'])

    def check(self, checkpoint, record):
        prompt, prompt_format = spell_out(checkpoint, record)
        arguments = ['--model', checkpoint, '--dtype', 'f32', '--device', 'cpu', '--token-ids', '--prompt', prompt,
                     '--prompt-format', prompt_format, '--semantics', record['semantics'],
                     '--max-tokens', record['max_tokens'], '--repetition-penalty', record['repetition_penalty']]
        files = self.make_pictures(record)
        answers = caption_json(*arguments, *(['--together'] if len(files) > 1 else []), *files)
        self.assertEqual(len(answers), 1)
        self.compare(answers[0], record['answer'])

    def check_all(self, is_wanted):
        n_checked = 0
        for checkpoint in list_checkpoints():
            path = GOLDEN / 'records' / f'{checkpoint.name}.json'
            for record in json.loads(path.read_text(encoding='utf-8'))['cases']:
                # The command line cannot name other stop ids than the checkpoint's.
                if record['ignore_eos'] or record['stop_ids'] or not is_wanted(record):
                    continue
                with self.subTest(checkpoint=checkpoint.name, case=record['name'], semantics=record['semantics']):
                    self.check(checkpoint, record)
                n_checked += 1
        self.assertGreater(n_checked, 2)

    def test_one_picture_gives_the_ids_of_transformers(self):
        self.check_all(lambda record: len(record['pictures']) == 1 and record['semantics'] == 'transformers')

    def test_one_picture_gives_the_ids_of_the_original_model(self):
        self.check_all(lambda record: len(record['pictures']) == 1 and record['semantics'] == 'meta')

    def test_several_pictures_together_give_the_ids_of_the_reference(self):
        self.check_all(lambda record: len(record['pictures']) > 1)

    def test_a_prompt_alone_gives_the_ids_of_the_reference(self):
        self.check_all(lambda record: not record['pictures'])
