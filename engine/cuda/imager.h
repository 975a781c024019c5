/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a picture's planes to patches: cuda-frame.c says what is done, frame.cu has the kernels, cuda-planes.c,
 * cuda-imager.c and cuda-import.c get bytes to the device.
 *
 * Bytes are copied on a stream of the imager's own, so that a picture need not wait for the steps queued before it;
 * kernels run on the backend's. */
#pragma once

#include "cuda.h"
#include "image-options.h"
#include "image-row.h"
#include "resample.h"

G_BEGIN_DECLS

/* --- what kernels are handed --- */

/* How a pixel is read. */
typedef enum {
  MLLAMA_CUDA_PIXELS_PACKED, /* three of the bytes of a pixel */
  MLLAMA_CUDA_PIXELS_ALPHA,  /* four, over white */
  MLLAMA_CUDA_PIXELS_GRAY,
  MLLAMA_CUDA_PIXELS_YUV,
  MLLAMA_CUDA_PIXELS_ROWS, /* what a pass made: R, G, B and a byte of nothing */
} MllamaCudaPixels;

/* A run of rows of a picture on the device. */
typedef struct {
  MllamaCudaPixels pixels;
  const guint8 *planes[3]; /* YUV: Y, U, V, also where they share bytes */
  gsize pitches[3];        /* bytes */
  guint32 first_rows[3];   /* row of the plane that planes[i] points to */
  guint32 step, chroma_step;
  guint32 chroma_shift;            /* row y has the chroma of row y >> chroma_shift */
  guint32 red, green, blue, alpha; /* places of the components in a packed pixel */
  MllamaYuvWeights yuv;
} MllamaCudaSource;

/* MllamaResampleAxis on the device. Weights are turned around, for threads that work on neighbouring outputs. */
typedef struct {
  guint32 n_out;
  const guint32 *starts, *counts; /* [n_out] */
  const gint32 *weights;          /* [n_taps][n_out] */
} MllamaCudaAxis;

/* Where the canvas lies in a frame's patches. */
typedef struct {
  void *patches;                         /* act [n_tiles * n_patches][ld] */
  gsize ld;                              /* elements */
  const float *table;                    /* [3][256]: byte of a colour -> number */
  guint32 size, patch_size, n_across;    /* side of a tile; of a patch; patches in a row of a tile */
  guint32 n_columns;                     /* of tiles */
  guint32 resized_width, resized_height; /* beyond them the canvas is black */
} MllamaCudaCanvas;

/* One pass over output rows first_row to first_row + n_rows - 1, width pixels each. */
typedef struct {
  MllamaCudaSource source;
  MllamaCudaAxis axis;
  gboolean is_across; /* horizontal */
  guint32 first_row, n_rows, width;
} MllamaCudaImagePass;

/* --- frame.cu --- */

/* resample: out[y][x] = clip ((2^21 + sum_k in[k] * weights[k]) >> 22) for each colour, along the axis; integers.
 * to_rows writes [n_rows][width] pixels of MLLAMA_CUDA_PIXELS_ROWS; to_canvas looks the bytes up in the table. */
void mllama_cuda_resample_to_rows (MllamaCudaBackend *be, const MllamaCudaImagePass *pass, guint8 *rows);
void mllama_cuda_resample_to_canvas (MllamaCudaBackend *be, const MllamaCudaImagePass *pass,
                                     const MllamaCudaCanvas *canvas);
/* One tile of f32 [3][size][size] -> act [n_across * n_across][ld], zeros past the patch's own numbers. */
void mllama_cuda_cut_patches (MllamaCudaBackend *be, void *patches, gsize ld, const float *tile, guint size,
                              guint patch_size);

/* --- cuda-imager.c --- */

/* A filter for one axis, the last one used. */
typedef struct {
  gboolean is_valid;
  MllamaResample resample;
  MllamaResampleAxis host;
  void *data; /* on the device: starts, counts, weights */
  gsize n_bytes;
} MllamaCudaFilter;

#define MLLAMA_CUDA_N_PIECES 2

struct _MllamaCudaImager {
  cudaStream_t stream;
  cudaEvent_t arrived;  /* what was copied last is there */
  cudaEvent_t consumed; /* the backend's stream has read what was copied before */
  struct {
    guint8 *data; /* pinned */
    cudaEvent_t sent;
  } pieces[MLLAMA_CUDA_N_PIECES];
  guint next_piece;
  guint8 *planes; /* on the device */
  gsize planes_bytes;
  MllamaCudaFilter x, y;
  gboolean has_table;
  MllamaPixelTable table;
  float *device_table; /* [3][256] */
};

/* Failures of the device are recorded in the backend; what a caller may go on after returns FALSE with an error. */

/* What is copied between begin and end is there for the kernels launched after end; after these comes consumed. begin
 * gives planes n_bytes of room, and what was in them is lost. */
gboolean mllama_cuda_imager_begin (MllamaCudaBackend *be, gsize n_bytes, GError **error);
void mllama_cuda_imager_end (MllamaCudaBackend *be);
void mllama_cuda_imager_consumed (MllamaCudaBackend *be);

/* From host memory, which is read before the call returns. pitch is at most 4 MiB. */
void mllama_cuda_imager_send_rows (MllamaCudaBackend *be, void *dest, gsize pitch, const void *src, gsize stride,
                                   gsize row_bytes, gsize n_rows);
void mllama_cuda_imager_send (MllamaCudaBackend *be, void *dest, const void *src, gsize n_bytes);

/* Between begin and end: makes and sends the filter or the table, if the last one was another. */
gboolean mllama_cuda_imager_use_filter (MllamaCudaBackend *be, MllamaCudaFilter *filter, MllamaResample resample,
                                        guint n_in, guint n_out, GError **error);
void mllama_cuda_imager_use_table (MllamaCudaBackend *be, const MllamaImageOptions *options);
MllamaCudaAxis mllama_cuda_filter_get_axis (const MllamaCudaFilter *filter);

/* --- cuda-planes.c --- */

/* Room that rows first to end - 1 of the picture take on the device. */
gsize mllama_cuda_get_planes_bytes (const MllamaImage *image, guint first, guint end);
/* Sends them, with a begin and an end of its own, and says where they are. */
gboolean mllama_cuda_send_planes (MllamaCudaBackend *be, MllamaCudaSource *source, const MllamaImage *image,
                                  guint first, guint end, GError **error);

/* --- cuda-import.c: pictures that are on the device already --- */

/* INVALID if a plane is not memory of the backend's device; waits for the default stream of the memory's context. */
gboolean mllama_cuda_import_check (MllamaCudaBackend *be, const MllamaImage *image, GError **error);
/* Between begin and end; from whatever context the memory belongs to. */
gboolean mllama_cuda_import_rows (MllamaCudaBackend *be, void *dest, gsize pitch, const guint8 *src, gsize stride,
                                  gsize row_bytes, gsize n_rows, GError **error);

G_END_DECLS
