/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "slot.h"

#include <gio/gio.h>
#include <gst/app/gstappsink.h>
#include <json-glib/json-glib.h>
#include <string.h>

#include "../program-error.h"
#include "source.h"
#include "thumbnailer.h"

#define POLL_TIME (100 * GST_MSECOND)
#define NO_VIDEO  "There is no video in it"
#define MAX_STUCK 5 /* polls in which nothing moves */

struct _ArchiveSlot {
  GstElement *pipeline, *element, *source; /* the source is that of the clip in work */
  GstBus *bus;
  ArchiveThumbnailer *thumbnailer;
  GstClockTime interval;
  gboolean decodes_all;
  guint n_questions;

  /* Of the streaming thread. */
  GstSegment segment;
  GstVideoInfo info;
  gboolean has_info;
  GstClockTime due; /* when the next frame may get a caption */
  gint n_frames;    /* atomic */

  GMutex lock; /* guards what follows */
  ArchiveAnnotation *annotation;
  GstClockTime *reached; /* [n_questions] the frame that each is at */
  gint64 position;       /* up to where frames have come, from the start */
  GError *error;
  char *missing; /* what GStreamer lacks to decode the clip */
};

/* --- frames on their way to the element --- */

static void
take_caps (ArchiveSlot *slot, GstEvent *event)
{
  GstCaps *caps;

  gst_event_parse_caps (event, &caps);
  slot->has_info = gst_video_info_from_caps (&slot->info, caps);
  g_mutex_lock (&slot->lock);
  if (slot->has_info && slot->annotation && slot->annotation->width == 0) {
    slot->annotation->width = (guint) GST_VIDEO_INFO_WIDTH (&slot->info);
    slot->annotation->height = (guint) GST_VIDEO_INFO_HEIGHT (&slot->info);
  }
  g_mutex_unlock (&slot->lock);
}

/* Frames at or behind the times that are due, as the element counts them; that some get no caption does not matter. */
static void
take_frame (ArchiveSlot *slot, GstBuffer *frame)
{
  const GstClockTime pts = GST_BUFFER_PTS (frame);
  const gboolean is_long = GST_BUFFER_DURATION_IS_VALID (frame);

  g_atomic_int_inc (&slot->n_frames);
  if (!GST_CLOCK_TIME_IS_VALID (pts))
    return;
  g_mutex_lock (&slot->lock);
  slot->position =
      MAX (slot->position, (gint64) (pts - slot->segment.start + (is_long ? GST_BUFFER_DURATION (frame) : 0)));
  g_mutex_unlock (&slot->lock);
  if (!slot->has_info || pts < slot->due)
    return;
  archive_thumbnailer_keep (slot->thumbnailer, &slot->info, frame);
  slot->due = slot->interval > 0
                  ? slot->segment.start + ((pts - slot->segment.start) / slot->interval + 1) * slot->interval
                  : pts + 1;
}

/* As the element turns them for the model. */
static void
take_tags (ArchiveSlot *slot, GstEvent *event)
{
  GstVideoOrientationMethod orientation;
  GstTagList *tags;

  gst_event_parse_tag (event, &tags);
  if (gst_video_orientation_from_tag (tags, &orientation))
    archive_thumbnailer_turn (slot->thumbnailer, orientation);
}

static GstPadProbeReturn
watch_sink (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  ArchiveSlot *slot = data;
  GstEvent *event = info->type & GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM ? GST_PAD_PROBE_INFO_EVENT (info) : NULL;

  if (!event) {
    take_frame (slot, GST_PAD_PROBE_INFO_BUFFER (info));
  } else if (GST_EVENT_TYPE (event) == GST_EVENT_CAPS) {
    take_caps (slot, event);
  } else if (GST_EVENT_TYPE (event) == GST_EVENT_TAG) {
    take_tags (slot, event);
  } else if (GST_EVENT_TYPE (event) == GST_EVENT_SEGMENT) {
    gst_event_copy_segment (event, &slot->segment);
    slot->due = slot->segment.start;
  }
  return GST_PAD_PROBE_OK;
}

/* --- texts of the element --- */

static void
set_error (ArchiveSlot *slot, GError *error)
{
  g_mutex_lock (&slot->lock);
  if (slot->error)
    g_error_free (error);
  else
    slot->error = error;
  g_mutex_unlock (&slot->lock);
}

/* The newest caption of a question, or NULL. */
static ArchiveCaption *
find_newest (ArchiveSlot *slot, guint question)
{
  const GPtrArray *captions = slot->annotation->captions;

  for (guint i = captions->len; i-- > 0;) {
    ArchiveCaption *caption = g_ptr_array_index (captions, i);
    if (caption->question == question)
      return caption;
  }
  return NULL;
}

