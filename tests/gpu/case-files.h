/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that parity.py writes and reads: raw little-endian numbers, and DIR/cases.txt with a line "NAME RATIO-ID TILES"
 * for each case (0 0: no picture). */
#pragma once

#include <mllama/mllama.h>

G_BEGIN_DECLS

typedef struct {
  MllamaModel *model; /* borrowed */
  char *dir, *name;
  MllamaPrompt *prompt;
  MllamaPixels *pixels; /* NULL: no picture */
  MllamaStates *states; /* with transformers' semantics; likewise */
} Case;

/* A loaded model: device cpu or cuda, dtype f32 or bf16. */
MllamaModel *case_open_model (const char *path, const char *device, const char *dtype, GError **error);

/* The lines of DIR/cases.txt. */
char **case_list (const char *dir, GError **error);
/* Reads DIR/NAME.ids and DIR/NAME.pixels, and encodes the picture. */
Case *case_new (MllamaModel *model, const char *dir, const char *line, GError **error);
void case_free (Case *item);

/* DIR/NAME.SUFFIX; n_values of f32, or all of them if it is 0. */
float *case_read (const char *dir, const char *name, const char *suffix, gsize *n_values, GError **error);
gboolean case_write (const char *dir, const char *name, const char *suffix, const float *values, gsize n_values,
                     GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Case, case_free)

G_END_DECLS
