# SPDX-License-Identifier: LGPL-2.1-or-later
"""What commands in the documentation get in place of what no test machine has. The one table of it."""

import re

MODEL = 'tests/golden/checkpoints/unusual'
CAMERA = 'videotestsrc is-live=true num-buffers=25'

# (pattern, what stands for it), each tried once on a line, in this order. {rtsp} is the URI of a local server.
SUBSTITUTIONS = [
    (r'meta-llama/Llama-3\.2-11B-Vision-Instruct', MODEL),                                        # 11B -> tiny
    (r'v4l2src( device=[^\s"]+)?(?=["\s])', CAMERA),                                             # a camera
    (r'(?<=pipelines/camera\.sh)(?!.*--source)', f' --source "{CAMERA}"'),
    (r'(?<=pipelines/record\.sh)(?!.*--source)', f' --source "{CAMERA}"'),
    (r'autovideosink', 'fakesink'),                                                               # a window
    (r'(?<=pipelines/camera\.sh)|(?<=pipelines/overlay\.sh)', ' --sink fakesink'),
    (r'rtsp://192\.168\.\S+', '{rtsp}'),                                                          # a network stream
    (r'^(?=pipelines/rtsp\.sh)', 'timeout --foreground --preserve-status -s INT 6 '),             # Ctrl-C
    (r'qtdemux ! h264parse ! nvh264dec', 'decodebin'),                                            # a GPU
    (r'device=cuda\b', 'device=cpu'),
    (r'^(?=huggingface-cli )', ': '),                                                             # an account there
    (r'^(?=tests/golden/make-goldens\.py )', ': '),                                               # PyTorch, transformers
    (r'/tmp/bench/checkpoints/hub', MODEL),
    (r'^(?=pipelines/quickstart\.sh|tests/run\.sh)', 'bash -n '),                                 # what starts the tests
]


def substitute(line, **values):
    """The line with everything in it replaced that the table names."""
    for pattern, replacement in SUBSTITUTIONS:
        line = re.sub(pattern, lambda _, text=replacement: text, line, count=1)
    return re.sub(r'\{(\w+)\}', lambda match: values.get(match[1], match[0]), line)
