/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "index.h"

#include <gio/gio.h>
#include <sqlite3.h>

#include "index-rank.h"
#include "index-statement.h"

#define VERSION     1
#define SCHEMA_PATH "/archive/schema.sql"
#define PATIENCE_MS 60000  /* for other writers */
#define CANDIDATES  "2000" /* captions that have the words and are ranked: those entered last */

struct _ArchiveIndex {
  sqlite3 *db;
};

static char *
read_schema (void)
{
  g_autoptr (GBytes) bytes = g_resources_lookup_data (SCHEMA_PATH, G_RESOURCE_LOOKUP_FLAGS_NONE, NULL);

  return g_strndup (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
}

/* Whether nothing is in the file, not even a version. */
static gboolean
is_blank (ArchiveIndex *index)
{
  gint64 n = -1;

  return archive_read_number (
             index->db, &n, NULL,
             "SELECT count(*) + (SELECT abs (user_version) FROM pragma_user_version) FROM sqlite_schema", "") &&
         n == 0;
}

static gboolean
check_version (ArchiveIndex *index, GError **error)
{
  gint64 version = 0;

  if (!archive_read_number (index->db, &version, error, "PRAGMA user_version", ""))
    return FALSE;
  if (version == VERSION)
    return TRUE;
  if (version == 0)
    g_set_error_literal (error, ARCHIVE_ERROR, ARCHIVE_ERROR_OUTPUT, "It is no index of mllama-archive");
  else
    g_set_error (error, ARCHIVE_ERROR, ARCHIVE_ERROR_OUTPUT,
                 "It is an index of version %" G_GINT64_FORMAT ", and this program knows version %d; use the program "
                 "that wrote it, or another file for --index",
                 version, VERSION);
  return FALSE;
}

static gboolean
make_schema (ArchiveIndex *index, GError **error)
{
  g_autofree char *schema = read_schema ();

  if (!is_blank (index) || sqlite3_exec (index->db, schema, NULL, NULL, NULL) == SQLITE_OK)
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

/* SQLite does not wait for others when it changes the mode, which happens once in a file's life. */
static gboolean
choose_wal (ArchiveIndex *index, GError **error)
{
  const gint64 end = g_get_monotonic_time () + PATIENCE_MS * 1000;

  while (sqlite3_exec (index->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL) != SQLITE_OK) {
    if (sqlite3_errcode (index->db) != SQLITE_BUSY || g_get_monotonic_time () > end) {
      archive_set_error (index->db, error);
      return FALSE;
    }
    g_usleep (10000);
  }
  return TRUE;
}

static gboolean
add_rank (ArchiveIndex *index, GError **error)
{
  if (archive_rank_register (index->db))
    return TRUE;
  g_set_error_literal (error, ARCHIVE_ERROR, ARCHIVE_ERROR_OUTPUT, "This SQLite has no FTS5");
  return FALSE;
}

/* Two processes may find the file blank at once: the second waits for the first. */
static gboolean
prepare_file (ArchiveIndex *index, gboolean may_create, GError **error)
{
  if (may_create && is_blank (index) &&
      (!choose_wal (index, error) || !archive_execute (index->db, error, "BEGIN IMMEDIATE", "") ||
       !finish (index, make_schema (index, error), error)))
    return FALSE;
  return check_version (index, error) && archive_execute (index->db, error, "PRAGMA synchronous = FULL", "") &&
         archive_execute (index->db, error, "PRAGMA foreign_keys = ON", "") && add_rank (index, error);
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
  if (prepare_file (index, may_create, &fault))
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

guint
archive_index_count_thumbnails (ArchiveIndex *index, const ArchiveClip *clip)
{
  gint64 n = 0;

  archive_read_number (index->db, &n, NULL,
                       "SELECT count(DISTINCT thumbnail) FROM captions WHERE clip = (SELECT id FROM clips WHERE path = "
                       "?)",
                       "s", clip->path);
  return (guint) n;
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

  if (!other)
    return FALSE;
  /* As "merge all.db *.db" says it: it would wait for itself. */
  if (g_str_equal (sqlite3_db_filename (index->db, "main"), sqlite3_db_filename (other->db, "main")))
    return TRUE;
  if (!archive_execute (index->db, error, "ATTACH ? AS new", "s", path))
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
  "modified_ns, confidence, "
#define IS_ASKED "(?1 IS NULL OR captions.question IN (SELECT id FROM questions WHERE name = ?1)) "
#define IS_CHOSEN                                                                                                      \
  "captions.clip IN (SELECT id FROM clips WHERE (?2 IS NULL OR substr(path, 1, length(?2)) = ?2) AND modified_ns >= "  \
  "?3)"

/* ?6: which clips may be found. */
enum {
  ALL_CLIPS,
  FEW_CLIPS,
  MANY_CLIPS
};
#define A_FEW "10" /* of how many one is few */

/* Common words are in a great part of all captions: to rank them all would take seconds of a million. Of few clips the
 * captions are listed before words are looked for; else each caption that has the words is looked at, until there are
 * enough. Only what is left in the end is joined with the rest. */
static const char *const search_words =
    "WITH found AS MATERIALIZED (SELECT captions.id AS id, share (captions_text) AS score "
    "FROM captions_text CROSS JOIN captions ON captions.id = captions_text.rowid WHERE captions_text MATCH ?4 "
    "AND (?6 <> 1 OR +captions_text.rowid IN (SELECT id FROM captions WHERE " IS_CHOSEN ")) AND (?6 <> 2 OR " IS_CHOSEN
    ") AND " IS_ASKED "ORDER BY captions_text.rowid DESC LIMIT max(?5, " CANDIDATES ")) " COLUMNS
    "score FROM (SELECT * FROM found ORDER BY score, id LIMIT ?5) best JOIN captions ON captions.id = best.id "
    "JOIN clips ON clips.id = captions.clip JOIN questions ON questions.id = captions.question "
    "ORDER BY score, captions.id";
static const char *const search_all =
    COLUMNS "0 FROM clips CROSS JOIN captions ON captions.clip = clips.id JOIN questions ON questions.id = "
            "captions.question WHERE " IS_CHOSEN " AND " IS_ASKED "AND ?4 IS NULL AND ?6 >= 0 "
            "ORDER BY clips.path, start_ns, captions.id LIMIT ?5";

static gint64
count_clips (ArchiveIndex *index, const ArchiveQuery *query)
{
  gint64 is_few = 0;

  if (!query->below && query->since_ns == G_MININT64)
    return ALL_CLIPS;
  archive_read_number (index->db, &is_few, NULL,
                       "SELECT count(*) FILTER (WHERE (?1 IS NULL OR substr(path, 1, length(?1)) = ?1) AND "
                       "modified_ns >= ?2) * " A_FEW " <= count(*) FROM clips",
                       "si", query->below, query->since_ns);
  return is_few ? FEW_CLIPS : MANY_CLIPS;
}

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
      archive_prepare (index->db, error, has_words ? search_words : search_all, "ssisii", query->question, query->below,
                       query->since_ns, has_words ? words : NULL, (gint64) query->n_most, count_clips (index, query));
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
