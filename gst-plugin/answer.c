/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "answer.h"
#include <math.h>

GstMllamaCaptionAnswer *
gst_mllama_caption_answer_new (const char *prompt, gint prompt_format, guint max_tokens, GstMllamaCaptionPad *pad,
                               guint slot)
{
  GstMllamaCaptionAnswer *answer = g_new0 (GstMllamaCaptionAnswer, 1);

  answer->ref_count = 1;
  answer->prompt = g_strdup (prompt ? prompt : "");
  answer->prompt_format = prompt_format;
  answer->max_tokens = max_tokens;
  answer->pad = pad ? gst_object_ref (pad) : NULL;
  answer->slot = slot;
  answer->partial = g_string_new (NULL);
  answer->ids = g_array_new (FALSE, FALSE, sizeof (guint32));
  answer->logprobs = g_array_new (FALSE, FALSE, sizeof (double));
  return answer;
}

GstMllamaCaptionAnswer *
gst_mllama_caption_answer_ref (GstMllamaCaptionAnswer *answer)
{
  g_atomic_int_inc (&answer->ref_count);
  return answer;
}

void
gst_mllama_caption_answer_unref (GstMllamaCaptionAnswer *answer)
{
  if (!answer || !g_atomic_int_dec_and_test (&answer->ref_count))
    return;
  g_clear_pointer (&answer->generation, mllama_generation_unref);
  gst_clear_object (&answer->pad);
  g_free (answer->prompt);
  g_string_free (answer->partial, TRUE);
  g_free (answer->text);
  g_array_unref (answer->ids);
  g_array_unref (answer->logprobs);
  g_clear_error (&answer->error);
  g_free (answer);
}

gint
gst_mllama_caption_answer_get_state (GstMllamaCaptionAnswer *answer)
{
  return g_atomic_int_get (&answer->state);
}

static void
end (GstMllamaCaptionAnswer *answer, MllamaFinishReason reason, const GError *error)
{
  answer->finish_reason = reason;
  answer->error = error ? g_error_copy (error) : NULL;
  g_clear_pointer (&answer->generation, mllama_generation_unref);
  g_atomic_int_set (&answer->state, GST_MLLAMA_CAPTION_ANSWER_ENDED);
}

void
gst_mllama_caption_answer_take (GstMllamaCaptionAnswer *answer, const MllamaResult *result)
{
  answer->text = g_strdup (result->text);
  g_array_append_vals (answer->ids, result->ids, result->n_ids);
  g_array_append_vals (answer->logprobs, result->logprobs, result->n_ids);
  answer->queue_ns += result->queue_ns;
  answer->prefill_ns = result->prefill_ns;
  answer->decode_ns = result->decode_ns;
  end (answer, result->finish_reason, result->error);
}

void
gst_mllama_caption_answer_fail (GstMllamaCaptionAnswer *answer, const GError *error)
{
  gboolean cancelled = g_error_matches (error, MLLAMA_ERROR, MLLAMA_ERROR_CANCELLED);

  end (answer, cancelled ? MLLAMA_FINISH_CANCELLED : MLLAMA_FINISH_ERROR, cancelled ? NULL : error);
}

void
gst_mllama_caption_answer_drop (GstMllamaCaptionAnswer *answer)
{
  end (answer, MLLAMA_FINISH_NONE, NULL);
  g_atomic_int_set (&answer->state, GST_MLLAMA_CAPTION_ANSWER_REPORTED);
}

gboolean
gst_mllama_caption_answer_is_caption (GstMllamaCaptionAnswer *answer)
{
  return gst_mllama_caption_answer_get_state (answer) == GST_MLLAMA_CAPTION_ANSWER_REPORTED && answer->text &&
         answer->finish_reason != MLLAMA_FINISH_NONE && answer->finish_reason != MLLAMA_FINISH_ERROR;
}

