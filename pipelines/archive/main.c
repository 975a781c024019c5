/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mllama-archive: annotates folders of clips, and finds what is in them. */
#include <locale.h>
#include <stdio.h>

#include "annotate.h"
#include "find.h"
#include "plan.h"
#include "report.h"

enum {
  STATUS_DONE = 0,
  STATUS_FAILED = 1, /* a clip, the model, the index */
  STATUS_USAGE = 2,
};

typedef struct {
  const char *name, *summary;
  /* FALSE without an error: not all of it was done, and that was told. */
  gboolean (*run) (int argc, char **argv, GError **error);
  gboolean plays; /* needs GStreamer, which takes longer to start than a search */
} Command;

static gboolean
annotate (int argc, char **argv, GError **error)
{
  g_autoptr (ArchiveOptions) options = archive_options_parse (&argc, &argv, error);

  return options && archive_annotate (options, error);
}

static const Command commands[] = {
    {"annotate", "captions clips and enters them into an index", annotate, TRUE},
    {"search", "finds captions in an index", archive_find, FALSE},
    {"report", "writes an index as a page to search and play", archive_report, FALSE},
    {"plan", "shares clips out among several runs", archive_plan, TRUE},
    {"merge", "enters the clips of other indexes into one", archive_merge, FALSE},
};

static void
print_usage (FILE *file)
{
  fputs ("Usage: mllama-archive COMMAND [OPTION...]\n\n", file);
  for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
    fprintf (file, "  %-10s %s\n", commands[i].name, commands[i].summary);
  fputs ("\nmllama-archive COMMAND --help tells what a command takes.\n", file);
}

static int
run_command (const Command *command, int argc, char **argv)
{
  g_autofree char *name = g_strdup_printf ("mllama-archive %s", command->name);
  g_autoptr (GError) error = NULL;

  g_set_prgname (name);
  if (command->plays)
    gst_init (NULL, NULL);
  const gboolean is_done = command->run (argc, argv, &error);
  if (!error)
    return is_done ? STATUS_DONE : STATUS_FAILED;
  fprintf (stderr, "mllama-archive: %s\n", error->message);
  const gboolean is_usage =
      error->domain == G_OPTION_ERROR || g_error_matches (error, ARCHIVE_ERROR, ARCHIVE_ERROR_USAGE);
  return is_usage ? STATUS_USAGE : STATUS_FAILED;
}

int
main (int argc, char **argv)
{
  setlocale (LC_ALL, "");
  if (argc > 1 && (g_str_equal (argv[1], "--help") || g_str_equal (argv[1], "-h"))) {
    print_usage (stdout);
    return STATUS_DONE;
  }
  if (argc > 1 && g_str_equal (argv[1], "--version")) {
    puts ("mllama-archive " MLLAMA_VERSION);
    return STATUS_DONE;
  }
  for (guint i = 0; argc > 1 && i < G_N_ELEMENTS (commands); i++)
    if (g_str_equal (argv[1], commands[i].name))
      return run_command (&commands[i], argc - 1, argv + 1);
  print_usage (stderr);
  return STATUS_USAGE;
}
