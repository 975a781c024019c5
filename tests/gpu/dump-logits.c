/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* dump-logits [--unfolded] MODEL DEVICE DTYPE DIR: the logits of every token of the cases in DIR (case-files.h), each
 * to DIR/NAME.logits. --unfolded: unused tiles are computed one by one, as where their tables differ. */
#include <string.h>

#include "case-files.h"
#include "model-private.h"

/* No arrangement counts as one whose unused tiles are equal. */
static void
unfold (MllamaModel *model)
{
  MllamaRuntime *runtime = mllama_scheduler_get_runtime (mllama_model_get_scheduler (model, NULL));

  memset (runtime->weights->vision.foldable, FALSE, mllama_model_get_config (model)->vision.n_aspect_ratios + 1);
}

static gboolean
dump_case (MllamaModel *model, const char *dir, const char *line, GError **error)
{
  g_autoptr (Case) item = case_new (model, dir, line, error);
  g_autoptr (MllamaForwardResult) result = NULL;

  if (!item)
    return FALSE;
  result = mllama_model_forward (model, item->prompt, &item->states, item->states ? 1 : 0, NULL, error);
  return result &&
         case_write (dir, item->name, "logits", result->logits, (gsize) result->n_logits * result->vocab_size, error);
}

static gboolean
dump_all (gboolean is_unfolded, char **arguments, GError **error)
{
  g_autoptr (MllamaModel) model = case_open_model (arguments[0], arguments[1], arguments[2], error);
  g_auto (GStrv) lines = model ? case_list (arguments[3], error) : NULL;
  gboolean is_done = lines != NULL;

  if (is_done && is_unfolded)
    unfold (model);
  for (guint i = 0; is_done && lines[i]; i++)
    is_done = dump_case (model, arguments[3], lines[i], error);
  return is_done;
}

int
main (int argc, char **argv)
{
  gboolean is_unfolded = argc > 1 && g_str_equal (argv[1], "--unfolded");
  g_autoptr (GError) error = NULL;

  if (argc != 5 + is_unfolded) {
    g_printerr ("dump-logits [--unfolded] MODEL DEVICE DTYPE DIR\n");
    return 2;
  }
  if (dump_all (is_unfolded, argv + 1 + is_unfolded, &error))
    return 0;
  g_printerr ("dump-logits: %s\n", error->message);
  return 1;
}
