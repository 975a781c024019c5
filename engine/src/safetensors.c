/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mllama/error.h>

#include "json.h"
#include "safetensors-header.h"
#include "tensor-names.h"

#define SINGLE_FILE   "model.safetensors"
#define INDEX_FILE    "model.safetensors.index.json"
#define LENGTH_PREFIX 8

typedef struct {
  char *path;
  int fd;
  guint64 size; /* when it was opened */
} File;

typedef struct {
  MllamaSource base;
  GPtrArray *files;    /* File */
  GPtrArray *tensors;  /* MllamaTensorInfo, and their names */
  GHashTable *by_name; /* canonical name -> MllamaTensorInfo, borrowed; constant once open */
  GHashTable *skipped; /* canonical names of tensors that are not given out */
} Safetensors;

static void
free_file (gpointer data)
{
  File *file = data;

  if (file->fd >= 0)
    close (file->fd);
  g_free (file->path);
  g_free (file);
}

static void
free_tensor (gpointer data)
{
  MllamaTensorInfo *tensor = data;

  g_free ((char *) tensor->name);
  g_free (tensor);
}

static void
free_safetensors (MllamaSource *source)
{
  Safetensors *st = (Safetensors *) source;

  g_hash_table_unref (st->skipped);
  g_hash_table_unref (st->by_name);
  g_ptr_array_unref (st->tensors);
  g_ptr_array_unref (st->files);
  g_free (st);
}

static const MllamaTensorInfo *
find_tensor (MllamaSource *source, const char *name)
{
  return g_hash_table_lookup (((Safetensors *) source)->by_name, name);
}

static const MllamaTensorInfo *const *
list_tensors (MllamaSource *source, guint *n_tensors)
{
  Safetensors *st = (Safetensors *) source;

  *n_tensors = st->tensors->len;
  return (const MllamaTensorInfo *const *) st->tensors->pdata;
}

/* --- reading --- */

static gboolean
read_bytes (const File *file, guint64 offset, gsize n_bytes, void *dest, GError **error)
{
  for (gsize done = 0; done < n_bytes;) {
    gssize n = pread (file->fd, (char *) dest + done, n_bytes - done, offset + done);

    if (n > 0) {
      done += n;
    } else if (n == 0) {
      g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                   "%s: ends at byte %" G_GUINT64_FORMAT "; it had %" G_GUINT64_FORMAT
                   " bytes when it was opened, and was cut short since: restore it and load the model again",
                   file->path, offset + done, file->size);
      return FALSE;
    } else if (errno != EINTR) {
      g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNREADABLE,
                   "%s: reading %" G_GSIZE_FORMAT " bytes at %" G_GUINT64_FORMAT " failed: %s", file->path,
                   n_bytes - done, offset + done, g_strerror (errno));
      return FALSE;
    }
  }
  return TRUE;
}

static gboolean
read_tensor (MllamaSource *source, const MllamaTensorInfo *tensor, gsize offset, gsize n_bytes, void *dest,
             GError **error)
{
  Safetensors *st = (Safetensors *) source;

  g_return_val_if_fail (offset <= tensor->n_bytes && n_bytes <= tensor->n_bytes - offset, FALSE);
  return read_bytes (g_ptr_array_index (st->files, tensor->file), tensor->offset + offset, n_bytes, dest, error);
}

/* --- opening --- */

static File *
open_file (const char *path, GError **error)
{
  File *file = g_new0 (File, 1);
  struct stat info;

  file->path = g_strdup (path);
  /* O_NONBLOCK: opening a named pipe must not wait for a writer. */
  file->fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file->fd < 0 || fstat (file->fd, &info) < 0) {
    g_set_error (error, MLLAMA_ERROR, errno == ENOENT ? MLLAMA_ERROR_NOT_FOUND : MLLAMA_ERROR_UNREADABLE, "%s: %s%s",
                 path, g_strerror (errno), errno == ENOENT ? "; the checkpoint is incomplete, download it again" : "");
  } else if (!S_ISREG (info.st_mode)) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNREADABLE, "%s: a regular file is expected", path);
  } else {
    file->size = info.st_size;
    return file;
  }
  free_file (file);
  return NULL;
}

