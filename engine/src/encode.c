/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a picture to its cross-attention states, and the states themselves. */
#include <math.h>
#include <string.h>

#include "model-private.h"
#include "states-private.h"

/* Pictures of one run of the tower. */
#define MAX_TOGETHER 8

/* One picture's way through the model's thread. */
typedef struct {
  MllamaModel *model;
  const MllamaImage *image; /* or: */
  const MllamaPixels *pixels;
  guint max_tiles;
  MllamaSemantics semantics;
  GCancellable *cancellable;
  gint64 created_us;

  MllamaStates *states; /* result of an encode */
  float *features;      /* result of get_vision_features */
  GError *error;
} Encode;

/* --- states --- */

MllamaStates *
mllama_states_ref (MllamaStates *states)
{
  g_return_val_if_fail (states != NULL, NULL);
  g_atomic_ref_count_inc (&states->ref_count);
  return states;
}

void
mllama_states_unref (MllamaStates *states)
{
  MllamaScheduler *scheduler;
  MllamaRuntime *runtime;

  if (!states || !g_atomic_ref_count_dec (&states->ref_count))
    return;
  scheduler = mllama_model_get_scheduler (states->model, NULL);
  runtime = mllama_scheduler_get_runtime (scheduler);
  if (states->slab)
    runtime->backend->ops->slab_free (runtime->backend, states->slab);
  mllama_runtime_release_states (runtime, states->n_bytes);
  mllama_model_unref (states->model);
  g_free (states);
}

MllamaSemantics
mllama_states_get_semantics (const MllamaStates *states)
{
  return states->semantics;
}

guint
mllama_states_get_n_tiles (const MllamaStates *states)
{
  return states->n_tiles;
}

guint
mllama_states_get_aspect_ratio_id (const MllamaStates *states)
{
  return states->aspect_ratio_id;
}

gsize
mllama_states_get_n_bytes (const MllamaStates *states)
{
  return states->n_bytes;
}

guint64
mllama_states_get_encode_id (const MllamaStates *states)
{
  return states->encode_id;
}

guint64
mllama_states_get_queue_ns (const MllamaStates *states)
{
  return states->queue_ns;
}

guint64
mllama_states_get_encode_ns (const MllamaStates *states)
{
  return states->encode_ns;
}

/* --- on the model's thread --- */

/* The picture as a frame of the backend, and its place in the tower. */
static MllamaFrame *
create_frame (Encode *encode, const MllamaRuntime *runtime, MllamaVisionImage *place)
{
  const MllamaVisionConfig *config = &runtime->checkpoint->config->vision;
  const MllamaImageOptions *options = &runtime->checkpoint->image_options;
  const MllamaBackendOps *ops = runtime->backend->ops;
  guint max_tiles =
      encode->max_tiles > 0 ? MIN (encode->max_tiles, options->max_image_tiles) : options->max_image_tiles;
  MllamaTilePlan plan;
  MllamaFrame *frame;

  if (encode->pixels) {
    place->aspect_ratio_id = encode->pixels->aspect_ratio_id;
    place->n_used = encode->pixels->n_tiles;
    frame = ops->frame_new_from_pixels (runtime->backend, encode->pixels, &encode->error);
  } else {
    if (!mllama_tile_plan_init (&plan, config->aspect_ratios, config->n_aspect_ratios, max_tiles, options->size,
                                encode->image->width, encode->image->height, &encode->error))
      return NULL;
    place->aspect_ratio_id = plan.aspect_ratio_id;
    place->n_used = plan.n_rows * plan.n_columns;
    frame = ops->frame_new (runtime->backend, encode->image, options, &plan, &encode->error);
  }
  place->frame = frame;
  return frame;
}

/* Only transformers lets text look at unused tiles (spec 0.3 B). */
static gboolean
sees_blanks (const Encode *encode)
{
  return encode->semantics == MLLAMA_SEMANTICS_TRANSFORMERS;
}

/* Memory for the keys of so many rows of the projector's output; counted against the cap. */
static MllamaStates *
create_states (Encode *encode, MllamaRuntime *runtime, const MllamaVisionImage *place, const MllamaVisionRows *rows)
{
  MllamaBackend *be = runtime->backend;
  guint n_patches = mllama_vision_config_get_n_patches (&runtime->checkpoint->config->vision);
  guint n_layers = runtime->checkpoint->config->text.n_cross_layers;
  MllamaStates *states = g_new0 (MllamaStates, 1);

  g_atomic_ref_count_init (&states->ref_count);
  states->semantics = encode->semantics;
  states->n_tiles = rows->n_used;
  states->aspect_ratio_id = place->aspect_ratio_id;
  states->n_seen_keys = rows->n_used * n_patches;
  states->n_blank_keys = sees_blanks (encode) ? rows->n_blank * n_patches : 0;
  states->blank_bias = logf (rows->n_folded);
  states->n_bytes = be->ops->slab_get_bytes (be, n_layers, states->n_seen_keys + states->n_blank_keys);
  if (!mllama_runtime_reserve_states (runtime, states->n_bytes, &encode->error)) {
    g_free (states);
    return NULL;
  }
  states->model = mllama_model_ref (encode->model);
  states->slab = be->ops->slab_new (be, n_layers, states->n_seen_keys + states->n_blank_keys, &encode->error);
  if (!states->slab)
    g_clear_pointer (&states, mllama_states_unref);
  return states;
}

