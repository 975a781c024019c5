/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Video on its way through: the streaming thread. */
#include "element.h"
#include "meta.h"

#define GST_CAT_DEFAULT gst_mllama_caption_debug

/* Where a buffer lies in the segment. */
typedef struct {
  GstClockTime start, end; /* clipped; equal if the duration is unknown */
  GstClockTime duration;   /* of a frame, NONE if unknown */
  gboolean inside;
} Span;

/* --- the first buffer --- */

static gboolean
ask_whether_live (GstMllamaCaption *self)
{
  GstQuery *query = gst_query_new_latency ();
  gboolean live = FALSE;

  if (gst_pad_peer_query (self->sinkpad, query))
    gst_query_parse_latency (query, &live, NULL, NULL);
  gst_query_unref (query);
  return live;
}

static void
begin_stream (GstMllamaCaption *self)
{
  g_mutex_lock (&self->lock);
  gint mode = self->settings.mode, timestamps = self->settings.text_timestamps;
  g_mutex_unlock (&self->lock);

  gboolean live = mode == GST_MLLAMA_CAPTION_MODE_AUTO ? ask_whether_live (self) : mode == GST_MLLAMA_CAPTION_MODE_LIVE;
  g_mutex_lock (&self->lock);
  self->live = live;
  self->arrival =
      timestamps == GST_MLLAMA_CAPTION_TIMESTAMPS_AUTO ? live : timestamps == GST_MLLAMA_CAPTION_TIMESTAMPS_ARRIVAL;
  self->mode_known = TRUE;
  g_mutex_unlock (&self->lock);
  GST_INFO_OBJECT (self, "%s mode", live ? "live" : "archive");
  gst_mllama_caption_begin_load (self);
}

/* --- times --- */

static GstClockTime
find_frame_duration (GstMllamaCaption *self, GstBuffer *buffer)
{
  if (GST_BUFFER_DURATION_IS_VALID (buffer))
    return GST_BUFFER_DURATION (buffer);
  if (self->has_info && GST_VIDEO_INFO_FPS_N (&self->info) > 0)
    return gst_util_uint64_scale_int (GST_SECOND, GST_VIDEO_INFO_FPS_D (&self->info),
                                      GST_VIDEO_INFO_FPS_N (&self->info));
  return GST_CLOCK_TIME_NONE;
}

/* A buffer without a time follows the one before it. */
static GstClockTime
find_pts (GstMllamaCaption *self, GstBuffer *buffer)
{
  if (GST_BUFFER_PTS_IS_VALID (buffer))
    return GST_BUFFER_PTS (buffer);
  return GST_CLOCK_TIME_IS_VALID (self->video_end) ? self->video_end : self->segment.start;
}

static Span
measure (GstMllamaCaption *self, GstBuffer *buffer)
{
  Span span = {.start = find_pts (self, buffer), .duration = find_frame_duration (self, buffer)};
  guint64 start, stop;

  if (!self->captionable)
    return span;
  span.end = GST_CLOCK_TIME_IS_VALID (span.duration) ? span.start + span.duration : span.start;
  span.inside = gst_segment_clip (&self->segment, GST_FORMAT_TIME, span.start,
                                  span.end > span.start ? span.end : GST_CLOCK_TIME_NONE, &start, &stop);
  if (span.inside) {
    span.end = span.end > span.start ? stop : start;
    span.start = start;
  }
  return span;
}

/* --- choosing --- */

static gboolean
can_be_chosen (GstMllamaCaption *self, GstBuffer *buffer, const Span *span)
{
  const guint unfit = GST_BUFFER_FLAG_DECODE_ONLY | GST_BUFFER_FLAG_GAP | GST_BUFFER_FLAG_CORRUPTED;

  return span->inside && self->has_info && self->segment.rate > 0 && !(GST_BUFFER_FLAGS (buffer) & unfit);
}

/* Whether the frame is due or asked for; if so, times are filled in. */
static gboolean
choose (GstMllamaCaption *self, const Span *span, GstMllamaCaptionTimes *times, gboolean *forced)
{
  g_mutex_lock (&self->lock);
  gst_mllama_caption_sampler_set_interval (&self->sampler, self->settings.interval);
  gboolean due = gst_mllama_caption_sampler_is_due (&self->sampler, span->start);
  *forced = self->forced;
  self->forced = FALSE;
  if (due)
    gst_mllama_caption_sampler_advance (&self->sampler, span->start);
  times->end = gst_mllama_caption_sampler_get_next (&self->sampler, span->start, span->duration);
  g_mutex_unlock (&self->lock);
  times->epoch = self->epoch;
  times->pts = span->start;
  times->running_time = gst_segment_to_running_time (&self->segment, GST_FORMAT_TIME, span->start);
  times->stream_time = gst_segment_to_stream_time (&self->segment, GST_FORMAT_TIME, span->start);
  times->chosen_us = g_get_monotonic_time ();
  times->wallclock_us = g_get_real_time ();
  return due || *forced;
}

