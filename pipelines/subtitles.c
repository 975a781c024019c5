/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "subtitles.h"

/* 01:02:03.456, or with a comma. */
static void
append_time (GString *file, GstClockTime time, char point)
{
  const guint64 ms = time / GST_MSECOND;

  g_string_append_printf (file, "%02u:%02u:%02u%c%03u", (guint) (ms / 3600000), (guint) (ms / 60000 % 60),
                          (guint) (ms / 1000 % 60), point, (guint) (ms % 1000));
}

void
subtitles_append_cue (GString *file, gboolean is_vtt, guint number, GstClockTime start, GstClockTime end,
                      const char *text)
{
  const char point = is_vtt ? '.' : ',';

  if (!is_vtt)
    g_string_append_printf (file, "%u\n", number);
  append_time (file, start, point);
  g_string_append (file, " --> ");
  append_time (file, end, point);
  g_string_append_printf (file, "\n%s\n\n", text);
}