/* Counts a run of the tower, and returns how many there were. */
static guint64
count_encode (MllamaRuntime *runtime)
{
  guint64 n_encodes;

  g_mutex_lock (&runtime->lock);
  n_encodes = ++runtime->statistics.n_encodes;
  g_mutex_unlock (&runtime->lock);
  return n_encodes;
}

static void
finish_encode (Encode *encode, MllamaRuntime *runtime, gint64 started_us)
{
  gint64 ended_us = g_get_monotonic_time ();

  encode->states->encode_id = count_encode (runtime);
  encode->states->queue_ns = (guint64) (started_us - encode->created_us) * 1000;
  encode->states->encode_ns = (guint64) (ended_us - started_us) * 1000;
}

/* Keys and values of one picture, from its rows of the projector's output. */
static void
fill_states (Encode *encode, MllamaRuntime *runtime, const MllamaVisionImage *place, const MllamaVisionRows *rows,
             const MllamaTensor *projected)
{
  if ((encode->states = create_states (encode, runtime, place, rows)))
    mllama_decoder_fill_slab (runtime->decoder, encode->states->slab, projected, rows->first_row);
}

static void
fail_encode (Encode *encode, const GError *error)
{
  g_clear_pointer (&encode->states, mllama_states_unref);
  if (!encode->error)
    encode->error = g_error_copy (error);
}

/* Encodes whose pictures go through the tower side by side. */
typedef struct {
  guint n;
  Encode *encodes[MAX_TOGETHER];
  MllamaVisionImage places[MAX_TOGETHER];
  MllamaVisionRows rows[MAX_TOGETHER];
} Group;

/* One picture alone can be stopped between two layers; one of several is dropped at the end. */
static void
run_group (MllamaRuntime *runtime, Group *group)
{
  MllamaBackend *be = runtime->backend;
  gint64 started_us = g_get_monotonic_time ();
  g_autoptr (GError) error = NULL;

  if (mllama_vision_run (runtime->vision, group->places, group->n, group->encodes[0]->semantics,
                         sees_blanks (group->encodes[0]), group->rows,
                         group->n == 1 ? group->encodes[0]->cancellable : NULL, &error)) {
    const MllamaTensor *projected = mllama_vision_project (runtime->vision);
    for (guint i = 0; i < group->n; i++)
      fill_states (group->encodes[i], runtime, &group->places[i], &group->rows[i], projected);
    be->ops->wait (be, &error);
  }
  for (guint i = 0; i < group->n; i++) {
    Encode *encode = group->encodes[i];
    if (!error)
      mllama_vision_check_cancelled (encode->cancellable, &encode->error);
    if (error || encode->error)
      fail_encode (encode, error);
    else
      finish_encode (encode, runtime, started_us);
  }
}

/* Pictures of one group have the same semantics and, together, at most the tiles of one large picture. */
static gboolean
has_room (const Group *group, const Encode *encode, guint n_used, guint max_n_tiles)
{
  guint n_tiles = n_used;

  if (group->n == 0)
    return TRUE;
  for (guint i = 0; i < group->n; i++)
    n_tiles += group->places[i].n_used;
  return group->encodes[0]->semantics == encode->semantics && n_tiles <= max_n_tiles;
}

static void
run_encodes (MllamaRuntime *runtime, gpointer *data, guint n_data)
{
  MllamaBackend *be = runtime->backend;
  MllamaFrame *frames[MAX_TOGETHER] = {NULL};
  Group group = {0};

  for (guint i = 0; i < n_data; i++) {
    MllamaVisionImage place = {NULL, 0, 0};
    if (!(frames[i] = create_frame (data[i], runtime, &place)))
      continue;
    if (!has_room (&group, data[i], place.n_used, runtime->checkpoint->config->vision.max_n_tiles)) {
      run_group (runtime, &group);
      group.n = 0;
    }
    group.encodes[group.n] = data[i];
    group.places[group.n++] = place;
  }
  if (group.n > 0)
    run_group (runtime, &group);
  for (guint i = 0; i < n_data; i++)
    if (frames[i])
      be->ops->frame_free (be, frames[i]);
}

