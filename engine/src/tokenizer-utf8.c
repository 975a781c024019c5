/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tokenizer-utf8.h"

/* Bytes that follow the lead byte, and the range of the first of them (Unicode table 3-7); 0 for ASCII, -1 for what is
 * no lead byte. */
static int
count_trail (guchar lead, guchar *low, guchar *high)
{
  *low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  *high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (lead < 0x80)
    return 0;
  if (lead < 0xc2 || lead > 0xf4)
    return -1;
  return lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
}

MllamaUtf8Kind
mllama_utf8_scan (const char *text, gsize length, gsize *n_bytes)
{
  guchar low, high;
  int n_trail = count_trail (text[0], &low, &high);

  *n_bytes = 1;
  for (int i = 0; i < n_trail; i++) {
    guchar byte;

    if (*n_bytes == length)
      return MLLAMA_UTF8_PARTIAL;
    byte = text[*n_bytes];
    if (byte < low || byte > high)
      return MLLAMA_UTF8_INVALID;
    low = 0x80, high = 0xbf;
    ++*n_bytes;
  }
  return n_trail < 0 ? MLLAMA_UTF8_INVALID : MLLAMA_UTF8_VALID;
}

gsize
mllama_utf8_append (GString *valid, const char *text, gsize length)
{
  gsize n;

  for (; length > 0; text += n, length -= n) {
    MllamaUtf8Kind kind = mllama_utf8_scan (text, length, &n);

    if (kind == MLLAMA_UTF8_PARTIAL)
      break;
    if (kind == MLLAMA_UTF8_VALID)
      g_string_append_len (valid, text, n);
    else
      g_string_append (valid, MLLAMA_UTF8_REPLACEMENT);
  }
  return length;
}

gboolean
mllama_utf8_is_valid (const char *text, gsize length)
{
  gsize n;

  for (; length > 0; text += n, length -= n)
    if (mllama_utf8_scan (text, length, &n) != MLLAMA_UTF8_VALID)
      return FALSE;
  return TRUE;
}

/* Visible bytes stand for themselves; the 68 others are, in order, the characters from U+0100 on. */
static int
decode_alphabet_char (gunichar c)
{
  if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff))
    return c;
  if (c < 0x100 || c > 0x143)
    return -1;
  if (c <= 0x120)
    return c - 0x100;
  return c <= 0x142 ? (int) (c - 0x121 + 0x7f) : 0xad;
}

gboolean
mllama_byte_alphabet_decode (const char *spelling, GString *bytes)
{
  gsize n_before = bytes->len;

  for (; *spelling; spelling = g_utf8_next_char (spelling)) {
    int byte = decode_alphabet_char (g_utf8_get_char (spelling));

    if (byte < 0) {
      g_string_truncate (bytes, n_before);
      return FALSE;
    }
    g_string_append_c (bytes, byte);
  }
  return TRUE;
}