/* The caption of a scene that stays the same is said again each interval: it is one caption that lasts. */
static gboolean
extend_caption (ArchiveSlot *slot, guint question, GstClockTime start, GstClockTime end, gint64 id)
{
  g_mutex_lock (&slot->lock);
  ArchiveCaption *newest = find_newest (slot, question);
  const gboolean is_same = newest && newest->id == id;
  if (is_same)
    newest->end = MAX (newest->end, end);
  else if (newest)
    newest->end = MIN (newest->end, start);
  g_mutex_unlock (&slot->lock);
  return is_same;
}

/* Texts of questions come in any order: a frame is done with when all of them are past it. */
static void
note_reached (ArchiveSlot *slot, guint question, GstClockTime frame)
{
  g_mutex_lock (&slot->lock);
  slot->reached[question] = frame;
  for (guint i = 0; i < slot->n_questions; i++)
    frame = MIN (frame, slot->reached[i]);
  g_mutex_unlock (&slot->lock);
  archive_thumbnailer_forget (slot->thumbnailer, frame);
}

static void
add_caption (ArchiveSlot *slot, guint question, const GstSegment *segment, GstBuffer *buffer, JsonObject *line)
{
  const GstClockTime frame = (GstClockTime) json_object_get_int_member (line, "pts");
  const GstClockTime start = gst_segment_to_stream_time (segment, GST_FORMAT_TIME, GST_BUFFER_PTS (buffer));
  const GstClockTime end = start + GST_BUFFER_DURATION (buffer);
  const gint64 id = json_object_get_int_member (line, "caption-id");
  ArchiveCaption *caption;
  GError *error = NULL;

  if (extend_caption (slot, question, start, end, id)) {
    note_reached (slot, question, GST_BUFFER_PTS (buffer));
    return;
  }
  caption = g_new0 (ArchiveCaption, 1);
  *caption = (ArchiveCaption){.question = question, .id = id, .start = start, .end = end};
  caption->text = g_strdup (json_object_get_string_member (line, "text"));
  caption->confidence = json_object_get_double_member_with_default (line, "confidence", 0);
  caption->thumbnail = archive_thumbnailer_write (slot->thumbnailer, frame, &error);
  note_reached (slot, question, frame);
  g_mutex_lock (&slot->lock);
  g_ptr_array_add (slot->annotation->captions, caption);
  g_mutex_unlock (&slot->lock);
  if (error)
    set_error (slot, error);
}

static GstFlowReturn
take_text (GstAppSink *sink, gpointer data)
{
  ArchiveSlot *slot = data;
  g_autoptr (GstSample) sample = gst_app_sink_pull_sample (sink);
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) error = NULL;
  GstBuffer *buffer = sample ? gst_sample_get_buffer (sample) : NULL;
  GstMapInfo map;

  if (!buffer || !gst_buffer_map (buffer, &map, GST_MAP_READ))
    return GST_FLOW_OK;
  if (json_parser_load_from_data (parser, (const char *) map.data, (gssize) map.size, &error))
    add_caption (slot, GPOINTER_TO_UINT (g_object_get_data (G_OBJECT (sink), "question")),
                 gst_sample_get_segment (sample), buffer, json_node_get_object (json_parser_get_root (parser)));
  else
    set_error (slot, g_steal_pointer (&error));
  gst_buffer_unmap (buffer, &map);
  return GST_FLOW_OK;
}

static void
add_question (ArchiveSlot *slot, guint number, const ArchiveQuestion *question)
{
  GstAppSinkCallbacks callbacks = {.new_sample = take_text};
  g_autoptr (GstCaps) caps = gst_caps_from_string ("application/x-json, timing=(boolean)false");
  g_autofree char *name = g_strdup_printf ("text_%u", number);
  GstElement *sink = gst_element_factory_make ("appsink", NULL);
  g_autoptr (GstPad) pad = gst_element_request_pad_simple (slot->element, name);
  g_autoptr (GstPad) sink_pad = gst_element_get_static_pad (sink, "sink");

  if (question->prompt)
    g_object_set (pad, "prompt", question->prompt, NULL);
  g_object_set (sink, "caps", caps, "sync", FALSE, "async", FALSE, NULL);
  g_object_set_data (G_OBJECT (sink), "question", GUINT_TO_POINTER (number));
  gst_app_sink_set_callbacks (GST_APP_SINK (sink), &callbacks, slot, NULL);
  gst_bin_add (GST_BIN (slot->pipeline), sink);
  gst_pad_link (pad, sink_pad);
}

/* --- a slot --- */

