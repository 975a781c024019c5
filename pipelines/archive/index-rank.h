/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How well a caption fits words: an auxiliary function of FTS5. */
#pragma once

#include <sqlite3.h>

/* archive_rank_register: from now on SQL may say share (captions_text): minus the share of the caption's words that
 * were looked for, -1 where it says nothing else. Of captions that have all the words BM25 makes about the same order,
 * but it counts the rows of each word first, which takes as long as a word is common. FALSE: FTS5 is not there. */
int archive_rank_register (sqlite3 *db);
