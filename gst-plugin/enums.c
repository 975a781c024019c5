/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "enums.h"

#define DEFINE_ENUM(Name, name, ...)                                                                                   \
  GType gst_mllama_caption_##name##_get_type (void)                                                                    \
  {                                                                                                                    \
    static gsize type = 0;                                                                                             \
    static const GEnumValue values[] = {__VA_ARGS__, {0, NULL, NULL}};                                                 \
    if (g_once_init_enter (&type))                                                                                     \
      g_once_init_leave (&type, g_enum_register_static ("GstMllamaCaption" Name, values));                             \
    return type;                                                                                                       \
  }

DEFINE_ENUM ("Mode", mode, {GST_MLLAMA_CAPTION_MODE_AUTO, "Live if the source is live, else archive", "auto"},
             {GST_MLLAMA_CAPTION_MODE_LIVE, "Video never waits; the newest chosen frame is captioned", "live"},
             {GST_MLLAMA_CAPTION_MODE_ARCHIVE, "Every chosen frame is captioned, in order", "archive"})

DEFINE_ENUM ("PromptFormat", prompt_format,
             {GST_MLLAMA_CAPTION_PROMPT_AUTO, "Chat if the checkpoint has a chat template", "auto"},
             {GST_MLLAMA_CAPTION_PROMPT_CHAT, "A user's message in the Llama 3.2 layout", "chat"},
             {GST_MLLAMA_CAPTION_PROMPT_RAW, "Tokenized as it stands; must hold the image mark", "raw"})

DEFINE_ENUM ("TextTimestamps", timestamps, {GST_MLLAMA_CAPTION_TIMESTAMPS_AUTO, "Arrival if live, else media", "auto"},
             {GST_MLLAMA_CAPTION_TIMESTAMPS_MEDIA, "The time of the frame", "media"},
             {GST_MLLAMA_CAPTION_TIMESTAMPS_ARRIVAL, "The time at which the caption exists", "arrival"})

DEFINE_ENUM ("OnError", on_error, {GST_MLLAMA_CAPTION_ON_ERROR_AUTO, "Warn if live, else stop", "auto"},
             {GST_MLLAMA_CAPTION_ON_ERROR_WARN, "Post a warning; video goes on", "warn"},
             {GST_MLLAMA_CAPTION_ON_ERROR_STOP, "Post an error and stop", "stop"})

DEFINE_ENUM ("Device", device, {MLLAMA_DEVICE_AUTO, "CUDA if it can be used, else the CPU", "auto"},
             {MLLAMA_DEVICE_CPU, "CPU", "cpu"}, {MLLAMA_DEVICE_CUDA, "NVIDIA GPU", "cuda"})

DEFINE_ENUM ("Dtype", dtype, {MLLAMA_DTYPE_AUTO, "What suits the device", "auto"},
             {MLLAMA_DTYPE_F32, "32-bit floats", "f32"}, {MLLAMA_DTYPE_BF16, "bfloat16", "bf16"})

DEFINE_ENUM ("Semantics", semantics, {MLLAMA_SEMANTICS_META, "What the weights were trained with", "meta"},
             {MLLAMA_SEMANTICS_TRANSFORMERS, "As Hugging Face transformers from 4.56 on", "transformers"})

void
gst_mllama_caption_enums_mark (void)
{
  gst_type_mark_as_plugin_api (gst_mllama_caption_mode_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_mllama_caption_prompt_format_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_mllama_caption_timestamps_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_mllama_caption_on_error_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_mllama_caption_device_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_mllama_caption_dtype_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_mllama_caption_semantics_get_type (), 0);
}
