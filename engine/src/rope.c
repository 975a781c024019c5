/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rope.h"

#include <math.h>

/* Spec 5.3, in the order and precision of transformers: a quotient of a number and a tensor is its reciprocal times
 * the number. */
static float
scale_frequency (const MllamaRopeConfig *rope, float inv_freq)
{
  float low = rope->original_max_positions / rope->low_freq_factor;
  float high = rope->original_max_positions / rope->high_freq_factor;
  float wavelength = (1 / inv_freq) * (float) (2 * G_PI);
  float slowed = inv_freq / (float) rope->factor, smooth;

  if (wavelength > low)
    return slowed;
  if (wavelength < high)
    return inv_freq;
  smooth = ((1 / wavelength) * (float) rope->original_max_positions - (float) rope->low_freq_factor) /
           (float) (rope->high_freq_factor - rope->low_freq_factor);
  return (1 - smooth) * inv_freq / (float) rope->factor + smooth * inv_freq;
}

void
mllama_rope_get_frequencies (const MllamaRopeConfig *rope, guint head_width, float *inv_freq)
{
  for (guint i = 0; i < head_width / 2; i++) {
    float exponent = (float) (2 * i) / (float) head_width;
    /* The double power, rounded once: float powers are within an ulp of it in any library. */
    float power = pow ((float) rope->theta, exponent);

    inv_freq[i] = 1 / power;
    if (rope->scaled)
      inv_freq[i] = scale_frequency (rope, inv_freq[i]);
  }
}
