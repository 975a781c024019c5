/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "settings.h"

#define READY   (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY)
#define PLAYING (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING)

/* The field of each property, in the order of their ids. */
static const gsize field_offsets[] = {
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, model),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, device),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, cuda_device_id),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, dtype),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, semantics),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, mode),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, prompt),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, prompts),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, prompt_format),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, interval),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, max_interval),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, scene_threshold),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, max_image_tiles),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, max_tokens),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, temperature),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, top_k),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, top_p),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, seed),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, repetition_penalty),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, text_timestamps),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, latency),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, eos_timeout),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, idle_timeout),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, max_in_flight),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, partial_results),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, post_messages),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, attach_meta),
    G_STRUCT_OFFSET (GstMllamaCaptionSettings, on_error),
};

static void
install_model_properties (GObjectClass *klass, guint *id)
{
  g_object_class_install_property (
      klass, ++*id,
      g_param_spec_string ("model", "Model",
                           "Directory of a Mllama checkpoint, or a Hugging Face id found in the local cache "
                           "(NULL = the small default model)",
                           NULL, READY));
  g_object_class_install_property (klass, ++*id,
                                   g_param_spec_enum ("device", "Device", "Where the model runs",
                                                      gst_mllama_caption_device_get_type (), MLLAMA_DEVICE_AUTO,
                                                      READY));
  g_object_class_install_property (
      klass, ++*id,
      g_param_spec_int ("cuda-device-id", "CUDA device", "Number of the GPU (-1 = any)", -1, G_MAXINT - 1, -1, READY));
  g_object_class_install_property (klass, ++*id,
                                   g_param_spec_enum ("dtype", "Data type", "Numbers the model computes with",
                                                      gst_mllama_caption_dtype_get_type (), MLLAMA_DTYPE_AUTO, READY));
  g_object_class_install_property (
      klass, ++*id,
      g_param_spec_enum ("semantics", "Semantics", "Which published implementation of Mllama to agree with",
                         gst_mllama_caption_semantics_get_type (), MLLAMA_SEMANTICS_META, READY));
  g_object_class_install_property (klass, ++*id,
                                   g_param_spec_enum ("mode", "Mode", "Whether video or captions take precedence",
                                                      gst_mllama_caption_mode_get_type (), GST_MLLAMA_CAPTION_MODE_AUTO,
                                                      READY));
}

static void
install_prompt_properties (GObjectClass *klass, guint *id)
{
  g_object_class_install_property (
      klass, ++*id,
      g_param_spec_string ("prompt", "Prompt",
                           "What is asked about a frame; {pts}, {wallclock} and {previous} (caption) are filled in",
                           "Describe the scene in one short sentence.", PLAYING));
  g_object_class_install_property (
      klass, ++*id,
      gst_param_spec_array (
          "prompts", "Prompts", "Several questions about each frame, in place of prompt, when no text pad is requested",
          g_param_spec_string ("prompt", "Prompt", "One question", NULL, G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS),
          PLAYING));
  g_object_class_install_property (klass, ++*id,
                                   g_param_spec_enum ("prompt-format", "Prompt format", "How a prompt becomes tokens",
                                                      gst_mllama_caption_prompt_format_get_type (),
                                                      GST_MLLAMA_CAPTION_PROMPT_AUTO, PLAYING));
}

static void
install_choice_properties (GObjectClass *klass, guint *id)
{
  g_object_class_install_property (klass, ++*id,
                                   g_param_spec_uint64 ("interval", "Interval",
                                                        "Stream time between captioned frames in ns (0 = every frame)",
                                                        0, G_MAXINT64, GST_SECOND, PLAYING));
  g_object_class_install_property (
      klass, ++*id,
      g_param_spec_uint64 ("max-interval", "Maximum interval",
                           "A frame is captioned after this time in ns though the scene is unchanged (-1 = never)", 0,
                           G_MAXUINT64, GST_CLOCK_TIME_NONE, PLAYING));
  g_object_class_install_property (
      klass, ++*id,
      g_param_spec_double ("scene-threshold", "Scene threshold",
                           "Mean difference of brightness from the last captioned frame (64x36 cells, 0 = same, 1 = "
                           "black to white) below which the scene is unchanged (0 = off)",
                           0, 1, 0, PLAYING | GST_PARAM_CONTROLLABLE));
  g_object_class_install_property (klass, ++*id,
                                   g_param_spec_uint ("max-image-tiles", "Maximum image tiles",
                                                      "Tiles a frame is cut into at most (0 = the checkpoint's number)",
                                                      0, 4, 0, PLAYING));
}

