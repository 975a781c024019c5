/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a pass sees, in one piece to the device. */
#include <string.h>

#include "cuda-recorder.h"

/* --- the arrays of a pass --- */

/* Room for n_bytes of the upload; *device becomes their address on the device. */
static void *
reserve (MllamaCudaRecorder *recorder, MllamaCudaUpload *upload, gsize n_bytes, const void **device)
{
  gsize offset = upload->n_used;

  upload->n_used = (offset + n_bytes + 15) / 16 * 16;
  *device = recorder->arrays + offset;
  return upload->host + offset;
}

static const void *
pack (MllamaCudaRecorder *recorder, MllamaCudaUpload *upload, const void *values, gsize n_bytes)
{
  const void *device;
  void *host = reserve (recorder, upload, n_bytes, &device);

  if (n_bytes > 0)
    memcpy (host, values, n_bytes);
  return device;
}

/* Pages that the tokens of each row reach into. */
static guint *
count_pages (const MllamaPass *pass, gsize *n_all)
{
  guint *n_pages = g_new0 (guint, pass->n_rows);

  *n_all = 0;
  for (guint t = 0; t < pass->n_tokens; t++)
    n_pages[pass->rows[t]] = MAX (n_pages[pass->rows[t]], pass->positions[t] / MLLAMA_KV_PAGE + 1);
  for (guint r = 0; r < pass->n_rows; r++)
    *n_all += n_pages[r];
  return n_pages;
}

static void
pack_rows (MllamaCudaRecorder *recorder, MllamaCudaUpload *upload, const MllamaPass *pass, const guint *n_pages,
           gsize n_all, MllamaCudaPass *header)
{
  guint32 *slots = reserve (recorder, upload, pass->n_tokens * sizeof (guint32), (const void **) &header->slots);
  guint32 *first = reserve (recorder, upload, pass->n_tokens * sizeof (guint32), (const void **) &header->first_page);
  guint32 *pages = reserve (recorder, upload, n_all * sizeof (guint32), (const void **) &header->pages);
  g_autofree guint32 *first_of_row = g_new (guint32, pass->n_rows);
  gsize n = 0;

  for (guint r = 0; r < pass->n_rows; r++) {
    first_of_row[r] = n;
    if (n_pages[r] > 0)
      memcpy (pages + n, pass->row_table[r].pages, n_pages[r] * sizeof (guint32));
    n += n_pages[r];
  }
  for (guint t = 0; t < pass->n_tokens; t++) {
    slots[t] = pass->row_table[pass->rows[t]].slot;
    first[t] = first_of_row[pass->rows[t]];
  }
}

static gboolean
is_same_sight (const MllamaPass *pass, guint a, guint b)
{
  return pass->rows[a] == pass->rows[b] && pass->first_span[a] == pass->first_span[b] &&
         pass->n_spans[a] == pass->n_spans[b];
}

static void
pack_groups (MllamaCudaBackend *be, MllamaCudaUpload *upload, const MllamaPass *pass, MllamaCudaPass *header)
{
  const MllamaTextConfig *config = &be->base.config->text;
  guint max_tokens = MAX (MLLAMA_CUDA_GROUP_QUERIES / (config->n_heads / config->n_kv_heads), 1);
  guint8 *sizes = reserve (be->recorder, upload, pass->n_tokens, (const void **) &header->group_tokens);

  for (guint first = 0, n; first < pass->n_tokens; first += n) {
    guint end = MIN (pass->n_tokens, first / MLLAMA_MAX_ROWS * MLLAMA_MAX_ROWS + MLLAMA_MAX_ROWS);
    for (n = 1; n < max_tokens && first + n < end && is_same_sight (pass, first, first + n); n++)
      sizes[first + n] = 0;
    sizes[first] = n;
  }
}

static void
pack_spans (MllamaCudaRecorder *recorder, MllamaCudaUpload *upload, const MllamaPass *pass, MllamaCudaPass *header)
{
  MllamaCudaSpan *spans =
      reserve (recorder, upload, pass->n_spans_total * sizeof (MllamaCudaSpan), (const void **) &header->spans);

  for (guint i = 0; i < pass->n_spans_total; i++) {
    const MllamaKeySpan *span = &pass->spans[i];
    spans[i] = (MllamaCudaSpan){span->slab->data, span->slab->n_keys, span->first, span->n_keys, span->bias};
  }
}

