/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cuda-load.h"

#define MAX_READERS 8
#define N_BUFFERS   2 /* one is filled while the other is copied */

/* That may wait: whoever makes weights shall notice before the last that loading was cancelled. */
#define MAX_PIECES (4 * MAX_READERS)

/* Small models don't pay for pinning large buffers. */
#define SMALL_BUFFER_BYTES ((gsize) 1 << 20)

typedef struct {
  void *data; /* pinned; NULL until needed */
  gsize n_bytes;
  cudaEvent_t copied;
} Buffer;

typedef struct {
  MllamaCudaBackend *be;
  GThread *thread;
  const MllamaWeight *weight; /* of the piece in work; NULL: none */
  Buffer buffers[N_BUFFERS];
  guint next;
} Reader;

struct _MllamaCudaLoader {
  cudaStream_t stream;
  cudaEvent_t order; /* from one stream to the other, for the model's thread */
  GMutex copy_lock;  /* held from the copy into staging to the event after its conversion */
  void *staging;     /* device: a piece that has to be converted; NULL until needed */

  GMutex lock; /* guards what follows */
  GCond changed;
  GQueue pieces;      /* MllamaCudaPiece */
  GPtrArray *readers; /* changed by the model's thread only */
  guint n_idle;
  gboolean is_ending;
  GError *error; /* the first one; nothing is read after it */
};

/* --- one piece --- */

/* What is in the buffer has been copied then. */
static gboolean
reserve_buffer (MllamaCudaBackend *be, Buffer *buffer, gsize n_bytes, GError **error)
{
  cudaError_t result;

  if (!buffer->copied)
    mllama_cuda_check (be, cudaEventCreateWithFlags (&buffer->copied, cudaEventDisableTiming | cudaEventBlockingSync),
                       "reading weights");
  else
    mllama_cuda_check (be, cudaEventSynchronize (buffer->copied), "copying weights to the device");
  if (!mllama_cuda_is_well (be, error))
    return FALSE;
  if (n_bytes <= buffer->n_bytes)
    return TRUE;
  if (buffer->data)
    cudaFreeHost (buffer->data);
  buffer->data = NULL;
  buffer->n_bytes = 0;
  n_bytes = n_bytes <= SMALL_BUFFER_BYTES ? SMALL_BUFFER_BYTES : MLLAMA_CUDA_PIECE_BYTES;
  result = cudaHostAlloc (&buffer->data, n_bytes, cudaHostAllocDefault);
  if (result == cudaSuccess) {
    buffer->n_bytes = n_bytes;
    return TRUE;
  }
  cudaGetLastError ();
  g_set_error (
      error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY,
      "reading weights needs %.1f MB of pinned host memory, and the driver refuses it: %s; end other programs, "
      "or raise the limit of locked memory",
      n_bytes / 1e6, cudaGetErrorString (result));
  return FALSE;
}

static void
free_buffer (MllamaCudaBackend *be, Buffer *buffer)
{
  if (!buffer->copied)
    return;
  mllama_cuda_check (be, cudaEventSynchronize (buffer->copied), "copying weights to the device");
  if (buffer->data)
    cudaFreeHost (buffer->data);
  cudaEventDestroy (buffer->copied);
}

static void
copy_piece (MllamaCudaBackend *be, const MllamaCudaPiece *piece, const Buffer *buffer, gsize n_bytes)
{
  MllamaCudaLoader *loader = be->loader;
  const MllamaWeight *weight = piece->weight;
  gsize first = piece->place + piece->first;
  void *dest = piece->is_direct ? (char *) weight->data + first * be->element_bytes : loader->staging;

  g_mutex_lock (&loader->copy_lock);
  mllama_cuda_check (be, cudaMemcpyAsync (dest, buffer->data, n_bytes, cudaMemcpyHostToDevice, loader->stream),
                     "copying weights to the device");
  if (!piece->is_direct)
    mllama_cuda_convert_weight (be, loader->stream, weight->data, weight->width, weight->ld, piece->n_taps, first,
                                loader->staging, piece->part->dtype, piece->n);
  mllama_cuda_check (be, cudaEventRecord (buffer->copied, loader->stream), "copying weights to the device");
  g_mutex_unlock (&loader->copy_lock);
}

