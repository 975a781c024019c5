/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "resample.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

#define HALF (1 << (MLLAMA_RESAMPLE_BITS - 1))

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

static void
across_c (guint8 *out, const guint8 *in, const MllamaResampleAxis *axis)
{
  resample_across (out, in, axis);
}

static void
down_c (guint8 *out, const guint8 *ring, gsize pitch, guint n_slots, guint slot, const gint32 *weights, guint count)
{
  resample_down (out, ring, pitch, n_slots, slot, weights, count);
}

static const MllamaResampleOps ops_c = {"c", across_c, down_c};

#ifdef __x86_64__
#define AVX2 __attribute__ ((target ("avx2")))

/* One lane for each colour of a pixel, and one for the byte after it, which the next pixel's store overwrites. */
AVX2 static void
across_avx2 (guint8 *out, const guint8 *in, const MllamaResampleAxis *axis)
{
  for (guint i = 0; i < axis->n_out; i++, out += 3) {
    const gint32 *weights = axis->weights + (gsize) i * axis->n_taps;
    const guint8 *p = in + 3 * (gsize) axis->starts[i];
    __m128i sum = _mm_set1_epi32 (HALF);

    for (guint k = 0; k < axis->counts[i]; k++, p += 3) {
      __m128i pixel = _mm_cvtepu8_epi32 (_mm_loadu_si32 (p));

      sum = _mm_add_epi32 (sum, _mm_mullo_epi32 (pixel, _mm_set1_epi32 (weights[k])));
    }
    sum = _mm_srai_epi32 (sum, MLLAMA_RESAMPLE_BITS);
    sum = _mm_packus_epi32 (sum, sum);
    _mm_storeu_si32 (out, _mm_packus_epi16 (sum, sum));
  }
}

/* Here the compiler finds the vectors. */
AVX2 static void
down_avx2 (guint8 *out, const guint8 *ring, gsize pitch, guint n_slots, guint slot, const gint32 *weights, guint count)
{
  resample_down (out, ring, pitch, n_slots, slot, weights, count);
}

static const MllamaResampleOps ops_avx2 = {"avx2", across_avx2, down_avx2};

static gboolean
has_avx2 (void)
{
  return __builtin_cpu_supports ("avx2");
}
#else
#define ops_avx2 ops_c

static gboolean
has_avx2 (void)
{
  return FALSE;
}
#endif

const MllamaResampleOps *const *
mllama_resample_ops_list (void)
{
  static const MllamaResampleOps *const with_avx2[] = {&ops_avx2, &ops_c, NULL};

  return has_avx2 () ? with_avx2 : with_avx2 + 1;
}
