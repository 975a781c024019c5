/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pretokenizer.h"

#include "pretokenizer-unicode.h"

/* The character at p, and where the next one starts. */
static MllamaCharClass
read_class (const char *p, const char *end, const char **next)
{
  if (p == end) {
    *next = end;
    return MLLAMA_CHAR_END;
  }
  *next = g_utf8_next_char (p);
  return mllama_char_class_of ((guchar) *p < 0x80 ? (gunichar) *p : g_utf8_get_char (p));
}

static MllamaCharClass
peek_class (const char *p, const char *end)
{
  const char *next;

  return read_class (p, end, &next);
}

/* Past at most max characters of the class. */
static const char *
skip_class (const char *p, const char *end, MllamaCharClass class, gsize max)
{
  const char *next;

  while (max-- > 0 && read_class (p, end, &next) == class)
    p = next;
  return p;
}

/* Past 's, 't, 're, 've, 'm, 'll or 'd, of which p is the apostrophe; NULL if it is none of them. Case-folded, the long
 * s U+017F (UTF-8: c5 bf) is an s too. */
static const char *
match_contraction (const char *p, const char *end, gboolean fold_case)
{
  gsize n = end - p;
  char a = n > 1 ? p[1] : 0, b = n > 2 ? p[2] : 0;

  if (fold_case && (guchar) a == 0xc5 && (guchar) b == 0xbf)
    return p + 3;
  if (fold_case)
    a = g_ascii_tolower (a), b = g_ascii_tolower (b);
  if (a == 's' || a == 't' || a == 'm' || a == 'd')
    return p + 2;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
    return p + 3;
  return NULL;
}

/* \s+(?!\S)|\s+, and before them, with newlines_first, \s*[\r\n]+. A space that something follows is left to it,
 * unless it stands alone; \s*[\r\n]+ gives characters back up to the last newline. */
static const char *
match_spaces (const char *p, const char *end, gboolean newlines_first)
{
  const char *start = p, *last = p, *after_newline = NULL, *next;
  MllamaCharClass class;

  while ((class = read_class (p, end, &next)) == MLLAMA_CHAR_SPACE || class == MLLAMA_CHAR_NEWLINE) {
    last = p;
    p = next;
    if (class == MLLAMA_CHAR_NEWLINE)
      after_newline = p;
  }
  if (newlines_first && after_newline)
    return after_newline;
  return p == end || last == start ? p : last;
}

static const char *
match_llama3 (const char *p, const char *end)
{
  const char *next, *match;
  MllamaCharClass class = read_class (p, end, &next);

  if (*p == '\'' && (match = match_contraction (p, end, TRUE)))
    return match;
  if (class == MLLAMA_CHAR_LETTER)
    return skip_class (next, end, MLLAMA_CHAR_LETTER, G_MAXSIZE);
  if (class == MLLAMA_CHAR_NUMBER)
    return skip_class (next, end, MLLAMA_CHAR_NUMBER, 2);
  if (class != MLLAMA_CHAR_NEWLINE && peek_class (next, end) == MLLAMA_CHAR_LETTER)
    return skip_class (next, end, MLLAMA_CHAR_LETTER, G_MAXSIZE);
  match = *p == ' ' ? next : p;
  if (peek_class (match, end) == MLLAMA_CHAR_OTHER) {
    match = skip_class (match, end, MLLAMA_CHAR_OTHER, G_MAXSIZE);
    return skip_class (match, end, MLLAMA_CHAR_NEWLINE, G_MAXSIZE);
  }
  return match_spaces (p, end, TRUE);
}

static const char *
match_gpt2 (const char *p, const char *end)
{
  const char *match, *word = *p == ' ' ? p + 1 : p;
  MllamaCharClass class = peek_class (word, end);

  if (*p == '\'' && (match = match_contraction (p, end, FALSE)))
    return match;
  if (class == MLLAMA_CHAR_LETTER || class == MLLAMA_CHAR_NUMBER || class == MLLAMA_CHAR_OTHER)
    return skip_class (word, end, class, G_MAXSIZE);
  return match_spaces (p, end, FALSE);
}

gsize
mllama_split_next (MllamaSplit split, const char *text, gsize length)
{
  const char *end = text + length;

  switch (split) {
  case MLLAMA_SPLIT_LLAMA3:
    return match_llama3 (text, end) - text;
  case MLLAMA_SPLIT_GPT2:
    return match_gpt2 (text, end) - text;
  default:
    return length;
  }
}

static void
run_byte_level (const MllamaPretokenizer *pretokenizer, const char *text, gsize length, MllamaPieceFunc func,
                gpointer user_data)
{
  g_autoptr (GString) prefixed = NULL;

  if (pretokenizer->add_prefix_space && *text != ' ') {
    prefixed = g_string_sized_new (length + 1);
    g_string_append_c (prefixed, ' ');
    g_string_append_len (prefixed, text, length);
    text = prefixed->str;
    length = prefixed->len;
  }
  while (length > 0) {
    gsize n = mllama_split_next (pretokenizer->byte_level_split, text, length);

    func (text, n, user_data);
    text += n;
    length -= n;
  }
}

void
mllama_pretokenizer_run (const MllamaPretokenizer *pretokenizer, const char *text, gsize length, MllamaPieceFunc func,
                         gpointer user_data)
{
  while (length > 0) {
    gsize n = mllama_split_next (pretokenizer->split, text, length);

    run_byte_level (pretokenizer, text, n, func, user_data);
    text += n;
    length -= n;
  }
}
