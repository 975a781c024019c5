/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rig-coverage.h"

#define PATIENCE_US (5 * G_TIME_SPAN_SECOND)
#define HELD_UP_US  (40 * G_TIME_SPAN_MILLISECOND)
#define POLL_US     (2 * G_TIME_SPAN_MILLISECOND)

typedef struct {
  RigCoverage *owner;
  GstPad *pad;
  GstClockTime covered;
  gboolean ended;
  gint asked; /* atomic: an IDLE probe waits to be called */
} TextPad;

struct _RigCoverage {
  GMutex lock; /* guards covered, ended and the count */
  GCond changed;
  GstElement *element; /* borrowed */
  GstPad *src;
  GPtrArray *pads; /* of TextPad */
  guint n_covered;
};

static GstPadProbeReturn
note_text (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  TextPad *text = data;
  GstClockTime start = 0, duration = 0;

  g_mutex_lock (&text->owner->lock);
  if (GST_PAD_PROBE_INFO_TYPE (info) & GST_PAD_PROBE_TYPE_BUFFER) {
    start = GST_BUFFER_PTS (GST_PAD_PROBE_INFO_BUFFER (info));
    duration = GST_BUFFER_DURATION (GST_PAD_PROBE_INFO_BUFFER (info));
  } else if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_GAP) {
    gst_event_parse_gap (GST_PAD_PROBE_INFO_EVENT (info), &start, &duration);
  } else if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_EOS) {
    text->ended = TRUE;
  } else if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_SEGMENT) {
    text->covered = 0;
    text->ended = FALSE;
  }
  text->covered = MAX (text->covered, start + duration);
  g_cond_broadcast (&text->owner->changed);
  g_mutex_unlock (&text->owner->lock);
  return GST_PAD_PROBE_OK;
}

static GstPadProbeReturn
note_idle (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  g_atomic_int_set ((gint *) data, FALSE);
  return GST_PAD_PROBE_REMOVE;
}

/* Whether the pad's task was not within a push at some time since this was asked before. */
static gboolean
is_idle (TextPad *text)
{
  if (g_atomic_int_compare_and_exchange (&text->asked, FALSE, TRUE))
    gst_pad_add_probe (text->pad, GST_PAD_PROBE_TYPE_IDLE, note_idle, &text->asked, NULL);
  return !g_atomic_int_get (&text->asked);
}

/* An unanswered frame, where text carries the time of its frame, is as far as text can reach. */
static gboolean
is_frame_outstanding (GstElement *element)
{
  g_autoptr (GstStructure) stats = NULL;
  gint timestamps;
  guint n_frames = 0;

  g_object_get (element, "stats", &stats, "text-timestamps", &timestamps, NULL);
  const gboolean live = g_strcmp0 (gst_structure_get_string (stats, "mode"), "live") == 0;
  g_assert_true (gst_structure_get_uint (stats, "frames-in-flight", &n_frames));
  /* auto, media, arrival */
  return n_frames > 0 && (timestamps == 1 || (timestamps == 0 && !live));
}

static gboolean
is_excused (TextPad *text, gint64 *busy_since)
{
  gboolean hold;

  g_object_get (text->pad, "hold", &hold, NULL);
  if (hold || !GST_OBJECT_PARENT (text->pad) || GST_PAD_IS_FLUSHING (text->pad) ||
      is_frame_outstanding (text->owner->element))
    return TRUE;
  const gint64 now = g_get_monotonic_time ();
  if (is_idle (text))
    *busy_since = now;
  return now - *busy_since > HELD_UP_US;
}