static gboolean
open_model (ArchiveSlot *slot, GError **error)
{
  g_autoptr (GError) fault = NULL;

  if (gst_element_set_state (slot->pipeline, GST_STATE_READY) != GST_STATE_CHANGE_FAILURE)
    return TRUE;
  g_autoptr (GstMessage) message = gst_bus_pop_filtered (slot->bus, GST_MESSAGE_ERROR);
  if (message)
    gst_message_parse_error (message, &fault, NULL);
  g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_MODEL, "%s",
               fault ? fault->message : "The element mllamacaption did not start");
  return FALSE;
}

static void
build (ArchiveSlot *slot, const ArchiveOptions *options)
{
  GstElement *sink = gst_element_factory_make ("fakesink", NULL);
  g_autoptr (GstPad) pad = gst_element_get_static_pad (slot->element, "sink");

  slot->pipeline = gst_object_ref_sink (gst_pipeline_new (NULL));
  slot->bus = gst_element_get_bus (slot->pipeline);
  g_object_set (sink, "sync", FALSE, NULL);
  gst_bin_add_many (GST_BIN (slot->pipeline), slot->element, sink, NULL);
  gst_element_link (slot->element, sink);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, watch_sink, slot, NULL);
  for (guint i = 0; i < slot->n_questions; i++)
    add_question (slot, i, &g_array_index (options->questions, ArchiveQuestion, i));
}

ArchiveSlot *
archive_slot_new (const ArchiveOptions *options, GError **error)
{
  g_autoptr (ArchiveSlot) slot = g_new0 (ArchiveSlot, 1);
  guint64 interval = 0;

  slot->thumbnailer = archive_thumbnailer_new (options->thumbnail_width, error);
  slot->element = slot->thumbnailer ? archive_options_make_element (options, error) : NULL;
  if (!slot->element)
    return NULL;
  g_object_get (slot->element, "interval", &interval, NULL);
  slot->interval = interval;
  slot->decodes_all = options->decodes_all || interval == 0;
  slot->n_questions = options->questions->len;
  slot->reached = g_new0 (GstClockTime, slot->n_questions);
  build (slot, options);
  return open_model (slot, error) ? g_steal_pointer (&slot) : NULL;
}

void
archive_slot_free (ArchiveSlot *slot)
{
  if (!slot)
    return;
  if (slot->pipeline)
    gst_element_set_state (slot->pipeline, GST_STATE_NULL);
  g_clear_object (&slot->bus);
  g_clear_object (&slot->pipeline);
  g_clear_object (&slot->element);
  archive_thumbnailer_free (slot->thumbnailer);
  g_free (slot->reached);
  g_free (slot);
}

double
archive_slot_read_occupancy (const ArchiveSlot *slot)
{
  g_autoptr (GstStructure) stats = NULL;
  double rows = 0;

  g_object_get (slot->element, "stats", &stats, NULL);
  gst_structure_get_double (stats, "rows-per-step", &rows);
  return rows;
}

/* --- a clip --- */

static void
link_source (GstElement *source, GstPad *pad, gpointer data)
{
  ArchiveSlot *slot = data;
  g_autoptr (GstPad) sink = gst_element_get_static_pad (slot->element, "sink");

  gst_pad_link (pad, sink);
}

static void
start_clip (ArchiveSlot *slot, const ArchiveClip *clip, const char *thumbs)
{
  archive_thumbnailer_begin (slot->thumbnailer, thumbs);
  slot->has_info = FALSE;
  slot->n_frames = 0;
  slot->position = 0;
  slot->annotation = archive_annotation_new ();
  memset (slot->reached, 0, slot->n_questions * sizeof *slot->reached);
  slot->source = archive_source_new (clip->path, slot->decodes_all ? 0 : slot->interval);
  g_signal_connect (slot->source, "pad-added", G_CALLBACK (link_source), slot);
  gst_bin_add (GST_BIN (slot->pipeline), slot->source);
  gst_element_set_state (slot->pipeline, GST_STATE_PLAYING);
}

/* The element stays in READY, and so keeps the model. */
static void
stop_clip (ArchiveSlot *slot)
{
  gst_element_set_state (slot->pipeline, GST_STATE_READY);
  gst_element_set_state (slot->source, GST_STATE_NULL);
  gst_bin_remove (GST_BIN (slot->pipeline), slot->source);
  slot->source = NULL;
  gst_bus_set_flushing (slot->bus, TRUE);
  gst_bus_set_flushing (slot->bus, FALSE);
  g_clear_pointer (&slot->missing, g_free);
}

static gboolean
is_from_element (const ArchiveSlot *slot, GstMessage *message)
{
  return GST_MESSAGE_SRC (message) == GST_OBJECT (slot->element);
}