static void
pack_sampling (MllamaCudaRecorder *recorder, MllamaCudaUpload *upload, const MllamaPass *pass, MllamaCudaPass *header)
{
  MllamaCudaSampling *packed =
      reserve (recorder, upload, pass->n_outputs * sizeof (MllamaCudaSampling), (const void **) &header->sampling);

  for (guint i = 0; pass->sampling && i < pass->n_outputs; i++) {
    const MllamaSampling *s = &pass->sampling[i];
    packed[i] = (MllamaCudaSampling){.temperature = s->temperature,
                                     .top_p = s->top_p,
                                     .repetition_penalty = s->repetition_penalty,
                                     .seed = s->seed,
                                     .position = s->position,
                                     .top_k = s->top_k,
                                     .slot = s->slot,
                                     .n_stop_ids = MIN (s->n_stop_ids, MLLAMA_CUDA_MAX_STOP_IDS),
                                     .is_first = s->prompt != NULL};
    for (guint k = 0; k < packed[i].n_stop_ids; k++)
      packed[i].stop_ids[k] = s->stop_ids[k];
  }
}

static MllamaCudaPass
pack_pass (MllamaCudaBackend *be, MllamaCudaUpload *upload, const MllamaPass *pass, const guint *n_pages, gsize n_all)
{
  MllamaCudaRecorder *recorder = be->recorder;
  MllamaCudaPass header = {.n_tokens = pass->n_tokens, .n_outputs = pass->n_outputs};
  gsize n_bytes = pass->n_tokens * sizeof (guint32);

  header.ids = pack (recorder, upload, pass->ids, n_bytes);
  header.positions = pack (recorder, upload, pass->positions, n_bytes);
  header.first_span = pack (recorder, upload, pass->first_span, n_bytes);
  header.n_spans = pack (recorder, upload, pass->n_spans, n_bytes);
  header.sees_image = pack (recorder, upload, pass->sees_image, pass->n_tokens);
  header.outputs = pack (recorder, upload, pass->outputs, pass->n_outputs * sizeof (guint32));
  pack_rows (recorder, upload, pass, n_pages, n_all, &header);
  pack_groups (be, upload, pass, &header);
  pack_spans (recorder, upload, pass, &header);
  pack_sampling (recorder, upload, pass, &header);
  return header;
}

/* An upper bound of what pack_pass takes. */
static gsize
count_bytes (const MllamaPass *pass, gsize n_pages)
{
  return sizeof (MllamaCudaPass) + 13 * 16 + (gsize) pass->n_tokens * (6 * sizeof (guint32) + 2) +
         n_pages * sizeof (guint32) + (gsize) pass->n_spans_total * sizeof (MllamaCudaSpan) +
         (gsize) pass->n_outputs * (sizeof (guint32) + sizeof (MllamaCudaSampling));
}

/* --- the way to the device --- */

static gboolean
grow_upload (MllamaCudaBackend *be, MllamaCudaUpload *upload, gsize n_bytes)
{
  if (n_bytes <= upload->n_bytes)
    return TRUE;
  cudaFreeHost (upload->host);
  upload->host = NULL;
  upload->n_bytes = 0;
  if (!mllama_cuda_check (be, cudaMallocHost ((void **) &upload->host, 2 * n_bytes), "pinned memory for a pass"))
    return FALSE;
  upload->n_bytes = 2 * n_bytes;
  return TRUE;
}

/* Work queued before reads the old arrays; they are freed in its order. */
static gboolean
grow_arrays (MllamaCudaBackend *be, gsize n_bytes)
{
  MllamaCudaRecorder *recorder = be->recorder;
  GError *error = NULL;

  if (n_bytes <= recorder->arrays_bytes)
    return TRUE;
  mllama_cuda_free (be, recorder->arrays);
  recorder->arrays_bytes = 0;
  if (!(recorder->arrays = mllama_cuda_alloc (be, 2 * n_bytes, "the arrays of a pass", &error)))
    return mllama_cuda_fail (be, error);
  recorder->arrays_bytes = 2 * n_bytes;
  return TRUE;
}