/* Returns TRUE if text reached so far. */
static gboolean
wait_for_text (TextPad *text, GstClockTime end)
{
  RigCoverage *owner = text->owner;
  const gint64 start = g_get_monotonic_time ();
  gint64 busy_since = start;

  g_mutex_lock (&owner->lock);
  while (!text->ended && text->covered < end) {
    g_mutex_unlock (&owner->lock);
    const gboolean excused = is_excused (text, &busy_since);
    g_mutex_lock (&owner->lock);
    if (excused)
      break;
    if (g_get_monotonic_time () > start + PATIENCE_US)
      g_error ("video up to %" GST_TIME_FORMAT " is pushed, but text reaches to %" GST_TIME_FORMAT, GST_TIME_ARGS (end),
               GST_TIME_ARGS (text->covered));
    g_cond_wait_until (&owner->changed, &owner->lock, g_get_monotonic_time () + POLL_US);
  }
  const gboolean covered = text->covered >= end;
  g_mutex_unlock (&owner->lock);
  return covered;
}

/* End of the buffer in its segment; NONE if the invariant does not speak of it. */
static GstClockTime
find_end (GstPad *src, GstBuffer *buffer)
{
  g_autoptr (GstEvent) event = gst_pad_get_sticky_event (src, GST_EVENT_SEGMENT, 0);
  const GstSegment *segment;
  guint64 start, stop;

  if (!event || !GST_BUFFER_PTS_IS_VALID (buffer) || !GST_BUFFER_DURATION_IS_VALID (buffer))
    return GST_CLOCK_TIME_NONE;
  gst_event_parse_segment (event, &segment);
  if (segment->format != GST_FORMAT_TIME || segment->rate < 0 ||
      !gst_segment_clip (segment, GST_FORMAT_TIME, GST_BUFFER_PTS (buffer),
                         GST_BUFFER_PTS (buffer) + GST_BUFFER_DURATION (buffer), &start, &stop))
    return GST_CLOCK_TIME_NONE;
  return stop;
}

static GstPadProbeReturn
check_video (GstPad *src, GstPadProbeInfo *info, gpointer data)
{
  RigCoverage *coverage = data;
  const GstClockTime end = find_end (src, GST_PAD_PROBE_INFO_BUFFER (info));
  gboolean covered = TRUE;

  if (!GST_CLOCK_TIME_IS_VALID (end))
    return GST_PAD_PROBE_OK;
  for (guint i = 0; i < coverage->pads->len; i++)
    covered &= wait_for_text (g_ptr_array_index (coverage->pads, i), end);
  g_mutex_lock (&coverage->lock);
  coverage->n_covered += covered;
  g_mutex_unlock (&coverage->lock);
  return GST_PAD_PROBE_OK;
}

static gboolean
add_pad (GstElement *element, GstPad *pad, gpointer data)
{
  RigCoverage *coverage = data;

  if (!g_str_has_prefix (GST_OBJECT_NAME (pad), "text_"))
    return TRUE;
  TextPad *text = g_new0 (TextPad, 1);
  text->owner = coverage;
  text->pad = gst_object_ref (pad);
  g_ptr_array_add (coverage->pads, text);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, note_text, text, NULL);
  return TRUE;
}

static void
free_pad (gpointer data)
{
  TextPad *text = data;

  gst_object_unref (text->pad);
  g_free (text);
}

RigCoverage *
rig_coverage_new (GstElement *element)
{
  RigCoverage *coverage = g_new0 (RigCoverage, 1);

  g_mutex_init (&coverage->lock);
  g_cond_init (&coverage->changed);
  coverage->element = element;
  coverage->src = gst_element_get_static_pad (element, "src");
  coverage->pads = g_ptr_array_new_with_free_func (free_pad);
  gst_element_foreach_src_pad (element, add_pad, coverage);
  if (coverage->pads->len > 0)
    gst_pad_add_probe (coverage->src, GST_PAD_PROBE_TYPE_BUFFER, check_video, coverage, NULL);
  return coverage;
}

void
rig_coverage_free (RigCoverage *coverage)
{
  g_ptr_array_unref (coverage->pads);
  gst_object_unref (coverage->src);
  g_mutex_clear (&coverage->lock);
  g_cond_clear (&coverage->changed);
  g_free (coverage);
}

guint
rig_coverage_count (RigCoverage *coverage)
{
  g_mutex_lock (&coverage->lock);
  const guint n = coverage->n_covered;
  g_mutex_unlock (&coverage->lock);
  return n;
}