double
gst_mllama_caption_answer_get_confidence (const GstMllamaCaptionAnswer *answer)
{
  double sum = 0;

  for (guint i = 0; i < answer->logprobs->len; i++)
    sum += g_array_index (answer->logprobs, double, i);
  return answer->logprobs->len > 0 ? exp (sum / answer->logprobs->len) : 0;
}

char *
gst_mllama_caption_answer_get_key (const GstMllamaCaptionAnswer *answer)
{
  return answer->pad ? gst_object_get_name (GST_OBJECT (answer->pad)) : g_strdup_printf ("%u", answer->slot);
}

static void
take_ids (GstStructure *structure, const GArray *ids)
{
  GValue array = G_VALUE_INIT;

  gst_value_array_init (&array, ids->len);
  for (guint i = 0; i < ids->len; i++) {
    GValue value = G_VALUE_INIT;
    g_value_init (&value, G_TYPE_INT);
    g_value_set_int (&value, (gint) g_array_index (ids, guint32, i));
    gst_value_array_append_and_take_value (&array, &value);
  }
  gst_structure_take_value (structure, "token-ids", &array);
}

static void
take_logprobs (GstStructure *structure, const GArray *logprobs)
{
  GValue array = G_VALUE_INIT;

  gst_value_array_init (&array, logprobs->len);
  for (guint i = 0; i < logprobs->len; i++) {
    GValue value = G_VALUE_INIT;
    g_value_init (&value, G_TYPE_DOUBLE);
    g_value_set_double (&value, g_array_index (logprobs, double, i));
    gst_value_array_append_and_take_value (&array, &value);
  }
  gst_structure_take_value (structure, "logprobs", &array);
}

GstStructure *
gst_mllama_caption_answer_to_structure (const GstMllamaCaptionAnswer *answer, const char *partial)
{
  const GstMllamaCaptionTimes *times = &answer->times;
  const char *text = partial ? partial : answer->text;
  g_autofree char *pad = answer->pad ? gst_object_get_name (GST_OBJECT (answer->pad)) : g_strdup ("");
  g_autofree char *valid = g_utf8_make_valid (text ? text : "", -1);
  GstStructure *structure = gst_structure_new (
      "mllama-caption", "text", G_TYPE_STRING, valid, "prompt", G_TYPE_STRING, answer->prompt, "pad", G_TYPE_STRING,
      pad, "caption-id", G_TYPE_UINT64, answer->caption_id, "encode-id", G_TYPE_UINT64, answer->encode_id, "pts",
      G_TYPE_UINT64, times->pts, "running-time", G_TYPE_UINT64, times->running_time, "stream-time", G_TYPE_UINT64,
      times->stream_time, "duration", G_TYPE_UINT64, times->end - times->pts, "tokens", G_TYPE_UINT, answer->ids->len,
      NULL);

  take_ids (structure, answer->ids);
  gst_structure_set (structure, "finish-reason", G_TYPE_STRING,
                     mllama_finish_reason_to_string (partial ? MLLAMA_FINISH_NONE : answer->finish_reason), NULL);
  if (answer->error && !partial)
    gst_structure_set (structure, "error", G_TYPE_STRING, answer->error->message, NULL);
  gst_structure_set (structure, "confidence", G_TYPE_DOUBLE, gst_mllama_caption_answer_get_confidence (answer),
                     "states-reused", G_TYPE_BOOLEAN, answer->states_reused, "partial", G_TYPE_BOOLEAN, partial != NULL,
                     "scene-score", G_TYPE_DOUBLE, times->scene_score, "queue-time", G_TYPE_UINT64, answer->queue_ns,
                     "encode-time", G_TYPE_UINT64, answer->encode_ns, "prefill-time", G_TYPE_UINT64, answer->prefill_ns,
                     "decode-time", G_TYPE_UINT64, answer->decode_ns, "latency", G_TYPE_UINT64, answer->latency_ns,
                     NULL);
  take_logprobs (structure, answer->logprobs);
  return structure;
}
