/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of mllama-archive share: errors, clips, questions and captions. */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

#define ARCHIVE_ERROR (archive_error_quark ())
typedef enum {
  ARCHIVE_ERROR_USAGE,  /* the command line */
  ARCHIVE_ERROR_CLIP,   /* one clip; the others go on */
  ARCHIVE_ERROR_MODEL,  /* the element or what it runs: nothing can go on */
  ARCHIVE_ERROR_OUTPUT, /* what is written beside clips, or the index */
} ArchiveErrorCode;
GQuark archive_error_quark (void);

/* archive_write_file: the file is this text or what it was before. Its temporary name is PATH.part, so that what a
 * killed process leaves is written over by the next. is_durable: it outlives a loss of power, once its folder is
 * synced. */
gboolean archive_write_file (const char *path, const char *text, gboolean is_durable, GError **error);

/* A file to annotate. */
typedef struct {
  char *path; /* absolute */
  char *name; /* below the folder that was named; of several, with the folder's name; of a file its own */
  guint64 size;
  gint64 modified_ns; /* since 1970 */
  gint64 duration_ns; /* 0 until it is known */
} ArchiveClip;

void archive_clip_free (ArchiveClip *clip);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ArchiveClip, archive_clip_free)

/* What is asked of each frame; the first one, "caption", is what subtitles show. */
typedef struct {
  char *name, *prompt;
} ArchiveQuestion;

typedef struct {
  guint question; /* index */
  gint64 id;      /* that the element gave it, in its clip */
  GstClockTime start, end;
  char *text;
  double confidence;
  char *thumbnail; /* a file in the clip's folder of thumbnails; NULL: none */
} ArchiveCaption;

void archive_caption_free (ArchiveCaption *caption);

/* All that came of one clip. */
typedef struct {
  GPtrArray *captions; /* of ArchiveCaption, by start, then by question */
  guint width, height;
  gint64 duration_ns;
} ArchiveAnnotation;

ArchiveAnnotation *archive_annotation_new (void);
void archive_annotation_free (ArchiveAnnotation *annotation);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ArchiveAnnotation, archive_annotation_free)

G_END_DECLS
