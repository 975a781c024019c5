/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How pictures and what they need get to the device. */
#include "imager.h"

#include <string.h>

/* Two pieces keep the bus busy while the processor fills the other one. */
#define PIECE_BYTES ((gsize) 4 << 20)

#define WHAT "taking a picture to the device"

/* --- life --- */

static cudaError_t
create_piece (MllamaCudaImager *imager, guint piece)
{
  cudaError_t result = cudaMallocHost ((void **) &imager->pieces[piece].data, PIECE_BYTES);

  if (result != cudaSuccess)
    return result;
  return cudaEventCreateWithFlags (&imager->pieces[piece].sent, cudaEventDisableTiming);
}

static cudaError_t
create (MllamaCudaImager *imager)
{
  cudaError_t result = cudaStreamCreateWithFlags (&imager->stream, cudaStreamNonBlocking);

  if (result == cudaSuccess)
    result = cudaEventCreateWithFlags (&imager->arrived, cudaEventDisableTiming);
  if (result == cudaSuccess)
    result = cudaEventCreateWithFlags (&imager->consumed, cudaEventDisableTiming);
  if (result == cudaSuccess)
    result = cudaMalloc ((void **) &imager->device_table, sizeof imager->table.values);
  for (guint piece = 0; result == cudaSuccess && piece < MLLAMA_CUDA_N_PIECES; piece++)
    result = create_piece (imager, piece);
  return result;
}

gboolean
mllama_cuda_imager_init (MllamaCudaBackend *be, GError **error)
{
  cudaError_t result;

  be->imager = g_new0 (MllamaCudaImager, 1);
  result = create (be->imager);
  if (result == cudaSuccess)
    return TRUE;
  mllama_cuda_set_error (error, result, "room for pictures", MLLAMA_CUDA_N_PIECES * PIECE_BYTES);
  mllama_cuda_imager_clear (be);
  return FALSE;
}

static void
clear_filter (MllamaCudaFilter *filter)
{
  mllama_resample_axis_clear (&filter->host);
  if (filter->data)
    cudaFree (filter->data);
}

static void
clear_pieces (MllamaCudaImager *imager)
{
  for (guint piece = 0; piece < MLLAMA_CUDA_N_PIECES; piece++) {
    if (imager->pieces[piece].sent)
      cudaEventDestroy (imager->pieces[piece].sent);
    if (imager->pieces[piece].data)
      cudaFreeHost (imager->pieces[piece].data);
  }
}

/* Nothing is running any more, or the device is lost. */
void
mllama_cuda_imager_clear (MllamaCudaBackend *be)
{
  MllamaCudaImager *imager = g_steal_pointer (&be->imager);

  if (!imager)
    return;
  if (imager->stream)
    cudaStreamSynchronize (imager->stream);
  clear_pieces (imager);
  clear_filter (&imager->x);
  clear_filter (&imager->y);
  if (imager->device_table)
    cudaFree (imager->device_table);
  if (imager->planes)
    cudaFree (imager->planes);
  if (imager->consumed)
    cudaEventDestroy (imager->consumed);
  if (imager->arrived)
    cudaEventDestroy (imager->arrived);
  if (imager->stream)
    cudaStreamDestroy (imager->stream);
  g_free (imager);
}

/* --- order between the streams --- */

/* Memory of the imager's own, of at least n_bytes. Kernels may be reading what is given back: cudaFree waits for them.
 */
static gboolean
reserve (void **data, gsize *n_bytes, gsize needed, const char *what, GError **error)
{
  cudaError_t result;

  if (needed <= *n_bytes)
    return TRUE;
  if (*data)
    cudaFree (*data);
  *data = NULL;
  *n_bytes = 0;
  result = cudaMalloc (data, needed);
  if (result == cudaSuccess) {
    *n_bytes = needed;
    return TRUE;
  }
  /* A refusal is not a fault of what is launched next. */
  (void) cudaGetLastError ();
  *data = NULL;
  mllama_cuda_set_error (error, result, what, needed);
  return FALSE;
}

gboolean
mllama_cuda_imager_begin (MllamaCudaBackend *be, gsize n_bytes, GError **error)
{
  MllamaCudaImager *imager = be->imager;
  void *planes = imager->planes;
  gboolean ok = reserve (&planes, &imager->planes_bytes, n_bytes, "the planes of a picture", error);

  imager->planes = planes;
  if (ok)
    mllama_cuda_check (be, cudaStreamWaitEvent (imager->stream, imager->consumed, 0), WHAT);
  return ok;
}

void
mllama_cuda_imager_end (MllamaCudaBackend *be)
{
  mllama_cuda_check (be, cudaEventRecord (be->imager->arrived, be->imager->stream), WHAT);
  mllama_cuda_check (be, cudaStreamWaitEvent (be->stream, be->imager->arrived, 0), WHAT);
}

void
mllama_cuda_imager_consumed (MllamaCudaBackend *be)
{
  mllama_cuda_check (be, cudaEventRecord (be->imager->consumed, be->stream), WHAT);
}

