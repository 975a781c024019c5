/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "json-scan.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include <mllama/error.h>

#include "json.h"

typedef enum {
  EXPECT_VALUE,
  EXPECT_VALUE_OR_END, /* after '[' */
  EXPECT_KEY,
  EXPECT_KEY_OR_END, /* after '{' */
  EXPECT_COMMA_OR_END,
  EXPECT_NOTHING,
} Expectation;

typedef struct {
  const char *text, *pos, *end;
  char closers[MLLAMA_JSON_MAX_DEPTH]; /* of the open brackets */
  guint depth;
  Expectation expectation;
  GArray *big_integers;
  const char *origin;
} Scanner;

static gboolean
fail_at (const Scanner *s, const char *at, const char *what, GError **error)
{
  guint line = 1, column = 1;

  for (const char *p = s->text; p < at; p++) {
    if (*p == '\n')
      line++, column = 0;
    column++;
  }
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED, "%s, line %u, column %u: %s", s->origin, line, column,
               what);
  return FALSE;
}

static gboolean
fail (const Scanner *s, const char *what, GError **error)
{
  return fail_at (s, s->pos, s->pos < s->end ? what : "the file ends in the middle of a JSON value", error);
}

static inline int
peek (const Scanner *s)
{
  return s->pos < s->end ? (guchar) *s->pos : -1;
}

static void
skip_space (Scanner *s)
{
  while (s->pos < s->end && (*s->pos == ' ' || *s->pos == '\t' || *s->pos == '\n' || *s->pos == '\r'))
    s->pos++;
}

/* The four digits of \uXXXX, or -1. */
static int
read_hex4 (Scanner *s)
{
  int value = 0;

  if (s->end - s->pos < 4)
    return -1;
  for (int i = 0; i < 4; i++, s->pos++) {
    if (!g_ascii_isxdigit (*s->pos))
      return -1;
    value = value * 16 + g_ascii_xdigit_value (*s->pos);
  }
  return value;
}

static gboolean
scan_unicode_escape (Scanner *s, GError **error)
{
  int unit = read_hex4 (s);

  if (unit < 0)
    return fail (s, "\\u needs four hexadecimal digits", error);
  if (unit == 0)
    return fail (s, "\\u0000 in a string is not supported", error);
  if (unit < 0xd800 || unit > 0xdfff)
    return TRUE;
  if (unit <= 0xdbff && s->end - s->pos >= 2 && s->pos[0] == '\\' && s->pos[1] == 'u') {
    s->pos += 2;
    unit = read_hex4 (s);
    if (unit >= 0xdc00 && unit <= 0xdfff)
      return TRUE;
  }
  return fail (s, "half of a surrogate pair is not a character", error);
}

static gboolean
scan_string (Scanner *s, GError **error)
{
  s->pos++; /* the opening quote */
  while (s->pos < s->end) {
    guchar c = *s->pos;

    if (c < 0x20)
      return fail (s, "control characters in a string must be escaped", error);
    s->pos++;
    if (c == '"')
      return TRUE;
    if (c != '\\')
      continue;
    c = peek (s) < 0 ? 0 : *s->pos;
    if (!c || !strchr ("\"\\/bfnrtu", c))
      return fail (s, "no such escape in JSON", error);
    s->pos++;
    if (c == 'u' && !scan_unicode_escape (s, error))
      return FALSE;
  }
  return fail (s, NULL, error);
}

static gboolean
scan_digits (Scanner *s)
{
  const char *first = s->pos;

  while (s->pos < s->end && g_ascii_isdigit (*s->pos))
    s->pos++;
  return s->pos > first;
}

/* Whether the number is within the range of its type; its text is complete and followed by another byte or NUL. */
static gboolean
check_number (Scanner *s, const char *first, gboolean integer, GError **error)
{
  g_autofree char *copy = g_strndup (first, s->pos - first);

  if (integer && s->pos - first >= 19) {
    errno = 0;
    g_ascii_strtoll (copy, NULL, 10);
    if (errno == ERANGE)
      g_array_append_vals (s->big_integers, &(gsize){s->pos - s->text}, 1);
  }
  if ((!integer || s->pos - first > 300) && !isfinite (g_ascii_strtod (copy, NULL)))
    return fail_at (s, first, "the number is too large for a double", error);
  return TRUE;
}

