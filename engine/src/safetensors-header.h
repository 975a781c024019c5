/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The header of a safetensors file: JSON that gives name, dtype, shape and place of every tensor. */
#pragma once

#include "source.h"

G_BEGIN_DECLS

#define MLLAMA_SAFETENSORS_MAX_HEADER 100000000 /* as in the reference library */

typedef struct {
  char *name;            /* as the file spells it */
  char *dtype;           /* likewise: "BF16" */
  gboolean is_readable;  /* dtype is one that sources give out; info.dtype is it then */
  MllamaTensorInfo info; /* name is NULL, file is 0; offset counts from the start of the file */
} MllamaSafetensorsEntry;

/* mllama_safetensors_parse_header: checks the JSON as the reference library does: every tensor's bytes are as many as
 * dtype and shape need, and the tensors cover the rest of the file, from data_start to file_size, without holes and
 * without overlap. Returns an array of MllamaSafetensorsEntry, ordered by offset.
 * Errors: MALFORMED, and UNSUPPORTED for a dtype that is not known. */
GArray *mllama_safetensors_parse_header (const char *json, gsize length, guint64 data_start, guint64 file_size,
                                         const char *origin, GError **error);

G_END_DECLS
