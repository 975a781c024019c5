/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UTF-8 that may be broken, and the byte-level alphabet. Unlike GLib's functions these take NUL for a character, and
 * replace as Unicode 3.9 (D93b), Rust and Python do: one U+FFFD for each maximal part of a character. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  MLLAMA_UTF8_VALID,   /* a character */
  MLLAMA_UTF8_INVALID, /* bytes that no continuation makes one */
  MLLAMA_UTF8_PARTIAL, /* the text ends within one */
} MllamaUtf8Kind;

/* mllama_utf8_scan: what the text starts with, and its number of bytes. length > 0. */
MllamaUtf8Kind mllama_utf8_scan (const char *text, gsize length, gsize *n_bytes);

/* mllama_utf8_append: appends the text with U+FFFD for what is not valid; a partial character at the end is left out.
 * Returns the number of bytes left out. */
gsize mllama_utf8_append (GString *valid, const char *text, gsize length);

gboolean mllama_utf8_is_valid (const char *text, gsize length);

/* mllama_byte_alphabet_decode: bytes of a spelling in GPT-2's alphabet of visible characters; appends to bytes. FALSE,
 * with bytes as it was, if a character is not of the alphabet. spelling must be valid UTF-8. */
gboolean mllama_byte_alphabet_decode (const char *spelling, GString *bytes);

#define MLLAMA_UTF8_REPLACEMENT "\357\277\275" /* U+FFFD */

G_END_DECLS
