/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "program-error.h"

#define PLUGIN_PACKAGES                                                                                                \
  "gstreamer1.0-plugins-good, gstreamer1.0-plugins-bad, gstreamer1.0-plugins-ugly and gstreamer1.0-libav"

static char *
explain_no_video (const char *missing)
{
  if (missing)
    return g_strdup_printf ("GStreamer has no %s. Install the plugin; in Debian, see " PLUGIN_PACKAGES ".", missing);
  return g_strdup ("There is no picture and no video in it that GStreamer could decode. If it plays elsewhere, "
                   "install " PLUGIN_PACKAGES ".");
}

/* What can be done about an error of GStreamer's own elements; ours say it themselves. */
static const char *
find_remedy (const GError *error)
{
  if (g_error_matches (error, GST_STREAM_ERROR, GST_STREAM_ERROR_TYPE_NOT_FOUND) ||
      g_error_matches (error, GST_STREAM_ERROR, GST_STREAM_ERROR_WRONG_TYPE))
    return "It is no picture or video that GStreamer knows; \"file\" and \"gst-typefind-1.0\" tell what it is.";
  if (g_error_matches (error, GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE) ||
      g_error_matches (error, GST_STREAM_ERROR, GST_STREAM_ERROR_DEMUX))
    return "It is damaged or cut short; try a fresh copy.";
  return NULL;
}

char *
program_error_explain (const GError *error, const char *missing)
{
  /* decodebin calls it a missing plugin, too, when there is nothing but sound. */
  if (!error || missing || g_error_matches (error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN) ||
      g_error_matches (error, GST_STREAM_ERROR, GST_STREAM_ERROR_CODEC_NOT_FOUND))
    return explain_no_video (missing);
  const char *remedy = find_remedy (error);
  return g_strconcat (error->message, remedy ? " " : NULL, remedy, NULL);
}
