/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Byte-level BPE: tokenizer.json, or tiktoken's tokenizer.model. Immutable once made. */
#pragma once

#include <mllama/macros.h>

G_BEGIN_DECLS

typedef struct _MllamaTokenizer MllamaTokenizer;
typedef struct _MllamaTokenDecoder MllamaTokenDecoder;

/* Bytes [start, end) of a text. */
typedef struct {
  gsize start, end;
} MllamaTextRange;

typedef enum {
  MLLAMA_TOKENIZE_PLAIN = 0,
  MLLAMA_TOKENIZE_SPECIAL = 1 << 0, /* spellings of special tokens become those tokens */
  MLLAMA_TOKENIZE_ADD = 1 << 1,     /* apply the post-processor (say, begin of text in front) */
} MllamaTokenizeFlags;

/* mllama_tokenizer_new_from_directory: tokenizer.json if there is one, else tokenizer.model. */
MLLAMA_API MllamaTokenizer *mllama_tokenizer_new_from_directory (const char *directory, GError **error);
/* The text of a tokenizer.json. UNSUPPORTED names the component that is not implemented. */
MLLAMA_API MllamaTokenizer *mllama_tokenizer_new_from_json (const char *json, gsize length, GError **error);
/* The text of a tokenizer.model (base64 token, rank); special tokens are Llama 3.2-Vision's. */
MLLAMA_API MllamaTokenizer *mllama_tokenizer_new_from_tiktoken (const char *data, gsize length, GError **error);
MLLAMA_API MllamaTokenizer *mllama_tokenizer_ref (MllamaTokenizer *tokenizer);
MLLAMA_API void mllama_tokenizer_unref (MllamaTokenizer *tokenizer);

/* mllama_tokenizer_encode: text need not be valid UTF-8 nor end in NUL, and may hold NUL (length
 * -1: up to the first; 2 GiB at most). Each maximal ill-formed part is read as U+FFFD, as Python and Rust do.
 * Spellings of special tokens that touch one of the literal ranges (ascending, may be NULL) are ordinary text even with
 * MLLAMA_TOKENIZE_SPECIAL; so are those of all tokens of the form <|...|>. Other added tokens are part of the
 * vocabulary, and found in any text. Appends to ids, a GArray of guint32. */
MLLAMA_API void mllama_tokenizer_encode (MllamaTokenizer *tokenizer, const char *text, gssize length,
                                         MllamaTokenizeFlags flags, const MllamaTextRange *literal, gsize n_literal,
                                         GArray *ids);

/* mllama_tokenizer_decode: bytes as the tokens spell them, made valid UTF-8 (each maximal ill-formed part becomes
 * U+FFFD). Unknown ids are skipped. Returns (transfer full); *length, if not NULL, counts NULs in. */
MLLAMA_API char *mllama_tokenizer_decode (MllamaTokenizer *tokenizer, const guint32 *ids, gsize n_ids,
                                          gboolean skip_special, gsize *length);

/* Id of the added token or vocabulary entry with exactly this spelling; -1 if there is none. */
MLLAMA_API gint64 mllama_tokenizer_get_id (MllamaTokenizer *tokenizer, const char *spelling);
/* Spelling (transfer none) in bytes; NULL if the id is unknown. */
MLLAMA_API const char *mllama_tokenizer_get_spelling (MllamaTokenizer *tokenizer, guint32 id, gsize *length);
MLLAMA_API gboolean mllama_tokenizer_is_special (MllamaTokenizer *tokenizer, guint32 id);
/* Largest id that encode can return, + 1. */
MLLAMA_API guint32 mllama_tokenizer_get_n_ids (MllamaTokenizer *tokenizer);

/* A decoder for text that arrives token by token: bytes of an unfinished UTF-8 sequence are held
 * back until they are complete. Not thread-safe. */
MLLAMA_API MllamaTokenDecoder *mllama_token_decoder_new (MllamaTokenizer *tokenizer, gboolean skip_special);
/* Appends the text that id completes. */
MLLAMA_API void mllama_token_decoder_push (MllamaTokenDecoder *decoder, guint32 id, GString *text);
/* Appends U+FFFD for what is left unfinished. */
MLLAMA_API void mllama_token_decoder_finish (MllamaTokenDecoder *decoder, GString *text);
MLLAMA_API void mllama_token_decoder_free (MllamaTokenDecoder *decoder);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaTokenizer, mllama_tokenizer_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaTokenDecoder, mllama_token_decoder_free)

G_END_DECLS
