/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stage.h"

#define CAPS "video/x-raw,format=I420,width=64,height=48,framerate=0/1"

/* --- what comes out --- */

static gint64
to_ms (GstClockTime time)
{
  return GST_CLOCK_TIME_IS_VALID (time) ? (gint64) (time / GST_MSECOND) : -1;
}

/* Takes the line. */
static void
write_down (Stage *stage, char *line)
{
  g_mutex_lock (&stage->lock);
  g_ptr_array_add (stage->log, line);
  g_mutex_unlock (&stage->lock);
}

static GstFlowReturn
take_buffer (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  Stage *stage = gst_pad_get_element_private (pad);
  const gint64 pts = to_ms (GST_BUFFER_PTS (buffer)), duration = to_ms (GST_BUFFER_DURATION (buffer));
  GstMapInfo map;

  if (pad == stage->out) {
    write_down (stage, g_strdup_printf ("video %" G_GINT64_FORMAT, pts));
  } else {
    gst_buffer_map (buffer, &map, GST_MAP_READ);
    write_down (stage, g_strdup_printf ("text %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %.*s", pts, duration,
                                        (int) map.size, (const char *) map.data));
    gst_buffer_unmap (buffer, &map);
  }
  gst_buffer_unref (buffer);
  return GST_FLOW_OK;
}

static gboolean
take_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  Stage *stage = gst_pad_get_element_private (pad);
  const gboolean text = pad != stage->out;
  GstClockTime start, duration;

  if (GST_EVENT_TYPE (event) == GST_EVENT_GAP) {
    gst_event_parse_gap (event, &start, &duration);
    write_down (stage, g_strdup_printf ("%s %" G_GINT64_FORMAT " %" G_GINT64_FORMAT, text ? "gap" : "video-gap",
                                        to_ms (start), to_ms (duration)));
  } else {
    write_down (stage, g_strdup_printf ("%s%s", text ? "text-" : "", GST_EVENT_TYPE_NAME (event)));
  }
  gst_event_unref (event);
  return TRUE;
}

static gboolean
answer (GstPad *pad, GstObject *parent, GstQuery *query)
{
  Stage *stage = gst_pad_get_element_private (pad);

  if (GST_QUERY_TYPE (query) != GST_QUERY_LATENCY)
    return gst_pad_query_default (pad, parent, query);
  gst_query_set_latency (query, stage->live > 0, 0, GST_CLOCK_TIME_NONE);
  return stage->live >= 0;
}

/* --- building --- */

/* Without a template a pad takes nothing but the caps it has. */
static GstStaticPadTemplate in_template =
    GST_STATIC_PAD_TEMPLATE ("in", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);
static GstStaticPadTemplate out_template =
    GST_STATIC_PAD_TEMPLATE ("out", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);

static GstPad *
add_pad (Stage *stage, const char *name, GstPadDirection direction, const char *peer)
{
  GstPad *pad = gst_pad_new_from_static_template (direction == GST_PAD_SRC ? &in_template : &out_template, name);
  g_autoptr (GstPad) other = gst_element_get_static_pad (stage->element, peer);

  gst_pad_set_element_private (pad, stage);
  if (direction == GST_PAD_SINK) {
    gst_pad_set_chain_function (pad, take_buffer);
    gst_pad_set_event_function (pad, take_event);
  } else {
    gst_pad_set_query_function (pad, answer);
  }
  g_assert_cmpint (direction == GST_PAD_SRC ? gst_pad_link (pad, other) : gst_pad_link (other, pad), ==,
                   GST_PAD_LINK_OK);
  gst_pad_set_active (pad, TRUE);
  return pad;
}

Stage *
stage_new (gboolean with_text, const char *settings)
{
  Stage *stage = g_new0 (Stage, 1);
  g_autofree char *line = g_strdup_printf ("mllamacaption prompt=What %s", settings);
  g_autoptr (GError) error = NULL;
  GstSegment segment;

  fake_reset ();
  stage->element = gst_parse_launch (line, &error);
  g_assert_no_error (error);
  gst_object_ref_sink (stage->element);
  stage->bus = gst_bus_new ();
  gst_element_set_bus (stage->element, stage->bus);
  stage->captions = g_ptr_array_new_with_free_func ((GDestroyNotify) gst_structure_free);
  stage->messages = g_ptr_array_new_with_free_func ((GDestroyNotify) gst_message_unref);
  stage->log = g_ptr_array_new_with_free_func (g_free);
  g_mutex_init (&stage->lock);
  stage->in = add_pad (stage, "in", GST_PAD_SRC, "sink");
  stage->out = add_pad (stage, "out", GST_PAD_SINK, "src");
  if (with_text) {
    gst_object_unref (gst_element_request_pad_simple (stage->element, "text_0"));
    stage->text = add_pad (stage, "text", GST_PAD_SINK, "text_0");
  }
  g_assert_cmpint (gst_element_set_state (stage->element, GST_STATE_PLAYING), ==, GST_STATE_CHANGE_SUCCESS);
  stage_send_stream_start (stage);
  stage_send_caps (stage, CAPS);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  stage_send_segment (stage, &segment);
  return stage;
}

