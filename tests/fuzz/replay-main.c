/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs a fuzz target over files, for builds without libFuzzer: replay FILE-OR-DIRECTORY... */
#include <stdio.h>
#include <string.h>

#include <glib.h>

int LLVMFuzzerTestOneInput (const guint8 *data, size_t size);

/* The name comes first, so that a crash says which input it was. The target gets a copy of exactly the right size, so
 * that a sanitizer sees one byte too far. */
static int
replay_file (const char *path)
{
  g_autofree char *text = NULL;
  g_autofree guint8 *data = NULL;
  g_autoptr (GError) error = NULL;
  gsize size;

  printf ("%s\n", path);
  fflush (stdout);
  if (!g_file_get_contents (path, &text, &size, &error)) {
    fprintf (stderr, "%s\n", error->message);
    return 0;
  }
  /* Never NULL, as libFuzzer has it. */
  data = g_malloc (MAX (size, 1));
  memcpy (data, text, size);
  LLVMFuzzerTestOneInput (data, size);
  return 1;
}

static int
replay (const char *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;
  int n = 0;

  if (!dir)
    return replay_file (path);
  while ((name = g_dir_read_name (dir))) {
    g_autofree char *inner = g_build_filename (path, name, NULL);
    n += replay_file (inner);
  }
  return n;
}

int
main (int argc, char **argv)
{
  int n = 0;

  for (int i = 1; i < argc; i++)
    n += replay (argv[i]);
  printf ("%d inputs\n", n);
  return n > 0 ? 0 : 1;
}
