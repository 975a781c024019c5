/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where tensors come from: canonical name -> dtype, shape, bytes. Safetensors is the first source;
 * another checkpoint format is another table of functions. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  MLLAMA_TENSOR_F32,
  MLLAMA_TENSOR_F16,
  MLLAMA_TENSOR_BF16,
} MllamaTensorDtype;

#define MLLAMA_TENSOR_MAX_DIMS 8

/* Owned by the source, constant. */
typedef struct {
  const char *name; /* canonical: see tensor-names.h */
  MllamaTensorDtype dtype;
  guint n_dims;
  gsize shape[MLLAMA_TENSOR_MAX_DIMS];
  gsize n_elements; /* product of shape, checked */
  gsize n_bytes;
  guint file; /* the source's own index and offset of the first byte */
  guint64 offset;
} MllamaTensorInfo;

typedef struct _MllamaSource MllamaSource;

/* Base of every source; embed it first. find and read are thread-safe. */
struct _MllamaSource {
  /* NULL if there is no tensor of that canonical name. */
  const MllamaTensorInfo *(*find) (MllamaSource *source, const char *name);
  /* All tensors, in no particular order (transfer none). */
  const MllamaTensorInfo *const *(*list) (MllamaSource *source, guint *n_tensors);
  /* Copies bytes [offset, offset + n_bytes) of the tensor. A file cut short since it was opened is an error,
   * never a fault: sources read, they do not map. */
  gboolean (*read) (MllamaSource *source, const MllamaTensorInfo *tensor, gsize offset, gsize n_bytes, void *dest,
                    GError **error);
  void (*free) (MllamaSource *source);
};

static inline const MllamaTensorInfo *
mllama_source_find (MllamaSource *source, const char *name)
{
  return source->find (source, name);
}

static inline const MllamaTensorInfo *const *
mllama_source_list (MllamaSource *source, guint *n_tensors)
{
  return source->list (source, n_tensors);
}

static inline gboolean
mllama_source_read (MllamaSource *source, const MllamaTensorInfo *tensor, gsize offset, gsize n_bytes, void *dest,
                    GError **error)
{
  return source->read (source, tensor, offset, n_bytes, dest, error);
}

static inline void
mllama_source_free (MllamaSource *source)
{
  if (source)
    source->free (source);
}

const char *mllama_tensor_dtype_to_string (MllamaTensorDtype dtype);
gsize mllama_tensor_dtype_get_bytes (MllamaTensorDtype dtype);

/* "[4096, 7680]", (transfer full). */
char *mllama_tensor_shape_to_string (const gsize *shape, guint n_dims);

/* Reads elements [first, first + n_elements) of the tensor, converted to float32. */
gboolean mllama_source_read_f32 (MllamaSource *source, const MllamaTensorInfo *tensor, gsize first, gsize n_elements,
                                 float *dest, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaSource, mllama_source_free)

G_END_DECLS
