/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tensors a model has, as its config says: the one place that knows names and shapes. */
#pragma once

#include <mllama/config.h>

#include "source.h"

G_BEGIN_DECLS

/* Rows of the embedding and of the head are the checkpoint's choice, within limits (checkpoint-tensors.c). */
#define MLLAMA_ANY_ROWS 0

typedef struct {
  char *name;     /* canonical: tensor-names.h */
  guint n_dims;   /* 1 or 2, or 4 for the patch embedding */
  gsize shape[4]; /* shape[0] may be MLLAMA_ANY_ROWS */
} MllamaExpectedTensor;

/* mllama_expected_tensors_new: an array of MllamaExpectedTensor, (transfer full). Without vision, neither the tower nor
 * the cross layers that would read it, which are never run then. */
GArray *mllama_expected_tensors_new (const MllamaConfig *config, gboolean with_vision);

/* mllama_check_tensors: every expected tensor is there and has its shape; the head has at least vocab_size rows and at
 * most those of the embedding, where the image token is too; a tied head is not stored; no layer has a bias that the
 * model does not know. origin names the weight files in errors.
 * Errors: MALFORMED; UNSUPPORTED (tied embeddings that disagree, biases). */
gboolean mllama_check_tensors (MllamaSource *source, const MllamaConfig *config, gboolean with_vision,
                               const char *origin, GError **error);

G_END_DECLS
