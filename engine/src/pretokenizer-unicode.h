/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The classes that the split patterns tell apart. */
typedef enum {
  MLLAMA_CHAR_END,     /* no character: the end of the text */
  MLLAMA_CHAR_LETTER,  /* \p{L} */
  MLLAMA_CHAR_NUMBER,  /* \p{N} */
  MLLAMA_CHAR_NEWLINE, /* \r and \n */
  MLLAMA_CHAR_SPACE,   /* the rest of \s */
  MLLAMA_CHAR_OTHER,
} MllamaCharClass;

MllamaCharClass mllama_char_class_of (gunichar c);

G_END_DECLS