/* --- from host memory --- */

/* The piece that has been on its way longest. */
static guint8 *
take_piece (MllamaCudaBackend *be)
{
  MllamaCudaImager *imager = be->imager;

  mllama_cuda_check (be, cudaEventSynchronize (imager->pieces[imager->next_piece].sent), WHAT);
  return imager->pieces[imager->next_piece].data;
}

static void
send_piece (MllamaCudaBackend *be, void *dest, gsize n_bytes)
{
  MllamaCudaImager *imager = be->imager;
  guint piece = imager->next_piece;

  mllama_cuda_check (
      be, cudaMemcpyAsync (dest, imager->pieces[piece].data, n_bytes, cudaMemcpyHostToDevice, imager->stream), WHAT);
  mllama_cuda_check (be, cudaEventRecord (imager->pieces[piece].sent, imager->stream), WHAT);
  imager->next_piece = (piece + 1) % MLLAMA_CUDA_N_PIECES;
}

static void
pack_rows (guint8 *dest, gsize pitch, const guint8 *src, gsize stride, gsize row_bytes, gsize n_rows)
{
  if (stride == row_bytes && pitch == row_bytes) {
    memcpy (dest, src, n_rows * row_bytes);
    return;
  }
  for (gsize row = 0; row < n_rows; row++)
    memcpy (dest + row * pitch, src + row * stride, row_bytes);
}

void
mllama_cuda_imager_send_rows (MllamaCudaBackend *be, void *dest, gsize pitch, const void *src, gsize stride,
                              gsize row_bytes, gsize n_rows)
{
  gsize rows_at_once = PIECE_BYTES / pitch;

  for (gsize row = 0; row < n_rows; row += rows_at_once) {
    gsize n = MIN (rows_at_once, n_rows - row);

    pack_rows (take_piece (be), pitch, (const guint8 *) src + row * stride, stride, row_bytes, n);
    send_piece (be, (guint8 *) dest + row * pitch, (n - 1) * pitch + row_bytes);
  }
}

void
mllama_cuda_imager_send (MllamaCudaBackend *be, void *dest, const void *src, gsize n_bytes)
{
  for (gsize at = 0; at < n_bytes; at += PIECE_BYTES) {
    gsize n = MIN (PIECE_BYTES, n_bytes - at);

    memcpy (take_piece (be), (const guint8 *) src + at, n);
    send_piece (be, (guint8 *) dest + at, n);
  }
}

/* --- tables --- */

/* starts, counts and turned weights, one after the other. */
static gsize
count_words (const MllamaResampleAxis *axis)
{
  return axis->n_out * (2 + (gsize) axis->n_taps);
}

static guint32 *
lay_out (const MllamaResampleAxis *axis)
{
  gsize n_out = axis->n_out, n_taps = axis->n_taps;
  guint32 *words = g_new (guint32, count_words (axis));

  memcpy (words, axis->starts, n_out * sizeof (guint32));
  memcpy (words + n_out, axis->counts, n_out * sizeof (guint32));
  for (gsize i = 0; i < n_out; i++)
    for (gsize k = 0; k < n_taps; k++)
      words[(2 + k) * n_out + i] = (guint32) axis->weights[i * n_taps + k];
  return words;
}

gboolean
mllama_cuda_imager_use_filter (MllamaCudaBackend *be, MllamaCudaFilter *filter, MllamaResample resample, guint n_in,
                               guint n_out, GError **error)
{
  g_autofree guint32 *words = NULL;
  gsize n_bytes;

  if (filter->is_valid && filter->resample == resample && filter->host.n_in == n_in && filter->host.n_out == n_out)
    return TRUE;
  filter->is_valid = FALSE;
  mllama_resample_axis_clear (&filter->host);
  mllama_resample_axis_init (&filter->host, resample, n_in, n_out);
  n_bytes = count_words (&filter->host) * sizeof (guint32);
  if (!reserve (&filter->data, &filter->n_bytes, n_bytes, "the filter of a picture", error))
    return FALSE;
  words = lay_out (&filter->host);
  mllama_cuda_imager_send (be, filter->data, words, n_bytes);
  filter->resample = resample;
  filter->is_valid = TRUE;
  return TRUE;
}

MllamaCudaAxis
mllama_cuda_filter_get_axis (const MllamaCudaFilter *filter)
{
  guint n_out = filter->host.n_out;
  const guint32 *words = filter->data;

  return (MllamaCudaAxis){n_out, words, words + n_out, (const gint32 *) (words + 2 * (gsize) n_out)};
}

void
mllama_cuda_imager_use_table (MllamaCudaBackend *be, const MllamaImageOptions *options)
{
  MllamaCudaImager *imager = be->imager;
  MllamaPixelTable table;

  mllama_pixel_table_init (&table, options);
  if (imager->has_table && memcmp (&table, &imager->table, sizeof table) == 0)
    return;
  mllama_cuda_imager_send (be, imager->device_table, table.values, sizeof table.values);
  imager->table = table;
  imager->has_table = TRUE;
}
