/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as model.safetensors. Every tensor that is given out must be readable to its last byte.
 *
 * The file is in memory, and the directory that the engine is given holds a link to it. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mllama/error.h>

#include "safetensors.h"

int LLVMFuzzerTestOneInput (const guint8 *data, size_t size);

/* Made once for all inputs. */
static struct {
  char *directory, *link;
  int fd;
} place;

static void
remove_place (void)
{
  unlink (place.link);
  rmdir (place.directory);
  g_free (place.link);
  g_free (place.directory);
}

static void
make_place (void)
{
  g_autofree char *target = NULL;

  if (place.directory)
    return;
  place.directory = g_dir_make_tmp ("fuzz-XXXXXX", NULL);
  place.fd = memfd_create ("model.safetensors", MFD_CLOEXEC);
  g_assert_true (place.directory && place.fd >= 0);
  place.link = g_build_filename (place.directory, "model.safetensors", NULL);
  target = g_strdup_printf ("/proc/self/fd/%d", place.fd);
  g_assert_cmpint (symlink (target, place.link), ==, 0);
  atexit (remove_place);
}

int
LLVMFuzzerTestOneInput (const guint8 *data, size_t size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (MllamaSource) source = NULL;
  const MllamaTensorInfo *const *tensors;
  guint n;

  make_place ();
  g_assert_cmpint (ftruncate (place.fd, 0), ==, 0);
  g_assert_cmpint (pwrite (place.fd, data, size, 0), ==, (gssize) size);
  source = mllama_safetensors_open (place.directory, &error);
  g_assert_true (source || error);
  if (!source)
    return 0;
  tensors = mllama_source_list (source, &n);
  for (guint i = 0; i < n; i++) {
    /* the file is as long as the input, so that no tensor is larger */
    g_autofree float *values = g_new (float, tensors[i]->n_elements);

    g_assert_true (mllama_source_find (source, tensors[i]->name) == tensors[i]);
    g_assert_true (mllama_source_read_f32 (source, tensors[i], 0, tensors[i]->n_elements, values, &error));
    g_assert_no_error (error);
  }
  return 0;
}
