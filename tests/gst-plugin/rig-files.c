/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rig-files.h"
#include <glib/gstdio.h>

#define TIMEOUT (20 * GST_SECOND)

char *
rig_make_path (const char *suffix)
{
  g_autofree char *template = g_strconcat ("mllama-XXXXXX", suffix, NULL);
  g_autoptr (GError) error = NULL;
  char *path = NULL;

  g_close (g_file_open_tmp (template, &path, &error), NULL);
  g_assert_no_error (error);
  return path;
}

void
rig_remove_path (char *path)
{
  g_unlink (path);
  g_free (path);
}

char *
rig_take_contents (char *path)
{
  g_autoptr (GError) error = NULL;
  char *contents = NULL;

  g_file_get_contents (path, &contents, NULL, &error);
  g_assert_no_error (error);
  rig_remove_path (path);
  return contents;
}

GPtrArray *
rig_write_file (const char *path, const char *line, ...)
{
  const FakeScript script = fake_script;
  va_list arguments;

  va_start (arguments, line);
  g_autofree char *filled = g_strdup_vprintf (line, arguments);
  va_end (arguments);
  Rig *rig = rig_new ("%s ! filesink location=%s", filled, path);
  fake_script = script;
  rig_run (rig);
  g_assert_no_error (rig->error);
  GPtrArray *captions = g_ptr_array_ref (rig->captions);
  rig_free (rig);
  return captions;
}

/* --- reading back --- */

typedef struct {
  GstClockTime start, end;
  char *text;
} Cue;

static void
free_cue (gpointer data)
{
  Cue *cue = data;

  g_free (cue->text);
  g_free (cue);
}

static void
take_buffer (GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer data)
{
  GPtrArray *cues = data;
  Cue *last = cues->len > 0 ? g_ptr_array_index (cues, cues->len - 1) : NULL;
  const GstClockTime end = GST_BUFFER_PTS (buffer) + GST_BUFFER_DURATION (buffer);
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_READ);
  g_autofree char *text = g_strndup ((const char *) map.data, map.size);
  gst_buffer_unmap (buffer, &map);
  if (!*text)
    return;
  if (last && last->end == GST_BUFFER_PTS (buffer) && g_str_equal (last->text, text)) {
    last->end = end;
    return;
  }
  Cue *cue = g_new (Cue, 1);
  *cue = (Cue){GST_BUFFER_PTS (buffer), end, g_steal_pointer (&text)};
  g_ptr_array_add (cues, cue);
}

static void
run_to_end (GstElement *pipeline)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  g_autoptr (GError) error = NULL;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (bus, TIMEOUT, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  g_assert_nonnull (message);
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    gst_message_parse_error (message, &error, NULL);
  g_assert_no_error (error);
  gst_element_set_state (pipeline, GST_STATE_NULL);
}

static char **
describe_cues (const GPtrArray *cues)
{
  g_autoptr (GStrvBuilder) lines = g_strv_builder_new ();

  for (guint i = 0; i < cues->len; i++) {
    const Cue *cue = g_ptr_array_index (cues, i);
    g_autofree char *line =
        g_strdup_printf ("%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %s", (cue->start + GST_MSECOND / 2) / GST_MSECOND,
                         (cue->end + GST_MSECOND / 2) / GST_MSECOND, cue->text);
    g_strv_builder_add (lines, line);
  }
  return g_strv_builder_end (lines);
}

char **
rig_read_cues (const char *line, ...)
{
  g_autoptr (GPtrArray) cues = g_ptr_array_new_with_free_func (free_cue);
  g_autoptr (GError) error = NULL;
  va_list arguments;

  va_start (arguments, line);
  g_autofree char *filled = g_strdup_vprintf (line, arguments);
  va_end (arguments);
  g_autoptr (GstElement) pipeline = gst_object_ref_sink (gst_parse_launch (filled, &error));
  g_assert_no_error (error);
  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");
  g_object_set (sink, "signal-handoffs", TRUE, "sync", FALSE, "async", FALSE, NULL);
  g_signal_connect (sink, "handoff", G_CALLBACK (take_buffer), cues);
  run_to_end (pipeline);
  return describe_cues (cues);
}
