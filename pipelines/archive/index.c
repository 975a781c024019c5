/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "index.h"

#include <gio/gio.h>
#include <sqlite3.h>

#include "index-statement.h"

#define VERSION     1
#define SCHEMA_PATH "/archive/schema.sql"
#define PATIENCE_MS 60000 /* for other writers */

struct _ArchiveIndex {
  sqlite3 *db;
};

static char *
read_schema (void)
{
  g_autoptr (GBytes) bytes = g_resources_lookup_data (SCHEMA_PATH, G_RESOURCE_LOOKUP_FLAGS_NONE, NULL);

  return g_strndup (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
}

static gint64
read_version (ArchiveIndex *index)
{
  gint64 version = -1;

  archive_read_number (index->db, &version, NULL, "PRAGMA user_version", "");
  return version;
}

static gboolean
check_or_make_schema (ArchiveIndex *index, GError **error)
{
  const gint64 version = read_version (index);
  g_autofree char *schema = version == 0 ? read_schema () : NULL;

  if (version != 0 && version != VERSION) {
    g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_OUTPUT,
                 "It is an index of version %" G_GINT64_FORMAT ", and this program knows version %d; use the program "
                 "that wrote it, or another file for --index",
                 version, VERSION);
    return FALSE;
  }
  if (!schema || sqlite3_exec (index->db, schema, NULL, NULL, NULL) == SQLITE_OK)
    return TRUE;
  archive_set_error (index->db, error);
  return FALSE;
}

/* All of it or nothing. */
static gboolean
finish (ArchiveIndex *index, gboolean is_good, GError **error)
{
  return archive_execute (index->db, is_good ? error : NULL, is_good ? "COMMIT" : "ROLLBACK", "") && is_good;
}

/* Two processes may find the file empty at once: the second waits for the first. */
static gboolean
prepare_file (ArchiveIndex *index, GError **error)
{
  return archive_execute (index->db, error, "PRAGMA journal_mode = WAL", "") &&
         archive_execute (index->db, error, "PRAGMA synchronous = FULL", "") &&
         archive_execute (index->db, error, "PRAGMA foreign_keys = ON", "") &&
         archive_execute (index->db, error, "BEGIN IMMEDIATE", "") &&
         finish (index, check_or_make_schema (index, error), error);
}

ArchiveIndex *
archive_index_open (const char *path, gboolean may_create, GError **error)
{
  g_autoptr (ArchiveIndex) index = g_new0 (ArchiveIndex, 1);
  g_autoptr (GError) fault = NULL;
  const int flags = SQLITE_OPEN_READWRITE | (may_create ? SQLITE_OPEN_CREATE : 0);

  if (sqlite3_open_v2 (path, &index->db, flags, NULL) != SQLITE_OK) {
    g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_OUTPUT, "The index %s cannot be opened: %s", path,
                 sqlite3_errmsg (index->db));
    return NULL;
  }
  sqlite3_busy_timeout (index->db, PATIENCE_MS);
  if (prepare_file (index, &fault))
    return g_steal_pointer (&index);
  g_propagate_prefixed_error (error, g_steal_pointer (&fault), "%s: ", path);
  return NULL;
}

void
archive_index_free (ArchiveIndex *index)
{
  if (!index)
    return;
  sqlite3_close (index->db);
  g_free (index);
}

/* --- clips --- */

gboolean
archive_index_has (ArchiveIndex *index, const ArchiveClip *clip, const ArchiveSettings *settings, const char *output)
{
  gint64 n = 0;

  archive_read_number (
      index->db, &n, NULL,
      "SELECT count(*) FROM clips JOIN settings ON settings.id = clips.settings WHERE path = ? AND size = ? "
      "AND modified_ns = ? AND hash = ? AND output = ? AND error IS NULL",
      "siiss", clip->path, (gint64) clip->size, clip->modified_ns, settings->hash, output);
  return n > 0;
}

static gboolean
find_settings (ArchiveIndex *index, const ArchiveSettings *settings, gint64 *id, GError **error)
{
  return archive_execute (index->db, error, "INSERT OR IGNORE INTO settings (hash, text) VALUES (?, ?)", "ss",
                          settings->hash, settings->text) &&
         archive_read_number (index->db, id, error, "SELECT id FROM settings WHERE hash = ?", "s", settings->hash);
}

static gboolean
find_question (ArchiveIndex *index, const ArchiveQuestion *question, gint64 *id, GError **error)
{
  return archive_execute (index->db, error, "INSERT OR IGNORE INTO questions (name, prompt) VALUES (?, ?)", "ss",
                          question->name, question->prompt) &&
         archive_read_number (index->db, id, error, "SELECT id FROM questions WHERE name = ? AND prompt = ?", "ss",
                              question->name, question->prompt);
}