/* A demuxer whose streams are all left alone says no more than that it failed. */
static char *
explain (ArchiveSlot *slot, const GError *fault)
{
  if (!slot->missing && !archive_source_has_video (slot->source) &&
      g_error_matches (fault, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED))
    return g_strdup (NO_VIDEO);
  return program_error_explain (fault, slot->missing);
}

/* An error of the element is one of the model unless it is about the frames it got. */
static void
take_error (ArchiveSlot *slot, GstMessage *message)
{
  g_autoptr (GError) fault = NULL;

  gst_message_parse_error (message, &fault, NULL);
  if (!slot->missing && is_from_element (slot, message) && fault->domain != GST_STREAM_ERROR) {
    set_error (slot, g_error_new_literal (ARCHIVE_ERROR, ARCHIVE_ERROR_MODEL, fault->message));
    return;
  }
  g_autofree char *text = explain (slot, fault);
  set_error (slot, g_error_new_literal (ARCHIVE_ERROR, ARCHIVE_ERROR_CLIP, text));
}

/* TRUE when the clip has ended, well or not. */
static gboolean
take_message (ArchiveSlot *slot, GstMessage *message)
{
  const GstStructure *structure = gst_message_get_structure (message);

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    take_error (slot, message);
  else if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ELEMENT && gst_structure_has_name (structure, "missing-plugin") &&
           !slot->missing)
    slot->missing = g_strdup (gst_structure_get_string (structure, "name"));
  return GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR || GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS;
}

static void
follow_clip (ArchiveSlot *slot, GCancellable *cancellable)
{
  const GstMessageType types = GST_MESSAGE_ELEMENT | GST_MESSAGE_ERROR | GST_MESSAGE_EOS;
  GError *error = NULL;
  gboolean has_ended = FALSE;
  guint n_stuck = 0;

  while (!has_ended) {
    g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (slot->bus, POLL_TIME, types);
    has_ended = message && take_message (slot, message);
    n_stuck = message || !archive_source_is_stuck (slot->source) ? 0 : n_stuck + 1;
    if (n_stuck >= MAX_STUCK) {
      set_error (slot, g_error_new (ARCHIVE_ERROR, ARCHIVE_ERROR_CLIP, "No streams can be found in it"));
      has_ended = TRUE;
    }
    if (!has_ended && g_cancellable_set_error_if_cancelled (cancellable, &error)) {
      set_error (slot, error);
      has_ended = TRUE;
    }
  }
}

static gint
compare_captions (gconstpointer a, gconstpointer b)
{
  const ArchiveCaption *x = *(ArchiveCaption *const *) a, *y = *(ArchiveCaption *const *) b;

  if (x->start != y->start)
    return x->start < y->start ? -1 : 1;
  return (x->question > y->question) - (x->question < y->question);
}

/* What the container says may be less than what is in it. */
static gint64
read_duration (ArchiveSlot *slot)
{
  gint64 reached, duration = 0;

  g_mutex_lock (&slot->lock);
  reached = slot->position;
  g_mutex_unlock (&slot->lock);
  return gst_element_query_duration (slot->pipeline, GST_FORMAT_TIME, &duration) ? MAX (duration, reached) : reached;
}

/* A caption lasts until the next frame is due, but no longer than the clip. */
static void
cut_captions (ArchiveAnnotation *annotation)
{
  for (guint i = 0; i < annotation->captions->len; i++) {
    ArchiveCaption *caption = g_ptr_array_index (annotation->captions, i);
    caption->end = MAX (caption->start, MIN (caption->end, (GstClockTime) annotation->duration_ns));
  }
}

ArchiveAnnotation *
archive_slot_annotate (ArchiveSlot *slot, const ArchiveClip *clip, const char *thumbs, GCancellable *cancellable,
                       GError **error)
{
  start_clip (slot, clip, thumbs);
  follow_clip (slot, cancellable);
  slot->annotation->duration_ns = slot->error ? 0 : read_duration (slot);
  stop_clip (slot);
  g_autoptr (ArchiveAnnotation) annotation = g_steal_pointer (&slot->annotation);
  if (!slot->error && slot->n_frames == 0)
    slot->error = g_error_new_literal (ARCHIVE_ERROR, ARCHIVE_ERROR_CLIP, NO_VIDEO);
  if (!slot->error && annotation->captions->len == 0)
    slot->error = g_error_new (ARCHIVE_ERROR, ARCHIVE_ERROR_CLIP, "None of its frames was captioned");
  if (slot->error) {
    g_propagate_error (error, g_steal_pointer (&slot->error));
    return NULL;
  }
  g_ptr_array_sort (annotation->captions, compare_captions);
  cut_captions (annotation);
  return g_steal_pointer (&annotation);
}
