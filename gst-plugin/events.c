/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events of all pads. Those of sink pass on to src unchanged; text pads get what concerns text. */
#include "element.h"

#define GST_CAT_DEFAULT gst_mllama_caption_debug

/* A push downstream that takes longer than this is one that waits for video; the end of the stream must not. */
#define EOS_PATIENCE_US (250 * G_TIME_SPAN_MILLISECOND)

/* --- what text pads start with --- */

static GstEvent *
make_text_stream_start (GstMllamaCaptionPad *pad, GstEvent *upstream)
{
  const char *id;
  guint group;
  gst_event_parse_stream_start (upstream, &id);
  g_autofree char *name = gst_object_get_name (GST_OBJECT (pad));
  g_autofree char *text_id = g_strdup_printf ("%s/%s", id, name);
  g_autoptr (GstStream) stream = gst_stream_new (text_id, NULL, GST_STREAM_TYPE_TEXT, GST_STREAM_FLAG_SPARSE);
  GstEvent *event = gst_event_new_stream_start (text_id);

  gst_event_set_seqnum (event, gst_event_get_seqnum (upstream));
  gst_event_set_stream_flags (event, GST_STREAM_FLAG_SPARSE);
  gst_event_set_stream (event, stream);
  if (gst_event_parse_group_id (upstream, &group))
    gst_event_set_group_id (event, group);
  return event;
}

void
gst_mllama_caption_start_text_pad (GstMllamaCaption *self, GstMllamaCaptionPad *pad)
{
  GstMllamaCaptionTextQueue *queue = gst_mllama_caption_pad_get_queue (pad);

  if (self->stream_start)
    gst_mllama_caption_text_queue_put_event (queue, make_text_stream_start (pad, self->stream_start));
  if (self->stream_start && self->text_segment)
    gst_mllama_caption_text_queue_put_event (queue, gst_event_ref (self->text_segment));
  if (self->stream_start && self->text_segment && !self->captionable)
    gst_mllama_caption_text_queue_put_event (queue, gst_event_new_eos ());
}

/* The lock is held. */
static void
put_text_event (GstMllamaCaption *self, GstEvent *event)
{
  for (GList *at = self->text_pads; at; at = at->next)
    gst_mllama_caption_text_queue_put_event (gst_mllama_caption_pad_get_queue (at->data), gst_event_ref (event));
}

/* --- from upstream --- */

void
gst_mllama_caption_reset_stream (GstMllamaCaption *self)
{
  gst_clear_event (&self->stream_start);
  gst_clear_event (&self->text_segment);
  gst_segment_init (&self->segment, GST_FORMAT_UNDEFINED);
  self->has_info = self->mode_known = self->live = self->arrival = self->captionable = self->forced = FALSE;
  self->orientation = GST_VIDEO_ORIENTATION_IDENTITY;
  self->video_end = GST_CLOCK_TIME_NONE;
  self->seek_seqnum = GST_SEQNUM_INVALID;
}

static void
take_stream_start (GstMllamaCaption *self, GstEvent *event)
{
  g_mutex_lock (&self->lock);
  gst_event_replace (&self->stream_start, event);
  gst_clear_event (&self->text_segment);
  self->mode_known = FALSE;
  self->orientation = GST_VIDEO_ORIENTATION_IDENTITY;
  for (GList *at = self->text_pads; at; at = at->next)
    gst_mllama_caption_text_queue_put_event (gst_mllama_caption_pad_get_queue (at->data),
                                             make_text_stream_start (at->data, event));
  g_mutex_unlock (&self->lock);
}

/* Frames in work keep the description they were copied under. */
static void
take_caps (GstMllamaCaption *self, GstEvent *event)
{
  GstCaps *caps;
  GstVideoInfo info;

  gst_event_parse_caps (event, &caps);
  gboolean valid = gst_video_info_from_caps (&info, caps);
  if (!valid)
    GST_WARNING_OBJECT (self, "no captions for %" GST_PTR_FORMAT, caps);
  g_mutex_lock (&self->lock);
  self->has_info = valid;
  if (valid)
    self->info = info;
  g_mutex_unlock (&self->lock);
}