static gboolean
load_piece (Reader *reader, const MllamaCudaPiece *piece, GError **error)
{
  MllamaCudaBackend *be = reader->be;
  Buffer *buffer = &reader->buffers[reader->next];
  gsize element_bytes = mllama_tensor_dtype_get_bytes (piece->part->dtype), n_bytes = piece->n * element_bytes;

  reader->next = (reader->next + 1) % N_BUFFERS;
  if (!reserve_buffer (be, buffer, n_bytes, error) ||
      !mllama_source_read (piece->source, piece->part, piece->first * element_bytes, n_bytes, buffer->data, error))
    return FALSE;
  copy_piece (be, piece, buffer, n_bytes);
  return mllama_cuda_is_well (be, error);
}

/* --- the readers --- */

static void
drop_pieces (MllamaCudaLoader *loader)
{
  g_queue_clear_full (&loader->pieces, g_free);
}

/* Sleeps until there is a piece; NULL: the end. */
static MllamaCudaPiece *
take_piece (Reader *reader)
{
  MllamaCudaLoader *loader = reader->be->loader;
  MllamaCudaPiece *piece;

  g_mutex_lock (&loader->lock);
  loader->n_idle++;
  while (g_queue_is_empty (&loader->pieces) && !loader->is_ending)
    g_cond_wait (&loader->changed, &loader->lock);
  loader->n_idle--;
  piece = g_queue_pop_head (&loader->pieces);
  reader->weight = piece ? piece->weight : NULL;
  g_mutex_unlock (&loader->lock);
  return piece;
}

static void
end_piece (Reader *reader, MllamaCudaPiece *piece, GError *error)
{
  MllamaCudaLoader *loader = reader->be->loader;

  g_mutex_lock (&loader->lock);
  reader->weight = NULL;
  if (error) {
    drop_pieces (loader);
    if (loader->error)
      g_error_free (error);
    else
      loader->error = error;
  }
  g_cond_broadcast (&loader->changed);
  g_mutex_unlock (&loader->lock);
  g_free (piece);
}

static gpointer
run_reader (gpointer data)
{
  Reader *reader = data;
  MllamaCudaPiece *piece;

  mllama_cuda_device_enter (reader->be);
  while ((piece = take_piece (reader))) {
    GError *error = NULL;
    load_piece (reader, piece, &error);
    end_piece (reader, piece, error);
  }
  for (guint i = 0; i < N_BUFFERS; i++)
    free_buffer (reader->be, &reader->buffers[i]);
  return NULL;
}

/* Half of the processors, since the others have work too; but one reader alone would copy no faster than memcpy. */
static guint
get_max_readers (void)
{
  return CLAMP (g_get_num_processors () / 2, 2, MAX_READERS);
}

/* The lock is held. */
static gboolean
add_reader (MllamaCudaBackend *be, GError **error)
{
  Reader *reader = g_new0 (Reader, 1);

  reader->be = be;
  reader->thread = g_thread_try_new ("mllama-load", run_reader, reader, error);
  if (!reader->thread) {
    g_free (reader);
    return FALSE;
  }
  g_ptr_array_add (be->loader->readers, reader);
  return TRUE;
}

/* --- weights come and go --- */

gboolean
mllama_cuda_loader_prepare (MllamaCudaBackend *be, gboolean needs_staging, GError **error)
{
  MllamaCudaLoader *loader = be->loader;
  g_autoptr (GError) thread_error = NULL;
  gboolean has_reader;

  if (needs_staging && !loader->staging &&
      !(loader->staging = mllama_cuda_alloc (be, MLLAMA_CUDA_PIECE_BYTES, "converting weights", error)))
    return FALSE;
  if (mllama_cuda_check (be, cudaEventRecord (loader->order, be->stream), "loading weights"))
    mllama_cuda_check (be, cudaStreamWaitEvent (loader->stream, loader->order, 0), "loading weights");
  g_mutex_lock (&loader->lock);
  has_reader = loader->readers->len > 0 || add_reader (be, &thread_error);
  if (loader->error && error)
    *error = g_error_copy (loader->error);
  else if (!has_reader)
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY,
                 "loading weights needs a thread, and the system refuses it: %s; end other programs",
                 thread_error->message);
  has_reader = has_reader && !loader->error;
  g_mutex_unlock (&loader->lock);
  return has_reader && mllama_cuda_is_well (be, error);
}

void
mllama_cuda_loader_push (MllamaCudaBackend *be, const MllamaCudaPiece *piece)
{
  MllamaCudaLoader *loader = be->loader;

  g_mutex_lock (&loader->lock);
  while (g_queue_get_length (&loader->pieces) >= MAX_PIECES && !loader->error)
    g_cond_wait (&loader->changed, &loader->lock);
  if (!loader->error) {
    g_queue_push_tail (&loader->pieces, g_memdup2 (piece, sizeof *piece));
    /* A reader that cannot be had is one less. */
    if (g_queue_get_length (&loader->pieces) > loader->n_idle && loader->readers->len < get_max_readers ())
      add_reader (be, NULL);
    g_cond_broadcast (&loader->changed);
  }
  g_mutex_unlock (&loader->lock);
}

