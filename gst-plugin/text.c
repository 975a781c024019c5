/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "text.h"
#include <math.h>

static void
append_clean (GString *clean, gunichar letter)
{
  if (g_unichar_iscntrl (letter) && letter != '\n' && letter != '\t')
    return;
  if (letter == '\n' && clean->len > 0 && clean->str[clean->len - 1] == '\n')
    return;
  while (letter == '>' && g_str_has_suffix (clean->str, "--"))
    g_string_truncate (clean, clean->len - 1);
  g_string_append_unichar (clean, letter);
}

char *
gst_mllama_caption_text_clean (const char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  GString *clean = g_string_sized_new (strlen (valid));

  for (const char *at = valid; *at; at = g_utf8_next_char (at))
    append_clean (clean, g_utf8_get_char (at));
  return g_string_free (clean, FALSE);
}

char *
gst_mllama_caption_text_to_markup (const char *text)
{
  g_autofree char *clean = gst_mllama_caption_text_clean (text);
  GString *markup = g_string_sized_new (strlen (clean));

  /* g_markup_escape_text would also escape quotes, which srtenc would write out as entities. */
  for (const char *at = clean; *at; at++) {
    if (*at == '&')
      g_string_append (markup, "&amp;");
    else if (*at == '<')
      g_string_append (markup, "&lt;");
    else if (*at == '>')
      g_string_append (markup, "&gt;");
    else
      g_string_append_c (markup, *at);
  }
  return g_string_free (markup, FALSE);
}

static void
append_json_string (GString *json, const char *string)
{
  g_autofree char *valid = g_utf8_make_valid (string, -1);

  g_string_append_c (json, '"');
  for (const char *at = valid; *at; at++) {
    guchar byte = (guchar) *at;
    if (byte == '"' || byte == '\\')
      g_string_append_printf (json, "\\%c", byte);
    else if (byte == '\n')
      g_string_append (json, "\\n");
    else if (byte < 0x20 || byte == 0x7f)
      g_string_append_printf (json, "\\u%04x", byte);
    else
      g_string_append_c (json, (char) byte);
  }
  g_string_append_c (json, '"');
}

static void
append_json_double (GString *json, double number)
{
  char digits[G_ASCII_DTOSTR_BUF_SIZE];

  g_string_append (json, isfinite (number) ? g_ascii_dtostr (digits, sizeof digits, number) : "null");
}

static void
append_json_value (GString *json, const GValue *value)
{
  if (GST_VALUE_HOLDS_ARRAY (value)) {
    g_string_append_c (json, '[');
    for (guint i = 0; i < gst_value_array_get_size (value); i++) {
      g_string_append (json, i > 0 ? "," : "");
      append_json_value (json, gst_value_array_get_value (value, i));
    }
    g_string_append_c (json, ']');
  } else if (G_VALUE_HOLDS_STRING (value) && g_value_get_string (value)) {
    append_json_string (json, g_value_get_string (value));
  } else if (G_VALUE_HOLDS_BOOLEAN (value)) {
    g_string_append (json, g_value_get_boolean (value) ? "true" : "false");
  } else if (G_VALUE_HOLDS_INT (value)) {
    g_string_append_printf (json, "%d", g_value_get_int (value));
  } else if (G_VALUE_HOLDS_UINT (value)) {
    g_string_append_printf (json, "%u", g_value_get_uint (value));
  } else if (G_VALUE_HOLDS_UINT64 (value) && g_value_get_uint64 (value) != GST_CLOCK_TIME_NONE) {
    g_string_append_printf (json, "%" G_GUINT64_FORMAT, g_value_get_uint64 (value));
  } else if (G_VALUE_HOLDS_DOUBLE (value)) {
    append_json_double (json, g_value_get_double (value));
  } else {
    g_string_append (json, "null");
  }
}

static gboolean
is_timing (const char *field)
{
  static const char *const fields[] = {"queue-time", "encode-time", "prefill-time", "decode-time", "latency", NULL};

  return g_strv_contains (fields, field);
}

static void
append_json_member (GString *json, const char *field, const GValue *value)
{
  g_string_append (json, g_str_has_suffix (json->str, "{") ? "" : ",");
  append_json_string (json, field);
  g_string_append_c (json, ':');
  append_json_value (json, value);
}

static void
append_json_members (GString *json, const GstStructure *structure, gboolean timing)
{
  for (gint i = 0; i < gst_structure_n_fields (structure); i++) {
    const char *field = gst_structure_nth_field_name (structure, (guint) i);
    if (is_timing (field) == timing)
      append_json_member (json, field, gst_structure_get_value (structure, field));
  }
}

char *
gst_mllama_caption_text_to_json (const GstStructure *structure, gboolean with_timing)
{
  GString *json = g_string_new ("{");

  append_json_members (json, structure, FALSE);
  if (with_timing) {
    g_string_append (json, ",\"timing\":{");
    append_json_members (json, structure, TRUE);
    g_string_append_c (json, '}');
  }
  g_string_append (json, "}\n");
  return g_string_free (json, FALSE);
}

GstBuffer *
gst_mllama_caption_text_to_buffer (GstMllamaCaptionTextFormat format, const GstStructure *structure)
{
  const char *text = gst_structure_get_string (structure, "text");
  char *bytes;

  if (format == GST_MLLAMA_CAPTION_TEXT_JSON || format == GST_MLLAMA_CAPTION_TEXT_JSON_WITHOUT_TIMING)
    bytes = gst_mllama_caption_text_to_json (structure, format == GST_MLLAMA_CAPTION_TEXT_JSON);
  else if (format == GST_MLLAMA_CAPTION_TEXT_MARKUP)
    bytes = gst_mllama_caption_text_to_markup (text);
  else
    bytes = gst_mllama_caption_text_clean (text);
  return gst_buffer_new_wrapped (bytes, strlen (bytes));
}