/* The event with which text pads go along: the same segment, or one in time where video has none. */
static GstEvent *
make_text_segment (const GstSegment *segment, GstEvent *event)
{
  GstSegment time;

  if (segment->format == GST_FORMAT_TIME)
    return gst_event_ref (event);
  gst_segment_init (&time, GST_FORMAT_TIME);
  GstEvent *text = gst_event_new_segment (&time);
  gst_event_set_seqnum (text, gst_event_get_seqnum (event));
  return text;
}

static void
take_segment (GstMllamaCaption *self, GstEvent *event)
{
  GstSegment segment;

  gst_event_copy_segment (event, &segment);
  const gboolean timed = segment.format == GST_FORMAT_TIME;
  g_autoptr (GstEvent) text = make_text_segment (&segment, event);
  g_mutex_lock (&self->lock);
  /* Some demuxers send the same segment again with a later position or end: due times go on. */
  const gboolean same = timed && self->segment.format == GST_FORMAT_TIME && segment.rate == self->segment.rate &&
                        segment.start == self->segment.start && segment.base == self->segment.base &&
                        segment.time == self->segment.time;
  self->segment = segment;
  self->captionable = timed;
  if (!same) {
    self->epoch++;
    gst_mllama_caption_sampler_reset (&self->sampler, timed ? segment.start : 0);
    g_clear_pointer (&self->reference, gst_mllama_caption_frame_unref);
    g_clear_pointer (&self->last, gst_mllama_caption_frame_unref);
    self->video_end = GST_CLOCK_TIME_NONE;
  }
  gst_event_replace (&self->text_segment, text);
  put_text_event (self, text);
  /* Nobody downstream shall wait for text that cannot come. */
  if (!timed) {
    g_autoptr (GstEvent) eos = gst_event_new_eos ();
    put_text_event (self, eos);
  }
  g_mutex_unlock (&self->lock);
  if (!timed)
    GST_ELEMENT_WARNING (self, STREAM, FORMAT, (NULL),
                         ("captions need a segment in time, not in %s: video passes without captions",
                          gst_format_get_name (segment.format)));
}

static void
take_tags (GstMllamaCaption *self, GstEvent *event)
{
  GstTagList *tags;
  GstVideoOrientationMethod orientation;

  gst_event_parse_tag (event, &tags);
  if (!gst_video_orientation_from_tag (tags, &orientation))
    return;
  g_mutex_lock (&self->lock);
  self->orientation = orientation;
  g_mutex_unlock (&self->lock);
}

static void
take_gap (GstMllamaCaption *self, GstEvent *event)
{
  GstClockTime start, duration;
  guint64 clip_start, clip_stop;

  gst_event_parse_gap (event, &start, &duration);
  if (!self->captionable || !GST_CLOCK_TIME_IS_VALID (duration))
    return;
  if (gst_segment_clip (&self->segment, GST_FORMAT_TIME, start, start + duration, &clip_start, &clip_stop))
    gst_mllama_caption_cover (self, clip_start, clip_stop);
}

/* Captions first, then the end of text, then of video. FALSE: the stream was flushed, and the end is none any more; a
 * sink that heard of it would tell the application. */
static gboolean
take_eos (GstMllamaCaption *self, GstEvent *event)
{
  g_autoptr (GList) pads = NULL;
  g_autoptr (GstEvent) eos = gst_event_new_eos ();

  gst_event_set_seqnum (eos, gst_event_get_seqnum (event));
  if (!gst_mllama_caption_finish (self))
    return FALSE;
  g_mutex_lock (&self->lock);
  put_text_event (self, eos);
  pads = g_list_copy_deep (self->text_pads, (GCopyFunc) (void (*) (void)) gst_object_ref, NULL);
  g_mutex_unlock (&self->lock);
  for (GList *at = pads; at; at = at->next) {
    gst_mllama_caption_text_queue_drain (gst_mllama_caption_pad_get_queue (at->data), EOS_PATIENCE_US);
    gst_object_unref (at->data);
  }
  return TRUE;
}

