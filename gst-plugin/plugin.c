/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstmllamacaption.h"

/* The element is registered always: a registry made on a machine without GPU or model must not hide it elsewhere. */
static gboolean
plugin_init (GstPlugin *plugin)
{
  return GST_ELEMENT_REGISTER (mllamacaption, plugin);
}

GST_PLUGIN_DEFINE (GST_VERSION_MAJOR, GST_VERSION_MINOR, mllama, "Captions for video with Llama 3.2-Vision",
                   plugin_init, PACKAGE_VERSION, "LGPL", "gst-mllama", PACKAGE_ORIGIN)