void
gst_mllama_caption_add_questions (GstMllamaCaption *self, GstMllamaCaptionFrame *frame)
{
  const GstMllamaCaptionSettings *settings = &self->settings;
  guint slot = 0;

  for (GList *at = self->text_pads; at; at = at->next) {
    g_autofree char *prompt = g_strdup (settings->prompt);
    gint format = settings->prompt_format;
    guint max_tokens = settings->max_tokens;
    gst_mllama_caption_pad_get_question (at->data, &prompt, &format, &max_tokens);
    gst_mllama_caption_frame_add (frame, gst_mllama_caption_answer_new (prompt, format, max_tokens, at->data, slot++));
  }
  if (self->text_pads)
    return;
  for (; settings->prompts && settings->prompts[slot]; slot++)
    gst_mllama_caption_frame_add (frame,
                                  gst_mllama_caption_answer_new (settings->prompts[slot], settings->prompt_format,
                                                                 settings->max_tokens, NULL, slot));
  if (slot == 0)
    gst_mllama_caption_frame_add (frame, gst_mllama_caption_answer_new (settings->prompt, settings->prompt_format,
                                                                        settings->max_tokens, NULL, slot));
}

/* The same text again on every text pad, until the next due time. */
static void
repeat_captions (GstMllamaCaption *self, const GstMllamaCaptionTimes *times)
{
  g_mutex_lock (&self->lock);
  self->stats.counts[GST_MLLAMA_CAPTION_FRAMES_GATED]++;
  if (self->last && self->last == self->reference)
    self->confirmed = times->pts;
  for (GList *at = self->text_pads; at; at = at->next) {
    GstMllamaCaptionAnswer *answer = g_hash_table_lookup (self->latest, at->data);
    GstMllamaCaptionTextQueue *queue = gst_mllama_caption_pad_get_queue (at->data);
    /* With the time of arrival an answer still to come will find its own place. */
    if (answer && (!self->arrival || gst_mllama_caption_answer_is_caption (answer)))
      gst_mllama_caption_text_queue_put_answer (queue, answer, times->pts, times->end, self->arrival);
  }
  g_mutex_unlock (&self->lock);
}

/* Whether the frame shows what the reference shows; sets the score. */
static gboolean
is_unchanged (GstMllamaCaption *self, const GstMllamaCaptionScene *scene, GstMllamaCaptionTimes *times)
{
  gboolean unchanged = FALSE;

  g_mutex_lock (&self->lock);
  if (self->reference && self->reference->has_scene) {
    times->scene_score = gst_mllama_caption_scene_compare (&self->reference->scene, scene);
    unchanged = times->scene_score < self->settings.scene_threshold && times->pts >= self->reference->times.pts &&
                times->pts - self->reference->times.pts < self->settings.max_interval;
  }
  g_mutex_unlock (&self->lock);
  return unchanged;
}

static void
hand_over (GstMllamaCaption *self, GstMllamaCaptionPicture *picture, const GstMllamaCaptionTimes *times,
           GstClockTime duration, const GstMllamaCaptionScene *scene)
{
  g_mutex_lock (&self->lock);
  GstMllamaCaptionFrame *frame = gst_mllama_caption_frame_new (picture, times, &self->settings);
  gst_mllama_caption_add_questions (self, frame);
  g_mutex_unlock (&self->lock);
  frame->duration = duration;
  frame->has_scene = scene != NULL;
  if (scene)
    frame->scene = *scene;
  gst_mllama_caption_put_frame (self, frame);
}

/* NULL where there is no CUDA memory, or not enough of it. */
static GstMllamaCaptionPicture *
copy_on_device (GstMllamaCaption *self, GstBuffer *buffer)
{
  const GstMapFlags flags =
      (GstMapFlags) (GST_MAP_READ | GST_VIDEO_FRAME_MAP_FLAG_NO_REF | GST_MLLAMA_CAPTION_MAP_CUDA);
  GstVideoFrame mapped;

  if (!gst_mllama_caption_picture_is_on_device (buffer) || !gst_video_frame_map (&mapped, &self->info, buffer, flags))
    return NULL;
  GstMllamaCaptionPicture *picture = gst_mllama_caption_picture_new (&mapped, self->orientation);
  gst_video_frame_unmap (&mapped);
  return picture;
}

