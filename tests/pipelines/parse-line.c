/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* parse-line WORD...: whether gst-launch-1.0 would accept the words as a pipeline, without running it. For lines that
 * need a camera or a network. */
#include <gst/gst.h>

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;

  gst_init (NULL, NULL);
  g_autoptr (GstElement) pipeline =
      gst_parse_launchv_full ((const gchar **) argv + 1, NULL, GST_PARSE_FLAG_FATAL_ERRORS, &error);
  if (!pipeline || error) {
    g_printerr ("%s\n", error ? error->message : "no pipeline");
    return 1;
  }
  return 0;
}
