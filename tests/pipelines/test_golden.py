# SPDX-License-Identifier: LGPL-2.1-or-later
"""From a PNG on the disk to ids and log-probabilities: mllama-caption beside transformers, on the golden records."""

import json

from helpers import GOLDEN, Case, caption_json, crop, list_checkpoints, read_netpbm, write_png

MAX_LOGPROB_ERROR = 2e-4
MIN_GAP = 1e-3  # two best logits this close may change places


def find_format(record, has_template):
    """The prompt format that does what the record's kind says; None if the command line has none."""
    if record['ignore_eos'] or record['stop_ids']:
        return None
    if record['kind'] in ('raw', 'chat'):
        return record['kind']
    return None if has_template else 'auto'


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

    def check(self, checkpoint, record, prompt_format):
        arguments = ['--model', checkpoint, '--dtype', 'f32', '--device', 'cpu', '--token-ids', '--prompt', record['text'],
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
            has_template = any(checkpoint.glob('chat_template*')) or '"chat_template"' in (
                checkpoint / 'tokenizer_config.json').read_text(encoding='utf-8')
            for record in json.loads(path.read_text(encoding='utf-8'))['cases']:
                prompt_format = find_format(record, has_template)
                if not prompt_format or not is_wanted(record):
                    continue
                with self.subTest(checkpoint=checkpoint.name, case=record['name'], semantics=record['semantics']):
                    self.check(checkpoint, record, prompt_format)
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
