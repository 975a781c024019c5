/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passes: those of few tokens are recorded as CUDA graphs, one for each bucket of tokens; ids come back through pinned
 * memory.
 *
 * A recording is made of a pass that has run before: by then every kernel is loaded, every scratch has its size, and
 * every algorithm is chosen, so that nothing is allocated while recording. */
#include <string.h>

#include "cuda-recorder.h"

static const guint buckets[MLLAMA_CUDA_N_BUCKETS] = {1, 2, 4, 8, 16, 32, MLLAMA_MAX_ROWS};

static guint
find_bucket (guint n)
{
  guint i = 0;

  while (i + 1 < MLLAMA_CUDA_N_BUCKETS && buckets[i] < n)
    i++;
  return i;
}

/* --- recordings --- */

static void
start_recording (MllamaCudaBackend *be)
{
  MllamaCudaRecorder *recorder = be->recorder;

  /* Global mode would make allocations in other threads of the process fail. */
  recorder->is_capturing = mllama_cuda_check (be, cudaStreamBeginCapture (be->stream, cudaStreamCaptureModeThreadLocal),
                                              "start of a recording");
}

static void
end_recording (MllamaCudaBackend *be, MllamaCudaRecording *recording)
{
  cudaGraph_t graph = NULL;

  be->recorder->is_capturing = FALSE;
  if (!mllama_cuda_check (be, cudaStreamEndCapture (be->stream, &graph), "end of a recording"))
    return;
  if (mllama_cuda_check (be, cudaGraphInstantiate (&recording->graph, graph, 0), "making a recording ready") &&
      mllama_cuda_check (be, cudaGraphUpload (recording->graph, be->stream), "making a recording ready"))
    recording->state = MLLAMA_CUDA_RECORDED;
  cudaGraphDestroy (graph);
}

/* --- the table --- */

gboolean
mllama_cuda_pass_begin (MllamaBackend *base, const MllamaPass *pass)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);
  MllamaCudaRecorder *recorder = be->recorder;
  guint bucket = find_bucket (pass->n_tokens);
  gboolean is_few = pass->kind == MLLAMA_PASS_FEW;

  be->n_max_tokens = is_few ? buckets[bucket] : pass->n_tokens;
  be->n_max_outputs = is_few ? buckets[bucket] : pass->n_outputs;
  recorder->has_draws = pass->sampling != NULL;
  recorder->n_outputs = pass->n_outputs;
  recorder->recording = is_few && pass->may_record ? &recorder->recordings[bucket][mllama_pass_sees_keys (pass)] : NULL;
  if (!mllama_cuda_send_pass (be, pass))
    return FALSE;
  if (recorder->recording && recorder->recording->state == MLLAMA_CUDA_RUN_ONCE)
    start_recording (be);
  return !recorder->recording || recorder->recording->state != MLLAMA_CUDA_RECORDED;
}

/* The samples of the pass, once it has run, into pinned memory. */
static void
fetch_samples (MllamaCudaBackend *be)
{
  MllamaCudaRecorder *recorder = be->recorder;
  MllamaCudaResult *result = &recorder->results[(recorder->first_result + recorder->n_results) % MLLAMA_CUDA_N_RESULTS];

  g_assert (recorder->n_results < MLLAMA_CUDA_N_RESULTS);
  recorder->n_results++;
  result->n_samples = recorder->n_outputs;
  if (result->n_samples > 0)
    mllama_cuda_check (be,
                       cudaMemcpyAsync (result->samples, recorder->samples, result->n_samples * sizeof (MllamaSample),
                                        cudaMemcpyDeviceToHost, be->stream),
                       "copy of drawn ids");
  mllama_cuda_check (be, cudaEventRecord (result->done, be->stream), "copy of drawn ids");
}

void
mllama_cuda_pass_end (MllamaBackend *base)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);
  MllamaCudaRecorder *recorder = be->recorder;
  MllamaCudaRecording *recording = recorder->recording;

  if (recorder->is_capturing)
    end_recording (be, recording);
  if (recording && recording->state == MLLAMA_CUDA_RECORDED)
    mllama_cuda_check (be, cudaGraphLaunch (recording->graph, be->stream), "start of a recorded pass");
  else if (recording)
    recording->state = MLLAMA_CUDA_RUN_ONCE;
  recorder->recording = NULL;
  if (recorder->has_draws)
    fetch_samples (be);
}

