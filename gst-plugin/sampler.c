/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sampler.h"

void
gst_mllama_caption_sampler_reset (GstMllamaCaptionSampler *sampler, GstClockTime base)
{
  sampler->base = base;
  sampler->last = GST_CLOCK_TIME_NONE;
}

void
gst_mllama_caption_sampler_set_interval (GstMllamaCaptionSampler *sampler, GstClockTime interval)
{
  sampler->interval = interval;
}

/* Number of whole intervals between the base and time; frames before the base belong to the first. */
static guint64
count_intervals (const GstMllamaCaptionSampler *sampler, GstClockTime time)
{
  return time > sampler->base ? (time - sampler->base) / sampler->interval : 0;
}

gboolean
gst_mllama_caption_sampler_is_due (const GstMllamaCaptionSampler *sampler, GstClockTime time)
{
  if (!GST_CLOCK_TIME_IS_VALID (sampler->last) || sampler->interval == 0)
    return TRUE;
  guint64 now = count_intervals (sampler, time), then = count_intervals (sampler, sampler->last);
  /* Jitter may step back across a due time; further back is a jump, and what follows is new. */
  return now > then || now + 1 < then;
}

void
gst_mllama_caption_sampler_advance (GstMllamaCaptionSampler *sampler, GstClockTime time)
{
  sampler->last = time;
}

GstClockTime
gst_mllama_caption_sampler_get_next (const GstMllamaCaptionSampler *sampler, GstClockTime time,
                                     GstClockTime frame_duration)
{
  if (sampler->interval == 0)
    return time + (GST_CLOCK_TIME_IS_VALID (frame_duration) && frame_duration > 0 ? frame_duration : GST_SECOND);
  return sampler->base + (count_intervals (sampler, time) + 1) * sampler->interval;
}
