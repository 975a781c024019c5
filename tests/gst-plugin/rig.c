/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rig.h"
#include <string.h>
#include "gstmllamacaption.h"
#include "rig-coverage.h"

#define TIMEOUT_US (20 * G_TIME_SPAN_SECOND)

int
rig_main (int argc, char **argv, void (*add_tests) (void))
{
  g_test_init (&argc, &argv, NULL);
  gst_init (&argc, &argv);
  g_assert_true (GST_ELEMENT_REGISTER (mllamacaption, NULL));
  g_setenv ("MLLAMA_DEMO_MODEL", "/scripted", TRUE);
  fake_reset ();
  add_tests ();
  const int status = g_test_run ();
  /* Here the leaks tracer tells what is left. */
  gst_deinit ();
  return status;
}

Rig *
rig_new (const char *line, ...)
{
  g_autoptr (GError) error = NULL;
  Rig *rig = g_new0 (Rig, 1);
  va_list arguments;

  va_start (arguments, line);
  g_autofree char *filled = g_strdup_vprintf (line, arguments);
  va_end (arguments);
  fake_reset ();
  rig->pipeline = gst_parse_launch (filled, &error);
  g_assert_no_error (error);
  gst_object_ref_sink (rig->pipeline);
  rig->element = gst_bin_get_by_name (GST_BIN (rig->pipeline), "c");
  g_assert_nonnull (rig->element);
  rig->coverage = rig_coverage_new (rig->element);
  rig->captions = g_ptr_array_new_with_free_func ((GDestroyNotify) gst_structure_free);
  rig->partials = g_ptr_array_new_with_free_func ((GDestroyNotify) gst_structure_free);
  rig->messages = g_ptr_array_new_with_free_func ((GDestroyNotify) gst_message_unref);
  rig->log = g_ptr_array_new_with_free_func (g_free);
  g_mutex_init (&rig->lock);
  return rig;
}

void
rig_free (Rig *rig)
{
  gst_element_set_state (rig->pipeline, GST_STATE_NULL);
  gst_object_unref (rig->element);
  gst_object_unref (rig->pipeline);
  rig_coverage_free (rig->coverage);
  g_ptr_array_unref (rig->captions);
  g_ptr_array_unref (rig->partials);
  g_ptr_array_unref (rig->messages);
  g_ptr_array_unref (rig->log);
  g_clear_error (&rig->error);
  g_mutex_clear (&rig->lock);
  g_free (rig);
  FakeCounts counts = fake_get_counts ();
  g_assert_cmpuint (counts.n_models, ==, 0);
  g_assert_cmpuint (counts.n_states, ==, 0);
  g_assert_cmpuint (counts.n_generations, ==, 0);
  g_assert_cmpuint (counts.n_prompts, ==, 0);
}

/* --- pads --- */

static gint64
to_ms (GstClockTime time)
{
  return GST_CLOCK_TIME_IS_VALID (time) ? (gint64) (time / GST_MSECOND) : -1;
}

static char *
describe_buffer (const char *pad, GstBuffer *buffer)
{
  if (g_str_has_prefix (pad, "text")) {
    GstMapInfo map;
    gst_buffer_map (buffer, &map, GST_MAP_READ);
    g_autofree char *text = g_strndup ((const char *) map.data, map.size);
    gst_buffer_unmap (buffer, &map);
    return g_strdup_printf ("%s caption %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %s", pad,
                            to_ms (GST_BUFFER_PTS (buffer)), to_ms (GST_BUFFER_DURATION (buffer)), text);
  }
  return g_strdup_printf ("%s video %" G_GINT64_FORMAT, pad, to_ms (GST_BUFFER_PTS (buffer)));
}

static char *
describe_event (const char *pad, GstEvent *event)
{
  GstClockTime start, duration;
  GstCaps *caps;

  switch (GST_EVENT_TYPE (event)) {
  case GST_EVENT_GAP:
    gst_event_parse_gap (event, &start, &duration);
    return g_strdup_printf ("%s gap %" G_GINT64_FORMAT " %" G_GINT64_FORMAT, pad, to_ms (start), to_ms (duration));
  case GST_EVENT_CAPS: {
    gst_event_parse_caps (event, &caps);
    g_autofree char *string = gst_caps_to_string (caps);
    return g_strdup_printf ("%s caps %s", pad, string);
  }
  default:
    return g_strdup_printf ("%s %s", pad, GST_EVENT_TYPE_NAME (event));
  }
}

static GstPadProbeReturn
write_down (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Rig *rig = data;
  g_autofree char *name = gst_pad_get_name (pad);
  char *line = GST_PAD_PROBE_INFO_TYPE (info) & GST_PAD_PROBE_TYPE_BUFFER
                   ? describe_buffer (name, GST_PAD_PROBE_INFO_BUFFER (info))
                   : describe_event (name, GST_PAD_PROBE_INFO_EVENT (info));

  g_mutex_lock (&rig->lock);
  g_ptr_array_add (rig->log, line);
  g_mutex_unlock (&rig->lock);
  return GST_PAD_PROBE_OK;
}

