/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "index-rank.h"

#include <stddef.h>

static void
share (const Fts5ExtensionApi *api, Fts5Context *row, sqlite3_context *context, int n_values, sqlite3_value **values)
{
  int n_found = 0, n_words = 0;

  if (api->xInstCount (row, &n_found) != SQLITE_OK || api->xColumnSize (row, 0, &n_words) != SQLITE_OK)
    sqlite3_result_error_code (context, SQLITE_CORRUPT);
  else
    sqlite3_result_double (context, n_words > 0 ? -(double) n_found / n_words : 0);
}

/* FTS5 hands itself out through a pointer that a statement is given. */
static fts5_api *
find_fts5 (sqlite3 *db)
{
  sqlite3_stmt *statement = NULL;
  fts5_api *fts5 = NULL;

  if (sqlite3_prepare_v2 (db, "SELECT fts5(?1)", -1, &statement, NULL) == SQLITE_OK) {
    sqlite3_bind_pointer (statement, 1, &fts5, "fts5_api_ptr", NULL);
    sqlite3_step (statement);
  }
  sqlite3_finalize (statement);
  return fts5;
}

int
archive_rank_register (sqlite3 *db)
{
  fts5_api *fts5 = find_fts5 (db);

  return fts5 && fts5->xCreateFunction (fts5, "share", NULL, share, NULL) == SQLITE_OK;
}
