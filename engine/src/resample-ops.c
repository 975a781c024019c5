/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "resample.h"

#include <string.h>

#define HALF (1 << (MLLAMA_RESAMPLE_BITS - 1))

/* Vectors of fixed width, whatever the processor has: the compiler splits them for narrower registers. */
typedef gint32 Pixel __attribute__ ((vector_size (16)));

#define ROW_INLINE static inline __attribute__ ((always_inline))

ROW_INLINE guint8
clip (gint32 sum)
{
  gint32 value = sum >> MLLAMA_RESAMPLE_BITS;

  return CLAMP (value, 0, 255);
}

ROW_INLINE void
resample_across (guint8 *out, const guint8 *in, const MllamaResampleAxis *axis)
{
  for (guint i = 0; i < axis->n_out; i++, out += 3) {
    const gint32 *weights = axis->weights + (gsize) i * axis->n_taps;
    const guint8 *p = in + 3 * (gsize) axis->starts[i];
    gint32 r = HALF, g = HALF, b = HALF;

    for (guint k = 0; k < axis->counts[i]; k++, p += 3) {
      r += p[0] * weights[k];
      g += p[1] * weights[k];
      b += p[2] * weights[k];
    }
    out[0] = clip (r);
    out[1] = clip (g);
    out[2] = clip (b);
  }
}

ROW_INLINE void
resample_down (guint8 *out, const guint8 *ring, gsize pitch, guint n_slots, guint slot, const gint32 *weights,
               guint count)
{
  for (gsize x = 0; x < pitch; x += MLLAMA_RESAMPLE_BLOCK) {
    gint32 sums[MLLAMA_RESAMPLE_BLOCK];
    guint next = slot;

    for (guint i = 0; i < MLLAMA_RESAMPLE_BLOCK; i++)
      sums[i] = HALF;
    for (guint k = 0; k < count; k++) {
      const guint8 *row = ring + next * pitch + x;

      for (guint i = 0; i < MLLAMA_RESAMPLE_BLOCK; i++)
        sums[i] += row[i] * weights[k];
      next = next + 1 < n_slots ? next + 1 : 0;
    }
    for (guint i = 0; i < MLLAMA_RESAMPLE_BLOCK; i++)
      out[x + i] = clip (sums[i]);
  }
}

/* One implementation: the loops above, compiled for one instruction set. */
#define DEFINE_TIER(tier, target)                                                                                      \
  target static void across_##tier (guint8 *out, const guint8 *in, const MllamaResampleAxis *axis)                     \
  {                                                                                                                    \
    resample_across (out, in, axis);                                                                                   \
  }                                                                                                                    \
  target static void down_##tier (guint8 *out, const guint8 *ring, gsize pitch, guint n_slots, guint slot,             \
                                  const gint32 *weights, guint count)                                                  \
  {                                                                                                                    \
    resample_down (out, ring, pitch, n_slots, slot, weights, count);                                                   \
  }                                                                                                                    \
  static const MllamaResampleOps tier_##tier = {#tier, across_##tier, down_##tier}

DEFINE_TIER (c, );

#ifdef __x86_64__
DEFINE_TIER (avx2, __attribute__ ((target ("avx2"))));

static gboolean
has_avx2 (void)
{
  return __builtin_cpu_supports ("avx2");
}
#else
#define tier_avx2 tier_c

static gboolean
has_avx2 (void)
{
  return FALSE;
}
#endif

const MllamaResampleOps *const *
mllama_resample_ops_list (void)
{
  static const MllamaResampleOps *const with_avx2[] = {&tier_avx2, &tier_c, NULL};

  return has_avx2 () ? with_avx2 : with_avx2 + 1;
}