/* The next upload, when its last copy has been made. */
static MllamaCudaUpload *
take_upload (MllamaCudaBackend *be, gsize n_bytes)
{
  MllamaCudaRecorder *recorder = be->recorder;
  MllamaCudaUpload *upload = &recorder->uploads[recorder->next_upload];

  if (!mllama_cuda_check (be, cudaEventSynchronize (upload->done), "waiting for the copy of a pass") ||
      !grow_upload (be, upload, n_bytes) || !grow_arrays (be, n_bytes))
    return NULL;
  recorder->next_upload = (recorder->next_upload + 1) % MLLAMA_CUDA_N_UPLOADS;
  upload->n_used = 0;
  return upload;
}

/* The header stays where it is, so that recordings find it; the arrays are where it says. */
static gboolean
send_arrays (MllamaCudaBackend *be, const MllamaPass *pass)
{
  MllamaCudaRecorder *recorder = be->recorder;
  gsize n_all;
  g_autofree guint *n_pages = count_pages (pass, &n_all);
  MllamaCudaUpload *upload = take_upload (be, count_bytes (pass, n_all));
  MllamaCudaPass header;
  const void *unused;
  void *sent;

  if (!upload)
    return FALSE;
  header = pack_pass (be, upload, pass, n_pages, n_all);
  header.samples = recorder->samples;
  header.drawn = recorder->drawn;
  header.done = recorder->done;
  header.history = recorder->history;
  header.history_words = recorder->history_words;
  header.kv = pass->kv ? pass->kv->data : NULL;
  header.kv_page_elements = pass->kv ? pass->kv->page_bytes / be->element_bytes : 0;
  if (!mllama_cuda_check (
          be, cudaMemcpyAsync (recorder->arrays, upload->host, upload->n_used, cudaMemcpyHostToDevice, be->stream),
          "copy of a pass"))
    return FALSE;
  sent = reserve (recorder, upload, sizeof header, &unused);
  memcpy (sent, &header, sizeof header);
  return mllama_cuda_check (be, cudaMemcpyAsync (be->pass, sent, sizeof header, cudaMemcpyHostToDevice, be->stream),
                            "copy of a pass") &&
         mllama_cuda_check (be, cudaEventRecord (upload->done, be->stream), "copy of a pass");
}

/* --- histories --- */

/* Ids of any row of a table or a head can be drawn or given. */
static gboolean
reserve_history (MllamaCudaBackend *be)
{
  MllamaCudaRecorder *recorder = be->recorder;
  gsize n_words = (MAX (be->max_weight_rows, be->base.config->text.vocab_size) + 31) / 32;
  GError *error = NULL;

  if (n_words <= recorder->history_words)
    return TRUE;
  mllama_cuda_free (be, recorder->history);
  recorder->history_words = 0;
  recorder->history =
      mllama_cuda_alloc (be, MLLAMA_MAX_ROWS * n_words * sizeof (guint32), "histories of answers", &error);
  if (!recorder->history)
    return mllama_cuda_fail (be, error);
  recorder->history_words = n_words;
  return mllama_cuda_check (
      be, cudaMemsetAsync (recorder->history, 0, MLLAMA_MAX_ROWS * n_words * sizeof (guint32), be->stream),
      "histories of answers");
}

/* Once an answer, and only if a penalty looks at it: the copy is made before the call returns. */
static void
start_history (MllamaCudaBackend *be, const MllamaSampling *sampling)
{
  MllamaCudaRecorder *recorder = be->recorder;
  gsize n_words = recorder->history_words;
  g_autofree guint32 *bits = g_new0 (guint32, n_words);

  for (gsize i = 0; i < sampling->n_prompt; i++)
    if (sampling->prompt[i] / 32 < n_words)
      bits[sampling->prompt[i] / 32] |= (guint32) 1 << sampling->prompt[i] % 32;
  mllama_cuda_check (be,
                     cudaMemcpyAsync (recorder->history + sampling->slot * n_words, bits, n_words * sizeof (guint32),
                                      cudaMemcpyHostToDevice, be->stream),
                     "history of an answer");
}

static void
start_histories (MllamaCudaBackend *be, const MllamaPass *pass)
{
  for (guint i = 0; pass->sampling && i < pass->n_outputs; i++)
    if (pass->sampling[i].prompt && pass->sampling[i].repetition_penalty != 1)
      start_history (be, &pass->sampling[i]);
}

gboolean
mllama_cuda_send_pass (MllamaCudaBackend *be, const MllamaPass *pass)
{
  if (!reserve_history (be) || !send_arrays (be, pass))
    return FALSE;
  start_histories (be, pass);
  return TRUE;
}
