/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu-vector.h"

#include <math.h>
#include <string.h>

/* Eight lanes, whatever the processor has: the compiler splits them for narrower registers. They are passed by
 * address, since how a vector is passed by value depends on the instruction set. */
#define N_LANES 8
typedef float Lanes __attribute__ ((vector_size (N_LANES * sizeof (float))));
typedef gint32 Mask __attribute__ ((vector_size (N_LANES * sizeof (gint32))));

#define LANES_INLINE                static inline __attribute__ ((always_inline))
#define LANES_SELECT(mask, yes, no) ((Lanes) (((mask) & (Mask) (yes)) | (~(mask) & (Mask) (no))))
#define LANES_ALL(value)            ((value) - (Lanes){0})

/* exp: x = n ln 2 + r, |r| <= ln 2 / 2. ln 2 in two parts, the first with 8 trailing zeros, so that n * LN2_HIGH is
 * exact; minimax polynomial of (exp (r) - 1 - r) / r^2, relative error 3e-9. */
#define LOG2_E       1.44269504f
#define LN2_HIGH     0.693145752f
#define LN2_LOW      1.42860677e-06f
#define ROUND_MAGIC  12582912.0f /* 3 * 2^22: adding it leaves the rounded integer in the low bits */
#define EXP_LOWEST   (-86.9f)    /* n stays above -126, so that the result is a normal number */
#define EXP_HIGHEST  88.7228317f
#define MANTISSA_LOG 23

LANES_INLINE void
exp_lanes (Lanes *x)
{
  Mask too_low = *x<EXP_LOWEST, too_high = *x> EXP_HIGHEST, is_nan = *x != *x;
  Lanes in = LANES_SELECT (too_low | too_high | is_nan, LANES_ALL (0.0f), *x);
  Lanes shifted = in * LOG2_E + ROUND_MAGIC, n = shifted - ROUND_MAGIC;
  Lanes r = (in - n * LN2_HIGH) - n * LN2_LOW;
  Lanes p = (((0.00138143182f * r + 0.00836885162f) * r + 0.0416684002f) * r + 0.166665196f) * r + 0.49999994f;
  Mask exponent = ((Mask) shifted - (Mask) LANES_ALL (ROUND_MAGIC)) << MANTISSA_LOG;
  Lanes y = (Lanes) ((Mask) ((p * r * r + r) + 1.0f) + exponent);

  y = LANES_SELECT (too_low, LANES_ALL (0.0f), y);
  y = LANES_SELECT (too_high, LANES_ALL (INFINITY), y);
  *x = LANES_SELECT (is_nan, *x, y);
}

/* erf: below 1, x times a polynomial of x^2 (relative error 1.2e-9); from there on 1 - exp (polynomial of log erfc)
 * (absolute error 1.1e-9), which is 1 after rounding from 4 on. */
#define ERF_LIMIT 4.0f

LANES_INLINE void
erf_lanes (Lanes *x)
{
  Mask sign = (Mask) *x & (gint32) 0x80000000, is_small;
  Lanes a = (Lanes) ((Mask) *x ^ sign), t = a * a, small, big;

  small =
      (((((7.85385782e-05f * t - 0.000801019254f) * t + 0.00518832775f) * t - 0.026853811f) * t + 0.112835854f) * t -
       0.37612626f) *
          t +
      0.128379167f;
  small = a + a * small;
  big = LANES_SELECT (a > ERF_LIMIT, LANES_ALL (ERF_LIMIT), a);
  big = (((((0.000187972546f * big - 0.00296401419f) * big + 0.0219065081f) * big - 0.10325627f) * big - 0.637964904f) *
             big -
         1.12720227f) *
            big -
        0.000312459742f;
  exp_lanes (&big);
  is_small = a < 1.0f;
  *x = (Lanes) ((Mask) LANES_SELECT (is_small, small, 1.0f - big) | sign);
}

LANES_INLINE void
gelu_lanes (Lanes *x)
{
  Lanes e = *x * 0.707106781f;

  erf_lanes (&e);
  *x = 0.5f * *x * (1.0f + e);
}

LANES_INLINE void
silu_multiply_lanes (Lanes *gate, const Lanes *up)
{
  Lanes e = -*gate;

  exp_lanes (&e);
  *gate = *gate / (1.0f + e) * *up;
}

