/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a backend does more slowly the first time (loading kernels, choosing algorithms, recording passes) is done
 * before a model counts as loaded, so that the first answer takes as long as the second. */
#include "runtime.h"

/* A backend may record a pass when it sees it again. */
#define N_TURNS 3

/* A pass of n tokens of one row, all with id 0, the last of them an output. */
typedef struct {
  guint32 ids[MLLAMA_PREFILL_CHUNK], positions[MLLAMA_PREFILL_CHUNK], rows[MLLAMA_PREFILL_CHUNK];
  guint32 first_span[MLLAMA_PREFILL_CHUNK], n_spans[MLLAMA_PREFILL_CHUNK];
  guint8 sees_image[MLLAMA_PREFILL_CHUNK];
  guint32 pages[MLLAMA_PREFILL_CHUNK / MLLAMA_KV_PAGE];
  guint32 output;
  MllamaRow row;
  MllamaKeySpan span;
  MllamaSampling sampling;
  MllamaPass pass;
} BlankPass;

static void
blank_pass_init (BlankPass *blank, MllamaRuntime *runtime, guint n_tokens, const MllamaSlab *slab, guint n_keys)
{
  *blank = (BlankPass){.output = n_tokens - 1, .row = {0, blank->pages}, .span = {slab, 0, n_keys, 0}};
  for (guint t = 0; t < n_tokens; t++) {
    blank->positions[t] = t;
    blank->n_spans[t] = blank->sees_image[t] = slab != NULL;
  }
  for (guint i = 0; i < G_N_ELEMENTS (blank->pages); i++)
    blank->pages[i] = i;
  blank->sampling = (MllamaSampling){.top_p = 1, .repetition_penalty = 1, .prompt = blank->ids, .n_prompt = 1};
  blank->pass = (MllamaPass){.kind = n_tokens <= MLLAMA_MAX_ROWS ? MLLAMA_PASS_FEW : MLLAMA_PASS_MANY,
                             .n_tokens = n_tokens,
                             .ids = blank->ids,
                             .positions = blank->positions,
                             .rows = blank->rows,
                             .first_span = blank->first_span,
                             .n_spans = blank->n_spans,
                             .sees_image = blank->sees_image,
                             .n_rows = 1,
                             .n_spans_total = slab != NULL,
                             .row_table = &blank->row,
                             .spans = &blank->span,
                             .n_outputs = 1,
                             .outputs = &blank->output,
                             .sampling = &blank->sampling,
                             .may_record = TRUE,
                             .kv = runtime->kv};
}

static gboolean
run_passes (MllamaRuntime *runtime, const MllamaSlab *slab, guint n_keys, GError **error)
{
  const MllamaBackendOps *ops = runtime->backend->ops;
  guint n_most = mllama_page_pool_get_n_pages (runtime->pages) * MLLAMA_KV_PAGE;
  g_autofree BlankPass *blank = g_new (BlankPass, 1);
  MllamaSample sample;

  n_most = MIN (n_most, runtime->checkpoint->config->text.max_positions);
  for (guint i = 0; i < ops->n_slow_starts; i++)
    for (guint turn = 0; turn < N_TURNS && ops->slow_starts[i] <= MIN (n_most, MLLAMA_PREFILL_CHUNK); turn++) {
      guint n_pages = mllama_text_row_count_pages (ops->slow_starts[i]);
      blank_pass_init (blank, runtime, ops->slow_starts[i], slab, n_keys);
      if (!ops->kv_commit (runtime->backend, runtime->kv, n_pages, error))
        return FALSE;
      mllama_decoder_run (runtime->decoder, &blank->pass);
      if (!ops->samples_read (runtime->backend, &sample, error))
        return FALSE;
    }
  return TRUE;
}

/* A black picture that fills the arrangement with the most tiles. */
static MllamaFrame *
create_frame (MllamaRuntime *runtime, MllamaVisionImage *place, GError **error)
{
  const MllamaVisionConfig *config = &runtime->checkpoint->config->vision;
  const MllamaImageOptions *options = &runtime->checkpoint->image_options;
  MllamaAspectRatio most = {1, 1};
  g_autofree guint8 *pixels = NULL;
  MllamaImage image = {.format = MLLAMA_FORMAT_RGB};
  MllamaTilePlan plan;

  for (guint i = 0; i < config->n_aspect_ratios; i++)
    if (config->aspect_ratios[i].n_rows * config->aspect_ratios[i].n_columns > most.n_rows * most.n_columns)
      most = config->aspect_ratios[i];
  image.width = most.n_columns * options->size;
  image.height = most.n_rows * options->size;
  image.strides[0] = (gsize) image.width * 3;
  image.planes[0] = pixels = g_malloc0 (image.strides[0] * image.height);
  if (!mllama_tile_plan_init (&plan, config->aspect_ratios, config->n_aspect_ratios, options->max_image_tiles,
                              options->size, image.width, image.height, error))
    return NULL;
  place->aspect_ratio_id = plan.aspect_ratio_id;
  place->n_used = plan.n_rows * plan.n_columns;
  return runtime->backend->ops->frame_new (runtime->backend, &image, options, &plan, error);
}

/* Encodes the picture into a slab of all its keys. */
static MllamaSlab *
encode_blank (MllamaRuntime *runtime, guint *n_keys, GCancellable *cancellable, GError **error)
{
  const MllamaBackendOps *ops = runtime->backend->ops;
  MllamaVisionImage place = {NULL, 0, 0};
  MllamaVisionRows rows;
  MllamaFrame *frame = create_frame (runtime, &place, error);
  MllamaSlab *slab = NULL;

  if (!frame)
    return NULL;
  place.frame = frame;
  *n_keys = place.n_used * mllama_vision_config_get_n_patches (&runtime->checkpoint->config->vision);
  if (mllama_vision_run (runtime->vision, &place, 1, MLLAMA_SEMANTICS_META, FALSE, &rows, cancellable, error) &&
      (slab = ops->slab_new (runtime->backend, runtime->checkpoint->config->text.n_cross_layers, *n_keys, error)))
    mllama_decoder_fill_slab (runtime->decoder, slab, mllama_vision_project (runtime->vision), rows.first_row);
  ops->frame_free (runtime->backend, frame);
  return slab;
}

gboolean
mllama_runtime_warm_up (MllamaRuntime *runtime, GCancellable *cancellable, GError **error)
{
  const MllamaBackendOps *ops = runtime->backend->ops;
  MllamaSlab *slab;
  guint n_keys;
  gboolean is_done;

  if (ops->n_slow_starts == 0)
    return TRUE;
  if (!run_passes (runtime, NULL, 0, error))
    return FALSE;
  if (!runtime->vision)
    return TRUE;
  if (!(slab = encode_blank (runtime, &n_keys, cancellable, error)))
    return FALSE;
  is_done = run_passes (runtime, slab, n_keys, error) && ops->wait (runtime->backend, error);
  ops->slab_free (runtime->backend, slab);
  return is_done;
}
