/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* rtsp-server PORT: serves a test picture as rtsp://127.0.0.1:PORT/test until it is killed; port 0 for any that is
 * free. Prints the port once it listens. */
#include <gst/rtsp-server/rtsp-server.h>

int
main (int argc, char **argv)
{
  gst_init (&argc, &argv);
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GstRTSPServer) server = gst_rtsp_server_new ();
  g_autoptr (GstRTSPMountPoints) mounts = gst_rtsp_server_get_mount_points (server);
  g_autofree char *line = g_strdup_printf (
      "( videotestsrc is-live=true pattern=ball num-buffers=%s ! video/x-raw,format=I420,width=64,height=48,"
      "framerate=10/1 ! jpegenc ! rtpjpegpay name=pay0 )",
      argc > 2 ? argv[2] : "-1");
  GstRTSPMediaFactory *factory = gst_rtsp_media_factory_new ();

  gst_rtsp_server_set_address (server, "127.0.0.1");
  gst_rtsp_server_set_service (server, argc > 1 ? argv[1] : "0");
  gst_rtsp_media_factory_set_launch (factory, line);
  gst_rtsp_mount_points_add_factory (mounts, "/test", factory);
  if (gst_rtsp_server_attach (server, NULL) == 0)
    return 1;
  g_print ("%d\n", gst_rtsp_server_get_bound_port (server));
  g_main_loop_run (loop);
  return 0;
}
