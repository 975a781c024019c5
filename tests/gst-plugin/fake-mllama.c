/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-mllama.h"
#include <string.h>

struct _MllamaModel {
  gint ref_count;
  char *checkpoint;
  gboolean loaded;
  GThread *thread; /* decodes: one token of every running answer a step */
  gboolean quit;
  GQueue running; /* of MllamaGeneration, a reference each */
  MllamaStatistics statistics;
};

struct _MllamaStates {
  gint ref_count;
  char *description;
  guint64 encode_id, encode_ns;
};

struct _MllamaPrompt {
  gint ref_count;
  char *text;
  guint n_images;
};

struct _MllamaGeneration {
  gint ref_count;
  MllamaGenerationSettings settings;
  MllamaResult result;
  char *whole; /* what it will say */
  GString *said;
  GArray *ids, *logprobs;
  GError *error;
  gint cancelled, done; /* atomic */
};

FakeScript fake_script;

static FakeCounts counts;
static GMutex lock; /* counts and models */
static GCond changed;

void
fake_reset (void)
{
  g_mutex_lock (&lock);
  fake_script = (FakeScript){.open_error = FAKE_NO_ERROR,
                             .load_error = FAKE_NO_ERROR,
                             .encode_error = FAKE_NO_ERROR,
                             .start_error = FAKE_NO_ERROR,
                             .answer_error = FAKE_NO_ERROR,
                             .first_failing_encode = 1};
  counts.n_opens = counts.n_loads = counts.n_encodes = counts.n_answers = 0;
  counts.n_cancelled = counts.n_tokens = counts.max_running = counts.n_cuda_images = 0;
  counts.last_token_us = 0;
  g_mutex_unlock (&lock);
}

FakeCounts
fake_get_counts (void)
{
  g_mutex_lock (&lock);
  FakeCounts copy = counts;
  g_mutex_unlock (&lock);
  return copy;
}

static void
add (guint *number, gint change)
{
  g_mutex_lock (&lock);
  *number += (guint) change;
  g_mutex_unlock (&lock);
}

GQuark
mllama_error_quark (void)
{
  return g_quark_from_static_string ("mllama-error-quark");
}

static gboolean
fail (gint code, const char *what, GError **error)
{
  if (code == FAKE_NO_ERROR)
    return FALSE;
  g_set_error (error, MLLAMA_ERROR, code, "scripted fault: %s", what);
  return TRUE;
}

/* Sleeps in small steps; TRUE if cancelled meanwhile. */
static gboolean
spend (guint ms, GCancellable *cancellable)
{
  const gint64 end = g_get_monotonic_time () + ms * G_TIME_SPAN_MILLISECOND;

  while (!g_cancellable_is_cancelled (cancellable) && g_get_monotonic_time () < end)
    g_usleep (500);
  return g_cancellable_is_cancelled (cancellable);
}

/* --- model --- */

MllamaModel *
mllama_model_open (const char *checkpoint, const MllamaModelSettings *settings, GError **error)
{
  add (&counts.n_opens, 1);
  if (fail (fake_script.open_error, checkpoint, error))
    return NULL;
  MllamaModel *model = g_new0 (MllamaModel, 1);
  model->ref_count = 1;
  model->checkpoint = g_strdup (checkpoint);
  g_queue_init (&model->running);
  add (&counts.n_models, 1);
  return model;
}

MllamaModel *
mllama_model_ref (MllamaModel *model)
{
  g_atomic_int_inc (&model->ref_count);
  return model;
}

void
mllama_model_unref (MllamaModel *model)
{
  if (!g_atomic_int_dec_and_test (&model->ref_count))
    return;
  g_mutex_lock (&lock);
  model->quit = TRUE;
  g_cond_broadcast (&changed);
  g_mutex_unlock (&lock);
  if (model->thread)
    g_thread_join (model->thread);
  g_free (model->checkpoint);
  g_free (model);
  add (&counts.n_models, -1);
}

