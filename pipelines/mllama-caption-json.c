/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <json-glib/json-glib.h>
#include <math.h>
#include "mllama-caption.h"

static void
add_string (JsonBuilder *builder, const char *name, const char *value)
{
  json_builder_set_member_name (builder, name);
  if (value)
    json_builder_add_string_value (builder, value);
  else
    json_builder_add_null_value (builder);
}

static void
add_time (JsonBuilder *builder, const char *name, GstClockTime value)
{
  json_builder_set_member_name (builder, name);
  if (GST_CLOCK_TIME_IS_VALID (value))
    json_builder_add_int_value (builder, (gint64) value);
  else
    json_builder_add_null_value (builder);
}

/* JSON has no NaN and no infinity. */
static void
add_number (JsonBuilder *builder, double value)
{
  if (isfinite (value))
    json_builder_add_double_value (builder, value);
  else
    json_builder_add_null_value (builder);
}

/* A string for one file, an array for several, null for none; names that are not UTF-8 are made so. */
static void
add_files (JsonBuilder *builder, const Caption *caption)
{
  json_builder_set_member_name (builder, "file");
  if (caption->n_files == 0)
    json_builder_add_null_value (builder);
  if (caption->n_files > 1)
    json_builder_begin_array (builder);
  for (guint i = 0; i < caption->n_files; i++) {
    g_autofree char *name = g_filename_display_name (caption->files[i]);
    json_builder_add_string_value (builder, name);
  }
  if (caption->n_files > 1)
    json_builder_end_array (builder);
}

static void
add_tokens (JsonBuilder *builder, const Caption *caption)
{
  json_builder_set_member_name (builder, "token_ids");
  json_builder_begin_array (builder);
  for (guint i = 0; i < caption->n_ids; i++)
    json_builder_add_int_value (builder, caption->ids[i]);
  json_builder_end_array (builder);
  if (!caption->logprobs)
    return;
  json_builder_set_member_name (builder, "logprobs");
  json_builder_begin_array (builder);
  for (guint i = 0; i < caption->n_ids; i++)
    add_number (builder, caption->logprobs[i]);
  json_builder_end_array (builder);
}

/* What differs from run to run sits apart, so that the rest can be compared. */
static void
add_timings (JsonBuilder *builder, const Caption *caption)
{
  json_builder_set_member_name (builder, "timings");
  json_builder_begin_object (builder);
  add_time (builder, "queue_ns", caption->queue_ns);
  add_time (builder, "encode_ns", caption->encode_ns);
  add_time (builder, "prefill_ns", caption->prefill_ns);
  add_time (builder, "decode_ns", caption->decode_ns);
  add_time (builder, "latency_ns", caption->latency_ns);
  json_builder_end_object (builder);
}

/* json-glib 1.6 leaves U+001F as it is, which JSON forbids. Of the others, readers that split lines by Unicode's rules
 * would break a line at some, and a terminal obey some. */
static char *
escape_controls (const char *json)
{
  GString *escaped = g_string_new (NULL);

  for (const char *p = json; *p; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);
    if (c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x2028 || c == 0x2029)
      g_string_append_printf (escaped, "\\u%04x", c);
    else
      g_string_append_len (escaped, p, g_utf8_next_char (p) - p);
  }
  return g_string_free (escaped, FALSE);
}

char *
caption_to_json (const Caption *caption, gboolean with_tokens)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();

  json_builder_begin_object (builder);
  add_files (builder, caption);
  add_time (builder, "pts", caption->pts);
  add_time (builder, "duration", caption->duration);
  add_string (builder, "prompt", caption->prompt);
  add_string (builder, "text", caption->text);
  add_string (builder, "finish_reason", caption->finish_reason);
  if (caption->error)
    add_string (builder, "error", caption->error);
  json_builder_set_member_name (builder, "confidence");
  add_number (builder, caption->confidence);
  if (with_tokens)
    add_tokens (builder, caption);
  json_builder_set_member_name (builder, "states_reused");
  json_builder_add_boolean_value (builder, caption->states_reused);
  add_timings (builder, caption);
  json_builder_end_object (builder);

  g_autoptr (JsonNode) root = json_builder_get_root (builder);
  g_autofree char *json = json_to_string (root, FALSE);
  return escape_controls (json);
}
