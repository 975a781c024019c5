/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* n adjacent elements that are loaded and stored at once: 16 bytes of them on the fast path, one on the plain path. */
#pragma once

#include "device.cuh"

namespace mllama
{

template <typename T, int n> struct alignas (n * sizeof (T)) Piece {
  T at[n];
};

template <int n, typename T>
__device__ __forceinline__ Piece<T, n>
load_piece (const T *from)
{
  return *reinterpret_cast<const Piece<T, n> *> (from);
}

template <int n, typename T>
__device__ __forceinline__ void
store_piece (T *to, const Piece<T, n> &piece)
{
  *reinterpret_cast<Piece<T, n> *> (to) = piece;
}

} // namespace mllama
