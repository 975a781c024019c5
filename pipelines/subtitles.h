/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cues of subtitle files, as SubRip and WebVTT have them. */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

#define SUBTITLES_VTT_HEADER "WEBVTT\n\n"

/* number: from 1; SubRip has it. text: nothing in it may break the file (gst-plugin/text.h). */
void subtitles_append_cue (GString *file, gboolean is_vtt, guint number, GstClockTime start, GstClockTime end,
                           const char *text);

G_END_DECLS
