/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <mllama/error.h>
#include <mllama/image-processor.h>

G_BEGIN_DECLS

/* What a byte of each colour becomes: rescaled in double and rounded to float, then normalised in float (spec 3.7).
 * Row c is red, green, blue. */
typedef struct {
  float values[3][256];
} MllamaPixelTable;

void mllama_pixel_table_init (MllamaPixelTable *table, const MllamaImageOptions *options);

/* mllama_image_options_check: what neither transformers nor this engine can work with gets an error with the given
 * code; origin says where the options come from. */
gboolean mllama_image_options_check (const MllamaImageOptions *options, MllamaError code, const char *origin,
                                     GError **error);

/* INVALID if the options leave the image other channels than red, green and blue. */
gboolean mllama_image_options_check_channels (const MllamaImageOptions *options, const MllamaImage *image,
                                              GError **error);

G_END_DECLS
