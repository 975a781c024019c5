# SPDX-License-Identifier: LGPL-2.1-or-later
"""Texts that the tokenizers are trained and tried on, all written for this purpose."""

import random

SENTENCES = [
    'The white dog lies on the wooden floor and looks at the camera.',
    'A red ball moves from the left to the right of the picture.',
    "There isn't anyone in the room; they've left, and I'd say it's been a while.",
    'Two people walk past a shop window, and one of them carries an umbrella.',
    "We'll see what happens when the train arrives at the station at 10:45.",
    'Describe this image in two sentences. What is unusual about it?',
    'If I had to write a haiku for this one, it would be about the sea.',
    'Ein weißer Hund liegt auf dem Boden und schläft; draußen regnet es.',
    "Un chien blanc est couché par terre, et l'été n'est pas loin.",
    'El perro blanco está en el suelo. ¿Qué más se ve? ¡Nada!',
    'Белая собака лежит на полу и смотрит в камеру.',
    'Ο άσπρος σκύλος κοιμάται στο πάτωμα.',
    'कुत्ता फर्श पर लेटा है।',
    'الكلب الأبيض مستلقٍ على الأرض.',
    'הכלב הלבן שוכב על הרצפה.',
    'สุนัขสีขาวนอนอยู่บนพื้น',
    '白い犬が床の上で寝ています。',
    '白色的狗躺在地板上。',
    '하얀 개가 바닥에 누워 있다.',
    'Con chó trắng nằm trên sàn nhà.',
    'for (int i = 0; i < n; i++) {\n  sum += values[i] * 2;\n}\n',
    'def main():\n\tprint("x = %d" % 42)  # comment\n',
    'https://example.org/path?query=1&other=two#fragment',
    '1 12 123 1234 12345 3.14159 1,000,000 2026-11-24 50% $9.99',
    '🐶 🎥 👍🏽 👩‍👩‍👧 🏳️‍🌈 🇩🇪',
    'A title\n\nThe first part\n\n\nThe second part\n\n\n\nThe end',
    'Columns    of    words        with      gaps.',
]


def make_corpus():
    generator = random.Random(6)
    words = [word for sentence in SENTENCES for word in sentence.split(' ')]
    corpus = SENTENCES * 8
    for _ in range(600):
        corpus.append(' '.join(generator.choice(words) for _ in range(generator.randint(3, 14))))
    return corpus


CORPUS = make_corpus()

OTHERS = [
    'Hello world!', ' leading', 'trailing ', '  two', '   three   ', '\n', '\n\n', '\r\n', '\r\n\r\n', '\t', '\t\tx',
    ' \n', '\n ', ' \n \n x', 'a\nb', 'a\r\nb', 'a \nb', 'a\n b', 'x\n\n\ny', '    indented\n        more\n', ' ' * 40,
    ' ' * 40 + 'x', '\n' * 9, 'a' * 50, '1' * 17, '!' * 12 + '\n\n', "don't", "DON'T", "I'M", "we're", "WE'RE", "you'Ve",
    "'s", "'S", "'ſ", "x'ſx", "'sx", "'lx", "''s", "' s", "'llama", "'re're", "it's'", "\u2019s", '12345678 9', 'a1b22c333',
    '٣٤٥٦', '१२३४', '½¼Ⅷ', '①②', 'x²', 'H₂O', 'naïve café', 'e\u0301e\u0308', 'ﬁne', 'ǅ', 'İı', 'ß', 'ſ', 'Å',
    'a\u00a0b', '\u00a0\u00a0b', 'a\u2003b', 'a\u3000b', '\u3000', 'a\u2028b', 'a\u0085b', 'a\u180eb c', 'a\u200bb',
    '\ufeffx', 'a\u200db', '\u00adx', '\0', '\0x', 'x\0\0y', '\x01\x1f\x7f', '\x1c\x1d a', '\x0b\x0c', '\ufffd', '\U0010ffff',
    '<|eot_id|>', 'x<|eot_id|>y', '<|eot_id|><|eot_id|>', '<|eot_id', '<|eot_id|', '|eot_id|>', '<<|eot_id|>>', '<|EOT_ID|>',
    '< |eot_id|>', '<|image|>Hi', '<|image|><|image|> Hi', ' <|image|> ', '<|begin_of_text|>', '<s>a</s>', '<s', '<unk>',
    '<image>', '[location]', 'a[location]b', '[loc', '[local', '[loc]', '<|eot_id|>[location]', '<|image|>[loc', 'x|>[loc]',
    'unmergeable', ' unmergeable', ' unmergeables', '####', '#####', ' ####', ' кошка', 'кошка', '  кошка',
    'ኢትዮጵያ', 'ქართული', 'հայերեն', 'தமிழ்', 'తెలుగు', 'മലയാളം', 'বাংলা', 'ગુજરાતી', 'ਪੰਜਾਬੀ', 'ລາວ', 'မြန်မာ', 'ខ្មែរ', 'བོད',
    'ᠮᠣᠩᠭᠣᠯ', 'ᏣᎳᎩ', 'ᐃᓄᒃᑎᑐᑦ', 'ⴰⵎⴰⵣⵉⵖ', 'ߒߞߏ', 'ܣܘܪܝܝܐ', 'ދިވެހި', 'සිංහල', '𐍈𐌿𐌲', '𝔘𝔫𝔦', '𞄀𞄁', '𐴀𐴁', '𐵊𐵋', '𖵀', '𞤀𞤣', '𐊀', '\U0001ccf0\U0001ccf1',
    '_', '__init__', 'snake_case', 'camelCase', 'x=1;y=2', 'a/b\\c', '(a)[b]{c}', '"quoted"', "'quoted'", '--option', '...',
    '?!', '¿¡', '—', '–', '…', '«»', '€', '£5', '°C', '†', '©2026', '™', '→', '∑', '≠', 'Σx²', '\u0300', '\u0300a', ' \u0300', '🎥', ' 🎥',
    '🎥🎥', 'a🎥b', '你好, 🎥 naïve\n\n  x=3.14159 don\'T',
]

PHRASES = SENTENCES + OTHERS
FRAGMENTS = OTHERS + [' ', '  ', '\n', ' the', ' of', 'dog', ' picture', 'er', 's', '.', ',', '0', '19', "'", '"']

# Messages: role, and text or None for an image.
CHATS = [
    [('user', [None, 'Describe this image in two sentences'])],
    [('user', ['What is the sum of 12 and 345?'])],
    [('user', ['Describe this image in two sentences', None, ' Test sentence   ', None, 'ok\n'])],
    [('system', ['You are brief.']), ('user', [None, None, 'Compare the two.'])],
    [('user', [None, 'Is anyone there?']), ('assistant', ['A dog.']), ('user', ['What colour?'])],
    [('user', ['\n starts with a newline', ' and has', ' three parts'])],
    [('user', ['  indented', None])],
    [('user', [''])],
    [('user', [None])],
    [('user', ['[location] is [loc', 'ation]'])],
    [('ipython', ['{"x": 1}'])],
]
