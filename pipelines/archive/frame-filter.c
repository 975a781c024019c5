/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "frame-filter.h"

#define MAX_HELD_BYTES (64 << 20) /* of one group; what is longer passes */

typedef struct {
  GstElement parent;
  GstPad *sink, *src;
  GstClockTime interval, due;
  GstClockTime key_pts; /* of the newest group */
  GstSegment segment;
  GQueue group; /* of GstBuffer, in the order of decoding; the first is a key frame */
  gsize n_held_bytes;
  gboolean passes_all;
} ArchiveFrameFilter;

typedef struct {
  GstElementClass parent_class;
} ArchiveFrameFilterClass;

GType archive_frame_filter_get_type (void);
G_DEFINE_TYPE (ArchiveFrameFilter, archive_frame_filter, GST_TYPE_ELEMENT)
#define ARCHIVE_FRAME_FILTER(object) ((ArchiveFrameFilter *) (object))

static void
clear_group (ArchiveFrameFilter *self)
{
  g_queue_clear_full (&self->group, (GDestroyNotify) gst_buffer_unref);
  self->n_held_bytes = 0;
}

/* The number of the first frame at or after the time that is due, in the order of showing; -1 if there is none. */
static gint
find_due (ArchiveFrameFilter *self)
{
  GstClockTime best = GST_CLOCK_TIME_NONE;
  gint number = 0, found = -1;

  for (GList *at = self->group.head; at; at = at->next, number++) {
    const GstClockTime pts = GST_BUFFER_PTS (at->data);
    if (pts >= self->due && pts < best) {
      best = pts;
      found = number;
    }
  }
  if (found >= 0)
    self->due = self->segment.start + ((best - self->segment.start) / self->interval + 1) * self->interval;
  return found;
}

static guint
count_needed (ArchiveFrameFilter *self)
{
  gint last = -1, due;

  while ((due = find_due (self)) >= 0)
    last = MAX (last, due);
  return (guint) (last + 1);
}

static GstFlowReturn
push_group (ArchiveFrameFilter *self, guint n)
{
  GstFlowReturn flow = GST_FLOW_OK;

  for (guint i = 0; i < n && flow == GST_FLOW_OK; i++)
    flow = gst_pad_push (self->src, g_queue_pop_head (&self->group));
  clear_group (self);
  return flow;
}

static GstFlowReturn
end_group (ArchiveFrameFilter *self)
{
  return push_group (self, self->passes_all ? self->group.length : count_needed (self));
}

/* Whether it cannot be told which frames are needed. */
static gboolean
is_untold (const ArchiveFrameFilter *self, GstBuffer *frame)
{
  const GstClockTime pts = GST_BUFFER_PTS (frame);
  const gboolean is_before = GST_CLOCK_TIME_IS_VALID (self->key_pts) && pts < self->key_pts;

  return !GST_CLOCK_TIME_IS_VALID (pts) || is_before || pts < self->segment.start ||
         self->segment.format != GST_FORMAT_TIME || self->segment.rate < 0 ||
         self->n_held_bytes + gst_buffer_get_size (frame) > MAX_HELD_BYTES;
}

static GstFlowReturn
take_frame (GstPad *pad, GstObject *parent, GstBuffer *frame)
{
  ArchiveFrameFilter *self = ARCHIVE_FRAME_FILTER (parent);
  const gboolean is_key = !GST_BUFFER_FLAG_IS_SET (frame, GST_BUFFER_FLAG_DELTA_UNIT);
  GstFlowReturn flow = GST_FLOW_OK;

  self->passes_all |= is_untold (self, frame);
  if (self->passes_all || is_key)
    flow = end_group (self);
  if (self->passes_all || (!is_key && self->group.length == 0))
    return flow == GST_FLOW_OK ? gst_pad_push (self->src, frame) : (gst_buffer_unref (frame), flow);
  if (is_key)
    self->key_pts = GST_BUFFER_PTS (frame);
  self->n_held_bytes += gst_buffer_get_size (frame);
  g_queue_push_tail (&self->group, frame);
  return flow;
}

static gboolean
take_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  ArchiveFrameFilter *self = ARCHIVE_FRAME_FILTER (parent);

  switch (GST_EVENT_TYPE (event)) {
  case GST_EVENT_CAPS:
  case GST_EVENT_EOS:
  case GST_EVENT_STREAM_START:
    end_group (self);
    break;
  case GST_EVENT_SEGMENT:
    end_group (self);
    gst_event_copy_segment (event, &self->segment);
    self->due = self->segment.start;
    self->key_pts = GST_CLOCK_TIME_NONE;
    break;
  case GST_EVENT_FLUSH_STOP:
    clear_group (self);
    break;
  default:
    break;
  }
  return gst_pad_event_default (pad, parent, event);
}

static void
archive_frame_filter_finalize (GObject *object)
{
  clear_group (ARCHIVE_FRAME_FILTER (object));
  G_OBJECT_CLASS (archive_frame_filter_parent_class)->finalize (object);
}

static GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);
static GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);

static void
archive_frame_filter_class_init (ArchiveFrameFilterClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = archive_frame_filter_finalize;
  gst_element_class_add_static_pad_template (GST_ELEMENT_CLASS (klass), &sink_template);
  gst_element_class_add_static_pad_template (GST_ELEMENT_CLASS (klass), &src_template);
  gst_element_class_set_static_metadata (GST_ELEMENT_CLASS (klass), "Filter of coded frames", "Filter/Video",
                                         "Drops coded frames that no captioned frame needs", "The gst-mllama authors");
}

static void
archive_frame_filter_init (ArchiveFrameFilter *self)
{
  self->sink = gst_pad_new_from_static_template (&sink_template, "sink");
  self->src = gst_pad_new_from_static_template (&src_template, "src");
  gst_pad_set_chain_function (self->sink, take_frame);
  gst_pad_set_event_function (self->sink, take_event);
  GST_PAD_SET_PROXY_CAPS (self->sink);
  GST_PAD_SET_PROXY_CAPS (self->src);
  gst_element_add_pad (GST_ELEMENT (self), self->sink);
  gst_element_add_pad (GST_ELEMENT (self), self->src);
  gst_segment_init (&self->segment, GST_FORMAT_UNDEFINED);
  self->key_pts = GST_CLOCK_TIME_NONE;
}

GstElement *
archive_frame_filter_new (GstClockTime interval)
{
  ArchiveFrameFilter *self = g_object_new (archive_frame_filter_get_type (), NULL);

  g_return_val_if_fail (interval > 0, NULL);
  self->interval = interval;
  return GST_ELEMENT (self);
}
