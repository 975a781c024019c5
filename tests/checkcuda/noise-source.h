/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Weights of real sizes that nobody stores: numbers are a function of their place. Each is one of 256 values, the same
 * in bf16 and f32. */
#pragma once

#include "oracle-device.h"

G_BEGIN_DECLS

/* Number i of the tensor: [-1, 1) * scale, a power of two. */
float noise_get (guint seed, gsize i, float scale);
float *noise_new (guint seed, gsize n, float scale);

MllamaSource *noise_source_new (void);
/* A matrix [n_out][n_in]; use: matrix, vector or table. The source has to outlive the loading. */
MllamaWeight *noise_weight_new (OracleDevice *device, MllamaSource *source, MllamaWeightUse use, guint seed,
                                gsize n_out, gsize n_in, float scale);

G_END_DECLS
