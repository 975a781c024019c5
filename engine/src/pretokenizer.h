/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cuts text into the pieces that BPE works on. The two patterns in use are matched by hand rather than by a regular
 * expression library: the result then depends on no version of Unicode but ours, time is linear whatever the text
 * (the backtracking of \s+(?!\S) over millions of spaces runs into the match limits of PCRE), and nothing can fail. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  MLLAMA_SPLIT_NONE,
  MLLAMA_SPLIT_LLAMA3,
  MLLAMA_SPLIT_GPT2,
} MllamaSplit;

#define MLLAMA_SPLIT_LLAMA3_PATTERN                                                                                    \
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"              \
  "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define MLLAMA_SPLIT_GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* The Split of a tokenizer.json, if any, and then its ByteLevel. All zero: the text is one piece. */
typedef struct {
  MllamaSplit split;
  gboolean is_byte_level;       /* a ByteLevel has been read */
  gboolean add_prefix_space;    /* ByteLevel puts a space before what it is given, unless there is one */
  MllamaSplit byte_level_split; /* GPT2 with use_regex */
} MllamaPretokenizer;

typedef void (*MllamaPieceFunc) (const char *piece, gsize length, gpointer user_data);

/* mllama_split_next: bytes of the first piece of text, which must be valid UTF-8; length > 0. */
gsize mllama_split_next (MllamaSplit split, const char *text, gsize length);

/* mllama_pretokenizer_run: calls func for each piece, in order. text must be valid UTF-8; it may hold NUL. */
void mllama_pretokenizer_run (const MllamaPretokenizer *pretokenizer, const char *text, gsize length,
                              MllamaPieceFunc func, gpointer user_data);

G_END_DECLS
