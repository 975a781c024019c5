/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "archive.h"

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