void
stage_free (Stage *stage)
{
  gst_element_set_state (stage->element, GST_STATE_NULL);
  gst_pad_set_active (stage->in, FALSE);
  gst_object_unref (stage->in);
  gst_object_unref (stage->out);
  gst_clear_object (&stage->text);
  gst_element_set_bus (stage->element, NULL);
  gst_object_unref (stage->bus);
  gst_object_unref (stage->element);
  g_ptr_array_unref (stage->captions);
  g_ptr_array_unref (stage->messages);
  g_ptr_array_unref (stage->log);
  g_mutex_clear (&stage->lock);
  g_free (stage);
  const FakeCounts counts = fake_get_counts ();
  g_assert_cmpuint (counts.n_models + counts.n_states + counts.n_generations + counts.n_prompts, ==, 0);
}

/* --- what goes in --- */

void
stage_send_stream_start (Stage *stage)
{
  gst_pad_push_event (stage->in, gst_event_new_stream_start ("stage"));
}

void
stage_send_caps (Stage *stage, const char *caps)
{
  g_autoptr (GstCaps) parsed = gst_caps_from_string (caps);

  gst_pad_push_event (stage->in, gst_event_new_caps (parsed));
}

void
stage_send_segment (Stage *stage, const GstSegment *segment)
{
  gst_pad_push_event (stage->in, gst_event_new_segment (segment));
}

void
stage_flush (Stage *stage, GstClockTime start)
{
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.time = segment.position = start;
  gst_pad_push_event (stage->in, gst_event_new_flush_start ());
  gst_pad_push_event (stage->in, gst_event_new_flush_stop (TRUE));
  stage_send_segment (stage, &segment);
}

GstBuffer *
stage_draw (guint8 luma, gint64 pts, gint64 duration)
{
  const gsize n_pixels = STAGE_WIDTH * STAGE_HEIGHT;
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, n_pixels * 3 / 2, NULL);

  gst_buffer_memset (buffer, 0, luma, n_pixels);
  gst_buffer_memset (buffer, n_pixels, 128, n_pixels / 2);
  if (pts >= 0)
    GST_BUFFER_PTS (buffer) = (GstClockTime) pts * GST_MSECOND;
  if (duration >= 0)
    GST_BUFFER_DURATION (buffer) = (GstClockTime) duration * GST_MSECOND;
  return buffer;
}

GstFlowReturn
stage_push (Stage *stage, guint8 luma, gint64 pts, gint64 duration)
{
  return gst_pad_push (stage->in, stage_draw (luma, pts, duration));
}

/* --- what was said --- */

void
stage_listen (Stage *stage)
{
  GstMessage *message;

  while ((message = gst_bus_pop (stage->bus))) {
    const GstStructure *structure = gst_message_get_structure (message);
    gboolean partial = FALSE;
    g_ptr_array_add (stage->messages, message);
    if (GST_MESSAGE_TYPE (message) != GST_MESSAGE_ELEMENT)
      continue;
    gst_structure_get_boolean (structure, "partial", &partial);
    if (!partial)
      g_ptr_array_add (stage->captions, gst_structure_copy (structure));
  }
}

guint64
stage_get_stat (Stage *stage, const char *field)
{
  g_autoptr (GstStructure) stats = NULL;
  guint64 value;

  g_object_get (stage->element, "stats", &stats, NULL);
  g_assert_true (gst_structure_get_uint64 (stats, field, &value));
  return value;
}

void
stage_wait_for_captions (Stage *stage, guint n)
{
  const gint64 deadline = g_get_monotonic_time () + 10 * G_TIME_SPAN_SECOND;

  for (stage_listen (stage); stage->captions->len < n; stage_listen (stage)) {
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
    g_usleep (1000);
  }
}

guint64
stage_get_time (Stage *stage, guint caption, const char *field)
{
  guint64 value;

  g_assert_cmpuint (caption, <, stage->captions->len);
  g_assert_true (gst_structure_get_uint64 (g_ptr_array_index (stage->captions, caption), field, &value));
  return value;
}

const char *
stage_get_text (Stage *stage, guint caption)
{
  g_assert_cmpuint (caption, <, stage->captions->len);
  return gst_structure_get_string (g_ptr_array_index (stage->captions, caption), "text");
}

guint
stage_count_messages (Stage *stage, GstMessageType type)
{
  guint n = 0;

  for (guint i = 0; i < stage->messages->len; i++)
    n += GST_MESSAGE_TYPE (g_ptr_array_index (stage->messages, i)) == type;
  return n;
}

char *
stage_list_times (Stage *stage)
{
  GString *times = g_string_new (NULL);

  stage_listen (stage);
  for (guint i = 0; i < stage->captions->len; i++)
    g_string_append_printf (times, "%s%" G_GUINT64_FORMAT, i > 0 ? " " : "",
                            stage_get_time (stage, i, "pts") / GST_MSECOND);
  return g_string_free (times, FALSE);
}

gint
stage_find (Stage *stage, const char *prefix)
{
  gint found = -1;

  g_mutex_lock (&stage->lock);
  for (guint i = 0; found < 0 && i < stage->log->len; i++)
    if (g_str_has_prefix (g_ptr_array_index (stage->log, i), prefix))
      found = (gint) i;
  g_mutex_unlock (&stage->lock);
  return found;
}

char *
stage_join (Stage *stage, const char *prefix)
{
  GString *lines = g_string_new (NULL);

  g_mutex_lock (&stage->lock);
  for (guint i = 0; i < stage->log->len; i++)
    if (g_str_has_prefix (g_ptr_array_index (stage->log, i), prefix))
      g_string_append_printf (lines, "%s%s", lines->len > 0 ? ", " : "",
                              (const char *) g_ptr_array_index (stage->log, i));
  g_mutex_unlock (&stage->lock);
  return g_string_free (lines, FALSE);
}
