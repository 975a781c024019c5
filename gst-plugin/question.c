/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "question.h"

#define PTS       "{pts}"
#define WALLCLOCK "{wallclock}"
#define PREVIOUS  "{previous}"

gboolean
gst_mllama_caption_question_uses_previous (const char *text)
{
  return strstr (text, PREVIOUS) != NULL;
}

/* hours:minutes:seconds.milliseconds */
static char *
format_time (GstClockTime time)
{
  if (!GST_CLOCK_TIME_IS_VALID (time))
    return g_strdup ("unknown");
  guint64 ms = time / GST_MSECOND;
  return g_strdup_printf ("%" G_GUINT64_FORMAT ":%02u:%02u.%03u", ms / 3600000, (guint) (ms / 60000 % 60),
                          (guint) (ms / 1000 % 60), (guint) (ms % 1000));
}

/* ISO 8601, UTC */
static char *
format_wallclock (gint64 us)
{
  g_autoptr (GDateTime) time = g_date_time_new_from_unix_utc (us / G_USEC_PER_SEC);

  return time ? g_date_time_format (time, "%Y-%m-%dT%H:%M:%SZ") : g_strdup ("unknown");
}

/* The value of the placeholder that text starts with, and its length; NULL if it starts with none. */
static char *
read_placeholder (const char *text, const GstMllamaCaptionValues *values, gsize *length)
{
  if (g_str_has_prefix (text, PTS)) {
    *length = strlen (PTS);
    return format_time (values->pts);
  }
  if (g_str_has_prefix (text, WALLCLOCK)) {
    *length = strlen (WALLCLOCK);
    return format_wallclock (values->wallclock_us);
  }
  if (g_str_has_prefix (text, PREVIOUS)) {
    *length = strlen (PREVIOUS);
    return g_strdup (values->previous ? values->previous : "");
  }
  return NULL;
}

char *
gst_mllama_caption_question_fill (const char *text, const GstMllamaCaptionValues *values, GArray *literal)
{
  GString *filled = g_string_new (NULL);

  while (*text) {
    gsize length = 0;
    g_autofree char *value = *text == '{' ? read_placeholder (text, values, &length) : NULL;
    if (value) {
      MllamaTextRange range = {filled->len, filled->len + strlen (value)};
      if (range.end > range.start)
        g_array_append_val (literal, range);
      g_string_append (filled, value);
      text += length;
    } else {
      g_string_append_c (filled, *text++);
    }
  }
  return g_string_free (filled, FALSE);
}

MllamaPrompt *
gst_mllama_caption_question_to_prompt (MllamaModel *model, const char *text, gint prompt_format,
                                       const GstMllamaCaptionValues *values, GError **error)
{
  g_autoptr (GArray) literal = g_array_new (FALSE, FALSE, sizeof (MllamaTextRange));
  g_autofree char *filled = gst_mllama_caption_question_fill (text, values, literal);
  const MllamaTextRange *ranges = (const MllamaTextRange *) (gpointer) literal->data;
  MllamaPrompt *prompt;

  if (prompt_format == GST_MLLAMA_CAPTION_PROMPT_CHAT)
    prompt = mllama_prompt_new_question (model, filled, -1, 1, error);
  else if (prompt_format == GST_MLLAMA_CAPTION_PROMPT_RAW)
    prompt = mllama_prompt_new_raw (model, filled, -1, ranges, literal->len, error);
  else
    prompt = mllama_prompt_new_auto (model, filled, -1, ranges, literal->len, 1, error);
  if (!prompt || mllama_prompt_get_n_images (prompt) == 1)
    return prompt;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
               "The prompt holds %u image marks, but one is needed for the frame: put <|image|> once into it, or set "
               "prompt-format to chat",
               mllama_prompt_get_n_images (prompt));
  mllama_prompt_unref (prompt);
  return NULL;
}
