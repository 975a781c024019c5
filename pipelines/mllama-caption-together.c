/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One prompt about several pictures, or about none: more than the element does, so the engine is asked directly. The
 * settings are still the element's properties. */
#include <math.h>
#include "mllama-caption-picture.h"
#include "mllama-caption.h"
#include "model.h"

/* What the command line says, in the engine's terms. */
typedef struct {
  char *model, *prompt;
  gint prompt_format; /* GstMllamaCaptionPromptFormat */
  MllamaSemantics semantics;
  guint max_image_tiles;
  MllamaModelSettings model_settings;
  MllamaGenerationSettings generation;
} Settings;

static void
clear_settings (Settings *settings)
{
  g_free (settings->model);
  g_free (settings->prompt);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Settings, clear_settings)

static void
read_settings (Settings *settings, GstElement *element)
{
  gint cuda_device, device, dtype, semantics;
  guint max_tokens;

  g_object_get (element, "model", &settings->model, "prompt", &settings->prompt, "prompt-format",
                &settings->prompt_format, "max-image-tiles", &settings->max_image_tiles, "device", &device, "dtype",
                &dtype, "semantics", &semantics, "cuda-device-id", &cuda_device, "max-tokens", &max_tokens,
                "temperature", &settings->generation.temperature, "top-k", &settings->generation.top_k, "top-p",
                &settings->generation.top_p, "seed", &settings->generation.seed, "repetition-penalty",
                &settings->generation.repetition_penalty, NULL);
  settings->generation.max_tokens = (gint) max_tokens;
  settings->semantics = (MllamaSemantics) semantics;
  settings->model_settings.device = (MllamaDevice) device;
  settings->model_settings.dtype = (MllamaDtype) dtype;
  settings->model_settings.cuda_device_plus_one = cuda_device + 1;
}

/* The model that the element would take, but without its tower if there is nothing to look at. */
static MllamaModel *
open_model (Settings *settings, gboolean text_only, GError **error)
{
  const GstMllamaCaptionSettings named = {.model = settings->model};
  g_autofree char *path = gst_mllama_caption_model_find (&named, error);

  settings->model_settings.text_only = text_only;
  g_autoptr (MllamaModel) model = path ? mllama_model_open (path, &settings->model_settings, error) : NULL;
  return model && mllama_model_load (model, NULL, error) ? g_steal_pointer (&model) : NULL;
}

static MllamaPrompt *
make_prompt (const Settings *settings, MllamaModel *model, const char *text, guint n_images, GError **error)
{
  switch (settings->prompt_format) {
  case GST_MLLAMA_CAPTION_PROMPT_RAW:
    return mllama_prompt_new_raw (model, text, -1, NULL, 0, error);
  case GST_MLLAMA_CAPTION_PROMPT_CHAT:
    return mllama_prompt_new_question (model, text, -1, n_images, error);
  default:
    return mllama_prompt_new_auto (model, text, -1, NULL, 0, n_images, error);
  }
}

/* States of each file, in order. */
static GPtrArray *
encode_files (const Settings *settings, MllamaModel *model, char **files, GError **error)
{
  g_autoptr (GPtrArray) states = g_ptr_array_new_with_free_func ((GDestroyNotify) mllama_states_unref);

  for (char **file = files; file && *file; file++) {
    g_autoptr (CaptionPicture) picture = caption_picture_new (*file, error);
    MllamaStates *encoded = picture ? mllama_model_encode (model, &picture->image, settings->semantics,
                                                           settings->max_image_tiles, NULL, error)
                                    : NULL;
    if (!encoded) {
      g_prefix_error (error, "%s: ", *file);
      return NULL;
    }
    g_ptr_array_add (states, encoded);
  }
  return g_steal_pointer (&states);
}

static double
get_confidence (const MllamaResult *result)
{
  double sum = 0;

  for (guint i = 0; i < result->n_ids; i++)
    sum += result->logprobs[i];
  return result->n_ids ? exp (sum / result->n_ids) : 0;
}

static void
write_result (CaptionOutput *output, const CaptionOptions *options, const char *prompt, GPtrArray *states,
              gboolean reused, const MllamaResult *result)
{
  Caption caption = {
      .files = (const char *const *) options->files,
      .n_files = states->len,
      .pts = GST_CLOCK_TIME_NONE,
      .stream_time = GST_CLOCK_TIME_NONE,
      .duration = GST_CLOCK_TIME_NONE,
      .text = result->text,
      .prompt = prompt,
      .finish_reason = mllama_finish_reason_to_string (result->finish_reason),
      .confidence = get_confidence (result),
      .n_ids = result->n_ids,
      .ids = result->ids,
      .logprobs = result->logprobs,
      .states_reused = reused,
      .queue_ns = result->queue_ns,
      .prefill_ns = result->prefill_ns,
      .decode_ns = result->decode_ns,
  };

  for (guint i = 0; i < states->len; i++) {
    caption.queue_ns += mllama_states_get_queue_ns (g_ptr_array_index (states, i));
    caption.encode_ns += mllama_states_get_encode_ns (g_ptr_array_index (states, i));
  }
  caption.latency_ns = caption.queue_ns + caption.encode_ns + caption.prefill_ns + caption.decode_ns;
  caption_output_write (output, &caption);
}

static gboolean
answer_prompt (const Settings *settings, const CaptionOptions *options, CaptionOutput *output, MllamaModel *model,
               GPtrArray *states, const char *text, gboolean reused, GError **error)
{
  g_autoptr (MllamaPrompt) prompt = make_prompt (settings, model, text, states->len, error);

  if (!prompt)
    return FALSE;
  g_autoptr (MllamaGeneration) answer = mllama_model_generate (model, prompt, (MllamaStates *const *) states->pdata,
                                                               states->len, &settings->generation, error);
  if (!answer)
    return FALSE;
  write_result (output, options, text, states, reused, mllama_generation_get_result (answer));
  return TRUE;
}

gboolean
caption_together_run (const CaptionOptions *options, CaptionOutput *output, GError **error)
{
  g_auto (Settings) settings = {0};

  read_settings (&settings, options->element);
  g_autoptr (MllamaModel) model = open_model (&settings, !options->files, error);
  g_autoptr (GPtrArray) states = model ? encode_files (&settings, model, options->files, error) : NULL;
  if (!states)
    return FALSE;
  char *defaults[] = {settings.prompt, NULL};
  char **prompts = options->prompts ? options->prompts : defaults;
  for (guint i = 0; prompts[i]; i++)
    if (!answer_prompt (&settings, options, output, model, states, prompts[i], i > 0 && states->len > 0, error))
      return FALSE;
  return TRUE;
}