static void finish (MllamaGeneration *generation, MllamaFinishReason reason);
static gboolean say_next_word (MllamaGeneration *generation);

static gpointer
decode (gpointer data)
{
  MllamaModel *model = data;

  g_mutex_lock (&lock);
  while (!model->quit) {
    g_autoptr (GList) rows = g_list_copy (model->running.head);
    if (!rows) {
      g_cond_wait (&changed, &lock);
      continue;
    }
    counts.max_running = MAX (counts.max_running, model->running.length);
    model->statistics.n_decode_steps++;
    model->statistics.n_decode_rows += model->running.length;
    g_mutex_unlock (&lock);
    spend ((guint) g_atomic_int_get (&fake_script.token_ms), NULL);
    for (GList *at = rows; at; at = at->next) {
      if (say_next_word (at->data))
        continue;
      g_mutex_lock (&lock);
      g_queue_remove (&model->running, at->data);
      g_mutex_unlock (&lock);
      mllama_generation_unref (at->data);
    }
    g_mutex_lock (&lock);
  }
  g_mutex_unlock (&lock);
  return NULL;
}

gboolean
mllama_model_load (MllamaModel *model, GCancellable *cancellable, GError **error)
{
  add (&counts.n_loads, 1);
  if (spend (fake_script.load_ms, cancellable)) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_CANCELLED, "cancelled");
    return FALSE;
  }
  if (fail (fake_script.load_error, "load", error))
    return FALSE;
  if (!model->thread)
    model->thread = g_thread_new ("fake-engine", decode, model);
  g_mutex_lock (&lock);
  model->loaded = TRUE;
  model->statistics.weight_bytes = 5000;
  model->statistics.kv_bytes = 300;
  model->statistics.states_bytes = 20;
  g_mutex_unlock (&lock);
  return TRUE;
}

void
mllama_model_get_statistics (MllamaModel *model, MllamaStatistics *statistics)
{
  g_mutex_lock (&lock);
  *statistics = model->statistics;
  g_mutex_unlock (&lock);
}

MllamaDevice
mllama_model_get_device (MllamaModel *model)
{
  return fake_script.cuda ? MLLAMA_DEVICE_CUDA : MLLAMA_DEVICE_CPU;
}

/* --- pictures --- */

/* Mean of one byte out of every step bytes of a plane, from offset on. */
static double
average (const MllamaImage *image, guint plane, guint n_columns, guint n_rows, guint step, guint offset)
{
  double sum = 0;

  for (guint y = 0; y < n_rows; y++)
    for (guint x = 0; x < n_columns; x++)
      sum += image->planes[plane][y * image->strides[plane] + (gsize) x * step + offset];
  return sum / n_columns / n_rows;
}

static void
average_rgb (const MllamaImage *image, double rgb[3])
{
  static const struct {
    guint step, red, green, blue;
  } layouts[] = {
      [MLLAMA_FORMAT_RGB] = {3, 0, 1, 2},  [MLLAMA_FORMAT_BGR] = {3, 2, 1, 0},  [MLLAMA_FORMAT_RGBA] = {4, 0, 1, 2},
      [MLLAMA_FORMAT_BGRA] = {4, 2, 1, 0}, [MLLAMA_FORMAT_ARGB] = {4, 1, 2, 3}, [MLLAMA_FORMAT_ABGR] = {4, 3, 2, 1},
      [MLLAMA_FORMAT_RGBX] = {4, 0, 1, 2}, [MLLAMA_FORMAT_BGRX] = {4, 2, 1, 0}, [MLLAMA_FORMAT_XRGB] = {4, 1, 2, 3},
      [MLLAMA_FORMAT_XBGR] = {4, 3, 2, 1}};
  const guint w = image->width, h = image->height;
  const guint *at = &layouts[image->format].red;

  for (guint i = 0; i < 3; i++)
    rgb[i] = average (image, 0, w, h, layouts[image->format].step, at[i]);
}

