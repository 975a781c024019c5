# SPDX-License-Identifier: LGPL-2.1-or-later
"""Features of captioning elements: which of our test cases prove one, and what other elements do.

What others do was read in their sources, at the versions in OTHERS, and is written down here by hand: y yes, p partly,
n no, - not applicable, ? not known. What ours does is nowhere written down: matrix.py takes it from test results. A
feature without a test of ours is one we do not have.
"""

# (element, what it is, where it was read)
OTHERS = [
    ('nvvllmvlm', 'NVIDIA DeepStream 9.1', 'NVIDIA/DeepStream 581889d, src/apps/reference_apps/deepstream-vllm-plugin'),
    ('gvagenai', 'Intel DL Streamer', 'open-edge-platform/dlstreamer 15423aaa, src/monolithic/gst/elements/gvagenai'),
    ('llamacpp-imagetransform', 'GStreamer, plugins-rs 0.16',
     'gst-plugins-rs afb0f920d, text/llamacpp (its text sibling), and the documentation'),
    ('pyml_caption', 'gst-python-ml', 'collabora/gst-python-ml 03381df8, plugins/python'),
    ('geminivision', 'GstGeminiVision', 'Armaggheddon/GstGeminiVision 3b340ab8, gst-gemini-plugin/src'),
    ('whispertranscriber', 'GStreamer, plugins-rs; of sound', 'gst-plugins-rs afb0f920d, audio/whisper/src/transcriber'),
]

# (feature, patterns of test cases that all have to exist and to pass, the others in the order of OTHERS)
FEATURES = [
    ('use from gst-launch-1.0 alone', ['/readme/every_line_runs_as_printed', '/media/posts_captions_on_the_bus'], 'n y p y p y'),
    ('gst-inspect-1.0 without GPU and model', ['/plugin/*without_a_model', '/plugin/*fresh_registry'], 'n y y p y y'),
    ('video passes through', ['/flow/the_memory_that_goes_in_comes_out', '/formats/odd_sizes_pass_in_every_format'], 'y y n y y -'),
    ('every raw video format', ['/formats/*', '/pictures/every_raw_format_is_captioned'], 'n n ? n n -'),
    ('strides and offsets of GstVideoMeta honoured',
     ['/pictures/strides_and_crop_come_from_the_metas', '/formats/padded_lines_pass_in_every_format'], 'y y - p p -'),
    ('crop, pixel aspect ratio and orientation honoured',
     ['/formats/a_crop_is_seen_in_every_format', '/pictures/pixels_are_made_square', '/pictures/an_orientation_tag*'],
     '? ? ? ? ? -'),
    ('frames of CUDA memory without download', ['/cuda-memory/frames_stay_in_cuda_memory*'], 'p n n n n n'),
    ('live video never waits for the model', ['/live/no_frame_waits_for_the_model', '/live/a_slow_model_does_not*'], 'y n n n y y'),
    ('newest frame kept, dropped ones counted (QOS)', ['/live/qos_messages_count*', '/stats/replaced_frames_are_counted'],
     'p - - - p -'),
    ('archive mode that loses no frame', ['/archive/captions_every_frame*', '/eos/archive_waits*'], 'p y y y n y'),
    ('frames chosen by time, at variable rates too', ['/choosing/a_variable_rate*', '/choosing/due_times_do_not_drift'],
     'p n n n p -'),
    ('scene gate built in', ['/scene/a_cut_is_encoded*', '/scene/noise_below*'], 'n n n n n -'),
    ('triggered by events of other elements', ['/choosing/a_force_key_unit*', '/choosing/caption_now_chooses*'], 'n n n n n -'),
    ('several frames in one question', [], 'y y n n n -'),
    ('several questions about one encode', ['/questions/one_encode_a_frame*', '/scripts/two_questions_share_an_encode'],
     'n n n n n -'),
    ('streams answered together', ['/sharing/sixteen_streams*'], 'n n n p n n'),
    ('one model for all elements', ['/sharing/elements_with_the_same_model*'], '- n n n - n'),
    ('answers that do not depend on other streams', ['/sharing/ids_and_logprobs*', '/archive/words_do_not_depend_on_other*'],
     '? ? ? ? - ?'),
    ('prompt changed while playing', ['/questions/new_prompts_are_asked_at_once*', '/playing/a_pads_new_prompt*'], 'y y n p n -'),
    ('timed text pads', ['/subtitles/*', '/muxers/*reads_back*', '/overlays/*'], 'n n y y n y'),
    ('sparse text by GAP, muxers and sinks never hang', ['/flow/text_covers_video*', '/downstreams/a_live_stream_prerolls*'],
     'n n p n n y'),
    ('metadata on frames', ['/meta/captions_read_back_behind_all_three'], 'n y n y p n'),
    ('a GObject signal for each caption', ['/stats/keeps_statistics_and_the_last_caption'], 'y n n n y n'),
    ('messages on the bus', ['/messages/has_the_fields*'], 'n n n n n n'),
    ('LATENCY query', ['/live/latency_is_reported*'], 'n n n n n y'),
    ('end of stream after the last caption, in order', ['/eos/captions_then_text_then_video_end'], 'n n y y n y'),
    ('a flush cancels within one token', ['/cancel/a_flush_stops*', '/flush/nothing_stale*'], 'n n n n n y'),
    ('restart any number of times', ['/cancel/it_starts_a_hundred_times', '/leaks/test-states'], 'n y y p y y'),
    ('errors as messages, with a policy', ['/errors/each_value_of_on_error*', '/errors/no_lock_is_held*'], 'n p n n n y'),
    ('model loads beside the stream, with PROGRESS', ['/loading/progress_starts*', '/launch/live_video_is_shown*'], 'n ? n ? - ?'),
    ('statistics', ['/stats/has_every_field_with_its_type'], 'p y n n n n'),
    ('confidence of a caption', ['/messages/has_the_fields*'], 'n p n n n n'),
    ('runs Llama 3.2-Vision', ['/golden/one_picture_gives_the_ids_of_transformers', '/golden/*original_model'], 'n n n p n -'),
    ('tests that need no GPU', ['/sharing/*', '/messages/*'], 'n p n p n y'),
]