/* The last elements of a row, which fill no vector: the rest of it gets padding. */
LANES_INLINE void
load_tail (Lanes *lanes, const float *x, gsize n, float padding)
{
  *lanes = LANES_ALL (padding);
  memcpy (lanes, x, n * sizeof (float));
}

LANES_INLINE void
gelu_row (float *x, gsize n)
{
  Lanes v;
  gsize i;

  for (i = 0; i + N_LANES <= n; i += N_LANES) {
    memcpy (&v, x + i, sizeof v);
    gelu_lanes (&v);
    memcpy (x + i, &v, sizeof v);
  }
  if (i < n) {
    load_tail (&v, x + i, n - i, 0);
    gelu_lanes (&v);
    memcpy (x + i, &v, (n - i) * sizeof (float));
  }
}

LANES_INLINE void
silu_multiply_row (float *h, const float *gate, const float *up, gsize n)
{
  Lanes g, u;
  gsize i;

  for (i = 0; i + N_LANES <= n; i += N_LANES) {
    memcpy (&g, gate + i, sizeof g);
    memcpy (&u, up + i, sizeof u);
    silu_multiply_lanes (&g, &u);
    memcpy (h + i, &g, sizeof g);
  }
  if (i < n) {
    load_tail (&g, gate + i, n - i, 0);
    load_tail (&u, up + i, n - i, 0);
    silu_multiply_lanes (&g, &u);
    memcpy (h + i, &g, (n - i) * sizeof (float));
  }
}

LANES_INLINE float
add_max_row (float *x, const float *bias, gsize n, float floor)
{
  Lanes max = LANES_ALL (floor), v, b;
  gsize i;

  for (i = 0; i + N_LANES <= n; i += N_LANES) {
    memcpy (&v, x + i, sizeof v);
    if (bias) {
      memcpy (&b, bias + i, sizeof b);
      v += b;
      memcpy (x + i, &v, sizeof v);
    }
    max = LANES_SELECT (v > max, v, max);
  }
  for (; i < n; i++) {
    x[i] += bias ? bias[i] : 0;
    floor = x[i] > floor ? x[i] : floor;
  }
  for (i = 0; i < N_LANES; i++)
    floor = max[i] > floor ? max[i] : floor;
  return floor;
}

LANES_INLINE float
exp_sum_row (float *x, gsize n, float max)
{
  Lanes sum = {0}, v;
  gsize i;

  for (i = 0; i + N_LANES <= n; i += N_LANES) {
    memcpy (&v, x + i, sizeof v);
    v -= max;
    exp_lanes (&v);
    sum += v;
    memcpy (x + i, &v, sizeof v);
  }
  if (i < n) {
    load_tail (&v, x + i, n - i, -INFINITY);
    v -= max;
    exp_lanes (&v);
    sum += v;
    memcpy (x + i, &v, (n - i) * sizeof (float));
  }
  return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

/* One implementation: the rows above, compiled for one instruction set. */
#define DEFINE_TIER(tier, target)                                                                                      \
  target static void gelu_f32_##tier (float *x, gsize n)                                                               \
  {                                                                                                                    \
    gelu_row (x, n);                                                                                                   \
  }                                                                                                                    \
  target static void silu_multiply_f32_##tier (float *h, const float *gate, const float *up, gsize n)                  \
  {                                                                                                                    \
    silu_multiply_row (h, gate, up, n);                                                                                \
  }                                                                                                                    \
  target static float add_max_f32_##tier (float *x, const float *bias, gsize n, float floor)                           \
  {                                                                                                                    \
    return add_max_row (x, bias, n, floor);                                                                            \
  }                                                                                                                    \
  target static float exp_sum_f32_##tier (float *x, gsize n, float max)                                                \
  {                                                                                                                    \
    return exp_sum_row (x, n, max);                                                                                    \
  }                                                                                                                    \
  static const MllamaVectorOps tier_##tier = {#tier, gelu_f32_##tier, silu_multiply_f32_##tier, add_max_f32_##tier,    \
                                              exp_sum_f32_##tier}

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

const MllamaVectorOps *const *
mllama_vector_ops_list (void)
{
  static const MllamaVectorOps *const with_avx2[] = {&tier_avx2, &tier_c, NULL};

  return has_avx2 () ? with_avx2 : with_avx2 + 1;
}