static void
average_yuv (const MllamaImage *image, double yuv[3])
{
  const guint w = image->width, h = image->height, half_w = (w + 1) / 2, half_h = (h + 1) / 2;

  yuv[1] = yuv[2] = 128;
  yuv[0] = average (image, 0, w, h, image->format == MLLAMA_FORMAT_YUY2 ? 2 : 1, 0);
  if (image->format == MLLAMA_FORMAT_I420) {
    yuv[1] = average (image, 1, half_w, half_h, 1, 0);
    yuv[2] = average (image, 2, half_w, half_h, 1, 0);
  } else if (image->format == MLLAMA_FORMAT_NV12) {
    yuv[1] = average (image, 1, half_w, half_h, 2, 0);
    yuv[2] = average (image, 1, half_w, half_h, 2, 1);
  } else if (image->format == MLLAMA_FORMAT_YUY2) {
    yuv[1] = average (image, 0, half_w, h, 4, 1);
    yuv[2] = average (image, 0, half_w, h, 4, 3);
  }
}

static void
convert_yuv (const MllamaImage *image, const double yuv[3], double rgb[3])
{
  const gboolean limited = image->range == MLLAMA_RANGE_LIMITED;
  const double y = limited ? (yuv[0] - 16) * 255 / 219 : yuv[0], scale = limited ? 255.0 / 224 : 1;
  const double u = (yuv[1] - 128) * scale, v = (yuv[2] - 128) * scale;
  const gboolean hd = image->matrix == MLLAMA_MATRIX_BT709;

  rgb[0] = y + (hd ? 1.5748 : 1.402) * v;
  rgb[1] = y - (hd ? 0.1873 : 0.3441) * u - (hd ? 0.4681 : 0.7141) * v;
  rgb[2] = y + (hd ? 1.8556 : 1.772) * u;
}

static char *
describe (const MllamaImage *image)
{
  static const struct {
    const char *name;
    double rgb[3];
  } colours[] = {{"black", {0, 0, 0}},  {"white", {255, 255, 255}}, {"red", {255, 0, 0}},     {"green", {0, 255, 0}},
                 {"blue", {0, 0, 255}}, {"yellow", {255, 255, 0}},  {"grey", {128, 128, 128}}};
  double rgb[3], yuv[3], best = G_MAXDOUBLE;
  const char *name = NULL;

  if (image->format <= MLLAMA_FORMAT_XBGR) {
    average_rgb (image, rgb);
  } else {
    average_yuv (image, yuv);
    convert_yuv (image, yuv, rgb);
  }
  for (guint i = 0; i < G_N_ELEMENTS (colours); i++) {
    double distance = 0;
    for (guint c = 0; c < 3; c++)
      distance += (rgb[c] - colours[i].rgb[c]) * (rgb[c] - colours[i].rgb[c]);
    if (distance < best) {
      best = distance;
      name = colours[i].name;
    }
  }
  return g_strdup_printf ("%s %ux%u", name, image->width, image->height);
}

static gboolean
encode_fails (guint number)
{
  return fake_script.encode_error != FAKE_NO_ERROR && number >= fake_script.first_failing_encode &&
         (fake_script.n_failing_encodes == 0 ||
          number < fake_script.first_failing_encode + fake_script.n_failing_encodes);
}

MllamaStates *
mllama_model_encode (MllamaModel *model, const MllamaImage *image, MllamaSemantics semantics, guint max_tiles,
                     GCancellable *cancellable, GError **error)
{
  g_assert_true (model->loaded);
  g_mutex_lock (&lock);
  const guint number = ++counts.n_encodes;
  g_mutex_unlock (&lock);
  if (spend (fake_script.encode_ms, cancellable)) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_CANCELLED, "cancelled");
    return NULL;
  }
  if (encode_fails (number) && fail (fake_script.encode_error, "encode", error))
    return NULL;
  if (image->memory == MLLAMA_MEMORY_CUDA) {
    g_assert_true (fake_script.cuda);
    add (&counts.n_cuda_images, 1);
  }
  MllamaStates *states = g_new0 (MllamaStates, 1);
  states->ref_count = 1;
  states->description = describe (image);
  states->encode_id = number;
  states->encode_ns = 1000 + fake_script.encode_ms * 1000000;
  add (&counts.n_states, 1);
  return states;
}

