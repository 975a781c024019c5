/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A place for one clip at a time: a decoder, mllamacaption, and what takes its texts. Slots of one process share one
 * model, so that encodes and decode steps of their clips run together. */
#pragma once

#include <gio/gio.h>

#include "options.h"

G_BEGIN_DECLS

typedef struct _ArchiveSlot ArchiveSlot;

/* archive_slot_new: MODEL if the model cannot be opened. */
ArchiveSlot *archive_slot_new (const ArchiveOptions *options, GError **error);
void archive_slot_free (ArchiveSlot *slot);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ArchiveSlot, archive_slot_free)

/* archive_slot_annotate: all captions of a clip; thumbnails go into the folder thumbs. Ends when the clip does. CLIP:
 * the clip cannot be decoded, or has no video; MODEL: no other clip will do better; G_IO_ERROR_CANCELLED. One thread at
 * a time. */
ArchiveAnnotation *archive_slot_annotate (ArchiveSlot *slot, const ArchiveClip *clip, const char *thumbs,
                                          GCancellable *cancellable, GError **error);
/* archive_slot_read_occupancy: how many rows a decode step of the shared model has had on the mean. Any thread. */
double archive_slot_read_occupancy (const ArchiveSlot *slot);

G_END_DECLS