/* [final | tap 0 | tap 1 ...] -> [final | channel 0 of all taps | channel 1 of all taps ...] (spec 4.4). */
static void
interleave_taps (float *dest, const float *src, guint width, guint n_taps)
{
  memcpy (dest, src, width * sizeof (float));
  for (guint c = 0; c < width; c++)
    for (guint k = 0; k < n_taps; k++)
      dest[width + c * n_taps + k] = src[width + k * width + c];
}

static void
run_features (MllamaRuntime *runtime, gpointer *data, guint n_data)
{
  Encode *encode = data[0];
  const MllamaVisionConfig *config = &runtime->checkpoint->config->vision;
  gsize n_patches = mllama_vision_config_get_n_patches (config), width = config->output_dim;
  MllamaBackend *be = runtime->backend;
  MllamaVisionImage place = {NULL, 0, 0};
  MllamaVisionRows rows;
  MllamaFrame *frame = create_frame (encode, runtime, &place);
  g_autofree float *tile = g_new (float, n_patches *width);

  if (frame && mllama_vision_run (runtime->vision, &place, 1, encode->semantics, TRUE, &rows, encode->cancellable,
                                  &encode->error)) {
    encode->features = g_new (float, config->max_n_tiles *n_patches *width);
    for (guint t = 0; t < config->max_n_tiles && !encode->error; t++) {
      guint source = MIN (t, rows.n_used + rows.n_blank - 1);
      be->ops->tensor_read (be, mllama_vision_get_features (runtime->vision), rows.first_row + source * n_patches,
                            n_patches, tile, &encode->error);
      for (gsize p = 0; p < n_patches; p++)
        interleave_taps (encode->features + (t * n_patches + p) * width, tile + p * width, config->hidden_size,
                         config->n_taps);
    }
  }
  if (frame)
    be->ops->frame_free (be, frame);
}

/* --- on the caller's --- */

static gboolean
check_pixels (const MllamaPixels *pixels, const MllamaVisionConfig *config, GError **error)
{
  guint id = pixels->aspect_ratio_id;
  guint n_tiles = 0;

  if (id >= 1 && id <= config->n_aspect_ratios)
    n_tiles = config->aspect_ratios[id - 1].n_rows * config->aspect_ratios[id - 1].n_columns;
  if (n_tiles > 0 && pixels->n_tiles == n_tiles && pixels->size == config->image_size)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_WRONG_MODEL,
               "the picture is %u tiles of %u pixels with aspect ratio id %u; this model takes tiles of %u pixels, and "
               "ids from 1 to %u of its own list; tile the picture with this model's options",
               pixels->n_tiles, pixels->size, id, config->image_size, config->n_aspect_ratios);
  return FALSE;
}

static guint
count_together (MllamaScheduler *scheduler)
{
  return MIN (mllama_scheduler_get_runtime (scheduler)->backend->ops->max_frames, MAX_TOGETHER);
}

static gboolean
submit (Encode *encode, MllamaTaskFunc func, GError **error)
{
  const MllamaConfig *config = mllama_model_get_config (encode->model);
  MllamaScheduler *scheduler = mllama_model_get_scheduler (encode->model, error);

  if (!scheduler)
    return FALSE;
  if (!mllama_scheduler_get_runtime (scheduler)->vision) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
                 "%s was opened without its vision tower, which pictures need; open a MllamaForConditionalGeneration "
                 "checkpoint with text_only FALSE",
                 mllama_model_get_path (encode->model));
    return FALSE;
  }
  if (encode->pixels ? !check_pixels (encode->pixels, &config->vision, error)
                     : !mllama_image_validate (encode->image, error))
    return FALSE;
  encode->created_us = g_get_monotonic_time ();
  mllama_scheduler_run (scheduler, func, func == run_encodes ? count_together (scheduler) : 1, encode);
  if (encode->error)
    g_propagate_error (error, g_steal_pointer (&encode->error));
  return encode->states || encode->features;
}

MllamaStates *
mllama_model_encode (MllamaModel *model, const MllamaImage *image, MllamaSemantics semantics, guint max_tiles,
                     GCancellable *cancellable, GError **error)
{
  Encode encode = {
      .model = model, .image = image, .max_tiles = max_tiles, .semantics = semantics, .cancellable = cancellable};

  submit (&encode, run_encodes, error);
  return encode.states;
}

MllamaStates *
mllama_model_encode_pixels (MllamaModel *model, const MllamaPixels *pixels, MllamaSemantics semantics,
                            GCancellable *cancellable, GError **error)
{
  Encode encode = {.model = model, .pixels = pixels, .semantics = semantics, .cancellable = cancellable};

  submit (&encode, run_encodes, error);
  return encode.states;
}

float *
mllama_model_get_vision_features (MllamaModel *model, const MllamaPixels *pixels, MllamaSemantics semantics,
                                  GError **error)
{
  Encode encode = {.model = model, .pixels = pixels, .semantics = semantics};

  if (!submit (&encode, run_features, error))
    g_clear_pointer (&encode.features, g_free);
  return encode.features;
}