MllamaStates *
mllama_states_ref (MllamaStates *states)
{
  g_atomic_int_inc (&states->ref_count);
  return states;
}

void
mllama_states_unref (MllamaStates *states)
{
  if (!g_atomic_int_dec_and_test (&states->ref_count))
    return;
  g_free (states->description);
  g_free (states);
  add (&counts.n_states, -1);
}

guint64
mllama_states_get_encode_id (const MllamaStates *states)
{
  return states->encode_id;
}

guint64
mllama_states_get_queue_ns (const MllamaStates *states)
{
  return 0;
}

guint64
mllama_states_get_encode_ns (const MllamaStates *states)
{
  return states->encode_ns;
}

/* --- prompts --- */

#define MARK "<|image|>"

static MllamaPrompt *
make_prompt (const char *text, guint n_images)
{
  MllamaPrompt *prompt = g_new0 (MllamaPrompt, 1);

  prompt->ref_count = 1;
  prompt->text = g_strdup (text);
  prompt->n_images = n_images;
  add (&counts.n_prompts, 1);
  return prompt;
}

MllamaPrompt *
mllama_prompt_new_raw (MllamaModel *model, const char *text, gssize length, const MllamaTextRange *literal,
                       gsize n_literal, GError **error)
{
  guint n_images = 0;

  for (const char *at = strstr (text, MARK); at; at = strstr (at + 1, MARK)) {
    const gsize offset = (gsize) (at - text);
    gboolean is_literal = FALSE;
    for (gsize i = 0; i < n_literal; i++)
      is_literal |= offset < literal[i].end && offset + strlen (MARK) > literal[i].start;
    n_images += !is_literal;
  }
  return make_prompt (text, n_images);
}

MllamaPrompt *
mllama_prompt_new_question (MllamaModel *model, const char *text, gssize length, guint n_images, GError **error)
{
  return make_prompt (text, n_images);
}

MllamaPrompt *
mllama_prompt_new_auto (MllamaModel *model, const char *text, gssize length, const MllamaTextRange *literal,
                        gsize n_literal, guint n_images, GError **error)
{
  if (!fake_script.base_model || !strstr (text, MARK))
    return make_prompt (text, n_images);
  return mllama_prompt_new_raw (model, text, length, literal, n_literal, error);
}

void
mllama_prompt_unref (MllamaPrompt *prompt)
{
  if (!g_atomic_int_dec_and_test (&prompt->ref_count))
    return;
  g_free (prompt->text);
  g_free (prompt);
  add (&counts.n_prompts, -1);
}

guint
mllama_prompt_get_n_images (const MllamaPrompt *prompt)
{
  return prompt->n_images;
}

/* --- answers --- */

const char *
mllama_finish_reason_to_string (MllamaFinishReason reason)
{
  static const char *const names[] = {"none", "stop", "length", "cancelled", "error"};

  return names[reason];
}

MllamaGeneration *
mllama_model_generate_async (MllamaModel *model, MllamaPrompt *prompt, MllamaStates *const *states, guint n_states,
                             const MllamaGenerationSettings *settings, GError **error)
{
  g_assert_cmpuint (n_states, ==, prompt->n_images);
  if (fail (fake_script.start_error, "start", error)) {
    settings->user_data_free (settings->user_data);
    return NULL;
  }
  MllamaGeneration *generation = g_new0 (MllamaGeneration, 1);
  generation->ref_count = 2;
  generation->settings = *settings;
  generation->whole = fake_script.answer ? g_strdup (fake_script.answer)
                                         : g_strdup_printf ("%s: %s", states[0]->description, prompt->text);
  generation->said = g_string_new (NULL);
  generation->ids = g_array_new (FALSE, FALSE, sizeof (guint32));
  generation->logprobs = g_array_new (FALSE, FALSE, sizeof (double));
  if (fake_script.answer_error != FAKE_NO_ERROR)
    fail (fake_script.answer_error, "answer", &generation->error);
  g_mutex_lock (&lock);
  counts.n_answers++;
  counts.n_generations++;
  g_queue_push_tail (&model->running, generation);
  g_cond_broadcast (&changed);
  g_mutex_unlock (&lock);
  return generation;
}