/* The file's tensors. */
static GArray *
read_header (const File *file, GError **error)
{
  g_autofree char *json = NULL;
  guint64 length = 0;

  if (file->size < LENGTH_PREFIX) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: %" G_GUINT64_FORMAT " bytes; a safetensors file has at least %d: download it again", file->path,
                 file->size, LENGTH_PREFIX);
    return NULL;
  }
  if (!read_bytes (file, 0, LENGTH_PREFIX, &length, error))
    return NULL;
  if (length > MLLAMA_SAFETENSORS_MAX_HEADER || length > file->size - LENGTH_PREFIX) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: a header of %" G_GUINT64_FORMAT " bytes in a file of %" G_GUINT64_FORMAT
                 " (at most %d are read): not a safetensors file, or cut short; download it again",
                 file->path, length, file->size, MLLAMA_SAFETENSORS_MAX_HEADER);
    return NULL;
  }
  json = g_malloc (length + 1);
  if (!read_bytes (file, LENGTH_PREFIX, length, json, error))
    return NULL;
  return mllama_safetensors_parse_header (json, length, LENGTH_PREFIX + length, file->size, file->path, error);
}

static gboolean
check_layout (const char *name, const char *path, GError **error)
{
  const char *layout = mllama_tensor_name_get_foreign_layout (name);

  if (!layout)
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
               "%s: tensor %s is in %s layout; the layout of Hugging Face transformers is expected, convert the "
               "checkpoint or download that one",
               path, name, layout);
  return FALSE;
}

static gboolean
fail_repeated (const Safetensors *st, const char *canonical, const char *name, const char *path, GError **error)
{
  const MllamaTensorInfo *other = g_hash_table_lookup (st->by_name, canonical);
  const File *file = other ? g_ptr_array_index (st->files, other->file) : NULL;

  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
               "%s: tensor %s repeats one of %s (%s under any of its names); a tensor must be stored once", path, name,
               file ? file->path : "the checkpoint", canonical);
  return FALSE;
}

/* Takes the entry's place in file number st->files->len - 1. */
static gboolean
add_tensor (Safetensors *st, const MllamaSafetensorsEntry *entry, const char *path, GError **error)
{
  g_autofree char *canonical = mllama_tensor_name_canonicalise (entry->name);
  MllamaTensorInfo *tensor;

  if (!check_layout (entry->name, path, error))
    return FALSE;
  if (g_hash_table_contains (st->by_name, canonical) || g_hash_table_contains (st->skipped, canonical))
    return fail_repeated (st, canonical, entry->name, path, error);
  if (!entry->is_readable && mllama_tensor_name_is_known (canonical)) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
                 "%s: tensor %s has dtype %s; BF16, F16 or F32 is expected, use a checkpoint that is not quantized",
                 path, entry->name, entry->dtype);
    return FALSE;
  }
  if (!entry->is_readable) {
    g_hash_table_add (st->skipped, g_steal_pointer (&canonical));
    return TRUE;
  }
  tensor = g_memdup2 (&entry->info, sizeof entry->info);
  tensor->name = g_steal_pointer (&canonical);
  tensor->file = st->files->len - 1;
  g_ptr_array_add (st->tensors, tensor);
  g_hash_table_insert (st->by_name, (char *) tensor->name, tensor);
  return TRUE;
}

static gboolean
add_file (Safetensors *st, const char *path, GError **error)
{
  File *file = open_file (path, error);
  g_autoptr (GArray) entries = NULL;

  if (!file)
    return FALSE;
  g_ptr_array_add (st->files, file);
  entries = read_header (file, error);
  for (guint i = 0; entries && i < entries->len; i++)
    if (!add_tensor (st, &g_array_index (entries, MllamaSafetensorsEntry, i), path, error))
      return FALSE;
  return entries != NULL;
}

/* --- shards --- */

/* A file of this directory by its plain name. It may be a symbolic link, as in the Hugging Face cache. */
static gboolean
check_shard_name (JsonNode *node, const char *tensor, const char *index, GError **error)
{
  const char *name = json_node_get_value_type (node) == G_TYPE_STRING ? json_node_get_string (node) : NULL;
  g_autofree char *found = NULL;

  if (name && *name && !strpbrk (name, "/\\") && !g_str_equal (name, ".") && !g_str_equal (name, ".."))
    return TRUE;
  found = mllama_json_describe (node);
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
               "%s: the file of %s is %s; the name of a file in the same directory is expected", index, tensor, found);
  return FALSE;
}

