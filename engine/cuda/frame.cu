/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pictures: colours, Pillow's two passes, tiles and patches. All integers up to the table, so that the bits are those
 * of engine/src/image-row.c, resample-ops.c and image-pixels.c, which say where the arithmetic comes from. */
#include "device.cuh"
#include "imager.h"

namespace mllama
{

struct Pixel {
  int r, g, b;
};

/* --- reading --- */

__device__ __forceinline__ const guint8 *
get_row (const MllamaCudaSource &s, int plane, unsigned y)
{
  return s.planes[plane] + (y - s.first_rows[plane]) * s.pitches[plane];
}

__device__ __forceinline__ int
clip (int value)
{
  return min (max (value, 0), 255);
}

__device__ __forceinline__ int
blend_over_white (unsigned value, unsigned alpha)
{
  unsigned t = (value * alpha + 255 * (255 - alpha) + 128) << 7;

  return ((t >> 8) + t) >> 15;
}

__device__ __forceinline__ Pixel
read_yuv (const MllamaCudaSource &s, unsigned x, unsigned y)
{
  constexpr int half = 1 << 15;
  unsigned at = x / 2 * s.chroma_step, row = y >> s.chroma_shift;
  int u = get_row (s, 1, row)[at] - 128, v = get_row (s, 2, row)[at] - 128;
  int luma = s.yuv.y_gain * (get_row (s, 0, y)[x * s.step] - s.yuv.y_zero) + half;

  return {clip ((luma + s.yuv.v_to_r * v) >> 16), clip ((luma + s.yuv.u_to_g * u + s.yuv.v_to_g * v) >> 16),
          clip ((luma + s.yuv.u_to_b * u) >> 16)};
}

template <MllamaCudaPixels pixels>
__device__ __forceinline__ Pixel
read_pixel (const MllamaCudaSource &s, unsigned x, unsigned y)
{
  if (pixels == MLLAMA_CUDA_PIXELS_YUV)
    return read_yuv (s, x, y);

  const guint8 *p = get_row (s, 0, y) + x * s.step;

  if (pixels == MLLAMA_CUDA_PIXELS_GRAY) {
    int gray = clip ((s.yuv.y_gain * (*p - s.yuv.y_zero) + (1 << 15)) >> 16);
    return {gray, gray, gray};
  }
  if (pixels == MLLAMA_CUDA_PIXELS_ALPHA) {
    unsigned alpha = p[s.alpha];
    return {blend_over_white (p[s.red], alpha), blend_over_white (p[s.green], alpha),
            blend_over_white (p[s.blue], alpha)};
  }
  if (pixels == MLLAMA_CUDA_PIXELS_ROWS) {
    uchar4 rgb = *reinterpret_cast<const uchar4 *> (p);
    return {rgb.x, rgb.y, rgb.z};
  }
  return {p[s.red], p[s.green], p[s.blue]};
}

/* --- writing --- */

struct RowSink {
  uchar4 *rows; /* [n_rows][width] */
  unsigned first_row, width;

  __device__ __forceinline__ bool has_pixel (unsigned, unsigned) const
  {
    return true;
  }