void
rig_watch (Rig *rig, const char *name)
{
  g_autoptr (GstPad) pad = gst_element_get_static_pad (rig->element, name);

  g_assert_nonnull (pad);
  gst_pad_add_probe (pad,
                     GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM | GST_PAD_PROBE_TYPE_EVENT_FLUSH,
                     write_down, rig, NULL);
}

char **
rig_read (Rig *rig, const char *prefix)
{
  g_autoptr (GStrvBuilder) lines = g_strv_builder_new ();

  g_mutex_lock (&rig->lock);
  for (guint i = 0; i < rig->log->len; i++)
    if (g_str_has_prefix (g_ptr_array_index (rig->log, i), prefix))
      g_strv_builder_add (lines, g_ptr_array_index (rig->log, i));
  g_mutex_unlock (&rig->lock);
  return g_strv_builder_end (lines);
}

gint
rig_find (Rig *rig, const char *prefix)
{
  gint found = -1;

  g_mutex_lock (&rig->lock);
  for (guint i = 0; found < 0 && i < rig->log->len; i++)
    if (g_str_has_prefix (g_ptr_array_index (rig->log, i), prefix))
      found = (gint) i;
  g_mutex_unlock (&rig->lock);
  return found;
}

/* --- running --- */

void
rig_set_state (Rig *rig, GstState state)
{
  g_assert_cmpint (gst_element_set_state (rig->pipeline, state), !=, GST_STATE_CHANGE_FAILURE);
  g_assert_cmpint (gst_element_get_state (rig->pipeline, NULL, NULL, 10 * GST_SECOND), !=, GST_STATE_CHANGE_FAILURE);
}

static void
take (Rig *rig, GstMessage *message)
{
  const GstStructure *structure = gst_message_get_structure (message);
  gboolean partial = FALSE;

  g_ptr_array_add (rig->messages, message);
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR && !rig->error)
    gst_message_parse_error (message, &rig->error, NULL);
  if (GST_MESSAGE_TYPE (message) != GST_MESSAGE_ELEMENT || !gst_structure_has_name (structure, "mllama-caption"))
    return;
  g_assert_true (gst_structure_get_boolean (structure, "partial", &partial));
  g_ptr_array_add (partial ? rig->partials : rig->captions, gst_structure_copy (structure));
}

void
rig_listen (Rig *rig, guint ms)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (rig->pipeline);
  const gint64 end = g_get_monotonic_time () + ms * G_TIME_SPAN_MILLISECOND;
  GstMessage *message;

  do {
    gint64 left = MAX (end - g_get_monotonic_time (), 0);
    if ((message = gst_bus_timed_pop (bus, (GstClockTime) left * GST_USECOND)))
      take (rig, message);
  } while (message || g_get_monotonic_time () < end);
}

void
rig_wait (Rig *rig, gboolean (*condition) (Rig *rig))
{
  const gint64 deadline = g_get_monotonic_time () + TIMEOUT_US / 2;

  while (!condition (rig)) {
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
    rig_listen (rig, 2);
  }
}

static gboolean
has_ended (Rig *rig)
{
  return rig->error || rig_count_messages (rig, GST_MESSAGE_EOS) > 0;
}

void
rig_wait_for_end (Rig *rig)
{
  rig_wait (rig, has_ended);
}

void
rig_run (Rig *rig)
{
  gst_element_set_state (rig->pipeline, GST_STATE_PLAYING);
  rig_wait_for_end (rig);
  gst_element_set_state (rig->pipeline, GST_STATE_NULL);
}

/* --- reading --- */

const char *
rig_get_text (Rig *rig, guint caption)
{
  g_assert_cmpuint (caption, <, rig->captions->len);
  return gst_structure_get_string (g_ptr_array_index (rig->captions, caption), "text");
}

guint64
rig_get_time (Rig *rig, guint caption, const char *field)
{
  guint64 value;

  g_assert_cmpuint (caption, <, rig->captions->len);
  g_assert_true (gst_structure_get_uint64 (g_ptr_array_index (rig->captions, caption), field, &value));
  return value;
}

guint
rig_count_messages (Rig *rig, GstMessageType type)
{
  guint n = 0;

  for (guint i = 0; i < rig->messages->len; i++)
    n += GST_MESSAGE_TYPE (g_ptr_array_index (rig->messages, i)) == type;
  return n;
}

guint64
rig_get_stat (Rig *rig, const char *field)
{
  g_autoptr (GstStructure) stats = NULL;
  guint64 value;

  g_object_get (rig->element, "stats", &stats, NULL);
  g_assert_true (gst_structure_get_uint64 (stats, field, &value));
  return value;
}
