/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "frame.h"

GstMllamaCaptionFrame *
gst_mllama_caption_frame_new (GstMllamaCaptionPicture *picture, const GstMllamaCaptionTimes *times,
                              const GstMllamaCaptionSettings *settings)
{
  GstMllamaCaptionFrame *frame = g_new0 (GstMllamaCaptionFrame, 1);

  frame->ref_count = 1;
  frame->picture = picture;
  frame->times = *times;
  gst_mllama_caption_settings_copy (&frame->settings, settings);
  frame->answers = g_ptr_array_new_with_free_func ((GDestroyNotify) gst_mllama_caption_answer_unref);
  return frame;
}

GstMllamaCaptionFrame *
gst_mllama_caption_frame_ref (GstMllamaCaptionFrame *frame)
{
  g_atomic_int_inc (&frame->ref_count);
  return frame;
}

void
gst_mllama_caption_frame_unref (GstMllamaCaptionFrame *frame)
{
  if (!frame || !g_atomic_int_dec_and_test (&frame->ref_count))
    return;
  gst_mllama_caption_picture_free (frame->picture);
  g_clear_pointer (&frame->states, mllama_states_unref);
  gst_mllama_caption_settings_clear (&frame->settings);
  g_ptr_array_unref (frame->answers);
  g_free (frame);
}

void
gst_mllama_caption_frame_add (GstMllamaCaptionFrame *frame, GstMllamaCaptionAnswer *answer)
{
  answer->times = frame->times;
  g_ptr_array_add (frame->answers, answer);
}

GstMllamaCaptionAnswer *
gst_mllama_caption_frame_get_open (GstMllamaCaptionFrame *frame)
{
  for (guint i = 0; i < frame->answers->len; i++) {
    GstMllamaCaptionAnswer *answer = g_ptr_array_index (frame->answers, i);
    if (gst_mllama_caption_answer_get_state (answer) != GST_MLLAMA_CAPTION_ANSWER_REPORTED)
      return answer;
  }
  return NULL;
}
