/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small JPEG pictures of the frames that get captions. Which frames do is known later than they pass: small copies of
 * those that may are kept until then. */
#pragma once

#include <gst/video/video.h>

G_BEGIN_DECLS

typedef struct _ArchiveThumbnailer ArchiveThumbnailer;

/* width: of pictures that are no smaller. */
ArchiveThumbnailer *archive_thumbnailer_new (guint width, GError **error);
void archive_thumbnailer_free (ArchiveThumbnailer *thumbnailer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ArchiveThumbnailer, archive_thumbnailer_free)

/* archive_thumbnailer_begin: a new clip, whose pictures go into folder. */
void archive_thumbnailer_begin (ArchiveThumbnailer *thumbnailer, const char *folder);
/* archive_thumbnailer_turn: how pictures of the clip are to be turned, from the thread of _keep. */
void archive_thumbnailer_turn (ArchiveThumbnailer *thumbnailer, GstVideoOrientationMethod orientation);
/* archive_thumbnailer_keep: a frame that may get a caption. FALSE if it cannot be read. Any one thread. */
gboolean archive_thumbnailer_keep (ArchiveThumbnailer *thumbnailer, const GstVideoInfo *info, GstBuffer *frame);
/* archive_thumbnailer_write: the frame of that time as a file, and its name (transfer full); NULL with no error where
 * none was kept. Any thread. */
char *archive_thumbnailer_write (ArchiveThumbnailer *thumbnailer, GstClockTime pts, GError **error);
/* archive_thumbnailer_forget: no frame of an earlier time gets a caption any more. Any thread. */
void archive_thumbnailer_forget (ArchiveThumbnailer *thumbnailer, GstClockTime before);

G_END_DECLS