MllamaGeneration *
mllama_generation_ref (MllamaGeneration *generation)
{
  g_atomic_int_inc (&generation->ref_count);
  return generation;
}

void
mllama_generation_unref (MllamaGeneration *generation)
{
  if (!g_atomic_int_dec_and_test (&generation->ref_count))
    return;
  add (&counts.n_generations, -1);
  /* As the engine does: whoever keeps a reference keeps the user data. */
  generation->settings.user_data_free (generation->settings.user_data);
  g_free (generation->whole);
  g_string_free (generation->said, TRUE);
  g_array_unref (generation->ids);
  g_array_unref (generation->logprobs);
  g_clear_error (&generation->error);
  g_free (generation);
}

void
mllama_generation_cancel (MllamaGeneration *generation)
{
  g_atomic_int_set (&generation->cancelled, TRUE);
}

const MllamaResult *
mllama_generation_get_result (MllamaGeneration *generation)
{
  return g_atomic_int_get (&generation->done) ? &generation->result : NULL;
}

static void
finish (MllamaGeneration *generation, MllamaFinishReason reason)
{
  MllamaGenerationSettings *settings = &generation->settings;

  generation->result = (MllamaResult){.text = generation->said->str,
                                      .ids = (guint32 *) (gpointer) generation->ids->data,
                                      .logprobs = (double *) (gpointer) generation->logprobs->data,
                                      .n_ids = generation->ids->len,
                                      .finish_reason = reason,
                                      .error = generation->error,
                                      .queue_ns = 1,
                                      .prefill_ns = 2,
                                      .decode_ns = 3};
  g_atomic_int_set (&generation->done, TRUE);
  add (&counts.n_cancelled, reason == MLLAMA_FINISH_CANCELLED);
  settings->on_done (generation, settings->user_data);
}

/* A word is what stands before the next space. FALSE: it was the last. */
static gboolean
say_next_word (MllamaGeneration *generation)
{
  const char *rest = generation->whole + generation->said->len;
  const gsize length = *rest ? 1 + strcspn (rest + 1, " ") : 0;
  g_autofree char *word = g_strndup (rest, length);
  const guint32 id = 100 + generation->ids->len;
  const double logprob = -0.25;
  const MllamaToken token = {.id = id, .logprob = logprob, .text = word, .index = generation->ids->len};

  if (g_atomic_int_get (&generation->cancelled) || generation->error) {
    finish (generation, generation->error ? MLLAMA_FINISH_ERROR : MLLAMA_FINISH_CANCELLED);
    return FALSE;
  }
  g_mutex_lock (&lock);
  counts.n_tokens++;
  counts.last_token_us = g_get_monotonic_time ();
  g_mutex_unlock (&lock);
  g_string_append (generation->said, word);
  g_array_append_val (generation->ids, id);
  g_array_append_val (generation->logprobs, logprob);
  if (generation->settings.on_token)
    generation->settings.on_token (generation, &token, generation->settings.user_data);
  if (generation->said->len < strlen (generation->whole) &&
      (gint) generation->ids->len < generation->settings.max_tokens)
    return TRUE;
  finish (generation, generation->said->len < strlen (generation->whole) ? MLLAMA_FINISH_LENGTH : MLLAMA_FINISH_STOP);
  return FALSE;
}
