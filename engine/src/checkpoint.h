/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A checkpoint directory, read and checked but for the values of the weights. */
#pragma once

#include <mllama/mllama.h>
#include "source.h"

G_BEGIN_DECLS

typedef struct {
  char *path; /* directory, symbolic links resolved */
  MllamaConfig *config;
  MllamaTokenizer *tokenizer;
  gboolean has_image_options; /* FALSE only for text-only checkpoints */
  MllamaImageOptions image_options;
  gboolean has_chat_template;
  guint32 *eos_ids; /* generation_config.json's, else config.json's */
  guint n_eos_ids;
  gint64 bos_id, pad_id; /* likewise; -1: none */
  MllamaSource *source;
} MllamaCheckpoint;

/* mllama_checkpoint_find: a directory as given, or a Hugging Face id ("owner/name", optionally "owner/name@revision")
 * looked up in HF_HUB_CACHE, HF_HOME/hub or ~/.cache/huggingface/hub. Returns (transfer full) the directory.
 * NOT_FOUND says where it looked and how to download. */
char *mllama_checkpoint_find (const char *checkpoint, GError **error);

/* mllama_checkpoint_open: reads config, tokenizer, preprocessor and generation config, opens the weight files, and
 * checks every tensor the model needs (present once, dtype, shape) and that every id the tokenizer, template and
 * generation config can produce lies inside the embedding. text_only: vision tensors are not required. */
MllamaCheckpoint *mllama_checkpoint_open (const char *path, gboolean text_only, GError **error);
void mllama_checkpoint_free (MllamaCheckpoint *checkpoint);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaCheckpoint, mllama_checkpoint_free)

G_END_DECLS