static gboolean
scan_number (Scanner *s, GError **error)
{
  const char *first = s->pos;
  gboolean integer = TRUE;

  if (*s->pos == '-')
    s->pos++;
  if (peek (s) == '0')
    s->pos++;
  else if (!scan_digits (s))
    return fail (s, "a number needs digits", error);
  if (peek (s) == '.') {
    s->pos++;
    integer = FALSE;
    if (!scan_digits (s))
      return fail (s, "a number needs digits after its point", error);
  }
  if (peek (s) == 'e' || peek (s) == 'E') {
    s->pos++;
    integer = FALSE;
    if (peek (s) == '+' || peek (s) == '-')
      s->pos++;
    if (!scan_digits (s))
      return fail (s, "a number needs digits in its exponent", error);
  }
  return check_number (s, first, integer, error);
}

static gboolean
scan_word (Scanner *s, GError **error)
{
  static const char *const words[] = {"true", "false", "null"};

  for (guint i = 0; i < G_N_ELEMENTS (words); i++) {
    gsize n = strlen (words[i]);

    if ((gsize) (s->end - s->pos) >= n && memcmp (s->pos, words[i], n) == 0) {
      s->pos += n;
      return TRUE;
    }
  }
  return fail (s, "a JSON value is expected here", error);
}

static gboolean
open_bracket (Scanner *s, char closer, GError **error)
{
  if (s->depth == MLLAMA_JSON_MAX_DEPTH)
    return fail (s, "brackets are nested deeper than " G_STRINGIFY (MLLAMA_JSON_MAX_DEPTH) " levels", error);
  s->closers[s->depth++] = closer;
  s->pos++;
  s->expectation = closer == '}' ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
  return TRUE;
}

static void
finish_value (Scanner *s)
{
  s->expectation = s->depth ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
}

static gboolean
scan_value (Scanner *s, GError **error)
{
  int c = peek (s);
  gboolean ok;

  if (c == '{' || c == '[')
    return open_bracket (s, c == '{' ? '}' : ']', error);
  if (c == '"')
    ok = scan_string (s, error);
  else if (c == '-' || g_ascii_isdigit (c))
    ok = scan_number (s, error);
  else
    ok = scan_word (s, error);
  finish_value (s);
  return ok;
}

static gboolean
scan_key (Scanner *s, GError **error)
{
  if (peek (s) != '"')
    return fail (s, "the name of a member, in double quotes, is expected here", error);
  if (!scan_string (s, error))
    return FALSE;
  skip_space (s);
  if (peek (s) != ':')
    return fail (s, "':' is expected here", error);
  s->pos++;
  s->expectation = EXPECT_VALUE;
  return TRUE;
}

static gboolean
scan_token (Scanner *s, GError **error)
{
  int c = peek (s);
  gboolean may_end = s->expectation == EXPECT_COMMA_OR_END || s->expectation == EXPECT_KEY_OR_END ||
                     s->expectation == EXPECT_VALUE_OR_END;

  if (may_end && c == s->closers[s->depth - 1]) {
    s->depth--;
    s->pos++;
    finish_value (s);
    return TRUE;
  }
  switch (s->expectation) {
  case EXPECT_KEY:
  case EXPECT_KEY_OR_END:
    return scan_key (s, error);
  case EXPECT_COMMA_OR_END:
    if (c != ',')
      return fail (s, s->closers[s->depth - 1] == '}' ? "',' or '}' is expected here" : "',' or ']' is expected here",
                   error);
    s->pos++;
    s->expectation = s->closers[s->depth - 1] == '}' ? EXPECT_KEY : EXPECT_VALUE;
    return TRUE;
  case EXPECT_NOTHING:
    return fail (s, "nothing may follow the JSON value", error);
  default:
    return scan_value (s, error);
  }
}

gboolean
mllama_json_scan (const char *text, gsize length, GArray *big_integers, const char *origin, GError **error)
{
  Scanner s = {.text = text, .pos = text, .end = text + length, .big_integers = big_integers, .origin = origin};
  const char *bad;

  if (!g_utf8_validate_len (text, length, &bad))
    return fail_at (&s, bad, *bad ? "the text is not valid UTF-8" : "the text holds a NUL byte", error);
  skip_space (&s);
  while (s.pos < s.end || s.expectation != EXPECT_NOTHING) {
    if (!scan_token (&s, error))
      return FALSE;
    skip_space (&s);
  }
  return TRUE;
}
