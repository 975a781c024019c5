/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu.h"

#include <math.h>

void
mllama_cpu_rope_get_angles (const float *inv_freq, guint head_width, guint32 position, float *cosines, float *sines)
{
  for (guint i = 0; i < head_width / 2; i++) {
    float angle = (float) position * inv_freq[i];

    cosines[i] = cosf (angle);
    sines[i] = sinf (angle);
  }
}

void
mllama_cpu_rope_rotate (float *head, guint head_width, const float *cosines, const float *sines)
{
  guint half = head_width / 2;

  for (guint i = 0; i < half; i++) {
    float a = head[i], b = head[half + i];

    head[i] = a * cosines[i] - b * sines[i];
    head[half + i] = b * cosines[i] + a * sines[i];
  }
}
