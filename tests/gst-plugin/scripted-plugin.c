/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The plugin around the scripted engine, for tests that need a real gst-launch-1.0. Never installed. */
#include "fake-mllama.h"
#include <stdlib.h>

static guint
read_number (const char *variable)
{
  const char *value = g_getenv (variable);

  return value ? (guint) strtoul (value, NULL, 10) : 0;
}

__attribute__ ((constructor)) static void
write_script (void)
{
  fake_reset ();
  fake_script.load_ms = read_number ("MLLAMA_SCRIPT_LOAD_MS");
  fake_script.encode_ms = read_number ("MLLAMA_SCRIPT_ENCODE_MS");
}
