/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Exponentials of whole rows. Every implementation gives the same bits: the same operations on eight lanes, none of
 * them contracted; and the bits of an element do not depend on its place in the row. NaN stays NaN. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  const char *name;

  /* x[i] = x[i] / 2 * (1 + erf (x[i] / sqrt 2)); erf within 2 ulp */
  void (*gelu) (float *x, gsize n);

  /* h[i] = gate[i] / (1 + exp (-gate[i])) * up[i]; h may alias either */
  void (*silu_multiply) (float *h, const float *gate, const float *up, gsize n);

  /* x[i] += bias[i] if bias is not NULL; the largest of floor and the new x. NaN is passed over. */
  float (*add_max) (float *x, const float *bias, gsize n, float floor);

  /* x[i] = exp (x[i] - max), within 2 ulp, and 0 below exp (-86.9); the sum of the new x. */
  float (*exp_sum) (float *x, gsize n, float max);
} MllamaVectorOps;

/* All that this processor can run, best first; ends with NULL. */
const MllamaVectorOps *const *mllama_vector_ops_list (void);

G_END_DECLS
