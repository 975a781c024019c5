/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What kernels ask the pass on the device. */
#pragma once

#include "device.cuh"

namespace mllama
{

/* A token of an answer that has ended while its pass was queued: nothing of it is wanted, and its input was never
 * drawn. */
__device__ __forceinline__ bool
is_inert (const MllamaCudaPass *pass, unsigned token)
{
  return pass->ids[token] == MLLAMA_ID_DRAWN && pass->done[pass->slots[token]];
}

__device__ __forceinline__ guint32
get_id (const MllamaCudaPass *pass, unsigned token)
{
  guint32 id = pass->ids[token];

  return id == MLLAMA_ID_DRAWN ? pass->drawn[pass->slots[token]] : id;
}

} // namespace mllama
