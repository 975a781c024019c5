/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "archive.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

G_DEFINE_QUARK (archive - error - quark, archive_error)

void
archive_clip_free (ArchiveClip *clip)
{
  if (!clip)
    return;
  g_free (clip->path);
  g_free (clip->name);
  g_free (clip);
}

void
archive_caption_free (ArchiveCaption *caption)
{
  if (!caption)
    return;
  g_free (caption->text);
  g_free (caption->thumbnail);
  g_free (caption);
}

ArchiveAnnotation *
archive_annotation_new (void)
{
  ArchiveAnnotation *annotation = g_new0 (ArchiveAnnotation, 1);

  annotation->captions = g_ptr_array_new_with_free_func ((GDestroyNotify) archive_caption_free);
  return annotation;
}

void
archive_annotation_free (ArchiveAnnotation *annotation)
{
  if (!annotation)
    return;
  g_ptr_array_unref (annotation->captions);
  g_free (annotation);
}

/* --- files --- */

static gboolean
write_all (int fd, const char *text)
{
  gsize left = strlen (text);

  while (left > 0) {
    const gssize n = write (fd, text, left);
    if (n < 0 && errno != EINTR)
      return FALSE;
    text += MAX (n, 0);
    left -= (gsize) MAX (n, 0);
  }
  return TRUE;
}

gboolean
archive_write_file (const char *path, const char *text, gboolean is_durable, GError **error)
{
  g_autofree char *part = g_strconcat (path, ".part", NULL);
  const int fd = g_open (part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  gboolean is_good = fd >= 0 && write_all (fd, text) && (!is_durable || fsync (fd) == 0);

  is_good = (fd < 0 || close (fd) == 0) && is_good && g_rename (part, path) == 0;
  if (is_good)
    return TRUE;
  g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_OUTPUT, "%s cannot be written: %s", path, g_strerror (errno));
  g_unlink (part);
  return FALSE;
}