static void
install_sampling_properties (GObjectClass *klass, guint *id)
{
  g_object_class_install_property (
      klass, ++*id,
      g_param_spec_uint ("max-tokens", "Maximum tokens", "Tokens of a caption at most", 1, 2048, 64, PLAYING));
  g_object_class_install_property (klass, ++*id,
                                   g_param_spec_double ("temperature", "Temperature",
                                                        "Randomness of the choice of tokens (0 = greedy)", 0, 10, 0,
                                                        PLAYING));
  g_object_class_install_property (
      klass, ++*id,
      g_param_spec_uint ("top-k", "Top k", "Choose among the k likeliest tokens (0 = all)", 0, G_MAXINT, 0, PLAYING));
  g_object_class_install_property (
      klass, ++*id,
      g_param_spec_double ("top-p", "Top p",
                           "Choose among the likeliest tokens with this probability together (1 = all)", 0, 1, 1,
                           PLAYING));
  g_object_class_install_property (
      klass, ++*id, g_param_spec_uint64 ("seed", "Seed", "Seed of random choices", 0, G_MAXUINT64, 0, PLAYING));
  g_object_class_install_property (klass, ++*id,
                                   g_param_spec_double ("repetition-penalty", "Repetition penalty",
                                                        "Divisor for scores of tokens said before (1 = off)", 0.01, 100,
                                                        1, PLAYING));
}

static void
install_time_properties (GObjectClass *klass, guint *id)
{
  g_object_class_install_property (
      klass, ++*id,
      g_param_spec_enum ("text-timestamps", "Text timestamps", "Which time captions on text pads carry",
                         gst_mllama_caption_timestamps_get_type (), GST_MLLAMA_CAPTION_TIMESTAMPS_AUTO, READY));
  g_object_class_install_property (klass, ++*id,
                                   g_param_spec_uint64 ("latency", "Latency",
                                                        "Latency in ns that text pads report with media timestamps", 0,
                                                        G_MAXINT64, 0, PLAYING));
  g_object_class_install_property (
      klass, ++*id,
      g_param_spec_uint64 ("eos-timeout", "EOS timeout",
                           "Longest wait in ns for running captions at the end of a live stream (-1 = no limit); an "
                           "archive always waits",
                           0, G_MAXUINT64, 10 * GST_SECOND, PLAYING));
  g_object_class_install_property (
      klass, ++*id,
      g_param_spec_uint64 ("idle-timeout", "Idle timeout",
                           "The model is unloaded after so many ns without a question (-1 = never)", 0, G_MAXUINT64,
                           GST_CLOCK_TIME_NONE, PLAYING));
  g_object_class_install_property (
      klass, ++*id,
      g_param_spec_uint ("max-in-flight", "Maximum in flight",
                         "Frames in work at once (0 = auto: in an archive 1 with attach-meta, else 8; live 1). With "
                         "more than 1 the metadata of a caption is attached to the next frame",
                         0, 32, 0, READY));
}

static void
install_report_properties (GObjectClass *klass, guint *id)
{
  g_object_class_install_property (klass, ++*id,
                                   g_param_spec_boolean ("partial-results", "Partial results",
                                                         "Report each new word of a caption while it is made", FALSE,
                                                         PLAYING));
  g_object_class_install_property (klass, ++*id,
                                   g_param_spec_boolean ("post-messages", "Post messages",
                                                         "Post an element message mllama-caption for each caption",
                                                         TRUE, PLAYING));
  g_object_class_install_property (klass, ++*id,
                                   g_param_spec_boolean ("attach-meta", "Attach metadata",
                                                         "Attach a GstCustomMeta mllama-caption to video buffers", TRUE,
                                                         PLAYING));
  g_object_class_install_property (
      klass, ++*id,
      g_param_spec_enum ("on-error", "On error", "What happens when a frame cannot be captioned",
                         gst_mllama_caption_on_error_get_type (), GST_MLLAMA_CAPTION_ON_ERROR_AUTO, PLAYING));
}

guint
gst_mllama_caption_settings_install (GObjectClass *klass)
{
  guint id = 0;

  install_model_properties (klass, &id);
  install_prompt_properties (klass, &id);
  install_choice_properties (klass, &id);
  install_sampling_properties (klass, &id);
  install_time_properties (klass, &id);
  install_report_properties (klass, &id);
  g_assert (id == G_N_ELEMENTS (field_offsets));
  return id;
}

