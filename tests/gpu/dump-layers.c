/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* dump-layers MODEL DEVICE DTYPE DIR: layers one by one. For each layer DIR/KIND-NUMBER.in holds the rows that enter
 * it, and DIR/KIND-NUMBER.out gets those that leave; KIND is local, global, self or cross. DIR/states.in holds what the
 * cross layers look at. The case in DIR (case-files.h) says which picture and prompt the rows belong to. */
#include <string.h>

#include "case-files.h"
#include "model-private.h"
#include "states-private.h"

typedef struct {
  Case *item;
  GError *error;
} Lesson;

static gboolean
has_input (const Lesson *lesson, const char *name)
{
  g_autofree char *path = g_strdup_printf ("%s/%s.in", lesson->item->dir, name);

  return g_file_test (path, G_FILE_TEST_EXISTS);
}

/* --- the tower --- */

static gboolean
run_tower_layer (Lesson *lesson, MllamaRuntime *runtime, guint layer, const char *name)
{
  const MllamaBackendOps *ops = runtime->backend->ops;
  const MllamaPixels *pixels = lesson->item->pixels;
  MllamaVisionImage image = {NULL, pixels->aspect_ratio_id, pixels->n_tiles};
  gsize n_values = 0, width = runtime->checkpoint->config->vision.hidden_size;
  g_autofree float *values = case_read (lesson->item->dir, name, "in", &n_values, &lesson->error);
  MllamaTensor *x =
      values ? ops->tensor_new (runtime->backend, MLLAMA_TENSOR_ACT, n_values / width, width, &lesson->error) : NULL;
  gboolean is_done = x && ops->tensor_write (runtime->backend, x, 0, n_values / width, values, &lesson->error) &&
                     mllama_vision_run_layer (runtime->vision, &image, layer, x, &lesson->error) &&
                     ops->tensor_read (runtime->backend, x, 0, n_values / width, values, &lesson->error) &&
                     case_write (lesson->item->dir, name, "out", values, n_values, &lesson->error);

  if (x)
    ops->tensor_free (runtime->backend, x);
  return is_done;
}

static gboolean
run_tower (Lesson *lesson, MllamaRuntime *runtime)
{
  const MllamaVisionConfig *config = &runtime->checkpoint->config->vision;

  for (guint i = 0; i < config->n_layers + config->n_global_layers; i++) {
    gboolean is_local = i < config->n_layers;
    g_autofree char *name =
        g_strdup_printf ("%s-%02u", is_local ? "local" : "global", is_local ? i : i - config->n_layers);
    if (has_input (lesson, name) && !run_tower_layer (lesson, runtime, i, name))
      return FALSE;
  }
  return TRUE;
}

/* --- the text model --- */

/* Keys and values of the picture's states are made again, from what the lesson says the projector gave. */
static gboolean
refill_states (Lesson *lesson, MllamaRuntime *runtime)
{
  const MllamaBackendOps *ops = runtime->backend->ops;
  MllamaStates *states = lesson->item->states;
  gsize width = runtime->checkpoint->config->text.hidden_size, n_keys = states->n_seen_keys + states->n_blank_keys;
  gsize n_values = n_keys * width;
  g_autofree float *values = case_read (lesson->item->dir, "states", "in", &n_values, &lesson->error);
  MllamaTensor *y =
      values ? ops->tensor_new (runtime->backend, MLLAMA_TENSOR_ACT, n_keys, width, &lesson->error) : NULL;
  gboolean is_done = y && ops->tensor_write (runtime->backend, y, 0, n_keys, values, &lesson->error);

  if (is_done) {
    mllama_decoder_fill_slab (runtime->decoder, states->slab, y, 0);
    is_done = ops->wait (runtime->backend, &lesson->error);
  }
  if (y)
    ops->tensor_free (runtime->backend, y);
  return is_done;
}

static gboolean
run_text_layer (Lesson *lesson, MllamaRuntime *runtime, MllamaTextRow *row, guint layer, const char *name)
{
  gsize n_ids, n_values;
  const guint32 *ids = mllama_prompt_get_ids (lesson->item->prompt, &n_ids);
  MllamaPassKind kind = n_ids <= MLLAMA_MAX_ROWS ? MLLAMA_PASS_FEW : MLLAMA_PASS_MANY;
  g_autofree float *values = NULL;

  n_values = n_ids * runtime->checkpoint->config->text.hidden_size;
  if (!(values = case_read (lesson->item->dir, name, "in", &n_values, &lesson->error)))
    return FALSE;
  row->n_done = 0;
  mllama_pass_builder_begin (&runtime->pass, kind, FALSE, runtime->kv);
  mllama_pass_builder_add (&runtime->pass, row, ids, n_ids);
  return mllama_decoder_run_layer (runtime->decoder, layer, mllama_pass_builder_end (&runtime->pass), values,
                                   &lesson->error) &&
         case_write (lesson->item->dir, name, "out", values, n_values, &lesson->error);
}

static gboolean
run_text (Lesson *lesson, MllamaRuntime *runtime, MllamaTextRow *row)
{
  const MllamaTextWeights *text = &runtime->weights->text;

  for (guint i = 0; i < runtime->checkpoint->config->text.n_layers; i++) {
    g_autofree char *name = g_strdup_printf ("%s-%02u", text->layers[i].is_cross ? "cross" : "self", i);
    if (has_input (lesson, name) && !run_text_layer (lesson, runtime, row, i, name))
      return FALSE;
  }
  return TRUE;
}

/* On the model's thread. */
static void
run_lesson (MllamaRuntime *runtime, gpointer *data, guint n_data)
{
  Lesson *lesson = data[0];
  MllamaTextRow row;

  mllama_text_row_init (&row, lesson->item->prompt, &lesson->item->states, 1);
  if (!mllama_text_row_take_pages (&row, runtime->pages, mllama_text_row_count_pages (row.n_prompt)))
    g_set_error (&lesson->error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY, "no pages for %u tokens", row.n_prompt);
  else if (mllama_runtime_commit_pages (runtime, &row, &lesson->error) && run_tower (lesson, runtime) &&
           refill_states (lesson, runtime))
    run_text (lesson, runtime, &row);
  mllama_text_row_give_pages (&row, runtime->pages);
  mllama_text_row_clear (&row);
}

static gboolean
dump_all (char **arguments, GError **error)
{
  g_autoptr (MllamaModel) model = case_open_model (arguments[0], arguments[1], arguments[2], error);
  g_auto (GStrv) lines = model ? case_list (arguments[3], error) : NULL;
  g_autoptr (Case) item = lines ? case_new (model, arguments[3], lines[0], error) : NULL;
  Lesson lesson = {.item = item};
  MllamaScheduler *scheduler = item ? mllama_model_get_scheduler (model, error) : NULL;

  if (!scheduler)
    return FALSE;
  mllama_scheduler_run (scheduler, run_lesson, 1, &lesson);
  if (lesson.error)
    g_propagate_error (error, lesson.error);
  return !lesson.error;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;

  if (argc != 5) {
    g_printerr ("dump-layers MODEL DEVICE DTYPE DIR\n");
    return 2;
  }
  if (dump_all (argv + 1, &error))
    return 0;
  g_printerr ("dump-layers: %s\n", error->message);
  return 1;
}
