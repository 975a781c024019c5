/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "subject.h"

/* Some one to a pass, some of several, some of which take more than a page. */
static const guint lengths[] = {17, 64, 5, 65, 31, 100, 48, 130, 2};

static guint n_reports, n_failed;

MllamaModel *
subject_open_model (const char *path, const char *device, const char *dtype)
{
  MllamaModelSettings settings = {
      .device = g_str_equal (device, "cuda") ? MLLAMA_DEVICE_CUDA : MLLAMA_DEVICE_CPU,
      .dtype = g_str_equal (dtype, "bf16") ? MLLAMA_DTYPE_BF16 : MLLAMA_DTYPE_F32,
  };
  g_autoptr (GError) error = NULL;
  MllamaModel *model = mllama_model_open (path, &settings, &error);

  if (!model || !mllama_model_load (model, NULL, &error))
    g_error ("%s: %s", path, error->message);
  return model;
}

static void
make_picture (Subject *subject, GRand *random, const MllamaAspectRatio *ratio)
{
  guint size = mllama_model_get_config (subject->model)->vision.image_size;
  guint width = ratio->n_columns * size, height = ratio->n_rows * size;
  gsize n_bytes = (gsize) width * height * 3;
  guint slope = g_rand_int_range (random, 1, 5);

  subject->pixels = g_malloc (n_bytes);
  for (gsize i = 0; i < n_bytes; i++)
    subject->pixels[i] = (slope * (i / 3 % width) + i / 3 / width + (g_rand_int (random) & 127)) & 255;
  subject->image = (MllamaImage){.format = MLLAMA_FORMAT_RGB,
                                 .width = width,
                                 .height = height,
                                 .planes = {subject->pixels},
                                 .strides = {(gsize) width * 3}};
}

static void
make_prompt (Subject *subject, GRand *random, guint n_ids)
{
  const MllamaConfig *config = mllama_model_get_config (subject->model);
  g_autofree guint32 *ids = g_new (guint32, n_ids);
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < n_ids; i++) {
    do
      ids[i] = g_rand_int_range (random, 0, config->text.vocab_size);
    while (ids[i] == config->image_token_id);
  }
  /* Some tokens before the mark, which see no picture. */
  if (subject->pixels)
    ids[n_ids > 10 ? 3 : 0] = config->image_token_id;
  subject->prompt = mllama_prompt_new_from_ids (subject->model, ids, n_ids, &error);
  if (!subject->prompt)
    g_error ("%s", error->message);
}

Subject *
subject_new (MllamaModel *model, guint number)
{
  const MllamaVisionConfig *vision = &mllama_model_get_config (model)->vision;
  g_autoptr (GRand) random = g_rand_new_with_seed (number);
  Subject *subject = g_new0 (Subject, 1);

  subject->model = model;
  if (number % 5 != 4)
    make_picture (subject, random, &vision->aspect_ratios[number % vision->n_aspect_ratios]);
  make_prompt (subject, random, lengths[number % G_N_ELEMENTS (lengths)]);
  subject->settings = (MllamaGenerationSettings){.max_tokens = 12 + number % 13, .ignore_eos = TRUE, .seed = number};
  if (number % 3 == 1)
    subject->settings.temperature = 0.8;
  if (number % 6 == 1)
    subject->settings.top_p = 0.9;
  if (number % 4 == 2)
    subject->settings.repetition_penalty = 1.2;
  return subject;
}

void
subject_free (Subject *subject)
{
  if (!subject)
    return;
  g_clear_pointer (&subject->states, mllama_states_unref);
  g_clear_pointer (&subject->prompt, mllama_prompt_unref);
  g_free (subject->pixels);
  g_free (subject);
}

void
subject_encode (Subject *subject)
{
  g_autoptr (GError) error = NULL;

  g_clear_pointer (&subject->states, mllama_states_unref);
  if (!subject->pixels)
    return;
  subject->states = mllama_model_encode (subject->model, &subject->image, MLLAMA_SEMANTICS_META, 0, NULL, &error);
  if (!subject->states)
    g_error ("%s", error->message);
}

MllamaGeneration *
subject_start (const Subject *subject)
{
  g_autoptr (GError) error = NULL;
  MllamaGeneration *answer = mllama_model_generate_async (subject->model, subject->prompt, &subject->states,
                                                          subject->states ? 1 : 0, &subject->settings, &error);

  if (!answer)
    g_error ("%s", error->message);
  return answer;
}

void
subject_report (gboolean is_ok, const char *format, ...)
{
  g_autofree char *name = NULL;
  va_list args;

  va_start (args, format);
  name = g_strdup_vprintf (format, args);
  va_end (args);
  n_reports++;
  n_failed += !is_ok;
  g_print ("%s %u %s\n", is_ok ? "ok" : "not ok", n_reports, name);
}

int
subject_finish (void)
{
  g_print ("1..%u\n", n_reports);
  return n_failed > 0;
}