/* What was known of it goes, captions too. */
static gboolean
put_clip (ArchiveIndex *index, const ArchiveClip *clip, gint64 settings, const ArchiveAnnotation *annotation,
          const char *output, const char *failure, GError **error)
{
  return archive_execute (index->db, error, "DELETE FROM clips WHERE path = ?", "s", clip->path) &&
         archive_execute (
             index->db, error,
             "INSERT INTO clips (path, size, modified_ns, duration_ns, width, height, settings, output, error, "
             "annotated_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
             "siiiiiissi", clip->path, (gint64) clip->size, clip->modified_ns, annotation ? annotation->duration_ns : 0,
             (gint64) (annotation ? annotation->width : 0), (gint64) (annotation ? annotation->height : 0), settings,
             output, failure, g_get_real_time () * 1000);
}

static gboolean
put_captions (ArchiveIndex *index, const gint64 *questions, const ArchiveAnnotation *annotation, GError **error)
{
  const gint64 clip = sqlite3_last_insert_rowid (index->db);
  gboolean is_good = TRUE;

  for (guint i = 0; i < annotation->captions->len && is_good; i++) {
    const ArchiveCaption *caption = g_ptr_array_index (annotation->captions, i);
    is_good = archive_execute (index->db, error,
                               "INSERT INTO captions (clip, question, start_ns, end_ns, text, confidence, thumbnail) "
                               "VALUES (?, ?, ?, ?, ?, ?, ?)",
                               "iiiisds", clip, questions[caption->question], (gint64) caption->start,
                               (gint64) caption->end, caption->text, caption->confidence, caption->thumbnail);
  }
  return is_good;
}

static gboolean
put_all (ArchiveIndex *index, const ArchiveClip *clip, const ArchiveSettings *settings,
         const ArchiveQuestion *questions, guint n_questions, const ArchiveAnnotation *annotation, const char *output,
         GError **error)
{
  g_autofree gint64 *ids = g_new0 (gint64, n_questions);
  gint64 settings_id = 0;

  if (!find_settings (index, settings, &settings_id, error))
    return FALSE;
  for (guint i = 0; i < n_questions; i++)
    if (!find_question (index, &questions[i], &ids[i], error))
      return FALSE;
  return put_clip (index, clip, settings_id, annotation, output, NULL, error) &&
         put_captions (index, ids, annotation, error);
}

static gboolean
put_failure (ArchiveIndex *index, const ArchiveClip *clip, const ArchiveSettings *settings, const char *message,
             GError **error)
{
  gint64 settings_id = 0;

  return find_settings (index, settings, &settings_id, error) &&
         put_clip (index, clip, settings_id, NULL, NULL, message, error);
}

gboolean
archive_index_put (ArchiveIndex *index, const ArchiveClip *clip, const ArchiveSettings *settings,
                   const ArchiveQuestion *questions, guint n_questions, const ArchiveAnnotation *annotation,
                   const char *output, GError **error)
{
  return archive_execute (index->db, error, "BEGIN IMMEDIATE", "") &&
         finish (index, put_all (index, clip, settings, questions, n_questions, annotation, output, error), error);
}

gboolean
archive_index_put_failure (ArchiveIndex *index, const ArchiveClip *clip, const ArchiveSettings *settings,
                           const char *message, GError **error)
{
  return archive_execute (index->db, error, "BEGIN IMMEDIATE", "") &&
         finish (index, put_failure (index, clip, settings, message, error), error);
}

/* --- merging --- */

/* In the other file: what is taken. A clip that failed there is taken only where nothing is known of it. */
#define IS_TAKEN                                                                                                       \
  "NOT EXISTS (SELECT 1 FROM main.clips mine WHERE mine.path = other.path AND (other.error IS NOT NULL OR "            \
  "(mine.error IS NULL AND mine.annotated_ns >= other.annotated_ns)))"

static const char *const merge_steps[] = {
    "INSERT OR IGNORE INTO main.settings (hash, text) SELECT hash, text FROM new.settings",
    "INSERT OR IGNORE INTO main.questions (name, prompt) SELECT name, prompt FROM new.questions",
    "CREATE TEMP TABLE taken AS SELECT other.id, other.path FROM new.clips other WHERE " IS_TAKEN,
    "DELETE FROM main.clips WHERE path IN (SELECT path FROM taken)",
    "INSERT INTO main.clips (path, size, modified_ns, duration_ns, width, height, settings, output, error, "
    "annotated_ns) "
    "SELECT other.path, size, modified_ns, duration_ns, width, height, s.id, output, error, annotated_ns FROM "
    "new.clips other "
    "JOIN taken ON taken.id = other.id JOIN new.settings o ON o.id = other.settings JOIN main.settings s ON s.hash = "
    "o.hash",
    "INSERT INTO main.captions (clip, question, start_ns, end_ns, text, confidence, thumbnail) "
    "SELECT mine.id, q.id, start_ns, end_ns, c.text, confidence, thumbnail FROM new.captions c "
    "JOIN taken ON taken.id = c.clip JOIN main.clips mine ON mine.path = taken.path "
    "JOIN new.questions o ON o.id = c.question JOIN main.questions q ON q.name = o.name AND q.prompt = o.prompt ORDER "
    "BY c.id",
};