static gboolean
is_in_work (const MllamaCudaLoader *loader, const MllamaWeight *weight)
{
  for (guint i = 0; i < loader->readers->len; i++) {
    const Reader *reader = g_ptr_array_index (loader->readers, i);
    if (reader->weight && (!weight || reader->weight == weight))
      return TRUE;
  }
  return FALSE;
}

static void
drop_pieces_of (MllamaCudaLoader *loader, const MllamaWeight *weight)
{
  for (GList *link = loader->pieces.head, *next; link; link = next) {
    MllamaCudaPiece *piece = link->data;
    next = link->next;
    if (piece->weight == weight) {
      g_queue_delete_link (&loader->pieces, link);
      g_free (piece);
    }
  }
}

void
mllama_cuda_loader_forget (MllamaCudaBackend *be, const MllamaWeight *weight)
{
  MllamaCudaLoader *loader = be->loader;

  if (loader->readers->len == 0)
    return;
  g_mutex_lock (&loader->lock);
  drop_pieces_of (loader, weight);
  while (is_in_work (loader, weight))
    g_cond_wait (&loader->changed, &loader->lock);
  g_mutex_unlock (&loader->lock);
  mllama_cuda_device_enter (be);
  if (mllama_cuda_check (be, cudaEventRecord (loader->order, loader->stream), "loading weights"))
    mllama_cuda_check (be, cudaStreamWaitEvent (be->stream, loader->order, 0), "loading weights");
}

static void
end_readers (MllamaCudaLoader *loader)
{
  g_mutex_lock (&loader->lock);
  while (!g_queue_is_empty (&loader->pieces) || is_in_work (loader, NULL))
    g_cond_wait (&loader->changed, &loader->lock);
  loader->is_ending = TRUE;
  g_cond_broadcast (&loader->changed);
  g_mutex_unlock (&loader->lock);
  for (guint i = 0; i < loader->readers->len; i++) {
    Reader *reader = g_ptr_array_index (loader->readers, i);
    g_thread_join (reader->thread);
    g_free (reader);
  }
  g_ptr_array_set_size (loader->readers, 0);
  loader->is_ending = FALSE;
}

gboolean
mllama_cuda_loader_finish (MllamaCudaBackend *be, GError **error)
{
  MllamaCudaLoader *loader = be->loader;

  if (loader->readers->len > 0) {
    mllama_cuda_device_enter (be);
    end_readers (loader);
    mllama_cuda_check (be, cudaStreamSynchronize (loader->stream), "loading weights");
    mllama_cuda_free (be, loader->staging);
    loader->staging = NULL;
  }
  if (loader->error) {
    g_propagate_error (error, g_steal_pointer (&loader->error));
    return FALSE;
  }
  return mllama_cuda_is_well (be, error);
}

/* --- its life --- */

gboolean
mllama_cuda_loader_init (MllamaCudaBackend *be, GError **error)
{
  MllamaCudaLoader *loader = be->loader = g_new0 (MllamaCudaLoader, 1);

  g_mutex_init (&loader->lock);
  g_mutex_init (&loader->copy_lock);
  g_cond_init (&loader->changed);
  g_queue_init (&loader->pieces);
  loader->readers = g_ptr_array_new ();
  if (mllama_cuda_check (be, cudaStreamCreateWithFlags (&loader->stream, cudaStreamNonBlocking), "making a stream"))
    mllama_cuda_check (be, cudaEventCreateWithFlags (&loader->order, cudaEventDisableTiming), "making an event");
  return mllama_cuda_is_well (be, error);
}

void
mllama_cuda_loader_clear (MllamaCudaBackend *be)
{
  MllamaCudaLoader *loader = be->loader;

  if (!loader)
    return;
  g_mutex_lock (&loader->lock);
  drop_pieces (loader);
  g_mutex_unlock (&loader->lock);
  mllama_cuda_loader_finish (be, NULL);
  mllama_cuda_free (be, loader->staging);
  if (loader->order)
    cudaEventDestroy (loader->order);
  if (loader->stream)
    cudaStreamDestroy (loader->stream);
  g_ptr_array_unref (loader->readers);
  g_cond_clear (&loader->changed);
  g_mutex_clear (&loader->copy_lock);
  g_mutex_clear (&loader->lock);
  g_clear_pointer (&be->loader, g_free);
}
