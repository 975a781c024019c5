/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What comes over the bus: the element's captions, and errors of any element. */
#include <gio/gio.h>
#include "mllama-caption.h"
#include "program-error.h"

/* The elements of an array field as values of an own array; NULL if there is no such field. */
static GArray *
read_array (const GstStructure *structure, const char *field, GType type, guint element_bytes)
{
  const GValue *array = gst_structure_get_value (structure, field);

  if (!array || !GST_VALUE_HOLDS_ARRAY (array))
    return NULL;
  GArray *values = g_array_new (FALSE, FALSE, element_bytes);
  for (guint i = 0; i < gst_value_array_get_size (array); i++) {
    const GValue *value = gst_value_array_get_value (array, i);
    guint32 id = type == G_TYPE_INT ? (guint32) g_value_get_int (value) : 0;
    double number = type == G_TYPE_DOUBLE ? g_value_get_double (value) : 0;
    g_array_append_vals (values, type == G_TYPE_INT ? (gpointer) &id : (gpointer) &number, 1);
  }
  return values;
}

static guint64
read_time (const GstStructure *structure, const char *field, guint64 otherwise)
{
  guint64 value = otherwise;

  gst_structure_get_uint64 (structure, field, &value);
  return value;
}

CaptionMessage *
caption_message_new (const GstStructure *structure, const char *const *file, gboolean timed)
{
  CaptionMessage *message = g_new0 (CaptionMessage, 1);
  Caption *caption = &message->caption;

  message->ids = read_array (structure, "token-ids", G_TYPE_INT, sizeof (guint32));
  message->logprobs = read_array (structure, "logprobs", G_TYPE_DOUBLE, sizeof (double));
  caption->files = file;
  caption->n_files = 1;
  caption->timed = timed;
  caption->pts = read_time (structure, "pts", GST_CLOCK_TIME_NONE);
  caption->stream_time = read_time (structure, "stream-time", GST_CLOCK_TIME_NONE);
  caption->duration = read_time (structure, "duration", GST_CLOCK_TIME_NONE);
  caption->text = gst_structure_get_string (structure, "text");
  caption->prompt = gst_structure_get_string (structure, "prompt");
  caption->finish_reason = gst_structure_get_string (structure, "finish-reason");
  caption->error = gst_structure_get_string (structure, "error");
  gst_structure_get_double (structure, "confidence", &caption->confidence);
  gst_structure_get_boolean (structure, "states-reused", &caption->states_reused);
  if (message->ids) {
    caption->n_ids = message->ids->len;
    caption->ids = (const guint32 *) (gpointer) message->ids->data;
  }
  if (message->logprobs && message->logprobs->len == caption->n_ids)
    caption->logprobs = (const double *) (gpointer) message->logprobs->data;
  caption->queue_ns = read_time (structure, "queue-time", 0);
  caption->encode_ns = read_time (structure, "encode-time", 0);
  caption->prefill_ns = read_time (structure, "prefill-time", 0);
  caption->decode_ns = read_time (structure, "decode-time", 0);
  caption->latency_ns = read_time (structure, "latency", 0);
  return message;
}

void
caption_message_free (CaptionMessage *message)
{
  if (message->ids)
    g_array_unref (message->ids);
  if (message->logprobs)
    g_array_unref (message->logprobs);
  g_free (message);
}

GError *
caption_error_from_message (GstMessage *message, const char *missing)
{
  g_autoptr (GError) error = NULL;

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    gst_message_parse_error (message, &error, NULL);
  g_autofree char *text = program_error_explain (error, missing);
  return g_error_new_literal (CAPTION_ERROR, CAPTION_ERROR_MEDIA, text);
}

/* Opening it here gives the system's own words for what is wrong; a decoder would only say that it has no data. */
char *
caption_file_to_uri (const char *file, GError **error)
{
  g_autoptr (GFile) gfile = NULL;

  if (gst_uri_is_valid (file))
    return g_strdup (file);
  gfile = g_file_new_for_path (file);
  g_autoptr (GFileInputStream) stream = g_file_read (gfile, NULL, error);
  return stream ? g_file_get_uri (gfile) : NULL;
}