static gboolean
take_over (ArchiveIndex *index, guint *n_clips, guint *n_taken, GError **error)
{
  gint64 all = 0, taken = 0;

  for (guint i = 0; i < G_N_ELEMENTS (merge_steps); i++)
    if (!archive_execute (index->db, error, merge_steps[i], ""))
      return FALSE;
  if (!archive_read_number (index->db, &all, error, "SELECT count(*) FROM new.clips", "") ||
      !archive_read_number (index->db, &taken, error, "SELECT count(*) FROM taken", ""))
    return FALSE;
  *n_clips = (guint) all;
  *n_taken = (guint) taken;
  return archive_execute (index->db, error, "DROP TABLE taken", "");
}

gboolean
archive_index_merge (ArchiveIndex *index, const char *path, guint *n_clips, guint *n_taken, GError **error)
{
  /* Opening tells whether it is an index, and of which version. */
  g_autoptr (ArchiveIndex) other = archive_index_open (path, FALSE, error);

  if (!other || !archive_execute (index->db, error, "ATTACH ? AS new", "s", path))
    return FALSE;
  const gboolean is_good = archive_execute (index->db, error, "BEGIN IMMEDIATE", "") &&
                           finish (index, take_over (index, n_clips, n_taken, error), error);
  return archive_execute (index->db, is_good ? error : NULL, "DETACH new", "") && is_good;
}

/* --- search --- */

/* Each word as a phrase of its own, so that nothing in it is syntax. */
static char *
quote_words (const char *words)
{
  g_auto (GStrv) parts = g_strsplit_set (words, " \t\n\"", -1);
  GString *quoted = g_string_new (NULL);

  for (char **part = parts; *part; part++)
    if (**part)
      g_string_append_printf (quoted, "%s\"%s\"", quoted->len > 0 ? " " : "", *part);
  return g_string_free (quoted, FALSE);
}

#define COLUMNS                                                                                                        \
  "SELECT clips.path, clips.output, questions.name, captions.text, captions.thumbnail, start_ns, end_ns, "             \
  "modified_ns, "                                                                                                      \
  "confidence, "
#define FILTER                                                                                                         \
  " WHERE (?1 IS NULL OR questions.name = ?1) AND (?2 IS NULL OR substr(clips.path, 1, length(?2)) = ?2) "             \
  "AND modified_ns >= ?3 "
#define JOINS " JOIN clips ON clips.id = captions.clip JOIN questions ON questions.id = captions.question"

static const char *const search_words =
    COLUMNS "captions_text.rank FROM captions_text JOIN captions ON captions.id = captions_text.rowid" JOINS FILTER
            "AND captions_text MATCH ?4 ORDER BY captions_text.rank LIMIT ?5";
static const char *const search_all =
    COLUMNS "0 FROM captions" JOINS FILTER "AND ?4 IS NULL ORDER BY clips.path, start_ns, captions.id LIMIT ?5";

static const char *
get_text (sqlite3_stmt *statement, int column)
{
  return (const char *) sqlite3_column_text (statement, column);
}

static void
tell_match (sqlite3_stmt *row, ArchiveMatchFunc func, gpointer data)
{
  const ArchiveMatch match = {.path = get_text (row, 0),
                              .output = get_text (row, 1),
                              .question = get_text (row, 2),
                              .text = get_text (row, 3),
                              .thumbnail = get_text (row, 4),
                              .start_ns = sqlite3_column_int64 (row, 5),
                              .end_ns = sqlite3_column_int64 (row, 6),
                              .modified_ns = sqlite3_column_int64 (row, 7),
                              .confidence = sqlite3_column_double (row, 8),
                              .score = sqlite3_column_double (row, 9)};

  func (&match, data);
}

gboolean
archive_index_search (ArchiveIndex *index, const ArchiveQuery *query, ArchiveMatchFunc func, gpointer data,
                      GError **error)
{
  g_autofree char *words = query->words ? quote_words (query->words) : NULL;
  const gboolean has_words = words && *words;
  sqlite3_stmt *statement =
      archive_prepare (index->db, error, has_words ? search_words : search_all, "ssisi", query->question, query->below,
                       query->since_ns, has_words ? words : NULL, (gint64) query->n_most);
  int status = SQLITE_ERROR;

  if (!statement)
    return FALSE;
  while ((status = sqlite3_step (statement)) == SQLITE_ROW)
    tell_match (statement, func, data);
  if (status != SQLITE_DONE)
    archive_set_error (index->db, error);
  sqlite3_finalize (statement);
  return status == SQLITE_DONE;
}
