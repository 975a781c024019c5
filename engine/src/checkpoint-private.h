/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The small files beside config, tokenizer and weights. */
#pragma once

#include "checkpoint.h"

G_BEGIN_DECLS

/* generation_config.json, if there is one, over config.json: eos_ids, bos_id, pad_id. */
gboolean mllama_checkpoint_read_generation_config (MllamaCheckpoint *checkpoint, GError **error);
/* processor_config.json, if it holds an image_processor, else preprocessor_config.json; checked against the config. */
gboolean mllama_checkpoint_read_image_options (MllamaCheckpoint *checkpoint, GError **error);
/* Whether any of the places where transformers keeps a chat template has one. */
gboolean mllama_checkpoint_read_chat_template (MllamaCheckpoint *checkpoint, GError **error);

G_END_DECLS
