/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rotary embedding (spec 5.3), with transformers' rounding points: angle, cosine and sine in f32, cosine and sine
 * rounded to act, each product rounded, the sum rounded. In f32 nothing is rounded twice. */
#pragma once

#include "device.cuh"

namespace mllama
{

/* Values that act can hold. */
struct Rotation {
  float cosine, sine;
};

/* The largest angle is a position in radians: sincosf reduces the full range. */
template <typename T>
__device__ __forceinline__ Rotation
get_rotation (guint32 position, float inv_freq)
{
  float cosine, sine;

  sincosf (__fmul_rn ((float) position, inv_freq), &sine, &cosine);
  return {round_to<T> (cosine), round_to<T> (sine)};
}

/* Elements i (a) and i + C / 2 (b) of a head. Contracted to an fma a product would miss its rounding. */
template <typename T>
__device__ __forceinline__ void
rotate_pair (T &a, T &b, Rotation r)
{
  float x = to_float (a), y = to_float (b);

  a = from_float<T> (round_to<T> (__fmul_rn (x, r.cosine)) - round_to<T> (__fmul_rn (y, r.sine)));
  b = from_float<T> (round_to<T> (__fmul_rn (y, r.cosine)) + round_to<T> (__fmul_rn (x, r.sine)));
}

} // namespace mllama