gboolean
mllama_cuda_samples_read (MllamaBackend *base, MllamaSample *samples, GError **error)
{
  MllamaCudaBackend *be = mllama_cuda_backend (base);
  MllamaCudaRecorder *recorder = be->recorder;
  MllamaCudaResult *result = &recorder->results[recorder->first_result];

  g_assert (recorder->n_results > 0);
  recorder->first_result = (recorder->first_result + 1) % MLLAMA_CUDA_N_RESULTS;
  recorder->n_results--;
  mllama_cuda_check (be, cudaEventSynchronize (result->done), "a pass");
  if (!mllama_cuda_is_well (be, error))
    return FALSE;
  memcpy (samples, result->samples, result->n_samples * sizeof (MllamaSample));
  return TRUE;
}

/* --- life --- */

static gboolean
create_event (MllamaCudaBackend *be, cudaEvent_t *event)
{
  return mllama_cuda_check (be, cudaEventCreateWithFlags (event, cudaEventDisableTiming), "creating an event");
}

static gboolean
create_host_side (MllamaCudaBackend *be)
{
  MllamaCudaRecorder *recorder = be->recorder;

  for (guint i = 0; i < MLLAMA_CUDA_N_UPLOADS; i++)
    if (!create_event (be, &recorder->uploads[i].done))
      return FALSE;
  for (guint i = 0; i < MLLAMA_CUDA_N_RESULTS; i++)
    if (!create_event (be, &recorder->results[i].done) ||
        !mllama_cuda_check (
            be, cudaMallocHost ((void **) &recorder->results[i].samples, MLLAMA_MAX_ROWS * sizeof (MllamaSample)),
            "pinned memory for drawn ids"))
      return FALSE;
  return TRUE;
}

gboolean
mllama_cuda_recorder_init (MllamaCudaBackend *be, GError **error)
{
  MllamaCudaRecorder *recorder = be->recorder = g_new0 (MllamaCudaRecorder, 1);
  gsize n = MLLAMA_MAX_ROWS;

  if (!(be->pass = mllama_cuda_alloc (be, sizeof (MllamaCudaPass), "a pass", error)) ||
      !(recorder->samples = mllama_cuda_alloc (be, n * sizeof (MllamaSample), "drawn ids", error)) ||
      !(recorder->drawn = mllama_cuda_alloc (be, n * sizeof (guint32), "drawn ids", error)) ||
      !(recorder->done = mllama_cuda_alloc (be, n, "ends of answers", error)))
    return FALSE;
  mllama_cuda_check (be, cudaMemsetAsync (recorder->samples, 0, n * sizeof (MllamaSample), be->stream), "drawn ids");
  mllama_cuda_check (be, cudaMemsetAsync (recorder->drawn, 0, n * sizeof (guint32), be->stream), "drawn ids");
  mllama_cuda_check (be, cudaMemsetAsync (recorder->done, 0, n, be->stream), "ends of answers");
  return create_host_side (be) && mllama_cuda_is_well (be, error);
}

void
mllama_cuda_recorder_clear (MllamaCudaBackend *be)
{
  MllamaCudaRecorder *recorder = be->recorder;

  if (!recorder)
    return;
  for (guint i = 0; i < MLLAMA_CUDA_N_BUCKETS; i++)
    for (guint k = 0; k < 2; k++)
      if (recorder->recordings[i][k].graph)
        cudaGraphExecDestroy (recorder->recordings[i][k].graph);
  for (guint i = 0; i < MLLAMA_CUDA_N_UPLOADS; i++) {
    cudaFreeHost (recorder->uploads[i].host);
    if (recorder->uploads[i].done)
      cudaEventDestroy (recorder->uploads[i].done);
  }
  for (guint i = 0; i < MLLAMA_CUDA_N_RESULTS; i++) {
    cudaFreeHost (recorder->results[i].samples);
    if (recorder->results[i].done)
      cudaEventDestroy (recorder->results[i].done);
  }
  mllama_cuda_free (be, recorder->arrays);
  mllama_cuda_free (be, recorder->samples);
  mllama_cuda_free (be, recorder->drawn);
  mllama_cuda_free (be, recorder->done);
  mllama_cuda_free (be, recorder->history);
  mllama_cuda_free (be, be->pass);
  g_clear_pointer (&be->recorder, g_free);
}
