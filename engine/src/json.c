/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "json.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mllama/error.h>

#include "json-scan.h"

/* Members seen of each open object: json-glib keeps the last of two equal names without a word. */
typedef struct {
  GHashTable *n_members; /* JsonObject -> count */
  char *repeated;
} MemberCount;

static void
count_member (JsonParser *parser, JsonObject *object, const char *name, gpointer user_data)
{
  MemberCount *count = user_data;
  guint n = GPOINTER_TO_UINT (g_hash_table_lookup (count->n_members, object)) + 1;

  g_hash_table_insert (count->n_members, object, GUINT_TO_POINTER (n));
  if (!count->repeated && json_object_get_size (object) < n)
    count->repeated = g_strdup (name);
}

static void
forget_object (JsonParser *parser, JsonObject *object, gpointer user_data)
{
  g_hash_table_remove (((MemberCount *) user_data)->n_members, object);
}

/* The text with ".0" after each of those integers, so that json-glib reads them as doubles. */
static GString *
spell_as_doubles (const char *text, gsize length, const GArray *ends)
{
  GString *spelled = g_string_sized_new (length + 2 * ends->len);
  gsize copied = 0;

  for (guint i = 0; i < ends->len; i++) {
    gsize end = g_array_index (ends, gsize, i);

    g_string_append_len (spelled, text + copied, end - copied);
    g_string_append (spelled, ".0");
    copied = end;
  }
  return g_string_append_len (spelled, text + copied, length - copied);
}

static JsonParser *
load_unique (const char *text, gsize length, const char *origin, GError **error)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GHashTable) n_members = g_hash_table_new (NULL, NULL);
  g_autoptr (GError) inner = NULL;
  MemberCount count = {.n_members = n_members};
  gulong member_id = g_signal_connect (parser, "object-member", G_CALLBACK (count_member), &count);
  gulong end_id = g_signal_connect (parser, "object-end", G_CALLBACK (forget_object), &count);
  gboolean loaded = json_parser_load_from_data (parser, text, length, &inner);
  g_autofree char *repeated = count.repeated;

  g_signal_handler_disconnect (parser, member_id);
  g_signal_handler_disconnect (parser, end_id);
  if (!loaded) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED, "%s: %s", origin, inner->message);
    return NULL;
  }
  if (repeated) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED, "%s: member \"%s\" appears twice in one object", origin,
                 repeated);
    return NULL;
  }
  return g_steal_pointer (&parser);
}

JsonParser *
mllama_json_parse (const char *text, gsize length, const char *origin, GError **error)
{
  g_autoptr (GArray) big_integers = g_array_new (FALSE, FALSE, sizeof (gsize));
  g_autoptr (GString) spelled = NULL;
  g_autoptr (JsonParser) parser = NULL;

  if (length > MLLAMA_JSON_MAX_BYTES) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: %" G_GSIZE_FORMAT " bytes of JSON; at most %" G_GSIZE_FORMAT " are read", origin, length,
                 MLLAMA_JSON_MAX_BYTES);
    return NULL;
  }
  if (!mllama_json_scan (text, length, big_integers, origin, error))
    return NULL;
  if (big_integers->len > 0) {
    spelled = spell_as_doubles (text, length, big_integers);
    text = spelled->str;
    length = spelled->len;
  }
  parser = load_unique (text, length, origin, error);
  if (parser && !JSON_NODE_HOLDS_OBJECT (json_parser_get_root (parser))) {
    g_autofree char *found = mllama_json_describe (json_parser_get_root (parser));

    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED, "%s: an object { ... } is expected, not %s", origin,
                 found);
    return NULL;
  }
  return g_steal_pointer (&parser);
}

/* --- files --- */

static gboolean
fail_file (const char *path, int code, GError **error)
{
  g_set_error (error, MLLAMA_ERROR,
               code == ENOENT || code == ENOTDIR ? MLLAMA_ERROR_NOT_FOUND : MLLAMA_ERROR_UNREADABLE, "%s: %s", path,
               g_strerror (code));
  return FALSE;
}

static gboolean
check_file (int fd, const char *path, gsize max_bytes, gsize *size, GError **error)
{
  struct stat info;

  if (fstat (fd, &info) < 0)
    return fail_file (path, errno, error);
  if (!S_ISREG (info.st_mode)) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNREADABLE, "%s: a regular file is expected, this is %s", path,
                 S_ISDIR (info.st_mode) ? "a directory" : "not one");
    return FALSE;
  }
  if ((guint64) info.st_size > max_bytes) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: %" G_GINT64_FORMAT " bytes; a file of this kind has at most %" G_GSIZE_FORMAT, path,
                 (gint64) info.st_size, max_bytes);
    return FALSE;
  }
  *size = info.st_size;
  return TRUE;
}

gboolean
mllama_read_file (const char *path, gsize max_bytes, char **text, gsize *length, GError **error)
{
  g_autofree char *bytes = NULL;
  gsize size = 0, done = 0;
  gboolean ok;
  /* O_NONBLOCK: opening a named pipe must not wait for a writer. */
  int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

  if (fd < 0)
    return fail_file (path, errno, error);
  ok = check_file (fd, path, max_bytes, &size, error);
  if (ok)
    bytes = g_malloc (size + 1);
  while (ok && done < size) {
    gssize n = read (fd, bytes + done, size - done);

    if (n == 0)
      break; /* it shrank meanwhile: what is there is what it holds */
    if (n > 0)
      done += n;
    else if (errno != EINTR)
      ok = fail_file (path, errno, error);
  }
  close (fd);
  if (!ok)
    return FALSE;
  bytes[done] = '\0';
  *text = g_steal_pointer (&bytes);
  *length = done;
  return TRUE;
}