void
gst_mllama_caption_settings_init (GstMllamaCaptionSettings *settings, GObjectClass *klass)
{
  guint n = 0;
  g_autofree GParamSpec **specs = g_object_class_list_properties (klass, &n);

  memset (settings, 0, sizeof *settings);
  for (guint i = 0; i < n; i++) {
    const GValue *value = g_param_spec_get_default_value (specs[i]);
    if (specs[i]->owner_type == G_OBJECT_CLASS_TYPE (klass))
      gst_mllama_caption_settings_set (settings, specs[i]->param_id, value);
  }
}

void
gst_mllama_caption_settings_clear (GstMllamaCaptionSettings *settings)
{
  g_clear_pointer (&settings->model, g_free);
  g_clear_pointer (&settings->prompt, g_free);
  g_clear_pointer (&settings->prompts, g_strfreev);
}

void
gst_mllama_caption_settings_copy (GstMllamaCaptionSettings *to, const GstMllamaCaptionSettings *from)
{
  *to = *from;
  to->model = g_strdup (from->model);
  to->prompt = g_strdup (from->prompt);
  to->prompts = g_strdupv (from->prompts);
}

static char **
read_strings (const GValue *array)
{
  guint n = gst_value_array_get_size (array);
  g_autoptr (GPtrArray) strings = g_ptr_array_new ();

  for (guint i = 0; i < n; i++)
    g_ptr_array_add (strings, g_strdup (g_value_get_string (gst_value_array_get_value (array, i))));
  g_ptr_array_add (strings, NULL);
  return (char **) g_ptr_array_free (g_steal_pointer (&strings), FALSE);
}

static void
write_strings (GValue *array, char **strings)
{
  for (guint i = 0; strings && strings[i]; i++) {
    GValue string = G_VALUE_INIT;
    g_value_init (&string, G_TYPE_STRING);
    g_value_set_string (&string, strings[i]);
    gst_value_array_append_and_take_value (array, &string);
  }
}

static void
replace_string (char **field, char *string)
{
  g_free (*field);
  *field = string;
}

gboolean
gst_mllama_caption_settings_set (GstMllamaCaptionSettings *settings, guint id, const GValue *value)
{
  if (id == 0 || id > G_N_ELEMENTS (field_offsets))
    return FALSE;
  gpointer field = G_STRUCT_MEMBER_P (settings, field_offsets[id - 1]);
  if (GST_VALUE_HOLDS_ARRAY (value)) {
    g_strfreev (settings->prompts);
    settings->prompts = read_strings (value);
  } else if (G_VALUE_HOLDS_STRING (value)) {
    replace_string (field, g_value_dup_string (value));
  } else if (G_VALUE_HOLDS_ENUM (value)) {
    *(gint *) field = g_value_get_enum (value);
  } else if (G_VALUE_HOLDS_BOOLEAN (value)) {
    *(gboolean *) field = g_value_get_boolean (value);
  } else if (G_VALUE_HOLDS_INT (value)) {
    *(gint *) field = g_value_get_int (value);
  } else if (G_VALUE_HOLDS_UINT (value)) {
    *(guint *) field = g_value_get_uint (value);
  } else if (G_VALUE_HOLDS_UINT64 (value)) {
    *(guint64 *) field = g_value_get_uint64 (value);
  } else {
    *(double *) field = g_value_get_double (value);
  }
  return TRUE;
}

gboolean
gst_mllama_caption_settings_get (const GstMllamaCaptionSettings *settings, guint id, GValue *value)
{
  if (id == 0 || id > G_N_ELEMENTS (field_offsets))
    return FALSE;
  gconstpointer field = G_STRUCT_MEMBER_P (settings, field_offsets[id - 1]);
  if (GST_VALUE_HOLDS_ARRAY (value))
    write_strings (value, settings->prompts);
  else if (G_VALUE_HOLDS_STRING (value))
    g_value_set_string (value, *(char *const *) field);
  else if (G_VALUE_HOLDS_ENUM (value))
    g_value_set_enum (value, *(const gint *) field);
  else if (G_VALUE_HOLDS_BOOLEAN (value))
    g_value_set_boolean (value, *(const gboolean *) field);
  else if (G_VALUE_HOLDS_INT (value))
    g_value_set_int (value, *(const gint *) field);
  else if (G_VALUE_HOLDS_UINT (value))
    g_value_set_uint (value, *(const guint *) field);
  else if (G_VALUE_HOLDS_UINT64 (value))
    g_value_set_uint64 (value, *(const guint64 *) field);
  else
    g_value_set_double (value, *(const double *) field);
  return TRUE;
}
