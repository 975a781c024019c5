/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checkpoints by directory and by Hugging Face id. Every test makes its own cache, laid out as huggingface_hub does. */
#include <stdlib.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "checkpoint.h"
#include "test-util.h"

static const char *const variables[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"};

/* The whole environment that matters: one variable, or none. */
static void
set_only (const char *name, const char *value)
{
  for (guint i = 0; i < G_N_ELEMENTS (variables); i++)
    g_unsetenv (variables[i]);
  if (name)
    g_setenv (name, value, TRUE);
}

static void
make_directories (const char *parent, const char *below)
{
  g_autofree char *path = g_build_filename (parent, below, NULL);

  g_assert_cmpint (g_mkdir_with_parents (path, 0700), ==, 0);
}

/* A cache with two snapshots of meta/tiny; main is the first, refs/pr/1 the second. */
static char *
make_cache (void)
{
  char *cache = test_directory_new ();

  make_directories (cache, "models--meta--tiny/refs/refs/pr");
  make_directories (cache, "models--meta--tiny/snapshots/aaa111");
  make_directories (cache, "models--meta--tiny/snapshots/bbb222");
  make_directories (cache, "models--alone/refs");
  make_directories (cache, "models--alone/snapshots/ccc333");
  test_write_file (cache, "models--meta--tiny/refs/main", "aaa111\n", -1);
  test_write_file (cache, "models--meta--tiny/refs/refs/pr/1", "bbb222", -1);
  test_write_file (cache, "models--meta--tiny/refs/gone", "ddd444", -1);
  test_write_file (cache, "models--meta--tiny/refs/outside", "../../..", -1);
  test_write_file (cache, "models--alone/refs/main", "ccc333", -1);
  return cache;
}

static void
assert_found (const char *id, const char *end)
{
  GError *error = NULL;
  char *path = mllama_checkpoint_find (id, &error);

  g_assert_no_error (error);
  g_assert_true (g_str_has_suffix (path, end));
  g_free (path);
}

static void
assert_not_found (const char *id, const char *words)
{
  GError *error = NULL;

  g_assert_null (mllama_checkpoint_find (id, &error));
  test_assert_error (error, MLLAMA_ERROR_NOT_FOUND, words);
}

static void
test_a_directory_is_itself (void)
{
  char *directory = test_directory_new ();
  g_autofree char *link = g_strconcat (directory, "/link", NULL), *inner = g_strconcat (directory, "/inner", NULL);

  g_assert_cmpint (g_mkdir (inner, 0700), ==, 0);
  g_assert_cmpint (symlink (inner, link), ==, 0);
  assert_found (link, "/inner");
  test_write_file (directory, "config.json", "{}", -1);
  g_free (link);
  link = g_strconcat (directory, "/config.json", NULL);
  assert_not_found (link, "this is a file|directory");
  test_directory_free (directory);
}

static void
test_an_id_is_looked_up_by_revision (void)
{
  char *cache = make_cache ();

  set_only ("HF_HUB_CACHE", cache);
  assert_found ("meta/tiny", "/snapshots/aaa111");
  assert_found ("meta/tiny@main", "/snapshots/aaa111");
  assert_found ("meta/tiny@bbb222", "/snapshots/bbb222");
  assert_found ("meta/tiny@refs/pr/1", "/snapshots/bbb222");
  assert_found ("alone", "/snapshots/ccc333");
  test_directory_free (cache);
}

static void
test_the_cache_is_found_as_huggingface_hub_does (void)
{
  static const struct {
    const char *variable, *below;
  } cases[] = {{"HF_HUB_CACHE", ""},
               {"HUGGINGFACE_HUB_CACHE", ""},
               {"HF_HOME", "hub"},
               {"XDG_CACHE_HOME", "huggingface/hub"},
               {"HOME", ".cache/huggingface/hub"}};

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    char *top = test_directory_new (), *cache = make_cache ();
    g_autofree char *place = g_build_filename (top, cases[i].below, NULL);

    g_test_message ("%s", cases[i].variable);
    make_directories (top, cases[i].below);
    g_assert_cmpint (g_rename (cache, place), ==, 0);
    set_only (cases[i].variable, top);
    assert_found ("meta/tiny", "/snapshots/aaa111");
    g_free (cache);
    test_directory_free (top);
  }
}

static void
test_says_where_it_looked_and_how_to_download (void)
{
  char *cache = make_cache ();
  g_autofree char *folder = g_build_filename (cache, "models--meta--other", NULL);
  g_autofree char *words = g_strconcat (folder, "|huggingface-cli download meta/other --revision main", NULL);

  set_only ("HF_HUB_CACHE", cache);
  assert_not_found ("meta/other", words);
  assert_not_found ("meta/tiny@gone", "revision gone");
  assert_not_found ("meta/tiny@fff", "revision fff");
  test_directory_free (cache);
}

static void
test_ids_do_not_leave_the_cache (void)
{
  static const char *const ids[] = {"../meta/tiny",    "meta/..",      "a/b/c",      "",
                                    "/nowhere/at/all", "meta/tiny@..", "meta/tiny@", "meta/tiny@a/../../b",
                                    "me ta/tiny",      "meta/"};
  char *cache = make_cache ();

  set_only ("HF_HUB_CACHE", cache);
  for (guint i = 0; i < G_N_ELEMENTS (ids); i++)
    assert_not_found (ids[i], "no such directory|Hugging Face id");
  assert_not_found ("meta/tiny@outside", "revision outside");
  test_directory_free (cache);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/checkpoint-find/a_directory_is_itself", test_a_directory_is_itself);
  g_test_add_func ("/checkpoint-find/an_id_is_looked_up_by_revision", test_an_id_is_looked_up_by_revision);
  g_test_add_func ("/checkpoint-find/the_cache_is_found_as_huggingface_hub_does",
                   test_the_cache_is_found_as_huggingface_hub_does);
  g_test_add_func ("/checkpoint-find/says_where_it_looked_and_how_to_download",
                   test_says_where_it_looked_and_how_to_download);
  g_test_add_func ("/checkpoint-find/ids_do_not_leave_the_cache", test_ids_do_not_leave_the_cache);
  return g_test_run ();
}