/* Opens each shard that the map names, in the map's order; numbers: shard name -> its place in files + 1. */
static gboolean
add_shards (Safetensors *st, JsonObject *map, GHashTable *numbers, const char *directory, const char *index,
            GError **error)
{
  JsonObjectIter iter;
  const char *tensor;
  JsonNode *node;

  json_object_iter_init (&iter, map);
  while (json_object_iter_next (&iter, &tensor, &node)) {
    g_autofree char *path = NULL;

    if (!check_shard_name (node, tensor, index, error))
      return FALSE;
    if (g_hash_table_contains (numbers, json_node_get_string (node)))
      continue;
    path = g_build_filename (directory, json_node_get_string (node), NULL);
    if (!add_file (st, path, error))
      return FALSE;
    g_hash_table_insert (numbers, (char *) json_node_get_string (node), GUINT_TO_POINTER (st->files->len));
  }
  return TRUE;
}

/* Every tensor of the map must be in the shard that the map says. */
static gboolean
check_map (const Safetensors *st, JsonObject *map, GHashTable *numbers, const char *index, GError **error)
{
  JsonObjectIter iter;
  const char *name;
  JsonNode *node;

  json_object_iter_init (&iter, map);
  while (json_object_iter_next (&iter, &name, &node)) {
    g_autofree char *canonical = mllama_tensor_name_canonicalise (name);
    const MllamaTensorInfo *tensor = g_hash_table_lookup (st->by_name, canonical);
    guint number = GPOINTER_TO_UINT (g_hash_table_lookup (numbers, json_node_get_string (node)));

    if ((tensor && tensor->file == number - 1) || g_hash_table_contains (st->skipped, canonical))
      continue;
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: tensor %s is expected in %s, and is not there; download the checkpoint again", index, name,
                 json_node_get_string (node));
    return FALSE;
  }
  return TRUE;
}

static gboolean
add_indexed (Safetensors *st, const char *directory, const char *index, GError **error)
{
  g_autofree char *json = NULL;
  g_autoptr (JsonParser) parser = NULL;
  g_autoptr (GHashTable) numbers = g_hash_table_new (g_str_hash, g_str_equal);
  JsonObject *map = NULL;
  gsize length;

  if (!mllama_read_file (index, MLLAMA_SAFETENSORS_MAX_HEADER, &json, &length, error))
    return FALSE;
  parser = mllama_json_parse (json, length, index, error);
  if (!parser ||
      !mllama_json_get_object (json_node_get_object (json_parser_get_root (parser)), "weight_map", &map, index, error))
    return FALSE;
  if (!map || json_object_get_size (map) == 0) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: weight_map is missing or empty; it names the file of every tensor", index);
    return FALSE;
  }
  return add_shards (st, map, numbers, directory, index, error) && check_map (st, map, numbers, index, error);
}

/* --- the directory --- */

static gboolean
fail_without_weights (const char *directory, GError **error)
{
  static const char *const suffixes[] = {".bin", ".pth", ".pt", ".gguf", ".safetensors"};
  g_autoptr (GDir) dir = g_dir_open (directory, 0, NULL);
  g_autofree char *other = NULL;
  const char *name;

  while (dir && !other && (name = g_dir_read_name (dir)))
    for (guint i = 0; i < G_N_ELEMENTS (suffixes); i++)
      if (g_str_has_suffix (name, suffixes[i])) {
        other = g_strdup_printf ("; %s is there, which is not read", name);
        break;
      }
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND,
               "%s: neither " SINGLE_FILE " nor " INDEX_FILE " is there%s; download the checkpoint's safetensors files",
               directory, other ? other : "");
  return FALSE;
}

MllamaSource *
mllama_safetensors_open (const char *directory, GError **error)
{
  g_autofree char *single = g_build_filename (directory, SINGLE_FILE, NULL);
  g_autofree char *index = g_build_filename (directory, INDEX_FILE, NULL);
  Safetensors *st = g_new0 (Safetensors, 1);
  gboolean ok;

  st->base = (MllamaSource){.find = find_tensor, .list = list_tensors, .read = read_tensor, .free = free_safetensors};
  st->files = g_ptr_array_new_with_free_func (free_file);
  st->tensors = g_ptr_array_new_with_free_func (free_tensor);
  st->by_name = g_hash_table_new (g_str_hash, g_str_equal);
  st->skipped = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  if (g_file_test (single, G_FILE_TEST_EXISTS))
    ok = add_file (st, single, error);
  else if (g_file_test (index, G_FILE_TEST_EXISTS))
    ok = add_indexed (st, directory, index, error);
  else
    ok = fail_without_weights (directory, error);
  if (ok)
    return &st->base;
  free_safetensors (&st->base);
  return NULL;
}
