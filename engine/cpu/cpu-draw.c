/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Drawing ids, and what is remembered of a slot from draw to draw. */
#include "cpu.h"

#include <string.h>

/* One sampler and one array of histories for logits of one width: a model has no other. */
static void
prepare (MllamaCpuDrawing *drawing, gsize n_logits)
{
  if (drawing->sampler && drawing->n_logits == n_logits)
    return;
  mllama_cpu_drawing_clear (drawing);
  drawing->n_logits = n_logits;
  drawing->sampler = mllama_sampler_new (n_logits);
  drawing->history = g_new0 (guint32, MLLAMA_MAX_ROWS * mllama_history_get_words (n_logits));
}

static guint32 *
get_history (const MllamaCpuDrawing *drawing, guint slot)
{
  return drawing->history + slot * mllama_history_get_words (drawing->n_logits);
}

static void
start_slot (MllamaCpuDrawing *drawing, const MllamaSampling *sampling)
{
  guint32 *history = get_history (drawing, sampling->slot);

  drawing->is_done[sampling->slot] = FALSE;
  memset (history, 0, mllama_history_get_words (drawing->n_logits) * sizeof *history);
  for (gsize i = 0; i < sampling->n_prompt; i++)
    mllama_history_add (history, drawing->n_logits, sampling->prompt[i]);
}

static gboolean
is_stop_id (const MllamaSampling *sampling, guint32 id)
{
  for (guint i = 0; i < sampling->n_stop_ids; i++)
    if (sampling->stop_ids[i] == id)
      return TRUE;
  return FALSE;
}

static MllamaSample
draw_one (MllamaCpuDrawing *drawing, const float *logits, const MllamaSampling *sampling)
{
  guint slot = sampling->slot;
  guint32 *history;
  MllamaSample sample;

  if (sampling->prompt)
    start_slot (drawing, sampling);
  if (drawing->is_done[slot])
    return (MllamaSample){.is_done = TRUE};
  history = get_history (drawing, slot);
  sample = mllama_sampler_draw (drawing->sampler, logits, sampling, history);
  if (sample.finite) {
    drawing->drawn[slot] = sample.id;
    drawing->is_done[slot] = is_stop_id (sampling, sample.id);
    mllama_history_add (history, drawing->n_logits, sample.id);
  }
  return sample;
}

void
mllama_cpu_draw (MllamaBackend *be, const MllamaTensor *logits, const MllamaPass *pass)
{
  MllamaCpuDrawing *drawing = &mllama_cpu_backend (be)->drawing;

  prepare (drawing, logits->width);
  for (guint i = 0; i < pass->n_outputs; i++)
    drawing->samples[i] = draw_one (drawing, mllama_cpu_tensor_row (logits, i), &pass->sampling[i]);
  drawing->n_samples = pass->n_outputs;
}

gboolean
mllama_cpu_samples_read (MllamaBackend *be, MllamaSample *samples, GError **error)
{
  MllamaCpuDrawing *drawing = &mllama_cpu_backend (be)->drawing;

  memcpy (samples, drawing->samples, drawing->n_samples * sizeof *samples);
  drawing->n_samples = 0;
  return TRUE;
}

void
mllama_cpu_drawing_clear (MllamaCpuDrawing *drawing)
{
  mllama_sampler_free (drawing->sampler);
  drawing->sampler = NULL;
  g_clear_pointer (&drawing->history, g_free);
}
