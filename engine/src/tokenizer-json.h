/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of tokenizer.json, in the order they must be read. What is not implemented is refused by name. */
#pragma once

#include "json.h"
#include "tokenizer-private.h"

G_BEGIN_DECLS

#define MLLAMA_TOKENIZER_JSON "tokenizer.json"

/* Longest spelling of a token, in bytes. */
#define MLLAMA_MAX_TOKEN_BYTES 65535

/* normalizer, pre_tokenizer and decoder of the root. */
gboolean mllama_tokenizer_read_components (MllamaTokenizer *tokenizer, JsonObject *root, GError **error);
/* Options and vocab of the model. */
gboolean mllama_tokenizer_read_vocabulary (MllamaTokenizer *tokenizer, JsonObject *model, GError **error);
/* added_tokens of the root. */
gboolean mllama_tokenizer_read_added_tokens (MllamaTokenizer *tokenizer, JsonObject *root, GError **error);
/* merges of the model. */
gboolean mllama_tokenizer_read_merges (MllamaTokenizer *tokenizer, JsonObject *model, GError **error);
/* post_processor of the root. */
gboolean mllama_tokenizer_read_post_processor (MllamaTokenizer *tokenizer, JsonObject *root, GError **error);

/* Sets MALFORMED, or UNSUPPORTED; returns FALSE. The message starts with the file's name. */
gboolean mllama_tokenizer_fail (GError **error, gint code, const char *format, ...) G_GNUC_PRINTF (3, 4);

G_END_DECLS
