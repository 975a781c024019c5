/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A directory of safetensors files as a source of tensors. */
#pragma once

#include "source.h"

G_BEGIN_DECLS

/* mllama_safetensors_open: model.safetensors, or the shards named by model.safetensors.index.json. Headers are read and
 * checked, the files stay open, and names are canonical. Tensors that are no part of the model and have another dtype
 * than the engine's are left out.
 * Errors: NOT_FOUND (says which other formats are there), UNREADABLE, MALFORMED, UNSUPPORTED. */
MllamaSource *mllama_safetensors_open (const char *directory, GError **error);

G_END_DECLS
