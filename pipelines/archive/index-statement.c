/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "index-statement.h"

#include "archive.h"

void
archive_set_error (sqlite3 *db, GError **error)
{
  g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_OUTPUT, "The index cannot be read or written: %s",
               sqlite3_errmsg (db));
}

static void
bind (sqlite3_stmt *statement, int number, char type, va_list *values)
{
  if (type == 's')
    sqlite3_bind_text (statement, number, va_arg (*values, const char *), -1, SQLITE_TRANSIENT);
  else if (type == 'i')
    sqlite3_bind_int64 (statement, number, va_arg (*values, gint64));
  else
    sqlite3_bind_double (statement, number, va_arg (*values, double));
}

static sqlite3_stmt *
prepare (sqlite3 *db, GError **error, const char *sql, const char *types, va_list *values)
{
  sqlite3_stmt *statement = NULL;

  if (sqlite3_prepare_v2 (db, sql, -1, &statement, NULL) != SQLITE_OK) {
    archive_set_error (db, error);
    return NULL;
  }
  for (int i = 0; types[i]; i++)
    bind (statement, i + 1, types[i], values);
  return statement;
}

sqlite3_stmt *
archive_prepare (sqlite3 *db, GError **error, const char *sql, const char *types, ...)
{
  va_list values;

  va_start (values, types);
  sqlite3_stmt *statement = prepare (db, error, sql, types, &values);
  va_end (values);
  return statement;
}

/* TRUE at the end; the first column of the first row in *number, unless that is NULL. */
static gboolean
run (sqlite3 *db, sqlite3_stmt *statement, gint64 *number, gboolean *has_row, GError **error)
{
  int status;

  while ((status = sqlite3_step (statement)) == SQLITE_ROW) {
    if (number && !*has_row)
      *number = sqlite3_column_int64 (statement, 0);
    *has_row = TRUE;
  }
  if (status != SQLITE_DONE)
    archive_set_error (db, error);
  sqlite3_finalize (statement);
  return status == SQLITE_DONE;
}

gboolean
archive_execute (sqlite3 *db, GError **error, const char *sql, const char *types, ...)
{
  gboolean has_row = FALSE;
  va_list values;

  va_start (values, types);
  sqlite3_stmt *statement = prepare (db, error, sql, types, &values);
  va_end (values);
  return statement && run (db, statement, NULL, &has_row, error);
}

gboolean
archive_read_number (sqlite3 *db, gint64 *number, GError **error, const char *sql, const char *types, ...)
{
  gboolean has_row = FALSE;
  va_list values;

  va_start (values, types);
  sqlite3_stmt *statement = prepare (db, error, sql, types, &values);
  va_end (values);
  if (!statement || !run (db, statement, number, &has_row, error))
    return FALSE;
  if (!has_row)
    g_set_error_literal (error, ARCHIVE_ERROR, ARCHIVE_ERROR_OUTPUT, "The index lacks what was just written to it");
  return has_row;
}
