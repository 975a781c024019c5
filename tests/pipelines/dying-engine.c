/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The scripted engine of a process that is killed at its change to the disk number $MLLAMA_DIE_AT, half way through if
 * it is a write. A program that loads this in place of libmllama finds these functions before those of libc. */
#include <dlfcn.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__ (&name)) dlsym (RTLD_NEXT, #name))

static gint n_changes; /* atomic */

static gboolean
is_last (void)
{
  const char *at = g_getenv ("MLLAMA_DIE_AT");

  return at && g_atomic_int_add (&n_changes, 1) + 1 == atoi (at);
}

static void
count (void)
{
  if (is_last ())
    kill (getpid (), SIGKILL);
}

static gboolean
is_file (int fd)
{
  struct stat info;

  return fstat (fd, &info) == 0 && S_ISREG (info.st_mode);
}

__attribute__ ((visibility ("default"))) int
rename (const char *from, const char *to)
{
  count ();
  return NEXT (rename) (from, to);
}

__attribute__ ((visibility ("default"))) int
unlink (const char *path)
{
  count ();
  return NEXT (unlink) (path);
}

__attribute__ ((visibility ("default"))) int
mkdir (const char *path, mode_t mode)
{
  count ();
  return NEXT (mkdir) (path, mode);
}

__attribute__ ((visibility ("default"))) int
rmdir (const char *path)
{
  count ();
  return NEXT (rmdir) (path);
}

__attribute__ ((visibility ("default"))) int
ftruncate64 (int fd, off64_t size)
{
  count ();
  return NEXT (ftruncate64) (fd, size);
}

__attribute__ ((visibility ("default"))) ssize_t
write (int fd, const void *data, size_t n)
{
  if (is_file (fd) && is_last ()) {
    NEXT (write) (fd, data, n / 2);
    kill (getpid (), SIGKILL);
  }
  return NEXT (write) (fd, data, n);
}

__attribute__ ((visibility ("default"))) ssize_t
pwrite64 (int fd, const void *data, size_t n, off64_t at)
{
  if (is_last ()) {
    NEXT (pwrite64) (fd, data, n / 2, at);
    kill (getpid (), SIGKILL);
  }
  return NEXT (pwrite64) (fd, data, n, at);
}
