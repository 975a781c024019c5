# SPDX-License-Identifier: LGPL-2.1-or-later
"""GStreamer as the one renderer: whatever is learnt here is drawn by the elements that will draw it in use."""

import gi

gi.require_version('Gst', '1.0')
gi.require_version('GstApp', '1.0')
from gi.repository import Gst, GstApp  # noqa: E402, F401 (GstApp gives appsink its methods)

import numpy as np  # noqa: E402

Gst.init(None)

CHANNELS = {'RGB': 3, 'RGBA': 4}


def pull_frame(sink, layout):
    """The next frame as uint8 [height][width][channels]; rows are padded to four bytes, so the padding is cut off."""
    sample = sink.try_pull_sample(20 * Gst.SECOND)
    if sample is None:
        raise RuntimeError('the pipeline gave no frame')
    caps = sample.get_caps().get_structure(0)
    width, height = caps.get_value('width'), caps.get_value('height')
    buffer = sample.get_buffer()
    data = np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.uint8)
    rows = data.reshape(height, -1)[:, :width * CHANNELS[layout]]
    return rows.reshape(height, width, CHANNELS[layout]).copy()


def render(description, layout='RGB', keep=(0,), **texts):
    """The frames numbered in keep of a pipeline. texts are {element: text}: set apart, so that nothing needs quoting."""
    pipeline = Gst.parse_launch(f'{description} ! videoconvert dither=none ! video/x-raw,format={layout} '
                                '! appsink name=sink sync=false max-buffers=1')
    for name, text in texts.items():
        pipeline.get_by_name(name).set_property('text', text)
    pipeline.set_state(Gst.State.PLAYING)
    try:
        frames = [pull_frame(pipeline.get_by_name('sink'), layout) for _ in range(max(keep) + 1)]
    except RuntimeError as error:
        message = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
        raise RuntimeError(f'{description}: {message.parse_error() if message else error}') from error
    finally:
        pipeline.set_state(Gst.State.NULL)
    return [frames[i] for i in keep]


def draw_text(text, font, width, height, background, options=''):
    """One frame of textoverlay over a plain background, uint8 [height][width][3]. Sizes are not fitted to the frame."""
    pattern = {0: 'black', 255: 'white'}[background]
    return render(f'videotestsrc pattern={pattern} num-buffers=1 ! video/x-raw,format=RGBA,width={width},height={height} '
                  f'! textoverlay name=words auto-resize=false font-desc="{font}" halignment=left valignment=position '
                  f'xpad=0 {options}', words=text)[0]