static void
take_flush (GstMllamaCaption *self, GstEvent *event)
{
  const gboolean start = GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_START;
  g_autoptr (GList) pads = NULL;

  if (start)
    gst_mllama_caption_cancel (self, FALSE);
  else
    gst_mllama_caption_wait_for_report (self);
  g_mutex_lock (&self->lock);
  if (!start) {
    gst_segment_init (&self->segment, GST_FORMAT_UNDEFINED);
    gst_clear_event (&self->text_segment);
    self->captionable = FALSE;
    self->video_end = GST_CLOCK_TIME_NONE;
    self->flushing = FALSE;
  }
  pads = g_list_copy_deep (self->text_pads, (GCopyFunc) (void (*) (void)) gst_object_ref, NULL);
  g_mutex_unlock (&self->lock);
  for (GList *at = pads; at; at = at->next) {
    gst_mllama_caption_pad_flush (at->data, event);
    gst_object_unref (at->data);
  }
}

static void
force_next_frame (GstMllamaCaption *self)
{
  g_mutex_lock (&self->lock);
  self->forced = TRUE;
  g_mutex_unlock (&self->lock);
}

gboolean
gst_mllama_caption_sink_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (parent);

  switch (GST_EVENT_TYPE (event)) {
  case GST_EVENT_STREAM_START:
    take_stream_start (self, event);
    break;
  case GST_EVENT_CAPS:
    take_caps (self, event);
    break;
  case GST_EVENT_SEGMENT:
    take_segment (self, event);
    break;
  case GST_EVENT_TAG:
    take_tags (self, event);
    break;
  case GST_EVENT_GAP:
    take_gap (self, event);
    break;
  case GST_EVENT_EOS:
    if (take_eos (self, event))
      break;
    gst_event_unref (event);
    return FALSE;
  case GST_EVENT_FLUSH_START:
  case GST_EVENT_FLUSH_STOP:
    take_flush (self, event);
    break;
  default:
    if (gst_video_event_is_force_key_unit (event))
      force_next_frame (self);
  }
  /* The default keeps CAPS from pads without PROXY flags. */
  gboolean passed = GST_EVENT_TYPE (event) == GST_EVENT_CAPS ? gst_pad_push_event (self->srcpad, event)
                                                             : gst_pad_event_default (pad, parent, event);
  return passed || !gst_pad_is_linked (self->srcpad);
}

/* --- from downstream --- */

/* A player's seek arrives at every sink, and so at every source pad: it goes up once. */
static gboolean
seek_once (GstMllamaCaption *self, GstEvent *event)
{
  const guint32 seqnum = gst_event_get_seqnum (event);

  g_mutex_lock (&self->lock);
  const gboolean seen = seqnum == self->seek_seqnum;
  gboolean result = seen ? self->seek_result : TRUE;
  self->seek_seqnum = seqnum;
  self->seek_result = result;
  g_mutex_unlock (&self->lock);
  if (seen) {
    gst_event_unref (event);
    return result;
  }
  result = gst_pad_push_event (self->sinkpad, event);
  g_mutex_lock (&self->lock);
  if (self->seek_seqnum == seqnum)
    self->seek_result = result;
  g_mutex_unlock (&self->lock);
  return result;
}

gboolean
gst_mllama_caption_src_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  if (GST_EVENT_TYPE (event) == GST_EVENT_SEEK)
    return seek_once (GST_MLLAMA_CAPTION (parent), event);
  return gst_pad_event_default (pad, parent, event);
}

gboolean
gst_mllama_caption_text_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  if (GST_EVENT_TYPE (event) == GST_EVENT_SEEK)
    return seek_once (GST_MLLAMA_CAPTION (parent), event);
  /* How well text keeps up says nothing about video. */
  gst_event_unref (event);
  return TRUE;
}
