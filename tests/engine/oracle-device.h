/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A backend with no checkpoint: a config by hand, weights from memory, tensors between guard zones. */
#pragma once

#include "backend.h"

G_BEGIN_DECLS

/* Rows behind the last of every tensor, which no operation may touch. */
#define ORACLE_GUARD_ROWS 3

typedef struct {
  MllamaConfig config;
  MllamaBackend *be;
  const MllamaBackendOps *ops;
  gboolean is_bf16; /* oracle_random rounds */
  MllamaSource *source;
  GRand *rand;
  GPtrArray *tensors, *weights;
} OracleDevice;

/* A backend of any kind for a config that need only be as complete as the operations are that will be called. */
OracleDevice *oracle_device_open (const MllamaConfig *config, MllamaDevice where, MllamaDtype dtype);
/* The CPU's. Text: H heads, K of keys and values, C wide. */
OracleDevice *oracle_device_new (guint n_heads, guint n_kv_heads, guint head_width);
/* The same with a tower of D, heads, tile and patch side. */
OracleDevice *oracle_device_new_with_tower (guint hidden_size, guint n_heads, guint image_size, guint patch_size);
/* Frees its tensors and weights. */
void oracle_device_clear (OracleDevice *device);
void oracle_device_free (OracleDevice *device);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (OracleDevice, oracle_device_free)

/* Numbers in [-scale, scale), such as the backend keeps. */
float *oracle_random (OracleDevice *device, gsize n, float scale);

/* Tensors and weights belong to the device. values [n_rows][width]; NULL: NaN everywhere. */
MllamaTensor *oracle_tensor_new (OracleDevice *device, gsize n_rows, gsize width, const float *values);
/* The same, for logits. */
MllamaTensor *oracle_tensor_new_full (OracleDevice *device, gsize n_rows, gsize width, const float *values);
float *oracle_tensor_read (OracleDevice *device, const MllamaTensor *tensor, gsize n_rows, gsize width);
/* The rows from n_rows on still hold what oracle_tensor_new put there. */
void oracle_tensor_check_guard (OracleDevice *device, const MllamaTensor *tensor, gsize n_rows, gsize width);

MllamaWeight *oracle_weight_new (OracleDevice *device, const MllamaWeightSpec *spec);
MllamaWeight *oracle_matrix_new (OracleDevice *device, gsize n_out, gsize n_in, const float *values);
MllamaWeight *oracle_vector_new (OracleDevice *device, gsize n, const float *values);
MllamaWeight *oracle_table_new (OracleDevice *device, gsize n_rows, gsize width, const float *values);

/* A tensor of the memory source; values are copied. */
const MllamaTensorInfo *oracle_source_add (MllamaSource *source, const char *name, const float *values, guint n_dims,
                                           const gsize *shape);

G_END_DECLS
