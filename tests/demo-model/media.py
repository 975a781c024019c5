# SPDX-License-Identifier: LGPL-2.1-or-later
"""GStreamer at work for the evaluation: frames from pipelines, frames through pipelines, and frames to the element.

A picture is a numpy array uint8 [height][width][4] of B, G, R and a byte that means nothing (BGRx, which cairo draws)."""

import os
import time
from pathlib import Path

import gi

gi.require_version('Gst', '1.0')
gi.require_version('GstApp', '1.0')
from gi.repository import Gst, GstApp  # noqa: E402 (GstApp gives appsrc and appsink their methods)

import numpy as np  # noqa: E402

assert GstApp
os.environ.setdefault('GST_PLUGIN_PATH', str(Path(__file__).resolve().parents[2] / 'build' / 'gst-plugin'))
Gst.init(None)

PATIENCE = 120 * Gst.SECOND  # for one frame; under valgrind things take long
PICTURE = 'video/x-raw,format=BGRx'


def to_sample(picture):
    height, width = picture.shape[:2]
    caps = Gst.Caps.from_string(f'{PICTURE},width={width},height={height},framerate=1/1,pixel-aspect-ratio=1/1')
    buffer = Gst.Buffer.new_wrapped(picture.tobytes())
    buffer.pts, buffer.duration = 0, Gst.SECOND
    return Gst.Sample.new(buffer, caps, None, None)


def to_picture(sample):
    caps = sample.get_caps().get_structure(0)
    width, height = caps.get_value('width'), caps.get_value('height')
    buffer = sample.get_buffer()
    data = buffer.extract_dup(0, buffer.get_size())
    return np.frombuffer(data, np.uint8).reshape(height, width, 4).copy()


def quote(text):
    """A value in a line of gst-launch-1.0."""
    return '"' + text.replace('\\', '\\\\').replace('"', '\\"') + '"'


def fail(pipeline, line):
    message = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
    raise RuntimeError(f'{line}: {message.parse_error().gerror.message if message else "no frame came"}')


def seek(pipeline, start):
    pipeline.set_state(Gst.State.PAUSED)
    pipeline.get_state(PATIENCE)
    pipeline.seek_simple(Gst.Format.TIME, Gst.SeekFlags.FLUSH, start)


def read_samples(line, sample=None, start=0):
    """Yields the samples that a pipeline makes, out of the given one where there is one, from a time on."""
    head = 'appsrc name=in format=time ! ' if sample else ''
    pipeline = Gst.parse_launch(f'{head}{line} ! appsink name=out sync=false max-buffers=4')
    sink = pipeline.get_by_name('out')
    try:
        if start:
            seek(pipeline, start)
        pipeline.set_state(Gst.State.PLAYING)
        if sample:
            source = pipeline.get_by_name('in')
            source.push_sample(sample)
            source.end_of_stream()
        found = sink.try_pull_sample(PATIENCE)
        if not found:
            fail(pipeline, line)
        while found:
            yield found
            found = sink.try_pull_sample(PATIENCE)
    finally:
        pipeline.set_state(Gst.State.NULL)


def read_pictures(line, sample=None, start=0):
    for found in read_samples(f'{line} ! videoconvert dither=none ! {PICTURE},pixel-aspect-ratio=1/1', sample, start):
        yield to_picture(found)


def make_picture(line, sample=None):
    """The last one of the pipeline."""
    return list(read_pictures(line, sample))[-1]


def has_element(name):
    return Gst.ElementFactory.find(name) is not None


class Element:
    """mllamacaption in a pipeline of its own. Questions of a frame are set as the frame arrives at the element, in its own
    thread, so each frame may have others."""

    def __init__(self, model=None, device='auto', dtype='auto', max_tokens=64, max_in_flight=0):
        self.pipeline = Gst.parse_launch('appsrc name=in format=time block=true max-buffers=4 max-bytes=0 ! '
                                         'mllamacaption name=c mode=archive interval=0 attach-meta=false ! '
                                         'fakesink sync=false')
        self.source, self.caption = self.pipeline.get_by_name('in'), self.pipeline.get_by_name('c')
        settings = {'device': device, 'dtype': dtype, 'max-tokens': max_tokens, 'max-in-flight': max_in_flight}
        if model:
            settings['model'] = str(model)
        for name, value in settings.items():
            Gst.util_set_object_arg(self.caption, name, str(value))
        self.caption.get_static_pad('sink').add_probe(Gst.PadProbeType.BUFFER, self.set_prompts)
        self.prompts = []  # of each frame pushed
        self.asked = None
        self.answers = []  # (frame's number, prompt, text, tokens)

    def set_prompts(self, _pad, info):
        prompts = self.prompts[info.get_buffer().pts // Gst.SECOND]
        if prompts != self.asked:
            Gst.util_set_object_arg(self.caption, 'prompts', '<' + ','.join(map(quote, prompts)) + '>')
            self.asked = prompts
        return Gst.PadProbeReturn.OK

    def read_message(self, message):
        if message.type == Gst.MessageType.ERROR:
            error, details = message.parse_error()
            raise RuntimeError(f'{error.message}\n{details}')
        structure = message.get_structure()
        if message.type == Gst.MessageType.ELEMENT and structure.get_name() == 'mllama-caption':
            error = structure.get_string('error')
            if error:
                raise RuntimeError(error)
            self.answers.append((structure.get_uint64('pts')[1] // Gst.SECOND, structure.get_string('prompt'),
                                 structure.get_string('text'), structure.get_uint('tokens')[1]))

    def read_messages(self):
        bus = self.pipeline.get_bus()
        message = bus.pop()
        while message:
            self.read_message(message)
            message = bus.pop()

    def start(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        self.read_messages()

    def push(self, sample, prompts):
        number = len(self.prompts)
        self.prompts.append(list(prompts))
        buffer = sample.get_buffer().copy()
        buffer.pts, buffer.duration = number * Gst.SECOND, Gst.SECOND
        self.source.push_sample(Gst.Sample.new(buffer, sample.get_caps(), None, None))
        self.read_messages()

    def finish(self):
        """Waits for every answer, and takes the pipeline down."""
        self.source.end_of_stream()
        bus = self.pipeline.get_bus()
        kinds = Gst.MessageType.ELEMENT | Gst.MessageType.ERROR | Gst.MessageType.EOS
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            message = bus.timed_pop_filtered(Gst.SECOND, kinds)
            if message and message.type == Gst.MessageType.EOS:
                break
            if message:
                self.read_message(message)
        else:
            raise RuntimeError('no end of stream within ten minutes')
        self.read_messages()

    def stop(self):
        self.pipeline.set_state(Gst.State.NULL)

    def ask(self, frames):
        """Sends (sample, prompts) after (sample, prompts) through; [{prompt: text}] of the frames."""
        try:
            self.start()
            for sample, prompts in frames:
                self.push(sample, prompts)
            self.finish()
        finally:
            self.stop()
        found = [{} for _ in self.prompts]
        for number, prompt, text, _ in self.answers:
            found[number][prompt] = text
        return found
