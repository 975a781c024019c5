/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SQL with values. types has a letter for each: s a string or NULL, i a gint64, d a double. */
#pragma once

#include <glib.h>
#include <sqlite3.h>

G_BEGIN_DECLS

/* archive_prepare: a statement whose values are bound (transfer full); strings are copied. */
sqlite3_stmt *archive_prepare (sqlite3 *db, GError **error, const char *sql, const char *types, ...);
/* archive_execute: rows that come are passed over. */
gboolean archive_execute (sqlite3 *db, GError **error, const char *sql, const char *types, ...);
/* archive_read_number: the first column of the first row; an error if there is none. */
gboolean archive_read_number (sqlite3 *db, gint64 *number, GError **error, const char *sql, const char *types, ...);
/* archive_set_error: what the database said last. */
void archive_set_error (sqlite3 *db, GError **error);

G_END_DECLS
