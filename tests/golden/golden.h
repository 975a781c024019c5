/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files of a golden folder: checkpoints/NAME/, records/NAME.{json,safetensors}, pictures/. README.md and
 * maker/records.py say what is in them. A file that cannot be read is a programming error, and ends the test. */
#pragma once

#include <json-glib/json-glib.h>
#include <mllama/mllama.h>

G_BEGIN_DECLS

/* f32, row-major. */
typedef struct {
  const float *values;
  gsize n_values;
  guint n_dims;
  gsize dims[3];
} GoldenTensor;

typedef struct {
  char *root, *name;
  JsonParser *parser;
  JsonObject *record;
  char *tensor_file;   /* bytes of NAME.safetensors */
  GHashTable *tensors; /* name -> GoldenTensor */
  MllamaModel *model;  /* loaded; made by golden_get_model */
} Golden;

/* A picture, as a file of the folder has it. */
typedef struct {
  char *bytes;
  MllamaFormat format;
  guint width, height;
  const guint8 *pixels;
  gsize stride;
} GoldenPicture;

/* Names of the goldens in a folder, sorted. */
GPtrArray *golden_list (const char *root);
Golden *golden_new (const char *root, const char *name);
void golden_free (Golden *golden);

/* In float32, on the CPU, or on the GPU if MLLAMA_GOLDEN_DEVICE is cuda. */
MllamaModelSettings golden_get_settings (void);
/* The loaded model (transfer none). */
MllamaModel *golden_get_model (Golden *golden);
/* NULL if there is none of that name. */
const GoldenTensor *golden_find_tensor (Golden *golden, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* Lists of a record; a missing member is an empty list. */
GArray *golden_read_ids (JsonObject *object, const char *member);     /* of guint32 */
GArray *golden_read_labels (JsonObject *object, const char *member);  /* of gint64 */
GArray *golden_read_doubles (JsonObject *object, const char *member); /* of double */

/* The case of that name and semantics. */
JsonObject *golden_find_case (Golden *golden, const char *semantics, const char *name);
MllamaSemantics golden_get_semantics (JsonObject *record);

GoldenPicture *golden_picture_new (Golden *golden, JsonObject *record);
void golden_picture_free (GoldenPicture *picture);
/* The part of the picture that the record's crop names. */
MllamaImage golden_picture_view (const GoldenPicture *picture, JsonObject *record);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Golden, golden_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GoldenPicture, golden_picture_free)

G_END_DECLS
