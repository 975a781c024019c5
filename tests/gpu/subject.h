/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Random pictures, prompts and settings for the tests of answers on a device, through the public API. What goes wrong
 * on the way ends the program with a message. */
#pragma once

#include <mllama/mllama.h>

G_BEGIN_DECLS

typedef struct {
  MllamaModel *model; /* borrowed */
  guint8 *pixels;     /* RGB; NULL: no picture */
  MllamaImage image;
  MllamaPrompt *prompt;
  MllamaGenerationSettings settings;
  MllamaStates *states; /* NULL: no picture, or not encoded yet */
} Subject;

/* A loaded model: device cpu or cuda, dtype f32 or bf16. */
MllamaModel *subject_open_model (const char *path, const char *device, const char *dtype);

/* The n-th subject: number decides on tiles, lengths and settings. */
Subject *subject_new (MllamaModel *model, guint number);
void subject_free (Subject *subject);
/* Any thread. */
void subject_encode (Subject *subject);
MllamaGeneration *subject_start (const Subject *subject);

/* One line of TAP; counts. */
void subject_report (gboolean is_ok, const char *format, ...) G_GNUC_PRINTF (2, 3);
/* The last line of TAP; the program's exit status. */
int subject_finish (void);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Subject, subject_free)

G_END_DECLS