/* Looks at a frame, and copies it if a caption is wanted. One that cannot be read fails in its turn. Comparing scenes
 * takes bytes in host memory. */
static void
look_at (GstMllamaCaption *self, GstBuffer *buffer, const Span *span)
{
  GstMllamaCaptionTimes times = {.scene_score = 1};
  GstMllamaCaptionScene scene;
  GstVideoFrame mapped;
  gboolean forced, has_scene = FALSE;

  gst_object_sync_values (GST_OBJECT (self), gst_segment_to_stream_time (&self->segment, GST_FORMAT_TIME, span->start));
  if (!choose (self, span, &times, &forced))
    return;
  g_mutex_lock (&self->lock);
  const gboolean gate = self->settings.scene_threshold > 0;
  g_mutex_unlock (&self->lock);
  GstMllamaCaptionPicture *picture = gate ? NULL : copy_on_device (self, buffer);
  if (picture || !gst_video_frame_map (&mapped, &self->info, buffer, GST_MAP_READ | GST_VIDEO_FRAME_MAP_FLAG_NO_REF)) {
    hand_over (self, picture, &times, span->duration, NULL);
    return;
  }
  if (gate)
    has_scene = gst_mllama_caption_scene_init (&scene, &mapped);
  if (has_scene && is_unchanged (self, &scene, &times) && !forced)
    repeat_captions (self, &times);
  else
    hand_over (self, gst_mllama_caption_picture_new (&mapped, self->orientation), &times, span->duration,
               has_scene ? &scene : NULL);
  gst_video_frame_unmap (&mapped);
}

/* --- passing on --- */

void
gst_mllama_caption_cover (GstMllamaCaption *self, GstClockTime start, GstClockTime end)
{
  g_mutex_lock (&self->lock);
  if (!GST_CLOCK_TIME_IS_VALID (self->video_end) || self->segment.rate < 0 || end > self->video_end)
    self->video_end = end;
  for (GList *at = self->text_pads; at; at = at->next)
    gst_mllama_caption_text_queue_put_cover (gst_mllama_caption_pad_get_queue (at->data), start, end);
  g_mutex_unlock (&self->lock);
}

/* The captions made since the last buffer, as metadata of this one. Only its header may be copied. */
static GstBuffer *
attach_captions (GstMllamaCaption *self, GstBuffer *buffer)
{
  g_autoptr (GPtrArray) captions = NULL;

  g_mutex_lock (&self->lock);
  if (self->pending_meta->len > 0) {
    captions = g_steal_pointer (&self->pending_meta);
    self->pending_meta = g_ptr_array_new_with_free_func ((GDestroyNotify) gst_structure_free);
  }
  g_mutex_unlock (&self->lock);
  if (!captions)
    return buffer;

  buffer = gst_buffer_make_writable (buffer);
  gst_mllama_caption_meta_add (buffer, captions);
  return buffer;
}

/* Captions may be all that is wanted. */
static gboolean
is_of_use_unlinked (GstMllamaCaption *self)
{
  g_mutex_lock (&self->lock);
  gboolean use = self->settings.post_messages;
  for (GList *at = self->text_pads; !use && at; at = at->next)
    use = gst_pad_is_linked (at->data);
  g_mutex_unlock (&self->lock);
  return use;
}

GstFlowReturn
gst_mllama_caption_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (parent);
  const Span span = measure (self, buffer);

  if (!self->mode_known)
    begin_stream (self);
  g_mutex_lock (&self->lock);
  self->stats.counts[GST_MLLAMA_CAPTION_FRAMES_SEEN]++;
  if (GST_BUFFER_IS_DISCONT (buffer))
    g_clear_pointer (&self->reference, gst_mllama_caption_frame_unref);
  g_mutex_unlock (&self->lock);
  if (can_be_chosen (self, buffer, &span))
    look_at (self, buffer, &span);
  GstFlowReturn flow = gst_mllama_caption_wait_for_room (self);
  if (flow != GST_FLOW_OK) {
    gst_buffer_unref (buffer);
    return flow;
  }
  if (span.inside)
    gst_mllama_caption_cover (self, span.start, span.end);
  flow = gst_pad_push (self->srcpad, attach_captions (self, buffer));
  return flow == GST_FLOW_NOT_LINKED && is_of_use_unlinked (self) ? GST_FLOW_OK : flow;
}