  __device__ __forceinline__ void put (unsigned x, unsigned y, Pixel p) const
  {
    rows[(size_t) (y - first_row) * width + x] = make_uchar4 (p.r, p.g, p.b, 0);
  }
};

template <typename T> struct PatchSink {
  MllamaCudaCanvas canvas;

  __device__ __forceinline__ bool has_pixel (unsigned x, unsigned y) const
  {
    return x < canvas.resized_width && y < canvas.resized_height;
  }

  /* What is left of a tile beyond its last whole patch belongs to none. */
  __device__ __forceinline__ void put (unsigned x, unsigned y, Pixel p) const
  {
    unsigned tile = y / canvas.size * canvas.n_columns + x / canvas.size;
    unsigned row = y % canvas.size / canvas.patch_size, column = x % canvas.size / canvas.patch_size;
    unsigned area = canvas.patch_size * canvas.patch_size;

    if (row >= canvas.n_across || column >= canvas.n_across)
      return;

    unsigned from_corner =
        (y % canvas.size - row * canvas.patch_size) * canvas.patch_size + x % canvas.size - column * canvas.patch_size;
    size_t patch = ((size_t) tile * canvas.n_across + row) * canvas.n_across + column;
    T *out = static_cast<T *> (canvas.patches) + patch * canvas.ld + from_corner;

    out[0] = from_float<T> (canvas.table[p.r]);
    out[area] = from_float<T> (canvas.table[256 + p.g]);
    out[2 * (size_t) area] = from_float<T> (canvas.table[512 + p.b]);
  }
};

/* --- passes --- */

constexpr int pass_threads = 128;

template <MllamaCudaPixels pixels, bool across>
__device__ __forceinline__ Pixel
resample (const MllamaCudaSource &s, const MllamaCudaAxis &axis, unsigned x, unsigned y)
{
  constexpr int half = 1 << (MLLAMA_RESAMPLE_BITS - 1);
  unsigned out = across ? x : y, start = axis.starts[out], count = axis.counts[out];
  const gint32 *weight = axis.weights + out;
  Pixel sum = {half, half, half};

  for (unsigned k = 0; k < count; k++, weight += axis.n_out) {
    Pixel p = across ? read_pixel<pixels> (s, start + k, y) : read_pixel<pixels> (s, x, start + k);

    sum.r += p.r * *weight;
    sum.g += p.g * *weight;
    sum.b += p.b * *weight;
  }
  return {clip (sum.r >> MLLAMA_RESAMPLE_BITS), clip (sum.g >> MLLAMA_RESAMPLE_BITS),
          clip (sum.b >> MLLAMA_RESAMPLE_BITS)};
}

/* Neighbouring threads make neighbouring pixels of a row. */
template <MllamaCudaPixels pixels, bool across, typename Sink>
__global__ void
__launch_bounds__ (pass_threads)
    resample_thread_per_pixel (__grid_constant__ const MllamaCudaImagePass pass, __grid_constant__ const Sink sink)
{
  wait_for_inputs ();
  let_next_start ();

  unsigned x = blockIdx.x * pass_threads + threadIdx.x;

  if (x >= pass.width)
    return;
  for (unsigned i = blockIdx.y; i < pass.n_rows; i += gridDim.y) {
    unsigned y = pass.first_row + i;
    Pixel p = {0, 0, 0};

    if (sink.has_pixel (x, y))
      p = resample<pixels, across> (pass.source, pass.axis, x, y);
    sink.put (x, y, p);
  }
}

constexpr int cut_threads = 128;

template <typename T>
__global__ void
__launch_bounds__ (cut_threads) cut_patches_block_per_patch (T *patches, size_t ld, const float *tile, unsigned size,
                                                             unsigned patch_size, unsigned n_across)
{
  wait_for_inputs ();
  let_next_start ();

  unsigned area = patch_size * patch_size;
  size_t plane = (size_t) size * size;
  const float *corner =
      tile + (size_t) (blockIdx.x / n_across) * patch_size * size + blockIdx.x % n_across * patch_size;
  T *out = patches + blockIdx.x * ld;

  for (unsigned i = threadIdx.x; i < ld; i += cut_threads) {
    unsigned channel = i / area, row = i % area / patch_size, column = i % patch_size;
    float value = channel < 3 ? corner[channel * plane + (size_t) row * size + column] : 0;

    out[i] = from_float<T> (value);
  }
}

/* --- launches --- */

template <MllamaCudaPixels pixels, typename Sink>
static void
launch_pass (MllamaCudaBackend *be, const MllamaCudaImagePass &pass, const Sink &sink)
{
  dim3 grid ((pass.width + pass_threads - 1) / pass_threads, MIN (pass.n_rows, 65535));

  if (pass.width == 0 || pass.n_rows == 0)
    return;
  if (pass.is_across)
    launch (be, "resizing a picture", resample_thread_per_pixel<pixels, true, Sink>, grid, pass_threads, 0, pass, sink);
  else
    launch (be, "resizing a picture", resample_thread_per_pixel<pixels, false, Sink>, grid, pass_threads, 0, pass,
            sink);
}

template <typename Sink>
static void
run_pass (MllamaCudaBackend *be, const MllamaCudaImagePass &pass, const Sink &sink)
{
  switch (pass.source.pixels) {
  case MLLAMA_CUDA_PIXELS_PACKED:
    launch_pass<MLLAMA_CUDA_PIXELS_PACKED> (be, pass, sink);
    break;
  case MLLAMA_CUDA_PIXELS_ALPHA:
    launch_pass<MLLAMA_CUDA_PIXELS_ALPHA> (be, pass, sink);
    break;
  case MLLAMA_CUDA_PIXELS_GRAY:
    launch_pass<MLLAMA_CUDA_PIXELS_GRAY> (be, pass, sink);
    break;
  case MLLAMA_CUDA_PIXELS_YUV:
    launch_pass<MLLAMA_CUDA_PIXELS_YUV> (be, pass, sink);
    break;
  case MLLAMA_CUDA_PIXELS_ROWS:
    launch_pass<MLLAMA_CUDA_PIXELS_ROWS> (be, pass, sink);
    break;
  }
}

template <typename T>
static void
cut_patches (MllamaCudaBackend *be, void *patches, gsize ld, const float *tile, guint size, guint patch_size)
{
  unsigned n_across = size / patch_size;

  launch (be, "cutting a picture into patches", cut_patches_block_per_patch<T>, n_across * n_across, cut_threads, 0,
          static_cast<T *> (patches), ld, tile, size, patch_size, n_across);
}

} // namespace mllama

extern "C" void
mllama_cuda_resample_to_rows (MllamaCudaBackend *be, const MllamaCudaImagePass *pass, guint8 *rows)
{
  mllama::RowSink sink = {reinterpret_cast<uchar4 *> (rows), pass->first_row, pass->width};

  mllama::run_pass (be, *pass, sink);
}

extern "C" void
mllama_cuda_resample_to_canvas (MllamaCudaBackend *be, const MllamaCudaImagePass *pass, const MllamaCudaCanvas *canvas)
{
  if (be->dtype == MLLAMA_DTYPE_F32)
    mllama::run_pass (be, *pass, mllama::PatchSink<float>{*canvas});
  else
    mllama::run_pass (be, *pass, mllama::PatchSink<mllama::bf16>{*canvas});
}

extern "C" void
mllama_cuda_cut_patches (MllamaCudaBackend *be, void *patches, gsize ld, const float *tile, guint size,
                         guint patch_size)
{
  if (be->dtype == MLLAMA_DTYPE_F32)
    mllama::cut_patches<float> (be, patches, ld, tile, size, patch_size);
  else
    mllama::cut_patches<mllama::bf16> (be, patches, ld, tile, size, patch_size);
}
